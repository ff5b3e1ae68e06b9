# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module as a process of its own that a test can hurt: arguments on one descriptor, everything that it says on another.

The child is a fork: it runs the whole module, from its arguments as JSON to its answer, and ``hurt`` runs in it first.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import importlib
import json
import os
import pathlib
import signal
import sys
import tempfile
import typing as t

from ansible.module_utils import basic

# Seconds after which a module that does not end is told to say where it waits.
PATIENCE = 60
Arguments = t.Dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Ended:
    """``status``: as os.waitpid gives it; ``said``: standard output and error; ``logged``: what went to syslog; ``memory``: what was found in it."""

    status: int
    said: str
    logged: str
    memory: t.Dict[str, t.Any]

    @property
    def result(self) -> t.Dict[str, t.Any]:
        return t.cast(t.Dict[str, t.Any], json.loads(self.said[self.said.index("{") :]))


def run(
    name: str,
    arguments: Arguments,
    *,
    check: bool = False,
    hurt: t.Callable[[], None] = lambda: None,
    afterwards: t.Callable[[], t.Dict[str, t.Any]] = dict,
    folder: t.Optional[pathlib.Path] = None,
) -> Ended:
    """``afterwards`` runs in the child when the module has ended, and its answer becomes ``memory``."""
    module = importlib.import_module(f"ansible_collections.luksmith.luks.plugins.modules.{name}")
    own = {"check_mode": check, "diff": True, "inject_invocation": True, "remote_tmp": "/nowhere", "keep_remote_files": False}
    given = {**arguments, **{f"_ansible_{name}": value for name, value in own.items()}}
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as logged, tempfile.TemporaryFile() as memory:
        child = os.fork()
        if not child:
            _be_the_module(module, json.dumps({"ANSIBLE_MODULE_ARGS": given}), hurt, afterwards, folder, (said.fileno(), logged.fileno(), memory.fileno()))
        status = os.waitpid(child, 0)[1]
        texts = []
        for file in (said, logged, memory):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Ended(status, texts[0], texts[1], json.loads(texts[2] or "{}"))


def _keep_logs(logged: int) -> None:
    """What Ansible sends to syslog and to the journal, on a host that has both: kept in the file ``logged``."""

    class Journal:
        @staticmethod
        def send(**fields: t.Any) -> None:
            os.write(logged, f"journal {fields}\n".encode(errors="surrogateescape"))

    basic.has_journal, basic.journal, basic.HAS_SYSLOG = True, Journal, True


def _be_the_module(
    module: t.Any, arguments: str, hurt: t.Any, afterwards: t.Any, folder: t.Optional[pathlib.Path], files: t.Tuple[int, int, int]
) -> t.NoReturn:
    said, logged, memory = files
    code = 70
    try:
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        if folder is not None:
            os.chdir(folder)
        faulthandler.enable(file=2, all_threads=True)
        faulthandler.dump_traceback_later(PATIENCE, exit=True)  # a module that waits for ever says where
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        basic._ANSIBLE_ARGS = arguments.encode()
        basic._ANSIBLE_PROFILE = "legacy"
        del arguments
        _keep_logs(logged)
        hurt()
        module.main()
    except SystemExit as ended:
        code = int(ended.code or 0) if isinstance(ended.code, int) or ended.code is None else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would show it
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.setprofile(None)
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(memory, json.dumps(afterwards()).encode())
        os._exit(code)
