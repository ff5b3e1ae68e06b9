# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A medium that gives only a part of a LUKS2 header: the other copy counts, and both copies unreadable is the medium's
fault.
"""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.parsing import parse_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.reading import TolerantRead
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

SIZE = image.HDR_SIZE
GOOD = image.build(image.tree())


class BadMedium:
    """Reads of these sectors of 512 bytes fail, as EIO does; ``asked``: how many did."""

    def __init__(self, raw: bytes, *sectors: int, size: int = image.SIZE) -> None:
        self._good = image.reader(raw, size)
        self._sectors = set(sectors)
        self.asked = 0

    def __call__(self, offset: int, length: int) -> bytes:
        if any(offset < 512 * (sector + 1) and 512 * sector < offset + length for sector in self._sectors):
            self.asked += 1
            raise StorageFault(f"cannot read {length} bytes at byte {offset} of the LUKS header")
        return bytes(self._good(offset, length))


@pytest.mark.parametrize("sectors", [(0,), (7,), (8,), (SIZE // 512 - 1,), tuple(range(SIZE // 512))])
@pytest.mark.parametrize("copy", ["primary", "secondary"])
def test_one_readable_copy_is_enough(copy: str, sectors: t.Tuple[int, ...]) -> None:
    start = 0 if copy == "primary" else SIZE // 512
    header = parse_header(BadMedium(GOOD, *(start + sector for sector in sectors)), image.SIZE)
    assert list(header.keyslots) == [0, 1]
    assert header.health == {"primary": "ok", "secondary": "ok", copy: "bad"}
    assert header.needs_heal and header.write_obstacle is None
    assert any("cannot be read at byte" in warning for warning in header.warnings)


@pytest.mark.parametrize("sectors", [(0, SIZE // 512), (8, SIZE // 512 + 8), (0, SIZE // 512 + 8)])
def test_neither_copy_can_be_read(sectors: t.Tuple[int, ...]) -> None:
    with pytest.raises(StorageFault, match="Cannot read"):
        parse_header(BadMedium(GOOD, *sectors), image.SIZE)


def test_a_luks1_header_has_no_second_copy() -> None:
    raw = luks1_image.build()
    for sector in (0, 1):
        with pytest.raises(StorageFault, match="Cannot read"):
            parse_header(BadMedium(raw, sector, size=len(raw)), len(raw))


def test_a_bad_block_is_asked_once_and_costs_no_good_neighbour() -> None:
    medium = BadMedium(GOOD, 9)
    read = TolerantRead(medium)
    assert read(0, SIZE) == GOOD[:4096] + bytes(4096) + GOOD[8192:SIZE]
    asked = medium.asked
    assert read(4096, 4096) == bytes(4096) and medium.asked == asked
    assert read(5, 8192) == GOOD[5:4096] + bytes(4096) + GOOD[8192:8197]
