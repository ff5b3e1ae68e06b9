# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that writes a report: what is refused before a file is written, where files go, and what an error says."""

from __future__ import annotations

import pathlib
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleActionFail  # noqa: E402
from ansible_collections.luksmith.luks.plugins.action import fleet_report  # noqa: E402

HOSTS = [{"host": "web-1", "volumes": [{"device": "/dev/sda", "state": "compliant"}]}]
BOTH = pytest.mark.parametrize("check", [True, False])


@pytest.fixture(autouse=True)
def this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of all tests."""
    monkeypatch.setattr(fleet_report, "forbid_core_dumps", lambda: None)


def report(
    folder: pathlib.Path, *, check: bool = False, delegate_to: str = "", transport: str = "ssh", **arguments: t.Any
) -> t.Dict[str, t.Any]:
    """The result of a task in a playbook that is in ``folder``."""
    action = object.__new__(fleet_report.ActionModule)
    task = {
        "args": {"hosts": HOSTS, "generated": "now", **arguments},
        "check_mode": check,
        "async_val": 0,
        "delegate_to": delegate_to or None,
    }
    action._task = types.SimpleNamespace(**task, action="fleet_report", diff=False)
    action._connection = types.SimpleNamespace(transport=transport, _shell=types.SimpleNamespace(tmpdir=None))
    action._loader = types.SimpleNamespace(get_basedir=lambda: str(folder))
    return action.run(task_vars={})


@BOTH
def test_a_report_of_nobody(tmp_path: pathlib.Path, check: bool) -> None:
    result = report(tmp_path, check=check, json="report", hosts=[])
    assert result["failed"] is True and "Neither hosts nor sources has anything" in result["msg"]
    assert list(tmp_path.iterdir()) == []


@BOTH
@pytest.mark.parametrize("mode", ["rw", "0999", "17777", "-600", "u=q", "x=r"])
def test_what_is_no_mode(tmp_path: pathlib.Path, mode: str, check: bool) -> None:
    result = report(tmp_path, check=check, json="report", mode=mode)
    assert result["failed"] is True and result["changed"] is False
    assert f"Mode is '{mode}'" in result["msg"] and result["msg"].endswith("Nothing was changed.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"hosts": "x"}, {"kind": "weather"}, {"jason": "report"}], ids=lambda wrong: next(iter(wrong))
)
def test_what_is_no_option(tmp_path: pathlib.Path, wrong: t.Dict[str, t.Any]) -> None:
    with pytest.raises(AnsibleActionFail, match=next(iter(wrong))):
        report(tmp_path, json="report", **wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "mode", "new"),
    [
        (0o600, "0640", 0o640),
        (0o600, "640", 0o640),
        (0o600, "u=rw,g=r", 0o640),
        (0o644, "o-r", 0o640),
        (0o600, "a+r", 0o644),
        (0o600, "", 0o600),
    ],
)
def test_modes(tmp_path: pathlib.Path, old: int, mode: str, new: int) -> None:
    """Of a file that is replaced, and of one whose content is right."""
    file = tmp_path / "report"
    for content in (b"old", None):
        file.write_bytes(file.read_bytes() if content is None else content)
        file.chmod(old)
        foreseen = report(tmp_path, json="report", mode=mode, check=True)["changed"]
        assert report(tmp_path, json="report", mode=mode)["changed"] is foreseen is (content is not None or old != new)
        assert file.stat().st_mode & 0o777 == new


def test_paths_begin_in_the_folder_of_the_playbook(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they do for a module on localhost; a home is that of the user who runs Ansible."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    book = tmp_path / "book"
    result = report(book, json="parts/one.json", csv="~/report.csv", html=str(tmp_path / "page.html"))
    assert sorted(result["files"]) == sorted(
        str(tmp_path / path) for path in ("book/parts/one.json", "home/report.csv", "page.html")
    )
    assert all(pathlib.Path(path).is_file() for path in result["files"])
    joined = report(book, sources=["parts/one.json"], hosts=[], json="all.json")
    assert joined["totals"]["hosts"] == 1


@pytest.mark.parametrize(
    ("delegate_to", "transport"), [("localhost", "ssh"), ("127.0.0.1", "local"), ("controller", "local")]
)
def test_delegated_to_the_controller(tmp_path: pathlib.Path, delegate_to: str, transport: str) -> None:
    assert report(tmp_path, json="report", delegate_to=delegate_to, transport=transport)["changed"] is True


@BOTH
def test_delegated_to_another_host(tmp_path: pathlib.Path, check: bool) -> None:
    """The files would be where nobody looks for them."""
    result = report(tmp_path, json="report", delegate_to="archive", check=check)
    assert result["failed"] is True and "The task is delegated to archive" in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_in_check_mode_nothing_is_written(tmp_path: pathlib.Path) -> None:
    result = report(tmp_path, json="new/report", check=True)
    assert result["changed"] is True and result["files"] == [str(tmp_path / "new" / "report")]
    assert list(tmp_path.iterdir()) == []


def test_an_error_after_the_first_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fleet.csv").mkdir()
    monkeypatch.setattr(
        "ansible_collections.luksmith.luks.plugins.module_utils._luks.files.check_replaceable",
        lambda *_path, **_how: None,
    )
    result = report(tmp_path, json="fleet.json", csv="fleet.csv")
    assert result["failed"] is True and result["changed"] is True
    assert result["msg"].endswith(f"Written before that: {tmp_path}/fleet.json.")


@BOTH
def test_an_error_that_nobody_expected(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, check: bool) -> None:
    def write(*_options: t.Any, **_how: t.Any) -> t.NoReturn:
        raise ZeroDivisionError("a label of a host")

    monkeypatch.setattr(fleet_report, "write", write)
    result = report(tmp_path, json="report", check=check)
    assert result["failed"] is True and "error in luksmith.luks: ZeroDivisionError" in result["msg"]
    assert "a label" not in result["msg"]
    assert ("Nothing was changed." if check else "each file is the old one or the new one.") in result["msg"]


def test_the_report_before_is_compared_once_for_a_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A play of two batches writes its report twice."""
    monkeypatch.setattr(fleet_report, "folder_of_run", lambda: str(tmp_path / "run"))
    first = report(tmp_path, json="report", previous="report")
    assert first["since"]["first"] is True
    worse = [{"host": "web-1", "volumes": [{"device": "/dev/sda", "state": "unverified"}]}]
    monkeypatch.setattr(fleet_report, "folder_of_run", lambda: str(tmp_path / "another run"))
    for _batch in range(2):
        found = report(tmp_path, json="report", previous="report", hosts=worse)["since"]
        assert [(one["change"], one["was"], one["is"]) for one in found["volumes"]] == [
            ("changed", "compliant", "unverified")
        ]
    assert "since" not in report(tmp_path, json="report", hosts=worse)


def test_what_cannot_be_compared_is_no_failure(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_report, "folder_of_run", lambda: str(tmp_path / "run"))
    (tmp_path / "report").write_text("nothing of ours")
    result = report(tmp_path, json="report", previous="report")
    assert not result.get("failed") and "could not be compared: it is not JSON" in result["summary"]
