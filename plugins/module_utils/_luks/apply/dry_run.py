# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A plan carried out in memory, before anything is written: does every header that it passes through fit?

The room of a LUKS2 header for metadata is short, and a plan of several actions grows and shrinks it. The very steps of
:mod:`.luks2_steps` are taken on a header in memory, so that what is foreseen here cannot differ from what is done later.
LUKS1 headers have fields of fixed sizes and need none of this.
"""

from __future__ import annotations

import contextlib
import typing as t

from ..errors import Refused
from ..header.model import Extent, Header
from ..plan.types import Action, KdfChoice, Plan
from .executor import steps_for
from .keyslot_writer import SlotKeys, priority_to_set


def dry_run(header: Header, plan: Plan, choices: t.Mapping[Action, KdfChoice], *, record: bool) -> t.List[str]:
    """Warnings that carrying out ``plan`` on ``header`` will give.

    choices: the parameters of the slots that adds and rekeys make. Raises Refused when the header cannot hold what the plan
    wants, at the first action for which it cannot.
    """
    if header.format == "luks1" or plan.empty or header.write_obstacle is not None:
        return []
    disk = _MemoryDisk(header)
    perform = steps_for(header, _DryKeyslotBuilder(disk, choices), record=record)
    for action in plan.actions:
        try:
            perform[action.kind](action)
        except Refused as error:
            raise Refused(
                f"the plan cannot be carried out to its end: at {action.kind} of keyslot {action.keyslot}, {error.found}",
                why=error.why,
                remedy=error.remedy or "remove keyslots or tokens that nobody needs first",
            ) from None
    return disk.notes


class _MemoryDisk:
    """What :class:`.header_writer.HeaderWriter` is to the steps, without a disk."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.notes: t.List[str] = []

    def commit(self, header: Header) -> None:
        self.notes.extend(header.edit_notes)
        self.header = header.after_commit(self.header)

    def overwrite(self, area: Extent) -> None:
        """Nothing is there."""


class _DryKeyslotBuilder:
    """What :class:`.keyslot_writer.KeyslotWriter` is to the steps: parameters without keys."""

    def __init__(self, disk: _MemoryDisk, choices: t.Mapping[Action, KdfChoice]) -> None:
        self.disk = disk
        self._choices = choices

    @contextlib.contextmanager
    def prepare(self, action: Action, area: Extent) -> t.Iterator[SlotKeys]:
        yield SlotKeys(self._choices[action].kdf, bytearray(), bytearray())

    def place(self, number: int, area: Extent, keys: SlotKeys) -> None:
        """No material: only metadata is tried."""

    def priority(self, action: Action) -> str:
        return priority_to_set(action, self.disk.header)
