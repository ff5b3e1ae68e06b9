# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What is mounted or used as swap, from /proc and /sys/fs/btrfs. Errors count as empty tables."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from . import blockdev

PROC = "/proc"

_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclasses.dataclass(frozen=True)
class Mount:
    """``rdev``: 0 for a file system without its own device number (btrfs); ``source``: the argument of mount."""

    rdev: int
    source: str
    target: str


def mounts() -> t.List[Mount]:
    """Every mount in the mount namespace of this process, in order."""
    found = []
    for row in _rows("self/mountinfo"):
        fields = row.split(b" ")
        if b"-" not in fields[6:] or len(fields) < 10:
            continue
        rest = fields[fields.index(b"-", 6) :]
        major, _colon, minor = fields[2].partition(b":")
        if not (major.isdigit() and minor.isdigit()) or len(rest) < 3:
            continue
        rdev = os.makedev(int(major), int(minor)) if int(major) else 0
        found.append(Mount(rdev, unescape(rest[2]), unescape(fields[4])))
    return found


def swaps() -> t.List[str]:
    """The paths of swap devices and swap files."""
    return [unescape(row.split(None, 1)[0]) for row in _rows("swaps")[1:] if row.strip()]


def btrfs_groups() -> t.List[t.Set[str]]:
    """The sysfs names of the devices of each mounted btrfs: mountinfo has only one of them."""
    folder = os.path.join(blockdev.SYS, "fs", "btrfs")
    groups = []
    for name in _names(folder):
        members = set(_names(os.path.join(folder, name, "devices")))
        if members:
            groups.append(members)
    return groups


def unescape(field: bytes) -> str:
    """Decode ``\\040`` and so on, as which the kernel writes blanks, newlines and backslashes in these tables."""
    return os.fsdecode(_OCTAL.sub(lambda match: bytes((int(match.group(1), 8) & 0xFF,)), field))


def _rows(name: str) -> t.List[bytes]:
    try:
        with open(os.path.join(PROC, name), "rb") as stream:
            return stream.read().split(b"\n")
    except OSError:
        return []


def _names(folder: str) -> t.List[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
