# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The new key of a likely rekey is begun early, unless it would cost more than the task allows; one that is not needed
after all is given up.
"""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.prefetch import Prefetch
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.kdf import Budget
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Pbkdf2
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Action, ActionKind
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import PRESENT, Costs, Desired, Entry
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.apply.step_log import Log

EARLY, OTHER = (Pbkdf2("sha256", count, bytes(32)) for count in (1000, 2000))


@pytest.mark.parametrize(
    ("wanted", "given_up"), [(None, ["early"]), (OTHER, ["early"]), (EARLY, [])], ids=["none", "other costs", "it"]
)
def test_a_key_that_was_begun_early(wanted: t.Optional[Pbkdf2], given_up: t.List[str]) -> None:
    said: t.List[str] = []
    derivations: t.Any = types.SimpleNamespace(give_up=said.append)
    desired: t.Any = None
    prefetch: t.Any = Prefetch(derivations, desired, 0, record=False)
    prefetch._early[0, 1] = (types.SimpleNamespace(kdf=EARLY), "early")
    action = Action(ActionKind.REKEY, 1, "", secret=0)
    choices: t.Any = {} if wanted is None else {action: types.SimpleNamespace(kdf=wanted)}
    settled, questions = prefetch.settle(Log("luks1").header, choices)
    assert said == given_up and len(settled) == len(questions) == len(choices)


@pytest.mark.parametrize(("allowed", "begun"), [(1000, [(True, 1000)]), (999, [])])
def test_what_is_begun_early(allowed: int, begun: t.List[t.Tuple[bool, int]]) -> None:
    """A refusal is for the plan to say: it may turn out that the key is not needed."""
    said: t.List[t.Tuple[bool, int]] = []
    derivations: t.Any = types.SimpleNamespace(
        budget=Budget(max_iterations=allowed),
        workers=types.SimpleNamespace(cores=2),
        prepare=lambda question, early: said.append((early, question[1].iterations)),
    )
    entry = Entry(0, PRESENT, keyslot=1, new_secret=0, old_secret=1, costs=Costs(type="pbkdf2", iterations=1000))
    desired = Desired((entry,), (), ("new", "old"))
    Prefetch(derivations, desired, 0, record=False).begin(Log("luks2").header, {})
    assert said == begun
