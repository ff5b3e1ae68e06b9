# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""To whom a secret was given out, and what that means for the next rotation."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.decision import (
    MAKE,
    REST,
    TAKE_UP,
    Wanted,
    decide,
)
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.entry import BadEntry, Entry, blank, notes
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.given_out import given_out, wanted_entry
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.groups import group
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import Stored

ONE, TWO = "4b543c86-7353-47b9-b355-d0ef03989991", "5b543c86-7353-47b9-b355-d0ef03989992"
NOW = datetime.datetime(2026, 11, 29)
START = "luks/web/"


def secret(identity: str) -> t.Dict[str, t.Any]:
    return {"id": identity, "passphrase": f"of {identity}", "generation": "one", "created": "2026-11-01T00:00:00Z"}


def entry(uuid: str = ONE, **fields: t.Any) -> Entry:
    return {**blank("web", uuid, f"/dev/{uuid[0]}"), "current": secret("aa"), **fields}


def given(one: Entry) -> Entry:
    return given_out(one, "alice", "2026-11-29T01:00:00Z", "no boot")[0]


def test_a_secret_that_was_given_out_is_due() -> None:
    wanted = Wanted("one", 365)
    assert decide(entry(), wanted, NOW).phase == REST
    decision = decide(given(entry()), wanted, NOW)
    assert decision.phase == MAKE
    assert decision.reason == "the current secret was given to alice at 2026-11-29T01:00:00Z (no boot)"
    staged = decide(given(entry(next=secret("bb"))), wanted, NOW)
    assert staged.phase == TAKE_UP and "given to alice" in staged.then


def test_the_same_passphrase_once_more_is_refused() -> None:
    """With a passphrase of the operator's own, nothing would be due, and the one who has it would keep it."""
    with pytest.raises(BadEntry, match="rotate_passphrase is secret aa, which was given to alice"):
        decide(given(entry()), Wanted(passphrase="of aa"), NOW)
    assert decide(given(entry()), Wanted(passphrase="another"), NOW).phase == MAKE


def test_an_interrupted_run_with_a_passphrase_that_was_given_out_is_finished_first() -> None:
    decision = decide(given(entry(next=secret("bb"))), Wanted(passphrase="of bb"), NOW)
    assert decision.phase == TAKE_UP and "given to alice" in decision.then


@pytest.mark.parametrize("field", [None, "alice", {"to": "alice"}, [], ["alice"], [None]])
def test_what_is_no_note(field: t.Any) -> None:
    one = entry(current={**secret("aa"), "given": field})
    assert notes(one["current"]) == []
    assert decide(one, Wanted("one"), NOW).phase == REST


def test_a_hostile_note_reaches_no_terminal() -> None:
    note = {"to": "\x1b[2J" + "a" * 5000, "at": None, "why": ["x"]}
    reason = decide(entry(current={**secret("aa"), "given": [note]}), Wanted("one"), NOW).reason
    assert "\x1b" not in reason and len(reason) < 1000


def test_both_secrets_of_an_interrupted_rotation_are_shown_and_noted() -> None:
    before = entry(next=secret("bb"), older=[secret("cc")])
    after, shown = given_out(before, "alice", "now", "")
    assert [one["id"] for one in shown] == ["aa", "bb"]
    assert [bool(notes(one)) for one in (after["current"], after["next"], *after["older"])] == [True, True, False]
    assert not notes(before["current"])
    again, _shown = given_out(after, "bob", "later", "")
    assert [note["to"] for note in notes(again["current"])] == ["alice", "bob"]


def test_nothing_to_give() -> None:
    with pytest.raises(BadEntry, match="no secret of this volume"):
        given_out(entry(current=None), "alice", "now", "")
    sealed = {"id": "aa", "sealed": "an envelope"}
    with pytest.raises(BadEntry, match="rotate_escrow_private_key"):
        given_out(entry(current=sealed), "alice", "now", "")


KNOWN = {START + one: Stored(entry(one), 3) for one in (ONE, TWO)}
PAIR = [group("osd", [TWO])]


@pytest.mark.parametrize("name", [ONE, ONE.upper(), "/dev/4"])
def test_a_volume_by_what_an_operator_knows_of_it(name: str) -> None:
    found = wanted_entry(KNOWN, START, "web", name, [])
    assert (found.key, found.entry["uuid"], found.stored.version) == (START + ONE, ONE, 3)


def test_a_group_by_its_name_or_a_member() -> None:
    osd = group("osd", [TWO, "/dev/db"])
    known = {START + osd.uuid: Stored(entry(osd.uuid), 1)}
    for name in ("osd", TWO, "/dev/db", ""):
        assert wanted_entry(known, START, "web", name, [osd]).key == START + osd.uuid


@pytest.mark.parametrize("name", ["", "/dev/9", "*"])
def test_no_volume_or_several(name: str) -> None:
    with pytest.raises(BadEntry) as refused:
        wanted_entry(KNOWN, START, "web", name, [])
    assert ONE in str(refused.value) and "/dev/5" in str(refused.value) and "of aa" not in str(refused.value)


def test_an_entry_of_another_host_is_none() -> None:
    """Somebody exchanged two of them."""
    other = {START + ONE: Stored({**entry(), "host": "db"}, 1)}
    with pytest.raises(BadEntry, match="entry for host 'db'"):
        wanted_entry(other, START, "web", ONE, [])


@pytest.mark.parametrize("strange", [[], ["a"], "text", 7])
def test_what_is_no_entry_is_told(strange: t.Any) -> None:
    known = {START + ONE: Stored(strange, 1), START + TWO: Stored(entry(TWO), 1)}
    assert wanted_entry(known, START, "web", TWO, []).key == START + TWO


def test_a_host_that_the_store_does_not_know() -> None:
    with pytest.raises(BadEntry, match=r"no volume of this host under web/\. Compare the name of the host") as refused:
        wanted_entry({}, "web/", "web", "", ())
    assert "Name one" not in str(refused.value)
