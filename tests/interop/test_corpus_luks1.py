# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The LUKS1 images of the shared corpus: what is to be accepted is read to the byte, what is evil is refused."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import parsing
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import codec as luks1_codec
from ansible_collections.luksmith.luks.tests.interop import corpus
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image as image

# Nothing that a LUKS1 codec reads lies behind this.
HEAD = 2 << 20
ROWS = corpus.rows("luks1")
pytestmark = corpus.needs_corpus


def head(row: corpus.Row) -> bytes:
    with corpus.image(row["file"]).open("rb") as file:
        return file.read(HEAD)


def read(row: corpus.Row) -> luks1_codec.Luks1Header:
    header = parsing.parse_header(image.reader(head(row)), int(row["size"]))
    assert isinstance(header, luks1_codec.Luks1Header)
    return header


def those(*expected: str) -> t.Any:
    return corpus.each([row for row in ROWS if row["expected"] in expected])


@those("accept", "accept+open")
def test_a_good_image_is_read_to_the_byte(row: corpus.Row) -> None:
    header = read(row)
    assert header.image() == (head(row)[:1024],)
    assert ",".join(map(str, header.keyslots)) == row["active_slots"]
    assert header.write_obstacle is None
    assert header.intent is None
    assert header.extent <= int(row["size"])
    for number, slot in header.keyslots.items():
        assert header.with_keyslot(number, slot.kdf, slot.area).image() == header.image()


@those("refuse")
def test_an_evil_image_is_refused(row: corpus.Row) -> None:
    with pytest.raises(errors.MalformedHeader, match="Nothing was changed"):
        read(row)


@those("aux")
def test_the_files_of_an_interrupted_reencryption(row: corpus.Row) -> None:
    """The new header is an ordinary detached one with a null cipher; the log is no LUKS."""
    if row["file"].endswith(".log"):
        with pytest.raises(errors.NotLuks):
            read(row)
    else:
        assert ",".join(map(str, read(row).keyslots)) == row["active_slots"]


def test_old_layouts_are_told_from_new_ones() -> None:
    oldest = [row for row in ROWS if "unaligned keyslots" in row["note"]]
    assert oldest
    for row in oldest:
        header = read(row)
        assert header.keyslots[0].area.offset == 1024
        assert "before sector 8" in " ".join(header.warnings)
