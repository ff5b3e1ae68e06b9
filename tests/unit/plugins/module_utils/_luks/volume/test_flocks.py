# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock files of block devices, in a folder of our own. Device numbers are just names here."""

from __future__ import annotations

import fcntl
import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import flocks
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors

RDEV = os.makedev(252, 4711)
NAME = "L_252:4711"


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    path = tmp_path / "cryptsetup"
    monkeypatch.setattr(flocks, "FOLDER", str(path))
    return path


def take(*, exclusive: bool = True) -> flocks.DeviceLock:
    lock = flocks.lock_device(RDEV, exclusive=exclusive)
    assert lock is not None
    return lock


def test_folder_and_file_are_made_and_the_file_goes_with_the_lock(folder: pathlib.Path) -> None:
    before = open_descriptors()
    lock = take()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert flocks.device_lock_path(RDEV) == str(folder / NAME)
    assert os.listdir(folder) == [NAME]
    lock.release()
    assert os.listdir(folder) == []
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("first", "second", "fits"), [(True, True, False), (True, False, False), (False, True, False), (False, False, True)]
)
def test_one_exclusive_or_many_shared(folder: pathlib.Path, first: bool, second: bool, fits: bool) -> None:
    held = take(exclusive=first)
    rival = flocks.lock_device(RDEV, exclusive=second)
    assert (rival is not None) is fits
    if rival is not None:
        rival.release()
        assert os.listdir(folder) == [NAME], "another reader still needs the file"
    held.release()
    assert os.listdir(folder) == []


def test_a_file_that_was_removed_while_we_locked_it_is_locked_anew(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = flocks.lock
    attempts: t.List[int] = []

    def slow(fd: int, *, exclusive: bool) -> bool:
        attempts.append(fd)
        if len(attempts) == 1:
            (folder / NAME).unlink()
        return honest(fd, exclusive=exclusive)

    before = open_descriptors()
    monkeypatch.setattr(flocks, "lock", slow)
    lock = take()
    assert len(attempts) == 2
    with open(folder / NAME, "rb") as rival, pytest.raises(BlockingIOError):
        fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.release()
    assert open_descriptors() == before


def test_the_file_stays_for_somebody_who_waits_in_it(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = take()
    with open(folder / NAME, "rb") as rival:
        monkeypatch.setattr(
            flocks, "unlock", lambda fd: (fcntl.flock(fd, fcntl.LOCK_UN), fcntl.flock(rival, fcntl.LOCK_EX))
        )
        lock.release()
        assert os.listdir(folder) == [NAME]


def test_the_next_ones_file_is_not_removed(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who came between has removed our file already, and a third one has made a new one."""
    lock = take()

    def unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)
        (folder / NAME).unlink()
        (folder / NAME).touch()

    monkeypatch.setattr(flocks, "unlock", unlock)
    lock.release()
    assert os.listdir(folder) == [NAME]


def test_a_link_in_place_of_the_file_is_not_followed(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder.mkdir()
    os.symlink(tmp_path / "target", folder / NAME)
    with pytest.raises(OSError, match="symbolic links"):
        flocks.lock_device(RDEV, exclusive=True)
    assert not (tmp_path / "target").exists()


def test_a_link_in_place_of_the_folder_is_not_followed(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", folder)
    with pytest.raises(OSError):
        flocks.lock_device(RDEV, exclusive=True)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_folder_of_an_ordinary_user_is_refused(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    honest = os.fstat
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fstat", lambda fd: os.stat_result((*honest(fd)[:4], 1000, *honest(fd)[5:])))
    before = open_descriptors()
    with pytest.raises(StorageFault, match="belongs to an ordinary user"):
        flocks.lock_device(RDEV, exclusive=True)
    assert open_descriptors() == before


def test_no_rights_for_the_folder_is_a_sentence() -> None:
    error = flocks.no_folder("/dev/sda1", PermissionError(13, "Permission denied"))
    assert str(error).startswith("/dev/sda1: Cannot use cryptsetup's lock directory")
    assert "become" in str(error)
