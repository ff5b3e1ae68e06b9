# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of what is there, and rows of what a plan will leave."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Action, ActionKind, KdfChoice, Plan
from ansible_collections.luksmith.luks.plugins.module_utils._luks.result import prediction, slot_table
from ansible_collections.luksmith.luks.plugins.module_utils._luks.result.slot_table import SET_AT_APPLY, Row
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.result.table_header import (
    ARGON2,
    PBKDF2,
    header,
    slot,
)

CHOSEN = KdfChoice(PBKDF2)


def after(
    found: t.Any,
    *actions: Action,
    chosen: KdfChoice = CHOSEN,
    opened_by: t.Optional[t.Mapping[int, t.Sequence[str]]] = None,
) -> t.Dict[int, Row]:
    before = slot_table.rows(found, {0: ["old"]} if opened_by is None else opened_by)
    kept = [dict(row) for row in before]
    predicted = prediction.predict(before, Plan(actions), found, dict.fromkeys(range(len(actions)), chosen))
    assert before == kept
    assert [row["keyslot"] for row in predicted] == sorted(row["keyslot"] for row in predicted)
    return {row["keyslot"]: row for row in predicted}


def test_luks2_lists_its_active_slots() -> None:
    token = model.Token(0, "systemd-tpm2", (2,))
    ours = model.Token(1, "luksmith-record", (0, 2), ours=True)
    found = header(
        slot(0),
        slot(2, PBKDF2, priority="ignore"),
        slot(9, model.UnknownKdf("scrypt"), bound=False),
        tokens=(token, ours),
    )
    assert slot_table.rows(found, {0: ["a", "b"]}, unknown=(9,)) == [
        {
            "keyslot": 0,
            "state": "active",
            "bound": True,
            "priority": "normal",
            "kdf": {"type": "argon2id", "time": 4, "memory": 65536, "parallel": 2},
            "opened_by": ["a", "b"],
            "tried": True,
            "tokens": [],
        },
        {
            "keyslot": 2,
            "state": "active",
            "bound": True,
            "priority": "ignore",
            "kdf": {"type": "pbkdf2", "hash": "sha256", "iterations": 4000},
            "opened_by": [],
            "tried": True,
            "tokens": ["systemd-tpm2"],
        },
        {
            "keyslot": 9,
            "state": "active",
            "bound": False,
            "priority": "normal",
            "kdf": {"type": "scrypt"},
            "opened_by": [],
            "tried": False,
            "tokens": [],
        },
    ]


def test_luks1_lists_all_its_slots() -> None:
    table = slot_table.rows(header(slot(6, PBKDF2), luks1=True), {})
    assert [row["state"] for row in table] == ["inactive"] * 6 + ["active", "inactive"]
    assert table[0]["kdf"] == {} and table[0]["opened_by"] == [] and not table[0]["tried"]


def test_an_opened_slot_counts_as_tried() -> None:
    assert slot_table.rows(header(slot(0)), {0: ["a"]}, unknown=(0,))[0]["tried"]


def test_an_added_slot_shows_what_will_be_derived_and_leaves_open_what_is_measured() -> None:
    action = Action(ActionKind.ADD, 1, "why", label="new", secret=1, entry=0)
    assert after(header(slot(0)), action, chosen=KdfChoice(ARGON2, frozenset({"time"})))[1] == {
        "keyslot": 1,
        "state": "active",
        "bound": True,
        "priority": "normal",
        "kdf": {"type": "argon2id", "time": SET_AT_APPLY, "memory": 65536, "parallel": 2},
        "opened_by": ["new"],
        "tried": True,
        "tokens": [],
    }


def test_add_with_a_priority() -> None:
    assert (
        after(header(slot(0)), Action(ActionKind.ADD, 1, "why", label="new", priority="prefer"))[1]["priority"]
        == "prefer"
    )


def test_a_rekeyed_slot_keeps_priority_and_tokens() -> None:
    token = model.Token(0, "clevis", (0,))
    row = after(
        header(slot(0, priority="prefer"), tokens=(token,)), Action(ActionKind.REKEY, 0, "why", label="new", entry=0)
    )[0]
    assert row["kdf"] == slot_table.kdf_fields(PBKDF2)
    assert (row["opened_by"], row["priority"], row["tokens"], row["bound"]) == (["new"], "prefer", ["clevis"], True)


def test_a_rekeyed_slot_is_bound() -> None:
    row = after(
        header(slot(0, PBKDF2, bound=False)), Action(ActionKind.REKEY, 0, "why", label="new", entry=0), opened_by={}
    )[0]
    assert row["bound"]


def test_the_end_of_an_interrupted_rekey_frees_the_slot_between() -> None:
    found = header(
        slot(0, PBKDF2),
        slot(3, PBKDF2),
        luks1=True,
        intent=model.Intent(model.IntentKind.MOVE_ERASE, 0, temporary_slot=3),
    )
    table = after(
        found, Action(ActionKind.REKEY, 0, "why", label="new", resume=True, temporary_slot=3), opened_by={3: ["new"]}
    )
    assert (table[0]["state"], table[0]["opened_by"], table[3]["state"]) == ("active", ["new"], "inactive")


def test_an_erased_slot_is_gone_on_luks2_and_free_on_luks1() -> None:
    assert list(after(header(slot(0), slot(1)), Action(ActionKind.ERASE, 1, "why"))) == [0]
    table = after(header(slot(0, PBKDF2), slot(1, PBKDF2), luks1=True), Action(ActionKind.ERASE, 1, "why"))
    assert (len(table), table[1]["state"], table[1]["opened_by"]) == (8, "inactive", [])


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        (model.IntentKind.ERASE, [0]),
        (model.IntentKind.REPLACE_ERASE, [0]),
        (model.IntentKind.WIPE, [0, 1]),
        (model.IntentKind.REPLACE_FILL, [0, 1]),
    ],
)
def test_what_finishing_an_erase_takes_away(kind: str, left: t.List[int]) -> None:
    found = header(slot(0), slot(1), intent=model.Intent(kind, 1))
    assert list(after(found, Action(ActionKind.FINISH_ERASE, 1, "why", resume=True))) == left


def test_finishing_what_is_gone_already() -> None:
    assert list(
        after(
            header(slot(0), intent=model.Intent(model.IntentKind.ERASE, 1)),
            Action(ActionKind.FINISH_ERASE, 1, "why", resume=True),
        )
    ) == [0]


def test_priority_and_header_copies() -> None:
    table = after(
        header(slot(0)),
        Action(ActionKind.HEAL_HEADER, None, "why"),
        Action(ActionKind.SET_PRIORITY, 0, "why", priority="ignore"),
    )
    assert table[0]["priority"] == "ignore"
    assert table[0]["kdf"] == slot_table.kdf_fields(ARGON2)
