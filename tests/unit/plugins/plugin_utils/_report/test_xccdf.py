# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XCCDF and ARF are judged by oscap: by the schemas and the Schematron rules that it carries."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t
from xml.etree import ElementTree

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import policy, policy_text, rules
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data, outcomes, writing, xccdf
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets

NS = {"x": "http://checklists.nist.gov/xccdf/1.2", "arf": "http://scap.nist.gov/schema/asset-reporting-format/1.1"}
PREFIX = "xccdf_luksmith.luks_rule_"
FORMS = {"xccdf": xccdf.to_xccdf, "arf": xccdf.to_arf}
JUDGES = {"xccdf": ("xccdf", "validate"), "arf": ("ds", "rds-validate")}
# Without this, a document is none.
BREAKABLE = {"xccdf": '<status date="2026-11-29">accepted</status>', "arf": ' id="request"'}


def evidence(asked: t.Any = "strict", **members: t.Any) -> t.Dict[str, t.Any]:
    described = policy_text.describe(policy.parse(asked, rules.IDS), rules.IDS)
    return {"time": "2026-11-28T20:16:00Z", "verify": "proof", "policy": described, "labels": ["admin"], **members}


def audited(number: int = 1, state: str = "compliant", asked: t.Any = "strict", **members: t.Any) -> t.Dict[str, t.Any]:
    about = {"evidence": evidence(asked), "key_digest": str(number), **members}
    return fleets.volume(number, state, **about)


EVERY_RULE = [{"host": "a", "volumes": [audited(1, "findings", findings=[fleets.finding(r) for r in rules.IDS])]}]
LOST = [
    {"host": "b", "error": "no route", "volumes": []},
    {"host": "c", "volumes": [fleets.volume(1, "failed", msg="x")]},
]
SEVERAL = [
    {
        "host": "d",
        "volumes": [audited(1), audited(2, asked={"extends": "strict", "rules": {"stripes": "off"}})],
        "excluded": [{"volume": "/dev/x", "reason": "a stick & more"}],
    }
]


def document(hosts: t.Any, form: str = "xccdf") -> str:
    return FORMS[form](data.build(hosts, generated="2026-11-28 20:17 UTC"))


def judged(form: str, path: pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["oscap", *JUDGES[form], str(path)], capture_output=True, text=True, check=False)


@pytest.mark.needs("oscap")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "hosts",
    [[], [{"host": "empty", "volumes": []}], fleets.fleet(30), fleets.hostile(), EVERY_RULE, LOST, SEVERAL],
    ids=["nothing", "no volume", "fleet", "hostile", "every rule", "lost", "several"],
)
def test_oscap_accepts_it(hosts: t.Any, form: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "results.xml"
    if form == "arf" and not hosts:
        with pytest.raises(BadTask, match="no host"):
            document(hosts, form)
        return
    text = document(hosts, form)
    path.write_text(text, encoding="utf-8")
    verdict = judged(form, path)
    assert (verdict.returncode, verdict.stderr) == (0, "")
    remarks = [line for line in verdict.stdout.splitlines() if "Warning" in line]
    assert [one for one in remarks if "URI binding" not in one] == [] and len(remarks) == (form == "xccdf")
    path.write_text(text.replace(BREAKABLE[form], ""), encoding="utf-8")
    assert judged(form, path).returncode != 0, "oscap judges"


@pytest.mark.needs("oscap")
@pytest.mark.parametrize("form", FORMS)
def test_oscap_reads_what_it_says(form: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "results.xml"
    path.write_text(document(EVERY_RULE, form), encoding="utf-8")
    page = subprocess.run(
        ["oscap", "xccdf", "generate", "report", str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert "Audit of LUKS volumes" in page and "kdf-cost was found" in page and "CCE-80789-1" in page


def said(hosts: t.Any) -> t.Dict[str, t.Dict[str, str]]:
    """Host -> rule -> result."""
    root = ElementTree.fromstring(document(hosts))
    found = {}
    for one in root.findall("x:TestResult", NS):
        results = {
            str(rule.get("idref"))[len(PREFIX) :]: rule.findtext("x:result", "", NS)
            for rule in one.findall("x:rule-result", NS)
        }
        assert set(results) == set(outcomes.NAMES), "no host is silent about a rule"
        found[one.findtext("x:target", "", NS)] = results
    return found


def alone(volume: t.Any) -> t.Dict[str, str]:
    return said([{"host": "a", "volumes": [volume]}])["a"]


def test_every_rule_is_in_the_benchmark_with_its_identifiers() -> None:
    root = ElementTree.fromstring(document([]))
    described = {str(one.get("id"))[len(PREFIX) :]: one for one in root.findall("x:Rule", NS)}
    assert set(described) == set(outcomes.NAMES) >= set(rules.IDS)
    idents = [one.text for one in described["null-cipher"].findall("x:ident", NS)]
    assert {"CCE-80789-1", "CVE-2025-59054"} <= set(idents)
    assert "NIST 800-53 SC-13" in [one.text for one in described["kdf-cost"].findall("x:reference", NS)]


def test_who_gave_no_answer_passes_nothing() -> None:
    found = said(LOST)
    assert set(found["b"].values()) == {"notchecked"}
    assert set(found["c"].values()) == {"error"}
    half = said([{"host": "a", "error": "/dev/sdb could not be read", "volumes": [audited()]}])["a"]
    assert set(half.values()) == {"error"}
    assert "pass" not in said(fleets.fleet(3))["host-00000"].values(), "without its policy, nobody knows what was asked"
    for one in (*LOST, {"host": "d", "volumes": []}):
        root = ElementTree.fromstring(document([one]))
        assert [score.text for score in root.iter(f"{{{NS['x']}}}score")] == ["0"]


def test_one_volume_that_fails_or_was_not_looked_at_takes_away_the_pass_of_its_host() -> None:
    cheap = audited(2, "findings", findings=[fleets.finding("kdf-cost")])
    unsure = audited(3, "unverified", unverified=[fleets.finding("kdf-cost")])
    other = audited(4, "failed", msg="x")
    recorded = audited(5, "recorded", evidence=evidence(verify="record"))

    def both(volume: t.Any, rule: str = "kdf-cost") -> str:
        return said([{"host": "a", "volumes": [audited(), volume]}])["a"][rule]

    assert alone(audited())["kdf-cost"] == "pass"
    assert (both(cheap), both(unsure), both(other)) == ("fail", "unknown", "error")
    assert (both(recorded), both(recorded, "slot-unknown")) == ("pass", "notchecked")
    info = audited(6, findings=[fleets.finding("slots-full", "info")])
    assert both(info, "slots-full") == "informational"


def test_rules_that_do_not_apply_or_were_not_asked_for() -> None:
    found = alone(audited(asked={"extends": "strict", "rules": {"stripes": "off"}}))
    assert found["stripes"] == found["secret-age"] == found["backup-missing"] == "notselected"
    assert found["boot-signature"] == "notapplicable" and found["header-copy"] == "pass"
    older = alone(audited(type="luks1"))
    assert older["boot-signature"] == "pass" and older["header-copy"] == "notapplicable"


def test_a_header_that_cannot_be_read_was_not_looked_at() -> None:
    found = alone(audited(1, "findings", type=None, keyslots=[], findings=[fleets.finding("header-unreadable")]))
    assert found["header-unreadable"] == "fail" and found["null-cipher"] == "notchecked"
    assert found["policy-gap"] == "pass", "a policy can be read without a header"


def test_a_rule_of_another_release_is_told() -> None:
    text = document([{"host": "a", "volumes": [audited(1, "findings", findings=[fleets.finding("of-tomorrow")])]}])
    assert "of-tomorrow, a rule of another release" in text


def test_the_same_report_has_the_same_ids() -> None:
    assert document(SEVERAL) == document(SEVERAL)
    root = ElementTree.fromstring(document(SEVERAL))
    assert len(root.findall("x:Profile", NS)) == 2
    assert root.find("x:TestResult/x:profile", NS) is None, "its volumes have two policies"
    assert "Excluded: /dev/x (a stick & more)" in [one.text for one in root.findall("x:TestResult/x:remark", NS)]


@pytest.mark.parametrize("form", FORMS)
def test_only_audits_have_rules(form: str, tmp_path: pathlib.Path) -> None:
    options = {**dict.fromkeys(writing.FORMS), "sources": [], "hosts": [], "generated": "", "title": ""}
    with pytest.raises(BadTask, match="for the report of an audit"):
        writing.write({**options, "kind": "rotation", form: str(tmp_path / "x")}, mode=lambda old: old, check=False)
