# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our two tokens: stored so that others can show them, read back only when they make sense."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import codec, metadata
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

FREE = model.Extent(8388608, 258048)
WIPE = model.Intent(model.IntentKind.WIPE, 3, extents=(FREE,))
ENTRY = model.RecordEntry(keyslot=1, label="primary \u00e9", fingerprint="00ffab", changed="2026-01-02T03:04:05Z")


def read(tree: t.Optional[t.Mapping[str, t.Any]] = None) -> codec.Luks2Header:
    return codec.parse(image.reader(image.build(image.rich_tree() if tree is None else tree)), image.SIZE)


def again(header: codec.Luks2Header) -> codec.Luks2Header:
    return read(metadata.parse_area(metadata.emit(header.metadata) + b"\0"))


def full_of_tokens() -> t.Dict[str, t.Any]:
    tree = image.tree()
    tree["tokens"] = {str(number): {"type": "user", "keyslots": []} for number in range(32)}
    return tree


def test_the_note_has_its_documented_form() -> None:
    header = read().with_intent(WIPE)
    assert metadata.emit(header.metadata["tokens"]["1"]).decode() == (
        '{"type":"luksmith.luks-intent","keyslots":[],"version":1,"kind":"wipe","keyslot":3,"extents":[{"offset":"8388608","size":"258048"}]}'
    )
    assert [(token.number, token.ours, token.keyslots) for token in header.tokens if token.ours] == [(1, True, ())]
    assert again(header).intent == WIPE


@pytest.mark.parametrize("kind", ["wipe", "replace-erase", "replace-fill"])
def test_every_kind_comes_back(kind: str) -> None:
    intent = model.Intent(kind, 3, temporary_slot=4, extents=(FREE, model.Extent(9437184, 512)))
    assert again(read().with_intent(intent)).intent == intent


@pytest.mark.parametrize("kind", ["copied", "wipe", "replace-erase"])
def test_the_name_of_a_copy_comes_back(kind: str) -> None:
    intent = model.Intent(kind, 0, copy="00112233445566778899aabbccddeeff")
    assert again(read().with_intent(intent)).intent == intent


@pytest.mark.parametrize("name", ["", "0011", "../../etc/passwd", "00112233445566778899AABBCCDDEEFF"])
def test_the_name_of_a_copy_that_is_none_is_an_obstacle(name: str) -> None:
    """It becomes a part of a path."""
    header = again(read().with_intent(model.Intent("copied", 0, copy=name)))
    assert header.intent is None and header.write_obstacle is not None


def test_a_note_is_replaced_in_its_place_and_taken_away() -> None:
    header = read().with_intent(WIPE)
    other = header.with_intent(model.Intent("replace-fill", 2))
    assert [token.number for token in other.tokens if token.ours] == [1]
    assert other.intent == model.Intent("replace-fill", 2)
    assert metadata.emit(other.with_intent(None).metadata) == metadata.emit(read().metadata)
    assert read().with_intent(None).intent is None


def test_a_wipe_holds_its_place() -> None:
    header = read(image.tree())
    gap = header.layout.place(2)
    assert gap is not None
    held = header.with_intent(model.Intent("wipe", 2, extents=(gap,))).layout
    assert held.held == (gap,)
    assert held.place(2) == model.Extent(gap.end, 258048)
    assert header.with_intent(model.Intent("replace-fill", 2, extents=(gap,))).layout.place(2) == gap


@pytest.mark.parametrize(
    "extents",
    [
        (model.Extent(0, 4096),),
        (model.Extent(32767, 1),),
        (FREE, model.Extent(16777215, 2)),
        (model.Extent(8388608, 0),),
    ],
)
def test_only_the_keyslots_area_can_be_meant(extents: t.Tuple[model.Extent, ...]) -> None:
    with pytest.raises(errors.Refused, match="not inside the keyslots area"):
        read().with_intent(model.Intent("wipe", 0, extents=extents))
    token = {
        "type": "luksmith.luks-intent",
        "keyslots": [],
        "version": 1,
        "kind": "wipe",
        "keyslot": 0,
        "extents": [{"offset": str(extent.offset), "size": str(extent.size)} for extent in extents],
    }
    forged = read(image.changed(image.tree(), "tokens/0", token))
    assert forged.intent is None
    assert "outside of the keyslots area" in str(forged.write_obstacle)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("version", 2),
        ("version", ...),
        ("version", "1"),
        ("kind", "hop-add"),
        ("kind", "erase"),
        ("kind", 1),
        ("keyslot", 32),
        ("keyslot", "3"),
        ("keyslot", True),
        ("via", -1),
        ("extents", {}),
        ("extents", [{"offset": 8388608, "size": "1"}]),
        ("extents", [{"offset": "8388608"}]),
        ("extents", ["8388608"]),
    ],
)
def test_a_note_that_makes_no_sense_stops_writes_and_not_reads(member: str, value: t.Any) -> None:
    header = read(image.changed(read().with_intent(WIPE).metadata, f"tokens/1/{member}", value))
    assert (header.intent, list(header.keyslots)) == (None, [0, 1, 5])
    assert "interrupted run" in str(header.write_obstacle)


def test_two_notes_are_one_too_many() -> None:
    tree = read().with_intent(WIPE).metadata
    tree["tokens"]["9"] = tree["tokens"]["1"]
    assert "several" in str(read(tree).write_obstacle)


def test_what_a_keyslot_owns_by_now_is_never_wiped() -> None:
    # Slot 1 lies at 290816..548864: a note that covers more is cut to what is left of it.
    intent = model.Intent("wipe", 3, extents=(model.Extent(286720, 270336), FREE))
    header = again(read(image.tree()).with_intent(intent))
    assert header.intent is not None
    assert header.intent.extents == (model.Extent(548864, 8192), FREE)
    assert "left as it is" in header.warnings[0]
    assert header.write_obstacle is None
    covered = again(read(image.tree()).with_intent(model.Intent("wipe", 1, extents=(header.keyslots[1].area,))))
    assert covered.intent == model.Intent("wipe", 1)
    both_sides = again(
        read(image.tree(slots=1)).with_intent(model.Intent("wipe", 2, extents=(model.Extent(32768, 262144),)))
    )
    assert both_sides.intent is not None and both_sides.intent.extents == (model.Extent(290816, 4096),)


def test_a_slot_that_is_being_replaced_may_lie_in_its_own_extent() -> None:
    area = read().keyslots[1].area
    intent = model.Intent("replace-erase", 1, extents=(area,))
    assert again(read().with_intent(intent)).intent == intent
    other = model.Intent("replace-erase", 0, extents=(area,))
    assert again(read().with_intent(other)).intent == model.Intent("replace-erase", 0)


def test_an_extent_is_whole_again_once_the_slot_is_gone() -> None:
    header = read()
    area = header.keyslots[1].area
    intent = model.Intent("wipe", 1, extents=(area,))
    assert (
        header.with_intent(intent).without_keyslot(1).intent
        == header.without_keyslot(1).with_intent(intent).intent
        == intent
    )


def test_hops_belong_to_luks1() -> None:
    with pytest.raises(errors.Refused, match="hop-fill"):
        read().with_intent(model.Intent("hop-fill", 1, temporary_slot=2))


def test_without_a_free_token_a_note_is_refused_and_a_record_warned_of() -> None:
    header = read(full_of_tokens())
    with pytest.raises(errors.Refused, match=r"(?i)all 32 tokens"):
        header.with_intent(WIPE)
    without = header.with_record({1: ENTRY})
    assert without.record == {}
    assert "record was not written" in without.warnings[-1]
    assert metadata.emit(without.metadata) == metadata.emit(header.metadata)
    assert "record was not written" in without.with_priority(0, "prefer").warnings[-1]


def test_the_token_of_another_program() -> None:
    header = again(read().with_token(1, {"type": "clevis", "keyslots": ["5"], "jwe": {}}))
    assert list(header.metadata["tokens"].values())[-1] == {"type": "clevis", "keyslots": ["1"], "jwe": {}}
    full = full_of_tokens()
    with pytest.raises(errors.Refused, match=r"(?i)all 32 tokens .* are in use"):
        read(full).with_token(1, {"type": "clevis", "jwe": {}})
    del full["tokens"]["31"]
    assert again(read(full).with_token(1, {"type": "clevis", "jwe": {}})).metadata["tokens"]["31"]["type"] == "clevis"


def test_the_record_gives_way_to_a_note() -> None:
    tree = full_of_tokens()
    del tree["tokens"]["9"]
    header = read(tree).with_record({1: ENTRY})
    noted = header.with_intent(WIPE)
    assert (noted.record, noted.intent, [token.number for token in noted.tokens if token.ours]) == ({}, WIPE, [9])
    assert "record was removed" in noted.warnings[-1]
    room = image.tree()
    room["vendor"] = "x" * (12287 - len(image.dumps({**room, "vendor": ""})) - 250)
    header = read(room).with_record({1: ENTRY})
    assert (header.record, header.with_intent(WIPE).record, header.with_intent(WIPE).intent) == ({1: ENTRY}, {}, WIPE)
    room["vendor"] += "x" * 200
    with pytest.raises(errors.Refused, match="would need"):
        read(room).with_record({1: ENTRY}).with_intent(WIPE)


def test_the_record_has_its_documented_form() -> None:
    header = read().with_record({1: ENTRY})
    assert metadata.emit(header.metadata["tokens"]["1"]).decode() == (
        '{"type":"luksmith.luks-record","keyslots":[],"version":1,'
        '"slots":{"1":{"label":"primary \u00e9","fingerprint":"00ffab","changed":"2026-01-02T03:04:05Z"}}}'
    )
    assert again(header).record == {1: ENTRY}
    assert header.with_record({}).metadata == read().metadata
    assert header.with_record({0: model.RecordEntry(0, "x", "", "")}).record == {0: model.RecordEntry(0, "x", "", "")}


def test_labels_never_make_the_header_unreadable() -> None:
    header = read().with_record({1: model.RecordEntry(1, 'a\0b\ud800"\n', "00", "")})
    assert again(header).record[1].label == 'ab?"\n'


def test_a_record_without_room_is_left_out() -> None:
    header = read().with_record({1: model.RecordEntry(1, "x" * 20000, "00", "")})
    assert header.record == {}
    assert "no room" in header.warnings[-1]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("version", 9),
        ("slots", []),
        ("slots/1", "x"),
        ("slots/1/label", 1),
        ("slots/1/fingerprint", "XYZ"),
        ("slots/1/changed", ...),
        ("slots/01", {"label": "", "fingerprint": "", "changed": ""}),
        ("slots/32", {"label": "", "fingerprint": "", "changed": ""}),
    ],
)
def test_a_broken_record_is_as_good_as_none(member: str, value: t.Any) -> None:
    header = read(image.changed(read().with_record({1: ENTRY}).metadata, f"tokens/1/{member}", value))
    assert (header.record, header.write_obstacle) == ({}, None)
    assert "record" in header.warnings[0]
    assert header.without_keyslot(0).record == {}
    assert header.with_record({1: ENTRY}).record == {1: ENTRY}


def test_of_two_records_the_first_counts() -> None:
    tree = read().with_record({1: ENTRY}).metadata
    tree["tokens"]["9"] = image.changed(tree["tokens"]["1"], "slots", {})
    header = read(tree)
    assert (header.record, "several records" in header.warnings[0]) == ({1: ENTRY}, True)
