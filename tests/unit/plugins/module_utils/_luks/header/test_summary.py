# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A summary says what the whole header says, and refuses what that refuses. tests/fuzz compares thousands of both."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.parsing import parse_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.summary import Summary, summarize
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image, luks2_image

LUKS2 = luks2_image.build(luks2_image.tree())
SIZE = luks2_image.HDR_SIZE
GOOD: t.Dict[str, t.Tuple[bytes, int]] = {
    "luks1": (luks1_image.build((0, 3)), 8 << 20),
    "luks1 with an odd uuid": (luks1_image.build(uuid=b"\x1b[2J\xff"), 8 << 20),
    "luks2": (LUKS2, luks2_image.SIZE),
    "luks2 without its primary": (bytes(SIZE) + LUKS2[SIZE:], luks2_image.SIZE),
    "luks2 without its secondary": (LUKS2[:SIZE] + bytes(SIZE), luks2_image.SIZE),
    "luks2 with every kind of member": (luks2_image.build(luks2_image.rich_tree()), luks2_image.SIZE),
}
BAD: t.Dict[str, t.Tuple[bytes, int]] = {
    "nothing": (b"", 0),
    "something else": (b"XFSB", 8 << 20),
    "another version": (b"LUKS\xba\xbe\0\3", 8 << 20),
    "luks1 cut": (luks1_image.build(), 1000),
    "luks1 with a field out of range": (luks1_image.build(mk_iterations=0), 8 << 20),
    "luks1 with areas that overlap": (luks1_image.build(starts=[8, 9, 2024, 3032, 4040, 5048, 6056, 7064]), 8 << 20),
    "luks2 without a copy": (LUKS2[: SIZE - 1] + b"x" + bytes(SIZE), luks2_image.SIZE),
    "luks2 with a salt that is none": (
        luks2_image.build(luks2_image.changed(luks2_image.tree(), "keyslots/0/kdf/salt", "?")),
        luks2_image.SIZE,
    ),
    "luks2 cut": (LUKS2, 2 * SIZE),
}


def reader(data: bytes) -> t.Callable[[int, int], bytes]:
    return lambda offset, length: data[offset : offset + length].ljust(length, b"\0")


@pytest.mark.parametrize("name", GOOD)
def test_it_says_what_the_header_says(name: str) -> None:
    data, size = GOOD[name]
    header = parse_header(reader(data), size)
    image = b"".join(header.image())
    due = Summary(header.format, header.uuid, header.label, header.needs_heal, image)
    assert summarize(reader(data), size) == due
    assert due.needs_heal is ("without its" in name)


@pytest.mark.parametrize("name", BAD)
def test_it_refuses_what_the_codec_refuses(name: str) -> None:
    data, size = BAD[name]
    with pytest.raises(errors.LuksmithError) as due:
        parse_header(reader(data), size)
    with pytest.raises(type(due.value)) as found:
        summarize(reader(data), size)
    assert str(found.value) == str(due.value)


def test_an_unreadable_block_makes_a_copy_damaged() -> None:
    def read(offset: int, length: int) -> bytes:
        if offset <= 4096 < offset + length:
            raise errors.StorageFault("cannot read it")
        return reader(LUKS2)(offset, length)

    assert summarize(read, luks2_image.SIZE).needs_heal is True
