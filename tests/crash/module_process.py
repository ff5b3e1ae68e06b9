# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module in a process of its own, from its arguments as JSON to its answer as JSON, that may be killed on the way.

A fork of the test, so that the time of a kill is spent in the module's work and not in the start of an interpreter;
test_system_calls.py runs a fresh interpreter and sees the same calls.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

from ansible.module_utils import basic

COLLECTION = "ansible_collections.luksmith.luks.plugins.modules"


_FRESH = """
import runpy, sys
runpy.run_path(sys.argv[1])
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
runpy.run_module("ansible_collections.luksmith.luks.plugins.modules.keyslots", run_name="__main__")
"""


class Process(t.NamedTuple):
    pid: int
    answer: t.Any
    begin: float

    def wait_for_write(self) -> float:
        """Until it has written anything (or ended): the seconds since its start."""
        with contextlib.suppress(OSError):  # it is gone
            while "\nsyscw: 0\n" in pathlib.Path(f"/proc/{self.pid}/io").read_text():
                time.sleep(0.0002)
        return time.monotonic() - self.begin

    def kill_after(self, seconds: float) -> bool:
        """SIGKILL at that time after the start; False when it had ended by itself."""
        time.sleep(max(0.0, self.begin + seconds - time.monotonic()))
        os.kill(self.pid, signal.SIGKILL)
        self.answer.close()
        _pid, status = os.waitpid(self.pid, 0)
        return os.WIFSIGNALED(status)

    def result(self) -> t.Dict[str, t.Any]:
        with self.answer:
            said = self.answer.read()
        os.waitpid(self.pid, 0)
        return t.cast(t.Dict[str, t.Any], json.loads(said))


def under_strace(arguments: t.Mapping[str, t.Any], *options: str) -> t.Dict[str, t.Any]:
    """The answer of the module in a fresh interpreter below strace."""
    register = str(pathlib.Path(__file__).resolve().parents[1] / "tools" / "register.py")
    given = json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_remote_tmp": "/nowhere", "_ansible_keep_remote_files": False}})
    done = subprocess.run(["strace", "-f", *options, sys.executable, "-c", _FRESH, register], input=given.encode(), capture_output=True, check=False)
    assert done.stdout, done.stderr.decode()[-2000:]
    return t.cast(t.Dict[str, t.Any], json.loads(done.stdout))


def start(arguments: t.Mapping[str, t.Any], module: str = "keyslots") -> Process:
    imported = importlib.import_module(f"{COLLECTION}.{module}")
    given = json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_remote_tmp": "/nowhere", "_ansible_keep_remote_files": False}})
    reader, writer = os.pipe()
    begin = time.monotonic()
    child = os.fork()
    if not child:
        os.close(reader)
        _work(imported, given.encode(), writer)
    os.close(writer)
    return Process(child, open(reader, encoding="utf-8"), begin)


def _work(module: t.Any, arguments: bytes, writer: int) -> t.NoReturn:
    """In the child: never returns into the test."""
    try:
        basic._ANSIBLE_ARGS = arguments
        basic._ANSIBLE_PROFILE = "legacy"  # core >= 2.19 asks for it, older ones do not look
        sys.stdout = open(writer, "w", encoding="utf-8")  # noqa: SIM115 - it ends with the process
        module.main()
    except SystemExit:
        sys.stdout.flush()
    finally:
        os._exit(0)
