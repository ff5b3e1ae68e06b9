# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of two readings of the design the oracle takes, and what contradicts itself before any volume is looked at."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.luksmith.luks.tests.property.planner_world import ABSENT, IGNORE, PRESENT, Item


@dataclasses.dataclass(frozen=True)
class Reading:
    """The readings taken where the design's text allows two. The default is what the proof demands.

    cut_run_counts_doomed_slots: ``old -> new``: new "opens one already" also when its only slots go away in this run,
    so
        that old's slots are erased and new is added (True), or such slots do not count and old's slots are rekeyed
        (False). False, from the design: one call describes the final state, and in that state a slot that must go opens
        nothing; the rekey is what the row of ``old new`` says, it is the smallest change, and it needs no moment with a
        slot less.
    doomed_slot_still_opens: ``old -> new`` where old opens nothing and new opens only slots that go away in this run:
        something opens, so new is added elsewhere (True), or this is "neither opens" and refused (False).
    absent_old_beats_rekey: ``old -> new`` beside an ``absent old`` that covers a slot of old: that slot is erased and
    new
        is added (True), or it is rekeyed, which makes both hold with one action (False).
    pin_may_be_freed_first: a slot named by ``present`` that may not be rekeyed, but that another entry lets us erase,
    is
        erased and then filled (True), or the ``present`` entry is refused as its table row says (False).
        False, from the design: the row of ``present, keyslot, new`` ends in "else refuse" without an exception, and the
        fine print takes the proof of a secret that another present entry wants as no consent. It matters only for
        ``absent slot old`` of a secret wanted elsewhere; whoever means that says ``old_secret`` in the present entry,
        and is served.
    untried_erased_by_name_is_fine: ``absent old`` holds once every untried slot was erased by its number (True), or any
        untried slot at the start refuses it (False).
    one_old_for_two_new_is_refused: ``A -> N`` and ``A -> M`` with neither N nor M opening: the same slot is wanted with
    two
        secrets (True: refused), or one of them takes it and the other is added (False).
    ignored_slot_counts_as_opening: for "new opens one already" and "only its ignored slots" a slot with priority ignore
        counts, and the plan sets its priority (True), or it counts as not opening at all (False).
    pinned_old_must_open: a slot named only by ``present slot old new`` entries is refused when no such old opens it,
    even
        if an entry without a number licenses its rekey or erase (True), or the union of all entries decides (False).
    purge_claims_lowest_literally: an entry without a number claims the lowest slot of its secret although another entry
        names a higher slot with the same secret (True), or the named slot serves both (False).
    drift_is_judged_on_the_claimed_slot: costs of an entry without a number are compared with the slot that it claims
    (True),
        or any slot of its secret with such costs will do (False).
    needless_add_is_dropped: a secret that a named slot or a rekey of the same plan brings gets no add of its own
    (True), or
        it may get one where that spare copy alone makes the order safe (False).
    same_old_and_new_covers_every_slot: ``old A new A`` with costs is about every slot of A, as the row of ``old new``
    says
        (True), or about the claimed one (False). With purge only the claimed one is left anyway.
    one_for_the_kdf_is_refused: a slot that opens with a wanted secret and with one that may open nothing is refused,
    since
        its key derivation takes them as one (True), or the slot is replaced like any other (False).
    """

    cut_run_counts_doomed_slots: bool = False
    doomed_slot_still_opens: bool = True
    absent_old_beats_rekey: bool = False
    pin_may_be_freed_first: bool = False
    untried_erased_by_name_is_fine: bool = True
    one_old_for_two_new_is_refused: bool = True
    ignored_slot_counts_as_opening: bool = True
    pinned_old_must_open: bool = True
    purge_claims_lowest_literally: bool = True
    drift_is_judged_on_the_claimed_slot: bool = True
    needless_add_is_dropped: bool = True
    same_old_and_new_covers_every_slot: bool = True
    one_for_the_kdf_is_refused: bool = True


DEFAULT = Reading()


def contradiction(items: t.Tuple[Item, ...]) -> t.Optional[str]:
    """Why the list contradicts itself whatever the volume holds, or None."""
    pins: t.Dict[int, int] = {}
    wanted: t.Set[int] = set()
    for item in items:
        if item.state == PRESENT:
            assert item.new is not None
            wanted.add(item.new)
            if item.old == item.new and not item.strong:
                return "old is new"
            if item.slot is not None and pins.setdefault(item.slot, item.new) != item.new:
                return "one slot, two secrets"
            if any(_two_priorities(item, other) for other in items):
                return "one secret, two priorities"
    for item in items:
        if item.slot is not None and item.state == ABSENT and item.slot in pins and item.old in (None, pins[item.slot]):
            return "one slot, wanted and forbidden"
    if any(secret in wanted for secret in forbidden(items)):
        return "one secret, wanted and forbidden"
    return None


def _two_priorities(item: Item, other: Item) -> bool:
    """No one priority pleases both, and one slot could be meant by both.

    No priority given: anything but ignore pleases.
    """
    if other.state != PRESENT or other.new != item.new or item.priority == other.priority:
        return False
    if None in (item.priority, other.priority) and IGNORE not in (item.priority, other.priority):
        return False
    return item.slot is None or other.slot in (None, item.slot)


def with_wishes_of_peers(items: t.Tuple[Item, ...]) -> t.Tuple[Item, ...]:
    """What one entry says of priority and costs of a secret, every entry says that means the same slot, by its number
    or
    because the one that says it has none: one call describes one final state."""
    found = []
    for item in items:
        for other in items if item.state == PRESENT else ():
            if other.state == PRESENT and other.new == item.new and (other.slot is None or other.slot == item.slot):
                item = item._replace(strong=item.strong or other.strong, priority=item.priority or other.priority)
        found.append(item)
    return tuple(found)


def forbidden(items: t.Iterable[Item]) -> t.Set[int]:
    """Secrets that may open no slot at the end."""
    return {item.old for item in items if item.slot is None and item.old is not None and item.old != item.new}
