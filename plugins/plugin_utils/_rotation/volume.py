# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""One volume of a host on its way through a rotation: what is wanted of it, and what was done."""

from __future__ import annotations

import typing as t

from .answers import Seen
from .decision import REST, Decision
from .entry import Entry, Secret
from .groups import Group
from .world import Phase

Option = t.Dict[str, t.Any]

REFUSED, PARTIAL, DONE, UNCHANGED = "refused", "partial", "done", "unchanged"
PLANNED = "planned"  # what check mode says in the place of DONE

# What a host does in a look, in this order.
_STEPS = ("look", "backup", "plan", "keyfiles")


class Refused(Exception):
    """This volume is not rotated any further: a sentence. ``step``: of the look, where the host refused it there."""

    def __init__(self, why: str, step: str = "") -> None:
        super().__init__(why)
        self.step = step if step in _STEPS else ""


class Volume:
    """One volume on its way through the phases."""

    def __init__(self, seen: Seen, number: int) -> None:
        self.seen = seen
        self.number = number
        self.group: t.Optional[Group] = None
        self.before = seen
        self.phase = Phase.DECIDE
        self.looks = 1
        # What is wanted of it now.
        self.entry: Entry = {}
        self.decision = Decision(REST, "")
        self.new: Secret = {}
        self.order: Option = {}
        # Ids of secrets of the store that the volume does not prove.
        self.distrusted: t.Set[str] = set()
        # Keyslots that no known secret opens and that are to go.
        self.outlaws: t.Tuple[int, ...] = ()
        # What was done, in all rounds of this run.
        self.changed = False
        self.began = False  # store or volume may have been changed
        self.touched = False  # the volume may have been
        self.failed_at = ""
        self.staged = False
        self.promoted = False
        self.rounds: t.List[str] = []
        self.actions: t.List[Option] = []
        self.diffs: t.List[t.Any] = []
        self.table: t.List[Option] = seen.table
        self.unknown: t.List[Option] = []
        self.chain: t.List[Option] = [{**row, "replaced": []} for row in seen.chain]
        self.goes: t.List[str] = []  # secrets that this run removes from it, as they are told to the operator
        self.sealed = False  # the secret of the store was not tried, because the store could not open it
        self.followed: t.List[Option] = []
        # Labels of secrets of which the host proved that they open nothing, by a derivation on each keyslot.
        self.closed: t.List[str] = []
        self.msg = ""
        self.state = UNCHANGED

    @property
    def ended(self) -> bool:
        return self.phase is Phase.END

    @property
    def failed(self) -> bool:
        return self.state in (REFUSED, PARTIAL)

    @property
    def uuid(self) -> str:
        return self.before.uuid.lower()

    @property
    def owner(self) -> str:
        """Whose the entry of the store is: the uuid of the volume or of its group, in lower case."""
        return self.group.uuid if self.group else self.uuid

    @property
    def place(self) -> str:
        """What the entry says of where that is."""
        return f"group {self.group.name}" if self.group else self.before.device

    def prove_closed(self) -> None:
        """The host carried out the order, or found nothing to do for it."""
        old = [entry["old_secret"].get("label", "") for entry in self.order["absent"] if "old_secret" in entry]
        opens = {label for row in self.table for label in row["opened_by"]}
        self.closed += [label for label in old if label and label not in opens and label not in self.closed]

    def end(self, state: str, msg: str = "") -> None:
        self.phase, self.state, self.msg = Phase.END, state, msg
