# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Before a phase of a rotation or a call of its world, while no module runs: keep a copy of the lab, or kill
ansible-playbook with SIGKILL, its workers with it.

KILL_AT: the number, from 0, of the first moment that does not come. KILL_BEFORE: or a part of its name, which is one of
PHASES. INTERRUPT_BEFORE, TERMINATE_BEFORE: as KILL_BEFORE, with SIGINT or SIGTERM for ansible-playbook, which is to
end its workers itself.
KEEP_BEFORE: parts of names, separated by bars; before the first moment with such a name, LAB is copied to KEPT/NAME.
That is what a SIGKILL at this moment would leave, because these processes have no state but what is on the disk.
MOMENTS_BEGUN: a file for the names of all moments that came.

The rotation runs in a worker, which is forked from this process: so its parts are replaced here.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import typing as t

from ansible.plugins.callback import CallbackBase
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import machine
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.world import Phase

DOCUMENTATION = """
name: kill_at
type: notification
short_description: Kill the controller at a moment of a rotation
description: For tests.
"""

_MAIN = os.getpid()


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "kill_at"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        machine.Rotation = _Watched

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        moment(f"task {task.get_name()}")


def moment(name: str) -> None:
    file = pathlib.Path(os.environ["MOMENTS_BEGUN"])
    begun = file.read_text().splitlines() if file.exists() else []
    for part in filter(None, os.environ.get("KEEP_BEFORE", "").split("|")):
        kept = pathlib.Path(os.environ["KEPT"], part)
        if part in name and not kept.exists():
            # What is in its temporary folder dies with the process; a socket there cannot be copied.
            shutil.copytree(os.environ["LAB"], kept, symlinks=True, ignore=shutil.ignore_patterns("controller"))
    fatal = os.environ.get("KILL_BEFORE")
    if os.environ.get("KILL_AT") == str(len(begun)) or (fatal and fatal in name):
        os.kill(_MAIN, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    for told, number in (("INTERRUPT_BEFORE", signal.SIGINT), ("TERMINATE_BEFORE", signal.SIGTERM)):
        part = os.environ.get(told, "")
        if part and part in name:
            os.kill(_MAIN, number)
            while True:
                signal.pause()
    file.write_text("\n".join([*begun, name]))


class _Watched(machine.Rotation):
    """The machine, each of whose phases and each of whose calls of host and store is a moment."""

    def __init__(self, options: t.Any, host: t.Any, store: t.Any, progress: t.Any, chance: t.Any) -> None:
        watched = [_Calls(one, kind) for one, kind in ((host, "host"), (store, "store"))]
        super().__init__(options, *watched, progress, chance)

    def _tell(self, volume: t.Any, phase: Phase, says: str, *, loud: bool = True) -> None:
        moment(f"phase {phase.value}")
        super()._tell(volume, phase, says, loud=loud)


class _Calls:
    def __init__(self, inner: t.Any, kind: str) -> None:
        self._inner = inner
        self._kind = kind

    def __getattr__(self, name: str) -> t.Any:
        call = getattr(self._inner, name)

        def watched(*arguments: t.Any) -> t.Any:
            asked = arguments[0]["step"] if name == "step" else name
            moment(f"{self._kind} {asked}")
            return call(*arguments)

        return watched
