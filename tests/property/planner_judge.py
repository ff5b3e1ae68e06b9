# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold a planner against the oracle: one case in, findings out."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan import types as words
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import desired as task_desired
from ansible_collections.luksmith.luks.tests.property.planner_oracle import (
    ADD,
    ERASE,
    REKEY,
    SET_PRIORITY,
    Move,
    Problem,
)
from ansible_collections.luksmith.luks.tests.property.planner_readings import DEFAULT, Reading, contradiction
from ansible_collections.luksmith.luks.tests.property.planner_rules import own_slots
from ansible_collections.luksmith.luks.tests.property.planner_world import (
    LABELS,
    NORMAL,
    CountingProofs,
    Room,
    State,
    Task,
    desired,
    show_state,
    show_task,
    situation,
)

Memo = t.Optional[t.Dict[t.Any, t.Any]]
Planner = t.Callable[[words.Situation, task_desired.Desired, words.Proofs], words.Plan]

BAD_TASK = "bad task"
REFUSED = "refused"
ORDER = "depends on the order of entries"


@dataclasses.dataclass(frozen=True)
class Case:
    task: Task
    state: State
    room: Room

    def __str__(self) -> str:
        return f"{self.room.name} {show_state(self.state)} {show_task(self.task)}"


@dataclasses.dataclass(frozen=True)
class Finding:
    """``kind`` groups; ``detail`` tells what the planner did in this case and what the oracle would do."""

    kind: str
    case: Case
    detail: str


@dataclasses.dataclass
class Outcome:
    """What one call gave. ``verdict``: BAD_TASK, REFUSED, "crashed", or "" with ``moves``."""

    verdict: str
    moves: t.Tuple[Move, ...] = ()
    message: str = ""
    copied: bool = False
    asked: int = 0
    derived: int = 0


def call(planner: Planner, case: Case, hints: t.Optional[t.Mapping[int, int]] = None) -> Outcome:
    proofs = CountingProofs(case.state, hints)
    outcome = Outcome("")
    try:
        way_back = words.WayBack.OFFERED if case.task.backup else words.WayBack.NONE
        plan = planner(
            situation(case.state, case.room)._replace(way_back=way_back),
            desired(case.task, case.room.areas is None),
            proofs,
        )
    except errors.BadTask as error:
        outcome = Outcome(BAD_TASK, message=str(error))
    except errors.Refused as error:
        outcome = Outcome(REFUSED, message=str(error))
    except Exception as error:  # noqa: BLE001 - a broken planner may raise anything
        outcome = Outcome("crashed", message=f"{type(error).__name__}: {error}")
    else:
        try:
            actions, copied = _without_copy(plan.actions)
            own = own_slots(case.state, case.task.items)
            if any(action.own_key != (action.kind == REKEY and action.keyslot in own) for action in actions):
                raise ValueError(f"a keyslot gets the wrong key: {actions}")
            outcome = Outcome("", moves=tuple(_move(action) for action in actions), copied=copied)
        except ValueError as error:
            outcome = Outcome("crashed", message=str(error))
    outcome.asked, outcome.derived = proofs.asked, len(proofs.derived)
    return outcome


def _without_copy(actions: t.Sequence[words.Action]) -> t.Tuple[t.Sequence[words.Action], bool]:
    """The actions between the copy of the header and its removal, which are the first and the last or nowhere."""
    copies = [
        action for action in actions if action.kind in (words.ActionKind.COPY_HEADER, words.ActionKind.REMOVE_COPY)
    ]
    if not copies:
        return actions, False
    if [actions[0], actions[-1]] != copies or copies[0].kind != words.ActionKind.COPY_HEADER:
        raise ValueError(f"the copy of the header is not around all actions: {actions}")
    return actions[1:-1], True


def _move(action: words.Action) -> Move:
    if action.kind not in (ADD, REKEY, ERASE, SET_PRIORITY) or action.keyslot is None or action.resume:
        raise ValueError(f"an action that has no place here: {action}")
    if not action.reason:
        raise ValueError(f"an action without a reason: {action}")
    if (action.secret is None) == (action.kind in (ADD, REKEY)) or (action.entry is None) == (
        action.kind in (ADD, REKEY)
    ):
        raise ValueError(f"secret and entry belong to add and rekey: {action}")
    priority = (action.priority or NORMAL) if action.kind == ADD else action.priority
    return Move(action.kind, action.keyslot, action.secret, priority, action.in_place)


def judge(planner: Planner, case: Case, *, orders: int = 1000, memo: Memo = None) -> t.Tuple[t.List[Finding], Outcome]:
    """Every check on one case: refusal, safety of each step, goal, length, idempotence, ``orders`` other orders."""
    outcome = call(planner, case)
    findings = [Finding(kind, case, detail) for kind, detail in _judge_outcome(planner, case, outcome, DEFAULT, memo)]
    if len(case.task.items) > 1:
        found = _judge_orders(planner, case, outcome, orders)
        if found:
            findings.append(Finding(ORDER, case, found))
    return findings, outcome


def _shortest(problem: Problem, case: Case, memo: Memo) -> t.Optional[t.Tuple[Move, ...]]:
    """The search, remembered over flags and unlock lists that license the same moves."""
    if memo is None:
        return problem.shortest()
    key = (
        *(case.state, case.room, case.task.items, case.task.purge, case.task.lockout),
        *(problem.licences, problem.copied),
    )
    if key not in memo:
        memo[key] = problem.shortest()
    return t.cast(t.Optional[t.Tuple[Move, ...]], memo[key])


def _judge_outcome(
    planner: Planner, case: Case, outcome: Outcome, reading: Reading, memo: Memo
) -> t.Iterator[t.Tuple[str, str]]:
    if outcome.verdict == "crashed":
        yield "crashed", outcome.message
        return
    why = contradiction(case.task.items)
    if (outcome.verdict == BAD_TASK) != bool(why):
        yield (
            ("contradiction missed", f"{why}; got {_say(outcome)}")
            if why
            else ("contradiction seen where there is none", outcome.message)
        )
    if why or outcome.verdict == BAD_TASK:
        return
    problem = Problem(case.state, case.task, case.room, reading)
    best = _shortest(problem, case, memo)
    if case.task.backup and (best is None or outcome.copied):
        if best is not None:
            yield "a copy of the header although a safe order exists without", show_moves(best)
        elif outcome.moves and not outcome.copied:
            yield "no copy of the header although nothing else is safe", show_moves(outcome.moves)
        problem = Problem(case.state, case.task, case.room, reading, copied=True)
        best = _shortest(problem, case, memo)
    yield from _judge_moves(planner, case, outcome, problem, best)


def _judge_moves(
    planner: Planner, case: Case, outcome: Outcome, problem: Problem, best: t.Optional[t.Tuple[Move, ...]]
) -> t.Iterator[t.Tuple[str, str]]:
    if outcome.verdict == REFUSED:
        if best is not None:
            yield "refused although a safe order exists", f"oracle: {show_moves(best)}; planner: {outcome.message}"
        return
    walk = _walk(problem, case.state, outcome.moves)
    told = f"planner: {show_moves(outcome.moves)}; oracle: {'refuse' if best is None else show_moves(best)}"
    if walk is None:
        yield "impossible step", told
        return
    visited, state, bad_step = walk
    if best is None:
        yield f"plan where nothing safe exists ({bad_step or 'goal missed'})", told
        return
    if bad_step:
        yield f"illegal step ({bad_step})", told
    else:
        for kind in _order_faults(problem, visited, outcome.moves):
            yield kind, told
    yield from _judge_end(planner, case, problem, state, len(outcome.moves), len(best), told)


def _walk(problem: Problem, state: State, moves: t.Sequence[Move]) -> t.Optional[t.Tuple[t.List[State], State, str]]:
    """States before each move, the last state, and the first objection; None when a move cannot be made at all."""
    visited = []
    bad_step = ""
    for move in moves:
        visited.append(state)
        bad_step = bad_step or problem.objection(state, move) or ""
        if not 0 <= move.slot < len(state) or (move.kind != ADD and not state[move.slot]):
            return None
        state = problem.after(state, move)
    return visited, state, bad_step


def _judge_end(
    planner: Planner, case: Case, problem: Problem, state: State, length: int, shortest: int, told: str
) -> t.Iterator[t.Tuple[str, str]]:
    if length:
        again = call(planner, Case(case.task, state, case.room))
        if again.verdict or again.moves:
            yield "second run is not empty", f"{told}; then on {show_state(state)}: {_say(again)}"
    if not problem.goal(state):
        yield "final state misses the goal", told
    elif length != shortest:
        yield ("longer than the shortest" if length > shortest else "SHORTER than the oracle's shortest"), told


def _order_faults(problem: Problem, visited: t.Sequence[State], moves: t.Tuple[Move, ...]) -> t.Iterator[str]:
    """Orders that are safe at every instant but not the ones that the design names first."""
    strict = Problem(problem.start, problem.task, problem.room, problem.reading) if problem.copied else problem
    for index, move in enumerate(moves):
        state = visited[index]
        later = moves[index + 1 :]
        if move.kind == ERASE and any(
            other.kind in (ADD, REKEY)
            and not other.in_place
            and strict.objection(state, other) is None
            and problem.ends_within(problem.after(state, other), len(later))
            for other in later
        ):
            yield "erase before an add or rekey that could come first"
        if move.in_place:
            beside = move._replace(in_place=False)
            erases = [other for other in later if other.kind == ERASE and strict.objection(state, other) is None]
            if any(
                strict.objection(problem.after(state, erase), beside) is None
                and problem.ends_within(problem.after(problem.after(state, erase), beside), len(later) - 1)
                for erase in erases
            ):
                yield "in place although an erase of the same plan would make room"
        if move.kind == ADD and move.slot not in {item.slot for item in problem.task.items if item.state == "present"}:
            assert problem.licences is not None
            open_numbers = [
                slot for slot, secret, _priority in problem.licences.adds if secret == move.secret and not state[slot]
            ]
            if move.slot != min(open_numbers, default=move.slot):
                yield "add without a number does not take the first free slot"


def _judge_orders(planner: Planner, case: Case, outcome: Outcome, orders: int) -> str:
    """Empty when the list's order changes nothing but the numbers that adds without a number take."""
    task = case.task
    permutations = [items for items in itertools.permutations(task.items) if items != task.items]
    if orders < len(permutations):
        drawn = (
            sum(place * content for place, content in enumerate(case.state))
            + len(task.unlock)
            + task.purge
            + 2 * task.force
            + 3 * task.lockout
        )
        start = drawn % len(permutations)
        permutations = (permutations[start:] + permutations[:start])[:orders]
    pinned = {item.slot for item in task.items if item.state == "present"}
    for items in permutations:
        other = call(planner, Case(task._replace(items=items), case.state, case.room))
        if other.verdict != outcome.verdict:
            return f"{_say(outcome)}; entries as {show_task(task._replace(items=items))}: {_say(other)}"
        if other.moves != outcome.moves and _shape(case, other, pinned) != _shape(case, outcome, pinned):
            return f"{_say(outcome)}; entries as {show_task(task._replace(items=items))}: {_say(other)}"
    return ""


def _shape(case: Case, outcome: Outcome, pinned: t.Set[t.Optional[int]]) -> t.Any:
    """The final state, with what adds without a number brought as a bag."""
    walk = _walk(Problem(case.state, case.task, case.room), case.state, outcome.moves)
    if walk is None:
        return outcome.moves
    state = walk[1]
    added = {move.slot for move in outcome.moves if move.kind == ADD and move.slot not in pinned}
    bag = sorted(state[slot] for slot in added)
    # A slot that was freed and then filled by such an add is compared as freed.
    return tuple(0 if slot in added else content for slot, content in enumerate(state)), bag, len(outcome.moves)


def show_moves(moves: t.Sequence[Move]) -> str:
    shown = []
    for move in moves:
        secret = "" if move.secret is None else f" {LABELS[move.secret]}"
        priority = f" {move.priority}" if move.priority not in (None, NORMAL) or move.kind == SET_PRIORITY else ""
        shown.append(f"{move.kind} {move.slot}{secret}{priority}{' in place' if move.in_place else ''}")
    return ", ".join(shown) or "nothing"


def _say(outcome: Outcome) -> str:
    return f"{outcome.verdict}: {outcome.message}" if outcome.verdict else show_moves(outcome.moves)


def readings_that_agree(planner: Planner, finding: Finding) -> t.List[str]:
    """Names of the readings whose other choice makes the finding go away."""
    agreeing = []
    for field in dataclasses.fields(Reading):
        flipped = dataclasses.replace(DEFAULT, **{field.name: not getattr(DEFAULT, field.name)})
        outcome = call(planner, finding.case)
        if finding.kind != ORDER and not any(_judge_outcome(planner, finding.case, outcome, flipped, None)):
            agreeing.append(field.name)
    return agreeing
