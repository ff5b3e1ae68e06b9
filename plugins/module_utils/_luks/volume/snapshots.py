# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What may keep old blocks of an overwritten key area: copy-on-write file systems, snapshots, thin pools.

Sources: mountinfo and sysfs of the kernel, and the suffixes of the device-mapper UUIDs of hidden LVM volumes
(lib/activate/dev_manager.c: "tpool", "cow", "real", "vpool"). The remapping inside an SSD is not visible.
"""

from __future__ import annotations

import os
import typing as t

from ..file_system import mount_of
from . import blockdev

_FILE_SYSTEMS = {
    "btrfs": "writes every change to a new place and may have snapshots",
    "zfs": "writes every change to a new place and may have snapshots",
    "bcachefs": "writes every change to a new place and may have snapshots",
    "nilfs2": "writes every change to a new place and keeps checkpoints",
    "f2fs": "is log-structured and writes every change to a new place",
    "overlay": "leaves the version of a lower layer untouched",
}
_DEVICE_MAPPER = {
    "tpool": "a thin pool, which may have snapshots of it",
    "cow": "an LVM snapshot",
    "real": "the origin of an LVM snapshot",
    "vpool": "a deduplicating VDO pool, which writes every change to a new place",
}
_DEEPEST = 16


def copies_elsewhere(fd: int, places: t.Sequence[blockdev.Place]) -> t.Optional[str]:
    """A warning if old bytes may survive an overwrite of the volume, else None.

    places: the volume and what is beneath it (:func:`.blockdev.stack`); fd: descriptor of the first one.
    """
    reason = None
    for place in places:
        kind, number, _inode = place.numbers
        if kind == "block":
            reason = _device_reason(number)
        elif place.how:
            reason = _backing_reason(place.path)
        else:
            reason = _file_reason(fd)
        if reason:
            return f"{reason}: an old copy of an erased keyslot may survive there, and no overwrite reaches it."
    return None


def _backing_reason(path: str) -> t.Optional[str]:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _file_reason(fd)
    finally:
        os.close(fd)


def _file_reason(fd: int) -> t.Optional[str]:
    mount = mount_of(fd)
    if mount is None:
        return None
    device, file_system = mount
    if file_system in _FILE_SYSTEMS:
        return f"The file system {file_system} {_FILE_SYSTEMS[file_system]}"
    return _device_reason(device)


def _device_reason(rdev: int) -> t.Optional[str]:
    folder = blockdev.sys_folder(rdev)
    for _level in range(_DEEPEST):
        if folder is None:
            return None
        if os.path.basename(folder).startswith("zd"):
            return "The device is a ZFS volume, which writes every change to a new place"
        suffix = _uuid(folder).rpartition("-")[2]
        if suffix in _DEVICE_MAPPER:
            return f"The device lies on {_DEVICE_MAPPER[suffix]}"
        folder = _first_slave(folder)
    return None


def _uuid(folder: str) -> str:
    try:
        with open(os.path.join(folder, "dm", "uuid"), encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _first_slave(folder: str) -> t.Optional[str]:
    """One device beneath is enough: the hidden volumes under a thin or snapshot volume of LVM all show the same."""
    try:
        names = sorted(os.listdir(os.path.join(folder, "slaves")))
    except OSError:
        return None
    return os.path.realpath(os.path.join(folder, "slaves", names[0])) if names else None
