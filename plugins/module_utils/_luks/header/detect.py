# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Which LUKS version a header is, or a sentence on what the bytes are instead."""

from __future__ import annotations

from ..errors import MalformedHeader, NotLuks
from .luks1.fields import MAGIC
from .model import Header
from .reading import Read, TolerantRead

SECONDARY_MAGIC = b"SKUL\xba\xbe"
# Where LUKS2 may keep its second copy: behind a first one of 16 KiB to 4 MiB.
SECONDARY_OFFSETS = tuple(0x4000 << step for step in range(9))


def parse_header(read: Read, size: int, *, embedded: bool = False) -> Header:
    """The checked header at the start of ``size`` readable bytes.

    ``embedded``: the header lies in a container that keeps the payload elsewhere (qcow2), so that a payload offset at the
    region's end is nothing to warn of.

    A LUKS2 header of which a part cannot be read counts as damaged there, and its other copy is used.

    Raises NotLuks naming what was found, MalformedHeader, StorageFault where what cannot be read was needed, or what the
    codec of the version raises. As in cryptsetup, an
    unknown version in the first copy is refused even if a good second copy exists.
    """
    tolerant = TolerantRead(read)
    start = tolerant(0, 8) if size >= 8 else b""
    try:
        if start.startswith(MAGIC):
            version = int.from_bytes(start[6:8], "big")
            if version == 1:
                # Each format is compiled only where it is met: on a managed host a module comes as source and leaves no cache.
                from .luks1 import codec as luks1_codec

                return luks1_codec.parse(read, size, embedded=embedded)
            if version == 2:
                from .luks2 import codec as luks2_codec

                return luks2_codec.parse(tolerant, size)
            raise MalformedHeader(
                f"it has a LUKS header of version {version}",
                why="only the versions 1 and 2 exist",
                remedy="Look at the device with 'cryptsetup luksDump'; if the header was damaged, restore a header backup",
            )
        if any(
            tolerant(offset, len(SECONDARY_MAGIC)) == SECONDARY_MAGIC
            for offset in SECONDARY_OFFSETS
            if offset + len(SECONDARY_MAGIC) <= size
        ):
            from .luks2 import codec as luks2_codec

            return luks2_codec.parse(tolerant, size)
        if tolerant.fault is None:
            raise not_luks(read, size)
    except (NotLuks, MalformedHeader):
        if tolerant.fault is None:
            raise
    raise tolerant.fault


def not_luks(read: Read, size: int) -> NotLuks:
    """The error for bytes without a LUKS header."""
    remedy = "Check the path; this collection never formats a device"
    if size == 0:
        return NotLuks("it is empty, not a LUKS volume", remedy=remedy)
    from . import signatures

    what = signatures.describe(read, size)
    if what is None:
        return NotLuks("it does not begin with a LUKS header, nor with anything else that is known here", remedy=remedy)
    return NotLuks(f"it begins with {what}, not with a LUKS header", remedy=remedy)
