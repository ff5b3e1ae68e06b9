# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Facts about block devices from sysfs: what is beneath a device, what shows the same bytes above it.

A loop device and its backing file, or a partition and its disk, are two names for the same bytes, with independent
locks. Any user can read sysfs, without opening the device.
"""

from __future__ import annotations

import os
import stat
import typing as t

SYS = "/sys"
DEV = "/dev"
# Levels of stacked loop devices; the limit of the kernel is far lower.
_DEEPEST = 16
_SECTOR = 512

PARTITION_OF = "partition"
LOOP_OF = "loop"


class Place(t.NamedTuple):
    """Byte ``offset`` of a file or block device.

    numbers: ("file", st_dev, st_ino) or ("block", st_rdev, 0); equal for all paths to one file or device.
    how:     how the place above leads here (LOOP_OF, PARTITION_OF); "" for the first one.
    """

    numbers: t.Tuple[str, int, int]
    offset: int
    path: str
    how: str = ""


def numbers_of(status: os.stat_result) -> t.Tuple[str, int, int]:
    """What identifies a file or block device, see :class:`Place`."""
    if stat.S_ISBLK(status.st_mode):
        return ("block", status.st_rdev, 0)
    return ("file", status.st_dev, status.st_ino)


def stack(status: os.stat_result, path: str, offset: int = 0) -> t.List[Place]:
    """Byte ``offset`` of a file or device and the same byte of everything beneath it, from the top down.

    It ends where the system reports no more (a backing file that is deleted or in another mount namespace).
    """
    return _walk(Place(numbers_of(status), offset, path))


def _walk(place: Place) -> t.List[Place]:
    places = [place]
    while len(places) < _DEEPEST:
        below = _beneath(places[-1])
        if below is None:
            break
        places.append(below)
    return places


def _beneath(place: Place) -> t.Optional[Place]:
    kind, rdev, _unused = place.numbers
    folder = sys_folder(rdev) if kind == "block" else None
    if folder is None:
        return None
    start = attribute(folder, "start")
    if attribute(folder, "partition") and start:
        whole = os.path.dirname(folder)
        numbers = attribute(whole, "dev").partition(":")
        if not numbers[2]:
            return None
        return Place(
            ("block", os.makedev(int(numbers[0]), int(numbers[2])), 0),
            place.offset + int(start) * _SECTOR,
            node_path(whole),
            PARTITION_OF,
        )
    backing = attribute(folder, "loop/backing_file")
    if not backing:
        return None
    try:
        status = os.stat(backing)
    except OSError:
        return None
    return Place(numbers_of(status), place.offset + int(attribute(folder, "loop/offset") or 0), backing, LOOP_OF)


def above(numbers: t.Tuple[str, int, int], offsets: t.Collection[int]) -> t.List[Place]:
    """Loop devices and partitions of them whose first byte is one of ``offsets`` of the file or device ``numbers``."""
    found = []
    for folder in _loop_folders():
        place = _place_of(folder)
        if place is None or place.numbers == numbers:
            continue
        # Only places above at least one loop device count: a partition of a plain disk has no second name.
        if any(below.numbers == numbers and below.offset in offsets for below in _walk(place)[1:]):
            found.append(place)
    return found


def _loop_folders() -> t.Iterator[str]:
    for name in names(os.path.join(SYS, "block")):
        folder = os.path.realpath(os.path.join(SYS, "block", name))
        if attribute(folder, "loop/backing_file"):
            yield folder
            for child in names(folder):
                if child.startswith(name) and attribute(folder, os.path.join(child, "partition")):
                    yield os.path.join(folder, child)


def names(folder: str) -> t.List[str]:
    """Empty if there is no such directory: a device may disappear at any time."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _place_of(folder: str) -> t.Optional[Place]:
    major, colon, minor = attribute(folder, "dev").partition(":")
    if not colon:
        return None
    return Place(("block", os.makedev(int(major), int(minor)), 0), 0, node_path(folder))


def node_path(folder: str) -> str:
    """The /dev path of a device directory in sysfs, which has "!" for "/" in names."""
    return os.path.join(DEV, os.path.basename(folder).replace("!", "/"))


def sys_folder(rdev: int) -> t.Optional[str]:
    """The directory of the device in sysfs; None without sysfs or if the device is gone."""
    link = os.path.join(SYS, "dev", "block", f"{os.major(rdev)}:{os.minor(rdev)}")
    folder = os.path.realpath(link)
    return folder if os.path.isdir(folder) else None


def is_loop(rdev: int) -> bool:
    """Whether it is a loop device or a partition of one."""
    folder = sys_folder(rdev)
    return folder is not None and bool(attribute(_disk(folder), "loop/backing_file"))


def is_rotational(rdev: int) -> bool:
    """Whether the kernel reports a rotating disk; False if it reports nothing."""
    folder = sys_folder(rdev)
    return folder is not None and attribute(_disk(folder), "queue/rotational") == "1"


def is_read_only(rdev: int) -> bool:
    """Whether the device is read-only. Same as BLKROGET, an ioctl whose number depends on the architecture."""
    folder = sys_folder(rdev)
    return folder is not None and attribute(folder, "ro") == "1"


def _disk(folder: str) -> str:
    return os.path.dirname(folder) if attribute(folder, "partition") else folder


def attribute(folder: str, name: str) -> str:
    """The value of an attribute without its newline; "" if it has none. A file name in it may be any bytes."""
    try:
        with open(os.path.join(folder, name), "rb") as stream:
            data = stream.read()
    except OSError:
        return ""
    return os.fsdecode(data[:-1] if data.endswith(b"\n") else data)
