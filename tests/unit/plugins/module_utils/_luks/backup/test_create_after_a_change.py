# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup that fails after the file was replaced does not speak of the file that was there before."""

from __future__ import annotations

import errno
import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup import create
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.backup_task import parse_backup
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._module import runner
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as full


def backup(tmp_path: pathlib.Path) -> t.Dict[str, t.Any]:
    if not (tmp_path / "volume").exists():
        full.make(tmp_path / "volume", "luks2", 2)
    return create.create(
        parse_backup({"device": str(tmp_path / "volume"), "path": str(tmp_path / "backup")}), check=False
    )


def told(tmp_path: pathlib.Path) -> t.Tuple[LuksmithError, t.Dict[str, t.Any]]:
    """The error, and what the module makes of it."""
    with pytest.raises(LuksmithError) as caught:
        backup(tmp_path)

    def work() -> t.NoReturn:
        raise caught.value

    return caught.value, runner._outcome(work, "")


def test_a_fault_of_the_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        right(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    error, result = told(tmp_path)
    assert (tmp_path / "backup").exists()
    assert "EIO" in error.found and "The new file is in place" in result["msg"] and result["changed"] is True


def test_a_fault_while_it_is_read_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right, looks = create.read_backup_file, []

    def look_at(path: str) -> t.Any:
        looks.append(path)
        if len(looks) > 1:
            raise StorageFault("input/output error")
        return right(path)

    monkeypatch.setattr(create, "read_backup_file", look_at)
    _error, result = told(tmp_path)
    assert "The previous file has been replaced." in result["msg"] and result["changed"] is True


def test_a_fault_before_is_no_change(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full.make(tmp_path / "volume", "luks2", 2)

    def rename(*_arguments: t.Any) -> t.NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "rename", rename)
    _error, result = told(tmp_path)
    assert result["changed"] is False and "Nothing was changed." in result["msg"]
