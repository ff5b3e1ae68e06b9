# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each module says when a signal ends it, or an error that it did not expect: only what can be true of that
module.
"""

from __future__ import annotations

import importlib
import json
import pathlib
import signal
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.module_utils import basic  # noqa: E402
from ansible_collections.luksmith.luks.plugins.module_utils._module import runner  # noqa: E402

PLUGINS = pathlib.Path(__file__).resolve().parents[4] / "plugins" / "modules"
SECRET = {"passphrase": "winter"}
DEVICE = {"device": "/dev/none"}

READERS: t.Dict[str, t.Dict[str, t.Any]] = {
    "audit": DEVICE,
    "audit_step": {},
    "keyslots_info": DEVICE,
    "verify_volume": DEVICE,
    "volumes_info": {},
}
# What may be left behind that needs a word.
WRITERS: t.Dict[str, t.Tuple[t.Dict[str, t.Any], str]] = {
    "keyslots": ({**DEVICE, "keyslots": [{"new_secret": SECRET}]}, "noted in the header where it needs finishing"),
    "header_backup": ({**DEVICE, "path": "/none", "unlock": [SECRET]}, "the backup is the old file or the new one"),
    "rotation_step": ({"step": "add", "volumes": [DEVICE]}, "noted in the header where it needs finishing"),
    "keyfile": ({"path": "/none", "new_secret": SECRET}, "keyfile holds the old secret or the new one"),
    "test_volumes": ({"volumes": [{"path": "/none"}]}, "files of the unfinished run were removed again"),
}
MODULES = sorted(path.stem for path in PLUGINS.glob("[a-z]*.py") if "def argument_spec" in path.read_text())


@pytest.fixture(autouse=True)
def this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of all tests: what the guard does to a process is left out."""
    monkeypatch.setattr(runner, "forbid_core_dumps", lambda: None)
    monkeypatch.setattr(runner, "unwind_on_signals", lambda: None)
    monkeypatch.setattr(runner, "threading", type("Hooks", (), {}))
    monkeypatch.setattr(runner, "sys", type("Hooks", (), {}))


def ended(
    name: str,
    params: t.Dict[str, t.Any],
    by: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> t.Dict[str, t.Any]:
    """The result of the module when ``by`` comes up in the middle of its work."""
    module = importlib.import_module(f"ansible_collections.luksmith.luks.plugins.modules.{name}")

    def work(_module: t.Any) -> t.NoReturn:
        raise by

    monkeypatch.setattr(module, "work", work)
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(SystemExit):
        module.main()
    return dict(json.loads(capsys.readouterr().out))


def test_every_module_is_here() -> None:
    assert sorted((*READERS, *WRITERS)) == MODULES


def asked(name: str) -> t.Dict[str, t.Any]:
    return READERS[name] if name in READERS else WRITERS[name][0]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("check", [True, False])
def test_a_signal(name: str, check: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    result = ended(
        name, {**asked(name), "_ansible_check_mode": check}, runner.Terminated(signal.SIGTERM), monkeypatch, capsys
    )
    assert result["failed"] is True and "SIGTERM" in result["msg"]
    if check or name in READERS:
        assert result["msg"] == "The run was ended by SIGTERM. Nothing was changed."
        assert result["changed"] is False
    else:
        assert WRITERS[name][1] in result["msg"] and "un the same task again" in result["msg"]
        assert "Nothing was changed" not in result["msg"] and "changed" not in result


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("check", [True, False])
def test_an_error_that_nobody_expected(
    name: str, check: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = ended(name, {**asked(name), "_ansible_check_mode": check}, ZeroDivisionError(), monkeypatch, capsys)
    assert result["failed"] is True and "error in luksmith.luks: ZeroDivisionError" in result["msg"]
    reads = check or name in READERS
    assert ("Nothing was changed." in result["msg"]) is reads
    assert ("What was changed is not known" in result["msg"]) is not reads
    assert result.get("changed") is (False if reads else None)
