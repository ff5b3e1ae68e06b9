# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer of a host means for the role audit; a host may lie."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._audit import (
    NO_ANSWER,
    SPEC,
    answer_of,
    asked,
    problem_of,
    summary_of,
    traced,
)

FINDING = {"rule": "kdf-cost", "severity": "high", "message": "it is cheap"}


def answer(*volumes: t.Any, **more: t.Any) -> t.Dict[str, t.Any]:
    return answer_of("web", {"volumes": list(volumes), **more})


def volume(state: str, **members: t.Any) -> t.Dict[str, t.Any]:
    return {"device": "/dev/a", "state": state, "findings": [], "unverified": [], **members}


@pytest.mark.parametrize("result", [{}, {"volumes": "x"}, {"volumes": {"a": 1}}])
def test_an_answer_without_volumes_is_none(result: t.Any) -> None:
    found = answer_of("web", result)
    assert found == {"host": "web", "error": NO_ANSWER, "volumes": [], "excluded": []}
    assert problem_of(found, "never") == NO_ANSWER


def test_only_what_the_report_knows_goes_on() -> None:
    assert answer(volume("compliant", surprise=1), 7)["volumes"] == [volume("compliant")]


def test_devices_that_cannot_be_read() -> None:
    found = answer(unreadable=["/dev/x", 7, "/dev/\n"])
    assert "may be LUKS volumes: /dev/x, /dev/\\n" in problem_of(found, "never")


@pytest.mark.parametrize(
    ("state", "fail_on", "problem"),
    [
        ("compliant", "info", ""),
        ("recorded", "info", ""),
        ("findings", "never", ""),
        ("findings", "critical", ""),
        ("findings", "high", "it is cheap"),
        ("findings", "info", "it is cheap"),
        ("unverified", "medium", "it is cheap"),
        ("unverified", "never", ""),
        ("failed", "never", "it is gone"),
        ("splendid", "never", "it is gone"),
        (7, "never", "it is gone"),
    ],
)
def test_why_a_host_fails(state: t.Any, fail_on: str, problem: str) -> None:
    found = {state: [FINDING]} if state in ("findings", "unverified") else {}
    assert problem_of(answer(volume(state, msg="it is gone", **found)), fail_on) == problem


def test_findings_of_a_liar_are_no_crash() -> None:
    assert problem_of(answer(volume("findings", findings=[7, {"severity": "high"}])), "info") == ""
    assert problem_of(answer(volume("findings", findings="x", unverified=None)), "info") == ""


def test_how_many_are_compliant() -> None:
    found = answer(volume("compliant"), volume("recorded"), volume("findings"), volume("failed"))
    assert summary_of(found) == "1 of 4 volumes compliant, 1 only by record"
    assert summary_of(answer(volume("findings"))) == "0 of 1 volume compliant"
    left = answer_of("web", {"volumes": [volume("compliant"), volume("compliant")]}, ["/dev/x"])
    assert summary_of(left) == "2 of 2 volumes compliant; 1 excluded"


def test_what_is_left_out_is_named_with_its_reason() -> None:
    items = ["/dev/sda", {"volume": "668f406d", "reason": "a spare"}, {"volume": "/dev/sdb"}]
    told = [("/dev/sda", "no reason was given"), ("668f406d", "a spare"), ("/dev/sdb", "no reason was given")]
    assert [tuple(one.values()) for one in answer_of("web", {}, items)["excluded"]] == told
    given = {**dict.fromkeys(SPEC), "audit_exclude": items}
    assert asked(given)["exclude"] == [volume for volume, _reason in told]


def test_what_is_left_out_is_named_only_on_its_host() -> None:
    items = ["/dev/sda", {"volume": "668f406d", "reason": "a spare"}]
    found = answer_of("web", {"volumes": [], "excluded": ["668f406d", 7]}, items)
    assert found["excluded"] == [{"volume": "668f406d", "reason": "a spare"}]


def test_where_the_host_was_to_look() -> None:
    given = {"audit_volumes": [], "audit_paths": ["/a", "/b"], "audit_block_devices": True}
    whole = {"volumes": [], "paths": ["/a", "/b"], "block_devices": True, "unmatched": ["/b"], "allow_empty": False}
    searched = {"unmatched": ["/b"], "allow_empty": False}
    assert traced(given, searched) == whole
    chosen = {**given, "audit_volumes": [{"device": "/dev/a", "header": None}]}
    few = {"volumes": ["/dev/a"], "paths": [], "block_devices": False, "unmatched": [], "allow_empty": False}
    assert traced(chosen, {**searched, "unmatched": []}) == few
