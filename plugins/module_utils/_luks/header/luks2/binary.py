# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The binary header of a LUKS2 header copy: the 4096 bytes before each JSON area. Pure bytes <-> values.

Source: LUKS2 On-Disk Format Specification 1.1; the checks before the checksum are those of libcryptsetup.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import struct
import typing as t

from ...errors import Unsupported, shown
from ..reading import Read

BINARY_SIZE = 4096
MAGIC_PRIMARY = b"LUKS\xba\xbe"
MAGIC_SECONDARY = b"SKUL\xba\xbe"
# Possible sizes of one copy in bytes, 16 KiB to 4 MiB, and so the possible offsets of the secondary one.
HEADER_SIZES = tuple(0x4000 << step for step in range(9))
MAX_SEQID = (1 << 64) - 1
SALT_SIZE = 64

NO_MAGIC = "its magic is missing"
BEYOND = "it would lie past the end of the device"

_FIELDS = struct.Struct(">6sHQQ48s32s64s40s48sQ")
_SALT_OFFSET = 104
_HEADER_OFFSET_FIELD = 256
_CHECKSUM_OFFSET = 448
_CHECKSUM_SIZE = 64
# Hash names that some backend of cryptsetup supports: if Python does not, the copy may still be intact.
_CRYPTSETUP_HASHES = re.compile(
    r"md[45]|sha1|sha(224|256|384|512)|sha3-(224|256|384|512)|(ripemd|rmd)(160|256|320)"
    r"|whirlpool|stribog(256|512)|sm3|blake2[bs]-\d{3}"
)


@dataclasses.dataclass(frozen=True)
class Copy:
    """One copy whose checksum matches. ``block``: its ``hdr_size`` bytes, binary header and JSON area."""

    offset: int
    block: bytes
    hdr_size: int
    seqid: int
    label: bytes
    checksum_alg: str
    salt: bytes
    uuid: bytes
    subsystem: bytes

    @property
    def json_area(self) -> bytes:
        return self.block[BINARY_SIZE:]

    def same_content(self, other: Copy) -> bool:
        """Whether both have the same content. Offset, sequence id, salt and checksum may differ."""
        mine, theirs = (
            (copy.hdr_size, copy.label, copy.subsystem, copy.uuid, copy.checksum_alg, copy.block[BINARY_SIZE:])
            for copy in (self, other)
        )
        return mine == theirs


def read_copy(read: Read, size: int, offset: int) -> t.Union[Copy, str]:
    """The copy at ``offset`` (0: primary), or the reason why there is none.

    Raises Unsupported if Python lacks the hash of the checksum: an intact copy must not be taken for a damaged one.
    """
    if offset + BINARY_SIZE > size:
        return BEYOND
    hdr_size = _claimed_size(read(offset, BINARY_SIZE), offset)
    if isinstance(hdr_size, str):
        return hdr_size
    if offset + hdr_size > size:
        return "it is longer than the device"
    block = bytes(read(offset, hdr_size))
    if _claimed_size(block, offset) != hdr_size:
        return "it changed while it was read"
    _magic, _version, _size, seqid, label, alg, salt, uuid, subsystem, _offset = _FIELDS.unpack_from(block)
    checksum_alg = _cut(alg).decode("ascii", "replace")
    digest = _checksum(block, checksum_alg)
    if digest is None:
        if _CRYPTSETUP_HASHES.fullmatch(checksum_alg):
            raise Unsupported(
                "hash",
                checksum_alg,
                why="the LUKS2 header checksum uses it, so that the header cannot be verified on this host",
                remedy="Use a Python whose hashlib has it, or let cryptsetup write the header with sha256",
            )
        return "it names an unknown checksum algorithm"
    if block[_CHECKSUM_OFFSET : _CHECKSUM_OFFSET + len(digest)] != digest:
        return "its checksum is wrong"
    return Copy(
        offset=offset,
        block=block,
        hdr_size=hdr_size,
        seqid=seqid,
        label=_cut(label),
        checksum_alg=checksum_alg,
        salt=salt,
        uuid=_cut(uuid),
        subsystem=_cut(subsystem),
    )


def build_copy(template: Copy, offset: int, seqid: int, salt: bytes, json_area: bytes) -> Copy:
    """``template`` moved to ``offset`` (0 or its hdr_size) with new contents and their checksum.

    Raises Unsupported if Python lacks the hash of the checksum.
    """
    block = bytearray(template.block[:BINARY_SIZE]) + json_area
    block[0:6] = MAGIC_SECONDARY if offset else MAGIC_PRIMARY
    struct.pack_into(">Q", block, 16, seqid)
    block[_SALT_OFFSET : _SALT_OFFSET + SALT_SIZE] = salt
    struct.pack_into(">Q", block, _HEADER_OFFSET_FIELD, offset)
    digest = _checksum(bytes(block), template.checksum_alg)
    if digest is None:
        raise Unsupported("hash", template.checksum_alg, why="the LUKS2 header checksum uses it")
    block[_CHECKSUM_OFFSET : _CHECKSUM_OFFSET + _CHECKSUM_SIZE] = digest.ljust(_CHECKSUM_SIZE, b"\0")
    return dataclasses.replace(template, offset=offset, block=bytes(block), seqid=seqid, salt=salt)


def _claimed_size(block: bytes, offset: int) -> t.Union[int, str]:
    magic, version, hdr_size, _seqid, _label, _alg, _salt, _uuid, _subsystem, hdr_offset = _FIELDS.unpack_from(block)
    if magic != (MAGIC_SECONDARY if offset else MAGIC_PRIMARY):
        return NO_MAGIC
    if version != 2:
        return f"its version is {version}"
    if hdr_offset != offset:
        return f"its offset field says {hdr_offset}, but it was found at {offset}"
    # Only the bounds, as in cryptsetup: if the checksum matches, an odd size is invalid content, not a damaged copy.
    if not HEADER_SIZES[0] <= hdr_size <= HEADER_SIZES[-1]:
        return f"its size of {hdr_size} bytes is not possible in LUKS2"
    if offset and hdr_size != offset:
        return f"its size of {hdr_size} bytes does not match its offset"
    return int(hdr_size)


def _checksum(block: bytes, alg: str) -> t.Optional[bytes]:
    try:
        state = hashlib.new(alg.replace("sha3-", "sha3_"))
    except (ValueError, TypeError):
        return None
    if not 0 < state.digest_size <= _CHECKSUM_SIZE:
        return None
    state.update(block[:_CHECKSUM_OFFSET])
    state.update(bytes(_CHECKSUM_SIZE))
    state.update(memoryview(block)[_CHECKSUM_OFFSET + _CHECKSUM_SIZE :])
    return state.digest()


def shown_text(field: bytes) -> str:
    """A text of a :class:`Copy`, fit to be shown."""
    return shown(field.decode("utf-8", "replace"))


def _cut(field: bytes) -> bytes:
    return field[:-1].split(b"\0", 1)[0]
