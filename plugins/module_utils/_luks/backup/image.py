# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A header backup as a value, and the comparison of two of them. Pure: bytes and headers in, answers out.

A backup is the first bytes of a volume: the header and the key material of all keyslots. That is the format of
"cryptsetup luksHeaderBackup", which for LUKS1 writes zeros after the 592 bytes of the header proper. What luksmeta
(Clevis) keeps behind the keyslots of LUKS1 follows, if there is any; cryptsetup restores what comes before it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import StorageFault
from ..header.copied import image_size
from ..header.luks1.codec import Luks1Header
from ..header.luks1.fields import PADDING_OFFSET
from ..header.luks2.codec import Luks2Header
from ..header.model import Header, Kdf, Keyslot
from ..header.parsing import parse_header
from ..header.reading import Read
from ..unlock.key_material import material_size

_PAGE = 4096

# The relation of a backup to a header.
SAME = "same"
EQUIVALENT = "equivalent"  # other bytes, the same keyslots
OLDER = "older"
NEWER = "newer"
DIFFERENT = "different"  # it is unknown which of the two is older
FOREIGN = "foreign"  # of another volume, or of this one before "cryptsetup convert"

# What identifies a keyslot: parameters with their salt, and key material.
KeyslotIdentity = t.Tuple[Kdf, bytes]


@dataclasses.dataclass(frozen=True)
class Image:
    """``data``: the bytes from the start of the header on; ``header``: the header in them."""

    data: bytes
    header: Header

    def read(self, offset: int, length: int) -> bytes:
        """A :data:`.reading.Read`. Raises StorageFault if the backup is too short."""
        return read_of(self.data)(offset, length)

    def identity(self, number: int) -> t.Optional[KeyslotIdentity]:
        """What identifies keyslot ``number``, or None if it is not active."""
        slot = self.header.keyslots.get(number)
        if slot is None:
            return None
        # After the key material, an area contains whatever was there before.
        used = min(material_size(slot), slot.area.size) or slot.area.size
        return (slot.kdf, self.data[slot.area.offset : slot.area.offset + used])

    @property
    def luksmeta(self) -> bytes:
        """What luksmeta keeps, from the first page behind the keyslots on; empty if the backup has none of it."""
        return self.data[image_size(self.header) :]

    @property
    def shown(self) -> Header:
        """The header for a table: with what luksmeta notes as tokens, which that of a copy has not."""
        if self.header.format != "luks1" or not self.luksmeta:
            return self.header
        return Luks1Header(self.header.image()[0], len(self.data), embedded=True, gap=self.read)

    @property
    def seqid(self) -> t.Optional[int]:
        """The sequence id, None for LUKS1."""
        return self.header.seqid if isinstance(self.header, Luks2Header) else None


def parse_image(data: bytes) -> Image:
    """The backup in ``data``. Raises what :func:`.parsing.parse_header` raises."""
    return Image(data, parse_header(read_of(data), len(data), embedded=True))


def read_of(data: bytes) -> Read:
    """A reader over ``data``, which raises StorageFault past its end."""

    def read(offset: int, length: int) -> bytes:
        if offset < 0 or offset + length > len(data):
            raise StorageFault(
                f"bytes {offset} to {offset + length} are needed, but the file ends at byte {len(data)}",
                why="the backup is incomplete",
            )
        return data[offset : offset + length]

    return read


def same_bytes(one: Image, other: Image) -> bool:
    """Whether both restore the same bytes. LUKS1 padding without a journal entry does not count."""
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
    """The keyslots of ``one`` that ``other`` does not have, under any number."""
    there = [other.identity(number) for number in other.header.keyslots]
    return [number for number in one.header.keyslots if one.identity(number) not in there]


def same_salt(backup: Image, now: Image) -> t.List[int]:
    """The keyslots that both have with the same parameters and salt, and with other key material.

    Every new key gets a new salt. So they were one keyslot, and one of the two copies is damaged.
    """
    return [
        number
        for number, slot in backup.header.keyslots.items()
        if number in now.header.keyslots
        and backup.identity(number) != now.identity(number)
        and _but_for_its_place(slot) == _but_for_its_place(now.header.keyslots[number])
    ]


def _but_for_its_place(slot: Keyslot) -> t.Tuple[t.Any, ...]:
    key = (slot.kind, slot.key_size, slot.kdf, slot.af_hash, slot.af_stripes)
    return (*key, slot.area.size, slot.encryption, slot.area_key_size)


def relation(backup: Image, now: Image) -> str:
    """How ``backup`` relates to ``now``: SAME, EQUIVALENT, OLDER, NEWER, DIFFERENT or FOREIGN."""
    if (backup.header.uuid, backup.header.format) != (now.header.uuid, now.header.format):
        return FOREIGN
    if same_bytes(backup, now):
        return SAME
    if not only_in(backup, now) and not only_in(now, backup):
        return EQUIVALENT
    if backup.seqid is None or now.seqid is None or backup.seqid == now.seqid:
        return DIFFERENT
    return OLDER if backup.seqid < now.seqid else NEWER
