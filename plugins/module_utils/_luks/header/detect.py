# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Which LUKS version a header has, or what the bytes are instead."""

from __future__ import annotations

import typing as t

from ..errors import MalformedHeader, NotLuks
from . import magic
from .reading import Read, TolerantRead

Result = t.TypeVar("Result")


def by_version(
    read: Read, size: int, luks1: t.Callable[[Read, int], Result], luks2: t.Callable[[Read, int], Result]
) -> Result:
    """What the reader of its version makes of the header at the start of ``size`` readable bytes.

    If a part of a LUKS2 header cannot be read, that copy counts as damaged and the other one is used. As in cryptsetup,
    an unknown version in the primary header is refused even if the secondary one is intact.

    Raises NotLuks if the bytes are something else (the error names it), StorageFault if a needed part cannot be read,
    MalformedHeader, and what the reader of the version raises.
    """
    tolerant = TolerantRead(read)
    start = tolerant(0, 8) if size >= 8 else b""
    try:
        if start.startswith(magic.LUKS):
            version = int.from_bytes(start[6:8], "big")
            if version == 1:
                return luks1(read, size)
            if version == 2:
                return luks2(tolerant, size)
            raise MalformedHeader(
                f"its LUKS header has version {version}",
                why="only versions 1 and 2 exist",
                remedy="Inspect the device with 'cryptsetup luksDump'; if the header is damaged, restore a header "
                "backup",
            )
        if any(
            tolerant(offset, len(magic.SECONDARY)) == magic.SECONDARY
            for offset in magic.SECONDARY_OFFSETS
            if offset + len(magic.SECONDARY) <= size
        ):
            return luks2(tolerant, size)
        if tolerant.fault is None:
            raise not_luks(read, size)
    except (NotLuks, MalformedHeader):
        if tolerant.fault is None:
            raise
    raise tolerant.fault


def not_luks(read: Read, size: int) -> NotLuks:
    """The error for ``size`` readable bytes without a LUKS header; returned, not raised."""
    remedy = "Check the path; this collection never formats a device"
    if size == 0:
        return NotLuks("it is empty, not a LUKS volume", remedy=remedy)
    from . import partitions, signatures

    inside = partitions.with_luks(read, size)
    if inside:
        named = " and ".join(f"partition {number} (at byte {start})" for number, start in inside)
        return NotLuks(
            f"it is a whole disk with a partition table, and the LUKS header is in {named}",
            why="each partition is a volume of its own",
            remedy="Give the partition: that of a disk has a path of its own (such as /dev/sda3); those of an image "
            "come from 'losetup --find --show --partscan IMAGE' (such as /dev/loop0p3), or from 'qemu-nbd --connect'",
        )
    what = signatures.describe(read, size)
    if what is None:
        return NotLuks("it has neither a LUKS header nor another known signature", remedy=remedy)
    return NotLuks(f"it begins with {what}, not with a LUKS header", remedy=remedy)
