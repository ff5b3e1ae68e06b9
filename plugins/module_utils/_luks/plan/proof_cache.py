# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What the planner knows: the active keyslots and which secrets open them, asked for only when it matters."""

from __future__ import annotations

import typing as t

from ..errors import Refused, numbered
from ..task.desired import Desired
from ..unlock.verdict import Verdict
from .types import Proofs, Situation, SlotView


class ProofCache:
    """The observed keyslots as they are once an interrupted run is finished (``overlay``).

    Every answer comes from :class:`Proofs` and is remembered, so that a question is answered from known proofs first
    and by an expensive derivation only if these do not decide it.
    """

    def __init__(self, situation: Situation, desired: Desired, proofs: Proofs) -> None:
        self.desired = desired
        self.slots: t.Dict[int, SlotView] = dict(sorted(situation.slots.items()))
        self.has_key = False  # an action at the start of the plan erases the keyslot that gave it
        self._proofs = proofs
        self._known: t.Dict[t.Tuple[int, int], Verdict] = {}
        self._overlay: t.Dict[int, int] = {}

    def label(self, secret: int) -> str:
        return self.desired.labels[secret]

    def drop(self, keyslot: int) -> None:
        """Count ``keyslot`` as inactive from now on."""
        self.slots.pop(keyslot, None)

    def overlay(self, keyslot: int, secret: int, view: SlotView) -> None:
        """Count ``keyslot`` as active and opened by ``secret``, because an action at the start makes it so."""
        self.slots[keyslot] = view
        self.slots = dict(sorted(self.slots.items()))
        self._overlay[keyslot] = secret

    def verdict(self, secret: int, keyslot: int) -> Verdict:
        """Raises what :meth:`Proofs.verdict` raises."""
        if keyslot not in self.slots or not self.slots[keyslot].bound:
            return Verdict.CLOSED
        if keyslot in self._overlay:
            return Verdict.OPENS if self._overlay[keyslot] == secret else Verdict.CLOSED
        key = (secret, keyslot)
        if key not in self._known:
            self._known[key] = self._proofs.verdict(secret, keyslot)
        return self._known[key]

    def expect(self, questions: t.Iterable[t.Tuple[int, int]]) -> None:
        """Announce (secret, keyslot) that will be asked for in any case."""
        self._proofs.expect([question for question in questions if self._is_open(*question)])

    def _is_open(self, secret: int, keyslot: int) -> bool:
        return (
            keyslot in self.slots
            and self.slots[keyslot].bound
            and keyslot not in self._overlay
            and (secret, keyslot) not in self._known
        )

    def hint(self, secret: int) -> t.Optional[int]:
        """The active keyslot to try first for this secret. A hint is not a proof."""
        hint = self._proofs.hint(secret)
        return hint if hint in self.slots else None

    def opens(self, secret: int, keyslot: int) -> bool:
        """Raises what :meth:`verdict` raises."""
        return self.verdict(secret, keyslot) is Verdict.OPENS

    def is_known_to_open(self, secret: int, keyslot: int) -> bool:
        """Without asking for a proof."""
        return self._known.get((secret, keyslot)) is Verdict.OPENS

    def opens_by_name(self, secret: int, keyslot: int) -> bool:
        """Whether ``secret`` opens a keyslot that an entry names and that is not bound to the volume.

        Raises what :meth:`verdict` raises.
        """
        slot = self.slots.get(keyslot)
        return slot is not None and not slot.bound and self._proofs.opens_unbound(secret, keyslot)

    def opened_by_name_only(self, secret: int) -> str:
        """The end of a sentence on a secret that does not open the volume: which unbound keyslots it opens, or "".

        Raises what :meth:`verdict` raises.
        """
        unbound = [str(keyslot) for keyslot in self.slots if self.opens_by_name(secret, keyslot)]
        if not unbound:
            return ""
        where = " and ".join(unbound)
        return (
            f". {self.label(secret)} opens keyslot {where} only, which is not bound to the volume: name it by keyslot"
        )

    def is_settled(self, keyslot: int) -> bool:
        """An action at the start of the plan fills this keyslot, so what it held before no longer matters."""
        return keyslot in self._overlay

    def cannot_be_tried(self, keyslot: int) -> bool:
        return bool(keyslot not in self._overlay and self._proofs.why_untried(keyslot))

    def not_tried(self, among: t.Iterable[int]) -> str:
        """The end of a sentence on keyslots that do not open: ", but keyslots 0, 4 could not be tried (why)", or ""."""
        reasons: t.Dict[str, t.List[int]] = {}
        for keyslot in sorted(among):
            if keyslot in self.slots and self.slots[keyslot].bound and self.cannot_be_tried(keyslot):
                reasons.setdefault(self._proofs.why_untried(keyslot), []).append(keyslot)
        parts = [f"{numbered(numbers)} could not be tried ({reason})" for reason, numbers in reasons.items()]
        return f", but {' and '.join(parts)}" if parts else ""

    def in_order(self, secret: int, among: t.Iterable[int]) -> t.List[int]:
        """``among``, ascending, but the hinted keyslot first."""
        numbers = sorted(among)
        hint = self._proofs.hint(secret)
        if hint in numbers:
            numbers.remove(hint)
            numbers.insert(0, hint)
        return numbers

    def first_opened(
        self, secret: int, among: t.Iterable[int], *, spread: bool = False, in_vain: bool = False
    ) -> t.Optional[int]:
        """A keyslot of ``among`` that ``secret`` opens, found with as few trials as the hints allow, or None.

        spread: idle cores may try further keyslots at the same time; in_vain: from the first trial on, because the
        secret likely opens none. Raises what :meth:`verdict` raises.
        """
        numbers = self.in_order(secret, among)
        for keyslot in numbers:
            if self._known.get((secret, keyslot)) is Verdict.OPENS:
                return keyslot
        if spread:
            self._proofs.expect_search(
                secret, [keyslot for keyslot in numbers if self._is_open(secret, keyslot)], in_vain=in_vain
            )
        return next((keyslot for keyslot in numbers if self.opens(secret, keyslot)), None)

    def all_opened(self, secret: int, among: t.Iterable[int], *, needed_for: str) -> t.List[int]:
        """Every keyslot of ``among`` that ``secret`` opens, ascending.

        Raises Refused if one of them could not be tried, because it may still accept the secret, and what
        :meth:`verdict` raises.
        """
        opened = []
        numbers = sorted(among)
        for keyslot in numbers:
            verdict = self.verdict(secret, keyslot)
            if verdict is Verdict.UNTRIED:
                raise Refused(
                    f"keyslot {keyslot} could not be tried with {self.label(secret)}"
                    f" ({self._proofs.why_untried(keyslot)})",
                    why=f"{needed_for} concerns every keyslot that it opens, and an untested one may still accept it",
                    remedy=f"fix what keeps this host from trying keyslot {keyslot}, or erase it by its number",
                )
            if verdict is Verdict.OPENS:
                opened.append(keyslot)
        return opened

    def find_opener(self, among: t.Iterable[int]) -> t.Optional[t.Tuple[int, int]]:
        """(keyslot, secret) of a proven opener among these keyslots; every secret of the task counts.

        Raises what :meth:`verdict` raises.
        """
        numbers = [keyslot for keyslot in sorted(among) if keyslot in self.slots]
        known = self._known_opener(numbers)
        if known is not None:
            return known
        for secret in self._by_likelihood():
            opened = self.first_opened(secret, numbers)
            if opened is not None:
                return opened, secret
        return None

    def _known_opener(self, numbers: t.Sequence[int]) -> t.Optional[t.Tuple[int, int]]:
        for keyslot in numbers:
            if keyslot in self._overlay:
                return keyslot, self._overlay[keyslot]
        for (secret, keyslot), verdict in self._known.items():
            if verdict is Verdict.OPENS and keyslot in numbers:
                return keyslot, secret
        return None

    def can_unlock(self, among: t.Iterable[int]) -> bool:
        """Whether this run has the volume key: by a proven opener among these keyslots, or because it was given.

        A given key costs less than a search. It opens no keyslot, so that it never counts as an opener. Raises what
        :meth:`verdict` raises.
        """
        if self.has_key:
            return True
        numbers = [keyslot for keyslot in sorted(among) if keyslot in self.slots]
        if self._known_opener(numbers) is None and self.desired.volume_keys and self._proofs.given_key() is not None:
            return True
        return self.find_opener(numbers) is not None

    def did_not_unlock(self) -> str:
        """The end of a sentence on volume keys that are not the one of the volume, and failed tokens, or ""."""
        reasons = [
            f"the volume key {label} is not that of the volume ({self._proofs.why_not_key(number)})"
            for number, label in enumerate(self.desired.volume_keys)
        ]
        if self.desired.by_token:
            reasons += self._proofs.token_failures()
        return f", and {' and '.join(reasons)}" if reasons else ""

    def secret_of(self, keyslot: int) -> t.Optional[int]:
        """A secret of the task that opens ``keyslot``, or None. Raises what :meth:`verdict` raises."""
        for secret in range(len(self.desired.labels)):
            if self._known.get((secret, keyslot)) is Verdict.OPENS:
                return secret
        return next((secret for secret in self._by_likelihood() if self.opens(secret, keyslot)), None)

    def _by_likelihood(self) -> t.List[int]:
        """All secrets, those of ``unlock`` first, as they are given to open the volume, and what tokens yield last."""
        ordered = list(self.desired.unlock)
        for entry in self.desired.entries:
            ordered.extend(secret for secret in (entry.new_secret, entry.old_secret) if secret is not None)
        return sorted(dict.fromkeys(ordered), key=lambda secret: secret in self.desired.by_token)
