# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A plan carried out in memory before the first write, to see that every header on the way fits.

A LUKS2 header has little room for metadata, and a plan of several actions grows and shrinks it. The steps are those of
:mod:`.luks2_steps`, so that the dry run cannot differ from the real one. LUKS1 has fields of fixed size and needs none.
"""

from __future__ import annotations

import contextlib
import typing as t

from ..errors import Refused
from ..header.model import Extent, Header
from ..plan.types import Action, KdfChoice, Plan
from ..required import required
from .executor import steps_for
from .keyslot_writer import SlotKeys, priority_to_set


def dry_run(
    header: Header,
    plan: Plan,
    choices: t.Mapping[Action, KdfChoice],
    *,
    record: bool,
    tokens: t.Optional[t.Mapping[int, t.Mapping[str, t.Any]]] = None,
) -> t.List[str]:
    """The warnings that carrying out ``plan`` on ``header`` will give.

    choices: the key derivation of each add and rekey. tokens: as those of a writer. Raises Refused, naming the action,
    if the header cannot hold the result of one.
    """
    if header.format == "luks1" or plan.empty or header.write_obstacle is not None:
        return []
    disk = _MemoryDisk(header)
    perform = steps_for(header, _DryKeyslotBuilder(disk, choices, tokens or {}), record=record)
    for action in plan.actions:
        try:
            perform[action.kind](action)
        except Refused as error:
            raise Refused(
                f"the plan cannot be completed: at {action.kind} of keyslot {action.keyslot}, {error.found}",
                why=error.why,
                remedy=error.remedy or "first remove keyslots or tokens that are not needed",
            ) from None
    return disk.notes


class _MemoryDisk:
    """Stands in for :class:`.header_writer.HeaderWriter`, without a disk."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.notes: t.List[str] = []

    def commit(self, header: Header) -> None:
        self.notes.extend(header.edit_notes)
        self.header = header.after_commit(self.header)

    def overwrite(self, area: Extent) -> None:
        """Nothing is there."""


class _NoCopies:
    """Stands in for :class:`.way_back.HeaderCopy`."""

    def new_name(self) -> str:
        """As long as every name."""
        return "0" * 32

    def make(self, name: str) -> None:
        """Only the header is tried, which names the copy."""

    def remove(self, name: str) -> None:
        """Nothing is there."""


class _DryKeyslotBuilder:
    """Stands in for :class:`.keyslot_writer.KeyslotWriter`: parameters without keys."""

    way_back = _NoCopies()

    def __init__(
        self,
        disk: _MemoryDisk,
        choices: t.Mapping[Action, KdfChoice],
        tokens: t.Mapping[int, t.Mapping[str, t.Any]],
    ) -> None:
        self.disk = disk
        self._tokens = tokens
        self._choices = choices

    @contextlib.contextmanager
    def prepare(self, action: Action, area: Extent) -> t.Iterator[SlotKeys]:
        yield SlotKeys(self._choices[action].kdf, bytearray(), bytearray())

    def place(self, number: int, area: Extent, keys: SlotKeys) -> None:
        """Only metadata is tried."""

    def token(self, action: Action) -> t.Optional[t.Mapping[str, t.Any]]:
        return self._tokens.get(required(action.secret))

    def priority(self, action: Action) -> str:
        return priority_to_set(action, self.disk.header)
