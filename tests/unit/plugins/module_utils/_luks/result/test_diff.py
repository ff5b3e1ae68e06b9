# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables as a person reads them, to the character."""

from __future__ import annotations

import difflib
import textwrap
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Action, ActionKind, KdfChoice, Plan
from ansible_collections.luksmith.luks.plugins.module_utils._luks.result import diff, prediction, slot_table
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.result.table_header import (
    PBKDF2,
    header,
    slot,
)

UUID = "0b6dd9bb-21a1-4c9c-b8b0-0a3d8f2c6a55"


def drawn(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def difference(found: t.Any, *actions: Action, opened_by: t.Mapping[int, t.Sequence[str]]) -> t.Dict[str, str]:
    before = slot_table.rows(found, opened_by)
    plan = Plan(actions)
    return diff.diff(
        before,
        prediction.predict(
            before, plan, found, dict.fromkeys(range(len(actions)), KdfChoice(PBKDF2, frozenset({"iterations"})))
        ),
        plan,
        path="/dev/x",
        uuid=UUID,
        format=found.format,
    )


def test_luks2_table() -> None:
    found = header(
        slot(0),
        slot(1, PBKDF2, priority="ignore"),
        slot(2, model.UnknownKdf("scrypt")),
        slot(10, bound=False, priority="prefer"),
        tokens=(model.Token(0, "systemd-tpm2", (1,)), model.Token(1, "clevis", (1,))),
    )
    text = diff.render(slot_table.rows(found, {0: ["admin", "boot"]}, unknown=(2,)), uuid=UUID, format="luks2")
    assert text == drawn(
        """
        LUKS2 0b6dd9bb-21a1-4c9c-b8b0-0a3d8f2c6a55
        keyslot  opened by                         key derivation                          remarks
        0        admin, boot                       argon2id, 4 passes, 65536 KiB, 2 lanes
        1        (not opened by any given secret)  pbkdf2-sha256, 4000 iterations          priority ignore, token systemd-tpm2, token clevis
        2        (not tried)                       scrypt
        10       (not opened by any given secret)  argon2id, 4 passes, 65536 KiB, 2 lanes  not bound to the volume, priority prefer
        """  # noqa: E501 - a table as it is printed
    )


def test_luks1_table_draws_no_empty_column() -> None:
    text = diff.render(
        slot_table.rows(header(slot(1, PBKDF2), luks1=True), {1: ["admin"]})[:3], uuid=UUID, format="luks1"
    )
    assert text == drawn(
        """
        LUKS1 0b6dd9bb-21a1-4c9c-b8b0-0a3d8f2c6a55
        keyslot  opened by  key derivation
        0        (free)
        1        admin      pbkdf2-sha256, 4000 iterations
        2        (free)
        """
    )


def test_a_volume_without_any_slot() -> None:
    assert diff.render([], uuid=UUID, format="luks2") == f"LUKS2 {UUID}\n\n"


def test_costs_that_the_real_run_decides() -> None:
    row = {
        "keyslot": 0,
        "state": "active",
        "bound": True,
        "priority": "normal",
        "opened_by": ["a"],
        "tried": True,
        "tokens": [],
    }
    for kdf, text in (
        ({"type": "set at apply"}, "set at apply"),
        ({"type": "pbkdf2", "hash": "sha256", "iterations": "set at apply"}, "pbkdf2-sha256, costs set at apply"),
        ({"type": "pbkdf2", "hash": "set at apply", "iterations": 1000}, "pbkdf2, 1000 iterations"),
        (
            {"type": "argon2id", "time": "set at apply", "memory": 32, "parallel": 1},
            "argon2id, passes set at apply, 32 KiB, 1 lane",
        ),
    ):
        assert diff.render([{**row, "kdf": kdf}], uuid=UUID, format="luks2").rstrip().endswith(f"  {text}")


def test_only_changed_slots_are_changed_lines() -> None:
    found = header(slot(0), slot(1), slot(2))
    long = "a label that is much longer than every other word in the table"
    shown = difference(
        found,
        Action(ActionKind.ADD, 3, "why", label=long),
        Action(ActionKind.ERASE, 1, "why"),
        opened_by={0: ["a"], 1: ["b"], 2: ["c"]},
    )
    lines = list(difflib.ndiff(shown["before"].splitlines(), shown["after"].splitlines()))
    assert [line[2:3] for line in lines if line.startswith("- ")] == ["1"]
    assert [line[2:3] for line in lines if line.startswith("+ ")] == ["3"]
    assert (
        len(
            {
                line.index("argon2id")
                for text in (shown["before"], shown["after"])
                for line in text.splitlines()[2:]
                if "argon2id" in line
            }
        )
        == 1
    )
    assert shown["before_header"] == shown["after_header"] == "/dev/x"


def test_no_change_is_no_difference() -> None:
    shown = difference(header(slot(0)), opened_by={})
    assert shown["before"] == shown["after"]


def test_what_is_mended_beside_the_slots_shows() -> None:
    found = header(slot(0), intent=model.Intent(model.IntentKind.WIPE, 0))
    heal, finish = (
        Action(ActionKind.HEAL_HEADER, None, "why"),
        Action(ActionKind.FINISH_ERASE, 0, "an interrupted run left something", resume=True),
    )
    shown = difference(found, heal, finish, opened_by={0: ["a"]})
    assert "header copies differ\nunfinished: an interrupted run left something\n" in shown["before"]
    assert "header copies agree\nnothing unfinished\n" in shown["after"]
    assert shown["before"].splitlines()[3:] == shown["after"].splitlines()[3:]
