# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Which LUKS version a header has, or what the bytes are instead."""

from __future__ import annotations

from ..errors import MalformedHeader, NotLuks
from . import magic
from .model import Header
from .reading import Read, TolerantRead

SECONDARY_MAGIC = b"SKUL\xba\xbe"
# Byte offsets at which LUKS2 may keep its secondary header: the primary one takes 16 KiB to 4 MiB.
SECONDARY_OFFSETS = tuple(0x4000 << step for step in range(9))


def parse_header(read: Read, size: int, *, embedded: bool = False) -> Header:
    """The checked header at the start of ``size`` readable bytes.

    ``embedded``: the header lies in a container that keeps the payload elsewhere (qcow2). A payload offset at the end
    of the region is normal then.

    If a part of a LUKS2 header cannot be read, that copy counts as damaged and the other one is used. As in cryptsetup,
    an unknown version in the primary header is refused even if the secondary one is intact.

    Raises NotLuks if the bytes are something else (the error names it), StorageFault if a needed part cannot be read,
    MalformedHeader, and for LUKS2 Refused and Unsupported, as the codec of the version does.
    """
    tolerant = TolerantRead(read)
    start = tolerant(0, 8) if size >= 8 else b""
    try:
        if start.startswith(magic.LUKS):
            version = int.from_bytes(start[6:8], "big")
            if version == 1:
                # Imported on demand: a module arrives as source on a managed host and leaves no compiled cache, so each
                # run would compile the format that it does not need.
                from .luks1 import codec as luks1_codec

                return luks1_codec.parse(read, size, embedded=embedded)
            if version == 2:
                from .luks2 import codec as luks2_codec

                return luks2_codec.parse(tolerant, size)
            raise MalformedHeader(
                f"its LUKS header has version {version}",
                why="only versions 1 and 2 exist",
                remedy="Inspect the device with 'cryptsetup luksDump'; if the header is damaged, restore a header "
                "backup",
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
    """The error for ``size`` readable bytes without a LUKS header; returned, not raised."""
    remedy = "Check the path; this collection never formats a device"
    if size == 0:
        return NotLuks("it is empty, not a LUKS volume", remedy=remedy)
    from . import signatures

    what = signatures.describe(read, size)
    if what is None:
        return NotLuks("it has neither a LUKS header nor another known signature", remedy=remedy)
    return NotLuks(f"it begins with {what}, not with a LUKS header", remedy=remedy)
