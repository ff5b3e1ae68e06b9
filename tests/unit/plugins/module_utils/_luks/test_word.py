# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of actions and intents are members of enums inside, and plain words in everything that leaves the engine."""

from __future__ import annotations

import json

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import tokens
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Action, ActionKind
from ansible_collections.luksmith.luks.plugins.module_utils._luks.result.actions import action_row
from ansible_collections.luksmith.luks.plugins.module_utils._luks.result.describe import unfinished
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.result.table_header import header, slot


def test_a_member_is_its_word() -> None:
    """Each Python has another idea of how a member that is also a text is printed."""
    kind = ActionKind.FINISH_ERASE
    shown = (str(kind), f"{kind}", f"{kind:>5}", format(kind), f"{kind:}", "%s" % kind)  # noqa: UP031 - it is asked for
    assert set(shown) == {"finish-erase"} and json.dumps([kind]) == '["finish-erase"]'
    assert kind == "finish-erase" and {"finish-erase": 1}[kind] == {kind: 1}["finish-erase"] == 1


@pytest.mark.parametrize("kind", ActionKind)
def test_the_actions_of_a_result_are_plain_words(kind: ActionKind) -> None:
    told = action_row(Action(kind, 1, "why"))["action"]
    assert told.__class__ is str and told == kind.value


@pytest.mark.parametrize("kind", model.IntentKind)
def test_the_kind_of_what_is_unfinished_is_a_plain_word(kind: model.IntentKind) -> None:
    told = unfinished(header(slot(0), intent=model.Intent(kind, 1, temporary_slot=2)))
    assert told is not None and told["kind"].__class__ is str and told["kind"] == kind.value


@pytest.mark.parametrize("kind", tokens.INTENT_KINDS)
def test_the_kind_in_a_token_is_a_plain_word(kind: model.IntentKind) -> None:
    tree = luks2_image.tree()
    tokens.store_intent(tree, model.Intent(kind, 1))
    (stored,) = (token for token in tree["tokens"].values() if token["type"] == tokens.INTENT_TYPE)
    assert stored["kind"].__class__ is str and stored["kind"] == kind.value
