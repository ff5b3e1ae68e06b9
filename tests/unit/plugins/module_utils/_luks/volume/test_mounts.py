# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel's tables say of mounts and swap, odd names included."""

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import mounts
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.mounts import Mount
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_host import FakeHost


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return FakeHost(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            b"36 35 253:0 / /home rw,relatime shared:1 - ext4 /dev/mapper/home rw",
            Mount(os.makedev(253, 0), "/dev/mapper/home", "/home"),
        ),
        (b"36 35 253:0 /sub /a\\040b\\134 rw - ext4 /dev/x\\012y rw", Mount(os.makedev(253, 0), "/dev/x\ny", "/a b\\")),
        (
            b"36 35 0:42 /@ / rw shared:1 master:2 propagate_from:3 - btrfs /dev/dm-1 rw,subvol=/@",
            Mount(0, "/dev/dm-1", "/"),
        ),
        (b"36 35 253:0 / /- rw - ext4 - rw", Mount(os.makedev(253, 0), "-", "/-")),
        (b"36 35 253:0 / /\xff rw - ext4 x rw", Mount(os.makedev(253, 0), "x", "/\udcff")),
    ],
)
def test_rows_of_mountinfo(host: FakeHost, row: bytes, expected: Mount) -> None:
    (host.proc / "self" / "mountinfo").write_bytes(row + b"\n")
    assert mounts.mounts() == [expected]


def test_rows_that_are_cut_or_odd_are_passed_over(host: FakeHost) -> None:
    (host.proc / "self" / "mountinfo").write_bytes(
        b"\n1 2 3\n36 35 253:0 / /home rw\n36 35 x:y / /a rw - ext4 b rw\n36 35 253:0 / /b rw -\n"
    )
    assert mounts.mounts() == []


def test_swaps(host: FakeHost) -> None:
    (host.proc / "swaps").write_bytes(
        b"Filename\tType\n/dev/dm-1  partition 1 0 -2\n/swap\\040file\\040(deleted) file 1 0 -3\n\n"
    )
    assert mounts.swaps() == ["/dev/dm-1", "/swap file (deleted)"]


def test_without_proc_nothing_is_mounted(host: FakeHost) -> None:
    assert (mounts.mounts(), mounts.swaps(), mounts.btrfs_groups()) == ([], [], [])
