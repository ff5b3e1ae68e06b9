# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Which keyslot an entry claims, and what is planned for a keyslot; shared by all kinds of entries."""

from __future__ import annotations

import typing as t

from ..errors import Refused
from ..header.foreign_tokens import RECOVERY
from ..header.model import PRIORITY_IGNORE, PRIORITY_NORMAL
from ..required import required
from ..task.desired import ABSENT, PRESENT, Desired, Entry
from .changes import Add, Changes, Rekey
from .drift import costs_drift
from .proof_cache import ProofCache


class Entries:
    """The entries of a task by what they ask for.

    pins: keyslot -> the secret that is wanted there. replaced_by_name: those of them whose entries all say which secret
    goes.
    """

    def __init__(self, desired: Desired) -> None:
        present = [entry for entry in desired.entries if entry.state == PRESENT and entry.new_secret is not None]
        self.ranked = {
            slot_of(entry): entry for entry in desired.entries if entry.state == PRESENT and entry.new_secret is None
        }
        self.pinned = [entry for entry in present if entry.keyslot is not None]
        self.replacing = [entry for entry in present if entry.keyslot is None and entry.old_secret is not None]
        self.plain = [entry for entry in present if entry.keyslot is None and entry.old_secret is None]
        self.absent = [entry for entry in desired.entries if entry.state == ABSENT and entry.binding is None]
        self.wanted = distinct(entry.new_secret for entry in present)
        self.pins: t.Dict[int, int] = {slot_of(entry): new_of(entry) for entry in self.pinned}
        self.replaced_by_name = set(self.pins) - {slot_of(entry) for entry in self.pinned if entry.old_secret is None}


class Claims:
    """The changes of a plan, collected entry by entry, and the keyslots that entries claim.

    claimed:          keyslots that satisfy an entry; ``purge`` leaves them.
    marked_for_erase: keyslot -> (label, reason) of an erase, unless the keyslot is rekeyed.
    new_costs:        keyslots that keep their secret and get other costs.
    """

    def __init__(self, entries: Entries, proofs: ProofCache, *, purge: bool) -> None:
        self.changes = Changes()
        self.claimed: t.Set[int] = set(entries.ranked)
        self.marked_for_erase: t.Dict[int, t.Tuple[str, str]] = {}
        self.new_costs: t.Set[int] = set()
        self._entries = entries
        self._proofs = proofs
        self._purge = purge

    def claim_and_keep(self, entry: Entry) -> bool:
        """Claim the keyslot that will satisfy the entry, and plan its costs and priority. False if there is none yet.

        Raises as :meth:`keep`.
        """
        new = new_of(entry)
        coming = self.named_for(new)
        coming += [keyslot for keyslot in self.rekeyed_to(new) if keyslot not in coming]
        staying = [
            keyslot
            for keyslot in self._staying()
            if keyslot not in coming and (keyslot, new) not in self.changes.never_hold
        ]
        keyslot = self._best_claim(entry, coming, staying)
        if keyslot is None:
            return False
        self.claimed.add(keyslot)
        self.keep(entry, keyslot)
        return True

    def _staying(self) -> t.List[int]:
        """Active keyslots that no entry so far erases or gives another secret."""
        leaving = set(self.changes.erases) | set(self.marked_for_erase) | (set(self.changes.rekeys) - self.new_costs)
        return [keyslot for keyslot in self._proofs.slots if keyslot not in leaving]

    def _best_claim(self, entry: Entry, coming: t.Sequence[int], staying: t.Sequence[int]) -> t.Optional[int]:
        """The keyslot that needs no new priority, else the lowest that is not ignored, else the lowest.

        coming: keyslots that this plan makes open with the secret, or that an entry names for it. staying: the others,
        which are tried only if no keyslot is coming, or if ``purge`` needs to know of a lower one.
        """
        for fits in (self._priority_fits, self._not_ignored, self._any):
            known = [keyslot for keyslot in coming if fits(entry, keyslot)]
            open_question = [keyslot for keyslot in staying if fits(entry, keyslot) and (self._purge or not known)]
            lower = [keyslot for keyslot in open_question if not known or keyslot < min(known)]
            # The claim decides what purge erases, so with purge it is the lowest, whatever a hint says.
            ascending = (keyslot for keyslot in lower if self._proofs.opens(new_of(entry), keyslot))
            keyslot = (
                next(ascending, None) if self._purge else self._proofs.first_opened(new_of(entry), lower, spread=True)
            )
            if keyslot is not None:
                return keyslot
            if known:
                return min(known)
        return None

    def _priority_fits(self, entry: Entry, keyslot: int) -> bool:
        priority = self._priority_to_be(keyslot)
        return priority == entry.priority if entry.priority is not None else priority != PRIORITY_IGNORE

    def _not_ignored(self, entry: Entry, keyslot: int) -> bool:
        return self._priority_to_be(keyslot) != PRIORITY_IGNORE

    def _any(self, entry: Entry, keyslot: int) -> bool:
        return True

    def _priority_to_be(self, keyslot: int) -> str:
        """The priority that the keyslot has once the changes planned so far are done."""
        if keyslot in self.changes.priorities:
            return self.changes.priorities[keyslot]
        rekey = self.changes.rekeys.get(keyslot)
        if rekey is not None and rekey.priority is not None:
            return rekey.priority
        add = next((add for add in self.changes.adds if add.keyslot == keyslot), None)
        if add is not None:
            return add.priority or PRIORITY_NORMAL
        return self._proofs.slots[keyslot].priority

    # Building blocks

    def opened_and_staying(self, secret: int, *, in_vain: bool) -> t.Optional[int]:
        """A keyslot that stays and that ``secret`` opens. Raises what :meth:`.Proofs.verdict` raises."""
        staying = [keyslot for keyslot in self._staying() if (keyslot, secret) not in self.changes.never_hold]
        return self._proofs.first_opened(secret, staying, spread=True, in_vain=in_vain)

    def opens_anything(self, secret: int) -> bool:
        """Raises what :meth:`.Proofs.verdict` raises."""
        return self._proofs.first_opened(secret, self._proofs.slots) is not None

    def will_open(self, secret: int) -> bool:
        return bool(self.rekeyed_to(secret)) or any(add.secret == secret for add in self.changes.adds)

    def named_for(self, secret: int) -> t.List[int]:
        """The keyslots that entries name for ``secret``, to open the volume."""
        pins = self._entries.pins.items()
        return [keyslot for keyslot, pinned in pins if pinned == secret and not self.has_own_key(keyslot)]

    def rekeyed_to(self, secret: int) -> t.List[int]:
        """The keyslots that the plan so far gives ``secret`` in the place of another one, to open the volume."""
        rekeys = self.changes.rekeys.items()
        return [keyslot for keyslot, rekey in rekeys if rekey.secret == secret and not rekey.own_key]

    def has_own_key(self, keyslot: int) -> bool:
        """Whether the entries that name the keyslot are about another key than that of the volume: it is not bound, and
        each of them says which secret is to be replaced there.
        """
        slot = self._proofs.slots.get(keyslot)
        return slot is not None and not slot.bound and keyslot in self._entries.replaced_by_name

    def provided(self, secret: int, *, but: Entry) -> bool:
        """Whether another entry makes ``secret`` open a keyslot. Raises what :meth:`.Proofs.verdict` raises."""
        for entry in (*self._entries.pinned, *self._entries.plain, *self._entries.replacing):
            if entry is not but and new_of(entry) == secret:
                if entry.keyslot is not None and self.has_own_key(entry.keyslot):
                    continue
                if entry.keyslot is not None or entry.old_secret is None:
                    return True
                if self._proofs.first_opened(old_of(entry), self._proofs.slots) is not None:
                    return True
        return False

    def keep(self, entry: Entry, keyslot: int) -> None:
        """Keep a keyslot that opens with the wanted secret, and plan new costs or priority if they drifted.

        Raises Refused if another wanted secret derives the same key there, and what :meth:`.Proofs.verdict` raises.
        """
        slot = self._proofs.slots.get(keyslot)
        if slot is not None and not self._proofs.is_settled(keyslot) and keyslot not in self.changes.rekeys:
            drift = costs_drift(slot.kdf, entry.costs)
            if drift:
                self._require_sole_claim(entry, keyslot, drift)
                label = self._proofs.label(new_of(entry))
                priority = self._rekeyed_priority(entry, keyslot)
                reason = f"keyslot {keyslot} of {label}: {drift}"
                self.changes.rekeys[keyslot] = Rekey(
                    new_of(entry),
                    entry.position,
                    priority,
                    reason,
                    replaced=label,
                    costs_only=True,
                    own_key=not slot.bound,
                )
                self.new_costs.add(keyslot)
        if keyslot not in self.changes.rekeys and not self._priority_fits(entry, keyslot):
            self._require_sole_claim(entry, keyslot, "another priority is wanted")
            self._require_unranked(entry, keyslot)
            self.changes.priorities[keyslot] = entry.priority or PRIORITY_NORMAL

    def _rekeyed_priority(self, entry: Entry, keyslot: int) -> t.Optional[str]:
        """The priority to set with a new key. Raises Refused if two entries give different ones."""
        ranked = self._entries.ranked.get(keyslot)
        if ranked is None:
            ignored = self._proofs.slots[keyslot].priority == PRIORITY_IGNORE
            return entry.priority or (PRIORITY_NORMAL if ignored else None)
        self.changes.priorities.pop(keyslot, None)
        if ranked.priority != entry.priority and (entry.priority or ranked.priority == PRIORITY_IGNORE):
            self._require_unranked(entry, keyslot)
        return ranked.priority

    def _require_unranked(self, entry: Entry, keyslot: int) -> None:
        ranked = self._entries.ranked.get(keyslot)
        if ranked is not None:
            wanted = entry.priority or "a keyslot that is tried by default"
            raise Refused(
                f"keyslots[{ranked.position}] gives keyslot {keyslot} the priority {ranked.priority}, and"
                f" keyslots[{entry.position}], whose secret opens it, wants {wanted}",
                why="one keyslot has one priority",
                remedy="give it in the entry with the secret only",
            )

    def _require_sole_claim(self, entry: Entry, keyslot: int, change: str) -> None:
        """Refuse a change of a keyslot that two wanted secrets open: it could end what holds for the other secret."""
        if keyslot not in self._proofs.slots:
            return
        for secret in self._entries.wanted:
            if secret != new_of(entry) and self._proofs.opens(secret, keyslot):
                raise Refused(
                    f"{self._proofs.label(new_of(entry))} and {self._proofs.label(secret)} derive the same key in"
                    f" keyslot {keyslot}, and {change}",
                    why="the key derivation of this keyslot does not tell them apart (PBKDF2 ignores trailing NUL bytes"
                    " and replaces a long secret by its hash), so a change for one of them affects the other",
                    remedy="keep only one of the two secrets",
                )

    def add(self, entry: Entry, keyslot: t.Optional[int]) -> None:
        label = self._proofs.label(new_of(entry))
        where = "no keyslot" if keyslot is None else f"keyslot {keyslot} is free, and {label} is wanted there"
        reason = f"{label} opens {where}" if keyslot is None else where
        self.changes.adds.append(Add(new_of(entry), keyslot, entry.position, entry.priority, reason))

    def rekey(self, entry: Entry, keyslot: int, old: t.Optional[int], *, overwrites: bool = False) -> None:
        label = self._proofs.label(new_of(entry))
        slot = self._proofs.slots[keyslot]
        priority = self._rekeyed_priority(entry, keyslot)
        replaced = "" if old is None else self._proofs.label(old)
        reason = (
            f"{label} replaces {replaced}"
            if old is not None
            else f"{label} overwrites a key that no given secret opens (force)"
        )
        own_key = not (slot.bound or overwrites)
        if own_key:
            reason += ", and the keyslot keeps its key, which is not that of the volume"
        if overwrites and slot.protected_by:
            reason += f", and the token that uses it goes ({', '.join(slot.protected_by)})"
        lost = ""
        if not overwrites and RECOVERY in slot.protected_by and new_of(entry) not in self._proofs.desired.recovery_keys:
            lost = RECOVERY
            reason += f", and the token {lost} goes, as {label} is no recovery key"
        self.changes.rekeys[keyslot] = Rekey(
            new_of(entry),
            entry.position,
            priority,
            reason,
            replaced=replaced,
            overwrites=overwrites,
            own_key=own_key,
            lost_token=lost,
        )

    def erase(self, keyslot: int, label: str, reason: str) -> None:
        """Raises Refused if an entry gives the keyslot a priority."""
        ranked = self._entries.ranked.get(keyslot)
        if ranked is not None:
            raise Refused(
                f"keyslots[{ranked.position}] gives keyslot {keyslot} a priority, and it is to be erased: {reason}",
                why="a keyslot cannot be kept and erased",
                remedy="leave out one of them",
            )
        self.changes.erases.setdefault(keyslot, (label, reason))


def slot_of(entry: Entry) -> int:
    return required(entry.keyslot)


def new_of(entry: Entry) -> int:
    return required(entry.new_secret)


def old_of(entry: Entry) -> int:
    return required(entry.old_secret)


def distinct(secrets: t.Iterable[t.Optional[int]]) -> t.List[int]:
    return list(dict.fromkeys(secret for secret in secrets if secret is not None))
