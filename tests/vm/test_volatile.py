# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of the power cuts really lose what was not flushed; qemu-io is the guest here."""

from __future__ import annotations

import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.vm.volatile import SECTOR, Disk
from ansible_collections.luksmith.luks.tests.vm.volumes import Shelf

pytestmark = pytest.mark.needs("qemu-io")
SIZE = 64 * SECTOR


def qemu_io(disk: Disk, *commands: str) -> t.Any:
    words = [word for command in commands for word in ("-c", command)]
    return subprocess.Popen(
        ["qemu-io", "-f", "raw", "-t", "writeback", *words, f"nbd+unix:///?socket={disk.socket}"],
        stdout=subprocess.DEVNULL,
    )


def qemu_io_until_cut(shelf: Shelf, disk: Disk, *commands: str) -> None:
    guest = qemu_io(disk, *commands)
    assert shelf.supply.off.wait(600)
    guest.kill()
    guest.wait()


def test_flushed_writes_stay_whatever_the_seed(shelf: Shelf) -> None:
    disk = shelf.disk("disk", bytes(SIZE))
    assert qemu_io(disk, "write -P 1 0 4096", "flush").wait() == 0
    assert {disk.after_power_cut(seed)[0][:4096] for seed in range(5)} == {b"\1" * 4096}


def test_unflushed_writes_are_read_back_but_lost_torn_or_kept_as_the_seed_says(shelf: Shelf) -> None:
    disk = shelf.disk("disk", bytes(SIZE))
    # QEMU flushes when it closes the disk, so the power goes before.
    shelf.supply.watch(disk, SIZE, cut_at=3)
    qemu_io_until_cut(shelf, disk, "write -P 1 0 4096", "write -P 2 4096 4096", "read -P 1 0 4096", "flush")
    assert disk.after_power_cut(0) == (bytes(SIZE), 16, 0)
    assert disk.after_power_cut(1) == (b"\1" * 4096 + b"\2" * 4096 + bytes(SIZE - 8192), 16, 16)
    torn = {disk.after_power_cut(seed)[0] for seed in range(2, 20)}
    assert len(torn) == 18
    assert all(len(set(state[at : at + SECTOR])) == 1 for state in torn for at in range(0, SIZE, SECTOR))


def test_the_cut_comes_in_the_middle_of_the_counted_write(shelf: Shelf) -> None:
    disk = shelf.disk("disk", bytes(SIZE))
    shelf.supply.watch(disk, 512, cut_at=2)
    qemu_io_until_cut(shelf, disk, "write -P 9 8192 512", "flush", "write -P 1 0 512", "flush", "write -P 2 512 512")
    state, sectors, _kept = disk.after_power_cut(0)
    assert (state[:512], state[8192:8704], sectors) == (bytes(512), b"\x09" * 512, 1)
