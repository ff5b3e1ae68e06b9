# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A header backup as a value, and what two of them have in common. Pure: bytes and headers in, answers out.

A backup is the first bytes of a volume: header and key material of all keyslots. That is the form of "cryptsetup
luksHeaderBackup", which for LUKS1 writes zeros behind the 592 bytes of the header proper.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import StorageFault
from ..header.detect import parse_header
from ..header.luks1.fields import PADDING_OFFSET
from ..header.luks2.codec import Luks2Header
from ..header.model import Header, Kdf
from ..header.reading import Read
from ..unlock.key_material import material_size

_PAGE = 4096

# How a backup stands to a header.
SAME = "same"
EQUIVALENT = "equivalent"  # other bytes, the same keyslots
OLDER = "older"
NEWER = "newer"
DIFFERENT = "different"  # which of the two is the older one, nobody can tell
FOREIGN = "foreign"  # of another volume

# A keyslot by what opens it: parameters with their salt, and the key material.
KeyslotIdentity = t.Tuple[Kdf, bytes]


@dataclasses.dataclass(frozen=True)
class Image:
    """``data``: the bytes, from the first one of the header on; ``header``: what they say."""

    data: bytes
    header: Header

    def read(self, offset: int, length: int) -> bytes:
        return read_of(self.data)(offset, length)

    def identity(self, number: int) -> t.Optional[KeyslotIdentity]:
        """What keyslot ``number`` is, or None where it is not active."""
        slot = self.header.keyslots.get(number)
        if slot is None:
            return None
        # What lies behind the material in an area is whatever was there before.
        used = min(material_size(slot), slot.area.size) or slot.area.size
        return (slot.kdf, self.data[slot.area.offset : slot.area.offset + used])

    @property
    def seqid(self) -> t.Optional[int]:
        """LUKS2 counts its writes; LUKS1 does not."""
        return self.header.seqid if isinstance(self.header, Luks2Header) else None


def image_size(header: Header) -> int:
    """Bytes of a backup: up to the end of the last keyslot's area, in whole pages as cryptsetup writes it."""
    return -(-header.extent // _PAGE) * _PAGE


def parse_image(data: bytes) -> Image:
    """Raises what :func:`.parse_header` raises."""
    return Image(data, parse_header(read_of(data), len(data), embedded=True))


def read_of(data: bytes) -> Read:
    def read(offset: int, length: int) -> bytes:
        if offset < 0 or offset + length > len(data):
            raise StorageFault(
                f"bytes {offset} to {offset + length} are wanted, but the file ends at byte {len(data)}",
                why="the backup is incomplete",
            )
        return data[offset : offset + length]

    return read


def same_bytes(one: Image, other: Image) -> bool:
    """Do both restore to the same? The padding of a LUKS1 header, where no note of ours is in it, does not count."""
    if (
        one.header.format == other.header.format == "luks1"
        and one.header.intent is None
        and other.header.intent is None
    ):
        first = min((slot.offset for slot in (one.header.layout.fixed or {}).values()), default=_PAGE)
        return (
            len(one.data) == len(other.data)
            and one.data[:PADDING_OFFSET] == other.data[:PADDING_OFFSET]
            and one.data[first:] == other.data[first:]
        )
    return one.data == other.data


def only_in(one: Image, other: Image) -> t.List[int]:
    """The keyslots of ``one`` that no keyslot of ``other`` is."""
    there = [other.identity(number) for number in other.header.keyslots]
    return [number for number in one.header.keyslots if one.identity(number) not in there]


def relation(backup: Image, now: Image) -> str:
    if (backup.header.uuid, backup.header.format) != (now.header.uuid, now.header.format):
        return FOREIGN
    if same_bytes(backup, now):
        return SAME
    if not only_in(backup, now) and not only_in(now, backup):
        return EQUIVALENT
    if backup.seqid is None or now.seqid is None or backup.seqid == now.seqid:
        return DIFFERENT
    return OLDER if backup.seqid < now.seqid else NEWER
