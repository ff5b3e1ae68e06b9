# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import entry as entries
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.entry import BadEntry, Entry, Secret

UUID = "4b543c86-7353-47b9-b355-d0ef03989991"


def secret(identity: str) -> Secret:
    return {
        "id": identity,
        "passphrase": f"passphrase of {identity}",
        "generation": "",
        "created": "2026-11-24T01:04:41Z",
    }


def entry(current: t.Optional[str] = None, new: t.Optional[str] = None, older: t.Sequence[str] = ()) -> Entry:
    made = entries.blank("web-01", UUID, "/dev/sdb")
    made.update(current=current and secret(current), next=new and secret(new), older=[secret(one) for one in older])
    return made


def names(held: Entry) -> t.Tuple[t.Optional[str], t.Optional[str], t.List[str]]:
    return (
        held["current"] and held["current"]["id"],
        held["next"] and held["next"]["id"],
        [one["id"] for one in held["older"]],
    )


def test_a_rotation() -> None:
    begun = entry()
    first = entries.promoted(entries.staged(begun, secret("a")), "a")
    assert names(first) == ("a", None, [])
    second = entries.staged(first, secret("b"))
    assert names(second) == ("a", "b", [])
    assert names(entries.promoted(second, "b")) == ("b", None, ["a"])
    assert names(begun) == (None, None, []) and names(first) == ("a", None, []), "no function changes its argument"


def test_a_staged_secret_is_never_replaced() -> None:
    with pytest.raises(BadEntry, match="b is staged already"):
        entries.staged(entry("a", "b"), secret("c"))


def test_an_empty_passphrase_is_not_staged() -> None:
    with pytest.raises(BadEntry, match="the given passphrase is empty"):
        entries.staged(entry("a"), {**secret("b"), "passphrase": ""})


def test_promoting_twice_is_promoting_once() -> None:
    once = entries.promoted(entry("a", "b"), "b")
    assert entries.promoted(once, "b") == once


@pytest.mark.parametrize("held", [entry("a"), entry("a", "c"), entry()])
def test_only_a_staged_secret_is_promoted(held: Entry) -> None:
    with pytest.raises(BadEntry, match="b is not staged"):
        entries.promoted(held, "b")


@pytest.mark.parametrize(("keep", "left"), [(0, []), (1, ["b"]), (2, ["b", "a"]), (5, ["b", "a"]), (-1, [])])
def test_forgetting_keeps_the_newest(keep: int, left: t.List[str]) -> None:
    assert names(entries.forgotten(entry("c", None, ["b", "a"]), keep)) == ("c", None, left)


def test_a_store_gives_back_what_it_got_or_not() -> None:
    held = entry("a", "b")
    assert entries.holds(held, "next", secret("b")) and entries.holds(held, "current", secret("a"))
    assert not entries.holds(held, "next", {**secret("b"), "passphrase": "passphrase of B"})
    assert not entries.holds(held, "next", secret("c")) and not entries.holds(entry("a"), "next", secret("b"))


def test_reading_a_blank_and_a_full_one() -> None:
    assert entries.read(None, "web-01", UUID, "/dev/sdb") == entry()
    assert entries.read({}, "web-01", UUID, "/dev/sdb") == entry()
    assert names(entries.read(entry("c", "d", ["b", "a"]), "web-01", UUID.upper(), "/dev/sdc")) == (
        "c",
        "d",
        ["b", "a"],
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "no entry of format 1"),
        ({"host": "web-02"}, "an entry for host 'web-02'"),
        ({"uuid": "ffffffff-7353-47b9-b355-d0ef03989991"}, "an entry for uuid"),
        ({"older": {}}, "no list"),
        ({"current": {"id": "a"}}, "without an id or without a passphrase"),
        ({"next": {"passphrase": "x"}}, "without an id or without a passphrase"),
        ({"older": ["passphrase of x"]}, "without an id or without a passphrase"),
    ],
)
def test_what_is_no_entry_of_this_volume(change: Entry, says: str) -> None:
    found = {**copy.deepcopy(entry("a")), **change}
    with pytest.raises(BadEntry, match=says) as refused:
        entries.read(found, "web-01", UUID, "/dev/sdb")
    assert "passphrase of" not in str(refused.value)


@pytest.mark.parametrize("uuid", ["", "../../etc/passwd", "4b543c86-7353-47b9-b355-d0ef0398999", None, f"{UUID}/x"])
def test_a_uuid_that_would_be_a_path(uuid: t.Any) -> None:
    with pytest.raises(BadEntry, match="uuid in the header is none"):
        entries.read(None, "web-01", uuid, "/dev/sdb")


def test_what_several_stores_know_together_is_no_word_of_one_of_them() -> None:
    found = {**entry("b", "c", ["a"]), "behind": ["other"]}
    for one in entries.held(found):
        one["where"] = "the current one in another store"
    together = entries.read(entries.Merged(found), "web-01", UUID, "/dev/sdb")
    assert together["behind"] and all(one["where"] for one in entries.held(together))
    assert entries.read(found, "web-01", UUID, "/dev/sdb") == entry("b", "c", ["a"])


def line(identity: str, keyslot: int = 1, *, current: bool = True, label: str = "rotation ") -> t.Dict[str, t.Any]:
    return {"keyslot": keyslot, "label": f"{label}{identity}", "current": current, "changed": ""}


@pytest.mark.parametrize(
    "record",
    [
        [],
        [line("c")],
        [line("b")],
        [line("a")],
        [line("x", current=False)],
        [line("x", label="admin ")],
        [line("c"), line("b", 2)],
    ],
)
def test_a_volume_that_is_as_old_as_the_store_or_older(record: t.Sequence[t.Dict[str, t.Any]]) -> None:
    held = entries.forgotten(entry("c", None, ["b", "a"]), 1)
    assert held["past"] == ["a"]
    entries.check_not_older(held, record, begin=False)


def test_a_store_that_is_older_than_the_volume() -> None:
    for begin in (False, True):
        with pytest.raises(BadEntry, match="store is older than the volume: the record in the header names secret 'd'"):
            entries.check_not_older(entry("c", None, ["b"]), [line("d")], begin)


def test_a_store_that_knows_nothing_of_a_volume_that_was_rotated() -> None:
    with pytest.raises(BadEntry, match="secret 'd' of an earlier rotation, and the store holds nothing"):
        entries.check_not_older(entry(), [line("d")], begin=False)
    entries.check_not_older(entry(), [line("d")], begin=True)


@pytest.mark.parametrize(
    ("opened", "record", "believed"),
    [
        ([], [], False),
        ([], [line("b")], False),
        ([1], [], True),
        ([1], [line("b")], True),
        ([1], [line("a")], False),
        ([1], [line("break-glass", label="")], False),
        ([1], [line("a", current=False)], True),
        ([1, 2], [line("a"), line("b", 2)], True),
    ],
)
def test_what_proves_a_staged_secret(
    opened: t.Sequence[int], record: t.Sequence[t.Dict[str, t.Any]], believed: bool
) -> None:
    assert entries.proven(secret("b"), opened, record) is believed


def test_what_is_discarded_is_not_lost() -> None:
    """Another run that staged it may be about to bring it to the volume."""
    held = entries.discarded(entry("a", "x", ["o"]))
    assert names(held) == ("a", None, ["x", "o"])
    assert names(entries.promoted(entries.staged(held, secret("b")), "b")) == ("b", None, ["a", "x", "o"])
