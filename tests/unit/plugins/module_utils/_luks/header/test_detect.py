# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dispatch: version 1, version 2 by either copy, any other version, or a sentence on what it is."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import parsing, reading
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import codec as luks1_codec
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import codec as luks2_codec
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image as image

SIZE = 5 << 20
NINE = [0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000]


class FoundLuks2(Exception):
    """The LUKS2 codec was asked."""


@pytest.fixture
def only_dispatch(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(read: reading.Read, size: int, **_options: t.Any) -> t.NoReturn:
        raise FoundLuks2(size)

    monkeypatch.setattr(luks2_codec, "parse", found)


def header(data: bytes, size: int = SIZE, **options: bool) -> t.Any:
    return parsing.parse_header(image.reader(data.ljust(size, b"\0")[:size]), size, **options)


def test_version_1() -> None:
    found = header(image.build())
    assert isinstance(found, luks1_codec.Luks1Header)
    assert found.warnings == ()


def test_embedded_is_passed_on() -> None:
    assert header(image.build(), 4096 * 512).warnings != ()
    assert header(image.build(), 4096 * 512, embedded=True).warnings == ()


@pytest.mark.usefixtures("only_dispatch")
def test_version_2_goes_to_its_codec() -> None:
    with pytest.raises(FoundLuks2):
        header(b"LUKS\xba\xbe\0\2")


@pytest.mark.usefixtures("only_dispatch")
@pytest.mark.parametrize("offset", NINE)
def test_a_second_copy_alone_goes_to_the_luks2_codec(offset: int) -> None:
    for start in (b"", b"\xa5" * 4096):
        with pytest.raises(FoundLuks2):
            header(image.patch(start.ljust(SIZE, b"\0"), offset, b"SKUL\xba\xbe\0\2"))


@pytest.mark.usefixtures("only_dispatch")
@pytest.mark.parametrize("offset", [0, 0x3FFF, 0x2000, 0x6000])
def test_a_second_copy_elsewhere_is_none(offset: int) -> None:
    with pytest.raises(errors.NotLuks):
        header(image.patch(bytes(SIZE), offset, b"SKUL\xba\xbe\0\2"))


@pytest.mark.usefixtures("only_dispatch")
@pytest.mark.parametrize("version", [0, 3, 0x0100, 0xFFFF])
def test_another_version_is_refused_even_beside_a_good_second_copy(version: int) -> None:
    data = image.patch((b"LUKS\xba\xbe" + version.to_bytes(2, "big")).ljust(SIZE, b"\0"), 0x4000, b"SKUL\xba\xbe\0\2")
    with pytest.raises(errors.MalformedHeader, match=f"LUKS header has version {version}\\."):
        header(data)


@pytest.mark.parametrize(
    ("data", "size", "words"),
    [
        (b"", 0, "it is empty, not a LUKS volume"),
        (b"LUKS\xba\xbe\0", 7, "nor another known signature"),
        (b"XFSB", SIZE, "it begins with an XFS file system, not with a LUKS header"),
        (b"", SIZE, "it begins with zeros, not with a LUKS header"),
        (b"\x80\x81", SIZE, "nor another known signature"),
    ],
)
def test_everything_else_is_named(data: bytes, size: int, words: str) -> None:
    with pytest.raises(errors.NotLuks, match="never formats a device") as caught:
        header(data, size)
    assert words in caught.value.found


def test_a_read_error_passes_through() -> None:
    def read(offset: int, length: int) -> bytes:
        raise errors.StorageFault("Input/output error at byte 0")

    with pytest.raises(errors.StorageFault):
        parsing.parse_header(read, SIZE)
