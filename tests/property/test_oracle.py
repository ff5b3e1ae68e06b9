# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oracle itself, on cases whose answers were worked out by hand from the design and from QEMU's test 293."""

from __future__ import annotations

import random
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.property.planner_cases import World, disguise, forms, states
from ansible_collections.luksmith.luks.tests.property.planner_oracle import Problem
from ansible_collections.luksmith.luks.tests.property.planner_readings import contradiction
from ansible_collections.luksmith.luks.tests.property.planner_world import (
    ABSENT,
    FOREIGN,
    FREE,
    IGNORE,
    PRESENT,
    Content,
    Item,
    Room,
    State,
    Task,
    fits,
    held,
    mentioned,
    opened_by,
    rooms,
)

Answer = t.Optional[t.List[str]]
A, B, C, D, E = range(5)
LUKS1 = Room("luks1", None)
NAMES = {
    ".": FREE,
    "x": FOREIGN,
    **{name: opened_by(number) for number, name in enumerate("ABCDE")},
    "i": held(Content(opens=1, priority=IGNORE)),
}


def state(text: str) -> State:
    """One letter a slot: "." inactive, "x" somebody else's, "A" opens with secret 0, "i" the same but priority
    ignore.
    """
    return tuple(NAMES[letter] for letter in text)


def new(secret: int, slot: t.Optional[int] = None, old: t.Optional[int] = None) -> Item:
    return Item(PRESENT, slot=slot, new=secret, old=old)


def gone(old: t.Optional[int] = None, slot: t.Optional[int] = None) -> Item:
    return Item(ABSENT, slot=slot, old=old)


def answer(
    text: str, items: t.Sequence[Item], room: Room = LUKS1, unlock: t.Sequence[int] = (), **flags: bool
) -> t.Optional[t.List[str]]:
    """The oracle's plan, or None where it finds no safe order."""
    found = Problem(state(text), Task(tuple(items), tuple(unlock), **flags), room).shortest()
    return None if found is None else [f"{move.kind} {move.slot}" + ("!" if move.in_place else "") for move in found]


QEMU = [
    ("293.02", "A.......", [new(E, 4)], [A], {}, ["add 4"]),
    ("293.03", "A...E...", [new(B)], [A], {}, ["add 1"]),
    ("293.05", "AB.DE...", [new(C)], [D], {}, ["add 2"]),
    ("293.06", "ABCDE...", [gone(slot=4)], [B], {}, ["erase 4"]),
    ("293.08", "ABCD....", [gone(A)], [B], {}, ["erase 0"]),
    ("293.09", ".BCD....", [gone(slot=2)], [B], {}, ["erase 2"]),
    ("293.10, twice is no change", ".BCD....", [new(C)], [D], {}, []),
    ("293.13, all in use", "ABCDABCD", [new(E)], [C], {}, None),
    ("293.15, four slots", "CBCDCC..", [gone(C)], [B], {}, ["erase 0", "erase 2", "erase 4", "erase 5"]),
    ("293.16, its own slot", "AB.D....", [gone(B)], [A], {}, ["erase 1"]),
    ("293.18, the last secret", "...D...D", [gone(D)], [], {}, None),
    ("293.18, by consent", "...D...D", [gone(D)], [], {"lockout": True}, ["erase 3", "erase 7"]),
    ("293.20, in one call", "...D...D", [new(A), gone(D)], [], {}, ["add 0", "erase 3", "erase 7"]),
    ("293.21, nobody proved it", "A.......", [new(B, 0)], [], {}, None),
    ("293.21, it only unlocks", "A.......", [new(B, 0)], [A], {}, None),
    ("293.21, named as the old one", "A.......", [new(B, 0, old=A)], [], {}, ["rekey 0"]),
    ("293.21, but it is to stay", "A.......", [new(B, 0), new(A)], [A], {}, None),
    ("293.22, force without a key", "x.......", [new(B, 0)], [], {"force": True}, None),
    ("293.22, force with a key", "xA......", [new(B, 0)], [A], {"force": True}, ["rekey 0"]),
    ("293.23, the only slot", "B.......", [gone(slot=0)], [B], {}, None),
    ("293.23, force is no consent", "B.......", [gone(slot=0)], [B], {"force": True}, None),
    ("293.26, no match is no change", "B.......", [gone(A)], [], {}, []),
    ("293.27, inactive is no change", "B.......", [gone(slot=1)], [], {}, []),
    ("293.28, consent", "B.......", [gone(slot=0)], [], {"lockout": True}, ["erase 0"]),
]


@pytest.mark.parametrize(
    ("row", "before", "items", "unlock", "flags", "expected"), QEMU, ids=[case[0] for case in QEMU]
)
def test_rows_of_qemu_293(
    row: str,
    before: str,
    items: t.List[Item],
    unlock: t.List[int],
    flags: t.Dict[str, t.Any],
    expected: t.Optional[t.List[str]],
) -> None:
    assert answer(before, items, unlock=unlock, **flags) == expected


FOUR = Room("luks2", 4)
THREE_AREAS = Room("luks2, one area less than numbers", 3)
FIVE_AREAS = Room("luks2, one area more than numbers", 5)
FINE_PRINT = [
    ("every slot of old is rekeyed", "AA..", [new(B, old=A)], LUKS1, {}, ["rekey 0", "rekey 1"]),
    ("purge leaves one of them", "AA..", [new(B, old=A)], LUKS1, {"purge": True}, ["rekey 0", "erase 1"]),
    ("an earlier run was cut", "AB..", [new(B, old=A)], LUKS1, {}, ["erase 0"]),
    ("neither opens", "xC..", [new(B, old=A), gone(C, 0)], LUKS1, {}, None),
    ("neither opens, another provides", "x.C.", [new(B, old=A), new(B, old=C)], LUKS1, {}, ["rekey 2"]),
    ("a list for hosts that were offline", "A.C.", [new(B, old=A), new(B, old=C)], LUKS1, {}, ["rekey 0", "rekey 2"]),
    ("erased by number, so added", "A...", [new(B, old=A), gone(slot=0)], LUKS1, {}, ["add 1", "erase 0"]),
    ("only that slot", "AA..", [new(B, 1, old=A)], LUKS1, {}, ["rekey 1"]),
    ("old does not open that slot", "xA..", [new(B, 0, old=A)], LUKS1, {}, None),
    ("force does not replace old", "xA..", [new(B, 0, old=A)], LUKS1, {"force": True}, None),
    ("free: add", ".A..", [new(B, 0, old=A)], LUKS1, {}, ["add 0"]),
    ("that slot only", "AA..", [gone(A, 0)], LUKS1, {}, ["erase 0"]),
    ("purge and claims", "AABx", [new(A)], LUKS1, {"purge": True}, ["erase 1", "erase 2", "erase 3"]),
    ("full LUKS1, a second opener stays", "ABxx", [new(C, 0, old=A), new(B)], LUKS1, {}, ["rekey 0!"]),
    ("full LUKS1, the only opener", "Axxx", [new(C, 0, old=A)], LUKS1, {}, None),
    ("full numbers, an area beside", "Axxx", [new(C, 0, old=A)], FIVE_AREAS, {}, ["rekey 0"]),
    ("full numbers, no area beside", "Axxx", [new(C, 0, old=A)], FOUR, {}, None),
    ("a number but no area", "Axx.", [new(C), gone(slot=1)], THREE_AREAS, {}, ["erase 1", "add 3"]),
    ("no number, nothing to erase", "Axxx", [new(C)], FIVE_AREAS, {}, None),
    ("never to a slot named absent", "Axxx", [new(C), gone(slot=1)], FOUR, {}, None),
    ("a swap has no safe order", "AB..", [new(B, 0, old=A), new(A, 1, old=B)], LUKS1, {}, None),
    ("a swap with a second A has", "ABA.", [new(B, 0, old=A), new(A, 1, old=B)], LUKS1, {}, ["rekey 0", "rekey 1"]),
    (
        "the last slot of a wanted secret moves first",
        "A.C.",
        [new(A), gone(slot=0), gone(C)],
        LUKS1,
        {},
        ["add 1", "erase 0", "erase 2"],
    ),
    ("ignored: set, not added", "i...", [new(A)], FOUR, {}, ["set-priority 0"]),
    ("ignored is erased all the same", "iB..", [gone(A), new(B)], FOUR, {}, ["erase 0"]),
    ("the last one that is tried by default stays", "iB..", [gone(B)], FOUR, {}, None),
    ("so it does for a stranger", "ix..", [gone(slot=1)], FOUR, {}, None),
    ("by consent it goes", "iB..", [gone(B)], FOUR, {"lockout": True}, ["erase 1"]),
    ("none was tried by default", "ii..", [gone(slot=0)], FOUR, {}, ["erase 0"]),
    ("another one is", "iBA.", [gone(B)], FOUR, {}, ["erase 1"]),
    ("the last one is not set to ignore", "A...", [new(A)._replace(priority=IGNORE)], FOUR, {}, None),
    ("nor replaced so", "A...", [new(B, old=A)._replace(priority=IGNORE)], FOUR, {}, None),
    ("erase needs an opener that stays", "Ax..", [gone(A), gone(slot=1)], LUKS1, {}, None),
]


@pytest.mark.parametrize(
    ("why", "before", "items", "room", "flags", "expected"), FINE_PRINT, ids=[case[0] for case in FINE_PRINT]
)
def test_fine_print(
    why: str, before: str, items: t.List[Item], room: Room, flags: t.Dict[str, t.Any], expected: t.Optional[t.List[str]]
) -> None:
    assert answer(before, items, room, **flags) == expected


@pytest.mark.parametrize(
    ("items", "contradicts"),
    [
        ([new(A, 0), new(B, 0)], True),
        ([new(A, 0), gone(slot=0)], True),
        ([new(A, 0), gone(A, 0)], True),
        ([new(A, 0), gone(A)], True),
        ([new(A), gone(A)], True),
        ([new(B, old=A), new(A, 0)], True),
        ([new(A, old=A)], True),
        ([new(A), gone(A, 0)], False),
        ([new(A, 0), gone(B, 0)], False),
        ([new(A), new(A, 0)], False),
        ([new(B, 1, old=A), new(A)], False),
        ([new(C, old=A), new(C, old=B)], False),
    ],
)
def test_contradictions_need_no_volume(items: t.List[Item], contradicts: bool) -> None:
    assert (contradiction(tuple(items)) is not None) == contradicts


def test_the_oracle_knows_neither_names_nor_places() -> None:
    """Renaming secrets and permuting slots (equal contents in order) never changes refusal or length: reductions 1 and
    3.
    """
    rng = random.Random(1)
    every = forms(4, 3)
    for _round in range(4000):
        items = tuple(rng.choice(every) for _count in range(rng.randint(1, 3)))
        task = Task(items, tuple(rng.sample(range(3), rng.randint(0, 2))), *(rng.random() < 0.3 for _flag in range(3)))
        start = rng.choice(states(4, mentioned(task)))
        room = rng.choice(rooms(4))
        if contradiction(items) or not fits(start, room):
            continue
        other_task, other_start = disguise(task, start, 3, rng)
        mine, other = Problem(start, task, room).shortest(), Problem(other_start, other_task, room).shortest()
        assert (mine is None) == (other is None)
        if mine is not None and other is not None:
            assert len(mine) == len(other)


def test_a_found_plan_ends_in_a_state_that_needs_none() -> None:
    world = World(3, 2, (1, 2), thin=19)
    seen = 0
    for items in world.entry_lists():
        for case in world.cases_of(items):
            problem = Problem(case.state, case.task, case.room)
            found = None if contradiction(case.task.items) else problem.shortest()
            if found:
                state_now = case.state
                for move in found:
                    assert problem.objection(state_now, move) is None
                    state_now = problem.after(state_now, move)
                assert Problem(state_now, case.task, case.room).shortest() == ()
                seen += 1
    assert seen > 500
