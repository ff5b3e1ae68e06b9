# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker of ansible-playbook that runs one of our action plugins holds secrets: its memory goes to no core and no
debugger.
"""

from __future__ import annotations

import importlib
import pathlib
import subprocess
import sys
import typing as t

import pytest

pytest.importorskip("ansible")

TESTS = pathlib.Path(__file__).resolve().parents[3]
PLUGINS = sorted(path.stem for path in (TESTS.parent / "plugins" / "action").glob("[a-z]*.py"))

_WORKER = """
import contextlib, ctypes, importlib, resource, runpy, sys
runpy.run_path(sys.argv[1])
plugin = importlib.import_module(f"ansible_collections.luksmith.luks.plugins.action.{sys.argv[2]}").ActionModule
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
with contextlib.suppress(AttributeError):  # it has no task to do; the memory is closed before that is looked for
    plugin.run(object.__new__(plugin))
soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
print(soft in (0, 1) and hard in (0, 1), ctypes.CDLL(None).prctl(3))  # PR_GET_DUMPABLE
"""


@pytest.mark.parametrize("plugin", PLUGINS)
def test_neither_core_nor_debugger(plugin: str) -> None:
    command = [sys.executable, "-c", _WORKER, str(TESTS / "tools" / "register.py"), plugin]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "True 0\n", done.stderr


class _Closed(Exception):
    pass


@pytest.mark.parametrize("plugin", PLUGINS)
def test_nothing_comes_before(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of a plugin that has no task, which would be missed next."""

    def close() -> t.NoReturn:
        raise _Closed

    action: t.Any = importlib.import_module(f"ansible_collections.luksmith.luks.plugins.action.{plugin}").ActionModule
    monkeypatch.setitem(action.run.__globals__, "forbid_core_dumps", close)
    with pytest.raises(_Closed):
        action.run(object.__new__(action))
