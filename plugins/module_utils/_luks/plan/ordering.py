# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""In which order the changes of a plan are safe: adds before erases, and never a moment without a proven opener.

The search is a greedy one, and complete: a rekey that has room takes no room away, an add only ever makes the volume
safer, and an erase is tried early only when nothing else can go on; what is safe to erase first is so whatever came
before. Where nothing can go on, no safe order exists and the plan is refused.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import Refused
from ..header.model import Layout
from .proof_cache import ProofCache
from .types import Action, ActionKind


@dataclasses.dataclass(frozen=True)
class Add:
    """``secret`` into ``keyslot``, or into a free one when None."""

    secret: int
    keyslot: t.Optional[int]
    entry: int
    priority: t.Optional[str]
    reason: str


@dataclasses.dataclass(frozen=True)
class Rekey:
    """An active slot gets ``secret``; ``replaced`` is the label of what opened it. ``costs_only``: it opens the slot already."""

    secret: int
    entry: int
    priority: t.Optional[str]
    reason: str
    replaced: str = ""
    costs_only: bool = False


@dataclasses.dataclass
class Changes:
    """The unordered content of a plan: what the entries need, per slot."""

    adds: t.List[Add] = dataclasses.field(default_factory=list)
    rekeys: t.Dict[int, Rekey] = dataclasses.field(default_factory=dict)
    erases: t.Dict[int, t.Tuple[str, str]] = dataclasses.field(default_factory=dict)  # slot -> (label, reason)
    priorities: t.Dict[int, str] = dataclasses.field(default_factory=dict)
    never_fill: t.Set[int] = dataclasses.field(default_factory=set)  # slots that must end inactive
    never_hold: t.Set[t.Tuple[int, int]] = dataclasses.field(default_factory=set)  # (slot, secret) that must not open it


class Ordering:
    """Simulates the volume while it puts :class:`Changes` in order."""

    def __init__(self, changes: Changes, layout: Layout, proofs: ProofCache, wanted: t.Collection[int]) -> None:
        self.changes = changes
        self.proofs = proofs
        self.wanted = wanted
        self.allow_lockout = proofs.desired.allow_lockout
        self.start = layout
        self._rewind()

    def _rewind(self) -> None:
        self.layout = self.start
        self.old = set(self.proofs.slots)  # active slots that still hold what they held at the start
        self.new: t.Dict[int, int] = {}  # slot -> secret that this plan put there
        self.actions: t.List[Action] = []

    def actions_in_order(self) -> t.Tuple[Action, ...]:
        """Raises Refused when no opener is proven, or no order is safe."""
        if self.changes.adds or self.changes.rekeys:
            self._require_opener_for_writing()
        # Room by an early erase is the safer way; but it may take away the copy that would make an overwriting safe.
        if not self._fill(early_erases=True):
            self._rewind()
            if not self._fill(early_erases=False):
                raise self._no_safe_order()
        erases = {keyslot: why for keyslot, why in sorted(self.changes.erases.items()) if keyslot in self.old}
        for keyslot, priority in sorted(self.changes.priorities.items()):
            self.actions.append(Action(ActionKind.SET_PRIORITY, keyslot, f"an entry wants priority {priority}", priority=priority))
        for keyslot in list(erases):
            if not self._erase_is_safe(keyslot):
                raise self._would_lock_out(keyslot)
            self._erase(keyslot, erases)
        return tuple(self.actions)

    def _fill(self, *, early_erases: bool) -> bool:
        """Do all adds and rekeys, with as few erases before them as they need. False when that leads nowhere."""
        adds = sorted(self.changes.adds, key=lambda add: (add.keyslot is None, add.keyslot or 0, add.entry))
        # New costs first: they need another slot of the same secret, which replacing that one would take away.
        rekeys = dict(sorted(self.changes.rekeys.items(), key=lambda item: (not item[1].costs_only, item[0])))
        erases = dict(sorted(self.changes.erases.items()))
        while adds or rekeys:
            if self._some_rekey(rekeys) or self._some_add(adds):
                continue
            if early_erases and (self._early_erase(erases, adds, rekeys) or self._some_rekey_in_place(rekeys)):
                continue
            if not early_erases and (self._some_rekey_in_place(rekeys) or self._early_erase(erases, adds, rekeys)):
                continue
            return False
        return True

    def _require_opener_for_writing(self) -> None:
        if self.proofs.find_opener(self.old) is None:
            raise Refused(
                f"no secret of this task opens a keyslot of the volume{self.proofs.not_tried(self.old)}",
                why="a new keyslot can only be made from the volume key, and only an open keyslot gives that",
                remedy="give a secret that works today under unlock",
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
        """Where room is short: first the secrets whose every slot goes away, for none can go before they open another."""
        layout = self.layout
        for add in adds:
            number = add.keyslot if add.keyslot is not None else next(iter(layout.free_numbers()), None)
            extent = None if number is None else layout.place(number)
            if number is None or extent is None:
                return sorted(adds, key=lambda add: not self._needed_before_room(add.secret))
            layout = layout.with_slot(number, extent)
        return list(adds)

    def _needed_before_room(self, secret: int) -> bool:
        leaving = set(self.changes.erases) | {keyslot for keyslot, rekey in self.changes.rekeys.items() if rekey.secret != secret}
        going, staying = self.old & leaving, self.old - leaving
        return self.proofs.first_opened(secret, going) is not None and self.proofs.first_opened(secret, staying) is None

    def _number_for(self, add: Add, pending: t.List[Add]) -> t.Optional[int]:
        if add.keyslot is not None:
            return add.keyslot
        taken_by_name = {other.keyslot for other in pending if other.keyslot is not None} | self.changes.never_fill
        free = [number for number in self.layout.free_numbers() if number not in taken_by_name]
        return next((number for number in free if (number, add.secret) not in self.changes.never_hold), None)

    def _some_rekey(self, rekeys: t.Dict[int, Rekey]) -> bool:
        for keyslot, rekey in rekeys.items():
            if self.layout.rekey_room(keyslot) and self._wanted_keep_working(without=keyslot, new_secret=rekey.secret):
                if self.layout.fixed is None:
                    extent = self.layout.place(keyslot)
                    if extent is not None:
                        self.layout = self.layout.without_slot(keyslot).with_slot(keyslot, extent)
                self._rekeyed(keyslot, rekeys)
                return True
        return False

    def _some_rekey_in_place(self, rekeys: t.Dict[int, Rekey]) -> bool:
        for keyslot in rekeys:
            room = self.layout.without_slot(keyslot).place(keyslot)
            if room is not None and self._opener_beside(keyslot) and self._wanted_keep_working(without=keyslot):
                self.layout = self.layout.without_slot(keyslot).with_slot(keyslot, room)
                self._rekeyed(keyslot, rekeys, in_place=True)
                return True
        return False

    def _rekeyed(self, keyslot: int, rekeys: t.Dict[int, Rekey], *, in_place: bool = False) -> None:
        rekey = rekeys.pop(keyslot)
        self.old.discard(keyslot)
        self.new[keyslot] = rekey.secret
        self.actions.append(
            Action(
                ActionKind.REKEY,
                keyslot,
                rekey.reason,
                label=self.proofs.label(rekey.secret),
                secret=rekey.secret,
                entry=rekey.entry,
                priority=rekey.priority,
                in_place=in_place,
            )
        )

    def _early_erase(self, erases: t.Dict[int, t.Tuple[str, str]], adds: t.Sequence[Add], rekeys: t.Mapping[int, Rekey]) -> bool:
        """Room is needed: erase what must go anyway and is safe to lose now; first what makes room, strangers before openers,
        and these before spare slots of a wanted secret, which may yet be what makes a rekey safe."""
        safe = [keyslot for keyslot in erases if self._opener_beside(keyslot) and self._wanted_keep_working(without=keyslot)]
        if not safe:
            return False

        def rank(keyslot: int) -> t.Tuple[bool, bool, bool, int]:
            fillable = bool(rekeys) or any(keyslot not in self.changes.never_fill and (keyslot, add.secret) not in self.changes.never_hold for add in adds)
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

    def _opener_beside(self, keyslot: int) -> bool:
        if any(number != keyslot for number in self.new):
            return True
        return self.proofs.find_opener(self.old - {keyslot}) is not None

    def _wanted_keep_working(self, *, without: int, new_secret: t.Optional[int] = None) -> bool:
        """Every wanted secret that opens ``without`` now opens another active slot too, or is what comes into it."""
        if without not in self.old:
            return True
        for secret in self.wanted:
            if secret == new_secret or secret in self.new.values():
                continue
            if self.proofs.opens(secret, without) and self.proofs.first_opened(secret, self.old - {without}) is None:
                return False
        return True

    def _no_safe_order(self) -> Refused:
        pending = [
            f"{self.proofs.label(add.secret)} into {'a free keyslot' if add.keyslot is None else f'keyslot {add.keyslot}'}" for add in self.changes.adds
        ]
        pending += [
            f"{self.proofs.label(rekey.secret)} into keyslot {keyslot} in place of what is there" for keyslot, rekey in sorted(self.changes.rekeys.items())
        ]
        return Refused(
            f"there is no safe order for this change: {'; '.join(pending)}, with keyslots {_numbers(self.start.taken)} in use",
            why="no room is left, and making some would leave a moment in which no proven secret, or not every wanted one, opens the volume",
            remedy="erase a keyslot that nobody needs (state: absent with its number), or prove another keyslot that stays by giving its secret under unlock",
        )

    def _would_lock_out(self, keyslot: int) -> Refused:
        left = sorted(self.old - {keyslot})
        return Refused(
            f"erasing keyslot {keyslot} would leave no keyslot that a secret of this task is proven to open"
            + (f" (keyslots {_numbers(left)} stay, but nobody proved them)" if left else " (it is the last one)")
            + self.proofs.not_tried(left),
            why="if none of them worked, the data would be lost for ever",
            remedy="give a secret that opens a keyslot that stays (under unlock or as a present entry), or consent with allow_lockout: true",
        )


def _numbers(keyslots: t.Iterable[int]) -> str:
    return ", ".join(str(number) for number in sorted(keyslots)) or "none"
