# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One verdict in all forms of a report: no form calls a fleet compliant, passed or satisfied that another one does not.

The oracle is the word, which is written down for each fleet below by hand; each form is read by what reads its format.
"""

from __future__ import annotations

import collections
import csv
import io
import json
import typing as t
from xml.etree import ElementTree

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import (
    data,
    exchange,
    oscal,
    outcomes,
    page,
    sarif,
    verdict,
    xccdf,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets

Json = t.Dict[str, t.Any]

AUDITED = {
    "verify": "proof",
    "policy": {"name": "strict", "digest": "d", "text": {"formats": ["luks2"], "minimum_costs": {"pbkdf2": 1}}},
}
GOOD = {"host": "a", "volumes": [fleets.volume(1, evidence=AUDITED)]}
SEARCHED = {"paths": ["/srv/*.img"], "block_devices": True, "volumes": [], "unmatched": [], "allow_empty": False}
GAP = fleets.finding("policy-gap", "high", None)


def host(*volumes: Json, **members: t.Any) -> Json:
    return {"host": "b", "volumes": list(volumes), **members}


# Name, hosts, scope, word, and what the word does not cover.
FLEETS: t.List[t.Tuple[str, t.List[Json], t.Optional[Json], str, t.List[str]]] = [
    ("good", [GOOD], {"inventory": 1, "targets": ["a"]}, "compliant", []),
    ("searched", [{**GOOD, "searched": SEARCHED}], None, "compliant", []),
    (
        "rules that the policy calls information",
        [host(fleets.volume(1, "findings", findings=[GAP, fleets.finding("kdf-cost", "info")]))],
        None,
        "not compliant",
        [],
    ),
    (
        "evidence for no control",
        [GOOD, host(fleets.volume(1, "findings", findings=[fleets.finding("header-copy")]))],
        None,
        "not compliant",
        [],
    ),
    (
        "unreadable header",
        [GOOD, host(fleets.volume(1, "findings", type=None, findings=[fleets.finding("header-unreadable")]))],
        None,
        "not compliant",
        [],
    ),
    ("by record", [GOOD, host(fleets.volume(1, "recorded", verified=False))], None, "compliant by record", []),
    (
        "a clone by record",
        [GOOD, host(fleets.volume(1, "findings", verified=False, findings=[fleets.finding("clone")]))],
        None,
        "not compliant",
        [],
    ),
    ("a host that says both", [GOOD, host(fleets.volume(1, verified=False))], None, "compliant by record", []),
    (
        "unverified information",
        [GOOD, host(fleets.volume(1, unverified=[fleets.finding("slot-unknown", "info")]))],
        None,
        "not proven",
        [],
    ),
    (
        "beyond",
        [GOOD],
        {"inventory": 4, "targets": ["a", "x", "y"]},
        "compliant, as far as audited",
        ["1 of 3 hosts"],
    ),
    (
        "excluded",
        [{**GOOD, "excluded": [{"volume": "/dev/x", "reason": "a stick"}]}],
        None,
        "compliant, as far as audited",
        ["1 volume excluded"],
    ),
    (
        "chosen",
        [{**GOOD, "searched": {**SEARCHED, "block_devices": False, "volumes": ["/dev/vda1"]}}],
        None,
        "compliant, as far as audited",
        ["only chosen volumes on 1 host"],
    ),
    (
        "no block devices",
        [{**GOOD, "searched": {**SEARCHED, "block_devices": False}}],
        None,
        "compliant, as far as audited",
        ["no block devices on 1 host"],
    ),
    ("no answer", [GOOD, host(error="no route")], None, "not all was seen", []),
    (
        "a pattern that leads to nothing",
        [GOOD, host(searched={**SEARCHED, "unmatched": ["/srv/*.img"]})],
        None,
        "not all was seen",
        [],
    ),
    ("nothing", [host()], None, "nothing was seen", []),
]
NAMES = [name for name, *_rest in FLEETS]


def made(name: str) -> Json:
    hosts, scope = next((hosts, scope) for one, hosts, scope, _word, _limits in FLEETS if one == name)
    return data.build(hosts, generated="2026-11-29 10:00 UTC", scope=scope)


@pytest.mark.parametrize(("name", "word", "limits"), [(one[0], *one[3:]) for one in FLEETS], ids=NAMES)
def test_the_word_and_what_it_does_not_cover(name: str, word: str, limits: t.List[str]) -> None:
    report = made(name)
    told = json.loads(exchange.to_json(report))["verdict"]
    assert (told["word"], told["limits"]) == (word, limits)
    rest = f": {', '.join(limits)}" if limits else ""
    assert page.summary(report).startswith(f"Verdict: {word}{rest}. ")


@pytest.mark.parametrize("name", NAMES)
def test_no_form_is_better_than_the_verdict(name: str) -> None:
    """Each of these fleets has the good volume or none, so that what is not good comes from the rest."""
    report = made(name)
    good = report["verdict"]["word"] == verdict.COMPLIANT
    controls = json.loads(oscal.to_oscal(report))["assessment-results"]["results"][0]["findings"]
    satisfied = [one for one in controls if one["target"]["status"]["state"] == "satisfied"]
    assert len(controls) == len(oscal.CONTROLS) and len(satisfied) in ((4,) if good else (0, 3)), satisfied
    assert len(satisfied) != 3 or name == "unverified information", "it is about one control"
    suites = ElementTree.fromstring(exchange.to_junit(report))
    blamed = [case for case in suites.iter("testcase") if len(case)]
    assert bool(blamed) != good
    run = json.loads(sarif.to_sarif(report))["runs"][0]
    passed = [one for one in run["results"] if one.get("kind") == "pass"]
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert (len(passed) == len(run["results"]) and not notes) == good
    assert run["properties"]["verdict"] == report["verdict"]["word"]


@pytest.mark.parametrize("name", ["by record", "a host that says both", "unverified information"])
def test_what_was_not_verified_passes_nowhere(name: str) -> None:
    report = made(name)
    of_b = [one for one in json.loads(sarif.to_sarif(report))["runs"][0]["results"] if "b: " in one["message"]["text"]]
    assert [one["kind"] for one in of_b] in (["open"], []), of_b
    rows = [row for row in csv.DictReader(io.StringIO(exchange.to_csv(report))) if row["host"] == "b"]
    assert [row["kind"] for row in rows] == ["unverified"]
    suites = ElementTree.fromstring(exchange.to_junit(report))
    if name != "unverified information":
        (case,) = [one for one in suites.iter("testcase") if one.get("classname", "").startswith("b.")]
        assert "proves nothing" in str(case.find("skipped").get("message"))  # type: ignore[union-attr]


def test_what_was_left_out_is_named_in_each_form() -> None:
    for name, words in (("beyond", ("x", "--limit")), ("excluded", ("/dev/x", "a stick")), ("chosen", ("/dev/vda1",))):
        report = made(name)
        for render in (exchange.to_csv, exchange.to_junit, sarif.to_sarif, oscal.to_oscal, xccdf.to_xccdf, page.render):
            assert all(word in render(report) for word in words), (name, render)
        metrics = exchange.to_prometheus(report)
        assert ('luksmith_hosts_beyond_limit{kind="audit"} 2' in metrics) == (name == "beyond")
        assert f'luksmith_volumes_excluded{{kind="audit"}} {int(name == "excluded")}' in metrics


def test_a_host_without_a_volume_is_named_in_each_form() -> None:
    report = data.build([GOOD, host()], generated="2026-11-29 10:00 UTC")
    assert report["verdict"]["word"] == "compliant", "a host may have none"
    for render in (exchange.to_csv, exchange.to_junit, sarif.to_sarif, oscal.to_oscal, xccdf.to_xccdf):
        assert "No LUKS volume was found" in render(report), render


def test_an_exclusion_takes_away_the_pass_of_its_host() -> None:
    def counted(name: str) -> t.Counter[str]:
        return collections.Counter(one for one, _why in outcomes.of_host(made(name)["hosts"][0]).values())

    assert counted("good")[outcomes.PASS] > 10
    assert counted("excluded")[outcomes.PASS] == 0 and counted("chosen")[outcomes.PASS] > 10


def test_a_pattern_that_led_to_nothing_anywhere_is_an_error_of_each_host() -> None:
    lost = {**SEARCHED, "unmatched": ["/srv/*.img"]}
    report = data.build([{**GOOD, "searched": lost}, host(searched=lost)], generated="2026-11-29 10:00 UTC")
    assert [one["error"] for one in report["hosts"]] == [
        "no host of the play has a LUKS volume for these patterns of audit_paths: /srv/*.img"
    ] * 2
    for render in (exchange.to_csv, exchange.to_junit, sarif.to_sarif, oscal.to_oscal, xccdf.to_xccdf, page.render):
        assert "patterns of audit_paths: /srv/*.img" in render(report), render
    assert "2 hosts were not audited as a whole." in page.summary(report)
    assert data.build(report["hosts"])["hosts"] == report["hosts"], "a joined report says it once"


@pytest.mark.parametrize("one", [{"unmatched": []}, {"unmatched": ["/srv/*.img"], "allow_empty": True}])
def test_a_pattern_of_the_fleet_need_not_lead_to_a_volume_on_each_host(one: Json) -> None:
    hosts = [{**GOOD, "searched": SEARCHED}, host(searched={**SEARCHED, "unmatched": ["/srv/*.img"], **one})]
    report = data.build(hosts)
    assert [host["error"] for host in report["hosts"]] == [None, None]
    assert report["hosts"][1]["searched"]["unmatched"] == hosts[1]["searched"]["unmatched"]
    assert report["verdict"]["word"] == "compliant"
    alone = data.build(hosts[1:])["hosts"][0]["error"]
    assert alone is None, "nothing was missing, or its operator expects that"


def test_a_bad_verdict_says_what_was_left_out_too() -> None:
    bad = host(fleets.bad_volume(1), excluded=[{"volume": "/dev/x", "reason": "a stick"}])
    summary = page.summary(data.build([bad]))
    assert summary.startswith("Verdict: not compliant. Not everything was audited: 1 volume excluded. ")


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (["not verified"] * 3, "Whether the store opens 3 volumes was not verified."),
        (["yes", "not verified"], "The store opens 1 of 2 volumes; 1 not verified."),
        (["yes", "no"], "The store opens 1 of 2 volumes."),
    ],
)
def test_a_store_that_was_not_asked_opens_no_fewer_volumes(answers: t.List[str], words: str) -> None:
    volumes = [fleets.volume(number, store={"opens": answer}) for number, answer in enumerate(answers)]
    assert words in page.summary(data.build([host(*volumes)]))
