# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""LUKS1: the order of header writes, one 512-byte sector at a time, each durable before the next one.

Keyslot 6 spans both sectors: state, iterations and 8 bytes of the salt are in sector 0, the other 24 in sector 1. The
rules, in the order of the writes:

1. An intent where there was none.
2. What keyslots that become active need from sector 1: all of keyslot 7, the rest of the salt of keyslot 6.
3. Sector 0: keyslots 0 to 5 and the start of keyslot 6, activated and deactivated at once.
4. What keyslots that become inactive leave in sector 1.
5. An intent that is removed or replaced by the next one: until then the old one covers the commit. So the caller has to
   split a commit that begins new work under a new intent: the intent alone, then the work.

So no keyslot is ever active with half a salt, a keyslot becomes active before one in the other sector becomes inactive,
and the intent is there while anything is unfinished. These rules would tear an active keyslot 6 that gets a new salt:
it is deactivated between 2 and 3, the rest of its salt is written, and 3 activates it again. An intent never shares a
write with a keyslot.
"""

from __future__ import annotations

import typing as t

from ...errors import HeaderChanged
from ..model import SECTOR, Write
from . import journal
from .fields import ACTIVE, INACTIVE, SLOT_COUNT, SLOT_SIZE, SLOTS_OFFSET

_SPLIT_SLOT = 6
_RECORD = range(journal.OFFSET, journal.OFFSET + journal.SIZE)


def _slot_range(number: int) -> range:
    # State, iterations and salt; the offset and stripes that follow never change.
    start = SLOTS_OFFSET + number * SLOT_SIZE
    return range(start, start + 40)


def _state(raw: bytes, number: int) -> int:
    start = _slot_range(number).start
    return int.from_bytes(raw[start : start + 4], "big")


def _differs(old: bytes, new: bytes, place: range, sector: t.Optional[int] = None) -> bool:
    return any(old[index] != new[index] for index in place if sector is None or index // SECTOR == sector)


def _without_edits(raw: bytes) -> bytes:
    rest = bytearray(raw)
    for place in (*map(_slot_range, range(SLOT_COUNT)), _RECORD):
        rest[place.start : place.stop] = bytes(len(place))
    return bytes(rest)


def writes(old: bytes, new: bytes) -> t.Tuple[Write, ...]:
    """Sector writes that turn the header ``old`` into ``new``; every prefix leaves a safe header, see above.

    Raises HeaderChanged if they differ in more than keyslots and intent: ``new`` was not made from ``old``.
    """
    if _without_edits(old) != _without_edits(new):
        raise HeaderChanged(
            "the LUKS1 header on disk is not the one that was edited",
            why="they differ in more than keyslots",
            remedy="Run the task again",
        )
    present = bytearray(old)
    planned: t.List[Write] = []

    def emit(sector: int, places: t.Iterable[range]) -> None:
        before = bytes(present)
        for place in places:
            for index in place:
                if index // SECTOR == sector:
                    present[index] = new[index]
        if bytes(present) != before:
            planned.append(Write(sector * SECTOR, bytes(present[sector * SECTOR : (sector + 1) * SECTOR])))

    changed = [number for number in range(SLOT_COUNT) if _differs(old, new, _slot_range(number))]
    rising = [number for number in changed if _state(new, number) == ACTIVE]
    falling = [number for number in changed if _state(new, number) != ACTIVE]
    torn = (
        _SPLIT_SLOT in rising
        and _state(old, _SPLIT_SLOT) == ACTIVE
        and all(_differs(old, new, _slot_range(_SPLIT_SLOT), sector) for sector in (0, 1))
    )
    intent_first = journal.decode(old).intent is None and journal.decode(new).intent is not None

    if intent_first:
        emit(1, [_RECORD])
    emit(1, [_slot_range(number) for number in rising if not (torn and number == _SPLIT_SLOT)])
    if torn:
        start = _slot_range(_SPLIT_SLOT).start
        present[start : start + 4] = INACTIVE.to_bytes(4, "big")
        planned.append(Write(0, bytes(present[:SECTOR])))
        emit(1, [_slot_range(_SPLIT_SLOT)])
    emit(0, [_slot_range(number) for number in changed])
    emit(1, [_slot_range(number) for number in falling])
    emit(1, [_RECORD])
    return tuple(planned)
