# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Does key material look like key material? Encrypted bytes are even noise; what was wiped with zeros or overwritten is not.

The same question as cryptsetup 2.8's ``repair`` asks (chi-squared over blocks of 4096 bytes). The bounds are so wide that a
fleet of millions of blocks has no false alarm: with 255 degrees of freedom the mean is 255 and the deviation 22.6, and both
bounds lie more than 7 deviations away. Material that was wiped with noise, as cryptsetup, QEMU and this collection do, cannot be told
from material that is alive; only the secrets can.
"""

from __future__ import annotations

import dataclasses
import typing as t

BLOCK = 4096
_LOWEST, _HIGHEST = 95.0, 480.0


@dataclasses.dataclass(frozen=True)
class Randomness:
    """Whole blocks looked at, how many of them are one byte repeated, and how many do not look random (those included)."""

    blocks: int
    blank: int
    odd: int

    @property
    def wiped(self) -> bool:
        """All of it is blank: the slot is enabled, and nothing can open it."""
        return self.blocks > 0 and self.blank == self.blocks


def measure(material: bytes) -> Randomness:
    blank = odd = blocks = 0
    for offset in range(0, len(material) - BLOCK + 1, BLOCK):
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
