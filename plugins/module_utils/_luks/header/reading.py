# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What a reader of a header is, and one that tolerates read errors.

The tolerant reader returns zeros for unreadable blocks. The checksum of a header copy does not match then, so that the
copy counts as damaged and the other one is used, as in cryptsetup.
"""

from __future__ import annotations

import typing as t

from ..errors import StorageFault

# read(offset, length) -> exactly length bytes, offset counted from the header's first byte. Raises StorageFault if the
# system cannot read them.
Read = t.Callable[[int, int], bytes]

BLOCK = 4096  # bytes; a read error makes one block of this size unreadable


class TolerantRead:
    """A ``Read`` over another one that never raises StorageFault.

    fault: the first error, or None; unreadable: byte offsets of the blocks that could not be read.
    """

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
        """Whether a part of this range was requested and could not be read."""
        return any(block < offset + length and offset < block + BLOCK for block in self.unreadable)

    @property
    def notes(self) -> t.Tuple[str, ...]:
        """A warning if anything was unreadable."""
        if not self.unreadable:
            return ()
        places = ", ".join(str(block) for block in sorted(self.unreadable)[:4])
        more = " and more" if len(self.unreadable) > 4 else ""
        where = f"at byte {places}{more} of the LUKS header (in blocks of {BLOCK} bytes)"
        return (f"The medium cannot be read {where}: check its health (dmesg, smartctl).",)
