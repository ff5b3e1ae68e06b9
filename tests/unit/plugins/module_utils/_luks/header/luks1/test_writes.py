# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every prefix of the header writes of a LUKS1 commit is a safe header, for all slots, edits and intents."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import codec
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image as image
from hypothesis import given, settings
from hypothesis import strategies as st

ERASE = model.Intent(model.IntentKind.ERASE, 2)
MOVE = model.Intent(model.IntentKind.MOVE_ERASE, 2, temporary_slot=6)
INTENTS = {
    "none": (None, None),
    "set": (None, ERASE),
    "keep": (ERASE, ERASE),
    "clear": (ERASE, None),
    "replace": (ERASE, MOVE),
}
Slots = t.Dict[int, t.Tuple[int, bytes]]


def parse(raw: bytes) -> codec.Luks1Header:
    return codec.parse(image.reader(raw), 16 << 20)


def start(active: t.Iterable[int], intent: t.Optional[model.Intent] = None) -> codec.Luks1Header:
    return parse(image.build(active)).with_intent(intent)


def fill(header: codec.Luks1Header, number: int, seed: int = 60) -> codec.Luks1Header:
    return header.with_keyslot(
        number, model.Pbkdf2("sha256", 5000 + seed, image.salt(seed + number)), header.layout.fixed[number]
    )


def slots(header: model.Header) -> Slots:
    found: Slots = {}
    for number, slot in header.keyslots.items():
        assert isinstance(slot.kdf, model.Pbkdf2)
        found[number] = (slot.kdf.iterations, slot.kdf.salt)
    return found


def assert_safe(old: codec.Luks1Header, new: codec.Luks1Header) -> t.List[codec.Luks1Header]:
    """Check every prefix of the commit; the headers after each write."""
    raw = old.image()[0]
    before, after = slots(old), slots(new)
    rising = {number for number in after if number not in before}
    falling = {number for number in before if number not in after}
    states = []
    for write in new.commit_writes(old):
        assert write.offset in (0, 512)
        assert len(write.data) == 512
        assert image.patch(raw, write.offset, write.data) != raw, "a write that changes nothing"
        raw = image.patch(raw, write.offset, write.data)
        state = parse(raw)
        states.append(state)
        now = slots(state)
        for number, value in now.items():
            assert value in (before.get(number), after.get(number)), (
                f"slot {number} is active with a mixture of old and new"
            )
        for number in set(before) & set(after):
            if before[number] == after[number]:
                assert number in now, f"slot {number} was not edited and went away"
        if any(number not in now for number in falling):
            assert all(now.get(number) == after[number] for number in rising), (
                "a slot went before the new one was there"
            )
        unfinished = image.patch(raw, 768, bytes(64)) != image.patch(new.image()[0], 768, bytes(64))
        if unfinished and (old.intent or new.intent):
            assert state.intent == (old.intent or new.intent), "unfinished work without its intent"
    assert raw == new.image()[0]
    return states


def edits(number: int) -> t.Dict[str, t.Tuple[t.Set[int], t.Callable[[codec.Luks1Header], codec.Luks1Header]]]:
    others = {0, 3, 5, 6, 7} - {number}
    return {
        "activate": (others, lambda header: fill(header, number)),
        "deactivate": (others | {number}, lambda header: header.without_keyslot(number)),
        "rekey": (others | {number}, lambda header: fill(header, number)),
        "nothing": (others, lambda header: header),
    }


@pytest.mark.parametrize("intents", INTENTS.values(), ids=INTENTS)
@pytest.mark.parametrize("edit", ["activate", "deactivate", "rekey", "nothing"])
@pytest.mark.parametrize("number", range(8))
def test_one_slot_edited(
    number: int, edit: str, intents: t.Tuple[t.Optional[model.Intent], t.Optional[model.Intent]]
) -> None:
    active, change = edits(number)[edit]
    old = start(active, intents[0])
    states = assert_safe(old, change(old).with_intent(intents[1]))
    intent_writes = 0 if intents[0] == intents[1] else 1
    slot_writes = {"nothing": 0, "activate": 1, "deactivate": 1, "rekey": 1}[edit]
    if number == 6 and slot_writes:
        slot_writes = 3 if edit == "rekey" else 2
    assert len(states) == slot_writes + intent_writes


@pytest.mark.parametrize("intents", INTENTS.values(), ids=INTENTS)
@pytest.mark.parametrize(("up", "down"), list(itertools.permutations(range(8), 2)))
def test_one_slot_appears_and_another_goes(
    up: int, down: int, intents: t.Tuple[t.Optional[model.Intent], t.Optional[model.Intent]]
) -> None:
    old = start({down}, intents[0])
    assert_safe(old, fill(old, up).without_keyslot(down).with_intent(intents[1]))


def test_the_state_word_of_slot_6_goes_first_and_comes_last() -> None:
    empty = start({0})
    full = fill(empty, 6)
    assert [write.offset for write in full.commit_writes(empty)] == [512, 0]
    assert [write.offset for write in empty.commit_writes(full)] == [0, 512]


def test_an_intent_alone_is_one_write_of_the_second_sector() -> None:
    old = start({0})
    (write,) = old.with_intent(ERASE).commit_writes(old)
    assert write == model.Write(512, old.with_intent(ERASE).image()[0][512:])


def test_nothing_to_do_is_no_write() -> None:
    assert start({0, 6}).commit_writes(start({0, 6})) == ()


def test_unknown_padding_is_carried_along() -> None:
    old = parse(image.build({0}, padding=b"\xaa" * 432))
    new = fill(old, 6).with_intent(ERASE)
    final = assert_safe(old, new)[-1].image()[0]
    assert final[592:768] == b"\xaa" * 176
    assert final[832:] == b"\xaa" * 192


@pytest.mark.parametrize("offset", [104, 168, 207, 248, 592, 767, 832, 1023])
def test_a_header_that_differs_beside_slots_and_intent_is_somebody_elses(offset: int) -> None:
    mine = start({0})
    raw = mine.image()[0]
    # The first byte of the payload sector may grow; a slot's place moves by 2**24 sectors, which this size allows.
    theirs = codec.Luks1Header(image.patch(image.patch(raw, 104, bytes(4)), offset, b"\1"), 1 << 50)
    with pytest.raises(errors.HeaderChanged):
        mine.commit_writes(theirs)


choices = st.lists(st.sampled_from(["leave", "activate", "deactivate"]), min_size=8, max_size=8)


@settings(max_examples=300, deadline=None)
@given(
    active=st.sets(st.integers(0, 7)), plan=choices, seed=st.integers(1, 3), intents=st.sampled_from(sorted(INTENTS))
)
def test_many_slots_edited_at_once(active: t.Set[int], plan: t.List[str], seed: int, intents: str) -> None:
    before, after = INTENTS[intents]
    old = new = start(active, before)
    for number, what in enumerate(plan):
        if what == "activate":
            new = fill(new, number, seed)
        elif what == "deactivate":
            new = new.without_keyslot(number)
    assert_safe(old, new.with_intent(after))


def test_leftovers_of_a_cut_commit_do_not_hinder_the_next() -> None:
    full = fill(start({0}), 6)
    empty = full.without_keyslot(6)
    first = empty.commit_writes(full)[0]
    cut = parse(image.patch(full.image()[0], first.offset, first.data))
    assert list(cut.keyslots) == [0]
    assert cut.image() != empty.image(), "the salt's tail is still there"
    assert_safe(cut, cut.without_keyslot(6))
    assert cut.without_keyslot(6).image() == empty.image()
    assert_safe(cut, fill(cut, 6, 70))
