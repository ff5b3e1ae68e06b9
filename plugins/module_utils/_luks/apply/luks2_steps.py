# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The actions of a plan on LUKS2, whose whole header changes at once.

An erase or a rekey is one commit that releases the old area and stores an intent to wipe it; the wipe and a second
commit that drops the intent follow. Only if no second area fits is a keyslot wiped while it is still listed: it keeps
its token references, and the intent says that it must end erased if the run is interrupted.

Each step raises Refused if the metadata or the area does not fit and what :class:`.HeaderWriter` raises at a write, and
add and rekey what :meth:`.KeyslotWriter.prepare` raises.
"""

from __future__ import annotations

import datetime
import typing as t

from ..errors import Refused
from ..header.model import Extent, Header, Intent, IntentKind, RecordEntry
from ..plan.actions import Action
from ..required import required
from ..unlock.hints import fingerprint
from .copy_steps import Copies, CopySteps, Disk
from .keyslot_writer import SlotKeys


class KeyslotBuilder(t.Protocol):
    """Makes key material: :class:`.keyslot_writer.KeyslotWriter`, or a stand-in without keys in a dry run."""

    @property
    def disk(self) -> Disk:
        """Where the key material is written."""

    @property
    def way_back(self) -> Copies:
        """Of a plan that copies the header."""

    def prepare(self, action: Action, area: Extent) -> t.ContextManager[SlotKeys]:
        """Parameters and keys for the keyslot that ``action`` makes. Raises as :meth:`.KeyslotWriter.prepare`."""

    def place(self, number: int, area: Extent, keys: SlotKeys) -> None:
        """Write key material to ``area`` and prove that it opens. Raises as :meth:`.KeyslotWriter.place`."""

    def priority(self, action: Action) -> str:
        """The priority of the keyslot that ``action`` makes."""

    def token(self, action: Action) -> t.Optional[t.Mapping[str, t.Any]]:
        """Members of the token that keeps the secret of the keyslot, if one does."""


class Luks2Steps(CopySteps):
    def __init__(self, builder: KeyslotBuilder, *, record: bool) -> None:
        super().__init__(builder)
        self.builder = builder
        self._record = record
        self._made: t.Dict[int, str] = {}

    def heal(self, action: Action) -> None:
        """Rewrite the damaged copy. Raises as every step."""
        self.disk.commit(self.disk.header)

    def set_priority(self, action: Action) -> None:
        """Raises as every step."""
        self._commit(self.disk.header.with_priority(required(action.keyslot), required(action.priority)))

    def add(self, action: Action) -> None:
        """Raises as every step."""
        number = required(action.keyslot)
        area = self._place_for(number)
        with self.builder.prepare(action, area) as keys:
            self.builder.place(number, area, keys)
            self._made[number] = action.label
            header = self.disk.header.with_keyslot(number, keys.kdf, area, priority=self.builder.priority(action))
            self._commit(self._with_token(header, action))

    def erase(self, action: Action) -> None:
        """Raises as every step."""
        number = required(action.keyslot)
        self._leave(number, self.disk.header.without_keyslot(number), self.disk.header.keyslots[number].area)

    def rekey(self, action: Action) -> None:
        """Raises as every step."""
        number, header = required(action.keyslot), self.disk.header
        if action.in_place:
            self._rekey_in_place(action)
            return
        old = header.keyslots[number].area
        area = self._place_beside(number) if action.own_key else self._place_for(number)
        with self.builder.prepare(action, area) as keys:
            self.builder.place(number, area, keys)
            self._made[number] = action.label
            header = self._without_old_tokens(header, action)
            priority = self.builder.priority(action)
            header = header.with_keyslot(number, keys.kdf, area, priority=priority, own_key=action.own_key)
            self._leave(number, self._with_token(header, action), old)

    def _rekey_in_place(self, action: Action) -> None:
        number, header = required(action.keyslot), self.disk.header
        area, priority = self._place_for(number, instead=True), self.builder.priority(action)
        with self.builder.prepare(action, area) as keys:
            if action.resume:
                self._empty(number, Intent(IntentKind.REPLACE_FILL, number))
            else:
                self._commit(header.with_intent(self._noted(Intent(IntentKind.REPLACE_ERASE, number))))
                self.disk.overwrite(header.keyslots[number].area)
            self.builder.place(number, area, keys)
            self._made[number] = action.label
            header = self._without_old_tokens(self.disk.header, action)
            header = header.with_keyslot(number, keys.kdf, area, priority=priority)
            self._commit(self._with_token(header, action).with_intent(self._noted(None)))

    def finish(self, action: Action) -> None:
        """Finish an interrupted erase: wipe unused areas of the intent, then drop it. Raises as every step."""
        intent = required(self.disk.header.intent)
        if intent.kind == IntentKind.REPLACE_ERASE:
            self._empty(intent.keyslot, None)
            return
        live = [slot.area for slot in self.disk.header.keyslots.values()]
        for extent in intent.extents:
            for free in _outside(extent, live):
                self.disk.overwrite(free)
        self._commit(self.disk.header.with_intent(self._noted(None)))

    def _without_old_tokens(self, header: Header, action: Action) -> Header:
        """``header`` without what is not true of the new key of a keyslot."""
        number = required(action.keyslot)
        if action.overwrites:
            return header.without_keyslot(number)
        return header.without_token(number, action.lost_token) if action.lost_token else header

    def _with_token(self, header: Header, action: Action) -> Header:
        """``header`` with the token of the new key, if it is to have one and its keyslot has none of that type."""
        number, token = required(action.keyslot), self.builder.token(action)
        if token is None or any(one.type == token["type"] and number in one.keyslots for one in header.tokens):
            return header
        return header.with_token(number, token)

    def _empty(self, number: int, then: t.Optional[Intent]) -> None:
        """Wipe and remove a listed keyslot that an interrupted run began to wipe; ``then``: the intent afterwards."""
        header, then = self.disk.header, self._noted(then)
        if number in header.keyslots:
            self.disk.overwrite(header.keyslots[number].area)
            header = header.without_keyslot(number)
        if header is not self.disk.header or header.intent != then:
            self._commit(header.with_intent(then))

    def _leave(self, number: int, header: Header, area: Extent) -> None:
        """Commit ``header``, in which no keyslot uses ``area``; wipe it; drop the intent."""
        self._commit(header.with_intent(self._noted(Intent(IntentKind.WIPE, number, extents=(area,)))))
        self.disk.overwrite(area)
        self._commit(self.disk.header.with_intent(self._noted(None)))

    def _noted(self, intent: t.Optional[Intent]) -> t.Optional[Intent]:
        return Intent.while_copied(self.disk.header.intent, intent)

    def _place_for(self, number: int, *, instead: bool = False) -> Extent:
        layout = self.disk.header.layout
        return self._some((layout.without_slot(number) if instead else layout).place(number), number)

    def _place_beside(self, number: int) -> Extent:
        return self._some(self.disk.header.layout.place_beside(number), number)

    def _some(self, area: t.Optional[Extent], number: int) -> Extent:
        if area is None:
            raise Refused(
                f"the area for keyslots has no room for keyslot {number}",
                why="the plan was made for another header",
                remedy="run the task again",
            )
        return area

    def _commit(self, header: Header) -> None:
        self.disk.commit(self._recorded(header) if self._record else header)

    def _recorded(self, header: Header) -> Header:
        """``header`` with its record updated: without keyslots that are gone or rewritten by others, with new ones."""
        entries = {
            number: entry
            for number, entry in header.record.items()
            if number in header.keyslots and entry.fingerprint == fingerprint(header.keyslots[number].kdf)
        }
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        for number, label in self._made.items():
            if number in header.keyslots and number not in entries:
                entries[number] = RecordEntry(number, label, fingerprint(header.keyslots[number].kdf), now)
        return header.with_record(entries) if entries != dict(header.record) else header


def _outside(extent: Extent, live: t.Sequence[Extent]) -> t.List[Extent]:
    """The parts of ``extent`` that no area in use covers; another program may have allocated some since."""
    parts = [extent]
    for area in live:
        cut: t.List[Extent] = []
        for part in parts:
            if not part.overlaps(area):
                cut.append(part)
                continue
            if part.offset < area.offset:
                cut.append(Extent(part.offset, area.offset - part.offset))
            if area.end < part.end:
                cut.append(Extent(area.end, part.end - area.end))
        parts = cut
    return parts
