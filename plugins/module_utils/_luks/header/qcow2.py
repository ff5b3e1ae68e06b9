# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Where the LUKS header lies in a qcow2 image, and what a writer has to respect there.

Sources: QEMU's qcow2 format description (docs/interop/qcow2) and the observed behaviour of QEMU 7.2. Offsets are bytes
from the start of the image file; all numbers in the file are big endian. The region is contiguous and not subject to
snapshots or copy-on-write: editing it in place touches no other metadata. So the dirty bit (reference counts must be
rebuilt at the next open) does not matter here, but the corrupt bit, which forbids every write, does.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t

from ..errors import MalformedHeader, NotLuks, Unsupported
from .magic import QCOW2
from .model import Extent, Write
from .reading import Read

MAGIC = QCOW2
CRYPTO_EXTENSION = 0x0537BE77
_V2_LENGTH = 72
_V3_LENGTH = 104
_AUTOCLEAR_OFFSET = 88
_REFCOUNT_ORDER_OFFSET = 96
_CORRUPT_BIT = 1
_DATA_FILE_BIT = 2
# dirty, corrupt, external data file, compression type, extended L2 entries
_KNOWN_INCOMPATIBLE = frozenset(range(5))
# bitmaps, raw external data
_KNOWN_AUTOCLEAR = 0b11
_METHOD_NONE, _METHOD_AES, _METHOD_LUKS = 0, 1, 2
_NO_LUKS_REMEDY = "Give an image that was created with encrypt.format=luks"
_CHECK_REMEDY = "Check it with 'qemu-img check' and restore a backup if needed"


@dataclasses.dataclass(frozen=True)
class Qcow2Crypto:
    """The region of the LUKS header: ``length`` bytes at ``offset``.

    clear: the write that must come before any other: it clears unknown autoclear bits, as the format demands; or None.
    notes: sentences about a backing file or external data.
    """

    offset: int
    length: int
    clear: t.Optional[Write] = None
    notes: t.Tuple[str, ...] = ()

    @property
    def extent(self) -> Extent:
        return Extent(self.offset, self.length)


def _malformed(found: str) -> MalformedHeader:
    return MalformedHeader(
        f"the qcow2 header is damaged: {found}",
        why="the location of the LUKS header cannot be trusted",
        remedy=_CHECK_REMEDY,
    )


def locate(read: Read, size: int) -> Qcow2Crypto:
    """Region of the LUKS header in a qcow2 file of ``size`` bytes; ``read`` counts from the file's start.

    Whether the region contains a LUKS header is for :func:`.parsing.parse_header` to check.

    Raises NotLuks if the file is no qcow2 image or not encrypted, Unsupported if it has the old AES encryption or an
    unknown version or feature, MalformedHeader if its header is damaged or it is marked corrupt.
    """
    if size < _V2_LENGTH or read(0, len(MAGIC)) != MAGIC:
        raise NotLuks("it is no qcow2 image", remedy=_NO_LUKS_REMEDY)
    head = read(0, min(size, _V3_LENGTH))
    version = _u32(head, 4)
    if version not in (2, 3):
        raise Unsupported(
            "qcow2 version",
            str(version),
            why="only versions 2 and 3 are known",
            remedy="Convert it with 'qemu-img convert -O qcow2'",
        )
    if version == 3 and len(head) < _V3_LENGTH:
        raise _malformed(f"the file ends after {size} bytes, inside the header")
    cluster_bits = _u32(head, 20)
    if not 9 <= cluster_bits <= 21:
        raise _malformed(f"cluster_bits is {cluster_bits}; 9 to 21 are possible")
    if version == 3:
        _check_features(_u64(head, 72))
    _check_method(_u32(head, 32))
    cluster = 1 << cluster_bits
    backing = _u64(head, 8)
    header_length = _u32(head, 100) if version == 3 else _V2_LENGTH
    if version == 3 and not (_V3_LENGTH <= header_length <= cluster and header_length % 8 == 0):
        raise _malformed(f"header_length is {header_length}")
    if version == 3 and _u32(head, _REFCOUNT_ORDER_OFFSET) > 6:
        raise _malformed(f"refcount_order is {_u32(head, _REFCOUNT_ORDER_OFFSET)}; 0 to 6 are possible")
    if backing > cluster:
        raise _malformed(f"the name of the backing file would begin at byte {backing}, past the first cluster")
    # Extensions lie in the first cluster, before the name of the backing file if there is one.
    end = backing or cluster
    region = _crypto_region(read(0, min(end, size)), header_length)
    _check_region(region, cluster, size)
    return Qcow2Crypto(
        offset=region.offset,
        length=region.size,
        clear=_clear(head) if version == 3 else None,
        notes=_notes(head, version),
    )


def _check_features(incompatible: int) -> None:
    bits = [bit for bit in range(64) if incompatible >> bit & 1]
    unknown = [bit for bit in bits if bit not in _KNOWN_INCOMPATIBLE]
    if unknown:
        raise Unsupported(
            "qcow2 feature",
            f"incompatible bit {unknown[0]}",
            why="the format forbids access to an image with an unknown incompatible feature",
            remedy="Use a newer release of this collection, or convert the image with a newer QEMU",
        )
    if _CORRUPT_BIT in bits:
        raise MalformedHeader(
            "the qcow2 image is marked corrupt",
            why="QEMU found inconsistent metadata in it, and the format forbids every write",
            remedy="Repair it with 'qemu-img check -r all' first",
        )


def _check_method(method: int) -> None:
    if method == _METHOD_LUKS:
        return
    if method == _METHOD_NONE:
        raise NotLuks(
            "it is a qcow2 image without encryption",
            remedy=f"{_NO_LUKS_REMEDY}; a volume that a guest made inside has a path of its own after 'qemu-nbd "
            "--connect=/dev/nbd0 IMAGE'",
        )
    if method == _METHOD_AES:
        raise Unsupported(
            "qcow2 encryption",
            "aes (crypt_method 1)",
            why="the old AES encryption of qcow2 has no keyslots",
            remedy="Convert it with 'qemu-img convert' to encrypt.format=luks",
        )
    raise Unsupported(
        "qcow2 encryption", f"crypt_method {method}", why="only 2 (LUKS) has keyslots", remedy=_CHECK_REMEDY
    )


def _crypto_region(head: bytes, offset: int) -> Extent:
    """Walk the extensions in ``head`` from ``offset``; each step advances by at least 8 bytes, so that it ends."""
    found: t.Optional[Extent] = None
    while offset + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, offset)
        if kind == 0:
            break
        data = offset + 8
        if data + length > len(head):
            raise _malformed(
                f"the header extension {kind:#010x} at byte {offset} has {length} bytes and exceeds the header"
            )
        if kind == CRYPTO_EXTENSION:
            if length != 16:
                raise _malformed(f"the encryption header extension has {length} bytes instead of 16")
            if found is not None:
                raise _malformed("it has two encryption header extensions")
            found = Extent(*struct.unpack_from(">QQ", head, data))
        offset = data + -(-length // 8) * 8
    if found is None:
        raise _malformed("its encryption is LUKS, but the header extension that points to the LUKS header is missing")
    return found


def _check_region(region: Extent, cluster: int, size: int) -> None:
    if region.offset % cluster or region.offset == 0:
        raise _malformed(
            f"the LUKS header would begin at byte {region.offset}, which is no cluster of {cluster} bytes behind the "
            "first one"
        )
    if region.size == 0:
        raise _malformed("the region of the LUKS header is empty")
    if region.end > size:
        raise _malformed(f"the LUKS header would end at byte {region.end}, but the file has only {size} bytes")


def _clear(head: bytes) -> t.Optional[Write]:
    autoclear = _u64(head, _AUTOCLEAR_OFFSET)
    if autoclear & ~_KNOWN_AUTOCLEAR == 0:
        return None
    return Write(_AUTOCLEAR_OFFSET, (autoclear & _KNOWN_AUTOCLEAR).to_bytes(8, "big"))


def _notes(head: bytes, version: int) -> t.Tuple[str, ...]:
    notes = []
    if _u64(head, 8):
        notes.append("the image has a backing file")
    if version == 3 and _u64(head, 72) >> _DATA_FILE_BIT & 1:
        notes.append("the image keeps its data in an external file")
    return tuple(notes)


def _u32(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "big")


def _u64(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 8], "big")
