# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module in a process of its own that a test can disturb: its output, its log, how it ends, and its memory then.

It is a child of the module server, so that nothing of the test's own memory is in it, and runs the whole module, from
its arguments as JSON to its answer; ``hurt`` runs in it first. The functions are in hurts.py and are passed by name.
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
from ansible.module_utils.common.parameters import PASS_VARS
from ansible_collections.luksmith.luks.tests.tools import module_server

# Seconds after which a module that does not end is told to say where it waits. It takes less than one.
PATIENCE = 240
Arguments = t.Dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Ended:
    """``status``: from os.waitpid; ``said``: standard output and error; ``logged``: syslog; ``memory``: finds in it."""

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
    hurt: t.Optional[t.Callable[[], None]] = None,
    afterwards: t.Optional[t.Callable[[], t.Dict[str, t.Any]]] = None,
    folder: t.Optional[pathlib.Path] = None,
) -> Ended:
    """``afterwards`` runs in the child when the module has ended, and its answer becomes ``memory``."""
    own = {"check_mode": check, "diff": True, "remote_tmp": "/dev/null/x", "keep_remote_files": False}
    if (
        "inject_invocation" in PASS_VARS
    ):  # newer releases of ansible-core want to be asked; in the older ones the invocation is always in the result
        own["inject_invocation"] = True
    given = json.dumps(
        {"ANSIBLE_MODULE_ARGS": {**arguments, **{f"_ansible_{option}": value for option, value in own.items()}}}
    )
    return t.cast(Ended, module_server.in_a_fork(_watch, name, given, hurt, afterwards, folder))


def _watch(name: str, *more: t.Any) -> Ended:
    """In a child of the server, which has one thread: fork the module and report how it ended."""
    module = importlib.import_module(f"ansible_collections.luksmith.luks.plugins.modules.{name}")
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as logged, tempfile.TemporaryFile() as memory:
        child = os.fork()
        if not child:
            try:
                _be_the_module(module, *more, (said.fileno(), logged.fileno(), memory.fileno()))
            finally:
                os._exit(71)  # whatever was raised: the child must not go on as its parent
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
    module: t.Any,
    arguments: str,
    hurt: t.Any,
    afterwards: t.Any,
    folder: t.Optional[pathlib.Path],
    files: t.Tuple[int, int, int],
) -> t.NoReturn:
    said, logged, memory = files
    code = 70
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    faulthandler.enable(file=2, all_threads=True)
    faulthandler.dump_traceback_later(PATIENCE, exit=True)  # a module that waits for ever says where
    try:
        if folder is not None:
            os.chdir(folder)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        basic._ANSIBLE_ARGS = arguments.encode()
        basic._ANSIBLE_PROFILE = "legacy"
        del arguments
        _keep_logs(logged)
        if hurt is not None:
            hurt()
        module.main()
    except SystemExit as ended:
        code = int(ended.code or 0) if isinstance(ended.code, int) or ended.code is None else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would show it
        import traceback

        traceback.print_exc()
        code = 1
    sys.setprofile(None)
    sys.stdout.flush()
    sys.stderr.flush()
    if afterwards is not None:
        os.write(memory, json.dumps(afterwards()).encode())
    os._exit(code)
