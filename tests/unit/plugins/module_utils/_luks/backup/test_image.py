# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a backup stands to a header: by its keyslots, and by the sequence id where there is one."""

from __future__ import annotations

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup import image
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.image import Image, parse_image
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError, StorageFault
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image, luks2_image


def luks1(*active: int, material: bytes = b"m", **options: bytes) -> Image:
    data = bytearray(luks1_image.build(active, key_bytes=16, **options).ljust(8 * 65536 + 4096, b"\0"))
    for number in active:
        start = luks1_image.default_starts(16)[number] * 512
        data[start : start + 8] = material * 8
    return parse_image(bytes(data))


def luks2(slots: int = 2, seqid: int = 3, material: bytes = b"m") -> Image:
    data = bytearray(luks2_image.build(luks2_image.tree(slots=slots), seqid=seqid).ljust(16 << 20, b"\0"))
    data[32768:32776] = material * 8
    return parse_image(bytes(data))


def test_sizes_are_those_of_cryptsetup() -> None:
    assert image.image_size(luks1(0).header) == 4096 + 8 * 65536
    assert image.image_size(luks2().header) == 16 << 20


@pytest.mark.parametrize(
    ("backup", "now", "expected"),
    [
        (luks1(0), luks1(0), image.SAME),
        (luks1(0), luks1(0, padding=b"junk"), image.SAME),
        (luks1(0), luks1(0, 1), image.DIFFERENT),
        (luks1(0), luks1(0, material=b"x"), image.DIFFERENT),
        (luks1(0), luks1(0, uuid=b"0b6dd9bb-21a1-4c9c-b8b0-000000000000"), image.FOREIGN),
        (luks2(), luks2(), image.SAME),
        (luks2(), luks2(seqid=4), image.EQUIVALENT),
        (luks2(), luks2(slots=1, seqid=4), image.OLDER),
        (luks2(seqid=9), luks2(slots=1, seqid=4), image.NEWER),
        (luks2(), luks2(slots=1), image.DIFFERENT),
        (luks1(0), luks2(), image.FOREIGN),
    ],
)
def test_relations(backup: Image, now: Image, expected: str) -> None:
    assert image.relation(backup, now) == expected


def test_a_keyslot_is_its_parameters_and_its_material() -> None:
    assert image.only_in(luks1(0, 1), luks1(1)) == [0]
    assert image.only_in(luks1(0), luks1(0, material=b"x")) == [0]
    assert image.only_in(luks2(2), luks2(1)) == [1]
    assert image.only_in(luks2(1), luks2(2)) == []


def test_a_backup_that_is_cut_off_is_no_backup() -> None:
    with pytest.raises(LuksmithError, match="truncated"):
        parse_image(luks1(0).data[:-4096])


@pytest.mark.parametrize(("offset", "length"), [(2, 2), (3, 1), (-1, 1), (0, 4)])
def test_what_is_not_in_the_file_cannot_be_read(offset: int, length: int) -> None:
    read = image.read_of(b"abc")
    assert read(1, 2) == b"bc"
    with pytest.raises(StorageFault, match="the file ends at byte 3"):
        read(offset, length)
