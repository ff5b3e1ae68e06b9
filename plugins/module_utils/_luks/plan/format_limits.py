# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What the format of a volume cannot hold, whatever its keyslots hold now."""

from __future__ import annotations

from ..errors import Refused
from ..header.model import PRIORITY_NORMAL
from ..task.desired import Desired
from .types import Situation


def check_format(situation: Situation, desired: Desired) -> None:
    """Raises Refused if no header of this format can satisfy an entry."""
    for entry in desired.entries:
        if entry.keyslot is not None and not 0 <= entry.keyslot < situation.slot_count:
            raise Refused(
                f"keyslots[{entry.position}] names keyslot {entry.keyslot}, but a {situation.format.upper()} header"
                f" has keyslots 0 to {situation.slot_count - 1}",
                remedy="choose one of these",
            )
        if situation.format != "luks1":
            continue
        if entry.priority not in (None, PRIORITY_NORMAL):
            raise Refused(
                f"keyslots[{entry.position}] wants priority {entry.priority}, but LUKS1 keyslots have no priority",
                remedy="leave priority out for this volume",
            )
        if entry.costs.type not in (None, "pbkdf2"):
            raise Refused(
                f"keyslots[{entry.position}] wants {entry.costs.type}, but LUKS1 has only pbkdf2",
                remedy="leave pbkdf.type out for this volume",
            )
        if entry.costs.memory is not None or entry.costs.time is not None or entry.costs.parallel is not None:
            raise Refused(
                f"keyslots[{entry.position}] gives Argon2 costs, but LUKS1 has only pbkdf2",
                remedy="give pbkdf.iterations for this volume",
            )
        if (
            entry.costs.hash is not None
            and situation.only_hash
            and entry.costs.hash.lower() != situation.only_hash.lower()
        ):
            raise Refused(
                f"keyslots[{entry.position}] wants hash {entry.costs.hash},"
                f" but every keyslot of this LUKS1 header uses {situation.only_hash}",
                remedy="leave pbkdf.hash out for this volume",
            )
