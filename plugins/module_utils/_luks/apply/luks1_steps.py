# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The actions of a plan on LUKS1: one header, fixed areas, one intent at a time, each step a durable commit of its own.

An erase writes its intent, wipes the area, deactivates the keyslot and drops the intent: in between the keyslot is
enabled but opens with nothing, and the intent says so. A rekey puts a copy into a free keyslot, erases the old one,
fills it again and erases the copy, so that the number stays and something always opens. A change of state and a change
of the intent are never one commit: they may lie in two sectors of 512 bytes, and after a torn write only their order
tells what is true.

Each step raises what :class:`.HeaderWriter` raises at a write, and add and rekey what :meth:`.KeyslotWriter.prepare`
raises.
"""

from __future__ import annotations

import typing as t

from ..errors import Refused
from ..header.luks1.codec import Luks1Header
from ..header.model import Extent, Intent, IntentKind
from ..plan.actions import Action
from ..required import required
from .copy_steps import CopySteps
from .header_writer import HeaderWriter
from .keyslot_writer import KeyslotWriter, SlotKeys


class Luks1Steps(CopySteps):
    disk: HeaderWriter

    def __init__(self, writer: KeyslotWriter) -> None:
        super().__init__(writer)
        self.writer = writer

    def heal(self, action: Action) -> None:
        """Raises Refused: LUKS1 has no second copy."""
        raise Refused("a LUKS1 header has no second copy", why="there is nothing to repair it from")

    def set_priority(self, action: Action) -> None:
        """Raises Refused: LUKS1 has no priorities."""
        raise Refused(f"keyslot {action.keyslot} of a LUKS1 header has no priority")

    def add(self, action: Action) -> None:
        """Raises as every step."""
        number = required(action.keyslot)
        with self.writer.prepare(action, self._area(number)) as keys:
            self._fill(number, keys)

    def erase(self, action: Action) -> None:
        """Raises as every step."""
        number = required(action.keyslot)
        self._erase(number)
        self._remove_note(number)

    def rekey(self, action: Action) -> None:
        """Raises as every step."""
        if action.resume and action.in_place:
            self._refill(action)
        elif action.resume:
            self._resume_move(action)
        elif action.in_place:
            self._rekey_in_place(required(action.keyslot), action)
        else:
            self._rekey_through_copy(required(action.keyslot), action)
        if action.overwrites:
            self._remove_note(required(action.keyslot))

    def _rekey_in_place(self, number: int, action: Action) -> None:
        with self.writer.prepare(action, self._area(number)) as keys:
            self._journal(Intent(IntentKind.REPLACE_ERASE, number))
            self._clear(number)
            self._journal(Intent(IntentKind.REPLACE_FILL, number))
            self._fill(number, keys)
            self._journal(None)

    def _rekey_through_copy(self, number: int, action: Action) -> None:
        with self.writer.prepare(action, self._area(number)) as keys:
            temporary_slot = self.disk.header.layout.free_numbers()[0]
            self._journal(Intent(IntentKind.MOVE_ADD, number, temporary_slot))
            self._fill(temporary_slot, keys)
            self._move_back(number, temporary_slot, keys)

    def finish(self, action: Action) -> None:
        """Finish an interrupted erase: wipe and deactivate the keyslot, then drop the intent. Raises as every step."""
        number, intent = required(action.keyslot), required(self.disk.header.intent)
        active = number in self.disk.header.keyslots
        if active and intent.kind != IntentKind.REPLACE_FILL:
            self._erase(number)
            return
        if not active:
            # An interrupted run may have left key material in the area of a keyslot that it never activated.
            self.disk.overwrite(self._area(number))
        self._journal(None)

    def _resume_move(self, action: Action) -> None:
        """The copy in the temporary slot works; the keyslot gets its parameters, so one derivation does for both."""
        number, temporary_slot, intent = (
            required(action.keyslot),
            required(action.temporary_slot),
            required(self.disk.header.intent),
        )
        with self.writer.prepare(action, self._area(number)) as keys:
            if intent.kind == IntentKind.MOVE_FILL:
                self._fill_from_copy(number, temporary_slot, keys)
            else:
                self._move_back(number, temporary_slot, keys)

    def _move_back(self, number: int, temporary_slot: int, keys: SlotKeys) -> None:
        self._journal(Intent(IntentKind.MOVE_ERASE, number, temporary_slot))
        self._clear(number)
        self._journal(Intent(IntentKind.MOVE_FILL, number, temporary_slot))
        self._fill_from_copy(number, temporary_slot, keys)

    def _fill_from_copy(self, number: int, temporary_slot: int, keys: SlotKeys) -> None:
        self._fill(number, keys)
        self._erase(temporary_slot)

    def _refill(self, action: Action) -> None:
        number, intent = required(action.keyslot), required(self.disk.header.intent)
        with self.writer.prepare(action, self._area(number)) as keys:
            if intent.kind == IntentKind.REPLACE_ERASE:
                self._clear(number)
                self._journal(Intent(IntentKind.REPLACE_FILL, number))
            self._fill(number, keys)
            self._journal(None)

    def _erase(self, number: int) -> None:
        self._journal(Intent(IntentKind.ERASE, number))
        self._clear(number)
        self._journal(None)

    def _remove_note(self, number: int) -> None:
        """Clevis would take a new key in this keyslot for its own. A crash before this leaves the entry."""
        header = self.disk.header
        if isinstance(header, Luks1Header):
            self.disk.write_beside(header.luksmeta_removal(self.disk.reread, number), "the luksmeta block")

    def _clear(self, number: int) -> None:
        """Wipe, then deactivate: the other way round, a crash would leave key material in an inactive keyslot."""
        self.disk.overwrite(self._area(number))
        if number in self.disk.header.keyslots:
            self.disk.commit(self.disk.header.without_keyslot(number))

    def _fill(self, number: int, keys: SlotKeys) -> None:
        area = self._area(number)
        self.writer.place(number, area, keys)
        self.disk.commit(self.disk.header.with_keyslot(number, keys.kdf, area))

    def _journal(self, intent: t.Optional[Intent]) -> None:
        intent = Intent.while_copied(self.disk.header.intent, intent)
        if self.disk.header.intent != intent:
            self.disk.commit(self.disk.header.with_intent(intent))

    def _area(self, number: int) -> Extent:
        return required(self.disk.header.layout.fixed)[number]
