# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""LUKS headers in the partitions of a disk, for the error about a disk or an image of one."""

from __future__ import annotations

import struct
import typing as t

from .magic import LUKS
from .reading import Read

_SECTORS = (512, 4096)  # bytes
_MOST = 256  # partitions that are looked at
_EXTENDED = (0x05, 0x0F, 0x85)


def with_luks(read: Read, size: int) -> t.List[t.Tuple[int, int]]:
    """(number, first byte) of each partition that begins with a LUKS header. Raises what ``read`` raises."""
    found = []
    for number, start in _partitions(read, size):
        if 0 < start <= size - len(LUKS) and read(start, len(LUKS)) == LUKS:
            found.append((number, start))
    return found


def _partitions(read: Read, size: int) -> t.Iterator[t.Tuple[int, int]]:
    for sector in _SECTORS:
        if 2 * sector <= size and read(sector, 8) == b"EFI PART":
            table, count, length = struct.unpack("<QII", read(sector + 72, 16))
            for index in range(min(count, _MOST)):
                place = table * sector + index * length
                if not 128 <= length <= 4096 or place + 128 > size:
                    return
                entry = read(place, 128)
                if any(entry[:16]):
                    yield index + 1, struct.unpack_from("<Q", entry, 32)[0] * sector
            return
    logical = 0
    for number, kind, first in _entries(read, size, 0, range(1, 5)):
        if kind in _EXTENDED:
            logical = logical or first
        else:
            yield number, first * _SECTORS[0]
    yield from _logical(read, size, logical)


def _logical(read: Read, size: int, extended: int) -> t.Iterator[t.Tuple[int, int]]:
    """Each logical partition has a table of its own: itself, and where the next table is, from the first one on."""
    table = extended
    for number in range(5, 5 + _MOST):
        if not table:
            return
        following = 0
        for _number, kind, first in _entries(read, size, table, (number, 0)):
            if kind in _EXTENDED:
                following = extended + first
            else:
                yield number, (table + first) * _SECTORS[0]
        table = following if following > table else 0


def _entries(read: Read, size: int, table: int, numbers: t.Iterable[int]) -> t.Iterator[t.Tuple[int, int, int]]:
    """(number, type, first sector) of the entries in the table at sector ``table``."""
    start = table * _SECTORS[0]
    if start + 512 > size:
        return
    sector = read(start, 512)
    if sector[510:512] != b"\x55\xaa":
        return
    for place, number in zip(range(446, 510, 16), numbers):
        kind, first = sector[place + 4], struct.unpack_from("<I", sector, place + 8)[0]
        if kind and first:
            yield number, kind, first
