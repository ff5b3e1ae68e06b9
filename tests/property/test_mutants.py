# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can the harness fail? Planners broken on purpose, each of which it must catch."""

from __future__ import annotations

import functools
import typing as t
import unittest.mock

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan import ordering
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan import types as words
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import desired as task_desired
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import verdict as unlock_verdict
from ansible_collections.luksmith.luks.tests.property import brute_force
from ansible_collections.luksmith.luks.tests.property.planner_cases import World
from ansible_collections.luksmith.luks.tests.property.planner_judge import Case, Planner, judge

Wrapper = t.Callable[[words.Situation, task_desired.Desired, words.Proofs], words.Plan]
make_plan: Planner = brute_force.load_planner()


@functools.lru_cache(maxsize=None)
def share(side: str) -> t.Tuple[Case, ...]:
    world = World(3, 2, (1, 2), side, thin=337 if side else 111)
    lists = [items for index, items in enumerate(world.entry_lists()) if side != "priorities" or index % 5 == 0]
    return tuple(case for items in lists for case in world.cases_of(items))


def with_actions(change: t.Callable[[t.List[words.Action]], t.List[words.Action]]) -> Wrapper:
    def planner(situation: words.Situation, desired: task_desired.Desired, proofs: words.Proofs) -> words.Plan:
        plan = make_plan(situation, desired, proofs)
        return plan._replace(actions=tuple(change(list(plan.actions))))

    return planner


def with_desired(**changes: t.Any) -> Wrapper:
    return lambda situation, desired, proofs: make_plan(situation, desired._replace(**changes), proofs)


def with_slots(**changes: t.Any) -> Wrapper:
    def planner(situation: words.Situation, desired: task_desired.Desired, proofs: words.Proofs) -> words.Plan:
        slots = {number: view._replace(**changes) for number, view in situation.slots.items()}
        return make_plan(situation._replace(slots=slots), desired, proofs)

    return planner


def erases_first(actions: t.List[words.Action]) -> t.List[words.Action]:
    return sorted(actions, key=lambda action: action.kind != words.ActionKind.ERASE)


def one_too_many(actions: t.List[words.Action]) -> t.List[words.Action]:
    added = [action for action in actions if action.kind == words.ActionKind.ADD]
    return (
        [*actions, words.Action(kind=words.ActionKind.ERASE, keyslot=added[0].keyslot, reason="superfluous")]
        if added
        else actions
    )


def in_place_upside_down(actions: t.List[words.Action]) -> t.List[words.Action]:
    return [
        action._replace(in_place=not action.in_place) if action.kind == words.ActionKind.REKEY else action
        for action in actions
    ]


def first_entry_only(situation: words.Situation, desired: task_desired.Desired, proofs: words.Proofs) -> words.Plan:
    return make_plan(situation, desired._replace(entries=desired.entries[:1]), proofs)


def gives_up_when_full(situation: words.Situation, desired: task_desired.Desired, proofs: words.Proofs) -> words.Plan:
    plan = make_plan(situation, desired, proofs)
    if plan.actions and not situation.layout.free_numbers():
        raise Refused("all keyslots are in use")
    return plan


def last_free_slot(situation: words.Situation, desired: task_desired.Desired, proofs: words.Proofs) -> words.Plan:
    plan = make_plan(situation, desired, proofs)
    free = situation.layout.free_numbers()
    actions = [
        action._replace(keyslot=free[-1]) if action.kind == words.ActionKind.ADD and free else action
        for action in plan.actions
    ]
    return plan._replace(actions=tuple(actions))


class Believing:
    """Proofs that take an untried slot for a closed one."""

    def __init__(self, proofs: words.Proofs) -> None:
        self.proofs = proofs

    def verdict(self, secret: int, keyslot: int) -> unlock_verdict.Verdict:
        found = self.proofs.verdict(secret, keyslot)
        return unlock_verdict.Verdict.CLOSED if found is unlock_verdict.Verdict.UNTRIED else found

    def opens_unbound(self, secret: int, keyslot: int) -> bool:
        return self.proofs.opens_unbound(secret, keyslot)

    def why_untried(self, keyslot: int) -> str:
        return ""

    def hint(self, secret: int) -> t.Optional[int]:
        return self.proofs.hint(secret)

    def expect(self, questions: t.Iterable[t.Tuple[int, int]]) -> None:
        self.proofs.expect(questions)

    def expect_search(self, secret: int, keyslots: t.Sequence[int], *, in_vain: bool = False) -> None:
        self.proofs.expect_search(secret, keyslots, in_vain=in_vain)


def untried_is_closed(situation: words.Situation, desired: task_desired.Desired, proofs: words.Proofs) -> words.Plan:
    return make_plan(situation, desired, Believing(proofs))


def nothing_need_be_tried(
    situation: words.Situation, desired: task_desired.Desired, proofs: words.Proofs
) -> words.Plan:
    with unittest.mock.patch.object(ordering.Ordering, "_check_tried_by_default"):
        return make_plan(situation, desired, proofs)


BROKEN: t.Dict[str, t.Tuple[str, Wrapper]] = {
    "erases come first": ("", with_actions(erases_first)),
    "the last action is lost": ("", with_actions(lambda actions: actions[:-1])),
    "an action too many": ("", with_actions(one_too_many)),
    "in place where there is room": ("", with_actions(in_place_upside_down)),
    "the same, backwards": ("", with_actions(lambda actions: actions[::-1])),
    "needs no proof of what it overwrites": ("", with_desired(force=True)),
    "erases the last opener": ("", with_desired(allow_lockout=True)),
    "always purges": ("", with_desired(purge=True)),
    "never purges": ("", with_desired(purge=False)),
    "knows no unlock secrets": ("", with_desired(unlock=())),
    "reads one entry only": ("", first_entry_only),
    "gives up when the header is full": ("", gives_up_when_full),
    "takes the last free slot": ("", last_free_slot),
    "sees no tokens": ("tokens", with_slots(protected_by=())),
    "takes unbound slots for bound ones": ("unbound", with_slots(bound=True)),
    "takes untried for closed": ("untried", untried_is_closed),
    "takes the last keyslot that is tried by default": ("priorities", nothing_need_be_tried),
    "sees no priorities": ("priorities", with_slots(priority="normal")),
}


def kinds_found(planner: Planner, side: str) -> t.Set[t.Tuple[str, str]]:
    return {(finding.kind, str(finding.case)) for case in share(side) for finding in judge(planner, case, orders=1)[0]}


@functools.lru_cache(maxsize=None)
def baseline(side: str) -> t.FrozenSet[t.Tuple[str, str]]:
    return frozenset(kinds_found(make_plan, side))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_planner_is_caught(name: str) -> None:
    side, planner = BROKEN[name]
    assert kinds_found(planner, side) - baseline(side), f"nobody noticed: {name}"
