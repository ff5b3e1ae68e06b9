# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""How an interrupted run ends: the intent found in the header becomes the first action of the plan.

After it the slots are as if the earlier run had completed or had never begun, and the entries are judged on that.
Which secret the earlier run was about is not stored anywhere; only a secret of this task can carry a rekey on.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import Refused
from ..header.model import (
    INTENT_ERASE,
    INTENT_HOP_ADD,
    INTENT_HOP_ERASE,
    INTENT_HOP_FILL,
    INTENT_REPLACE_ERASE,
    INTENT_REPLACE_FILL,
    INTENT_WIPE,
    Intent,
    Layout,
)
from .proof_cache import Knowledge
from .types import FINISH_ERASE, REKEY, Action, Situation, SlotView


@dataclasses.dataclass(frozen=True)
class Resumption:
    """action: the first action of the plan. layout: areas after it. refill: slot that a cut in-place rekey left free."""

    action: Action
    layout: Layout
    refill: t.Optional[int] = None


def resume(situation: Situation, intent: Intent, knowledge: Knowledge, wanted: t.Collection[int]) -> Resumption:
    """End what ``intent`` says was interrupted; ``knowledge`` is updated. Raises Refused where that needs another secret."""
    return _Resume(situation, intent, knowledge, wanted).result()


class _Resume:
    def __init__(self, situation: Situation, intent: Intent, knowledge: Knowledge, wanted: t.Collection[int]) -> None:
        self.situation = situation
        self.intent = intent
        self.knowledge = knowledge
        self.wanted = wanted
        self.layout = dataclasses.replace(situation.layout, held=())

    def result(self) -> Resumption:
        kind, keyslot = self.intent.kind, self.intent.keyslot
        if kind == INTENT_WIPE:
            return self._note_only(f"an interrupted run left the old key material of keyslot {keyslot} unwiped", keyslot)
        if kind == INTENT_ERASE:
            return self._finish_erase(keyslot, f"an interrupted run was erasing keyslot {keyslot}")
        if kind == INTENT_REPLACE_ERASE:
            ended = self._finish_erase(keyslot, f"an interrupted run was erasing keyslot {keyslot} to fill it again")
            return dataclasses.replace(ended, refill=keyslot)
        if kind == INTENT_REPLACE_FILL:
            filled = keyslot in self.knowledge.slots
            ended = self._note_only(f"an interrupted run was filling keyslot {keyslot}", keyslot)
            return ended if filled else dataclasses.replace(ended, refill=keyslot)
        if kind == INTENT_HOP_ADD:
            return self._hop_not_begun()
        if kind == INTENT_HOP_ERASE:
            return self._hop_half_way()
        if kind == INTENT_HOP_FILL:
            if keyslot in self.knowledge.slots:
                return self._finish_erase(self._via(), f"an interrupted rekey of keyslot {keyslot} left its copy in keyslot {self._via()}")
            return self._hop_half_way()
        raise Refused(
            f"an interrupted run left a note of the unknown kind {kind!r} in the header",
            why="what it was doing must be finished first, and this version does not know how",
            remedy="run the newer version of luksmith.luks that began it",
        )

    def _via(self) -> int:
        if self.intent.via is None:
            raise Refused(
                f"the note of an interrupted rekey of keyslot {self.intent.keyslot} does not say through which keyslot it went",
                why="finishing it would be guessing",
                remedy="inspect the volume with keyslots_info",
            )
        return self.intent.via

    def _note_only(self, reason: str, keyslot: t.Optional[int]) -> Resumption:
        return Resumption(Action(FINISH_ERASE, keyslot, reason, resume=True), self.layout)

    def _finish_erase(self, keyslot: int, reason: str) -> Resumption:
        if keyslot in self.knowledge.slots:
            others = [number for number in self.knowledge.slots if number != keyslot]
            if self.knowledge.find_opener(others) is None and not self.knowledge.desired.allow_lockout:
                raise Refused(
                    f"{reason}, and no secret of this task opens any other keyslot",
                    why="the erase must be finished first, and that is safe only with a proof that another keyslot stays usable",
                    remedy="give a secret that opens another keyslot under unlock, or consent with allow_lockout: true",
                )
            self.knowledge.drop(keyslot)
            self.layout = self.layout.without_slot(keyslot)
        return Resumption(Action(FINISH_ERASE, keyslot, reason, resume=True), self.layout)

    def _hop_not_begun(self) -> Resumption:
        """``keyslot`` still holds its old secret; the copy of the new one in ``via`` may or may not be active."""
        keyslot, via = self.intent.keyslot, self._via()
        reason = f"an interrupted run was about to rekey keyslot {keyslot} through keyslot {via}"
        if via not in self.knowledge.slots:
            return self._note_only(reason, via)
        copy = self.knowledge.secret_of(via)
        # Going back loses nothing as long as something else opens; going on is right only if nobody asks for the old secret.
        others = [number for number in self.knowledge.slots if number != via]
        old_is_wanted = any(self.knowledge.opens(secret, keyslot) for secret in self.wanted)
        if copy is not None and copy in self.wanted and not old_is_wanted:
            return self._carry_on(copy, reason)
        if self.knowledge.find_opener(others) is not None:
            return self._finish_erase(via, reason)
        if copy is not None and not old_is_wanted:
            return self._carry_on(copy, reason)
        return self._finish_erase(via, reason)

    def _hop_half_way(self) -> Resumption:
        """``keyslot`` is being wiped or is empty; ``via`` holds the new secret and stays if nobody can say which it is."""
        keyslot, via = self.intent.keyslot, self._via()
        reason = f"an interrupted run was rekeying keyslot {keyslot} through keyslot {via}"
        copy = self.knowledge.secret_of(via) if via in self.knowledge.slots else None
        if copy is not None:
            return self._carry_on(copy, reason)
        return self._finish_erase(keyslot, reason)

    def _carry_on(self, secret: int, reason: str) -> Resumption:
        keyslot, via = self.intent.keyslot, self._via()
        view = self.knowledge.slots[via]
        self.knowledge.drop(via)
        self.knowledge.overlay(keyslot, secret, SlotView(number=keyslot, kdf=view.kdf, bound=True, priority=view.priority))
        extent = self.situation.layout.taken.get(keyslot) or self.layout.without_slot(keyslot).place(keyslot)
        layout = self.layout.without_slot(via)
        self.layout = layout.with_slot(keyslot, extent) if extent else layout
        action = Action(REKEY, keyslot, reason, label=self.knowledge.label(secret), secret=secret, resume=True, via=via)
        return Resumption(action, self.layout)
