# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""From observed and desired state to the smallest safe plan. Pure: no files, no passwords, no Ansible.

The entries are judged in an order that does not depend on their order in the list: what is named goes first, then
what secrets forbid, then what secrets replace, then what must merely be present, then what ``purge`` sweeps away.
"""

from __future__ import annotations

import typing as t

from ..errors import Refused
from ..header.model import PRIORITY_IGNORE, PRIORITY_NORMAL, UnknownKdf
from .contradictions import check_entries
from .drift import costs_drift
from .knowledge import Knowledge
from .plan_order import Add, Changes, Ordering, Rekey
from .plan_resume import resume
from .vocabulary import ABSENT, HEAL_HEADER, PRESENT, REKEY, Action, Desired, Entry, Plan, Proofs, Situation, SlotView, given


def make_plan(situation: Situation, desired: Desired, proofs: Proofs) -> Plan:
    """The plan that takes ``situation`` to ``desired``; empty when nothing needs to change.

    Raises BadTask when the entries contradict each other, Refused when the state found makes the task unsafe or
    impossible.
    """
    check_entries(desired)
    return _Planner(situation, desired, proofs).plan()


class _Planner:
    def __init__(self, situation: Situation, desired: Desired, proofs: Proofs) -> None:
        self.situation = situation
        self.desired = desired
        self.knowledge = Knowledge(situation, desired, proofs)
        self.changes = Changes()
        self.warnings: t.List[str] = []
        self.layout = situation.layout
        present = [entry for entry in desired.entries if entry.state == PRESENT]
        self.pinned = [entry for entry in present if entry.keyslot is not None]
        self.replacing = [entry for entry in present if entry.keyslot is None and entry.old_secret is not None]
        self.plain = [entry for entry in present if entry.keyslot is None and entry.old_secret is None]
        self.absent = [entry for entry in desired.entries if entry.state == ABSENT]
        self.wanted = _distinct(entry.new_secret for entry in present)
        self.claims: t.Set[int] = set()
        self.costly: t.Set[int] = set()  # slots that keep their secret and get other costs
        self.pins: t.Dict[int, int] = {_slot(entry): _new(entry) for entry in self.pinned}

    def plan(self) -> Plan:
        self._check_format()
        first = self._first_actions()
        self._named_absent()
        self._pinned_present()
        forbidden = self._absent_by_secret()
        replaced = self._find_replaced()
        self._check_proof_conflicts(forbidden, replaced)
        self._replace(replaced)
        self._plain_present()
        self._purge()
        ordering = Ordering(self.changes, self.layout, self.knowledge, self.wanted)
        return Plan(actions=tuple(first) + ordering.actions_in_order(), warnings=tuple(self.warnings))

    # What the format cannot hold

    def _check_format(self) -> None:
        for entry in self.desired.entries:
            if entry.keyslot is not None and not 0 <= entry.keyslot < self.situation.slot_count:
                raise Refused(
                    f"keyslots[{entry.position}] names keyslot {entry.keyslot}, and a {self.situation.format.upper()} header has keyslots 0 to {self.situation.slot_count - 1}",
                    remedy="choose one of these",
                )
            if self.situation.format != "luks1":
                continue
            if entry.priority not in (None, PRIORITY_NORMAL):
                raise Refused(
                    f"keyslots[{entry.position}] wants priority {entry.priority}, and LUKS1 keyslots have none", remedy="leave priority out for this volume"
                )
            if entry.costs.type not in (None, "pbkdf2"):
                raise Refused(
                    f"keyslots[{entry.position}] wants {entry.costs.type}, and LUKS1 knows only pbkdf2", remedy="leave pbkdf.type out for this volume"
                )
            if entry.costs.memory is not None or entry.costs.time is not None or entry.costs.parallel is not None:
                raise Refused(f"keyslots[{entry.position}] gives Argon2 costs, and LUKS1 knows only pbkdf2", remedy="give pbkdf.iterations for this volume")
            if entry.costs.hash is not None and self.situation.only_hash and entry.costs.hash.lower() != self.situation.only_hash.lower():
                raise Refused(
                    f"keyslots[{entry.position}] wants hash {entry.costs.hash}, and every keyslot of this LUKS1 header uses {self.situation.only_hash}",
                    remedy="leave pbkdf.hash out for this volume",
                )

    # What comes before the entries: a healthy header, the end of an interrupted run

    def _first_actions(self) -> t.List[Action]:
        actions = []
        if self.situation.needs_heal:
            actions.append(Action(HEAL_HEADER, None, "one copy of the header is damaged, stale or different and is rewritten from the good one"))
        if self.situation.intent is not None:
            ended = resume(self.situation, self.situation.intent, self.knowledge, self.wanted)
            self.layout = ended.layout
            refilled = self._refill(ended.refill) if ended.refill is not None else None
            actions.append(refilled or ended.action)
        return actions

    def _refill(self, keyslot: int) -> t.Optional[Action]:
        """A cut in-place rekey erased the old secret's slot: the entry that asks for the rekey may still fill it."""
        for entry in self.replacing:
            new, old = _new(entry), _old(entry)
            if keyslot in self.pins or self._provided(new, but=entry):
                continue
            if self.knowledge.first_opened(new, self.knowledge.slots) is not None or self.knowledge.first_opened(old, self.knowledge.slots) is not None:
                continue
            extent = self.layout.place(keyslot)
            if extent is None or self.knowledge.find_opener(self.knowledge.slots) is None:
                continue
            self.layout = self.layout.with_slot(keyslot, extent)
            self.knowledge.overlay(keyslot, new, SlotView(keyslot, UnknownKdf("set at apply"), priority=entry.priority or PRIORITY_NORMAL))
            return Action(
                REKEY,
                keyslot,
                f"an interrupted run erased keyslot {keyslot} to give it a new secret",
                label=self.knowledge.label(new),
                secret=new,
                entry=entry.position,
                priority=entry.priority,
                in_place=True,
                resume=True,
            )
        return None

    # Entries, from the most to the least specific

    def _named_absent(self) -> None:
        for entry in self.absent:
            if entry.keyslot is None:
                continue
            if entry.old_secret is None:
                self.changes.never_fill.add(entry.keyslot)
                if entry.keyslot in self.knowledge.slots:
                    self._erase(entry.keyslot, "", f"keyslots[{entry.position}] wants keyslot {entry.keyslot} absent")
            elif entry.keyslot in self.knowledge.slots and entry.keyslot not in self.changes.erases and entry.keyslot not in self.pins:
                label = self.knowledge.label(entry.old_secret)
                if self.knowledge.all_opened(entry.old_secret, [entry.keyslot], needed_for=f"keyslots[{entry.position}]"):
                    self._erase(entry.keyslot, label, f"keyslots[{entry.position}] wants {label} out of keyslot {entry.keyslot}")

    def _pinned_present(self) -> None:
        for entry in self.pinned:
            keyslot, new = _slot(entry), _new(entry)
            if keyslot in self.changes.rekeys:
                continue
            self.claims.add(keyslot)
            if keyslot not in self.knowledge.slots:
                if not any(add.keyslot == keyslot for add in self.changes.adds):
                    self._add(entry, keyslot)
            elif self.knowledge.opens(new, keyslot):
                self._keep(entry, keyslot)
            else:
                self._rekey_occupied(entry)

    def _rekey_occupied(self, entry: Entry) -> None:
        keyslot = _slot(entry)
        peers = [other for other in self.pinned if other.keyslot == keyslot]
        for old in _distinct(peer.old_secret for peer in peers):
            if self.knowledge.opens(old, keyslot):
                return self._rekey(entry, keyslot, old)
        if all(peer.old_secret is not None for peer in peers):
            labels = ", ".join(self.knowledge.label(_old(peer)) for peer in peers)
            raise Refused(
                f"keyslot {keyslot} is in use, and neither {self.knowledge.label(_new(entry))} nor {labels} opens it",
                why="it holds somebody else's key, or the old secret is a wrong one",
                remedy="correct old_secret, or choose another keyslot",
            )
        reserved = []
        licences = _distinct([*self.desired.unlock, *(other.old_secret for other in self.desired.entries)])
        for secret in licences:
            if self.knowledge.opens(secret, keyslot):
                if secret not in self.wanted:
                    return self._rekey(entry, keyslot, secret)
                reserved.append(secret)
        if self.desired.force:
            return self._rekey(entry, keyslot, None)
        if reserved:
            raise Refused(
                f"keyslot {keyslot} opens with {self.knowledge.label(reserved[0])}, which another present entry of the task wants to keep",
                why=f"giving keyslot {keyslot} to {self.knowledge.label(_new(entry))} would overwrite it",
                remedy="name the secret to be replaced as old_secret of this entry, choose another keyslot, or overwrite with force: true",
            )
        raise Refused(
            f"keyslot {keyslot} is in use, and neither {self.knowledge.label(_new(entry))} nor an unlock secret opens it",
            why="overwriting it would destroy a key that nobody proved to be theirs",
            remedy="give the secret that opens it as old_secret, choose another keyslot, or overwrite it with force: true",
        )

    def _absent_by_secret(self) -> t.Dict[int, t.List[int]]:
        """Slots of each secret that may open none, erased unless an entry above fills them with something else."""
        forbidden: t.Dict[int, t.List[int]] = {}
        for entry in self.absent:
            if entry.keyslot is None:
                old = _old(entry)
                label = self.knowledge.label(old)
                forbidden[old] = self.knowledge.all_opened(old, self._undecided(), needed_for=f"keyslots[{entry.position}] (absent)")
                for keyslot in forbidden[old]:
                    if keyslot not in self.pins:
                        self._erase(keyslot, label, f"keyslots[{entry.position}] wants {label} to open nothing")
        return forbidden

    def _find_replaced(self) -> t.Dict[int, t.List[int]]:
        return {
            _old(entry): self.knowledge.all_opened(
                _old(entry),
                self._undecided(also_erased_by_secret=True),
                needed_for=f"keyslots[{entry.position}] (replaces {self.knowledge.label(_old(entry))})",
            )
            for entry in self.replacing
        }

    def _undecided(self, *, also_erased_by_secret: bool = False) -> t.List[int]:
        """Slots whose end no entry has decided by name."""
        decided = set(self.changes.rekeys) - self.costly
        decided |= self.changes.never_fill if also_erased_by_secret else set(self.changes.erases)
        return [keyslot for keyslot in self.knowledge.slots if keyslot not in decided]

    def _check_proof_conflicts(self, forbidden: t.Mapping[int, t.Sequence[int]], replaced: t.Mapping[int, t.Sequence[int]]) -> None:
        for gone, keyslots in (*forbidden.items(), *replaced.items()):
            for keyslot in keyslots:
                for secret in self.wanted:
                    if secret != gone and self.knowledge.opens(secret, keyslot):
                        raise Refused(
                            f"keyslot {keyslot} opens with {self.knowledge.label(gone)}, which is to open nothing, and with {self.knowledge.label(secret)}, which is wanted",
                            why="this keyslot's key derivation takes them as one (PBKDF2 does so with trailing NUL bytes, and with a long secret and its hash)",
                            remedy="choose a new secret that differs from the old one",
                        )

    def _replace(self, replaced: t.Mapping[int, t.Sequence[int]]) -> None:
        first_rekeyed: t.Dict[int, int] = {}
        opened_before = {new: self._opened_outside_erases(new) for new in _distinct(entry.new_secret for entry in self.replacing)}
        for entry in sorted(self.replacing, key=lambda entry: min(replaced[_old(entry)], default=self.situation.slot_count)):
            new, old = _new(entry), _old(entry)
            label = self.knowledge.label(old)
            slots = [keyslot for keyslot in replaced[old] if keyslot not in self.changes.erases and keyslot not in self.changes.rekeys]
            if new == old:
                self._replace_costs(entry, slots)
            elif opened_before[new] is not None:
                for keyslot in slots:
                    self._erase(
                        keyslot,
                        label,
                        f"keyslots[{entry.position}] replaces {label}, and {self.knowledge.label(new)} opens keyslot {opened_before[new]} already",
                    )
                self._claim_and_keep(entry)
            elif replaced[old] or self.knowledge.first_opened(old, self.knowledge.slots) is not None:
                for keyslot in slots:
                    if self.desired.purge and (new in first_rekeyed or new in self.pins.values()):
                        self._erase(keyslot, label, f"purge keeps {self.knowledge.label(new)} in one keyslot only")
                    else:
                        first_rekeyed.setdefault(new, keyslot)
                        self._rekey(entry, keyslot, old)
                        self.claims.add(keyslot)
                if not self._will_open(new):
                    self._add(entry, None)
            elif not self._provided(new, but=entry):
                raise Refused(
                    f"neither {label} nor {self.knowledge.label(new)} opens any keyslot",
                    why=f"there is nothing that keyslots[{entry.position}] could replace",
                    remedy="correct old_secret, add the secret that works today as another old_secret entry, or leave old_secret out to add the new one",
                )

    def _replace_costs(self, entry: Entry, slots: t.Sequence[int]) -> None:
        """Old and new are one secret: the entry asks for other costs in every slot of it."""
        if not slots and not self._provided(_new(entry), but=entry):
            raise Refused(
                f"{self.knowledge.label(_new(entry))} opens no keyslot",
                why="there is none whose costs could be changed",
                remedy="leave old_secret out to add it",
            )
        for keyslot in slots:
            self.claims.add(keyslot)
            self._keep(entry, keyslot)

    def _plain_present(self) -> None:
        for entry in self.plain:
            if not self._claim_and_keep(entry) and not self._will_open(_new(entry)):
                self._add(entry, None)

    def _claim_and_keep(self, entry: Entry) -> bool:
        """Find the slot that makes the entry hold; mend its costs and priority. False when there is none yet."""
        new = _new(entry)
        pinned = [keyslot for keyslot, secret in self.pins.items() if secret == new and keyslot in self.claims]
        if pinned and entry.priority is None:
            return True
        candidates = [
            keyslot for keyslot in self.knowledge.slots if keyslot not in self.changes.erases and self.changes.rekeys.get(keyslot, _KEEP).secret in (None, new)
        ]
        in_hand = [keyslot for keyslot in candidates if keyslot in self.changes.rekeys]
        if in_hand and entry.priority is None:
            self.claims.add(in_hand[0])
            return True
        keyslot = self._best_claim(entry, [candidate for candidate in candidates if candidate not in in_hand])
        if keyslot is None:
            return False
        self.claims.add(keyslot)
        self._keep(entry, keyslot)
        return True

    def _best_claim(self, entry: Entry, candidates: t.Sequence[int]) -> t.Optional[int]:
        """The slot that needs no new priority, else the lowest that is not ignored, else the lowest."""
        fits = [keyslot for keyslot in candidates if self._priority_fits(entry, keyslot)]
        usable = [keyslot for keyslot in candidates if keyslot not in fits and self.knowledge.slots[keyslot].priority != PRIORITY_IGNORE]
        rest = [keyslot for keyslot in candidates if keyslot not in fits and keyslot not in usable]
        for group in (fits, usable, rest):
            keyslot = self.knowledge.first_opened(_new(entry), group)
            if keyslot is not None:
                return keyslot
        return None

    def _priority_fits(self, entry: Entry, keyslot: int) -> bool:
        priority = self.knowledge.slots[keyslot].priority
        return priority == entry.priority if entry.priority is not None else priority != PRIORITY_IGNORE

    def _purge(self) -> None:
        if not self.desired.purge:
            return
        for keyslot, slot in self.knowledge.slots.items():
            if keyslot in self.claims or keyslot in self.changes.erases or keyslot in self.changes.rekeys:
                continue
            if not slot.bound:
                self.warnings.append(f"keyslot {keyslot} is not bound to the volume and stays; name it by keyslot to erase it")
            elif slot.protected_by:
                self.warnings.append(f"keyslot {keyslot} is used by a token ({', '.join(slot.protected_by)}) and stays; name it by keyslot to erase it")
            elif self.knowledge.cannot_be_tried(keyslot):
                self.warnings.append(
                    f"keyslot {keyslot} could not be tried with any secret and stays, so this is not yet the exact set; name it by keyslot to erase it"
                )
            else:
                self._erase(keyslot, "", "purge: no entry claims it")

    # Building blocks

    def _opened_outside_erases(self, secret: int) -> t.Optional[int]:
        staying = [keyslot for keyslot in self.knowledge.slots if keyslot not in self.changes.erases and keyslot not in self.changes.rekeys]
        return self.knowledge.first_opened(secret, staying)

    def _will_open(self, secret: int) -> bool:
        return any(rekey.secret == secret for rekey in self.changes.rekeys.values()) or any(add.secret == secret for add in self.changes.adds)

    def _provided(self, secret: int, *, but: Entry) -> bool:
        """Another entry makes ``secret`` open a slot."""
        for entry in (*self.pinned, *self.plain, *self.replacing):
            if entry is not but and _new(entry) == secret:
                if entry.keyslot is not None or entry.old_secret is None:
                    return True
                if self.knowledge.first_opened(_old(entry), self.knowledge.slots) is not None:
                    return True
        return False

    def _keep(self, entry: Entry, keyslot: int) -> None:
        """The slot opens with the wanted secret; its costs or its priority may still have drifted."""
        slot = self.knowledge.slots[keyslot]
        if not self.knowledge.is_settled(keyslot) and keyslot not in self.changes.rekeys:
            drift = costs_drift(slot.kdf, entry.costs)
            if drift:
                label = self.knowledge.label(_new(entry))
                priority = entry.priority or (PRIORITY_NORMAL if slot.priority == PRIORITY_IGNORE else None)
                self.changes.rekeys[keyslot] = Rekey(_new(entry), entry.position, priority, f"keyslot {keyslot} of {label}: {drift}", replaced=label)
                self.costly.add(keyslot)
        if keyslot not in self.changes.rekeys and not self._priority_fits(entry, keyslot):
            self.changes.priorities[keyslot] = entry.priority or PRIORITY_NORMAL

    def _add(self, entry: Entry, keyslot: t.Optional[int]) -> None:
        label = self.knowledge.label(_new(entry))
        where = "no keyslot" if keyslot is None else f"keyslot {keyslot} is free, and {label} is wanted there"
        reason = f"{label} opens {where}" if keyslot is None else where
        self.changes.adds.append(Add(_new(entry), keyslot, entry.position, entry.priority, reason))

    def _rekey(self, entry: Entry, keyslot: int, old: t.Optional[int]) -> None:
        label = self.knowledge.label(_new(entry))
        slot = self.knowledge.slots[keyslot]
        priority = entry.priority or (PRIORITY_NORMAL if slot.priority == PRIORITY_IGNORE else None)
        replaced = "" if old is None else self.knowledge.label(old)
        reason = f"{label} replaces {replaced}" if old is not None else f"{label} overwrites a key that nobody proved (force)"
        self.changes.rekeys[keyslot] = Rekey(_new(entry), entry.position, priority, reason, replaced=replaced)

    def _erase(self, keyslot: int, label: str, reason: str) -> None:
        self.changes.erases.setdefault(keyslot, (label, reason))


_KEEP = Rekey(secret=None, entry=-1, priority=None, reason="")  # type: ignore[arg-type]


def _slot(entry: Entry) -> int:
    return given(entry.keyslot)


def _new(entry: Entry) -> int:
    return given(entry.new_secret)


def _old(entry: Entry) -> int:
    return given(entry.old_secret)


def _distinct(secrets: t.Iterable[t.Optional[int]]) -> t.List[int]:
    return list(dict.fromkeys(secret for secret in secrets if secret is not None))
