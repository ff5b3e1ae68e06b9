# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Contradictions that the task shows by itself, before any volume is touched. Judged on secret numbers and slots."""

from __future__ import annotations

import itertools
import typing as t

from ..errors import BadTask
from ..header.model import PRIORITY_IGNORE
from .desired import ABSENT, PRESENT, Desired, Entry


def check_entries(desired: Desired) -> None:
    """Raises BadTask that names both entries; what only proofs can show is left to the planner."""
    for entry in desired.entries:
        if entry.old_secret is not None and entry.old_secret == entry.new_secret and not entry.costs.given:
            raise BadTask(
                f"keyslots[{entry.position}] replaces {desired.labels[entry.old_secret]} by itself",
                why="old_secret and new_secret are the same secret and no pbkdf costs are given, so nothing could change",
                remedy="give a different new_secret, or the pbkdf costs that the keyslot is to have",
            )
    for one, other in itertools.combinations(desired.entries, 2):
        clash = (
            _same_slot(one, other, desired)
            or _wanted_and_forbidden(one, other, desired)
            or _wanted_and_forbidden(other, one, desired)
            or _different_properties(one, other, desired)
        )
        if clash:
            raise BadTask(
                f"keyslots[{one.position}] and keyslots[{other.position}] contradict each other: {clash}",
                why="one call describes one final state",
                remedy="drop or correct one of them",
            )


def _same_slot(one: Entry, other: Entry, desired: Desired) -> t.Optional[str]:
    if one.keyslot is None or one.keyslot != other.keyslot:
        return None
    if one.state == other.state == PRESENT and one.new_secret != other.new_secret:
        return f"keyslot {one.keyslot} cannot hold both {_label(desired, one.new_secret)} and {_label(desired, other.new_secret)}"
    if {one.state, other.state} == {PRESENT, ABSENT}:
        absent = one if one.state == ABSENT else other
        if absent.old_secret is None:
            return f"keyslot {one.keyslot} is to be present and absent"
    return None


def _wanted_and_forbidden(wants: Entry, forbids: Entry, desired: Desired) -> t.Optional[str]:
    """``wants`` asks for a secret that ``forbids`` sends away, from everywhere or from the same slot."""
    if wants.state != PRESENT or forbids.old_secret is None or wants.new_secret != forbids.old_secret or forbids.new_secret == forbids.old_secret:
        return None
    if forbids.keyslot is None or forbids.keyslot == wants.keyslot:
        return f"{_label(desired, wants.new_secret)} is wanted and is to go"
    return None


def _different_properties(one: Entry, other: Entry, desired: Desired) -> t.Optional[str]:
    """Two entries for one secret that could claim the same slot must not pull its costs or its priority in two directions."""
    if one.state != PRESENT or other.state != PRESENT or one.new_secret != other.new_secret:
        return None
    if one.keyslot is not None and other.keyslot is not None and one.keyslot != other.keyslot:
        return None
    if one.costs.given and other.costs.given and one.costs != other.costs:
        return f"they give different pbkdf costs for {_label(desired, one.new_secret)}"
    if one.priority is not None and other.priority is not None and one.priority != other.priority:
        return f"they give different priorities for {_label(desired, one.new_secret)}"
    for ignored, found in ((one, other), (other, one)):
        if ignored.priority == PRIORITY_IGNORE and found.priority is None:
            return (
                f"keyslots[{ignored.position}] gives {_label(desired, one.new_secret)} the priority ignore, "
                f"and keyslots[{found.position}], which names none, wants a keyslot that is tried without being named"
            )
    return None


def _label(desired: Desired, secret: t.Optional[int]) -> str:
    return desired.labels[secret] if secret is not None else "no secret"
