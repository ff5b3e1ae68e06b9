# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""From observed and desired state to the smallest safe plan. Pure: no files, no passwords, no Ansible.

The order in which entries are judged does not depend on their order in the list: named keyslots first, then secrets to
remove, secrets to replace, secrets that must merely be present, and last what ``purge`` erases.
"""

from __future__ import annotations

import itertools
import typing as t

from ..errors import Refused, shown
from ..header.foreign_tokens import SEALING
from ..header.model import PRIORITY_NORMAL, Intent, UnknownKdf
from ..required import required
from ..task.desired import ABSENT, Desired, Entry
from .claims import Claims, Entries, distinct, new_of, old_of, slot_of
from .format_limits import check_format
from .proof_cache import ProofCache
from .types import Action, ActionKind, Plan, Proofs, Situation, SlotView, WayBack

if t.TYPE_CHECKING:
    from .resume import Resumption

_MOST_OF_A_SIZE = 12


def make_plan(situation: Situation, desired: Desired, proofs: Proofs) -> Plan:
    """The plan that takes ``situation`` to ``desired``; empty if nothing needs to change.

    desired: as :mod:`.task.parse` returns it: entries do not contradict each other, and those of one secret agree on
    costs and priority.

    Raises Refused if the situation makes the task unsafe or impossible, and what :meth:`.Proofs.verdict` raises.
    """
    planner = _Planner(situation, desired, proofs)
    try:
        return planner.plan()
    except Refused as error:
        if not planner.wants_order:
            raise
        refusal = error
    copies = (False, True) if situation.way_back == WayBack.OFFERED else (False,)
    attempts = itertools.product(copies, _subsets(planner.either))
    for copy, instead in itertools.islice(attempts, 1, None):  # the first one has just failed
        try:
            return _Planner(situation, desired, proofs, instead, copy=copy).plan()
        except Refused as error:
            refusal = refusal if instead else error
    raise refusal


def _subsets(keyslots: t.Collection[int]) -> t.Iterator[t.Tuple[int, ...]]:
    """The smallest first. Of each size not more than _MOST_OF_A_SIZE, as most are alike if there are many keyslots."""
    for size in range(len(keyslots) + 1):
        yield from itertools.islice(itertools.combinations(sorted(keyslots), size), _MOST_OF_A_SIZE)


class _Planner:
    """One plan.

    either, instead: as in :class:`.replacements.Replacements`.
    copy: whether a copy of the header may be the way back.
    wants_order: whether all that a refused plan lacks is an order that is safe.
    """

    def __init__(
        self,
        situation: Situation,
        desired: Desired,
        proofs: Proofs,
        instead: t.Collection[int] = (),
        *,
        copy: bool = False,
    ) -> None:
        self.situation = situation
        self.desired = desired
        self.entries = Entries(desired)
        self.proofs = ProofCache(situation, desired, proofs)
        self.claims = Claims(self.entries, self.proofs, purge=desired.purge)
        self.changes = self.claims.changes
        self.layout = situation.layout
        self.warnings: t.List[str] = []
        self.copied = situation.way_back == WayBack.THERE
        self.copy = copy or self.copied
        self.instead = instead
        self.either: t.Collection[int] = ()
        self.wants_order = False

    def plan(self) -> Plan:
        check_format(self.situation, self.desired)
        first = self._first_actions()
        self._ranked()
        self._named_absent()
        self._ask_where_hinted()
        self._pinned_present()
        self._mark_pairs_for_erase()
        self.proofs.expect(
            (old_of(entry), keyslot) for entry in self._judged_by_secret() for keyslot in self._undecided()
        )
        replaced = {old_of(entry): self._slots_of(entry) for entry in self.entries.replacing}
        forbidden = {old_of(entry): self._slots_of(entry) for entry in self.entries.absent if entry.keyslot is None}
        self._check_proof_conflicts({**forbidden, **replaced})
        if self.entries.replacing:
            from .replacements import Replacements

            may_go = {*self.claims.marked_for_erase, *itertools.chain.from_iterable(forbidden.values())}
            replacements = Replacements(self.entries, self.proofs, self.claims, may_go, self.instead)
            replacements.apply(replaced)
            self.either = replacements.either
        self._absent_by_secret(forbidden)
        self._plain_present()
        self._purge()
        return Plan(actions=(*first, *self._ordered()), warnings=tuple(self.warnings))

    def _ordered(self) -> t.Tuple[Action, ...]:
        noted_copy = self.situation.intent is not None and bool(self.situation.intent.copy)
        if self.changes.empty:
            return self._copy_removed(self.proofs.find_opener(self.proofs.slots) is not None) if noted_copy else ()
        from .ordering import Ordering

        noted = self.situation.noted
        ordering = Ordering(self.changes, self.layout, self.proofs, self._to_open(), noted, way_back=self.copy)
        for keyslot in sorted(noted & (self.changes.erases.keys() | self.changes.rekeys.keys())):
            rekey = self.changes.rekeys.get(keyslot)
            stays = keyslot in self.situation.entries_that_stay or (rekey is not None and not rekey.overwrites)
            self.warnings.append(
                f"keyslot {keyslot} has an entry of luksmeta ({', '.join(self.proofs.slots[keyslot].protected_by)}), "
                + (
                    f"which stays and has no use any more; remove it with 'luksmeta wipe -d DEVICE -s {keyslot}'"
                    if stays
                    else "which is removed with the key that it was for"
                )
            )
        if self.situation.format == "luks2":
            self._warn_of_sealed_secrets()
        self.wants_order = True
        actions = ordering.actions_in_order()
        begun = (self._copy_action(),) if ordering.needs_way_back and not self.copied else ()
        ended = self._copy_removed(ordering.leaves_an_opener()) if begun or noted_copy else ()
        return (*begun, *actions, *ended)

    def _warn_of_sealed_secrets(self) -> None:
        for keyslot, rekey in sorted(self.changes.rekeys.items()):
            sealed = [token for token in self.proofs.slots[keyslot].protected_by if token in SEALING]
            if sealed and not rekey.overwrites and not rekey.costs_only:
                self.warnings.append(
                    f"keyslot {keyslot} is used by a token ({', '.join(sealed)}), which keeps the replaced secret and"
                    " opens nothing from now on; enrol it again with its program"
                )

    def _to_open(self) -> t.Sequence[int]:
        """The secrets that are wanted to open the volume."""
        own = [keyslot for keyslot in self.entries.pins if self.claims.has_own_key(keyslot)]
        entries = (*self.entries.pinned, *self.entries.replacing, *self.entries.plain)
        return distinct(new_of(entry) for entry in entries if entry.keyslot is None or entry.keyslot not in own)

    # A copy of the header outside of the volume, where the header alone has no safe order

    def _copy_action(self) -> Action:
        self.copied = True
        return Action(
            ActionKind.COPY_HEADER,
            None,
            "no order of these changes is safe in the header alone: a verified copy of it in"
            f" {self.desired.backup_dir} is the way back until they are done",
        )

    def _copy_removed(self, opener: bool) -> t.Tuple[Action, ...]:
        if not opener and not self.desired.allow_lockout:
            raise Refused(
                "an interrupted run left a copy of the header as the way back, and no secret of this task would open"
                " the volume without it",
                why="the copy goes when the change is done, and may be the only thing that opens the volume",
                remedy="give a secret that opens a keyslot that stays (under unlock or as a present entry),"
                " or run the task that was interrupted",
            )
        return (
            Action(
                ActionKind.REMOVE_COPY,
                None,
                f"the copy of the header in {self.desired.backup_dir} still opens with the secrets of before",
            ),
        )

    def _resumed(self, intent: Intent, actions: t.List[Action]) -> Resumption:
        """What ends the interrupted run; where only a copy of the header makes that safe, ``actions`` get it first."""
        from .resume import resume  # what an interrupted run left is rare

        if intent.copy and self.situation.way_back in (WayBack.NONE, WayBack.ELSEWHERE):
            raise self._copy_unseen()
        wanted = self.entries.wanted
        try:
            return resume(self.situation, intent, self.proofs, wanted, way_back=self.copied)
        except Refused:
            if not intent.copy or self.copied:
                raise
        if self.proofs.find_opener(self.proofs.slots) is None:
            raise self._no_way_back()
        actions.append(self._copy_action())
        self.proofs.has_key = True
        return resume(self.situation, intent, self.proofs, wanted, way_back=True)

    def _copy_unseen(self) -> Refused:
        elsewhere = self.situation.way_back == WayBack.ELSEWHERE
        if elsewhere and self.proofs.find_opener(self.proofs.slots) is None:
            return self._no_way_back()
        name, folder = self.situation.copy_name, self.desired.backup_dir
        found = "an interrupted run left a copy of the header as the way back, in the folder that it had as backup_dir:"
        found += f" the file {name}"
        if elsewhere:
            found += f", which is not in {shown(folder)}, another folder or file system"
        return Refused(
            found,
            why="the copy opens with the secrets of before, and goes with the end of that run",
            remedy=f"give the same backup_dir: 'find / -name {name}' finds it once its file system is mounted. Only"
            " if it is gone for ever, create an empty file of that name in "
            + (shown(folder) if elsewhere else "a folder, and give that as backup_dir"),
        )

    def _no_way_back(self) -> Refused:
        return Refused(
            "an interrupted run was replacing the only keyslot that could be proven, with a copy of the header as the"
            f" way back, and {self.situation.copy_fault or 'that copy is not there'}",
            why="no secret of this task opens a keyslot of the volume",
            remedy="make the file system with the copy available at backup_dir, give a secret of the time before that"
            " run under unlock, or restore a header backup (luksmith.luks.header_backup)",
        )

    # What comes before the entries: a healthy header, the end of an interrupted run

    def _first_actions(self) -> t.List[Action]:
        actions = []
        if self.situation.needs_heal:
            actions.append(
                Action(
                    ActionKind.HEAL_HEADER,
                    None,
                    "one copy of the header is damaged, stale or different and is rewritten from the good one",
                )
            )
        if self.situation.intent is not None:
            ended = self._resumed(self.situation.intent, actions)
            self.layout = ended.layout
            refilled = self._refill(ended.refill) if ended.refill is not None else None
            action = refilled or ended.action
            actions += [] if action is None else [action]
            if self.situation.intent.copy and not self.copied and not self.proofs.can_unlock(self.proofs.slots):
                raise self._no_way_back()
        return actions

    def _refill(self, keyslot: int) -> t.Optional[Action]:
        """An interrupted in-place rekey erased the keyslot of the old secret: its entry may still fill it."""
        for entry in self.entries.replacing:
            new, old = new_of(entry), old_of(entry)
            if keyslot in self.entries.pins or self.claims.provided(new, but=entry):
                continue
            if (
                self.proofs.first_opened(new, self.proofs.slots) is not None
                or self.proofs.first_opened(old, self.proofs.slots) is not None
            ):
                continue
            extent = self.layout.place(keyslot)
            if extent is None or not self.proofs.can_unlock(self.proofs.slots):
                continue
            self.layout = self.layout.with_slot(keyslot, extent)
            self.proofs.overlay(
                keyslot, new, SlotView(keyslot, UnknownKdf("set at apply"), priority=entry.priority or PRIORITY_NORMAL)
            )
            return Action(
                ActionKind.REKEY,
                keyslot,
                f"an interrupted run erased keyslot {keyslot} to give it a new secret",
                label=self.proofs.label(new),
                secret=new,
                entry=entry.position,
                priority=entry.priority,
                in_place=True,
                resume=True,
            )
        return None

    # Entries, from the most to the least specific

    def _ranked(self) -> None:
        for keyslot, entry in self.entries.ranked.items():
            if keyslot not in self.proofs.slots:
                raise Refused(
                    f"keyslots[{entry.position}] gives keyslot {keyslot} a priority, but it is not active",
                    why="without new_secret there is nothing to put there",
                    remedy="correct the number, or give new_secret",
                )
            if self.proofs.slots[keyslot].priority != entry.priority:
                self.changes.priorities[keyslot] = required(entry.priority)

    def _named_absent(self) -> None:
        for entry in self.entries.absent:
            if entry.keyslot is not None and entry.old_secret is None:
                self.changes.never_fill.add(entry.keyslot)
                if entry.keyslot in self.proofs.slots:
                    wants = entry.because or f"wants keyslot {entry.keyslot} absent"
                    self.claims.erase(entry.keyslot, "", f"keyslots[{entry.position}] {wants}")

    def _ask_where_hinted(self) -> None:
        """Try each wanted secret on its named or hinted keyslot, all together, since these questions come first anyway.

        A secret found there makes every trial of another secret on that keyslot unnecessary, hence before the searches.
        """
        questions = [self._first_question(entry) for entry in self.entries.pinned]
        named = {new_of(entry) for entry in self.entries.pinned}
        for entry in (*self.entries.replacing, *self.entries.plain):
            hint = self.proofs.hint(new_of(entry))
            if hint is not None and new_of(entry) not in named and hint not in self.changes.never_fill:
                questions.append((new_of(entry), hint))
        self.proofs.expect(questions)
        for secret, keyslot in questions:
            if keyslot in self.proofs.slots:
                self.proofs.opens(secret, keyslot)

    def _first_question(self, entry: Entry) -> t.Tuple[int, int]:
        """The old secret first, unless a hint suggests the new one: the one that opens it answers for the other."""
        keyslot, new = slot_of(entry), new_of(entry)
        if entry.old_secret is None or self.proofs.hint(new) == keyslot:
            return new, keyslot
        return entry.old_secret, keyslot

    def _judged_by_secret(self) -> t.List[Entry]:
        return [*self.entries.replacing, *(entry for entry in self.entries.absent if entry.keyslot is None)]

    def _pinned_present(self) -> None:
        for entry in self.entries.pinned:
            keyslot, new = slot_of(entry), new_of(entry)
            if keyslot in self.changes.rekeys:
                continue
            self.claims.claimed.add(keyslot)
            if keyslot not in self.proofs.slots:
                if not any(add.keyslot == keyslot for add in self.changes.adds):
                    self.claims.add(entry, keyslot)
            elif self._opens_by_name(new, keyslot):
                self.claims.keep(entry, keyslot)
            else:
                self._rekey_occupied(entry)
            if self.claims.has_own_key(keyslot):
                label = self.proofs.label(new)
                self.warnings.append(f"keyslot {keyslot} is not bound to the volume: {label} opens another key there")

    def _opens_by_name(self, secret: int, keyslot: int) -> bool:
        """Whether ``secret`` opens a keyslot that entries name: to the volume, or to the key that they are about."""
        if self.claims.has_own_key(keyslot):
            return self.proofs.opens_by_name(secret, keyslot)
        return self.proofs.opens(secret, keyslot)

    def _rekey_occupied(self, entry: Entry) -> None:
        keyslot = slot_of(entry)
        peers = [other for other in self.entries.pinned if other.keyslot == keyslot]
        replaces = keyslot in self.entries.replaced_by_name
        if self.proofs.cannot_be_tried(keyslot) and (replaces or not self.desired.force):
            raise Refused(
                f"keyslot {keyslot} is in use{self.proofs.not_tried([keyslot])}",
                why="this host cannot tell which secret opens it",
                remedy="fix what keeps this host from trying it, choose another keyslot, or overwrite it"
                " (force: true without old_secret)",
            )
        for old in distinct(peer.old_secret for peer in peers):
            if self._opens_by_name(old, keyslot):
                return self.claims.rekey(entry, keyslot, old)
        if replaces:
            labels = ", ".join(self.proofs.label(old_of(peer)) for peer in peers)
            raise Refused(
                f"keyslot {keyslot} is in use, and neither {self.proofs.label(new_of(entry))} nor {labels} opens it",
                why="another secret opens it, or old_secret is wrong",
                remedy="correct old_secret, or choose another keyslot",
            )
        # A secret under unlock only unlocks: that it is known does not say that its key may go.
        removed = distinct(other.old_secret for other in self.desired.entries if other.keyslot in (None, keyslot))
        may_go = [secret for secret in removed if secret not in self.entries.wanted]
        known = distinct([*may_go, *(other.old_secret for other in self.desired.entries), *self.desired.unlock])
        opener = next((secret for secret in known if self.proofs.opens(secret, keyslot)), None)
        if self.desired.force or opener in may_go:
            return self.claims.rekey(entry, keyslot, opener, overwrites=opener not in may_go)
        new = self.proofs.label(new_of(entry))
        if not self.proofs.slots[keyslot].bound:
            unbound = next((one for one in (new_of(entry), *known) if self.proofs.opens_by_name(one, keyslot)), None)
            who = "no secret opens the volume" if unbound is None else f"{self.proofs.label(unbound)} opens another key"
            raise Refused(
                f"keyslot {keyslot} is in use, and not bound to the volume: {who} there",
                why="overwriting it would destroy the other key that it holds",
                remedy="give the secret that opens it as old_secret too, which replaces that secret and keeps that key;"
                f" choose another keyslot for {new}; or overwrite this one with force: true",
            )
        if opener is None:
            raise Refused(
                f"keyslot {keyslot} is in use, and neither {new} nor an unlock secret opens it",
                why="overwriting it would destroy a key that no given secret opens",
                remedy="give the secret that opens it as old_secret, choose another keyslot, or overwrite it with"
                " force: true",
            )
        label = self.proofs.label(opener)
        wanted = ", which another entry wants present" if opener in self.entries.wanted else ""
        raise Refused(
            f"keyslot {keyslot} opens with {label}{wanted}",
            why=f"giving keyslot {keyslot} to {new} would destroy that key, and no entry says that it may go",
            remedy=f"give {label} as old_secret of this entry to replace it, choose another keyslot,"
            " or overwrite it with force: true",
        )

    def _mark_pairs_for_erase(self) -> None:
        """Keyslots named with a secret that must not open them: erased unless a rekey gives them another secret."""
        for entry in self.entries.absent:
            if entry.keyslot is None or entry.old_secret is None:
                continue
            self.changes.never_hold.add((entry.keyslot, entry.old_secret))
            if entry.keyslot in self._undecided() and (
                self.proofs.opens_by_name(entry.old_secret, entry.keyslot)
                or self.proofs.all_opened(entry.old_secret, [entry.keyslot], needed_for=f"keyslots[{entry.position}]")
            ):
                if entry.keyslot in self.entries.pins:
                    raise self._same_key_refused(entry.keyslot, entry.old_secret, self.entries.pins[entry.keyslot])
                label = self.proofs.label(entry.old_secret)
                self.claims.marked_for_erase[entry.keyslot] = (
                    label,
                    f"keyslots[{entry.position}] wants {label} out of keyslot {entry.keyslot}",
                )

    def _slots_of(self, entry: Entry) -> t.List[int]:
        """Keyslots that the old secret of ``entry`` opens, except those that entries have decided by number."""
        doing = "absent" if entry.state == ABSENT else "replaces " + self.proofs.label(old_of(entry))
        return self.proofs.all_opened(
            old_of(entry), self._undecided(), needed_for=f"keyslots[{entry.position}] ({doing})"
        )

    def _undecided(self) -> t.List[int]:
        decided = self.changes.never_fill | (set(self.changes.rekeys) - self.claims.new_costs)
        return [keyslot for keyslot in self.proofs.slots if keyslot not in decided]

    def _absent_by_secret(self, forbidden: t.Mapping[int, t.Sequence[int]]) -> None:
        """Erase where a forbidden secret opens, unless an earlier entry rekeys the keyslot to another secret."""
        for entry in self.entries.absent:
            if entry.keyslot is None:
                label = self.proofs.label(old_of(entry))
                for keyslot in forbidden[old_of(entry)]:
                    if keyslot not in self.changes.rekeys:
                        self.claims.erase(keyslot, label, f"keyslots[{entry.position}] wants {label} to open nothing")
        for keyslot, (label, reason) in self.claims.marked_for_erase.items():
            if keyslot not in self.changes.rekeys:
                self.claims.erase(keyslot, label, reason)

    def _check_proof_conflicts(self, removed: t.Mapping[int, t.Sequence[int]]) -> None:
        for old, keyslots in removed.items():
            for keyslot in keyslots:
                for secret in self.entries.wanted:
                    if secret != old and self.proofs.opens(secret, keyslot):
                        raise self._same_key_refused(keyslot, old, secret)

    def _same_key_refused(self, keyslot: int, removed: int, kept: int) -> Refused:
        return Refused(
            f"{self.proofs.label(removed)} (to remove) and {self.proofs.label(kept)} (to keep) derive the same key in"
            f" keyslot {keyslot}",
            why="the key derivation of this keyslot does not tell them apart"
            " (PBKDF2 ignores trailing NUL bytes and replaces a long secret by its hash)",
            remedy="choose a new secret that differs from the old one",
        )

    def _plain_present(self) -> None:
        for entry in self.entries.plain:
            if not self.claims.claim_and_keep(entry) and not self.claims.will_open(new_of(entry)):
                self.claims.add(entry, None)

    def _purge(self) -> None:
        if not self.desired.purge:
            return
        for keyslot, slot in self.proofs.slots.items():
            if keyslot in self.claims.claimed or keyslot in self.changes.erases or keyslot in self.changes.rekeys:
                continue
            if not slot.bound:
                self.warnings.append(
                    f"keyslot {keyslot} is not bound to the volume and stays; name it by keyslot to erase it"
                )
            elif slot.protected_by:
                self.warnings.append(
                    f"keyslot {keyslot} is used by a token ({', '.join(slot.protected_by)}) and stays, with its key; "
                    f"name it by keyslot to erase it ({{state: absent, keyslot: {keyslot}}})"
                )
            elif self.proofs.cannot_be_tried(keyslot):
                self.warnings.append(
                    f"keyslot {keyslot} could not be tried with any secret and stays, "
                    "although no entry names it; name it by keyslot to erase it"
                )
            else:
                self.claims.erase(keyslot, "", "purge: no entry claims it")
