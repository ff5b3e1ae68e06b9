# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real loop devices: one header under several names, its bytes, and locks that hold across the names."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pathlib
import shutil
import tempfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Busy, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import blockdev, locks
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.interop.in_the_child import as_nobody, hold
from ansible_collections.luksmith.luks.tests.interop.lock_lab import bytes_taken, holder_of, loop_device, refused, until
from ansible_collections.luksmith.luks.tests.tools.module_server import in_a_fork, start

pytestmark = pytest.mark.needs("loop")

SIZE = 1 << 20
FIRST_SECTOR = 64
BLKPG = 0x1269
ADD_PARTITION = 1
DELETE_PARTITION = 2


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "disk.img"
    path.write_bytes(os.urandom(SIZE))
    return path


@contextlib.contextmanager
def partition(device: str) -> t.Iterator[str]:
    """One from sector 64 to the end, told to the kernel directly: not every kernel reads partition tables."""
    _tell_the_kernel(device, ADD_PARTITION)
    try:
        until(lambda: os.path.exists(f"{device}p1"), "the node of the partition appears")
        yield f"{device}p1"
    finally:
        _tell_the_kernel(device, DELETE_PARTITION)


class _Partition(ctypes.Structure):
    """struct blkpg_partition of linux/blkpg.h."""

    _fields_ = (
        ("start", ctypes.c_longlong),
        ("length", ctypes.c_longlong),
        ("number", ctypes.c_int),
        ("names", ctypes.c_char * 128),
    )


class _Request(ctypes.Structure):
    """struct blkpg_ioctl_arg of linux/blkpg.h."""

    _fields_ = (("what", ctypes.c_int), ("flags", ctypes.c_int), ("size", ctypes.c_int), ("partition", ctypes.c_void_p))


def _tell_the_kernel(device: str, what: int) -> None:
    """What addpart and delpart do, which Debian 13 does not have any more."""
    first = FIRST_SECTOR * 512
    told = _Partition(first, SIZE - first, 1, b"")
    request = _Request(what, 0, ctypes.sizeof(told), ctypes.addressof(told))
    with open(device, "rb") as opened:
        fcntl.ioctl(opened, BLKPG, bytes(request))


def identity(path: t.Union[str, pathlib.Path]) -> t.Tuple[str, int, int, int]:
    with open_volume(str(path), writable=False) as volume:
        return volume.identity


def exclude_each_other(first: t.Union[str, pathlib.Path], second: t.Union[str, pathlib.Path]) -> bool:
    """In both directions, or in none; anything between fails."""
    answers = set()
    for one, other in ((first, second), (second, first)):
        with open_volume(str(one), writable=True) as winner, open_volume(
            str(other), writable=True
        ) as loser, locks.exclusive(winner, timeout=0):
            try:
                with locks.exclusive(loser, timeout=0):
                    answers.add(False)
            except Busy:
                answers.add(True)
                refused(locks.shared, loser)
    assert len(answers) == 1
    return answers.pop()


def test_a_loop_device_reads_and_writes_its_file(image: pathlib.Path) -> None:
    before = image.read_bytes()
    with loop_device(image) as device, open_volume(device, writable=True) as volume:
        assert volume.region.size == SIZE
        assert volume.rotational is False, "whatever the kernel says of loop devices"
        assert volume.region.read(100, 5000) == before[100:5100]
        volume.region.write(700, b"new bytes")
        volume.region.barrier()
        for read in (volume.region.read, volume.region.reread):
            assert read(0, 4096) == before[:700] + b"new bytes" + before[709:4096]
        with pytest.raises(StorageFault, match=f"ends at byte {SIZE}"):
            volume.region.write(SIZE - 1, b"xx")
    assert image.read_bytes() == before[:700] + b"new bytes" + before[709:]


def test_what_was_written_to_the_file_is_seen_through_the_device_despite_its_cache(image: pathlib.Path) -> None:
    with loop_device(image) as device, open_volume(device, writable=True) as above, open_volume(
        str(image), writable=True
    ) as below:
        above.region.read(0, 8192)
        below.region.write(512, b"from below")
        below.region.barrier()
        assert above.region.reread(512, 10) == b"from below"


def test_a_write_through_the_device_does_not_bring_old_neighbours_back_to_the_file(image: pathlib.Path) -> None:
    with loop_device(image) as device, open_volume(device, writable=True) as above, open_volume(
        str(image), writable=True
    ) as below:
        above.region.read(0, 8192)
        below.region.write(512, b"from below")
        below.region.barrier()
        above.region.write(1024, b"from above")
        above.region.barrier()
        assert below.region.reread(512, 10) == b"from below"
        assert below.region.reread(1024, 10) == b"from above"


def test_a_read_only_loop_device_is_refused_for_writing_only(image: pathlib.Path) -> None:
    with loop_device(image, "--read-only") as device:
        with open_volume(device, writable=False) as volume:
            assert volume.region.size == SIZE
        with pytest.raises(StorageFault) as caught:
            open_volume(device, writable=True)
        assert caught.value.volume == device


def test_the_paths_to_one_header_have_one_identity(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shift = str(FIRST_SECTOR * 512)
    with loop_device(image) as device, partition(device) as part, loop_device(
        image, "--offset", shift
    ) as shifted, loop_device(device) as nested:
        os.symlink(device, tmp_path / "link")
        assert identity(image) == identity(device) == identity(nested) == identity(tmp_path / "link")
        assert identity(shifted) == identity(part)
        assert identity(shifted) != identity(image)
        assert identity(shifted)[:3] == identity(image)[:3]


def test_a_device_and_its_file_exclude_each_other(image: pathlib.Path) -> None:
    with loop_device(image) as device:
        assert exclude_each_other(image, device)


def test_two_devices_of_one_file_exclude_each_other(image: pathlib.Path) -> None:
    with loop_device(image) as first, loop_device(image) as second:
        assert exclude_each_other(first, second)


def test_a_device_on_a_device_excludes_all_beneath(image: pathlib.Path) -> None:
    with loop_device(image) as middle, loop_device(middle) as top:
        assert exclude_each_other(top, middle)
        assert exclude_each_other(top, image)


def test_a_partition_of_a_device_excludes_the_file_and_other_ways_to_the_partition(image: pathlib.Path) -> None:
    with loop_device(image) as device, partition(device) as part, loop_device(
        image, "--offset", str(FIRST_SECTOR * 512)
    ) as shifted:
        assert exclude_each_other(part, shifted)
        assert exclude_each_other(part, image)


def test_different_files_do_not_exclude_each_other(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other.img"
    other.write_bytes(bytes(SIZE))
    with loop_device(image) as device:
        assert not exclude_each_other(device, other)


@pytest.mark.parametrize("ours", ["file", "loop"])
@pytest.mark.parametrize("theirs", ["file", "loop"])
def test_a_qemu_on_either_is_found_and_named(image: pathlib.Path, ours: str, theirs: str) -> None:
    with loop_device(image) as device:
        paths = {"file": str(image), "loop": device}
        with open_volume(paths[ours], writable=True) as volume:
            with holder_of(paths[theirs], 100, 101) as pid:
                message = refused(locks.exclusive, volume)
                assert f"pid {pid} (python" in message
                assert paths[theirs] in message
                assert any(f"id {pid} (python" in sentence for sentence in locks.writer_obstacles(volume))
            with locks.exclusive(volume, timeout=0):
                pass


def test_a_qemu_on_the_whole_disk_keeps_us_from_a_partition_of_it(image: pathlib.Path) -> None:
    """As when a VM has the disk and the host sees its partitions. The disk itself is not locked: each partition may be
    a volume of its own.
    """
    with loop_device(image) as device, partition(device) as part, open_volume(part, writable=True) as volume:
        with holder_of(device, 100, 101) as pid:
            message = refused(locks.exclusive, volume)
            assert f"pid {pid} (python" in message and f"{device}, the disk that it is a partition of" in message
            assert any(device in sentence for sentence in locks.writer_obstacles(volume))
            with locks.shared(volume, timeout=0):
                pass
        with locks.exclusive(volume, timeout=0):
            assert bytes_taken(device) == []
            assert bytes_taken(part) != []


def test_a_device_that_came_after_the_volume_was_opened_is_locked_too(image: pathlib.Path) -> None:
    with open_volume(str(image), writable=True) as volume, loop_device(image) as device, open_volume(
        device, writable=True
    ) as rival:
        with locks.exclusive(volume, timeout=0):
            rdev = os.stat(device).st_rdev
            assert os.path.exists(f"/run/cryptsetup/L_{os.major(rdev)}:{os.minor(rdev)}")
            refused(locks.exclusive, rival)
        with locks.exclusive(rival, timeout=0):
            refused(locks.exclusive, volume)


def test_a_device_whose_file_was_deleted_is_still_locked_against_others_on_it(image: pathlib.Path) -> None:
    with loop_device(image) as device:
        image.unlink()
        with open_volume(device, writable=True) as first, open_volume(device, writable=True) as second, locks.exclusive(
            first, timeout=0
        ):
            refused(locks.exclusive, second)


def test_a_killed_holder_of_a_device_leaves_nothing_that_stops_the_next(image: pathlib.Path) -> None:
    with loop_device(image) as device, open_volume(device, writable=True) as volume, open_volume(
        str(image), writable=True
    ) as file:
        holder = start(hold, device)
        holder.reached("held")
        for rival in (volume, file):
            assert f"pid {holder.pid} (python" in refused(locks.exclusive, rival)
        holder.kill()
        for rival in (volume, file):
            with locks.exclusive(rival, timeout=0):
                pass


def test_an_ordinary_user_locks_an_image_without_the_folder_of_root(image: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        os.chmod(folder, 0o755)  # pytest's own folders let nobody else through
        mine = shutil.copy(image, folder)
        os.chmod(mine, 0o666)
        device = stack.enter_context(loop_device(mine))
        group, mode = os.stat(device).st_gid, os.stat(device).st_mode
        stack.callback(os.chmod, device, mode & 0o777)
        os.chmod(device, 0o660)
        assert in_a_fork(as_nobody, group, mine) == "held"
        words = in_a_fork(as_nobody, group, device)
    assert words.startswith(f"{device}: Cannot use cryptsetup's lock directory")
    assert "become" in words


def test_sysfs_tells_what_losetup_did(image: pathlib.Path) -> None:
    with loop_device(image, "--offset", "4096") as device:
        rdev = os.stat(device).st_rdev
        assert blockdev.is_loop(rdev)
        assert not blockdev.is_read_only(rdev)
        below = blockdev.stack(os.stat(device), device, 10)[1]
        assert (below.numbers, below.offset) == (blockdev.numbers_of(os.stat(image)), 4106)
