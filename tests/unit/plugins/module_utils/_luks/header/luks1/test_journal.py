# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The intent record: ours is found again, everything else is told from it."""

from __future__ import annotations

import hashlib
import struct
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import codec
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image as image

PLACE = 768
BASE = image.build((0, 1), padding=b"")
VALID = [
    model.Intent(model.IntentKind.ERASE, 7),
    model.Intent(model.IntentKind.MOVE_ADD, 0, temporary_slot=7),
    model.Intent(model.IntentKind.MOVE_ERASE, 3, temporary_slot=0),
    model.Intent(model.IntentKind.MOVE_FILL, 7, temporary_slot=6),
    model.Intent(model.IntentKind.REPLACE_ERASE, 0),
    model.Intent(model.IntentKind.REPLACE_FILL, 5),
    model.Intent(model.IntentKind.REPLACE_FILL, 5, copy="00112233445566778899aabbccddeeff"),
    model.Intent(model.IntentKind.MOVE_ADD, 0, 7, copy="f" * 32),
    model.Intent(model.IntentKind.COPIED, 0, copy="00112233445566778899aabbccddeeff"),
]


def parse(raw: bytes) -> codec.Luks1Header:
    return codec.parse(image.reader(raw), 16 << 20)


def record(
    raw: bytes,
    *,
    magic: bytes = b"LUKSMITH",
    version: int = 1,
    kind: int = 1,
    keyslot: int = 1,
    temporary_slot: int = 0xFF,
    rest: bytes = bytes(20),
) -> bytes:
    """The documented record, packed here and not by the code under test."""
    body = magic + struct.pack(">BBBB", version, kind, keyslot, temporary_slot) + rest
    return image.patch(raw, PLACE, body + hashlib.sha256(body + raw[112:208]).digest())


@pytest.mark.parametrize("intent", VALID, ids=[intent.kind for intent in VALID])
def test_an_intent_is_found_again_and_leaves_no_trace(intent: model.Intent) -> None:
    header = parse(BASE).with_intent(intent)
    again = parse(header.image()[0])
    assert again.intent == intent
    assert again.warnings == ()
    assert again.write_obstacle is None
    assert header.image()[0][:PLACE] == BASE[:PLACE]
    assert header.image()[0][PLACE + 64 :] == BASE[PLACE + 64 :]
    assert again.with_intent(None).image() == (BASE,)


def test_the_bytes_are_the_documented_ones() -> None:
    header = parse(BASE).with_intent(model.Intent(model.IntentKind.MOVE_ERASE, 1, temporary_slot=6))
    assert header.image()[0] == record(BASE, kind=3, keyslot=1, temporary_slot=6)


def test_slots_may_change_under_an_intent_but_not_the_volume() -> None:
    marked = record(BASE)
    edited = parse(marked).without_keyslot(1)
    assert edited.intent == model.Intent(model.IntentKind.ERASE, 1)
    other_key = image.patch(marked, 112, b"\xff")
    other_uuid = image.patch(marked, 168, b"f")
    for raw in (
        other_key,
        other_uuid,
        image.patch(marked, PLACE + 10, b"\5"),
        image.patch(marked, PLACE + 63, b"\0\0"),
    ):
        header = parse(raw[:1024])
        assert header.intent is None
        assert header.write_obstacle is None
        (warning,) = header.warnings
        assert "wrong check" in warning
        assert header.without_keyslot(1).image()[0][592:] == raw[592:1024], "bytes that are no intent are kept"


UNKNOWN: t.List[t.Tuple[str, t.Dict[str, t.Any]]] = [
    ("newer", {"version": 2}),
    ("version-0", {"version": 0}),
    ("kind", {"kind": 7}),
    ("slot", {"keyslot": 8}),
    ("hop-without-via", {"kind": 2}),
    ("hop-to-itself", {"kind": 2, "keyslot": 3, "temporary_slot": 3}),
    ("via-8", {"kind": 2, "temporary_slot": 8}),
    ("erase-with-via", {"temporary_slot": 3}),
    ("more", {"rest": bytes(19) + b"\1"}),
]


@pytest.mark.parametrize("fields", [case[1] for case in UNKNOWN], ids=[case[0] for case in UNKNOWN])
def test_a_record_of_another_release_blocks_writing(fields: t.Dict[str, t.Any]) -> None:
    header = parse(record(BASE, **fields))
    assert header.intent is None
    assert isinstance(header.write_obstacle, errors.Unsupported)
    assert "newest release" in str(header.write_obstacle)


def test_a_newer_record_blocks_whatever_its_check_is() -> None:
    assert parse(image.patch(record(BASE, version=9), PLACE + 40, b"another check")).write_obstacle is not None


def test_junk_at_the_place_is_kept_until_an_intent_needs_it() -> None:
    raw = image.patch(BASE, 592, bytes(range(1, 217)) * 2)
    header = parse(raw)
    assert header.intent is None
    assert len(header.warnings) == 1
    assert header.without_keyslot(0).image()[0][592:] == raw[592:]
    marked = header.with_intent(VALID[0])
    assert parse(marked.image()[0]).intent == VALID[0]
    assert marked.image()[0][592:PLACE] == raw[592:PLACE]
    assert marked.image()[0][PLACE + 64 :] == raw[PLACE + 64 :]


@pytest.mark.parametrize(
    "intent",
    [
        model.Intent(model.IntentKind.WIPE, 0),
        model.Intent(model.IntentKind.ERASE, 0, extents=(model.Extent(4096, 512),)),
        model.Intent(model.IntentKind.ERASE, 8),
        model.Intent(model.IntentKind.ERASE, 0, temporary_slot=1),
        model.Intent(model.IntentKind.MOVE_ADD, 0),
    ],
)
def test_an_intent_that_no_luks1_run_can_have_is_refused(intent: model.Intent) -> None:
    with pytest.raises(errors.Refused):
        parse(BASE).with_intent(intent)
