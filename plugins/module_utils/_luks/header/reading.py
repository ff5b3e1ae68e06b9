# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""How a header is read: what a reader is, and one that tolerates a medium that cannot give all of it.

To the tolerant reader what is unreadable counts as zeros. A copy of a header with zeros in it has no right checksum, so it
counts as damaged and the other copy is used, as cryptsetup does.
"""

from __future__ import annotations

import typing as t

from ..errors import StorageFault

# read(offset, length) -> exactly length bytes; offsets from the header's first byte; raises StorageFault on an I/O error.
Read = t.Callable[[int, int], bytes]

BLOCK = 4096  # the unit in which what is readable is told from what is not


class TolerantRead:
    """A ``Read`` over another one; ``fault`` is the first thing that went wrong, ``unreadable`` the offsets of bad blocks."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.fault: t.Optional[StorageFault] = None
        self.unreadable: t.Set[int] = set()

    def __call__(self, offset: int, length: int) -> bytes:
        first, end = offset // BLOCK * BLOCK, offset + length
        if not any(block in self.unreadable for block in range(first, end, BLOCK)):
            try:
                return self._read(offset, length)
            except StorageFault as fault:
                self.fault = self.fault or fault
        return b"".join(self._part(max(block, offset), min(block + BLOCK, end)) for block in range(first, end, BLOCK))

    def _part(self, start: int, end: int) -> bytes:
        block = start // BLOCK * BLOCK
        if block not in self.unreadable:
            try:
                return self._read(start, end - start)
            except StorageFault:
                self.unreadable.add(block)
        return bytes(end - start)

    def lacks(self, offset: int, length: int) -> bool:
        """Something in this range was asked for and could not be read."""
        return any(block < offset + length and offset < block + BLOCK for block in self.unreadable)

    @property
    def notes(self) -> t.Tuple[str, ...]:
        """A sentence for the warnings, if anything was unreadable."""
        if not self.unreadable:
            return ()
        places = ", ".join(str(block) for block in sorted(self.unreadable)[:4]) + (
            " and more" if len(self.unreadable) > 4 else ""
        )
        return (
            f"The medium cannot be read at byte {places} of the LUKS header (blocks of {BLOCK} bytes): look at its health (dmesg, smartctl).",
        )
