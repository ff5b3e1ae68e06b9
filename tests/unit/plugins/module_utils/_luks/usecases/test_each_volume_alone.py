# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault of ours on one of several volumes is that volume's failure: what became of the others is told, changed ones
included.
"""

from __future__ import annotations

import os
import pathlib
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.header_writer import HeaderWriter
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import audit as audit_run
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import backups as audit_backups
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup import create
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup import restore as restoring
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.backup_task import parse_backup
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.workers import Stopped
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import (
    Interrupted,
    LuksmithError,
    Unexpected,
    expected_only,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.devices import run_concurrently
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import blockdev, discovery, snapshots
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    BOTH,
    Image,
    audit,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as full
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import (
    MADE,
    absent,
    present,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_sys import FakeSys

HIDDEN = "hunter2"  # the text of an exception can be a secret
TOLD = r"Internal error in luksmith.luks: ZeroDivisionError at test_each_volume_alone.py:\d+ \(stumble\)"


def stumbling_at(path: pathlib.Path, honest: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
    """``honest``, but for what is about ``path``: its path may be the first argument, or an attribute of it."""

    def stumble(subject: t.Any, *arguments: t.Any, **options: t.Any) -> t.Any:
        if getattr(subject, "path", subject) == str(path):
            raise ZeroDivisionError(HIDDEN)
        return honest(subject, *arguments, **options)

    return stumble


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> t.List[pathlib.Path]:
    found = [tmp_path / str(number) for number in range(3)]
    for path in found:
        full.make(path, "luks2", 2)
    return found


def replacing(paths: t.Any) -> t.Dict[str, t.Any]:
    return full.amend_volume(paths, present("luks2", "new", keyslot=1, old=MADE[1]))


def test_before_a_write(paths: t.List[pathlib.Path], monkeypatch: pytest.MonkeyPatch) -> None:
    before = paths[1].read_bytes()
    monkeypatch.setattr(
        amend._Amendment, "_plan_without_writing", stumbling_at(paths[1], amend._Amendment._plan_without_writing)
    )
    result = replacing(paths)
    assert [one["status"] for one in result["volumes"]] == ["done", "refused", "done"]
    assert (result["changed"], result["failed"], result["volumes"][1]["changed"]) == (True, True, False)
    message = result["volumes"][1]["msg"]
    assert message.startswith(
        f"{paths[1]}: Internal error in luksmith.luks: ZeroDivisionError at test_each_volume_alone.py:"
    )
    assert message.endswith("Nothing was changed.") and message in result["msg"]
    assert HIDDEN not in str(result)
    assert paths[1].read_bytes() == before
    monkeypatch.undo()
    assert not full.amend_volume([paths[0], paths[2]], present("luks2", "new", keyslot=1))["changed"]


def test_after_a_write(paths: t.List[pathlib.Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a plan: what was done and what is left is told, as for any other fault."""
    commit = HeaderWriter.commit

    def stumble(disk: HeaderWriter, header: t.Any) -> None:
        commit(disk, header)
        if disk.path == str(paths[0]):
            raise ZeroDivisionError(HIDDEN)

    monkeypatch.setattr(HeaderWriter, "commit", stumble)
    result = full.amend_volume(paths, present("luks2", "new", keyslot=5), absent(MADE[1]), unlock=MADE[:1])
    assert [one["status"] for one in result["volumes"]] == ["partial", "done", "done"]
    first = result["volumes"][0]
    assert first["changed"] is True and first["actions_done"] == []
    assert [(row["action"], row["keyslot"]) for row in first["actions_left"]] == [("add", 5), ("erase", 1)]
    assert "error in luksmith.luks: ZeroDivisionError" in first["msg"] and HIDDEN not in str(result)


def test_after_the_last_write(paths: t.List[pathlib.Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(_fd: int, _places: t.Any) -> t.NoReturn:
        raise ZeroDivisionError(HIDDEN)

    monkeypatch.setattr(snapshots, "copies_elsewhere", stumble)
    with pytest.raises(Interrupted, match=TOLD) as caught:
        replacing(paths[0])
    assert [action.keyslot for action in caught.value.actions_done] == [1] and not caught.value.actions_left
    assert "nothing is left" in str(caught.value)


def test_one_volume(paths: t.List[pathlib.Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        amend._Amendment, "_plan_without_writing", stumbling_at(paths[0], amend._Amendment._plan_without_writing)
    )
    with pytest.raises(Unexpected, match=TOLD) as caught:
        replacing(paths[0])
    assert caught.value.volume == str(paths[0]) and HIDDEN not in str(caught.value)


def test_while_the_volumes_are_told_apart(paths: t.List[pathlib.Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amend, "open_volume", stumbling_at(paths[2], amend.open_volume))
    assert [one["status"] for one in replacing(paths)["volumes"]] == ["done", "done", "refused"]


def test_too_few_threads(paths: t.List[pathlib.Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that could be started do the work of the others."""
    start, begun = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    assert run_concurrently([lambda number=number: number for number in range(5)], 4, lambda: None) == list(range(5))  # type: ignore[misc]
    del begun[:]
    begun.extend(threading.enumerate()[:1] * 2)
    with pytest.raises(RuntimeError, match="can't start"):
        run_concurrently([lambda: 1], 4, lambda: None)


def test_an_audit(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [Image(tmp_path / str(number), "luks2.img") for number in range(3)]
    monkeypatch.setattr(audit_run, "read_header_locked", stumbling_at(images[1].path, audit_run.read_header_locked))
    result = audit(*images, secrets=BOTH)
    assert [one["state"] for one in result["volumes"]] == ["compliant", "failed", "compliant"]
    assert "error in luksmith.luks: ZeroDivisionError" in result["volumes"][1]["msg"] and HIDDEN not in str(result)


def test_a_backup_in_an_audit(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, backup = Image(tmp_path / "volume", "luks2.img"), Image(tmp_path / "backup", "luks2.img")
    monkeypatch.setattr(audit_backups, "open_volume", stumbling_at(backup.path, audit_backups.open_volume))
    result = audit(image, secrets=BOTH, backups=[str(backup.path)])
    assert result["keyslots"] and HIDDEN not in str(result)
    assert any("ZeroDivisionError" in one["message"] for one in (*result["findings"], *result["unverified"]))


def test_a_search_of_the_host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [Image(tmp_path / f"{number}.img", "luks2.img") for number in range(3)]
    monkeypatch.setattr(discovery, "probe", stumbling_at(images[1].path, discovery.probe))
    found = discovery.discover(paths=[f"{tmp_path}/*.img"], block_devices=False, crypttab_path=str(tmp_path / "none"))[
        "volumes"
    ]
    assert [row["type"] for row in found] == ["luks2", None, "luks2"]
    assert "error in luksmith.luks: ZeroDivisionError" in found[1]["problem"] and HIDDEN not in str(found)


def test_a_restore_that_has_begun(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, backup = tmp_path / "volume", tmp_path / "backup"
    full.make(path, "luks2", 2)
    options = {"device": str(path), "path": str(backup), "unlock": [{"passphrase": text} for text in MADE]}
    create.create(parse_backup(options), check=False)
    full.amend_volume(path, absent(MADE[1]), unlock=MADE[:1])

    def stumble(*_arguments: t.Any) -> t.NoReturn:
        raise ZeroDivisionError(HIDDEN)

    monkeypatch.setattr(restoring, "_verify", stumble)
    with pytest.raises(Interrupted, match=TOLD) as caught:
        restoring.restore(parse_backup({**options, "state": "restored", "force": True}), check=False)
    assert HIDDEN not in str(caught.value)


def test_a_loop_device_that_goes_away_while_the_others_are_looked_at(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "image"
    image.touch()
    fake = FakeSys(tmp_path, monkeypatch)
    going = fake.loop("loop0", "7:0", image)
    fake.loop("loop1", "7:1", image)
    listdir = os.listdir

    def gone(folder: t.Any) -> t.List[str]:
        if folder == str(going):
            raise FileNotFoundError(2, "No such file or directory")
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", gone)
    assert [place.path for place in blockdev.above(blockdev.numbers_of(os.stat(image)), {0})] == [
        str(fake.dev / name) for name in ("loop0", "loop1")
    ]


@pytest.mark.parametrize("ending", [KeyboardInterrupt, Stopped])
def test_what_ends_the_whole_run_is_nobodys_failure(ending: t.Type[BaseException]) -> None:
    """Not even where its way out is blocked by an error: a signal that raises inside of a Condition leaves the lock
    unowned.
    """
    with pytest.raises(ending), expected_only():
        try:
            raise ending
        finally:
            raise RuntimeError("cannot release un-acquired lock")


def test_our_own_errors_pass_as_they_are() -> None:
    error = LuksmithError("found")
    with pytest.raises(LuksmithError) as caught, expected_only():
        raise error
    assert caught.value is error
