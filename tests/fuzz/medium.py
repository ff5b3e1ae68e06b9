# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hostile medium: some bytes at its start, zeros behind, any size; every read is counted and bounded."""

from __future__ import annotations

import dataclasses
import typing as t

# A reader needs both copies of the largest LUKS2 header (twice 4 MiB), each looked at a few times, or one keyslot area.
LARGEST_READ = 32 << 20
MOST_READS = 2000


class Finding(Exception):
    """An invariant does not hold; the text says which."""


@dataclasses.dataclass
class Medium:
    """``raw`` and then zeros up to ``size`` bytes. ``bytes_read`` and ``reads`` count the work that was asked for."""

    raw: bytes
    size: int
    bytes_read: int = 0
    reads: int = 0

    def read(self, offset: int, length: int) -> bytes:
        self.reads += 1
        self.bytes_read += length
        if offset < 0 or length < 0 or offset + length > self.size:
            raise Finding(f"a read of {length} bytes at {offset} is outside of the {self.size} bytes there are")
        if length > LARGEST_READ or self.reads > MOST_READS or self.bytes_read > 8 * LARGEST_READ:
            raise Finding(f"too much is read: {self.reads} reads, {self.bytes_read} bytes")
        return self.raw[offset : offset + length].ljust(length, b"\0")

    def written(self, writes: t.Iterable[t.Any]) -> Medium:
        """Another medium, with ``writes`` (offset, data) done."""
        data = bytearray(self.raw)
        for write in writes:
            if write.offset < 0 or write.offset + len(write.data) > self.size:
                raise Finding(
                    f"a write of {len(write.data)} bytes at {write.offset} is outside of the {self.size} bytes there "
                    "are"
                )
            data.extend(bytes(max(0, write.offset + len(write.data) - len(data))))
            data[write.offset : write.offset + len(write.data)] = write.data
        return Medium(bytes(data), self.size)
