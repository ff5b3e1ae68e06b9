# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each rule passes, fails and is not checked, and each form says the same: nothing found is a pass only where somebody
looked.
"""

from __future__ import annotations

import copy
import functools
import json
import pathlib
import subprocess
import typing as t
from xml.etree import ElementTree

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import policy, policy_text, rules
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import fips, host
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data, exchange, oscal, outcomes, sarif, xccdf
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    BOTH,
    FIRE,
    WINTER,
    Image,
    audit,
    extended,
    secret,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets

Json = t.Dict[str, t.Any]
NS = {"x": "http://checklists.nist.gov/xccdf/1.2"}
PREFIX = "xccdf_luksmith.luks_rule_"
LUKS1_ONLY = {"boot-signature", "slot-remnant"}
ASKS_FOR_ALL = {
    "extends": "fips-140-3",
    "required_labels": ["admin"],
    "recovery_labels": ["break-glass"],
    "retired_tang_keys": ["key"],
    "renewed_since": {"CVE-2020-11932": "2026-01-01"},
    "maximum_age_days": 365,
    "require_backup": True,
    "opened_by_grub": True,
    "try_empty_secret": True,
    "token_types": ["clevis"],
    "minimum_digest_iterations": 1000,
    "minimum_keyslot_key_size": 64,
    "keyslot_ciphers": ["aes-xts-plain64"],
    "expected": {"label": "data"},
}
LOOKED = {
    **dict.fromkeys(("fips", "grub", "volume_key", "empty_secret", "record", "store"), True),
    **dict.fromkeys(("forbidden", "backups", "older", "kept"), 1),
}
ROWS = [fleets.row(0, "admin", recorded=False), fleets.row(1, "break-glass")]


def described(asked: t.Any) -> Json:
    return policy_text.describe(policy.parse(asked, rules.IDS), rules.IDS)


def looked_at(number: int, asked: t.Any = None, verify: str = "proof", **members: t.Any) -> Json:
    """A volume at which the audit could look for all that there is."""
    evidence = {
        "time": "2026-11-28T20:16:00Z",
        "verify": verify,
        "labels": ["admin"],
        "backups": ["/b"],
        "policy": described(asked or ASKS_FOR_ALL),
    }
    store = {"opens": "yes", "secret": "admin", "keyslots": [0], "older": [], "kept": ["break-glass"]}
    prints = {"volume_key": f"k{number}", "secrets": {"admin": f"a{number}", "break-glass": f"b{number}"}}
    return fleets.volume(
        number,
        **{
            "evidence": evidence,
            "store": store,
            "prints": prints,
            "key_digest": f"digest {number}",
            "looked": LOOKED,
            "keyslots": ROWS,
            **members,
        },
    )


def without(*names: str) -> Json:
    return {"looked": {name: value for name, value in LOOKED.items() if name not in names}}


def rows(**members: t.Any) -> Json:
    return {"keyslots": [ROWS[0], fleets.row(1, **members)]}


UNREADABLE = {"type": None, "keyslots": [], "findings": [fleets.finding("header-unreadable")]}
STRICT = {"asked": "strict", **without("fips", "grub")}
BY_RECORD = {"asked": ASKS_FOR_ALL, "verify": "record"}
MALFORMED = {"findings": [fleets.finding("token-malformed")]}
LISTED = {**ASKS_FOR_ALL, "minimum_costs": {"pbkdf2": 600000, "tokens": {"clevis": 1000}}}
# What is missing where a rule cannot be checked; for the others the header, and for those of the policy the policy.
UNCHECKED: t.Dict[str, t.List[Json]] = {
    "fips-keyslot": [STRICT, without("fips")],
    "grub-closed": [STRICT],
    "clone": [{"key_digest": ""}],
    "secret-shared": [
        {"prints": {}},
        {"prints": {"secrets": {"admin": "1"}}},
        rows(),
        {"keyslots": [ROWS[0], fleets.row(1, "break-glass", recorded=True)]},
        {"keyslots": []},
    ],
    "secret-forbidden": [without("forbidden"), BY_RECORD],
    "secret-empty": [without("empty_secret"), BY_RECORD],
    "secret-duplicate": [rows(), BY_RECORD],
    "slot-unknown": [rows(tokens=["clevis"]), BY_RECORD],
    "token-dangling": [rows(tokens=["clevis"]), BY_RECORD],
    "kdf-cost": [{"asked": LISTED, **rows(tokens=["clevis"])}],
    "kdf-type": [{"asked": LISTED, **rows(tokens=["clevis"])}],
    "volume-key-padded": [without("volume_key"), BY_RECORD],
    "label-missing": [BY_RECORD],
    "recovery-missing": [BY_RECORD],
    "record-label": [{}],
    "record-stale": [without("record")],
    "tpm2-unconditional": [MALFORMED],
    "tpm2-sha1": [MALFORMED],
    "clevis-renew": [MALFORMED, {"keyslots": [fleets.row(0, tokens=["luksmeta (unreadable)"])]}],
    "token-doubled": [MALFORMED],
    "backup-forbidden": [without("backups"), without("forbidden", "older")],
    "backup-damaged": [without("backups")],
    "backup-outdated": [without("backups")],
    "backup-older": [without("backups")],
    "backup-foreign": [without("backups")],
    "store-missing": [without("store"), {"store": None}],
    "store-closed": [{"store": {"opens": "not verified", "secret": "admin"}}, {"store": None}, BY_RECORD],
    "store-older": [without("older"), {"store": None}, BY_RECORD],
    "store-kept": [without("kept"), {"store": None}, BY_RECORD],
    "store-staged": [{"store": {"opens": "no secret"}}, {"store": None}],
    "store-given-out": [{"store": {"opens": "no secret"}}, {"store": None}],
}
# Where they pass, it is because of what is here.
PASSES: t.Dict[str, Json] = {
    **{name: {"type": "luks1"} for name in LUKS1_ONLY},
    "record-label": {"keyslots": [fleets.row(0, "admin", recorded=True)], "verify": "record"},
}
OF_THE_POLICY = {rule.id for rule in rules.RULES if rule.looks_at == "policy"}


def broken(rule: str) -> t.List[Json]:
    """The members of volumes on which the rule is not checked."""
    if rule in OF_THE_POLICY:
        return [{"evidence": {"verify": "proof"}}]
    if rule in ("backup-missing", "backup-unreadable"):
        return [{"evidence": {"verify": "proof", "policy": described(ASKS_FOR_ALL), "backups": []}}]
    unread = {**UNREADABLE, "findings": [fleets.finding("segment-gap")]} if rule == "header-unreadable" else UNREADABLE
    return [*UNCHECKED.get(rule, ()), unread]


def report_of(rule: str, **members: t.Any) -> Json:
    """A report of two hosts, the first of which is looked at for one rule."""
    other = {"host": "z", "volumes": [looked_at(9)]}
    asked = {name: members.pop(name) for name in ("asked", "verify") if name in members}
    return data.build(
        [{"host": "a", "volumes": [looked_at(1, **asked, **members)]}, other], generated="2026-11-28 20:17 UTC"
    )


def said(report: Json) -> t.Dict[str, t.Tuple[str, str]]:
    """What XCCDF says of the first host: rule -> result and message."""
    root = ElementTree.fromstring(xccdf.to_xccdf(report))
    first = root.findall("x:TestResult", NS)[0]
    return {
        str(one.get("idref"))[len(PREFIX) :]: (one.findtext("x:result", "", NS), one.findtext("x:message", "", NS))
        for one in first.findall("x:rule-result", NS)
    }


@functools.lru_cache(maxsize=None)
def case(rule: str, kind: str, number: int = 0) -> str:
    """The report as JSON, which the forms are made of."""
    members: Json = dict(PASSES.get(rule, {}))
    if kind == "fail":
        found = fleets.finding(rule, "high", None)
        members = {"findings": [found], "state": "findings"}
        if rule in outcomes.FLEET_RULES:
            members = {"key_digest": "digest 9"} if rule == "clone" else {"prints": looked_at(9)["prints"]}
    if kind == "notchecked":
        members = copy.deepcopy(broken(rule)[number])
    return exchange.to_json(report_of(rule, **members))


CASES = [(rule, kind, 0) for rule in outcomes.NAMES for kind in ("pass", "fail")] + [
    (rule, "notchecked", number) for rule in outcomes.NAMES for number in range(len(broken(rule)))
]


@pytest.mark.parametrize(("rule", "kind", "number"), CASES)
def test_each_form_says_the_same(rule: str, kind: str, number: int) -> None:
    report = json.loads(case(rule, kind, number))
    outcome, message = said(report)[rule]
    assert outcome == kind
    total = report["rules"][rule]
    assert total[kind] >= 1 and ("why" in total) == ("notchecked" in total)
    assert kind != "notchecked" or message in total["why"]

    made = json.loads(sarif.to_sarif(report))["runs"][0]
    kinds = {one["kind"] for one in made["results"] if one.get("ruleId") == rule}
    assert made["properties"]["rules"] == report["rules"] and kinds == ({"fail"} if kind == "fail" else set())

    junit = ElementTree.fromstring(exchange.to_junit(report))
    cases = [one for one in junit.iter("testcase") if one.get("name") == rule]
    assert (kind == "fail") == bool(cases) and all(one.find("failure") is not None for one in cases)

    controls = json.loads(oscal.to_oscal(report))["assessment-results"]["results"][0]["findings"]
    named = {one["target"]["target-id"][: -len("_obj")]: one for one in controls}
    for control in oscal.CONTROLS:
        if rule not in oscal._RULES_OF[control]:
            continue
        assert kind != "fail" or named[control]["target"]["status"] == {"state": "not-satisfied", "reason": "fail"}
        assert (f"{rule} was not checked" in named[control].get("remarks", "")) == ("notchecked" in total)


@pytest.mark.needs("oscap")
def test_oscap_accepts_each_outcome(tmp_path: pathlib.Path) -> None:
    """In a few of the cases, as its time grows with the square of their number."""
    hosts = []
    for rule, kind, number in CASES[::30]:
        one = copy.deepcopy(json.loads(case(rule, kind, number))["hosts"][0])
        hosts.append({**one, "host": f"{rule}-{kind}-{number}"})
    path = tmp_path / "results.xml"
    path.write_text(xccdf.to_xccdf(data.build(hosts, generated="2026-11-28 20:17 UTC")), encoding="utf-8")
    judged = subprocess.run(["oscap", "xccdf", "validate", str(path)], capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stderr) == (0, "")
    assert all(f"<result>{outcome}</result>" in path.read_text() for outcome in ("pass", "fail", "notchecked"))


def test_a_volume_alone_is_compared_with_nothing() -> None:
    report = data.build([{"host": "a", "volumes": [looked_at(1)]}])
    for rule in outcomes.FLEET_RULES:
        assert report["rules"][rule] == {"notchecked": 1, "why": report["rules"][rule]["why"]}
    again = data.build([{"host": "a", "volumes": [{**looked_at(1), "compared": {"volumes": 9, "secrets": 9}}]}])
    assert again["rules"] == report["rules"], "a host does not say what the controller compared"


def test_a_joined_report_has_no_fingerprints() -> None:
    first = data.build([{"host": "a", "volumes": [looked_at(1)]}, {"host": "z", "volumes": [looked_at(9)]}])
    assert first["rules"]["secret-shared"] == {"pass": 2}
    joined = data.build(json.loads(exchange.to_json(first))["hosts"])
    assert joined["rules"]["secret-shared"]["notchecked"] == 2 and joined["rules"]["clone"] == {"pass": 2}


class TestAudits:
    """The same with real audits, whose results say what they could look at."""

    @pytest.fixture
    def images(self, tmp_path: pathlib.Path) -> t.List[Image]:
        return [Image(tmp_path / "luks1", "luks1.img"), Image(tmp_path / "luks2", "luks2.img")]

    @staticmethod
    def rules(*audited: Json) -> t.List[t.Dict[str, str]]:
        """Rule -> outcome, for each of the volumes, which are of hosts of their own."""
        hosts = [{"host": f"h{number}", "volumes": [one]} for number, one in enumerate(audited)]
        report = data.build(hosts, generated="2026-11-28 20:17 UTC")
        return [{name: one for name, (one, _why) in outcomes.of_host(host).items()} for host in report["hosts"]]

    def test_secrets_that_were_compared(self, images: t.List[Image]) -> None:
        key = {"prints_key": "00" * 32}
        first, second = self.rules(*(audit(image, secrets=BOTH, **key) for image in images))
        assert first["secret-shared"] == second["secret-shared"] == "fail", "both fixtures have the same secrets"
        mine = extended(shared_labels=[WINTER.upper(), FIRE.upper()])
        first, second = self.rules(*(audit(image, secrets=BOTH, policy=mine, **key) for image in images))
        assert first["secret-shared"] == "notchecked", "nothing was compared that the policy wants to be the same"
        first, second = self.rules(*(audit(image, secrets=BOTH) for image in images))
        assert first["secret-shared"] == second["secret-shared"] == "notchecked"
        one = audit(images[0], secrets=BOTH, **key)
        other = audit(images[1], secrets=[secret(FIRE)], **key)
        other["prints"]["secrets"][FIRE.upper()] = "of another secret"
        first, second = self.rules(one, other)
        assert (first["secret-shared"], second["secret-shared"]) == ("pass", "notchecked"), "a keyslot is unknown"

    def test_a_host_in_fips_mode(
        self, images: t.List[Image], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert {one["fips-keyslot"] for one in self.rules(*map(audit, images))} == {"notchecked"}
        flag = tmp_path / "proc" / "sys" / "crypto" / "fips_enabled"
        flag.parent.mkdir(parents=True)
        flag.write_text("1\n")
        monkeypatch.setattr(host, "PROC", str(tmp_path / "proc"))
        try:
            first, second = self.rules(*map(audit, images))
        finally:
            fips.choose("auto")
        assert (first["fips-keyslot"], second["fips-keyslot"]) == ("pass", "fail"), "only LUKS2 has Argon2"

    def test_what_was_not_given_was_not_looked_at(self, images: t.List[Image]) -> None:
        own = {"policy": extended(try_empty_secret=True)}
        asked = ("secret-empty", "secret-forbidden", "volume-key-padded", "secret-duplicate", "store-older")
        for one in self.rules(*(audit(image, **own) for image in images)):
            assert {one[rule] for rule in asked} == {"notchecked"}
        stored = {"current": "now", "secrets": [secret(WINTER, "now"), secret("old", "older")], "older": ["older"]}
        given = {**own, "secrets": BOTH, "forbidden_secrets": [secret("leaked")], "stored": stored}
        for one in self.rules(*(audit(image, **given) for image in images)):
            assert {one[rule] for rule in asked} == {"pass"}
        sealed = {**given, "stored": {**stored, "secrets": [secret(WINTER, "now")]}}
        for one in self.rules(*(audit(image, **sealed) for image in images)):
            assert one["store-older"] == "notchecked" and one["store-closed"] == "pass"
        limits = {**given, "kdf_limits": {"iterations": 1, "memory": 1}}
        for one in self.rules(*(audit(image, **limits) for image in images)):
            assert one["secret-empty"] == "notchecked"
