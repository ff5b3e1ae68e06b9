# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries for one secret agree on costs and priority, in whatever order they are listed."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import (
    ABSENT,
    PRESENT,
    Costs,
    Desired,
    Entry,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.normalize import normalize

STRONG = Costs(memory=100000)


def entry(keyslot: t.Optional[int] = None, **options: t.Any) -> Entry:
    return Entry(0, PRESENT, keyslot=keyslot, new_secret=options.pop("new_secret", 0), **options)


def after(*entries: Entry) -> t.List[t.Tuple[Costs, t.Optional[int], t.Optional[str]]]:
    found = normalize(Desired(entries=entries, unlock=(), labels=("primary", "spare")))
    return [(one.costs, one.iter_time, one.priority) for one in found.entries]


@pytest.mark.parametrize("keyslot", [None, 3])
def test_what_an_entry_without_a_number_says_holds_for_its_peers(keyslot: t.Optional[int]) -> None:
    speaks, silent = entry(costs=STRONG, iter_time=500, priority="prefer"), entry(keyslot)
    assert after(speaks, silent) == after(silent, speaks) == [(STRONG, 500, "prefer")] * 2


def test_what_is_said_of_one_keyslot_holds_for_that_keyslot() -> None:
    assert after(entry(3, costs=STRONG), entry(3, priority="prefer")) == [(STRONG, None, "prefer")] * 2
    assert after(entry(3, costs=STRONG, priority="prefer"), entry(4), entry())[1:] == [(Costs(), None, None)] * 2


def test_another_secret_and_an_entry_that_is_absent_take_nothing() -> None:
    speaks = entry(costs=STRONG, priority="prefer")
    silent = [entry(new_secret=1), Entry(2, ABSENT, keyslot=3)]
    assert after(speaks, *silent)[1:] == [(Costs(), None, None)] * 2


def test_ignore_is_never_taken_over() -> None:
    """It contradicts an entry without priority, and ``check_entries`` must still see that."""
    assert after(entry(priority="ignore"), entry())[1] == (Costs(), None, None)
