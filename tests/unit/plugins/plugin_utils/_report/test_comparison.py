# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changed since the last report: what is said, and what nobody can know and is not said."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import comparison, data, exchange, page
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets

AUDITED = {"policy": {"digest": "p1"}, "verify": "proof", "labels": ["admin"]}


def compared(tmp_path: pathlib.Path, old: t.Any, new: t.Any, kind: str = "audit", **run: t.Any) -> t.Dict[str, t.Any]:
    """The member ``since`` of a report of the hosts ``new``, where that of ``old`` stands."""
    file = tmp_path / "last.json"
    told = {"run": run} if run else {}
    file.write_text(exchange.to_json(data.build(old, kind=kind, generated="yesterday", **told)))
    before = json.loads(json.dumps(comparison.baseline(str(file), kind)))
    report = data.build(new, kind=kind, since=lambda hosts: comparison.since(before, hosts, kind))
    assert comparison.sentence(report["since"]) in page.summary(report)
    return t.cast(t.Dict[str, t.Any], report["since"])


def host(*volumes: t.Any, name: str = "a", **members: t.Any) -> t.Dict[str, t.Any]:
    return {"host": name, "volumes": list(volumes), **members}


def audited(number: int, *findings: t.Any, unverified: t.Sequence[t.Any] = (), **members: t.Any) -> t.Dict[str, t.Any]:
    state = "findings" if findings else "unverified" if unverified else "compliant"
    one = {"evidence": AUDITED, "fingerprint": "f", "state": state, "unverified": list(unverified), **members}
    return {**fleets.volume(number), "findings": list(findings), **one}


COST, AGE = fleets.finding(), fleets.finding("secret-age", "medium")
FIXED = {**AUDITED, "policy": {"digest": "p2"}}


@pytest.mark.parametrize(
    ("old", "new", "change", "notes"),
    [
        (audited(1), audited(1), None, None),
        (audited(1), audited(1, COST), "worse", []),
        (audited(1, COST), audited(1), "better", []),
        (audited(1), audited(1, AGE), "worse", ["became overdue"]),
        (audited(1, COST), audited(1, AGE), "better", ["became overdue"]),
        (audited(1, AGE), audited(1, COST), "worse", []),
        (audited(1, COST), audited(1, {**COST, "severity": "low"}), "better", []),
        (audited(1, COST), audited(1, {**COST, "keyslot": 2}), "changed", []),
        # What is not verified any more was not mended.
        (audited(1, COST), audited(1, unverified=[COST]), "changed", []),
        (audited(1, COST), audited(1, evidence=FIXED), "changed", ["audited with another policy"]),
        (audited(1), audited(1, COST, evidence=FIXED), "worse", ["audited with another policy"]),
        (
            audited(1, COST),
            audited(1, evidence={**AUDITED, "verify": "record"}),
            "changed",
            ["audited with other verification"],
        ),
        (audited(1), audited(1, fingerprint="g"), "changed", ["its header changed"]),
        (audited(1, COST), audited(1, state="failed", msg="x"), "worse", ["could not be audited"]),
        (audited(1, state="failed", msg="x"), audited(1), "changed", ["was audited again"]),
        (audited(1, state="failed", msg="x"), audited(1, state="failed", msg="y"), None, None),
    ],
)
def test_a_volume_of_an_audit(
    tmp_path: pathlib.Path, old: t.Any, new: t.Any, change: t.Optional[str], notes: t.Any
) -> None:
    found = compared(tmp_path, [host(old)], [host(new)])
    assert found["compared"] == 1
    assert [(one["change"], one["notes"]) for one in found["volumes"]] == ([(change, notes)] if change else [])
    assert found["counts"] == {**dict.fromkeys(comparison.CHANGES, 0), **({change: 1} if change else {})}


def test_which_findings_appeared_and_went(tmp_path: pathlib.Path) -> None:
    [one] = compared(tmp_path, [host(audited(1, COST))], [host(audited(1, AGE))])["volumes"]
    assert (one["was"], one["is"], one["device"], one["host"]) == ("findings", "findings", "/dev/vda1", "a")
    assert [finding["rule"] for finding in one["appeared"]] == ["secret-age"]
    assert one["went"] == [{"rule": "kdf-cost", "keyslot": 0, "severity": "high", "unverified": False}]


@pytest.mark.parametrize(
    ("old", "new", "change", "notes"),
    [
        ("unchanged", "unchanged", None, None),
        ("unchanged", "done", "changed", ["rotated"]),
        ("done", "done", "changed", ["rotated"]),
        ("done", "unchanged", None, None),
        ("done", "planned", "changed", ["became due"]),
        ("planned", "planned", None, None),
        ("unchanged", "refused", "worse", []),
        ("refused", "done", "better", ["rotated"]),
        ("partial", "unchanged", "better", []),
        ("refused", "refused", None, None),
        ("refused", "partial", "changed", []),
        ("failed", "planned", "changed", ["became due"]),
    ],
)
def test_a_volume_of_a_rotation(
    tmp_path: pathlib.Path, old: str, new: str, change: t.Optional[str], notes: t.Any
) -> None:
    found = compared(tmp_path, [host(fleets.rotated(1, old))], [host(fleets.rotated(1, new))], "rotation", check=True)
    assert [(one["change"], one["notes"]) for one in found["volumes"]] == ([(change, notes)] if change else [])
    assert found["check"] is True and "the report of yesterday, a dry run" in comparison.sentence(found)


@pytest.mark.parametrize(("old", "new", "change"), [((), (4,), "worse"), ((4,), (), "better"), ((4,), (5,), "worse")])
def test_keyslots_that_no_known_secret_opens(tmp_path: pathlib.Path, old: t.Any, new: t.Any, change: str) -> None:
    was, now = (
        host(fleets.rotated(1, "unchanged", unknown=[{"keyslot": number, "tried": True} for number in slots]))
        for slots in (old, new)
    )
    [one] = compared(tmp_path, [was], [now], "rotation")["volumes"]
    assert one["change"] == change and len(one["notes"]) == len({*old, *new})


def test_of_a_volume_that_failed_nothing_is_said_of_its_keyslots(tmp_path: pathlib.Path) -> None:
    known = fleets.rotated(1, "unchanged", unknown=[{"keyslot": 4, "tried": True}])
    [one] = compared(tmp_path, [host(known)], [host(fleets.rotated(1, "refused"))], "rotation")["volumes"]
    assert one["notes"] == []


def test_volumes_that_came_and_went(tmp_path: pathlib.Path) -> None:
    found = compared(tmp_path, [host(audited(1), audited(2))], [host(audited(2), audited(3))])
    assert [(one["device"], one["change"]) for one in found["volumes"]] == [("/dev/vda1", "gone"), ("/dev/vda3", "new")]
    assert found["compared"] == 1 and "1 new, 1 gone (1 volume compared)" in comparison.sentence(found)


def test_a_volume_is_known_by_its_uuid_and_else_by_its_path(tmp_path: pathlib.Path) -> None:
    assert compared(tmp_path, [host(audited(1))], [host(audited(1, device="/dev/sdz"))])["volumes"] == []
    unread = {"device": "/dev/vda1", "state": "failed", "msg": "x"}
    [one] = compared(tmp_path, [host(audited(1))], [host(unread)])["volumes"]
    assert one["change"] == "worse"
    again = compared(tmp_path, [host(audited(1))], [host(audited(1, uuid="another"))])["volumes"]
    assert sorted(one["change"] for one in again) == ["gone", "new"], "a volume that was made anew is another one"


def test_clones_are_told_apart_by_their_paths(tmp_path: pathlib.Path) -> None:
    twins = [audited(1, uuid="u"), audited(2, COST, uuid="u")]
    assert compared(tmp_path, [host(*twins)], [host(*reversed(twins))])["volumes"] == []


def test_of_a_host_that_gave_no_answer_no_volume_is_gone(tmp_path: pathlib.Path) -> None:
    lost = host(error="no route")
    found = compared(tmp_path, [host(audited(1))], [lost])
    assert (found["volumes"], found["lost"], found["back"]) == ([], ["a"], [])
    found = compared(tmp_path, [lost], [host(audited(1))])
    assert (found["volumes"], found["lost"], found["back"]) == ([], [], ["a"])
    found = compared(tmp_path, [lost], [lost])
    assert (found["volumes"], found["lost"], found["not_compared"]) == ([], [], ["a"])


@pytest.mark.parametrize("state", ["beyond", "waiting", "asking", "interrupted"])
def test_a_host_that_was_not_asked_is_not_compared(tmp_path: pathlib.Path, state: str) -> None:
    away, there = host(state=state), host(fleets.rotated(1, "refused"))
    for old, new in ((away, there), (there, away)):
        found = compared(tmp_path, [old], [new], "rotation")
        assert (found["not_compared"], found["volumes"], found["lost"], found["compared"]) == (["a"], [], [], 0)
    assert compared(tmp_path, [host(audited(1))], [host(name="b")])["not_compared"] == ["a", "b"]


def test_a_clone_whose_twin_was_not_asked_is_not_mended(tmp_path: pathlib.Path) -> None:
    clones = [host(audited(1, uuid="u", key_digest="k"), name=name) for name in ("a", "b")]
    found = compared(tmp_path, clones, clones[:1])
    assert [one["went"] for one in found["volumes"]] in ([], [[]])
    assert not found["counts"]["better"] and found["not_compared"] == ["b"]
    apart = [clones[0], host(audited(1, uuid="v", key_digest="l"), name="b")]
    assert "a" in [one["host"] for one in compared(tmp_path, clones, apart)["volumes"] if one["change"] == "better"]


def test_the_first_report_says_nothing_of_another(tmp_path: pathlib.Path) -> None:
    before = comparison.baseline(str(tmp_path / "none.json"), "audit")
    found = comparison.since(before, data.build([host(audited(1))])["hosts"], "audit")
    assert found["first"] is True and found["problem"] is None and comparison.sentence(found) == ""


GOOD = {"version": 1, "kind": "audit", "hosts": []}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        ('{"version": ' + "1" * 100_000 + "}", "it is not JSON"),
        ("[]", "it is no report of this collection"),
        ({**GOOD, "version": 2}, "it is not of version 1"),
        ({**GOOD, "version": [1]}, "it is not of version 1"),
        ({**GOOD, "kind": "rotation"}, "it is no report of an audit"),
        ({**GOOD, "kind": {}}, "it is no report of an audit"),
        ({**GOOD, "hosts": None}, "it has no hosts"),
        ({**GOOD, "hosts": {"a": 1}}, "it has no hosts"),
        ({**GOOD, "hosts": [1]}, "it has no hosts"),
        ({**GOOD, "hosts": [{"host": ["a"]}]}, "it has no hosts"),
        ({**GOOD, "hosts": [{"host": "a", "volumes": 1}]}, "it has no hosts"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(tmp_path: pathlib.Path, content: t.Any, reason: str) -> None:
    file = tmp_path / "last.json"
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = comparison.since(comparison.baseline(str(file), "audit"), [], "audit")
    assert found["problem"].startswith(f"The report {file} could not be compared: {reason}")
    assert comparison.sentence(found) == found["problem"] and found["first"] is False


def test_what_is_no_file_is_not_opened_for_good(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, link, folder, large = (tmp_path / name for name in ("pipe", "link", "folder", "large"))
    os.mkfifo(pipe)
    folder.mkdir()
    large.write_text(exchange.to_json(data.build([])))
    link.symlink_to(large)
    monkeypatch.setattr(comparison, "LARGEST", 10)
    for path, reason in (
        (pipe, "it is no regular file"),
        (folder, "it is no regular file"),
        (link, "it is a symbolic link"),
        (large, "it is larger than 0 MiB"),
    ):
        assert reason in comparison.baseline(str(path), "audit")["problem"]


@pytest.mark.parametrize("odd", [None, 1, "x", [], {}, [[]], [{}], [{"rule": [], "severity": {}, "keyslot": "0"}]])
@pytest.mark.parametrize("member", ["findings", "unverified", "uuid", "state", "evidence", "fingerprint", "unknown"])
@pytest.mark.parametrize("kind", data.KINDS)
def test_odd_members_of_the_last_report_stop_nothing(
    tmp_path: pathlib.Path, member: str, odd: t.Any, kind: str
) -> None:
    volume = {**(audited(1) if kind == "audit" else fleets.rotated(1)), member: odd}
    file = tmp_path / "last.json"
    file.write_text(json.dumps({**GOOD, "kind": kind, "hosts": [host(volume)], "run": odd, "generated": odd}))
    before = comparison.baseline(str(file), kind)
    assert before["problem"] == ""
    new = data.build([host(audited(1) if kind == "audit" else fleets.rotated(1))], kind=kind)["hosts"]
    assert comparison.since(before, new, kind)["compared"] == (0 if (member, odd) == ("uuid", "x") else 1)


def test_a_hostile_report_adds_only_text(tmp_path: pathlib.Path) -> None:
    found = compared(tmp_path, fleets.hostile(), fleets.hostile())
    assert found["problem"] is None
    found = compared(tmp_path, [{**one, "error": None} for one in fleets.hostile()], fleets.fleet(3))
    assert all(name.isprintable() for name in found["not_compared"])


def test_a_number_of_many_digits_is_none() -> None:
    """Python would compute for seconds, or refuse with an error of its own."""
    assert comparison._number("9" * 20) == 10**20 - 1
    with pytest.raises(ValueError, match=r"^9{20}$"):
        comparison._number("9" * 21)
