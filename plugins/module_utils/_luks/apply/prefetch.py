# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Keys of new keyslots, derived before the locks are taken, and beside the trial of the old secret if that saves time.

Nothing is then derived under the exclusive lock of a volume, so that others wait for writes only.
"""

from __future__ import annotations

import typing as t

from ..crypto import kdf
from ..errors import LuksmithError
from ..header.model import Header, Kdf, Keyslot, UnknownKdf
from ..plan.types import Action, KdfChoice
from ..required import required
from ..task.desired import PRESENT, Desired
from ..unlock.derivations import Derivations, Question
from .keyslot_writer import choice_if_opened, key_length

_Place = t.Tuple[int, int]  # secret, keyslot


class Prefetch:
    """``record``: salts of LUKS1 may carry labels. ``memory_limit``: KiB that Argon2 may use if no cost is given."""

    def __init__(self, derivations: Derivations, desired: Desired, memory_limit: int, *, record: bool) -> None:
        self._derivations = derivations
        self._desired = desired
        self._memory_limit = memory_limit
        self._record = record
        self._early: t.Dict[_Place, t.Tuple[KdfChoice, Question]] = {}

    def begin(self, header: Header, hints: t.Mapping[int, int]) -> None:
        """Derive the new key of a likely rekey beside the trial of its old secret, if cores would be idle otherwise.

        A rekey is likely if its keyslot is named, hinted or the only one, unless a hint says that the new secret is
        there. The work is wasted if the old secret does not open the keyslot. Raises nothing on purpose.
        """
        for entry in self._desired.entries:
            if (
                entry.state != PRESENT
                or entry.old_secret is None
                or entry.old_secret == entry.new_secret
                or required(entry.new_secret) in hints
            ):
                continue
            keyslot = entry.keyslot if entry.keyslot is not None else hints.get(entry.old_secret, _only(header))
            slot = header.keyslots.get(-1 if keyslot is None else keyslot)
            if (
                slot is None
                or not slot.bound
                or isinstance(slot.kdf, UnknownKdf)
                or (required(entry.new_secret), slot.number) in self._early
            ):
                continue
            choice = self._affordable_choice(entry.position, slot, header)
            if choice is None:
                continue
            question = (required(entry.new_secret), choice.kdf, key_length(header, slot.number, choice.kdf))
            self._early[required(entry.new_secret), slot.number] = (choice, question)
            self._derivations.prepare(question, early=True)

    def _affordable_choice(self, entry: int, slot: Keyslot, header: Header) -> t.Optional[KdfChoice]:
        budget = self._derivations.budget
        choice = choice_if_opened(
            entry, slot.number, header, self._desired, self._memory_limit, budget, record=self._record
        )
        try:
            if choice is None or kdf.lanes(slot.kdf) + kdf.lanes(choice.kdf) > self._derivations.workers.cores:
                return None
            kdf.check(choice.kdf, budget=budget)
        except LuksmithError:  # planning reports it if the plan needs this key
            return None
        return choice

    def settle(
        self, header: Header, choices: t.Mapping[Action, KdfChoice]
    ) -> t.Tuple[t.Dict[Action, KdfChoice], t.List[Question]]:
        """``choices`` with the salts of keys derived or under way where possible, and all keys that they need.

        Raises Refused if the format cannot hold a keyslot of a choice.
        """
        settled: t.Dict[Action, KdfChoice] = {}
        questions = []
        for place in set(self._early) - {(required(action.secret), required(action.keyslot)) for action in choices}:
            self._derivations.give_up(self._early.pop(place)[1])
        for action, choice in choices.items():
            place = (required(action.secret), required(action.keyslot))
            early, question = self._early.pop(place, (None, None))
            if early is not None and question is not None and _alike(early.kdf, choice.kdf):
                settled[action] = early
            else:
                settled[action] = choice
                if question is not None:
                    self._derivations.give_up(question)
                question = (
                    required(action.secret),
                    choice.kdf,
                    key_length(header, required(action.keyslot), choice.kdf),
                )
            questions.append(question)
            self._early[place] = (settled[action], question)  # a new plan under the lock mostly needs the same keys
        return settled, questions


def _only(header: Header) -> t.Optional[int]:
    return next(iter(header.keyslots)) if len(header.keyslots) == 1 else None


def _alike(one: Kdf, other: Kdf) -> bool:
    """The same costs, whatever the salts."""
    if isinstance(one, UnknownKdf) or isinstance(other, UnknownKdf):
        return False
    return one._replace(salt=b"") == other._replace(salt=b"")
