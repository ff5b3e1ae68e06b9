# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner announces of a search, so that idle cores may take part in it."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.proof_cache import ProofCache
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.verdict import Verdict


@pytest.mark.parametrize("spread", [True, False])
def test_a_search_is_announced_where_idle_cores_may_take_part(spread: bool) -> None:
    """With what is not known yet."""
    said: t.List[t.Any] = []
    proofs: t.Any = types.SimpleNamespace(
        hint=lambda _secret: None,
        verdict=lambda _secret, _keyslot: Verdict.CLOSED,
        expect_search=lambda *search, in_vain: said.append((*search, in_vain)),
    )
    slot = types.SimpleNamespace(bound=True)
    situation: t.Any = types.SimpleNamespace(slots={0: slot, 1: slot, 2: slot})
    desired: t.Any = None
    cache = ProofCache(situation, desired, proofs)
    assert not cache.opens(7, 1)
    assert cache.first_opened(7, [2, 1, 0], spread=spread, in_vain=True) is None
    assert said == ([(7, [0, 2], True)] if spread else [])
