# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A safe order for the changes of a plan: adds before erases, and a proven opener at every moment.

The search is greedy: a rekey that has room takes no room away, an add only makes the volume safer, and an erase comes
early only if nothing else can proceed. But a rekey may take away the copy of a secret that would make another rekey or
an erase safe, and an add the only number that another one can have. So other orders are tried before a plan is refused.
The brute force in tests/property looks for what this misses.
"""

from __future__ import annotations

import itertools
import typing as t

from ..errors import Refused, numbered
from ..header.foreign_tokens import UNATTENDED
from ..header.model import PRIORITY_IGNORE, PRIORITY_NORMAL, Extent, Layout
from .changes import Add, Changes, Rekey
from .proof_cache import ProofCache
from .types import Action, ActionKind

_NO_UNLOCK = "and unlock is not given"
# What a step may lose for a moment, beside a copy of the header: nothing, a wanted secret, every proven opener.
_NOTHING, _WANTED, _OPENERS = range(3)
# So that all orders of up to four changes are tried, and two of very many, which are mostly alike.
_ORDERS = 480
# Keyslots of which it is tried whether their room would help, as one is mostly like the other.
_CANDIDATES = 4
# The first step of these that can be made comes next: rekey, add, erase, rekey in place. Room by an early erase is
# safer than a rekey in place, but the erase may take the copy of a secret that makes it safe, and a rekey the one that
# makes the erase safe.
_PREFERENCES = ("raei", "raie", "aeri")


class Ordering:
    """Puts :class:`Changes` in order and simulates their effect on the volume.

    avoided: numbers that an add without a number takes last. way_back: a copy of the header outside of the volume may
        keep it open for a moment, if no order is safe without one; needs_way_back: the order needs it.
    """

    def __init__(
        self,
        changes: Changes,
        layout: Layout,
        proofs: ProofCache,
        wanted: t.Collection[int],
        avoided: t.Collection[int] = (),
        *,
        way_back: bool = False,
    ) -> None:
        self.changes = changes
        self.proofs = proofs
        self.wanted = wanted
        self.avoided = avoided
        self.allow_lockout = proofs.desired.allow_lockout
        self.start = layout
        self.way_back = way_back
        self.needs_way_back = False
        self._pause = _NOTHING
        # To see what would help: keyslots that were erased before, and an opener that stays and is proven.
        self._gone: t.AbstractSet[int] = frozenset()
        self._assumes_an_opener = False
        self._rewind()

    def _rewind(self) -> None:
        self.layout = self.start
        for keyslot in self._gone:
            self.layout = self.layout.without_slot(keyslot)
        self.old = set(self.proofs.slots) - self._gone  # active slots that this plan has not changed so far
        self.new: t.Dict[int, int] = {}  # slot -> secret that this plan put there
        self.actions: t.List[Action] = []

    def actions_in_order(self) -> t.Tuple[Action, ...]:
        """The actions of the plan. Raises Refused if no opener is proven or no order is safe."""
        if self.changes.adds or any(not rekey.own_key for rekey in self.changes.rekeys.values()):
            self._require_opener_for_writing()
        if not self._found_an_order():
            self._rewind()
            self.needs_way_back = self._fill_with_way_back()
            if not (self.needs_way_back and self.way_back):
                raise self._no_safe_order(with_way_back=self.needs_way_back)
        erases = {keyslot: why for keyslot, why in sorted(self.changes.erases.items()) if keyslot in self.old}
        for keyslot, priority in sorted(self.changes.priorities.items()):
            self.actions.append(
                Action(ActionKind.SET_PRIORITY, keyslot, f"an entry wants priority {priority}", priority=priority)
            )
        for keyslot in list(erases):
            if not self._erase_is_safe(keyslot):
                raise self._would_lock_out(keyslot)
            self._erase(keyslot, erases)
        self._check_tried_by_default()
        return tuple(self.actions)

    def _check_tried_by_default(self) -> None:
        """Raises Refused if the plan takes the last keyslot that opens without being named, as at boot.

        A proven one must be left if there was one, and some keyslot that is tried if there was any.
        """
        if self.allow_lockout:
            return
        bound = {keyslot for keyslot, slot in self.proofs.slots.items() if slot.bound}
        before = {keyslot for keyslot in bound if self.proofs.slots[keyslot].priority != PRIORITY_IGNORE}
        after = {keyslot for keyslot in (self.old & bound) | self.new.keys() if not self._ends_ignored(keyslot)}
        taken = before - (self.old & after)
        if not taken or after & self.new.keys() or self.proofs.find_opener(after) is not None:
            return
        if not after or self.proofs.find_opener(taken) is not None:
            raise self._would_not_be_tried()

    def _ends_ignored(self, keyslot: int) -> bool:
        priority = self.changes.priorities.get(keyslot)
        if priority is None and keyslot in self.new:
            filled = next(action for action in reversed(self.actions) if action.keyslot == keyslot)
            priority = filled.priority or (PRIORITY_NORMAL if filled.kind == ActionKind.ADD else None)
        if priority is None and keyslot in self.proofs.slots:
            priority = self.proofs.slots[keyslot].priority
        return priority == PRIORITY_IGNORE

    def _would_not_be_tried(self) -> Refused:
        ignored = sorted(keyslot for keyslot in self.old | self.new.keys() if self._ends_ignored(keyslot))
        opener = self.proofs.find_opener(self.old & set(ignored))
        best = next((keyslot for keyslot in ignored if keyslot in self.new), opener[0] if opener else None)
        has = "have" if len(ignored) > 1 else "has"
        return Refused(
            "after this change no keyslot that a secret of this task is proven to open would be tried by default"
            + (f" ({numbered(ignored)} {has} the priority ignore)" if ignored else ""),
            why="programs try a keyslot of the priority ignore only if it is named, so nothing would open the volume at"
            " boot",
            remedy=(f"give keyslot {best} the priority normal in the same task" if best is not None else "")
            + (", or " if best is not None else "")
            + "give a secret that opens another keyslot that stays (under unlock), or set allow_lockout: true",
        )

    def _found_an_order(self) -> bool:
        adds, rekeys, erases = self._pending()
        orders = ((one, other) for one in itertools.permutations(adds) for other in itertools.permutations(rekeys))
        pending = len(adds) + len(rekeys)
        for added, order in itertools.islice(orders, max(2, _ORDERS // (pending * pending + 1))):
            for prefer in _PREFERENCES:
                self._rewind()
                if self._fill(list(added), {keyslot: rekeys[keyslot] for keyslot in order}, dict(erases), prefer):
                    return True
        return False

    def _fill(
        self, adds: t.List[Add], rekeys: t.Dict[int, Rekey], erases: t.Dict[int, t.Tuple[str, str]], prefer: str
    ) -> bool:
        """Do all adds and rekeys, with as few erases before them as they need. False if that is not possible."""
        while adds or rekeys:
            if not self._some_step(adds, rekeys, erases, prefer):
                return False
        return True

    def _some_step(
        self, adds: t.List[Add], rekeys: t.Dict[int, Rekey], erases: t.Dict[int, t.Tuple[str, str]], prefer: str
    ) -> bool:
        """Take the first of the steps in ``prefer`` that can be made. False if there is none."""
        steps: t.Dict[str, t.Callable[[], bool]] = {
            "r": lambda: self._some_rekey(rekeys),
            "a": lambda: self._some_add(adds),
            "e": lambda: self._early_erase(erases, adds, rekeys),
            "i": lambda: self._some_rekey_in_place(rekeys),
        }
        return any(steps[step]() for step in prefer)

    def _fill_with_way_back(self) -> bool:
        """As :meth:`_fill` where a copy of the header keeps the volume open: only what has no room left prevents it.

        A step that loses something for a moment comes where nothing else can proceed, and one that leaves an opener
        before one that does not.
        """
        adds, rekeys, erases = self._pending()
        while adds or rekeys:
            for self._pause in (_NOTHING, _WANTED, _OPENERS):
                if self._some_step(adds, rekeys, erases, _PREFERENCES[0]):
                    break
            else:
                return False
        self._pause = _NOTHING
        return True

    def _pending(self) -> t.Tuple[t.List[Add], t.Dict[int, Rekey], t.Dict[int, t.Tuple[str, str]]]:
        adds = sorted(self.changes.adds, key=lambda add: (add.keyslot is None, add.keyslot or 0, add.entry))
        # New costs first: they need another keyslot of the same secret, which a rekey of that one would take away.
        rekeys = dict(sorted(self.changes.rekeys.items(), key=lambda item: (not item[1].costs_only, item[0])))
        return adds, rekeys, dict(sorted(self.changes.erases.items()))

    def _require_opener_for_writing(self) -> None:
        if not self.proofs.can_unlock(self.old):
            desired = self.proofs.desired
            old = [entry.old_secret for entry in desired.entries if entry.old_secret is not None]
            tried = " or ".join(map(self.proofs.label, dict.fromkeys([*desired.unlock, *old])))
            raise Refused(
                "no secret of this task opens a keyslot of the volume, "
                + (f"not even {tried}" if tried else "and unlock has none" if desired.volume_keys else _NO_UNLOCK)
                + self.proofs.did_not_unlock()
                + self.proofs.not_tried(self.old),
                why="a new keyslot needs the volume key, which only a keyslot that opens can give",
                remedy=f"{'correct it, or ' if tried else ''}give a secret that works today under unlock"
                + self._by_token(),
            )

    def _some_add(self, adds: t.List[Add]) -> bool:
        for add in self._most_urgent_first(adds):
            number = self._number_for(add, adds)
            extent = None if number is None else self.layout.place(number)
            if number is None or extent is None:
                continue
            adds.remove(add)
            self.layout = self.layout.with_slot(number, extent)
            self.new[number] = add.secret
            self.actions.append(
                Action(
                    ActionKind.ADD,
                    number,
                    add.reason,
                    label=self.proofs.label(add.secret),
                    secret=add.secret,
                    entry=add.entry,
                    priority=add.priority,
                )
            )
            return True
        return False

    def _most_urgent_first(self, adds: t.Sequence[Add]) -> t.List[Add]:
        """If room is short: first the secrets that lose every keyslot, as none of these can go before the add."""
        layout = self.layout
        for add in adds:
            number = add.keyslot if add.keyslot is not None else next(iter(layout.free_numbers()), None)
            extent = None if number is None else layout.place(number)
            if number is None or extent is None:
                return sorted(adds, key=lambda add: not self._needed_before_room(add.secret))
            layout = layout.with_slot(number, extent)
        return list(adds)

    def _needed_before_room(self, secret: int) -> bool:
        leaving = set(self.changes.erases) | {
            keyslot for keyslot, rekey in self.changes.rekeys.items() if rekey.secret != secret
        }
        lost, staying = self.old & leaving, self.old - leaving
        return self.proofs.first_opened(secret, lost) is not None and self.proofs.first_opened(secret, staying) is None

    def _number_for(self, add: Add, pending: t.List[Add]) -> t.Optional[int]:
        if add.keyslot is not None:
            return add.keyslot
        taken_by_name = {other.keyslot for other in pending if other.keyslot is not None} | self.changes.never_fill
        free = [number for number in self.layout.free_numbers() if number not in taken_by_name]
        free.sort(key=lambda number: number in self.avoided)
        return next((number for number in free if (number, add.secret) not in self.changes.never_hold), None)

    def _some_rekey(self, rekeys: t.Dict[int, Rekey]) -> bool:
        for keyslot, rekey in rekeys.items():
            if self._has_room(keyslot, rekey) and self._wanted_keep_working(without=keyslot, new_secret=rekey.secret):
                if self.layout.fixed is None:
                    extent = self._place(keyslot, rekey)
                    if extent is not None:
                        self.layout = self.layout.without_slot(keyslot).with_slot(keyslot, extent)
                self._rekeyed(keyslot, rekeys)
                return True
        return False

    def _has_room(self, keyslot: int, rekey: Rekey) -> bool:
        return self._place(keyslot, rekey) is not None if rekey.own_key else self.layout.rekey_room(keyslot)

    def _place(self, keyslot: int, rekey: Rekey) -> t.Optional[Extent]:
        return self.layout.place_beside(keyslot) if rekey.own_key else self.layout.place(keyslot)

    def _some_rekey_in_place(self, rekeys: t.Dict[int, Rekey]) -> bool:
        for keyslot, rekey in rekeys.items():
            if rekey.own_key:  # no other keyslot has that key, and a copy of the header would not bring it back
                continue
            room = self.layout.without_slot(keyslot).place(keyslot)
            if room is not None and self._opener_beside(keyslot) and self._wanted_keep_working(without=keyslot):
                self.layout = self.layout.without_slot(keyslot).with_slot(keyslot, room)
                self._rekeyed(keyslot, rekeys, in_place=True)
                return True
        return False

    def _rekeyed(self, keyslot: int, rekeys: t.Dict[int, Rekey], *, in_place: bool = False) -> None:
        rekey = rekeys.pop(keyslot)
        self.old.discard(keyslot)
        if not rekey.own_key:
            self.new[keyslot] = rekey.secret
        self.actions.append(
            Action(
                ActionKind.REKEY,
                keyslot,
                f"{rekey.reason}; it is replaced in place" if self._pause else rekey.reason,
                label=self.proofs.label(rekey.secret),
                secret=rekey.secret,
                entry=rekey.entry,
                priority=rekey.priority,
                in_place=in_place,
                overwrites=rekey.overwrites,
                own_key=rekey.own_key,
                lost_token=rekey.lost_token,
            )
        )

    def _early_erase(
        self, erases: t.Dict[int, t.Tuple[str, str]], adds: t.Sequence[Add], rekeys: t.Mapping[int, Rekey]
    ) -> bool:
        """Make room: erase what is to be erased anyway and is safe to lose now.

        First keyslots whose room is usable; among these, keyslots that no secret opens, then openers, then keyslots of
        a wanted secret, which may still make a rekey safe.
        """
        needs_no_opener = self.allow_lockout and not adds and all(rekey.own_key for rekey in rekeys.values())
        safe = [
            keyslot
            for keyslot in erases
            if (needs_no_opener or self._opener_beside(keyslot)) and self._wanted_keep_working(without=keyslot)
        ]
        if not safe:
            return False

        def rank(keyslot: int) -> t.Tuple[bool, bool, bool, int]:
            # For a rekey any number makes room, and an add may have to come before it.
            fillable = not adds or any(
                keyslot not in self.changes.never_fill and (keyslot, add.secret) not in self.changes.never_hold
                for add in adds
            )
            opener = self.proofs.find_opener([keyslot])
            return (not fillable, opener is not None and opener[1] in self.wanted, opener is not None, keyslot)

        self._erase(min(safe, key=rank), erases)
        return True

    def _erase(self, keyslot: int, erases: t.Dict[int, t.Tuple[str, str]]) -> None:
        label, reason = erases.pop(keyslot)
        self.old.discard(keyslot)
        self.layout = self.layout.without_slot(keyslot)
        self.actions.append(Action(ActionKind.ERASE, keyslot, reason, label=label))

    def _erase_is_safe(self, keyslot: int) -> bool:
        return self.allow_lockout or self._opener_beside(keyslot)

    def leaves_an_opener(self) -> bool:
        """Whether a proven secret opens the volume after all actions."""
        return bool(self.new) or self.proofs.find_opener(self.old) is not None

    def _opener_beside(self, keyslot: int) -> bool:
        if self._pause == _OPENERS or self._assumes_an_opener:
            return True
        if any(number != keyslot for number in self.new):
            return True
        return self.proofs.find_opener(self.old - {keyslot}) is not None

    def _wanted_keep_working(self, *, without: int, new_secret: t.Optional[int] = None) -> bool:
        """Every wanted secret that opens ``without`` now also opens another active keyslot, or is ``new_secret``."""
        if without not in self.old or self._pause:
            return True
        for secret in self.wanted:
            if secret == new_secret or secret in self.new.values():
                continue
            if self.proofs.opens(secret, without) and self.proofs.first_opened(secret, self.old - {without}) is None:
                return False
        return True

    def _no_safe_order(self, *, with_way_back: bool) -> Refused:
        pending = [
            f"{self.proofs.label(add.secret)} into "
            + ("a free keyslot" if add.keyslot is None else f"keyslot {add.keyslot}")
            for add in self.changes.adds
        ]
        pending += [
            f"{self.proofs.label(rekey.secret)} into keyslot {keyslot} in place of its present "
            + ("secret, which needs room beside it (not bound to the volume)" if rekey.own_key else "key")
            for keyslot, rekey in sorted(self.changes.rekeys.items())
        ]
        return Refused(
            f"there is no safe order for this change: {'; '.join(pending)},"
            f" with keyslots {_numbers(self.start.taken)} in use",
            why="no room is left, and making room would leave a moment in which no proven secret opens the volume"
            " or a wanted one does not"
            if with_way_back
            else "no room is left, and the task makes none",
            remedy=self._what_makes_room(with_way_back=with_way_back),
        )

    def _what_makes_room(self, *, with_way_back: bool) -> str:
        untouched = self.proofs.slots.keys() - self.changes.erases.keys() - self.changes.rekeys.keys()
        ways = []
        candidates = [keyslot for keyslot in sorted(untouched, reverse=True) if self._may_go(keyslot)]
        if any(self._helps(gone={keyslot}) for keyslot in candidates[:_CANDIDATES]):
            ways.append("first erase a keyslot that is not needed, in a task of its own (state: absent, its number)")
        if with_way_back:
            if any(self.proofs.slots[keyslot].bound for keyslot in untouched) and self._helps(opener=True):
                ways.append("give under unlock the secret of another keyslot that stays")
            ways.append(
                "set backup_dir to a folder on another file system, where a verified copy of the header is the way back"
                " until the change is done"
            )
        elif not ways:
            ways.append("give old_secret, so that the new secret takes the place of another one, with backup_dir")
        return ", or ".join(filter(None, (", ".join(ways[:-1]), *ways[-1:])))

    def _may_go(self, keyslot: int) -> bool:
        """Whether a task may erase this keyslot before, by the proofs that there are."""
        proven, labels = self.proofs.is_known_to_open, range(len(self.proofs.desired.labels))
        return not any(proven(secret, keyslot) for secret in self.wanted) and any(
            proven(secret, other) for secret in labels for other in self.proofs.slots.keys() - {keyslot}
        )

    def _helps(self, *, gone: t.AbstractSet[int] = frozenset(), opener: bool = False) -> bool:
        """Whether there is an order without the keyslots ``gone``, or with the proof of one that stays: not where a
        wanted secret would not open the volume for a moment, however many others do.
        """
        self._gone, self._assumes_an_opener = gone, opener
        found = self._found_an_order()
        self._gone, self._assumes_an_opener = frozenset(), False
        return found

    def _would_lock_out(self, keyslot: int) -> Refused:
        going = self.changes.erases.keys() | {keyslot}
        left = sorted(self.old - going)
        one = len(going) == 1
        return Refused(
            f"erasing {numbered(sorted(going))} would leave no keyslot that a secret of this task is proven to open"
            + (
                f" ({numbered(left)} would stay, unproven)"
                if left
                else f" ({'it is the last one' if one else 'they are the last ones'})"
            )
            + (self.proofs.did_not_unlock() if self.proofs.desired.by_token else "")
            + self.proofs.not_tried(left),
            why="without a working keyslot the data is lost",
            remedy="give a secret that opens a keyslot that stays (under unlock or as a present entry)"
            f"{self._by_token(left)}, or set allow_lockout: true",
        )

    def _by_token(self, among: t.Optional[t.Collection[int]] = None) -> str:
        """The end of a remedy: that the volume has a token that could be asked, unless the task has asked one."""
        if self.proofs.desired.by_token:
            return ""
        for keyslot in sorted(self.old if among is None else among):
            for token in self.proofs.slots[keyslot].protected_by:
                if token in UNATTENDED:
                    return f", or ask the token of keyslot {keyslot} ({token}) with unlock: [{{token: auto}}]"
        return ""


def _numbers(keyslots: t.Iterable[int]) -> str:
    return ", ".join(str(number) for number in sorted(keyslots)) or "none"
