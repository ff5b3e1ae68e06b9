# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every disk that a power cut can leave while a task runs, and what must be true of each.

The memory region refuses a write that begins before the one before it is durable, so that between two barriers there
is one write only, and its torn forms are all the states there are. A header write is torn at every sector. Inside a key
area a tear is tried at its first, middle and last sector: an area's bytes mean nothing to any reader as long as one
sector is wrong.
"""

from __future__ import annotations

import hashlib
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.keyslots.vocabulary import Desired
from lab import bring, openers, read


def opened(data: bytes) -> t.Set[str]:
    return {label for labels in openers(data).values() for label in labels}


def tears(offset: int, data: bytes, header_size: int) -> t.List[int]:
    """Bytes of the write that still arrive."""
    if offset < header_size:
        return list(range(0, len(data), 512))
    return sorted({0, len(data) // 2 // 512 * 512, len(data) - 512})


def cut_everywhere(start: bytes, task: Desired, *, header_size: int, same_slots: bool = True) -> int:
    """Check every state; returns how many there were.

    same_slots: the rerun must end with the very slots of the uncut run, not only with the same secrets.
    """
    final = bring(start, task)
    assert final.plan.actions, "the case must change something"
    goal, before, after = openers(final.data), opened(start), opened(final.data)
    assert after, "the task must leave an opener"
    assert read(final.data).intent is None
    assert bring(final.data, task).plan.empty, "a second run must change nothing"

    def _check(state: bytes, where: str) -> None:
        now = opened(state)
        assert before & after <= now, f"{where}: {before & after - now} stopped working"
        assert now, f"{where}: nothing opens"
        again = bring(state, task)
        ended = openers(again.data)
        assert all(ended.values()) or not all(goal.values()), f"{where}: a zombie stays"
        assert opened(again.data) == after, f"{where}: the rerun ends with other secrets"
        assert not same_slots or ended == goal, f"{where}: the rerun ends in other slots"
        assert read(again.data).intent is None
        assert not read(again.data).needs_heal
        assert bring(again.data, task).plan.empty, f"{where}: a third run would change something"
        revived = opened(start[:header_size] + again.data[header_size:])
        assert not (before - after) & revived, f"{where}: the oldest header brings {(before - after) & revived} back"

    seen: t.Set[bytes] = set()
    disk = bytearray(start)
    for number, (offset, data) in enumerate(final.writes):
        for torn in tears(offset, data, header_size):
            state = bytearray(disk)
            state[offset : offset + torn] = data[:torn]
            name = hashlib.sha256(state).digest()
            if name not in seen:
                seen.add(name)
                _check(bytes(state), f"cut at write {number} (byte {offset}), torn at {torn}")
        disk[offset : offset + len(data)] = data
    return len(seen)
