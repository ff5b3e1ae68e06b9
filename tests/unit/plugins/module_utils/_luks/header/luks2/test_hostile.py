# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS2 headers that want to take for ever, to fill the memory, or to draw on the terminal.

Work is counted, not timed.
"""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import (
    codec,
    metadata,
    validate_metadata,
    view,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image


class Counted(str):
    """A string that counts how often it was compared or looked up."""

    __slots__ = ()
    work = 0

    def __eq__(self, other: object) -> bool:
        Counted.work += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        Counted.work += 1
        return str.__hash__(self)


def crowd(members: int) -> t.Dict[str, t.Any]:
    """``members`` keyslots, segments and references to them, all valid."""
    tree = image.tree(slots=1)
    slot = {"type": "x", "key_size": 1}
    for number in range(1, members):
        tree["keyslots"][Counted(number)] = {
            **slot,
            "area": {"type": "x", "offset": str(290816 + 512 * number), "size": "512"},
        }
        tree["segments"][Counted(number)] = {"type": "x", "offset": str(2**40 + 512 * number), "size": "512"}
    tree["segments"]["0"]["size"] = "512"
    names = [Counted(number) for number in range(members)]
    tree["digests"]["0"]["segments"] = names[1:] + names[:1]
    tree["digests"]["1"] = {"type": "x", "keyslots": names[1:], "segments": names[1:]}
    return tree


def work(members: int) -> int:
    tree = crowd(members)
    Counted.work = 0
    validate_metadata.check(tree, image.HDR_SIZE)
    view.keyslots(tree)
    return Counted.work


def test_validation_is_linear_in_the_number_of_members() -> None:
    few, many = work(100), work(800)
    assert many < 12 * few, "eight times the members, not more than about eight times the work"


def test_a_text_of_quotes_that_never_ends_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two million quotes: whoever looks for the end of the string again at each of them needs hours."""
    seen = 0
    finditer = metadata._MARKS.finditer

    class Marks:
        @staticmethod
        def finditer(text: str) -> t.Iterator[t.Any]:
            nonlocal seen
            for seen, found in enumerate(finditer(text), 1):  # noqa: B007 - counted for the test
                yield found

    monkeypatch.setattr(metadata, "_MARKS", Marks)
    text = b'{"' + b'\\"' * 100_000
    with pytest.raises(errors.MalformedHeader, match="not strict JSON"):
        metadata.parse_area(text + b"\0")
    assert seen <= len(text)


@pytest.mark.parametrize("text", [b'{"a":"[[[[\\"]]]"}', b'{"\\\\":[[1],{"b":"}"}]}', b'{"a":"\\\\"}'])
def test_brackets_in_strings_do_not_count(text: bytes) -> None:
    assert metadata.emit(metadata.parse_area(text + b"\0"))


@pytest.mark.parametrize("depth, fine", [(30, True), (31, False)])
def test_depth(depth: int, fine: bool) -> None:
    text = b'{"\\"]]]":' + b"[" * depth + b"]" * depth + b"}"
    if fine:
        metadata.parse_area(text + b"\0")
    else:
        with pytest.raises(errors.MalformedHeader, match="deeper"):
            metadata.parse_area(text + b"\0")


def parsed(tree: t.Any, **options: t.Any) -> codec.Luks2Header:
    return codec.parse(image.reader(image.build(tree, **options)), image.SIZE)


def test_names_do_not_draw_on_the_terminal() -> None:
    header = parsed(image.tree(), label=b"\x1b[2J\r\nok: [host]")
    assert header.label == "\\x1b[2J\\r\\nok: [host]"


def test_a_message_is_never_as_long_as_the_header() -> None:
    tree = image.tree()
    tree["tokens"]["x" * 9000] = {"type": "x", "keyslots": []}
    with pytest.raises(errors.MalformedHeader) as caught:
        parsed(tree)
    assert len(str(caught.value)) < 2500 and "[...]" in str(caught.value)


def intent(*extents: t.Tuple[int, int]) -> t.Dict[str, t.Any]:
    tree = image.tree()
    listed = [{"offset": str(offset), "size": str(size)} for offset, size in extents]
    tree["tokens"]["0"] = {
        "type": "luksmith.luks-intent",
        "keyslots": [],
        "version": 1,
        "kind": "wipe",
        "keyslot": 3,
        "extents": listed,
    }
    return tree


@pytest.mark.parametrize(
    "extents, problem",
    [
        ([(8388608, 4096)] * 2, "the same bytes twice"),
        ([(8388608 + 512 * number, 512) for number in range(65)], "65 areas"),
    ],
    ids=["twice", "many"],
)
def test_a_forged_intent_does_not_make_us_write_for_hours(extents: t.Sequence[t.Tuple[int, int]], problem: str) -> None:
    header = parsed(intent(*extents))
    assert header.intent is None
    assert header.write_obstacle is not None and problem in str(header.write_obstacle)


def test_64_extents_are_followed() -> None:
    header = parsed(intent(*((8388608 + 512 * number, 512) for number in range(64))))
    assert header.intent is not None and len(header.intent.extents) == 64 and header.write_obstacle is None
