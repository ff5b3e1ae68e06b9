# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries that contradict each other by their priorities; the rest is judged in tests/property."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import PRESENT, Desired, Entry
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.validate import check_entries


def wishes(*pairs: t.Tuple[t.Optional[int], t.Optional[str]]) -> Desired:
    """Entries that want one secret in these keyslots with these priorities."""
    entries = [
        Entry(position, PRESENT, keyslot=keyslot, new_secret=0, priority=priority)
        for position, (keyslot, priority) in enumerate(pairs)
    ]
    return Desired(entries=tuple(entries), unlock=(), labels=("primary",))


@pytest.mark.parametrize("keyslots", [(None, None), (0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize(
    "priorities", [("ignore", None), (None, "ignore"), ("ignore", "normal"), ("prefer", "ignore"), ("prefer", "normal")]
)
def test_two_priorities_for_what_can_be_one_slot(
    keyslots: t.Tuple[t.Optional[int], ...], priorities: t.Tuple[t.Optional[str], ...]
) -> None:
    with pytest.raises(BadTask, match=r"keyslots\[0\] and keyslots\[1\] contradict each other: .*primary"):
        check_entries(wishes((keyslots[0], priorities[0]), (keyslots[1], priorities[1])))


def test_a_slot_to_be_ignored_and_one_to_be_used_are_told_apart_by_number() -> None:
    check_entries(wishes((0, "ignore"), (1, None)))


@pytest.mark.parametrize("other", ["prefer", "normal"])
def test_no_priority_agrees_with_all_but_ignore(other: str) -> None:
    check_entries(wishes((None, other), (None, None)))
    check_entries(wishes((0, None), (None, other)))


def test_the_sentence_says_what_to_do_with_ignore() -> None:
    with pytest.raises(BadTask, match="which sets no priority, needs a keyslot that is tried"):
        check_entries(wishes((None, None), (3, "ignore")))
