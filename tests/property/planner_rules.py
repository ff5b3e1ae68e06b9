# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task permits in a state: the design's table and fine print turned into sets of licensed moves.

Nothing here orders moves or chooses among them; that is the search in ``planner_oracle``. Where the design leaves two
readings, ``planner_readings`` names them.
"""

from __future__ import annotations

import typing as t

from ansible_collections.luksmith.luks.tests.property.planner_readings import DEFAULT, Reading, forbidden
from ansible_collections.luksmith.luks.tests.property.planner_world import (
    ABSENT,
    IGNORE,
    NORMAL,
    OPENS,
    PRESENT,
    Item,
    Room,
    State,
    Task,
    content_of,
    number_of,
)


class Licences(t.NamedTuple):
    """Moves that some entry permits, in any order. A move on an active slot needs the slot's content of the start.

    adds: (slot, secret, priority). rekeys: (slot, secret). erases: slots. priorities: (slot, priority).
    watched: mask of secrets that are wanted to open the volume, did so at the start and must do so at every instant.
    """

    adds: t.Tuple[t.Tuple[int, int, str], ...]
    rekeys: t.Tuple[t.Tuple[int, int], ...]
    erases: t.Tuple[int, ...]
    priorities: t.Tuple[t.Tuple[int, str], ...]
    watched: int


def priority_ok(content: int, wish: t.Optional[str]) -> bool:
    found = content_of(content).priority
    return found != IGNORE if wish is None else found == wish


def opens_well(content: int, item: Item) -> bool:
    """The secret of a present entry opens this slot, with a priority that counts for the entry."""
    return bool(content) and bool(OPENS[content] >> number_of(item.new) & 1) and priority_ok(content, item.priority)


def satisfies(content: int, item: Item) -> bool:
    """Does this slot make the present entry hold, its number and its old secret aside?"""
    return opens_well(content, item) and not (item.strong and content_of(content).weak)


def own_slots(state: State, items: t.Iterable[Item]) -> t.Set[int]:
    """Slots that are not bound and whose entries are about the key there: each says which secret it replaces."""
    named = [item for item in items if item.state == PRESENT and item.slot is not None]
    licensed = {item.slot for item in named} - {item.slot for item in named if item.old is None}
    return {slot for slot in licensed if slot is not None and slot < len(state) and is_unbound(state[slot])}


def is_unbound(content: int) -> bool:
    return bool(content) and not content_of(content).bound


def opened_to_its_own(content: int, secret: t.Optional[int]) -> bool:
    return secret is not None and is_unbound(content) and bool(content_of(content).opens >> secret & 1)


def satisfies_with_its_own(content: int, item: Item) -> bool:
    """As :func:`satisfies`, for one of :func:`own_slots`."""
    fits = opened_to_its_own(content, item.new) and priority_ok(content, item.priority)
    return fits and not (item.strong and content_of(content).weak)


def target(state: State, slots: t.Sequence[int], item: Item, reading: Reading) -> t.Tuple[int, bool]:
    """Which of its secret's slots an entry without a number means, and whether that slot satisfies it already."""
    good = [slot for slot in slots if satisfies(state[slot], item)]
    well = [slot for slot in slots if opens_well(state[slot], item)]
    if well and (reading.drift_is_judged_on_the_claimed_slot or not good):
        return min(well), min(well) in good
    if good:
        return min(good), True
    usable = [slot for slot in slots if priority_ok(state[slot], None)] if item.priority != IGNORE else []
    return min(usable or slots), False


def covers_every_slot(item: Item, task: Task, reading: Reading) -> bool:
    return (
        item.slot is None
        and item.old is not None
        and item.old == item.new
        and not task.purge
        and reading.same_old_and_new_covers_every_slot
    )


def named_for(secret: t.Optional[int], task: Task, own: t.Collection[int]) -> t.Set[int]:
    """The slots that hold an entry without a number for this secret, if other entries name some: no other slot is then
    touched for it. Purge is literal: such an entry claims the lowest slot, named or not, so that slot must satisfy it.
    None of ``own``: what they hold does not open the volume.
    """
    if task.purge:
        return set()
    named = {item.slot for item in task.items if item.state == PRESENT and item.new == secret and item.slot is not None}
    return named - set(own)


def protected(content: int) -> bool:
    """Purge alone never erases these."""
    told = content_of(content)
    return told.token or not told.bound or not told.tried


class _Facts:
    """The task and the start, looked up in the ways that the rules need."""

    def __init__(self, state: State, task: Task) -> None:
        self.state = state
        self.task = task
        items = task.items
        self.pins = {
            item.slot: item.new
            for item in items
            if item.state == PRESENT and item.slot is not None and item.new is not None
        }
        self.absent = {
            item.slot for item in items if item.state == ABSENT and item.slot is not None and item.old is None
        }
        self.shut = {
            (item.slot, item.old)
            for item in items
            if item.state == ABSENT and item.slot is not None and item.old is not None
        }
        self.items = items
        self.own = own_slots(state, items)
        self.wanted = {item.new for item in items if item.state == PRESENT and item.new is not None}
        self.forbidden = forbidden(items)
        self.unpinned: t.Dict[int, t.List[Item]] = {}
        for item in items:
            if item.state == PRESENT and item.slot is None and item.new is not None:
                self.unpinned.setdefault(item.new, []).append(item)

    def slots_of(self, secret: t.Optional[int]) -> t.List[int]:
        return (
            [] if secret is None else [slot for slot, content in enumerate(self.state) if OPENS[content] >> secret & 1]
        )

    def may_hold(self, slot: int, secret: int) -> bool:
        """May this slot open with the secret at the end, as far as slots are named?"""
        return slot not in self.absent and self.pins.get(slot, secret) == secret and (slot, secret) not in self.shut

    def one_for_the_kdf(self) -> bool:
        for slot, content in enumerate(self.state):
            opening = [secret for secret in range(8) if OPENS[content] >> secret & 1]
            pinned = self.pins.get(slot)
            if slot in self.absent:
                continue
            if any(secret in self.forbidden for secret in opening) and any(secret in self.wanted for secret in opening):
                return True
            if pinned in opening and any((slot, secret) in self.shut for secret in opening):
                return True
        return False

    def row_refuses(self, slot: t.Optional[int]) -> bool:
        """The slot is in use, every entry that names it gives an old secret, and none of these (nor the new one) opens
        it.
        """
        rows = [item for item in self.task.items if item.state == PRESENT and item.slot == slot]
        content = self.state[number_of(slot)]
        if not content or any(item.old is None for item in rows):
            return False
        if slot in self.own:
            return not any(opened_to_its_own(content, secret) for item in rows for secret in (item.old, item.new))
        return not any(OPENS[content] >> number_of(secret) & 1 for item in rows for secret in (item.old, item.new))

    def one_old_for_two_new(self) -> bool:
        """Of the slots that no entry names: what another entry puts there is not wanted with two secrets, nor is what
        ``purge`` erases because the new secret has a slot by name.
        """
        news: t.Dict[int, t.Set[int]] = {}
        for new, entries in self.unpinned.items():
            named = any(pinned == new and slot not in self.own for slot, pinned in self.pins.items())
            if any(self.stays(slot, new) for slot in self.slots_of(new)) or (self.task.purge and named):
                continue
            for item in entries:
                for slot in self.slots_of(item.old) if item.old != new else ():
                    if slot not in self.pins and self.may_hold(slot, new):
                        news.setdefault(slot, set()).add(new)
        return any(len(found) > 1 for found in news.values())

    def untried_for(self, item: Item) -> bool:
        """A slot that the entry's old secret would have to be tried on, and cannot."""
        if item.old is None or (item.slot is not None and item.state == PRESENT):
            return False
        active = [(slot, content_of(content)) for slot, content in enumerate(self.state) if content]
        return any(told.bound and not told.tried and item.slot in (None, slot) for slot, told in active)

    def absent_covers(self, slot: int, old: t.Optional[int]) -> bool:
        return any(item.state == ABSENT and item.old == old and item.slot in (None, slot) for item in self.task.items)

    def movable(
        self, replaced: t.Sequence[t.Tuple[int, t.Optional[int]]], secret: int, reading: Reading
    ) -> t.List[int]:
        """Of the slots of old secrets, given with these, those that the new secret may take over."""
        erased = {slot for slot, old in replaced if reading.absent_old_beats_rekey and self.absent_covers(slot, old)}
        return sorted({slot for slot, _old in replaced if slot not in erased and self.may_hold(slot, secret)})

    def stays(self, slot: int, secret: int) -> bool:
        """Nothing named takes the slot away from the secret that opens it now."""
        mask = OPENS[self.state[slot]]
        pinned = self.pins.get(slot, secret)
        if slot in self.absent or (slot, secret) in self.shut or not mask >> pinned & 1:
            return False
        if any(slot == shut and mask >> number_of(other) & 1 for shut, other in self.shut):
            return False
        return not any(mask >> other & 1 for other in self.forbidden)


def licences(state: State, task: Task, room: Room, reading: Reading = DEFAULT) -> t.Optional[Licences]:
    """What the task permits in this state; None when an entry's own row refuses whatever else is done."""
    facts = _Facts(state, task)
    if _refused_at_once(facts, room, reading):
        return None
    adds: t.Set[t.Tuple[int, int, str]] = set()
    rekeys: t.Set[t.Tuple[int, int]] = set()
    erases: t.Set[int] = {slot for slot in facts.absent if slot is not None and state[slot]}
    priorities: t.Set[t.Tuple[int, str]] = set()
    claims: t.Set[int] = set()
    for item in task.items:
        if item.state == ABSENT and item.old is not None:
            erases.update(slot for slot in facts.slots_of(item.old) if item.slot in (None, slot))
            erases.update(
                slot for slot, content in enumerate(state) if slot == item.slot and opened_to_its_own(content, item.old)
            )
    for secret, entries in facts.unpinned.items():
        _license_unpinned(facts, secret, entries, reading, adds, rekeys, erases, priorities, claims)
    if task.purge:
        erases.update(
            slot
            for slot, content in enumerate(state)
            if content and not protected(content) and slot not in claims and slot not in facts.pins
        )
    for item in task.items:
        if item.state == PRESENT and item.slot is not None:
            _license_pinned(facts, item, reading, adds, rekeys, erases, priorities)
    watched = 0
    for item in task.items:
        if item.state == PRESENT and item.slot not in facts.own and facts.slots_of(item.new):
            watched |= 1 << number_of(item.new)
    return Licences(
        tuple(sorted(adds)), tuple(sorted(rekeys)), tuple(sorted(erases)), tuple(sorted(priorities)), watched
    )


def _refused_at_once(facts: _Facts, room: Room, reading: Reading) -> bool:
    items = facts.task.items
    if any(item.slot is not None and item.slot >= len(facts.state) for item in items):
        return True
    if room.areas is None and any(item.priority not in (None, NORMAL) for item in items):
        return True
    if not reading.untried_erased_by_name_is_fine and any(facts.untried_for(item) for item in items):
        return True
    if reading.one_for_the_kdf_is_refused and facts.one_for_the_kdf():
        return True
    if reading.pinned_old_must_open and any(facts.row_refuses(slot) for slot in facts.pins):
        return True
    return reading.one_old_for_two_new_is_refused and facts.one_old_for_two_new()


def _license_unpinned(
    facts: _Facts,
    secret: int,
    entries: t.Sequence[Item],
    reading: Reading,
    adds: t.Set[t.Tuple[int, int, str]],
    rekeys: t.Set[t.Tuple[int, int]],
    erases: t.Set[int],
    priorities: t.Set[t.Tuple[int, str]],
    claims: t.Set[int],
) -> None:
    """``present new`` and ``present old new``: the secret must open some slot, wherever that is."""
    state, purge = facts.state, facts.task.purge
    opening = facts.slots_of(secret)
    if not reading.ignored_slot_counts_as_opening:
        opening = [slot for slot in opening if any(priority_ok(state[slot], item.priority) for item in entries)]
    kept = [slot for slot in opening if facts.stays(slot, secret)]
    named = [slot for slot, pinned in facts.pins.items() if pinned == secret and slot not in facts.own]
    opened_already = bool(opening if reading.cut_run_counts_doomed_slots else kept)
    replaced = [
        (slot, item.old)
        for item in entries
        if item.old is not None and item.old != secret
        for slot in facts.slots_of(item.old)
    ]
    candidates = facts.movable(replaced, secret, reading)
    # Where the secret may not move in, replacing old there can only mean erasing it.
    erases.update(slot for slot, _old in replaced if (slot, secret) in facts.shut)
    if opened_already:
        erases.update(slot for slot, _old in replaced)
        candidates = []
    elif purge and candidates:
        free_choice = [
            slot
            for slot in candidates
            if not any((slot, old) in facts.shut for _slot, old in replaced if _slot == slot)
        ]
        chosen = {min(candidates), min(free_choice or candidates)}
        rekeys.update((slot, secret) for slot in chosen)
        # The others go: unclaimed, or for a slot with a token, by the entry whose old secret opens it.
        erases.update(slot for slot in candidates if slot not in chosen or len(chosen) > 1 or named)
    else:
        rekeys.update((slot, secret) for slot in candidates)
    _claim_kept(facts, kept, named, entries, reading, rekeys, priorities, claims)
    if not kept and candidates and not named:
        claims.update(candidates[:1])
    for item in entries:
        priorities.update((slot, item.priority or NORMAL) for slot in candidates)
        needless = reading.needless_add_is_dropped and (named or candidates)
        if (
            not kept
            and not needless
            and (
                item.old is None
                or facts.slots_of(item.old)
                or (opening if reading.doomed_slot_still_opens else opened_already)
            )
        ):
            adds.update(
                (slot, secret, item.priority or NORMAL)
                for slot in range(len(state))
                if slot not in facts.pins and facts.may_hold(slot, secret)
            )


def _claim_kept(
    facts: _Facts,
    kept: t.Sequence[int],
    named: t.Sequence[int],
    entries: t.Sequence[Item],
    reading: Reading,
    rekeys: t.Set[t.Tuple[int, int]],
    priorities: t.Set[t.Tuple[int, str]],
    claims: t.Set[int],
) -> None:
    """Which of the slots that stay an entry without a number claims, and what may be mended there."""
    state = facts.state
    for item in entries:
        serving = named_for(item.new, facts.task, facts.own)
        slots = [
            slot for slot in kept if not serving or slot in serving or covers_every_slot(item, facts.task, reading)
        ]
        if not slots:
            continue
        slot, good = target(state, slots, item, reading)
        if named and not opens_well(state[slot], item):
            pass  # A named slot may serve as well as this one with its priority mended.
        elif not any(other < slot for other in named) if reading.purge_claims_lowest_literally else not named:
            claims.add(slot)
        if not good:
            _mend(state, slot, item, rekeys, priorities)
        if covers_every_slot(item, facts.task, reading):
            rekeys.update((other, number_of(item.new)) for other in kept if content_of(state[other]).weak)


def _license_pinned(
    facts: _Facts,
    item: Item,
    reading: Reading,
    adds: t.Set[t.Tuple[int, int, str]],
    rekeys: t.Set[t.Tuple[int, int]],
    erases: t.Set[int],
    priorities: t.Set[t.Tuple[int, str]],
) -> None:
    """``present slot new`` and ``present slot old new``."""
    slot, secret = number_of(item.slot), number_of(item.new)
    content = facts.state[slot]
    if not content or (slot in erases and reading.pin_may_be_freed_first):
        adds.add((slot, secret, item.priority or NORMAL))
    if not content:
        return
    if slot in facts.own:
        if opened_to_its_own(content, secret):
            _mend(facts.state, slot, item, rekeys, priorities)
        elif opened_to_its_own(content, item.old):
            rekeys.add((slot, secret))
            priorities.add((slot, item.priority or NORMAL))
        return
    mask = OPENS[content]
    if mask >> secret & 1:
        if not satisfies(content, item):
            _mend(facts.state, slot, item, rekeys, priorities)
        return
    openers = [other for other in range(8) if mask >> other & 1]
    if item.old is not None:
        licensed = item.old in openers
    else:
        # As QEMU does, an active slot is refused, unless an entry says that its secret goes from there. What merely
        # unlocks may stay where it is.
        going = {other.old for other in facts.items if other.old is not None and other.slot in (None, slot)}
        licensed = any(other in going for other in openers) and not any(other in facts.wanted for other in openers)
        licensed = licensed or facts.task.force
    if licensed:
        rekeys.add((slot, secret))
        priorities.add((slot, item.priority or NORMAL))


def _mend(
    state: State, slot: int, item: Item, rekeys: t.Set[t.Tuple[int, int]], priorities: t.Set[t.Tuple[int, str]]
) -> None:
    """The right secret with the wrong priority or too weak a derivation."""
    if not priority_ok(state[slot], item.priority):
        priorities.add((slot, item.priority or NORMAL))
    if item.strong and content_of(state[slot]).weak:
        rekeys.add((slot, number_of(item.new)))
