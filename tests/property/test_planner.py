# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner against the oracle: a share of every world that fits into seconds. ``brute_force.py`` runs the whole.

The default size takes half of what ``--size full`` takes, from every list of entries where that is possible.
"""

from __future__ import annotations

import random
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.property import brute_force
from ansible_collections.luksmith.luks.tests.property.planner_cases import World
from ansible_collections.luksmith.luks.tests.property.planner_judge import Case, call, judge
from ansible_collections.luksmith.luks.tests.property.planner_world import (
    IGNORE,
    PRESENT,
    Content,
    Item,
    Room,
    State,
    Task,
    held,
    opened_by,
    rooms,
)


def report(tally: brute_force.Tally) -> str:
    return "\n".join(
        f"{kind}: {count}\n    " + "\n    ".join(text for _weight, text in tally.smallest[kind])
        for kind, count in tally.kinds.most_common()
    )


def check(world: World, sparing: int = 1, *, one_in: int = 1, cases: int, orders: int = 1000) -> None:
    """``cases``: so many there must be at least; with ``sparing`` the world is thinned further."""
    cases //= sparing
    tally = brute_force.run(world._replace(thin=world.thin * sparing), jobs=1, one_in=one_in, orders=orders)
    print(f"{world}: {tally.lists} lists, {tally.cases} cases, {dict(tally.outcomes)}")
    assert not tally.kinds, report(tally)
    assert tally.cases > cases
    assert min(tally.outcomes[outcome] for outcome in ("plan", "empty plan", "refused")) > cases // 50


def test_every_case_of_two_slots_two_secrets_one_entry() -> None:
    """Nothing left out and nothing reduced, which takes seconds."""
    check(World(2, 2, (0, 1), reduced=False), cases=5000)


def test_every_list_of_two_entries_in_three_slots(sparing: int) -> None:
    """Every list of entries; of its states, flags, unlock lists and rooms every 9th (18th), shifted from list to
    list.
    """
    check(World(3, 2, (1, 2), thin=9), sparing, cases=5000)


def test_four_slots_three_secrets_three_entries(sparing: int) -> None:
    check(World(4, 3, (3,), thin=15), sparing, one_in=211, cases=2000, orders=1)


@pytest.mark.parametrize("side", ["priorities", "unbound", "tokens", "untried", "equal secrets"])
def test_slots_that_are_more_than_plain(side: str, sparing: int) -> None:
    check(World(3, 2, (1, 2), side, thin=50), sparing, one_in=5 if side == "priorities" else 1, cases=1000, orders=1)
    if side != "equal secrets":
        one_in = 700 if side == "priorities" else 83
        check(World(3, 3, (3,), side, thin=31), sparing, one_in=one_in, cases=150, orders=1)


@pytest.mark.parametrize("side", ["costs", "mixed costs", "mixed priorities"])
def test_entries_that_share_a_secret_and_not_its_costs_or_priority(side: str, sparing: int) -> None:
    check(World(3, 2, (1, 2), side, thin=20), sparing, one_in=7, cases=500, orders=1)


@pytest.mark.parametrize("side", ["equal secrets and costs", "equal secrets and priorities"])
def test_two_secrets_that_one_slot_takes_as_one(side: str, sparing: int) -> None:
    """Here the planner refuses more than it must; what it does plan is right, once for all and in any order."""
    tally = brute_force.run(World(2, 2, (1, 2), side, thin=10 * sparing), jobs=1, one_in=2, orders=1)
    too_careful = [kind for kind in tally.kinds if kind.startswith("refused although")]
    other_reading = [kind for kind in tally.kinds if "right if not: drift_is_judged_on_the_claimed_slot" in kind]
    assert set(tally.kinds) == {*too_careful, *other_reading}, report(tally)
    assert tally.outcomes["plan"] > 500 // sparing


def test_room_is_made_where_no_wanted_secret_loses_a_slot() -> None:
    """Slots 2 (B) and 3 (A) go. With 2 gone first, B and C have one slot each and cannot change places."""
    state = (opened_by(1), opened_by(2), opened_by(1), opened_by(0))
    entries = (Item(PRESENT, new=2), Item(PRESENT, slot=1, old=2, new=1), Item(PRESENT, slot=0, old=1, new=2))
    findings, outcome = judge(
        brute_force.load_planner(), one_case(state, Task(entries, (0, 1), purge=True), rooms(4)[0])
    )
    assert not findings and [(move.kind, move.slot, move.in_place) for move in outcome.moves] == [
        ("erase", 3, False),
        ("rekey", 0, False),
        ("rekey", 1, False),
        ("erase", 2, False),
    ]


def test_the_last_area_goes_to_the_secret_that_cannot_wait() -> None:
    """One area is left for two adds; slot 2 can only go, and make room for B, once C opens another slot."""
    for room in rooms(4):
        if room.areas == 3:
            task = Task((Item(PRESENT, slot=0, new=1), Item("absent", slot=2, old=2), Item(PRESENT, new=2)))
            findings, outcome = judge(
                brute_force.load_planner(), one_case((0, opened_by(1), opened_by(2), 0), task, room)
            )
            assert not findings and [(move.kind, move.slot) for move in outcome.moves] == [
                ("add", 3),
                ("erase", 2),
                ("add", 0),
            ]


A, B, C = (opened_by(secret) for secret in range(3))
ELSEWHERE: t.List[t.Tuple[str, int, State, Task]] = [
    # One entry replaces C by B, the next one by A, which opens slot 0 already: slot 1 was to be erased, then rekeyed.
    (
        "luks1",
        3,
        (A, C, B),
        Task((Item(PRESENT, old=2, new=1), Item(PRESENT, old=2, new=0), Item("absent", slot=2, old=1))),
    ),
    # One slot of C gets A, and another entry lets the other one make the room for B.
    (
        "luks2",
        2,
        (C, C, 0),
        Task((Item(PRESENT, old=2, new=0), Item(PRESENT, slot=2, new=1), Item("absent", old=2))),
    ),
    (
        "luks2",
        2,
        (0, A, B),
        Task((Item(PRESENT, old=1, new=2), Item(PRESENT, slot=0, new=2), Item(PRESENT, old=1, new=0)), (2, 0, 1)),
    ),
    # With purge the slot of A need not go: it may get C first, so that C, which slot 0 loses, opens one.
    (
        "luks2",
        3,
        (C, A, B),
        Task(
            (Item(PRESENT, slot=0, old=2, new=1), Item(PRESENT, slot=2, new=2), Item(PRESENT, old=0, new=2)),
            (2,),
            purge=True,
            force=True,
            lockout=True,
        ),
    ),
    # The new secret may not be in the first slot of the old one, and needs no slot beside what another entry gives it.
    (
        "luks2",
        3,
        (A, B, B),
        Task((Item(PRESENT, old=0, new=2), Item(PRESENT, old=1, new=2), Item("absent", slot=0, old=2)), (0,)),
    ),
    # Slot 1 first would take away the A that makes the rekey of slot 2 safe.
    (
        "luks1",
        3,
        (C, A, A),
        Task(
            (Item(PRESENT, slot=1, old=0, new=1), Item(PRESENT, new=0), Item(PRESENT, slot=2, old=0, new=2)),
            (0,),
            purge=True,
        ),
    ),
    # Slot 0, which is to go as well, would make room that C may not take.
    (
        "luks1",
        3,
        (A, A, C),
        Task(
            (Item(PRESENT, new=2), Item(PRESENT, slot=2, new=0), Item("absent", slot=0, old=2)),
            (2, 0),
            purge=True,
            force=True,
            lockout=True,
        ),
    ),
    # Slot 2 is the only one for A; C can have slot 0 once B is gone from there.
    (
        "luks1",
        3,
        (B, 1, 0),
        Task((Item(PRESENT, new=2), Item(PRESENT, old=1, new=0), Item("absent", slot=0, old=0)), (0,), force=True),
    ),
    # All numbers are in use: slot 0 can make the place for C only as long as slot 2 still has A.
    (
        "luks2",
        4,
        (A, C, A),
        Task(
            (Item(PRESENT, slot=2, new=1), Item(PRESENT, new=2), Item(PRESENT, slot=1, old=2, new=0)),
            (2, 0, 1),
            purge=True,
            force=True,
        ),
    ),
    # What is added where a slot of the priority ignore was is tried by default.
    (
        "luks2",
        3,
        (held(Content(opens=1 << 1, priority=IGNORE)), C, 0),
        Task((Item("absent", slot=1), Item("absent", slot=2), Item(PRESENT, new=2)), (1,), purge=True),
    ),
    # New costs of A need no slot beside the one that another entry gives to A.
    (
        "luks2",
        2,
        (0, B, 0),
        Task(
            (Item("absent", slot=0, old=2), Item(PRESENT, old=0, new=0, strong=True), Item(PRESENT, old=1, new=0)),
            purge=True,
            force=True,
        ),
    ),
]


@pytest.mark.parametrize(("form", "areas", "state", "task"), ELSEWHERE)
def test_three_entries_that_leave_one_way_only(form: str, areas: int, state: State, task: Task) -> None:
    """Each was refused, or planned in steps that could not be made: found by the brute force with three entries."""
    (room,) = (one for one in rooms(3) if one.areas == (None if form == "luks1" else areas))
    for backup in (False, True):
        findings, outcome = judge(
            brute_force.load_planner(), one_case(state, task._replace(backup=backup), room), orders=5
        )
        assert not findings and not outcome.verdict and not outcome.copied, (findings, outcome)


def test_three_entries_in_three_slots(sparing: int) -> None:
    """What two entries do to each other a third one may undo; full tables, with a folder for copies and without."""
    check(World(3, 3, (3,), thin=15), sparing, one_in=29, cases=2500, orders=5)
    check(World(3, 3, (3,), thin=15, backup=True), sparing, one_in=31, cases=2500, orders=5)


def test_with_a_folder_for_copies_nothing_reachable_is_refused_for_want_of_room(sparing: int) -> None:
    """The oracle then drops what must hold between start and end, and a copy is made only where it finds no order."""
    check(World(3, 2, (1, 2), thin=9, backup=True), sparing, cases=5000)
    tally = brute_force.run(World(4, 3, (2,), thin=7 * sparing, backup=True), jobs=1, one_in=17, orders=1)
    assert not tally.kinds, report(tally)


def test_a_copy_makes_every_full_header_reachable() -> None:
    """The cases of docs/transactions.md: one known secret, a swap, the only opener erased for what comes."""
    luks1, luks2, _more, fewer = rooms(4)
    full = (opened_by(0), 1, 1, 1)
    replaced = (Item(PRESENT, new=1, old=0),)
    for room, state, items in (
        (luks1, full, replaced),
        (luks2, full, replaced),
        (fewer, (opened_by(0), 1, 1, 0), replaced),
        (luks1, full, (Item(PRESENT, new=1), Item("absent", old=0))),
        (
            luks1,
            (opened_by(0), opened_by(1), 0, 0),
            (Item(PRESENT, slot=0, old=0, new=1), Item(PRESENT, slot=1, old=1, new=0)),
        ),
    ):
        task = Task(items, backup=True)
        findings, outcome = judge(brute_force.load_planner(), one_case(state, task, room))
        assert not findings and outcome.copied, (state, items, outcome)
        assert call(brute_force.load_planner(), one_case(state, task._replace(backup=False), room)).verdict == "refused"
    unreachable = one_case(full, Task((Item(PRESENT, new=1),), (0,), backup=True), luks1)
    assert call(brute_force.load_planner(), unreachable).verdict == "refused"


def test_what_opens_another_key_does_not_open_the_volume() -> None:
    """A in slot 2, which is not bound, is no slot of A: the last one that opens the volume may go where the task says
    so, and purge does not take slot 2 for the one that stays.
    """
    few, enough = rooms(3)[1], rooms(4)[1]
    other = held(Content(opens=1 << 2, bound=False))
    into_other = Item(PRESENT, slot=2, old=2, new=0)
    named = Task((into_other, Item("absent", slot=0)), (1,))
    purged = Task((into_other, Item(PRESENT, old=1, new=0)), purge=True)
    # Room for slot 2 alone would be made by slot 0, which then is free but not for A.
    not_there = Task((into_other, Item(PRESENT, old=1, new=0), Item("absent", slot=0, old=0)), (1, 3), purge=True)
    for case, expected in (
        (one_case((opened_by(0), opened_by(1), other), named, few), ["erase 0", "rekey 2"]),
        (one_case((opened_by(1), opened_by(1), other, 0), purged, enough), ["rekey 0", "rekey 2", "erase 1"]),
        (
            one_case((opened_by(1), opened_by(3), other, other), not_there, enough),
            ["erase 1", "rekey 2", "add 1", "erase 0"],
        ),
    ):
        findings, outcome = judge(brute_force.load_planner(), case)
        assert not findings and [f"{move.kind} {move.slot}" for move in outcome.moves] == expected, (findings, outcome)


def one_case(state: State, task: Task, room: t.Optional[Room] = None) -> Case:
    return Case(task, state, room or rooms(len(state))[1])


def test_old_equal_to_new_without_costs_is_a_bad_task() -> None:
    for slot in (None, 0):
        case = one_case((opened_by(0), 0), Task((Item(PRESENT, slot=slot, new=0, old=0),)))
        assert call(brute_force.load_planner(), case).verdict == "bad task"


def test_a_slot_number_beyond_the_header_is_refused() -> None:
    for room in rooms(2):
        case = one_case((opened_by(0), 0), Task((Item(PRESENT, slot=2, new=1),), unlock=(0,)), room)
        assert call(brute_force.load_planner(), case).verdict == "refused"


def test_a_hint_saves_questions_but_changes_no_outcome() -> None:
    """Hints come from a record that may be stale or forged: any slot, inactive ones and none included."""
    planner = brute_force.load_planner()
    rng = random.Random(2)
    world = World(3, 2, (1, 2), thin=50)
    seen = 0
    for items in world.entry_lists():
        for case in world.cases_of(items):
            plain = call(planner, case)
            hinted = call(planner, case, {secret: rng.randrange(4) for secret in range(2) if rng.random() < 0.7})
            assert (hinted.verdict, hinted.moves) == (plain.verdict, plain.moves), str(case)
            seen += 1
    assert seen > 1000


def test_no_plan_derives_more_often_than_there_are_pairs() -> None:
    planner = brute_force.load_planner()
    for side in ("", "equal secrets"):
        world = World(3, 2, (2,), side, thin=50)
        for items in world.entry_lists():
            for case in world.cases_of(items):
                outcome = call(planner, case)
                assert outcome.derived <= 2 * sum(1 for content in case.state if content)


def test_the_first_slot_that_opens_is_enough_for_a_present_entry() -> None:
    """Two slots open, no purge: one derivation answers, since duplicates are nobody's business."""
    planner = brute_force.load_planner()
    outcome = call(planner, one_case((opened_by(0), opened_by(0), 0), Task((Item(PRESENT, new=0),))))
    assert (outcome.moves, outcome.derived) == ((), 1)


def test_judge_sees_a_case_as_it_is() -> None:
    findings, outcome = judge(
        brute_force.load_planner(), one_case((opened_by(0), 0, 0), Task((Item(PRESENT, new=1),), unlock=(0,)))
    )
    assert not findings and [move.kind for move in outcome.moves] == ["add"]
