# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""LUKS1: decodes and checks the fields of the 1024-byte header.

Sources: LUKS On-Disk Format Specification 1.2.3 and the observed behaviour of cryptsetup 2.6.1 and QEMU 7.2. Where the
two programs disagree, this module decides as follows (``docs/format.md`` has the same table for operators):

* refused: a keyslot that is marked neither active nor inactive; stripes other than 4000; 0 iterations (active keyslot
  or volume key digest); no NUL in cipher name, mode or hash; areas, in whole sectors and of inactive keyslots too, that
  begin inside the header, end past the start of the payload or the end of the file, or overlap each other;
* accepted with a warning: an upper-case hash, areas that begin below sector 8 or overlap once QEMU has rounded them up
  to 8 sectors (QEMU refuses all of these), a payload at or past the end of the file, unknown bytes in the padding;
* accepted: payload offset 0 (detached header), any bytes as uuid, ciphers and hashes that this collection cannot
  compute (the layer that derives keys reports those).
"""

from __future__ import annotations

import struct
import typing as t

from ...errors import MalformedHeader
from ..magic import LUKS
from ..model import SECTOR, Extent
from ..reading import Read

MAGIC = LUKS
VERSION = 1
HEADER_SIZE = 1024
SLOT_COUNT = 8
SLOTS_OFFSET = 208
SLOT_SIZE = 48
PADDING_OFFSET = SLOTS_OFFSET + SLOT_COUNT * SLOT_SIZE
ACTIVE = 0x00AC71F3
INACTIVE = 0x0000DEAD
STRIPES = 4000
SALT_SIZE = 32
MAX_KEY_SIZE = 512
MAX_ITERATIONS = 0xFFFFFFFF

# magic, version, cipher name, cipher mode, hash, payload sector, key bytes, digest, its salt and iterations, uuid
_HEAD = struct.Struct(">6sH32s32s32sII20s32sI40s")
# state, iterations, salt, material sector, stripes
SLOT = struct.Struct(">II32sII")
_QEMU_ALIGNMENT = 8 * SECTOR

_RESTORE = "Restore a header backup, or save the first 4 MiB and then try 'cryptsetup repair'"


class Slot(t.NamedTuple):
    """One of the eight keyslots, active or not; ``area`` is its only possible place."""

    active: bool
    iterations: int
    salt: bytes
    area: Extent


class Fields(t.NamedTuple):
    """The fields of a header; ``payload``: byte offset (0: detached header); ``hash``: as spelled in the header."""

    cipher_name: str
    cipher_mode: str
    hash: str
    payload: int
    key_size: int
    digest: bytes
    digest_salt: bytes
    digest_iterations: int
    uuid: str
    slots: t.Tuple[Slot, ...]

    @property
    def cipher(self) -> str:
        """In the notation of the kernel: "aes-xts-plain64"."""
        return f"{self.cipher_name}-{self.cipher_mode}"


def _refuse(
    found: str, why: str = "editing a header that breaks the format would be guesswork", remedy: str = _RESTORE
) -> MalformedHeader:
    return MalformedHeader(f"the LUKS1 header is damaged: {found}", why=why, remedy=remedy)


def _name(field: bytes, what: str) -> str:
    text, nul, _rest = field.partition(b"\0")
    if not nul:
        raise _refuse(f"the {what} is not terminated by a NUL byte")
    if not text:
        raise _refuse(f"the {what} is empty")
    if any(not 0x21 <= byte <= 0x7E for byte in text):
        raise _refuse(f"the {what} contains bytes that are not printable ASCII")
    return text.decode("ascii")


def _uuid(field: bytes) -> str:
    text = field.partition(b"\0")[0]
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E else f"\\x{byte:02x}" for byte in text)


def area_size(key_size: int) -> int:
    """Bytes of the key material of a volume key of ``key_size`` bytes: 4000 stripes, in whole sectors of 512 bytes."""
    return -(-key_size * STRIPES // SECTOR) * SECTOR


def _slot(raw: bytes, number: int, size: int) -> Slot:
    state, iterations, salt, sector, stripes = SLOT.unpack_from(raw, SLOTS_OFFSET + number * SLOT_SIZE)
    if state not in (ACTIVE, INACTIVE):
        raise _refuse(f"keyslot {number} has state {state:#010x}, which is neither active nor inactive")
    if stripes != STRIPES:
        raise _refuse(f"keyslot {number} has {stripes} anti-forensic stripes instead of {STRIPES}")
    if state == ACTIVE and iterations == 0:
        raise _refuse(f"keyslot {number} is active with 0 iterations")
    return Slot(active=state == ACTIVE, iterations=iterations, salt=salt, area=Extent(sector * SECTOR, size))


def read_raw(read: Read, size: int) -> bytes:
    """The bytes of the header. Raises MalformedHeader if ``size`` is too small for it, and what ``read`` raises."""
    if size < HEADER_SIZE:
        raise MalformedHeader(
            f"the LUKS1 header is truncated: it needs {HEADER_SIZE} bytes, but there are only {size}",
            why="keyslots are missing",
            remedy="Give the complete device or file, or restore a header backup",
        )
    return read(0, HEADER_SIZE)


def decode(raw: bytes) -> Fields:
    """Fields of the ``HEADER_SIZE`` bytes ``raw``; :func:`check_areas` checks where the areas lie.

    Raises MalformedHeader if a field has an impossible value.
    """
    magic, version, cipher, mode, digest_hash, payload, key_size, digest, salt, iterations, uuid = _HEAD.unpack_from(
        raw
    )
    if magic != MAGIC or version != VERSION:
        raise _refuse("magic and version are not those of LUKS1")
    if not 1 <= key_size <= MAX_KEY_SIZE:
        raise _refuse(f"the volume key has {key_size} bytes, not 1 to {MAX_KEY_SIZE}")
    if iterations == 0:
        raise _refuse("the digest of the volume key has 0 iterations")
    return Fields(
        cipher_name=_name(cipher, "cipher name"),
        cipher_mode=_name(mode, "cipher mode"),
        hash=_name(digest_hash, "hash name"),
        payload=payload * SECTOR,
        key_size=key_size,
        digest=digest,
        digest_salt=salt,
        digest_iterations=iterations,
        uuid=_uuid(uuid),
        slots=tuple(_slot(raw, number, area_size(key_size)) for number in range(SLOT_COUNT)),
    )


def check_areas(fields: Fields, size: int) -> None:
    """Raises MalformedHeader if an area overlaps header, payload or another area, or ends past ``size`` bytes."""
    order = sorted(range(SLOT_COUNT), key=lambda number: fields.slots[number].area.offset)
    for number in order:
        area = fields.slots[number].area
        if area.offset < HEADER_SIZE:
            raise _refuse(f"the key material of keyslot {number} begins at byte {area.offset}, inside the header")
        if fields.payload and area.end > fields.payload:
            raise _refuse(
                f"the key material of keyslot {number} ends at byte {area.end}, past the start of the payload at byte "
                f"{fields.payload}"
            )
    for left, right in zip(order, order[1:]):
        if fields.slots[left].area.overlaps(fields.slots[right].area):
            raise _refuse(f"the key material areas of keyslots {min(left, right)} and {max(left, right)} overlap")
    end = extent(fields)
    if end > size:
        raise MalformedHeader(
            f"the LUKS1 header is truncated: its key material ends at byte {end}, but there are only {size} bytes",
            why="the missing key material can be neither checked nor written",
            remedy="Give the complete device or file, or restore a header backup",
        )


def extent(fields: Fields) -> int:
    """Bytes that header and key material use, from the start of the header."""
    return max(slot.area.end for slot in fields.slots)


def oddities(fields: Fields, size: int, embedded: bool) -> t.List[str]:
    """Warnings about what is unusual, but safe; ``embedded``: a container keeps the payload elsewhere."""
    found = []
    if fields.hash != fields.hash.lower():
        found.append(
            f"the hash name in the header is {fields.hash!r}, in upper case; cryptsetup opens such a volume, QEMU "
            "refuses it"
        )
    if fields.payload >= size and not embedded:
        found.append(
            f"the payload would begin at byte {fields.payload}, at or past the end ({size} bytes): this looks like a "
            "header backup or a detached header"
        )
    qemu = _qemu_refusal(fields)
    if qemu:
        found.append(f"QEMU refuses this header: {qemu}")
    return found


def _qemu_refusal(fields: Fields) -> str:
    rounded = [
        Extent(slot.area.offset, -(-slot.area.size // _QEMU_ALIGNMENT) * _QEMU_ALIGNMENT) for slot in fields.slots
    ]
    order = sorted(range(SLOT_COUNT), key=lambda number: rounded[number].offset)
    if rounded[order[0]].offset < _QEMU_ALIGNMENT:
        return f"the key material of keyslot {order[0]} begins before sector 8, as cryptsetup 1.0 wrote it"
    for left, right in zip(order, order[1:]):
        if rounded[left].overlaps(rounded[right]):
            return (
                f"keyslots {min(left, right)} and {max(left, right)} overlap once their key material is rounded up to "
                "8 sectors"
            )
    if fields.payload and rounded[order[-1]].end > fields.payload:
        return f"keyslot {order[-1]} overlaps the payload once its key material is rounded up to 8 sectors"
    return ""
