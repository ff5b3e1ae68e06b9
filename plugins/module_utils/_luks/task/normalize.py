# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Several entries for one secret: costs and priority of one entry hold for each entry that may share its keyslot.

Otherwise a shared keyslot would be made to satisfy one entry, and the next run would find that it fails the other.
"""

from __future__ import annotations

import typing as t

from ..header.model import PRIORITY_IGNORE
from .desired import PRESENT, Desired, Entry


def normalize(desired: Desired) -> Desired:
    """``desired`` with costs and priorities copied between entries; ``check_entries`` refuses contradictions.

    An entry copies from entries that name the same keyslot, and from entries without a keyslot, which that keyslot may
    satisfy. An entry without a keyslot copies nothing from one with a keyslot, because any keyslot satisfies it.
    """
    return desired._replace(entries=tuple(_normalized_entry(entry, desired.entries) for entry in desired.entries))


def _normalized_entry(entry: Entry, entries: t.Sequence[Entry]) -> Entry:
    if entry.state != PRESENT or entry.new_secret is None:
        return entry
    peers = [
        other
        for other in entries
        if other.state == PRESENT and other.new_secret == entry.new_secret and other.keyslot in (None, entry.keyslot)
    ]
    costs = entry.costs if entry.costs.given else next((peer.costs for peer in peers if peer.costs.given), entry.costs)
    times = {peer.iter_time for peer in peers} - {None}
    iter_time = (
        entry.iter_time
        if entry.iter_time is not None
        else max((time for time in times if time is not None), default=None)
    )
    priorities = [peer.priority for peer in peers if peer.priority not in (None, PRIORITY_IGNORE)]
    priority = entry.priority if entry.priority is not None else next(iter(priorities), None)
    return entry._replace(costs=costs, iter_time=iter_time, priority=priority)
