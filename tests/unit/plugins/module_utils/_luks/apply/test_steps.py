# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each write of each step, in its order: what a crash between any two of them leaves is judged in tests/crash."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.luks1_steps import Luks1Steps
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.luks2_steps import Luks2Steps
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1.codec import Luks1Header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Extent, Intent, IntentKind, Write
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Action, ActionKind
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.apply.step_log import Log

BESIDE = "the luksmeta block: of {}"
Case = t.Tuple[str, t.Dict[str, t.Any], t.Optional[Intent], t.List[str]]


def action(**members: t.Any) -> Action:
    return Action(**{"kind": ActionKind.REKEY, "keyslot": 1, "reason": "", "label": "new", "secret": 0, **members})


LUKS1: t.Mapping[str, Case] = {
    "add": ("add", {"keyslot": 5}, None, ["key 5", "header 0,1,5"]),
    "erase": ("erase", {}, None, ["header 0,1 erase 1", "wipe 1", "header 0 erase 1", "header 0", BESIDE.format(1)]),
    "rekey in place": (
        "rekey",
        {"in_place": True},
        None,
        [
            "header 0,1 replace-erase 1",
            "wipe 1",
            "header 0 replace-erase 1",
            "header 0 replace-fill 1",
            "key 1",
            "header 0,1 replace-fill 1",
            "header 0,1",
        ],
    ),
    "rekey": (
        "rekey",
        {"overwrites": True},
        None,
        [
            "header 0,1 hop-add 1",
            "key 2",
            "header 0,1,2 hop-add 1",
            "header 0,1,2 hop-erase 1",
            "wipe 1",
            "header 0,2 hop-erase 1",
            "header 0,2 hop-fill 1",
            "key 1",
            "header 0,1,2 hop-fill 1",
            "header 0,1,2 erase 2",
            "wipe 2",
            "header 0,1 erase 2",
            "header 0,1",
            BESIDE.format(1),
        ],
    ),
    "go on with the copy": (
        "rekey",
        {"keyslot": 0, "temporary_slot": 1, "resume": True},
        Intent(IntentKind.MOVE_ADD, 0, 1),
        [
            "header 0,1 hop-erase 0",
            "wipe 0",
            "header 1 hop-erase 0",
            "header 1 hop-fill 0",
            "key 0",
            "header 0,1 hop-fill 0",
            "header 0,1 erase 1",
            "wipe 1",
            "header 0 erase 1",
            "header 0",
        ],
    ),
    "go on behind the copy": (
        "rekey",
        {"keyslot": 5, "temporary_slot": 1, "resume": True},
        Intent(IntentKind.MOVE_FILL, 5, 1),
        ["key 5", "header 0,1,5 hop-fill 5", "header 0,1,5 erase 1", "wipe 1", "header 0,5 erase 1", "header 0,5"],
    ),
    "go on in place": (
        "rekey",
        {"in_place": True, "resume": True},
        Intent(IntentKind.REPLACE_ERASE, 1),
        [
            "wipe 1",
            "header 0 replace-erase 1",
            "header 0 replace-fill 1",
            "key 1",
            "header 0,1 replace-fill 1",
            "header 0,1",
        ],
    ),
    "go on with the filling": (
        "rekey",
        {"keyslot": 5, "in_place": True, "resume": True},
        Intent(IntentKind.REPLACE_FILL, 5),
        ["key 5", "header 0,1,5 replace-fill 5", "header 0,1,5"],
    ),
    "finish": ("finish", {}, Intent(IntentKind.ERASE, 1), ["wipe 1", "header 0 erase 1", "header 0"]),
    "finish what is not active": ("finish", {"keyslot": 5}, Intent(IntentKind.ERASE, 5), ["wipe 5", "header 0,1"]),
    "finish what is filled": ("finish", {}, Intent(IntentKind.REPLACE_FILL, 1), ["header 0,1"]),
}
LEFT = Extent(Log("luks2").header.layout.window.end - 4096, 4096)
LUKS2: t.Mapping[str, Case] = {
    "heal": ("heal", {}, None, ["header 0,1"]),
    "priority": ("set_priority", {"priority": "prefer"}, None, ["header 0,1"]),
    "add": ("add", {"keyslot": 5}, None, ["key 5", "header 0,1,5"]),
    "erase": ("erase", {}, None, ["header 0 wipe 1", "wipe what no keyslot uses", "header 0"]),
    "rekey": ("rekey", {}, None, ["key 1", "header 0,1 wipe 1", "wipe what no keyslot uses", "header 0,1"]),
    "rekey in place": (
        "rekey",
        {"in_place": True},
        None,
        ["header 0,1 replace-erase 1", "wipe 1", "key 1", "header 0,1"],
    ),
    "go on in place": (
        "rekey",
        {"in_place": True, "resume": True},
        Intent(IntentKind.REPLACE_ERASE, 1),
        ["wipe 1", "header 0 replace-fill 1", "key 1", "header 0,1"],
    ),
    "finish": ("finish", {}, Intent(IntentKind.REPLACE_ERASE, 1), ["wipe 1", "header 0"]),
    "finish a wipe": (
        "finish",
        {"keyslot": 5},
        Intent(IntentKind.WIPE, 5, extents=(LEFT,)),
        ["wipe what no keyslot uses", "header 0,1"],
    ),
}


def steps(format: str, intent: t.Optional[Intent]) -> t.Tuple[t.Any, Log]:
    log: t.Any = Log(format)
    if intent is not None:
        log.commit(log.header.with_intent(intent))
        del log.said[:]
    return (Luks1Steps(log) if format == "luks1" else Luks2Steps(log, record=False)), log


@pytest.mark.parametrize("case", LUKS1)
def test_luks1(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Luks1Header, "luksmeta_removal", lambda _header, _read, number: [Write(0, f"of {number}".encode())]
    )
    step, members, intent, expected = LUKS1[case]
    made, log = steps("luks1", intent)
    getattr(made, step)(action(**members))
    assert log.said == expected


@pytest.mark.parametrize("case", LUKS2)
def test_luks2(case: str) -> None:
    step, members, intent, expected = LUKS2[case]
    made, log = steps("luks2", intent)
    getattr(made, step)(action(**members))
    assert log.said == expected


def test_luks2_in_the_place_of_a_key_that_nobody_opens() -> None:
    """With it goes what its token says of it."""
    for members in ({}, {"in_place": True}):
        made, log = steps("luks2", None)
        log.header = log.header.with_token(1, {"type": "clevis", "jwe": {}})
        made.rekey(action(overwrites=True, **members))
        assert [token.keyslots for token in log.header.tokens] in ([], [()])


@pytest.mark.parametrize(("keyslot", "priority"), [(8, "normal"), (-1, "normal"), (1, "prefer")])
def test_what_luks1_has_not(keyslot: int, priority: str) -> None:
    header = Log("luks1").header
    assert header.with_priority(1, "normal") is header
    with pytest.raises(Refused):
        header.with_priority(keyslot, priority)
