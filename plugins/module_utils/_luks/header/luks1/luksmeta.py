# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""luksmeta: what Clevis stores for the keyslots of a LUKS1 volume, between key material and payload.

All numbers are big endian. The block begins at the first multiple of 4096 bytes behind all key material and takes 272
bytes: ``LUKSMETA``, version 1, the CRC-32C of the block with this field zero, and for each of the eight keyslots a uuid
that names the program, where its data lies in the gap, its length, its CRC-32C and a reserved word. A uuid of zeros:
no entry. Source: luksmeta 9 (libluksmeta.c), whose data Clevis 19 writes and reads.
"""

from __future__ import annotations

import struct
import typing as t

from ...errors import MalformedHeader, StorageFault
from .. import model
from ..reading import Read
from .fields import SLOT_COUNT

CLEVIS = "cb6e8904-81ff-40da-a84a-07ab9ab5715e"
SIZE = 272  # bytes
MAGIC = b"LUKSMETA"
UNREADABLE = model.LUKSMETA_UNREADABLE
_VERSION = 1
_ALIGNMENT = 4096
_HEAD = struct.Struct(">8sII")
_ENTRY = struct.Struct(">16sIIII")
_NO_ENTRY = bytes(16)
_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected


class Luksmeta(t.NamedTuple):
    """``tokens``: one for each entry, numbered as its keyslot, active or not. ``warning``: why they say nothing, or "".

    A block that cannot be understood may name any keyslot, so that it counts as an entry for each of them.
    """

    tokens: t.Tuple[model.Token, ...] = ()
    warning: str = ""


class _Entry(t.NamedTuple):
    """``offset``: of its data, from the start of the block; ``checksum``: of its data."""

    name: bytes
    offset: int
    length: int
    checksum: int
    reserved: int


def _entry(block: t.Union[bytes, bytearray], number: int) -> _Entry:
    return _Entry(*_ENTRY.unpack_from(block, _HEAD.size + number * _ENTRY.size))


def gap(areas: t.Iterable[model.Extent], payload: int) -> t.Optional[model.Extent]:
    """Where luksmeta keeps everything; ``payload``: its first byte, 0 for a detached header.

    None if there is no room.
    """
    start = max(_aligned(area.end + _ALIGNMENT - 1) for area in areas)
    return model.Extent(start, _aligned(payload - start)) if payload >= start + _ALIGNMENT else None


def read_luksmeta(read: Read, size: int, areas: t.Sequence[model.Extent], payload: int) -> Luksmeta:
    """The entries of a volume with ``size`` readable bytes; none if nothing is there. Never raises."""
    place = gap(areas, payload)
    if place is None or place.offset + SIZE > size:
        return Luksmeta()
    try:
        block = read(place.offset, SIZE)
    except StorageFault as fault:
        return _unusable(f"cannot be read ({fault.found})")
    if not block.startswith(MAGIC):
        return Luksmeta()
    magic, version, checksum = _HEAD.unpack_from(block)
    if version != _VERSION:
        return _unusable(f"has version {version}")
    if checksum != crc32c(_HEAD.pack(magic, version, 0) + block[_HEAD.size :]):
        return _unusable("has a wrong checksum")
    tokens = []
    for number in range(SLOT_COUNT):
        entry = _entry(block, number)
        if entry.name != _NO_ENTRY:
            owner = _uuid(entry.name)
            kind = "clevis" if owner == CLEVIS else f"luksmeta {owner}"
            tokens.append(model.Token(number=number, type=kind, keyslots=(number,)))
    return Luksmeta(tuple(tokens))


def extent(read: Read, size: int, areas: t.Sequence[model.Extent], payload: int) -> t.Optional[model.Extent]:
    """The block and what its entries point to, in whole pages of 4096 bytes; None if there is no entry.

    All of the gap if the block cannot be understood, or points outside of it.
    """
    place = gap(areas, payload)
    tokens = read_luksmeta(read, size, areas, payload).tokens
    if place is None or not tokens:
        return None
    if any(token.type == UNREADABLE for token in tokens):
        return place
    block = read(place.offset, SIZE)
    entries = [_entry(block, token.number) for token in tokens]
    end = max(SIZE, *(entry.offset + entry.length for entry in entries))
    return model.Extent(place.offset, min(_aligned(end + _ALIGNMENT - 1), place.size))


def content(read: Read, size: int, areas: t.Sequence[model.Extent], payload: int, number: int) -> bytes:
    """What a program keeps for keyslot ``number``. Raises MalformedHeader if there is nothing, or it is damaged."""
    place = gap(areas, payload)
    if place is not None and any(one.number == number for one in read_luksmeta(read, size, areas, payload).tokens):
        entry = _entry(read(place.offset, SIZE), number)
        if entry.offset >= SIZE and entry.offset + entry.length <= place.size:
            data = read(place.offset + entry.offset, entry.length)
            if crc32c(data) == entry.checksum:
                return data
    raise MalformedHeader(f"what luksmeta keeps for keyslot {number} is damaged", remedy="bind it to Clevis again")


def removal(
    read: Read, size: int, areas: t.Sequence[model.Extent], payload: int, number: int
) -> t.Tuple[model.Write, ...]:
    """What removes the entry of keyslot ``number`` and what it points to; empty if there is none that is understood."""
    place = gap(areas, payload)
    tokens = read_luksmeta(read, size, areas, payload).tokens
    if place is None or not any(token.number == number and token.type != UNREADABLE for token in tokens):
        return ()
    block = bytearray(read(place.offset, SIZE))
    entry = _entry(block, number)
    at = _HEAD.size + number * _ENTRY.size
    block[at : at + _ENTRY.size] = bytes(_ENTRY.size)
    _HEAD.pack_into(block, 0, MAGIC, _VERSION, 0)
    _HEAD.pack_into(block, 0, MAGIC, _VERSION, crc32c(bytes(block)))
    header = model.Write(place.offset, bytes(block))
    if entry.offset < SIZE or entry.offset + entry.length > place.size:  # what is outside belongs to something else
        return (header,)
    return (model.Write(place.offset + entry.offset, bytes(entry.length)), header)


def crc32c(data: bytes) -> int:
    """CRC-32C as in RFC 3720, which zlib does not have."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _uuid(name: bytes) -> str:
    digits = name.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _aligned(count: int) -> int:
    return count // _ALIGNMENT * _ALIGNMENT


def _unusable(found: str) -> Luksmeta:
    return Luksmeta(
        tuple(model.Token(number=number, type=UNREADABLE, keyslots=(number,)) for number in range(SLOT_COUNT)),
        f"the luksmeta block behind the keyslots {found}: which keyslots Clevis uses is unknown, "
        "so that each counts as used; check them with 'clevis luks list', and name by keyslot what you erase",
    )
