# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Warnings about media that keep the old blocks."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import blockdev, snapshots
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_sys import (
    FakeSys,
    block_numbers,
)


@pytest.fixture
def fake(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> FakeSys:
    return FakeSys(tmp_path, monkeypatch)


def dm(fake: FakeSys, number: str, uuid: str, slaves: t.Sequence[pathlib.Path] = ()) -> pathlib.Path:
    folder = fake.disk(f"dm-{number.partition(':')[2]}", number, **{"dm/uuid": uuid})
    (folder / "slaves").mkdir()
    for slave in slaves:
        os.symlink(slave, folder / "slaves" / slave.name)
    return folder


def on_device(number: str) -> t.Optional[str]:
    return snapshots.copies_elsewhere(-1, [blockdev.Place(block_numbers(number), 0, "/dev/x")])


def test_lvm_thin_and_snapshot_volumes_are_told_by_what_they_lie_on(fake: FakeSys) -> None:
    disk = fake.disk("sda", "8:0")
    pool = dm(fake, "252:1", "LVM-abcDEF-tpool", [disk])
    dm(fake, "252:2", "LVM-abcGHI", [pool])
    origin = dm(fake, "252:3", "LVM-abcJKL-real", [disk])
    dm(fake, "252:4", "LVM-abcMNO", [dm(fake, "252:5", "LVM-abcMNO-cow", [disk]), origin])
    dm(fake, "252:6", "LVM-abcPQR", [origin])
    dm(fake, "252:7", "LVM-abcSTU", [disk])
    assert "thin pool" in str(on_device("252:2"))
    assert "an LVM snapshot" in str(on_device("252:4"))
    assert "origin of an LVM snapshot" in str(on_device("252:6"))
    assert on_device("252:7") is None
    assert on_device("8:0") is None


def test_a_zfs_volume_is_told_by_its_name(fake: FakeSys) -> None:
    fake.disk("zd16", "230:16")
    assert "ZFS" in str(on_device("230:16"))


@pytest.mark.parametrize("file_system", ["btrfs", "zfs", "overlay", "f2fs"])
def test_an_image_on_a_copy_on_write_file_system_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, file_system: str
) -> None:
    monkeypatch.setattr(snapshots, "mount_of", lambda _fd: (0, file_system))
    sentence = snapshots.copies_elsewhere(-1, [blockdev.Place(("file", 1, 2), 0, "x.img")])
    assert sentence is not None
    assert sentence.startswith(f"The file system {file_system} ")
    assert sentence.endswith(".")


def test_an_image_on_ext4_on_a_thin_volume_is_warned_of(fake: FakeSys, monkeypatch: pytest.MonkeyPatch) -> None:
    dm(fake, "252:1", "LVM-abcDEF-tpool")
    dm(fake, "252:2", "LVM-abcGHI", [fake.sys / "devices" / "dm-1"])
    monkeypatch.setattr(snapshots, "mount_of", lambda _fd: (block_numbers("252:2")[1], "ext4"))
    assert "thin pool" in str(snapshots.copies_elsewhere(-1, [blockdev.Place(("file", 1, 2), 0, "x.img")]))


def test_a_loop_device_shares_the_fate_of_its_file(
    fake: FakeSys, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "x.img"
    image.touch()
    fake.loop("loop0", "7:0", image)
    places = [
        blockdev.Place(block_numbers("7:0"), 0, "/dev/loop0"),
        blockdev.Place(("file", 1, 2), 0, str(image), blockdev.LOOP_OF),
    ]
    monkeypatch.setattr(snapshots, "mount_of", lambda _fd: (0, "ext4"))
    assert snapshots.copies_elsewhere(-1, places) is None
    monkeypatch.setattr(snapshots, "mount_of", lambda _fd: (0, "btrfs"))
    assert "btrfs" in str(snapshots.copies_elsewhere(-1, places))
