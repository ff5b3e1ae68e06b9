# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The independent answer: the shortest safe order of licensed moves, by breadth-first search, or that there is none."""

from __future__ import annotations

import typing as t

from ansible_collections.luksmith.luks.tests.property.planner_readings import DEFAULT, Reading, with_wishes_of_peers
from ansible_collections.luksmith.luks.tests.property.planner_rules import (
    Licences,
    covers_every_slot,
    licences,
    named_for,
    opened_to_its_own,
    own_slots,
    priority_ok,
    protected,
    satisfies,
    satisfies_with_its_own,
    target,
)
from ansible_collections.luksmith.luks.tests.property.planner_world import (
    ABSENT,
    FREE,
    IGNORE,
    OPENS,
    PRESENT,
    Content,
    Item,
    Room,
    State,
    Task,
    content_of,
    held,
    number_of,
)

ADD = "add"
REKEY = "rekey"
ERASE = "erase"
SET_PRIORITY = "set-priority"


class Move(t.NamedTuple):
    """``in_place``: a rekey that must empty its slot first, because no second area or hop fits."""

    kind: str
    slot: int
    secret: t.Optional[int] = None
    priority: t.Optional[str] = None
    in_place: bool = False


def put(state: State, slot: int, content: int) -> State:
    return (*state[:slot], content, *state[slot + 1 :])


def has_opener(state: State) -> bool:
    """Some active, bound slot opens with a secret of the task. A state only knows secrets that the task mentions."""
    return any(OPENS[content] for content in state)


def tried_by_default(state: State) -> t.Tuple[bool, bool]:
    """Whether programs try some bound slot without being told its number, and whether the task opens one of these."""
    tried = [content for content in state if content and content_of(content).bound and priority_ok(content, None)]
    return bool(tried), has_opener(tuple(tried))


def all_open(state: State, watched: int) -> bool:
    for content in state:
        watched &= ~OPENS[content]
    return not watched


def room_for_add(state: State, room: Room) -> bool:
    return room.areas is None or len(state) - state.count(FREE) < room.areas


def room_beside(state: State, room: Room) -> bool:
    """Can a slot get its new secret while the old one still works? LUKS1 hops through a free slot."""
    return FREE in state if room.areas is None else len(state) - state.count(FREE) < room.areas


class Problem:
    """One task in one start state: licences, goal and the legality of single moves.

    copied: a copy of the header outside of the volume (``backup_dir``) opens it until all is done. So the key of a
    start that opens is there for every write, and between start and end neither the last opener nor a wanted secret
    matters; what each move may do to which slot stays the same, and so does the end.
    """

    def __init__(
        self, state: State, task: Task, room: Room, reading: Reading = DEFAULT, *, copied: bool = False
    ) -> None:
        self.copied = copied
        self.start = state
        task = self.task = task._replace(items=with_wishes_of_peers(task.items))
        self.room = room
        self.reading = reading
        self.licences: t.Optional[Licences] = licences(state, task, room, reading)
        self._strong = {item.new for item in task.items if item.strong}
        self._own = own_slots(state, task.items)
        present = [item for item in task.items if item.new is not None and item.state == PRESENT]
        self._ignored = {number_of(item.new) for item in present if item.priority == IGNORE} - {
            number_of(item.new) for item in present if item.priority != IGNORE
        }
        self._goals = [_goal_of(item, task, reading, self._own) for item in task.items]

    def after(self, state: State, move: Move) -> State:
        if move.kind == ERASE:
            return put(state, move.slot, FREE)
        if move.kind == ADD:
            assert move.secret is not None and move.priority is not None
            return put(state, move.slot, held(Content(opens=1 << move.secret, priority=move.priority)))
        content = content_of(state[move.slot])
        if move.kind == SET_PRIORITY:
            assert move.priority is not None
            return put(state, move.slot, held(content._replace(priority=move.priority)))
        assert move.secret is not None
        weak = content.weak and move.secret not in self._strong
        priority = content.priority if move.priority is None else move.priority
        return put(
            state,
            move.slot,
            held(
                content._replace(
                    opens=1 << move.secret, bound=move.slot not in self._own, tried=True, weak=weak, priority=priority
                )
            ),
        )

    def objection(self, state: State, move: Move) -> t.Optional[str]:
        """Why this move may not be made now, or None.

        Licence first, then room, then what must hold at every instant.
        """
        allowed = self.licences
        if allowed is None:
            return f"unlicensed {move.kind}"
        if not 0 <= move.slot < len(state):
            return "no such slot"
        if move.kind == ADD:
            return self._objection_to_add(state, move, allowed)
        if not state[move.slot]:
            return f"{move.kind} of an inactive slot"
        if move.kind == SET_PRIORITY:
            return None if (move.slot, move.priority) in allowed.priorities else "unlicensed set-priority"
        # A change of priority on the way does not make it another slot.
        if not self.start[move.slot] or _lock(state[move.slot]) != _lock(self.start[move.slot]):
            return f"{move.kind} of a slot that this plan filled"
        return (
            self._objection_to_erase(state, move, allowed)
            if move.kind == ERASE
            else self._objection_to_rekey(state, move, allowed)
        )

    def _objection_to_add(self, state: State, move: Move, allowed: Licences) -> t.Optional[str]:
        if state[move.slot]:
            return "add to an active slot"
        if (move.slot, move.secret, move.priority) not in allowed.adds:
            return "unlicensed add"
        if not room_for_add(state, self.room):
            return "no area for an add"
        return None if self._has_key(state) else "add without an opener"

    def _objection_to_erase(self, state: State, move: Move, allowed: Licences) -> t.Optional[str]:
        if move.slot not in allowed.erases:
            return "unlicensed erase"
        if self.copied:
            return None
        end = put(state, move.slot, FREE)
        if not self.task.lockout and not has_opener(end):
            return "erase leaves no proven opener"
        return None if all_open(end, allowed.watched) else "erase stops a wanted secret"

    def _objection_to_rekey(self, state: State, move: Move, allowed: Licences) -> t.Optional[str]:
        if (move.slot, move.secret) not in allowed.rekeys:
            return "unlicensed rekey"
        if (
            move.priority not in (None, content_of(state[move.slot]).priority)
            and (move.slot, move.priority) not in allowed.priorities
        ):
            return "unlicensed priority of a rekey"
        if move.slot in self._own:
            # Nothing else has its key, also no copy of the header that this run could use; and it needs no other key.
            return None if room_beside(state, self.room) and not move.in_place else "no room beside a key of its own"
        if not self._has_key(state):
            return "rekey without an opener"
        if move.in_place == room_beside(state, self.room):
            return "in place although there is room" if move.in_place else "no room beside for a rekey"
        if self.copied:
            return None
        if move.in_place:
            middle = put(state, move.slot, FREE)
            if not has_opener(middle):
                return "in place of the only opener"
            if not all_open(middle, allowed.watched):
                return "in place stops a wanted secret for a moment"
        return None if all_open(self.after(state, move), allowed.watched) else "rekey stops a wanted secret"

    def _has_key(self, state: State) -> bool:
        return has_opener(self.start if self.copied else state)

    def moves(self, state: State) -> t.Iterator[Move]:
        """Every licensed move that is legal now."""
        allowed = self.licences
        if allowed is None:
            return
        beside = room_beside(state, self.room)
        candidates = [Move(REKEY, slot, secret, None, not beside) for slot, secret in allowed.rekeys if state[slot]]
        for slot, wish in allowed.priorities:
            if state[slot] and content_of(state[slot]).priority != wish:
                candidates += [
                    Move(REKEY, slot, secret, wish, not beside) for other, secret in allowed.rekeys if other == slot
                ]
        candidates += [Move(ADD, slot, secret, priority) for slot, secret, priority in allowed.adds if not state[slot]]
        candidates += [Move(ERASE, slot) for slot in allowed.erases if state[slot]]
        candidates += [
            Move(SET_PRIORITY, slot, None, wish)
            for slot, wish in allowed.priorities
            if state[slot] and content_of(state[slot]).priority != wish
        ]
        for move in candidates:
            if self.objection(state, move) is None:
                yield move

    def goal(self, state: State) -> bool:
        """Every entry holds, and with purge every slot is claimed or protected; the copy goes, so something opens."""
        if self.copied and not self.task.lockout and not has_opener(state):
            return False
        if not self.task.lockout and self._loses_what_is_tried(state):
            return False
        for holds in self._goals:
            if not holds(state):
                return False
        return not self.task.purge or self._purged(state)

    def _loses_what_is_tried(self, state: State) -> bool:
        """What is filled for entries that all want the priority ignore does not count, whatever it got."""
        seen = tuple(
            FREE
            if OPENS[content] != OPENS[self.start[slot]]
            and any(OPENS[content] == 1 << secret for secret in self._ignored)
            else content
            for slot, content in enumerate(state)
        )
        return any(had and not has for had, has in zip(tried_by_default(self.start), tried_by_default(seen)))

    def _purged(self, state: State) -> bool:
        claimed = {item.slot for item in self.task.items if item.state == PRESENT and item.slot is not None}
        for item in self.task.items:
            if item.state == PRESENT and item.slot is None:
                slots = [slot for slot, content in enumerate(state) if OPENS[content] >> number_of(item.new) & 1]
                named = [slot for slot in slots if slot in claimed]
                if named and not self.reading.purge_claims_lowest_literally:
                    continue
                claimed.add(target(state, slots, item, self.reading)[0])
        return all(not content or slot in claimed or protected(content) for slot, content in enumerate(state))

    def shortest(self) -> t.Optional[t.Tuple[Move, ...]]:
        """A shortest safe order of licensed moves from the start to the goal; None when no safe order exists."""
        return self._shortest_from(self.start)

    def ends_within(self, state: State, moves: int) -> bool:
        """Whether so many moves are enough from here."""
        found = self._shortest_from(state)
        return found is not None and len(found) <= moves

    def _shortest_from(self, start: State) -> t.Optional[t.Tuple[Move, ...]]:
        if self.licences is None:
            return None
        if self.goal(start):
            return ()
        seen = {start}
        layer: t.List[t.Tuple[State, t.Tuple[Move, ...]]] = [(start, ())]
        while layer:
            following: t.List[t.Tuple[State, t.Tuple[Move, ...]]] = []
            for state, path in layer:
                for move in self.moves(state):
                    reached = self.after(state, move)
                    if reached not in seen:
                        if self.goal(reached):
                            return (*path, move)
                        seen.add(reached)
                        following.append((reached, (*path, move)))
            layer = following
        return None


def _lock(content: int) -> t.Tuple[bool, int]:
    """What opens the slot, and whether to the volume."""
    told = content_of(content)
    return told.bound, told.opens


def _goal_of(item: Item, task: Task, reading: Reading, own: t.Collection[int]) -> t.Callable[[State], bool]:
    """When the entry holds (the table's second column)."""
    slot, old, new = item.slot, item.old, item.new
    if item.state == ABSENT:
        if old is None:
            return lambda state: not state[number_of(slot)]
        if slot is not None:
            return lambda state: _surely_shut(state[slot], number_of(old)) and not opened_to_its_own(state[slot], old)
        return lambda state: all(_surely_shut(content, number_of(old)) for content in state)
    if slot is not None:
        holds = satisfies_with_its_own if slot in own else satisfies
        return lambda state: holds(state[slot], item)

    named = set() if covers_every_slot(item, task, reading) else named_for(new, task, own)

    def lives(state: State) -> bool:
        slots = [
            other
            for other, content in enumerate(state)
            if OPENS[content] >> number_of(new) & 1 and (not named or other in named)
        ]
        if (
            covers_every_slot(item, task, reading)
            and item.strong
            and any(content_of(state[other]).weak for other in slots)
        ):
            return False
        return bool(slots) and target(state, slots, item, reading)[1]

    if old is None or old == new:
        return lives
    return lambda state: lives(state) and all(_surely_shut(content, number_of(old)) for content in state)


def _surely_shut(content: int, secret: int) -> bool:
    """Untried is not absent: nobody knows what opens such a slot."""
    if not content:
        return True
    told = content_of(content)
    return not told.bound or (told.tried and not told.opens >> secret & 1)
