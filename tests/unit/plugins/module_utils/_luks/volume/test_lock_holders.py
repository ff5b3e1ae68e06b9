# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a lock, read from a made-up and from the real /proc."""

from __future__ import annotations

import fcntl
import os
import pathlib

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import lock_holders
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.lock_holders import Lock


class FakeProc:
    def __init__(self, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        monkeypatch.setattr(lock_holders, "PROC", str(root))

    def process(self, pid: int, program: str) -> None:
        (self.root / str(pid) / "fd").mkdir(parents=True)
        (self.root / str(pid) / "fdinfo").mkdir()
        os.symlink(f"/usr/bin/{program}", self.root / str(pid) / "exe")

    def descriptor(self, pid: int, fd: int, target: pathlib.Path, *locks: str) -> None:
        os.symlink(target, self.root / str(pid) / "fd" / str(fd))
        lines = "".join(f"lock:\t{number}: {lock}\n" for number, lock in enumerate(locks, 1))
        (self.root / str(pid) / "fdinfo" / str(fd)).write_text(f"pos:\t0\nflags:\t02100002\n{lines}")


@pytest.fixture
def fake(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> FakeProc:
    root = tmp_path / "proc"
    root.mkdir()
    return FakeProc(root, monkeypatch)


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "x.img"
    path.touch()
    return path


def inode(path: pathlib.Path) -> tuple[int, int]:
    status = os.stat(path)
    return (status.st_dev, status.st_ino)


def test_every_holder_is_named_by_pid_and_program(fake: FakeProc, image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other"
    other.touch()
    fake.process(900, "qemu-nbd")
    fake.descriptor(
        900, 9, image, "OFDLCK ADVISORY  READ -1 fe:00:7 100 101", "OFDLCK ADVISORY  READ -1 fe:00:7 203 203"
    )
    fake.descriptor(900, 10, other, "OFDLCK ADVISORY  READ -1 fe:00:8 200 200")
    fake.descriptor(900, 11, image)
    fake.process(50, "qemu-io (deleted)")
    fake.descriptor(50, 3, image, "POSIX  ADVISORY  WRITE 50 fe:00:7 0 EOF")
    fake.process(60, "bystander")
    fake.descriptor(60, 3, image)
    found = lock_holders.holders_of(inode(image))
    assert [str(holder) for holder in found] == ["pid 50 (qemu-io)", "pid 900 (qemu-nbd)"]
    assert found[0].locks == (Lock(lock_holders.POSIX, True, 0, None),)
    assert found[1].locks == (Lock(lock_holders.OFD, False, 100, 101), Lock(lock_holders.OFD, False, 203, 203))


def test_who_only_waits_holds_nothing(fake: FakeProc, image: pathlib.Path) -> None:
    fake.process(50, "cryptsetup")
    fake.descriptor(50, 3, image, "-> FLOCK  ADVISORY  WRITE 50 fe:00:7 0 EOF")
    assert lock_holders.holders_of(inode(image)) == []


def test_the_table_of_the_host_names_those_whose_descriptors_are_hidden(fake: FakeProc, image: pathlib.Path) -> None:
    device, number = inode(image)
    place = f"{os.major(device):02x}:{os.minor(device):02x}:{number}"
    (fake.root / "locks").write_text(
        f"1: FLOCK  ADVISORY  WRITE 70 {place} 0 EOF\n"
        f"1: -> FLOCK  ADVISORY  WRITE 71 {place} 0 EOF\n"
        f"2: OFDLCK ADVISORY  READ -1 {place} 100 100\n"
        f"3: FLOCK  ADVISORY  WRITE 72 {place}1 0 EOF\n"
        f"4: FLOCK  ADVISORY  WRITE 73 {place} 0 EOF\n"
    )
    for pid in (70, 71, 72):
        (fake.root / str(pid)).mkdir()
        (fake.root / str(pid) / "comm").write_text("cryptsetup\n")
    assert [str(holder) for holder in lock_holders.holders_of(inode(image))] == ["pid 70 (cryptsetup)"]


def test_own_descriptors_can_be_left_out(image: pathlib.Path) -> None:
    with open(image, "rb") as first, open(image, "rb") as second:
        fcntl.flock(first, fcntl.LOCK_SH)
        fcntl.flock(second, fcntl.LOCK_SH)
        assert [holder.pid for holder in lock_holders.holders_of(inode(image), own=(first.fileno(),))] == [os.getpid()]
        assert lock_holders.holders_of(inode(image), own=(first.fileno(), second.fileno())) == []
        assert "this process" in str(lock_holders.holders_of(inode(image))[0])


def test_a_hidden_proc_names_nobody(
    tmp_path: pathlib.Path, image: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_holders, "PROC", str(tmp_path / "nowhere"))
    assert lock_holders.holders_of(inode(image)) == []


@pytest.mark.parametrize(
    ("first", "last", "inside", "outside"),
    [(100, 101, (100, 101), (99, 102)), (0, None, (0, 1 << 40), ()), (200, None, (203,), (199,))],
)
def test_a_lock_covers_its_bytes(
    first: int, last: int | None, inside: tuple[int, ...], outside: tuple[int, ...]
) -> None:
    lock = Lock(lock_holders.OFD, False, first, last)
    assert all(lock.covers(byte) for byte in inside)
    assert not any(lock.covers(byte) for byte in outside)


def test_who_serves_a_disk_and_may_write_to_it(fake: FakeProc, image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Without a lock; one that reads, one with another file and programs that are done soon are none."""
    other = tmp_path / "other"
    other.touch()
    fake.process(900, "qemu-system-x86_64")
    fake.descriptor(900, 9, image)
    fake.process(901, "nbdkit")
    fake.descriptor(901, 3, image)
    (fake.root / "901" / "fdinfo" / "3").write_text("pos:\t0\nflags:\t02100000\n")
    fake.process(902, "qemu-nbd")
    fake.descriptor(902, 3, other)
    fake.process(903, "python3.11")
    fake.descriptor(903, 3, image)
    fake.process(904, "qemu-io")  # it has closed its files meanwhile
    assert [str(holder) for holder in lock_holders.writers_of(image.stat())] == ["pid 900 (qemu-system-x86_64)"]
