# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each module as a program: it answers, and whatever comes of its work, its secrets are wiped."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import json
import pathlib
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.module_utils import basic  # noqa: E402
from ansible_collections.luksmith.luks.plugins.module_utils._module import runner  # noqa: E402

PACKAGE = "ansible_collections.luksmith.luks.plugins.modules"
PLUGINS = pathlib.Path(__file__).resolve().parents[4] / "plugins" / "modules"
MODULES = sorted(path.stem for path in PLUGINS.glob("[a-z]*.py") if "def argument_spec" in path.read_text())
# What reads the options, and what works.
WORKING = {
    "audit": ("parse_audit", "audit"),
    "header_backup": ("parse_backup", "create", "restore"),
    "keyslots": ("parse_task", "amend"),
    "keyslots_info": ("parse_info", "inspect"),
    "verify_volume": ("parse_verify", "verify"),
}


@pytest.mark.parametrize("name", MODULES)
def test_it_answers(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for change in ("forbid_core_dumps", "unwind_on_signals"):
        monkeypatch.setattr(runner, change, lambda: None)
    for module in ("threading", "sys"):
        monkeypatch.setattr(runner, module, type("Hooks", (), {}))
    wrong = {"ANSIBLE_MODULE_ARGS": {"no_such_option": 1}}
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps(wrong).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(SystemExit):
        # Not runpy: the loader that ansible-test 2.17 puts into sys.path_hooks takes the file for a folder.
        loader = importlib.machinery.SourceFileLoader("__main__", str(PLUGINS / f"{name}.py"))
        spec = importlib.util.spec_from_loader("__main__", loader)
        assert spec is not None
        loader.exec_module(importlib.util.module_from_spec(spec))
    answer = json.loads(capsys.readouterr().out)
    assert answer["failed"] is True and "no_such_option" in answer["msg"]


class Task:
    state = ""

    def __init__(self) -> None:
        self.wiped = 0
        self.info = self

    def wipe_secrets(self) -> None:
        self.wiped += 1


@pytest.mark.parametrize("name", WORKING)
@pytest.mark.parametrize("fails", [False, True])
def test_its_secrets_are_wiped(name: str, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module: t.Any = importlib.import_module(f"{PACKAGE}.{name}")
    parse, *working = WORKING[name]
    task = Task()

    def work(given: Task, **_options: t.Any) -> t.Dict[str, t.Any]:
        assert given is task and not task.wiped
        if fails:
            raise KeyboardInterrupt
        return {"changed": False}

    monkeypatch.setattr(module, parse, lambda _params: task)
    for function in working:
        monkeypatch.setattr(module, function, work)
    asked = types.SimpleNamespace(params={"fips": "auto"}, check_mode=False)
    if fails:
        with pytest.raises(KeyboardInterrupt):
            module.work(asked)
    else:
        assert module.work(asked) == {"changed": False}
    assert task.wiped == 1
