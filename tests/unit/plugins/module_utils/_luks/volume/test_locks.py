# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks on files: who excludes whom, what a refusal says, what is left behind.

A second descriptor plays the other program.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import struct
import time
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Busy, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import (
    blockdev,
    flocks,
    lock_holders,
    lock_targets,
    locks,
    ofd,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import Volume, open_volume
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors
from ansible_collections.luksmith.luks.tests.tools.module_server import pause, start

Lock = t.Callable[..., t.ContextManager[None]]


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "volume.img"
    path.write_bytes(b"x" * 4096)
    return path


@pytest.fixture
def volume(image: pathlib.Path) -> t.Iterator[Volume]:
    with open_volume(str(image), writable=True) as opened:
        yield opened


@pytest.fixture
def other(image: pathlib.Path) -> t.Iterator[int]:
    """The descriptor of another program."""
    fd = os.open(image, os.O_RDWR)
    yield fd
    with contextlib.suppress(OSError):
        os.close(fd)


def locks_on(path: pathlib.Path) -> t.List[lock_holders.Lock]:
    status = os.stat(path)
    return [lock for holder in lock_holders.holders_of((status.st_dev, status.st_ino)) for lock in holder.locks]


def bytes_held(path: pathlib.Path) -> t.List[int]:
    found = [lock for lock in locks_on(path) if lock.kind == lock_holders.OFD]
    return [byte for byte in range(256) if any(lock.covers(byte) for lock in found)]


def refused(lock: Lock, volume: Volume, words: str = "in use") -> str:
    with pytest.raises(Busy, match=words) as caught, lock(volume, timeout=0):
        pass
    return str(caught.value)


def test_who_uses_the_disk_of_a_partition_is_found_and_the_disk_is_not_locked(
    volume: Volume, image: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(8192))

    def stack(status: os.stat_result, path: str, _offset: int) -> t.List[blockdev.Place]:
        whole = blockdev.Place(blockdev.numbers_of(os.stat(disk)), 4096, str(disk), blockdev.PARTITION_OF)
        return [blockdev.Place(blockdev.numbers_of(status), 0, path), whole]

    monkeypatch.setattr(blockdev, "stack", stack)
    with disk.open("r+b") as theirs:
        assert ofd.lock(theirs.fileno(), 101)
        assert f"{disk}, the disk that it is a partition of" in refused(locks.exclusive, volume)
        ofd.unlock(theirs.fileno(), 101)
        with locks.exclusive(volume, timeout=0):
            assert bytes_held(disk) == [] and bytes_held(image)


def test_another_device_at_the_path_of_a_related_one_is_closed(volume: Volume, tmp_path: pathlib.Path) -> None:
    place: t.Any = types.SimpleNamespace(path=str(tmp_path / "other"), numbers="8:0")
    (tmp_path / "other").write_bytes(b"x")
    before = open_descriptors()
    assert lock_targets._related_node(volume, place, optional=False) is None
    assert open_descriptors() == before and not volume.related_nodes


def test_a_writer_holds_what_a_qemu_that_changes_keys_holds(volume: Volume, image: pathlib.Path) -> None:
    with locks.exclusive(volume, timeout=0):
        assert bytes_held(image) == [100, 101, 200, 201, 203]
        assert not any(lock.exclusive for lock in locks_on(image) if lock.kind == lock_holders.OFD)
        assert lock_holders.Lock(lock_holders.FLOCK, True, 0, None) in locks_on(image)
    assert locks_on(image) == []


def test_a_reader_holds_what_a_qemu_that_reads_holds(volume: Volume, image: pathlib.Path) -> None:
    with locks.shared(volume, timeout=0):
        assert bytes_held(image) == [100]
        assert lock_holders.Lock(lock_holders.FLOCK, False, 0, None) in locks_on(image)
    assert locks_on(image) == []


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        ("exclusive", "exclusive", False),
        ("exclusive", "shared", False),
        ("shared", "exclusive", False),
        ("shared", "shared", True),
    ],
)
def test_one_writer_or_many_readers(volume: Volume, image: pathlib.Path, first: str, second: str, fits: bool) -> None:
    with open_volume(str(image), writable=False) as rival, getattr(locks, first)(volume, timeout=0):
        if fits:
            with getattr(locks, second)(rival, timeout=0):
                pass
        else:
            assert f"pid {os.getpid()} (python" in refused(getattr(locks, second), rival)
        with pytest.raises(ZeroDivisionError):
            raise ZeroDivisionError
    with open_volume(str(image), writable=False) as rival, getattr(locks, second)(rival, timeout=0):
        pass


# What each holder in qemu-amend.md 3.2 has, and whether it lets a writer and a reader of ours in.
QEMU_HOLDERS = [
    ("unused file node", (), True, True),
    ("idle luks node, qemu-io -r", (100,), False, True),
    ("qemu-io", (100, 101), False, True),
    ("nbd export", (100, 101, 203), False, True),
    ("guest on luks", (100, 101, 201), False, True),
    ("qcow2 node", (100, 101, 103, 201, 203), False, True),
    ("read-only qcow2 node", (100, 201, 203), False, True),
    ("amend", (100, 101, 200, 201), False, False),
    ("resize only", (103,), False, True),
    ("forbids writing only", (201,), False, True),
    ("other permissions", (102, 202, 203, 104, 204), True, True),
]


@pytest.mark.parametrize(
    ("taken", "writer_fits", "reader_fits"), [row[1:] for row in QEMU_HOLDERS], ids=[row[0] for row in QEMU_HOLDERS]
)
def test_each_holder_of_qemu_is_respected(
    volume: Volume, image: pathlib.Path, other: int, taken: t.Tuple[int, ...], writer_fits: bool, reader_fits: bool
) -> None:
    for byte in taken:
        assert ofd.lock(other, byte)
    for lock, fits in ((locks.exclusive, writer_fits), (locks.shared, reader_fits)):
        if fits:
            with lock(volume, timeout=0):
                pass
        else:
            refused(lock, volume)
        assert bytes_held(image) == sorted(taken)
        assert not any(item.kind == lock_holders.FLOCK for item in locks_on(image))
    assert bool(locks.writer_obstacles(volume)) is not writer_fits


def test_a_refusal_names_byte_permission_pid_program_and_what_to_do(volume: Volume, other: int) -> None:
    for byte in (100, 101, 201):
        ofd.lock(other, byte)
    message = refused(locks.exclusive, volume)
    for words in (
        f"pid {os.getpid()} (python",
        '"consistent read" (byte 100)',
        '"write" (byte 101)',
        'deny "write" (byte 201)',
        volume.path,
        "lock_timeout",
        "Nothing was changed",
    ):
        assert words in message


def test_a_holder_that_nobody_names_is_admitted(
    volume: Volume, other: int, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    ofd.lock(other, 100)
    monkeypatch.setattr(lock_holders, "PROC", str(tmp_path / "nowhere"))
    assert "another machine" in refused(locks.exclusive, volume, "consistent read")


def hold_whole_file(image: pathlib.Path, command: int) -> None:
    """In a process of its own."""
    fcntl.fcntl(os.open(image, os.O_RDWR), command, struct.pack("@hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    pause("locked")


@pytest.mark.parametrize("command", [37, fcntl.F_SETLK], ids=["ofd", "posix"])
def test_an_exclusive_lock_on_the_whole_file_keeps_everybody_out(
    volume: Volume, image: pathlib.Path, command: int
) -> None:
    """As cloud-hypervisor takes it; and the old kind that belongs to a process, here to another one."""
    child = start(hold_whole_file, image, command)
    child.reached("locked")
    for lock in (locks.exclusive, locks.shared):
        assert f"pid {child.pid}" in refused(lock, volume, "exclusive lock on bytes 0 to the end")


@pytest.mark.parametrize(
    ("kind", "writer_fits", "reader_fits"), [(fcntl.LOCK_EX, False, False), (fcntl.LOCK_SH, False, True)]
)
def test_the_lock_of_cryptsetup_is_respected(
    volume: Volume, image: pathlib.Path, other: int, kind: int, writer_fits: bool, reader_fits: bool
) -> None:
    fcntl.flock(other, kind)
    for lock, fits in ((locks.exclusive, writer_fits), (locks.shared, reader_fits)):
        if fits:
            with lock(volume, timeout=0):
                pass
        else:
            assert f"pid {os.getpid()} (python" in refused(lock, volume, f"cryptsetup's lock {image}")
        assert bytes_held(image) == []


def hold_as_cryptsetup_and_qemu(image: pathlib.Path) -> None:
    """In a process of its own."""
    fd = os.open(image, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    ofd.lock(fd, 100)
    pause("locked")


def test_obstacles_of_other_processes_are_told_without_taking_anything(
    volume: Volume, image: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start(hold_as_cryptsetup_and_qemu, image)
    child.reached("locked")
    with locks.shared(volume, timeout=0):
        monkeypatch.setattr(ofd, "lock", None)
        monkeypatch.setattr(flocks, "lock", None)
        sentences = locks.writer_obstacles(volume)
    child.kill()
    assert len(sentences) == 2
    assert all(
        f"pid {child.pid} (python".lower() in sentence.lower() and sentence.endswith(".") for sentence in sentences
    )
    assert '"consistent read" (byte 100)' in sentences[0]
    assert "cryptsetup's lock" in sentences[1]
    assert locks.writer_obstacles(volume) == []


def test_own_locks_are_no_obstacle(volume: Volume) -> None:
    with locks.shared(volume, timeout=0):
        assert locks.writer_obstacles(volume) == []


def test_waiting_ends_as_soon_as_the_holder_goes(volume: Volume, other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ofd.lock(other, 100)
    pauses: t.List[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            ofd.unlock(other, 100)

    monkeypatch.setattr(time, "sleep", pause)
    with locks.exclusive(volume, timeout=60):
        pass
    assert len(pauses) == 3
    assert all(0 < seconds <= 0.5 for seconds in pauses)
    assert len(set(pauses)) == 3, "two that collide must not collide again"


def test_waiting_ends_at_the_timeout(volume: Volume, other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    ofd.lock(other, 100)
    with pytest.raises(Busy, match="waited 7 s"), locks.exclusive(volume, timeout=7):
        pass
    assert now[0] == pytest.approx(1007)


def test_a_waiting_writer_disturbs_nobody(
    volume: Volume, other: int, image: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transient lock of ours on byte 200 would make a starting guest fail."""
    ofd.lock(other, 100)
    taken: t.List[int] = []
    monkeypatch.setattr(ofd, "lock", lambda _fd, byte: taken.append(byte) or True)
    refused(locks.exclusive, volume)
    assert taken == []


def test_a_collision_after_the_first_look_gives_everything_back(
    volume: Volume, other: int, image: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ofd.lock

    def meanwhile(fd: int, byte: int) -> bool:
        if byte == 201:
            honest(other, 101)
        return honest(fd, byte)

    monkeypatch.setattr(ofd, "lock", meanwhile)
    refused(locks.exclusive, volume, "byte 101")
    assert bytes_held(image) == [101]
    assert not any(lock.kind == lock_holders.FLOCK for lock in locks_on(image))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
@pytest.mark.parametrize("call", ["fcntl", "flock"])
def test_a_file_system_without_locks_is_a_sentence(
    volume: Volume, image: pathlib.Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    def fail(*_args: t.Any) -> t.Any:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, call, fail)
        for lock in (locks.exclusive, locks.shared):
            with pytest.raises(
                StorageFault, match=rf"does not support locks.*{errno.errorcode[number]}"
            ) as caught, lock(volume, timeout=0):
                pass
            assert caught.value.volume == str(image)
    assert locks_on(image) == []


def test_a_file_system_that_can_only_answer_but_not_lock_is_a_sentence_too(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = fcntl.fcntl

    def fail(fd: int, command: int, request: bytes) -> t.Any:
        if command == 37:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        return honest(fd, command, request)

    monkeypatch.setattr(fcntl, "fcntl", fail)
    with pytest.raises(StorageFault, match=r"does not support locks.*ENOLCK"), locks.exclusive(volume, timeout=0):
        pass


def test_an_error_inside_gives_the_locks_back(volume: Volume, image: pathlib.Path) -> None:
    with pytest.raises(KeyboardInterrupt), locks.exclusive(volume, timeout=0):
        raise KeyboardInterrupt
    assert locks_on(image) == []


def test_a_busy_raised_by_the_caller_is_passed_on_and_not_taken_for_a_collision(
    volume: Volume, image: pathlib.Path
) -> None:
    entered = []
    with pytest.raises(Busy, match="Of the caller"), locks.exclusive(volume, timeout=60):
        entered.append(1)
        raise Busy("of the caller")
    assert entered == [1]


@pytest.mark.parametrize("lock", [locks.exclusive, locks.shared])
def test_the_payload_of_a_detached_header_is_watched_too(
    volume: Volume, image: pathlib.Path, other: int, tmp_path: pathlib.Path, lock: Lock
) -> None:
    header = tmp_path / "header"
    header.write_bytes(b"h" * 4096)
    with open_volume(str(image), str(header), writable=True) as detached:
        with lock(detached, timeout=0):
            assert bytes_held(image) == bytes_held(header) != []
            assert not any(item.kind == lock_holders.FLOCK for item in locks_on(image)), (
                "cryptsetup locks the header only"
            )
            refused(locks.exclusive, volume)
        ofd.lock(other, 100)
        refused(locks.exclusive, detached, "the payload")


def test_a_header_that_is_its_own_payload_does_not_wait_for_itself(image: pathlib.Path) -> None:
    with open_volume(str(image), str(image), writable=True) as volume, locks.exclusive(volume, timeout=0):
        pass


def test_locks_last_as_long_as_the_descriptor(volume: Volume, image: pathlib.Path) -> None:
    with open_volume(str(image), writable=True) as rival:
        held = locks.exclusive(rival, timeout=0)
        held.__enter__()
        rival.close()
        with locks.exclusive(volume, timeout=0):
            pass
        held.__exit__(None, None, None)
