# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Whether a folder is on another file system and other devices than a volume, as far as the system tells.

Sources: device numbers, mountinfo and sysfs. What a copy of a header is for decides what counts: it must outlive a
power failure in the middle of a write to the volume, and must be readable when the volume opens with nothing.
"""

from __future__ import annotations

import os
import typing as t

from ..errors import Refused
from ..file_system import mount_of
from ..paths import fault
from . import blockdev
from .storage import Volume

_IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")
_DEEPEST = 16


def check_elsewhere(folder: str, volume: Volume) -> t.List[str]:
    """Warnings of what could not be told, or is worse than it could be.

    Raises Refused if the folder is in memory, or on the file system or device of the volume, and StorageFault if there
    is no such folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise fault(
            folder, "cannot open the folder", error, remedy="Create it first, for root only (mode 0700)"
        ) from None
    try:
        number, mount = os.fstat(descriptor).st_dev, mount_of(descriptor)
    finally:
        os.close(descriptor)
    if mount is not None and mount[1] in _IN_MEMORY:
        raise _refused(folder, f"is in memory ({mount[1]})", "a power failure takes it away")
    here = mount_of(volume.node.fd)
    for place in volume.places:
        kind, device, _inode = place.numbers
        same_mount = place is volume.places[0] and here is not None and mount is not None and here[0] == mount[0]
        if kind == "file" and (device == number or same_mount):
            raise _refused(
                folder, f"is on the file system of {place.path}", "what damages that file system damages the copy, too"
            )
    if mount is None or not os.major(mount[0]):
        kind = "an unknown file system" if mount is None else mount[1]
        return [f"whether backup_dir ({folder}, {kind}) is on another disk than the volume could not be told"]
    below = _devices_below(mount[0])
    mine = {place.numbers[1] for place in volume.places[:1] if place.numbers[0] == "block"}
    if mine & below:
        raise _refused(folder, "is on the volume itself", "it cannot be read when the volume does not open")
    others = {device for place in volume.places for device in _devices_of(place)}
    shared = sorted(blockdev.node_path(blockdev.sys_folder(device) or "") for device in others & below)
    return [
        f"backup_dir ({folder}) is on the disk of the volume ({', '.join(shared)}): a fault of it takes both"
    ] * bool(shared)


def _refused(folder: str, found: str, why: str) -> Refused:
    return Refused(
        f"backup_dir ({folder}) {found}",
        why=f"the copy there is the only way back while a keyslot is replaced in place, and {why}",
        remedy="give a folder on another file system, on a disk",
    )


def _devices_of(place: blockdev.Place) -> t.Set[int]:
    _kind, device, _inode = place.numbers
    return _devices_below(device) if os.major(device) else set()


def _devices_below(rdev: int) -> t.Set[int]:
    """The block device and all that it lies on: disks of partitions, devices of mappings and arrays, backing files."""
    found: t.Set[int] = set()
    todo = [(rdev, 0)]
    while todo:
        device, depth = todo.pop()
        if device in found or depth > _DEEPEST:
            continue
        found.add(device)
        folder = blockdev.sys_folder(device)
        if folder is None:
            continue
        if blockdev.attribute(folder, "partition"):
            todo += [(number, depth + 1) for number in _number(os.path.dirname(folder))]
        for slave in blockdev.names(os.path.join(folder, "slaves")):
            todo += [(number, depth + 1) for number in _number(os.path.join(folder, "slaves", slave))]
        backing = blockdev.attribute(folder, "loop/backing_file")
        if backing and os.path.exists(backing):
            todo.append((os.stat(backing).st_dev, depth + 1))
    return found


def _number(folder: str) -> t.List[int]:
    major, colon, minor = blockdev.attribute(folder, "dev").partition(":")
    return [os.makedev(int(major), int(minor))] if colon else []
