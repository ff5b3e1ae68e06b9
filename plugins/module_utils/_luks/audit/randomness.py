# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Whether key material looks random. Encrypted bytes do; zeroed or overwritten ones do not.

It is the test of ``cryptsetup repair`` 2.8: chi-squared over blocks of 4096 bytes. Key material is rarely a whole
number of them, so that the last block ends where the material ends. The bounds are so wide that millions of blocks give
no false alarm: with 255 degrees of freedom the mean is 255 and the standard deviation 22.6, and both bounds are more
than 7 deviations away. Material that was wiped with random data, as by cryptsetup, QEMU and this collection, looks like
valid material; only a secret shows the difference.
"""

from __future__ import annotations

import dataclasses
import typing as t

BLOCK = 4096
_LOWEST, _HIGHEST = 95.0, 480.0


@dataclasses.dataclass(frozen=True)
class Randomness:
    """The number of blocks; ``blank``: with one byte repeated; ``odd``: not random, the blank ones included."""

    blocks: int
    blank: int
    odd: int

    @property
    def wiped(self) -> bool:
        """Whether all blocks are blank: the keyslot is active, but no secret can open it."""
        return self.blocks > 0 and self.blank == self.blocks


def measure(material: bytes) -> Randomness:
    """Test each block of ``material``, the last one up to its end."""
    blank = odd = blocks = 0
    last = len(material) - BLOCK
    for offset in (*range(0, last, BLOCK), *((last,) if last >= 0 else ())):
        block = material[offset : offset + BLOCK]
        blocks += 1
        if block.count(block[:1]) == BLOCK:
            blank += 1
            odd += 1
        elif not _LOWEST <= _chi_squared(block) <= _HIGHEST:
            odd += 1
    return Randomness(blocks, blank, odd)


def _chi_squared(block: bytes) -> float:
    mean = len(block) / 256
    counts: t.Iterable[int] = (block.count(value) for value in range(256))
    return sum((count - mean) ** 2 for count in counts) / mean
