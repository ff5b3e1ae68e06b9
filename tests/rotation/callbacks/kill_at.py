# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""At the beginning of a task, while no module runs: keep a copy of the lab, or kill ansible-playbook with SIGKILL.

KILL_AT: the number, from 0, of the first task that does not begin. KILL_BEFORE: or a part of its name.
KEEP_BEFORE: parts of names, separated by bars; before the first task with such a name, LAB is copied to KEPT/NAME. That
is what a SIGKILL at this moment would leave, because this process has no state but what is on the disk.
TASKS_BEGUN: a file for the names of all tasks that began.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: kill_at
type: notification
short_description: Kill the controller at a task
description: For tests.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "kill_at"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        self._begun: t.List[str] = []

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        name = task.get_name()
        for part in filter(None, os.environ.get("KEEP_BEFORE", "").split("|")):
            kept = pathlib.Path(os.environ["KEPT"], part)
            if part in name and not kept.exists():
                # What is in its temporary folder dies with the process; a socket there cannot be copied.
                shutil.copytree(os.environ["LAB"], kept, symlinks=True, ignore=shutil.ignore_patterns("controller"))
        fatal = os.environ.get("KILL_BEFORE")
        if os.environ.get("KILL_AT") == str(len(self._begun)) or (fatal and fatal in name):
            os.kill(os.getpid(), signal.SIGKILL)
        self._begun.append(name)
        pathlib.Path(os.environ["TASKS_BEGUN"]).write_text("\n".join(self._begun))
