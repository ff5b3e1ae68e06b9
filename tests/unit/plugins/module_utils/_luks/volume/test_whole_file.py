# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that is replaced whole or not at all, and what stands in the way of that."""

from __future__ import annotations

import fcntl
import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import files
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Busy, LuksmithError, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import whole_file


def beside(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.luksmith-new")


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "file"


def test_a_new_file_is_for_its_owner_only(path: pathlib.Path) -> None:
    old = os.umask(0)
    try:
        whole_file.replace(str(path), b"data" * 3000)
    finally:
        os.umask(old)
    assert path.read_bytes() == b"data" * 3000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_what_a_run_that_died_left_behind_is_taken_over(path: pathlib.Path) -> None:
    beside(path).write_bytes(b"x" * 99)
    beside(path).chmod(0o666)
    whole_file.replace(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not beside(path).exists()


def test_a_run_that_is_at_work_is_left_alone(path: pathlib.Path) -> None:
    with beside(path).open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="Another run"):
            whole_file.replace(str(path), b"new")
    assert not path.exists()


def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(path: pathlib.Path) -> None:
    victim = path.with_name("victim")
    victim.write_bytes(b"keep")
    beside(path).symlink_to(victim)
    with pytest.raises(StorageFault, match="in the way"):
        whole_file.replace(str(path), b"new")
    assert victim.read_bytes() == b"keep"


def test_a_file_of_somebody_else_in_the_place_of_the_unfinished_one_is_not_used(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that others may write to, they could read the backup through it, or change it."""
    beside(path).write_bytes(b"theirs")
    monkeypatch.setattr(os, "geteuid", lambda: beside(path).stat().st_uid + 1)
    with pytest.raises(StorageFault, match="in the way"):
        whole_file.replace(str(path), b"new")
    assert beside(path).read_bytes() == b"theirs" and not path.exists()


def test_a_pipe_in_the_place_of_the_unfinished_file(path: pathlib.Path) -> None:
    os.mkfifo(beside(path))
    with pytest.raises(StorageFault, match="in the way"):
        whole_file.replace(str(path), b"new")
    assert beside(path).is_fifo()


@pytest.mark.parametrize("step", ["write", "barrier", "reread", "rename"])
def test_an_error_leaves_the_old_file(path: pathlib.Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"old")

    def fail(*_arguments: t.Any) -> t.NoReturn:
        raise OSError(28, "No space left on device")

    if step == "write":
        monkeypatch.setattr(os, "pwrite", fail)
    elif step == "barrier":
        monkeypatch.setattr(os, "fsync", fail)
    elif step == "reread":
        monkeypatch.setattr(files.hmac, "compare_digest", lambda *_arguments: False)
    else:
        monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(LuksmithError) as error:
        whole_file.replace(str(path), b"new")
    monkeypatch.undo()
    assert not beside(path).exists()
    assert path.read_bytes() == b"old"
    assert "untouched" in str(error.value) and not error.value.after_change


def test_what_stands_in_the_way_is_told_before(path: pathlib.Path) -> None:
    whole_file.check_replaceable(str(path), 0)
    with pytest.raises(StorageFault, match="does not exist"):
        whole_file.check_replaceable(str(path / "x" / "y"), 0)


def test_a_folder_without_the_right_to_write_is_told_before(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode, *, effective_ids: not effective_ids)
    with pytest.raises(StorageFault, match=r"Cannot write to its directory.*EACCES"):
        whole_file.check_replaceable(str(path), 0)


def test_modes(path: pathlib.Path) -> None:
    assert whole_file.mode_of(str(path)) is None
    path.write_bytes(b"")
    path.chmod(0o644)
    assert whole_file.mode_of(str(path)) == 0o644
    whole_file.restrict(str(path))
    assert whole_file.mode_of(str(path)) == 0o600
