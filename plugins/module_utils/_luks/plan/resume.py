# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""How an interrupted run is finished: the intent found in the header becomes an action at the start of the plan.

After it the keyslots are as if the earlier run had completed or had never begun, and the entries are judged on that.
The secret of the earlier run is not stored anywhere; only a secret of this task can continue a rekey.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import Refused
from ..header.model import Intent, IntentKind, Layout
from .proof_cache import ProofCache
from .types import Action, ActionKind, Situation, SlotView


@dataclasses.dataclass(frozen=True)
class Resumption:
    """``layout``: the areas after ``action``, which is None if nothing is half done.

    refill: the keyslot that an interrupted in-place rekey freed.
    """

    action: t.Optional[Action]
    layout: Layout
    refill: t.Optional[int] = None


def resume(
    situation: Situation, intent: Intent, proofs: ProofCache, wanted: t.Collection[int], *, way_back: bool = False
) -> Resumption:
    """Plan the end of what ``intent`` says was interrupted, and update ``proofs``.

    ``wanted``: secrets that the task keeps; ``way_back``: a copy of the header keeps the volume open. Raises Refused if
    the end needs another secret or another version of the collection, and what :meth:`.ProofCache.verdict` raises.
    """
    return _Resume(situation, intent, proofs, wanted, way_back).result()


class _Resume:
    def __init__(
        self, situation: Situation, intent: Intent, proofs: ProofCache, wanted: t.Collection[int], way_back: bool
    ) -> None:
        self.situation = situation
        self.intent = intent
        self.proofs = proofs
        self.wanted = wanted
        self.way_back = way_back
        self.layout = situation.layout._replace(held=())

    def result(self) -> Resumption:
        kind, keyslot = self.intent.kind, self.intent.keyslot
        if kind == IntentKind.COPIED:
            return Resumption(None, self.layout)
        if kind == IntentKind.WIPE:
            return self._journal_only(
                f"an interrupted run left the old key material of keyslot {keyslot} unwiped", keyslot
            )
        if kind == IntentKind.ERASE:
            return self._finish_erase(keyslot, f"an interrupted run was erasing keyslot {keyslot}")
        if kind == IntentKind.REPLACE_ERASE:
            ended = self._finish_erase(keyslot, f"an interrupted run was erasing keyslot {keyslot} to fill it again")
            return dataclasses.replace(ended, refill=keyslot)
        if kind == IntentKind.REPLACE_FILL:
            filled = keyslot in self.proofs.slots
            ended = self._journal_only(f"an interrupted run was filling keyslot {keyslot}", keyslot)
            return ended if filled else dataclasses.replace(ended, refill=keyslot)
        if kind == IntentKind.MOVE_ADD:
            return self._move_not_begun()
        if kind == IntentKind.MOVE_ERASE:
            return self._move_half_way()
        if kind == IntentKind.MOVE_FILL:
            if keyslot in self.proofs.slots:
                temporary_slot = self._temporary_slot()
                return self._finish_erase(
                    temporary_slot,
                    f"an interrupted rekey of keyslot {keyslot} left its copy in keyslot {temporary_slot}",
                )
            return self._move_half_way()
        raise Refused(
            f"an interrupted run left a journal entry of the unknown kind {str(kind)!r} in the header",
            why="its change must be finished first, and this version cannot do that",
            remedy="use the newer version of luksmith.luks that began it",
        )

    def _temporary_slot(self) -> int:
        if self.intent.temporary_slot is None:
            raise Refused(
                f"the journal entry of an interrupted rekey of keyslot {self.intent.keyslot} has no temporary slot",
                why="without it the rekey cannot be finished safely",
                remedy="inspect the volume with luksmith.luks.keyslots_info",
            )
        return self.intent.temporary_slot

    def _journal_only(self, reason: str, keyslot: t.Optional[int]) -> Resumption:
        return Resumption(Action(ActionKind.FINISH_ERASE, keyslot, reason, resume=True), self.layout)

    def _finish_erase(self, keyslot: int, reason: str) -> Resumption:
        if keyslot in self.proofs.slots:
            others = [number for number in self.proofs.slots if number != keyslot]
            allowed = self.way_back or self.proofs.desired.allow_lockout
            if not allowed and self.proofs.find_opener(others) is None:
                raise Refused(
                    f"{reason}, and no secret of this task opens any other keyslot",
                    why="the erase must be finished first, which is safe only if another keyslot is proven to open",
                    remedy="give a secret that opens another keyslot under unlock, or set allow_lockout: true",
                )
            self.proofs.drop(keyslot)
            self.layout = self.layout.without_slot(keyslot)
        return Resumption(Action(ActionKind.FINISH_ERASE, keyslot, reason, resume=True), self.layout)

    def _move_not_begun(self) -> Resumption:
        """``keyslot`` still holds its old secret; the temporary slot may or may not be active with the new one."""
        keyslot, temporary_slot = self.intent.keyslot, self._temporary_slot()
        reason = f"an interrupted run was about to rekey keyslot {keyslot} through keyslot {temporary_slot}"
        if temporary_slot not in self.proofs.slots:
            return self._journal_only(reason, temporary_slot)
        copy = self.proofs.secret_of(temporary_slot)
        # Going back loses nothing while another keyslot opens; going on is right only if no entry keeps the old secret.
        others = [number for number in self.proofs.slots if number != temporary_slot]
        old_is_wanted = any(self.proofs.opens(secret, keyslot) for secret in self.wanted)
        if copy is not None and copy in self.wanted and not old_is_wanted:
            return self._continue(copy, reason)
        if self.proofs.find_opener(others) is not None:
            return self._finish_erase(temporary_slot, reason)
        if copy is not None and not old_is_wanted:
            return self._continue(copy, reason)
        return self._finish_erase(temporary_slot, reason)

    def _move_half_way(self) -> Resumption:
        """``keyslot`` is being wiped or empty. The temporary slot keeps the new secret if the task does not give it."""
        keyslot, temporary_slot = self.intent.keyslot, self._temporary_slot()
        reason = f"an interrupted run was rekeying keyslot {keyslot} through keyslot {temporary_slot}"
        copy = self.proofs.secret_of(temporary_slot) if temporary_slot in self.proofs.slots else None
        if copy is not None:
            return self._continue(copy, reason)
        return self._finish_erase(keyslot, reason)

    def _continue(self, secret: int, reason: str) -> Resumption:
        keyslot, temporary_slot = self.intent.keyslot, self._temporary_slot()
        view = self.proofs.slots[temporary_slot]
        self.proofs.drop(temporary_slot)
        self.proofs.overlay(keyslot, secret, SlotView(number=keyslot, kdf=view.kdf, bound=True, priority=view.priority))
        extent = self.situation.layout.taken.get(keyslot) or self.layout.without_slot(keyslot).place(keyslot)
        layout = self.layout.without_slot(temporary_slot)
        self.layout = layout.with_slot(keyslot, extent) if extent else layout
        action = Action(
            ActionKind.REKEY,
            keyslot,
            reason,
            label=self.proofs.label(secret),
            secret=secret,
            resume=True,
            temporary_slot=temporary_slot,
        )
        return Resumption(action, self.layout)
