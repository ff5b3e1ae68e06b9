# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Contradictions within a task, found before any volume is touched. Judged on secret numbers and keyslots."""

from __future__ import annotations

import itertools
import typing as t

from ..errors import BadTask
from ..header.model import PRIORITY_IGNORE
from .desired import ABSENT, PRESENT, Desired, Entry


def check_entries(desired: Desired) -> None:
    """Raises BadTask, naming both entries, if two contradict each other. The planner judges what needs proofs."""
    for entry in desired.entries:
        if entry.old_secret is not None and entry.old_secret == entry.new_secret and not entry.costs.given:
            raise BadTask(
                f"keyslots[{entry.position}] replaces {desired.labels[entry.old_secret]} with itself",
                why="old_secret and new_secret are the same and no pbkdf costs are given, so nothing would change",
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
                why="a task describes one final state",
                remedy="remove or correct one of them",
            )


def _same_slot(one: Entry, other: Entry, desired: Desired) -> t.Optional[str]:
    if one.keyslot is None or one.keyslot != other.keyslot:
        return None
    if one.state == other.state == PRESENT and (one.new_secret is None) != (other.new_secret is None):
        return f"keyslot {one.keyslot} gets its priority in an entry of its own; give it in the entry with new_secret"
    if one.state == other.state == PRESENT and one.new_secret != other.new_secret:
        secrets = f"{_label(desired, one.new_secret)} and {_label(desired, other.new_secret)}"
        return f"keyslot {one.keyslot} cannot hold both {secrets}"
    if {one.state, other.state} == {PRESENT, ABSENT}:
        absent = one if one.state == ABSENT else other
        if absent.old_secret is None:
            return f"keyslot {one.keyslot} is to be present and absent"
    return None


def _wanted_and_forbidden(wants: Entry, forbids: Entry, desired: Desired) -> t.Optional[str]:
    """``wants`` adds a secret that ``forbids`` removes, from all keyslots or from the same one."""
    if (
        wants.state != PRESENT
        or forbids.old_secret is None
        or wants.new_secret != forbids.old_secret
        or forbids.new_secret == forbids.old_secret
    ):
        return None
    if forbids.keyslot is None or forbids.keyslot == wants.keyslot:
        return f"{_label(desired, wants.new_secret)} is wanted and is to be removed"
    return None


def _different_properties(one: Entry, other: Entry, desired: Desired) -> t.Optional[str]:
    """Two entries for one secret that could claim the same keyslot must agree on its costs and priority."""
    if one.state != PRESENT or other.state != PRESENT or one.new_secret != other.new_secret:
        return None
    if one.keyslot is not None and other.keyslot is not None and one.keyslot != other.keyslot:
        return None
    if one.costs.given and other.costs.given and one.costs != other.costs:
        return f"they give different pbkdf costs for {_label(desired, one.new_secret)}"
    if one.priority is not None and other.priority is not None and one.priority != other.priority:
        what = f"keyslot {one.keyslot}" if one.new_secret is None else _label(desired, one.new_secret)
        return f"they give different priorities for {what}"
    for ignored, found in ((one, other), (other, one)):
        if ignored.priority == PRIORITY_IGNORE and found.priority is None:
            return (
                f"keyslots[{ignored.position}] gives {_label(desired, one.new_secret)} the priority ignore, "
                f"and keyslots[{found.position}], which sets no priority, needs a keyslot that is tried by default"
            )
    return None


def _label(desired: Desired, secret: t.Optional[int]) -> str:
    return desired.labels[secret] if secret is not None else "no secret"
