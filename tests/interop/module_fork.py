# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module as :mod:`module_process` does, in a fork of the test: for tests that need hundreds of runs.

All of the module runs, from its arguments as JSON to its answer as JSON; only the start of an interpreter is saved.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import threading
import typing as t

from ansible.module_utils import basic
from ansible_collections.luksmith.luks.tests.interop import module_process
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed


def join_derivations() -> None:
    """Before a fork: a derivation that nobody waits for any more may hold a lock of its library, which the child would wait for in vain."""
    for thread in threading.enumerate():
        if thread.name == "luksmith derivation":
            thread.join()


def run_module(name: str, arguments: t.Mapping[str, t.Any], *, check: bool = False, diff: bool = False) -> t.Dict[str, t.Any]:
    module = importlib.import_module(f"ansible_collections.luksmith.luks.plugins.modules.{name}")
    given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": "/nowhere", "_ansible_keep_remote_files": False}
    reader, writer = os.pipe()
    join_derivations()
    child = os.fork()
    if not child:
        _answer(module, json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode(), writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        out = file.read()
    os.waitpid(child, 0)
    result = t.cast(t.Dict[str, t.Any], json.loads(out))
    if result.get("failed"):
        raise ModuleFailed(result)
    return result


keyslots = functools.partial(module_process.keyslots, run=run_module)


def _answer(module: t.Any, arguments: bytes, writer: int) -> t.NoReturn:
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
