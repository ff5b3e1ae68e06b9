# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first cases of the fuzzer, a block to a test: 6,000 in the default size, 20,000 with ``--size full``. main.py
runs as many as you like.
"""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.fuzz import main
from ansible_collections.luksmith.luks.tests.tools.module_server import in_a_fork

SEED = "luksmith"
BLOCKS_OF_A_TEST = 2  # a process for more than a moment
SHORT, FULL = 12, 40
PATIENCE = 3000.0  # seconds, for what takes five

FIRST_BLOCKS = [
    pytest.param(first, marks=[] if first < SHORT else [pytest.mark.full]) for first in range(0, FULL, BLOCKS_OF_A_TEST)
]


def blocks(first: int) -> t.List[main.Line]:
    """In a process of its own, which is bounded in memory from here on."""
    main.start(nice=0)
    return [main.block((SEED, number)) for number in range(first, first + BLOCKS_OF_A_TEST)]


@pytest.mark.needs("cryptsetup")
@pytest.mark.parametrize("first", FIRST_BLOCKS)
def test_a_block_of_cases_finds_nothing(first: int) -> None:
    """A thousand cases take five seconds."""
    for line in in_a_fork(blocks, first, timeout=PATIENCE):
        assert not line["findings"]
        assert sum(line["counts"].values()) == main.BLOCK
