# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What luksmeta notes of a keyslot goes, and what is left is a block that luksmeta takes; tests/interop asks it."""

from __future__ import annotations

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import luksmeta
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Extent, Write
from ansible_collections.luksmith.luks.tests.testkit import beside

AREAS, START, PAYLOAD = [Extent(4096, 4096)], 8192, 1 << 20
KEPT, GONE = (beside.CLEVIS, b"kept"), (beside.CLEVIS, b"gone")


@pytest.mark.parametrize("number", [1, 2])
def test_an_entry_and_its_data_go_and_the_others_stay(number: int) -> None:
    block, data = beside.luksmeta({0: KEPT, 1: GONE})
    there = bytes(START) + block.ljust(4096, b"\0") + data
    there = there.ljust(PAYLOAD, b"\0")
    writes = luksmeta.removal(lambda offset, size: there[offset : offset + size], PAYLOAD, AREAS, PAYLOAD, number)
    left, _data = beside.luksmeta({0: KEPT})
    assert writes == ((Write(START + 8192, bytes(4)), Write(START, left)) if number == 1 else ())
