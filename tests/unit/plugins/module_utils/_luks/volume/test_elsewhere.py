# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder for copies of headers: refused beside the volume, warned of where it is worse than it could be."""

from __future__ import annotations

import os
import pathlib
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import blockdev, elsewhere
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_sys import (
    FakeSys,
    block_numbers,
)

VOLUME_FD = -1


@pytest.fixture
def fake(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> FakeSys:
    return FakeSys(tmp_path, monkeypatch)


def volume(*places: blockdev.Place) -> t.Any:
    return types.SimpleNamespace(places=list(places), node=types.SimpleNamespace(fd=VOLUME_FD))


def device(number: str, path: str = "/dev/x", how: str = "") -> blockdev.Place:
    return blockdev.Place(block_numbers(number), 0, path, how)


def mounted(monkeypatch: pytest.MonkeyPatch, folder: str, kind: str = "ext4", beneath: str = "") -> None:
    """The folder is on ``kind`` on the device ``folder``; the file of the volume, if it is one, on ``beneath``."""

    def mount_of(fd: int) -> t.Optional[t.Tuple[int, str]]:
        number = beneath if fd == VOLUME_FD else folder
        return (block_numbers(number)[1], kind) if number else None

    monkeypatch.setattr(elsewhere, "mount_of", mount_of)


def warnings(tmp_path: pathlib.Path, *places: blockdev.Place) -> t.List[str]:
    return elsewhere.check_elsewhere(str(tmp_path), volume(*places))


def test_another_disk_is_accepted_without_a_word(
    fake: FakeSys, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = fake.disk("sda", "8:0")
    fake.partition(fake.disk("sdb", "8:16"), "sdb1", "8:17", 2048)
    fake.partition(disk, "sda2", "8:2", 2048)
    mounted(monkeypatch, "8:17")
    assert warnings(tmp_path, device("8:2"), device("8:0", how=blockdev.PARTITION_OF)) == []


def test_the_same_disk_is_a_warning(fake: FakeSys, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = fake.disk("sda", "8:0")
    fake.partition(disk, "sda1", "8:1", 2048)
    fake.partition(disk, "sda2", "8:2", 8192)
    mounted(monkeypatch, "8:1")
    (said,) = warnings(tmp_path, device("8:2"), device("8:0", how=blockdev.PARTITION_OF))
    assert "is on the disk of the volume" in said and "sda" in said and "sda1" not in said


def test_a_file_system_on_the_volume_itself_is_refused(
    fake: FakeSys, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mounted from the mapping of the volume, or from a logical volume on it."""
    part = fake.partition(fake.disk("sda", "8:0"), "sda2", "8:2", 2048)
    below = part
    for name, number in (("dm-0", "252:0"), ("dm-1", "252:1")):
        folder = fake.disk(name, number)
        (folder / "slaves").mkdir()
        os.symlink(below, folder / "slaves" / below.name)
        below = folder
        mounted(monkeypatch, number)
        with pytest.raises(Refused, match="is on the volume itself"):
            warnings(tmp_path, device("8:2"), device("8:0", how=blockdev.PARTITION_OF))


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_memory_is_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounted(monkeypatch, "0:40", kind)
    with pytest.raises(Refused, match="is in memory"):
        warnings(tmp_path, device("8:2"))


def test_what_cannot_be_told_is_said(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted(monkeypatch, "0:52", "nfs4")
    (said,) = warnings(tmp_path, device("8:2"))
    assert "nfs4" in said and "could not be told" in said
    mounted(monkeypatch, "")
    (said,) = warnings(tmp_path, device("8:2"))
    assert "could not be told" in said


def test_the_file_system_of_an_image_is_refused_under_any_of_its_names(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own, that of the file beneath a loop device, and another subvolume of the same btrfs."""
    here = tmp_path.stat()
    image = blockdev.Place(("file", here.st_dev, 7), 0, "/srv/image")
    mounted(monkeypatch, "8:17")
    with pytest.raises(Refused, match="is on the file system of /srv/image"):
        warnings(tmp_path, image)
    with pytest.raises(Refused, match="is on the file system of /srv/image"):
        warnings(tmp_path, device("7:0"), image)
    mounted(monkeypatch, "0:30", "btrfs", beneath="0:30")
    with pytest.raises(Refused, match="is on the file system of /srv/image"):
        warnings(tmp_path, blockdev.Place(("file", here.st_dev + 1, 7), 0, "/srv/image"))


def test_a_folder_that_is_none_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(StorageFault, match="Create it first"):
            elsewhere.check_elsewhere(str(path), volume(device("8:2")))
