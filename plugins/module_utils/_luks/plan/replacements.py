# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Entries that replace one secret by another, wherever the old one opens."""

from __future__ import annotations

import typing as t

from ..errors import Refused
from ..task.desired import Entry
from .claims import Claims, Entries, distinct, new_of, old_of
from .proof_cache import ProofCache


class Replacements:
    """What the entries with ``old_secret`` and ``new_secret`` and no number change.

    may_go: keyslots that another entry lets be erased. either: those that satisfy the entries with the new secret and
    erased, so that the choice may decide whether a safe order exists. instead: those of them for which the usual choice
    is not taken.
    """

    def __init__(
        self,
        entries: Entries,
        proofs: ProofCache,
        claims: Claims,
        may_go: t.Collection[int],
        instead: t.Collection[int],
    ) -> None:
        self.entries = entries
        self.proofs = proofs
        self.claims = claims
        self.changes = claims.changes
        self.purge = proofs.desired.purge
        self.may_go = set(may_go)
        self.instead = instead
        self.either: t.Set[int] = set()

    def apply(self, replaced: t.Mapping[int, t.Sequence[int]]) -> None:
        """replaced: old secret -> the keyslots that it opens and that no entry names.

        Raises Refused if two entries want one keyslot, or an entry has nothing to replace, and what
        :meth:`.Proofs.verdict` raises.
        """
        entries = self.entries.replacing
        in_vain = {
            new: any(replaced[old_of(entry)] for entry in entries if new_of(entry) == new)
            for new in distinct(entry.new_secret for entry in entries)
        }
        opened_before = {new: self.claims.opened_and_staying(new, in_vain=likely) for new, likely in in_vain.items()}
        self._check_one_new(replaced, opened_before)
        for entry in entries:
            if new_of(entry) != old_of(entry) and opened_before[new_of(entry)] is not None:
                self.may_go.update(replaced[old_of(entry)])
        left: t.List[Entry] = []
        # New costs last: a secret that another entry brings somewhere has them there.
        for entry in sorted(
            entries,
            key=lambda entry: (new_of(entry) == old_of(entry), self._first(entry, replaced[old_of(entry)])),
        ):
            new, old = new_of(entry), old_of(entry)
            if new == old:
                self._replace_costs(entry, replaced[old])
            elif opened_before[new] is not None:
                label = self.proofs.label(old)
                reason = f"{self.proofs.label(new)}, which replaces {label}, already opens keyslot {opened_before[new]}"
                for keyslot in replaced[old]:
                    if keyslot not in self.changes.rekeys:  # another entry gives it another secret
                        self.claims.erase(keyslot, label, reason)
                self.claims.claim_and_keep(entry)
            elif replaced[old] or self.claims.opens_anything(old) or self.claims.opens_anything(new):
                self._rekey_all(entry, replaced[old])
                left.append(entry)
            elif not self.claims.provided(new, but=entry):
                raise Refused(
                    f"neither {self.proofs.label(old)} nor {self.proofs.label(new)} opens any keyslot"
                    f"{self.proofs.not_tried(self.proofs.slots)}{self.proofs.opened_by_name_only(old)}",
                    why=f"there is nothing that keyslots[{entry.position}] could replace",
                    remedy="correct old_secret, add an entry with the old_secret that works today,"
                    " or leave old_secret out to add the new one",
                )
        for entry in left:
            if not self.claims.will_open(new_of(entry)):
                self.claims.add(entry, None)

    def _first(self, entry: Entry, keyslots: t.Sequence[int]) -> int:
        """The lowest of the keyslots that the new secret may get; behind all others without one."""
        may_hold = [keyslot for keyslot in keyslots if (keyslot, new_of(entry)) not in self.changes.never_hold]
        return min(may_hold, default=max(self.proofs.slots, default=0) + 1)

    def _check_one_new(
        self, replaced: t.Mapping[int, t.Sequence[int]], opened_before: t.Mapping[int, t.Optional[int]]
    ) -> None:
        """Raises Refused if two secrets are to replace what one keyslot has, and open nothing else."""
        news: t.Dict[int, int] = {}
        for entry in self.entries.replacing:
            new, old = new_of(entry), old_of(entry)
            if new == old or opened_before[new] is not None or (self.purge and self.claims.named_for(new)):
                continue
            for keyslot in replaced[old]:
                if (keyslot, new) in self.changes.never_hold:
                    continue
                if news.setdefault(keyslot, new) != new:
                    both = " and by ".join(self.proofs.label(secret) for secret in (news[keyslot], new))
                    raise Refused(
                        f"keyslot {keyslot} opens with {self.proofs.label(old)}, which is replaced by {both}",
                        why="one keyslot cannot hold both",
                        remedy="name the keyslot of each, or leave old_secret out of one of them",
                    )

    def _rekey_all(self, entry: Entry, keyslots: t.Sequence[int]) -> None:
        """Give every keyslot of the old secret the new one; with ``purge`` only one keyslot."""
        new, label = new_of(entry), self.proofs.label(old_of(entry))
        for keyslot in keyslots:
            if keyslot in self.changes.rekeys and keyslot not in self.claims.new_costs:
                continue
            if self._is_erased(keyslot, new, keyslots):
                why = f"{label} is replaced by {self.proofs.label(new)} in another keyslot"
                self.claims.erase(keyslot, label, why)
            else:
                self.changes.erases.pop(keyslot, None)  # where the new secret of another entry opens another keyslot
                self.claims.rekey(entry, keyslot, old_of(entry))
                self.claims.claimed.add(keyslot)

    def _is_erased(self, keyslot: int, new: int, keyslots: t.Sequence[int]) -> bool:
        """Whether this one of the keyslots of an old secret goes, as another one has the new secret."""
        if (keyslot, new) in self.changes.never_hold:
            return True
        if keyslot in self.entries.ranked:
            return False
        if self.purge and self._has_a_slot(new):
            named = self.claims.named_for(new)
            if named and keyslot < min(named) and keyslot == min(keyslots):
                self.either.add(keyslot)
            return keyslot not in self.instead
        if keyslot in self.may_go:
            self.either.add(keyslot)
            return keyslot in self.instead and (self._has_a_slot(new) or not set(keyslots) <= set(self.instead))
        return False

    def _has_a_slot(self, secret: int) -> bool:
        return bool(self.claims.named_for(secret) or self.claims.rekeyed_to(secret))

    def _replace_costs(self, entry: Entry, slots: t.Sequence[int]) -> None:
        """Old and new are one secret: change the costs of every keyslot of it that stays; with ``purge`` only one."""
        new = new_of(entry)
        if not slots and not self.claims.opens_anything(new) and not self.claims.provided(new, but=entry):
            raise Refused(
                f"{self.proofs.label(new)} opens no keyslot{self.proofs.not_tried(self.proofs.slots)}",
                why="there is no keyslot whose costs could be changed",
                remedy="leave old_secret out to add it",
            )
        kept = [
            keyslot
            for keyslot in slots
            if keyslot not in self.claims.marked_for_erase and (keyslot, new) not in self.changes.never_hold
        ]
        staying = [] if self.purge else kept
        for keyslot in staying:
            self.claims.claimed.add(keyslot)
            self.claims.keep(entry, keyslot)
        if not staying and not self.claims.claim_and_keep(entry) and not self.claims.will_open(new):
            self.claims.add(entry, None)
