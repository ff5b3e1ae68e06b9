# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is it, if it is not LUKS: signatures at their places, and chance bytes that are none."""

from __future__ import annotations

import struct
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import signatures
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image as image
from hypothesis import given, settings
from hypothesis import strategies as st

SIZE = 256 << 10
JUNK = bytes((index * 89 + 7) % 251 for index in range(4096)) * (SIZE // 4096)


def at(*parts: t.Tuple[int, bytes], base: bytes = JUNK) -> bytes:
    data = base
    for offset, content in parts:
        data = image.patch(data, offset, content)
    return data


def ext(compatible: int, incompatible: int, **fields: int) -> bytes:
    block = bytearray(128)
    struct.pack_into("<II", block, 0, fields.get("inodes", 64), 1024)
    struct.pack_into("<I", block, 24, fields.get("log_block_size", 2))
    struct.pack_into("<I", block, 40, 64)
    block[56:58] = b"\x53\xef"
    struct.pack_into("<I", block, 76, fields.get("revision", 1))
    struct.pack_into("<II", block, 92, compatible, incompatible)
    return bytes(block)


def mbr(status: int = 0x80, first: int = 2048) -> bytes:
    return struct.pack("<B3xB3xII", status, 0x83, first, 4096) + bytes(48) + b"\x55\xaa"


SIGNATURES = [
    (at((512, b"EFI PART"), (446, mbr())), "a GPT partition table"),
    (at((4096, b"EFI PART")), "a GPT partition table"),
    (at((446, mbr())), "an MBR partition table"),
    (at((0, b"QFI\xfb\0\0\0\3")), "a qcow2 image"),
    (at((0, b"SKUL\xba\xbe\0\2")), "a LUKS2 secondary header alone, without the primary one before it"),
    (at((0, b"LUKS\xde\xad\0\1")), "a LUKS1 header that an interrupted cryptsetup-reencrypt has disabled"),
    (at((3, b"-FVE-FS-"), (510, b"\x55\xaa")), "a BitLocker volume"),
    (at((3, b"NTFS    "), (510, b"\x55\xaa")), "an NTFS file system"),
    (at((54, b"FAT16   "), (510, b"\x55\xaa")), "a FAT file system"),
    (at((82, b"FAT32   "), (510, b"\x55\xaa")), "a FAT file system"),
    (at((0, b"XFSB")), "an XFS file system"),
    (at((1024, ext(0x3C, 0x02C2))), "an ext4 file system"),
    (at((1024, ext(0x3C, 0x0002))), "an ext3 file system"),
    (at((1024, ext(0x38, 0x0002))), "an ext2 file system"),
    (at((1024, ext(0, 0x08, inodes=0))), "an ext journal device"),
    *((at((sector * 512, b"LABELONE" + bytes(16) + b"LVM2 001")), "an LVM2 physical volume") for sector in range(4)),
    (at((65600, b"_BHRfS_M")), "a btrfs file system"),
    (at((32769, b"CD001")), "an ISO 9660 file system"),
    *((at((page - 10, b"SWAPSPACE2")), "swap space") for page in (4096, 16384, 65536)),
    (at((4086, b"S1SUSPEND\0")), "a hibernation image in swap space"),
    (at((4096, b"\xfc\x4e\x2b\xa9\1\0\0\0")), "an MD RAID member"),
    (at((SIZE - 8192, b"\xfc\x4e\x2b\xa9\1\0\0\0")), "an MD RAID member"),
    (at((SIZE - 65536, b"\xfc\x4e\x2b\xa9\0\0\0\0")), "an MD RAID member"),
]


@pytest.mark.parametrize(
    ("data", "what"), SIGNATURES, ids=[f"{number}-{what}" for number, (_data, what) in enumerate(SIGNATURES)]
)
def test_a_signature_at_its_place_is_named(data: bytes, what: str) -> None:
    assert signatures.signature(image.reader(data), len(data)) == what
    assert signatures.describe(image.reader(data), len(data)) == what


CHANCE = [
    ("junk", JUNK),
    ("ext-magic-only", at((1080, b"\x53\xef"))),
    ("ext-without-inodes", at((1024, ext(0, 2, inodes=0)))),
    ("ext-huge-blocks", at((1024, ext(0, 2, log_block_size=7)))),
    ("ext-future-revision", at((1024, ext(0, 2, revision=2)))),
    ("mbr-magic-only", at((510, b"\x55\xaa"))),
    ("mbr-status", at((446, mbr(status=0x0F)))),
    ("mbr-partition-over-itself", at((446, mbr(first=0)))),
    ("mbr-without-partitions", at((446, bytes(64) + b"\x55\xaa"))),
    ("label-of-something-else", at((512, b"LABELONE" + bytes(16) + b"OTHER001"))),
    ("btrfs-elsewhere", at((65601, b"_BHRfS_M"))),
]


@pytest.mark.parametrize("data", [case[1] for case in CHANCE], ids=[case[0] for case in CHANCE])
def test_bytes_that_may_turn_up_by_chance_are_no_signature(data: bytes) -> None:
    assert signatures.describe(image.reader(data), len(data)) is None


def test_a_luks1_header_with_55aa_in_slot_6_is_no_partition_table() -> None:
    raw = image.patch(image.build((0, 6)), 510, b"\x55\xaa")
    assert signatures.signature(image.reader(raw + JUNK), len(raw) + len(JUNK)) is None


WEAK = [
    (bytes(SIZE), "zeros"),
    (b"\xff" * SIZE, "bytes that are all 0xff"),
    (b"#!/bin/sh\necho hello\n" * 30, "text"),
    (b"short\n", "text"),
    (b"\x1f\x8b\x08" + JUNK, "a gzip archive"),
    (b"\xfd7zXZ\0" + JUNK, "an xz archive"),
]


@pytest.mark.parametrize(("data", "what"), WEAK, ids=[what for _data, what in WEAK])
def test_a_hint_is_described_but_owns_nothing(data: bytes, what: str) -> None:
    assert signatures.describe(image.reader(data), len(data)) == what
    assert signatures.signature(image.reader(data), len(data)) is None


def test_zeros_end_at_the_first_other_byte_of_the_start() -> None:
    assert signatures.describe(image.reader(at((65535, b"\1"), base=bytes(SIZE))), SIZE) is None
    assert signatures.describe(image.reader(at((65600, b"_BHRfS_M"), base=bytes(SIZE))), SIZE) == "a btrfs file system"


def test_nothing_is_read_that_is_not_there() -> None:
    for size in (0, 1, 7, 8, 9, 511, 512, 513, 1079, 1152, 4095, 4096, 8191, 8193, 65535, 65608, 131072):
        signatures.describe(image.reader(JUNK[:size]), size)
        signatures.describe(image.reader(bytes(size)), size)


def test_a_superblock_at_the_end_needs_room_before_the_end() -> None:
    # 8000 bytes end before the place would begin; counted from the end, as a slice does, it would be at 3904.
    data = at((3904, b"\xfc\x4e\x2b\xa9\1\0\0\0"))[:8000]
    assert signatures.signature(image.reader(data), len(data)) is None


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=9000))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    answer = signatures.describe(image.reader(data), len(data))
    assert answer is None or answer.isprintable()
