# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Partitions with a LUKS header, in tables laid out by hand; tests/interop has those of sfdisk."""

from __future__ import annotations

import random
import struct
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.partitions import with_luks

LUKS = b"LUKS\xba\xbe\0\x02"
SIZE = 4 << 20


def image(*pieces: t.Tuple[int, bytes]) -> bytes:
    made = bytearray(SIZE)
    for offset, content in pieces:
        made[offset : offset + len(content)] = content
    return bytes(made)


def found(content: bytes) -> t.List[t.Tuple[int, int]]:
    def read(offset: int, length: int) -> bytes:
        assert offset >= 0 and offset + length <= len(content)
        return content[offset : offset + length]

    return with_luks(read, len(content))


def mbr(*entries: t.Tuple[int, int]) -> bytes:
    """(type, first sector) of each."""
    table = bytearray(512)
    for number, (kind, first) in enumerate(entries):
        struct.pack_into("<BBBBBBBBII", table, 446 + 16 * number, 0, 0, 0, 0, kind, 0, 0, 0, first, 100)
    table[510:] = b"\x55\xaa"
    return bytes(table)


def gpt(sector: int, *starts: int) -> bytes:
    head = bytearray(b"EFI PART".ljust(sector, b"\0"))
    struct.pack_into("<QII", head, 72, 2, 128, 128)
    rows = (bytes([1] * 16) + bytes(16) + struct.pack("<QQ", start, start) + bytes(80) for start in starts)
    return bytes(head) + b"".join(rows)


@pytest.mark.parametrize("sector", [512, 4096])
def test_gpt(sector: int) -> None:
    table = gpt(sector, 100, 200, 300)
    content = image((sector, table), (200 * sector, LUKS), (300 * sector, LUKS))
    assert found(content) == [(2, 200 * sector), (3, 300 * sector)]


def test_primary_partitions() -> None:
    assert found(image((0, mbr((0x83, 64), (0x83, 2048))), (2048 * 512, LUKS))) == [(2, 2048 * 512)]


def test_logical_partitions() -> None:
    """The first table is at sector 1000; the next one counts from there, a partition from its own table."""
    tables = ((0, mbr((0x83, 64), (0x05, 1000))), (1000 * 512, mbr((0x83, 8), (0x05, 500))))
    content = image(*tables, (1500 * 512, mbr((0x83, 16))), (1516 * 512, LUKS))
    assert found(content) == [(6, 1516 * 512)]


@pytest.mark.parametrize(
    "table",
    [
        mbr((0x05, 0)),
        mbr((0x05, 1)),
        mbr((0x83, 2**32 - 1)),
        bytes(512) + gpt(512, 2**64 - 1, 2**63),
        bytes(512) + gpt(512)[:72] + struct.pack("<QII", 2**64 - 1, 2**32 - 1, 2**32 - 1),
        bytes(512) + gpt(512)[:72] + struct.pack("<QII", 2, 2**32 - 1, 0),
    ],
)
def test_impossible_tables_end(table: bytes) -> None:
    assert found(image((0, table))) == []


def test_a_chain_of_tables_that_leads_back_ends() -> None:
    assert found(image((0, mbr((0x05, 10))), (10 * 512, mbr((0x83, 1), (0x05, 0))))) == []


def test_noise_finds_nothing_and_raises_nothing() -> None:
    rng = random.Random(5)
    for _case in range(300):
        table = bytearray(rng.getrandbits(8) for _byte in range(2048))
        table[510:520] = b"\x55\xaaEFI PART" if rng.random() < 0.5 else b"\x55\xaa" + bytes(8)
        found(image((0, bytes(table))))
