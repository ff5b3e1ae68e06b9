# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The description of a header is plain data without anything that helps to guess a secret."""

from __future__ import annotations

import json

from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Unsupported
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.result.describe import describe_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.hints import fingerprint
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.result.table_header import (
    ARGON2,
    PBKDF2,
    header,
    slot,
)


def test_everything_is_plain_data() -> None:
    found = header(
        slot(0),
        tokens=(model.Token(3, "clevis", (0,)),),
        intent=model.Intent(model.IntentKind.ERASE, 4),
        write_obstacle=Unsupported("requirement", "x"),
    )
    found.metadata = {"tokens": {"3": {}}}
    shown = json.loads(json.dumps(describe_header(found)))
    assert shown["version"] == 2
    assert shown["free_keyslots"] == 31
    assert shown["unfinished"].items() >= {"kind": "erase", "keyslot": 4, "via": None}.items()
    assert shown["unfinished"]["says"].startswith("An interrupted run was erasing keyslot 4")
    assert shown["write_obstacle"] == "unsupported requirement 'x'"
    assert shown["copies"] == {"primary": "ok"}
    assert shown["tokens"] == [{"number": 3, "type": "clevis", "keyslots": [0], "ours": False}]
    assert shown["segments"][0]["size"] is None
    assert shown["areas"][0]["offset"] == 32768
    assert "value" not in shown["digests"][0] and "salt" not in shown["digests"][0]


def test_a_quiet_header() -> None:
    shown = describe_header(header(luks1=True))
    assert (shown["version"], shown["unfinished"], shown["write_obstacle"], shown["areas"], shown["record"]) == (
        1,
        None,
        None,
        [],
        [],
    )


def test_the_record_tells_who_was_changed_since() -> None:
    record = {
        number: model.RecordEntry(number, f"label {number}", fingerprint(ARGON2), "2026-11-24T00:00:00Z")
        for number in (0, 1, 5)
    }
    shown = describe_header(header(slot(0), slot(1, PBKDF2), record=record))["record"]
    assert [(line["keyslot"], line["label"], line["current"]) for line in shown] == [
        (0, "label 0", True),
        (1, "label 1", False),
        (5, "label 5", False),
    ]
