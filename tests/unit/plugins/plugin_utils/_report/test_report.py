# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data of a report, and its forms for other programs; the page itself is judged by a browser in tests/browser."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import pathlib
import re
import typing as t
from xml.etree import ElementTree

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data as report_data
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import exchange, page
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets

HOSTS = [
    {"host": "b", "volumes": [fleets.volume(1), fleets.bad_volume(2)]},
    {"host": "a", "volumes": [fleets.volume(1, "unverified", unverified=[fleets.finding("slot-unknown")])]},
    {"host": "lost", "error": "no route to host", "volumes": []},
    {"host": "c", "volumes": [fleets.volume(1, "failed", msg="it is gone")]},
]


POLICY = {"name": "strict, changed in 1 place", "digest": "d1", "text": {"formats": ["luks1"], "x\u202e": {"y": None}}}
EVIDENCE = {
    "tool": "luksmith.luks 1.0.0",
    "time": "2026-11-28T15:00:00Z",
    "host": "web",
    "policy": POLICY,
    "labels": ["admin"],
    "forbidden_labels": [],
    "verify": "proof",
}


class TestTraceable:
    HOSTS: t.ClassVar = [
        {
            "host": "web-01",
            "volumes": [fleets.bad_volume(1, evidence=EVIDENCE, fingerprint="f1"), fleets.volume(2, evidence=EVIDENCE)],
            "excluded": [{"volume": "/dev/sdz", "reason": "a stick of a visitor"}, "no exclusion"],
        }
    ]

    def test_policy_and_evidence_are_kept_and_made_safe(self) -> None:
        host = report_data.build(self.HOSTS)["hosts"][0]
        assert list(host["policies"]) == ["d1"]
        assert host["policies"]["d1"]["text"] == {"formats": ["luks1"], "x\\u202e": {"y": None}}
        assert [one["audited"]["policy_digest"] for one in host["volumes"]] == ["d1", "d1"]
        assert host["volumes"][0]["audited"]["labels"] == ["admin"]
        assert host["excluded"] == [{"volume": "/dev/sdz", "reason": "a stick of a visitor"}]

    def test_a_report_of_a_report_is_the_same(self) -> None:
        once = report_data.build(self.HOSTS)
        assert report_data.build(json.loads(exchange.to_json(once))["hosts"])["hosts"] == once["hosts"]

    def test_csv_has_the_digests_and_what_was_excluded(self) -> None:
        lines = list(csv.DictReader(io.StringIO(exchange.to_csv(report_data.build(self.HOSTS)))))
        assert (lines[0]["policy_digest"], lines[0]["header_digest"]) == ("d1", "f1")
        assert "SC-13" in lines[0]["ids"] and lines[0]["audited"] == "2026-11-28T15:00:00Z"
        last = lines[-1]
        assert (last["state"], last["device"], last["message"]) == ("excluded", "/dev/sdz", "a stick of a visitor")

    def test_junit_skips_what_was_excluded(self) -> None:
        root = ElementTree.fromstring(exchange.to_junit(report_data.build(self.HOSTS)))
        assert [one.attrib["message"] for one in root.iter("skipped")] == ["a stick of a visitor"]


def test_totals() -> None:
    totals = report_data.build(HOSTS)["totals"]
    assert totals == {
        "hosts": 4,
        "hosts_without_answer": 1,
        "volumes": 4,
        "states": {"failed": 1, "findings": 1, "unverified": 1, "recorded": 0, "compliant": 1},
        "findings": {"critical": 0, "high": 1, "medium": 0, "low": 1, "info": 0},
        "unverified": 1,
    }


def test_hosts_are_in_order_and_one_that_comes_twice_is_one() -> None:
    again = {"host": "b", "volumes": [fleets.volume(2), fleets.volume(3)]}
    hosts = report_data.build([*HOSTS, again])["hosts"]
    assert [host["host"] for host in hosts] == ["a", "b", "c", "lost"]
    assert [(one["device"], one["state"]) for one in hosts[1]["volumes"]] == [
        ("/dev/vda1", "compliant"),
        ("/dev/vda2", "compliant"),
        ("/dev/vda3", "compliant"),
    ]


def test_only_what_is_known_goes_in() -> None:
    odd = fleets.volume(
        1,
        "splendid",
        surprise="x",
        verified="yes",
        kdf_evaluations=True,
        device=["/dev/x"],
        keyslots=["no", {"keyslot": "0", "opened_by": [7, "a"]}],
    )
    one = report_data.build([{"host": "a", "volumes": [odd, "no volume"]}])["hosts"][0]["volumes"]
    assert len(one) == 1
    assert "surprise" not in one[0] and "verified" not in one[0] and "kdf_evaluations" not in one[0]
    assert one[0]["state"] == "failed", "a state that nobody knows must not look good"
    assert one[0]["device"] == "?"
    assert one[0]["keyslots"] == [{"keyslot": 0, "state": "active", "opened_by": ["a"], "tokens": []}]


def test_a_severity_that_nobody_knows_counts_as_the_worst() -> None:
    one = fleets.volume(1, "findings", findings=[fleets.finding(severity="harmless")])
    assert report_data.build([{"host": "a", "volumes": [one]}])["totals"]["findings"]["critical"] == 1


def test_a_report_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(BadTask, match="Kind is 'weather'"):
        report_data.build(HOSTS, kind="weather")


@pytest.mark.parametrize("hosts", ["x", [7], [{"volumes": []}], [{"host": "a", "volumes": "x"}]])
def test_what_is_no_fleet_is_refused(hosts: t.Any) -> None:
    with pytest.raises(BadTask):
        report_data.build(hosts)


@pytest.mark.parametrize("text", fleets.HOSTILE)
def test_what_is_shown_can_be_seen(text: str) -> None:
    shown = report_data.shown(text)
    assert shown.isprintable()
    shown.encode("utf-8")


def test_a_text_without_end_is_cut() -> None:
    assert len(report_data.shown("x" * 100000)) < 5000


class Page(html.parser.HTMLParser):
    """The tags of a page, as a parser of HTML sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: t.List[t.Tuple[str, t.Dict[str, t.Optional[str]]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: t.List[t.Tuple[str, t.Optional[str]]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("title", ["", *fleets.HOSTILE])
def test_hosts_add_no_markup(title: str) -> None:
    nice = Page(page.render(report_data.build(fleets.fleet(3)))).tags
    bad = Page(page.render(report_data.build(fleets.hostile(), title=title, generated=title))).tags
    assert [tag for tag, _attributes in bad] == [tag for tag, _attributes in nice]
    assert all(
        name not in ("src", "href") or value == "#volumes"
        for _tag, attributes in bad
        for name, value in attributes.items()
    )


def test_the_data_has_nothing_that_html_knows() -> None:
    text = page.render(report_data.build(fleets.hostile(), title="plain"))
    data = text.partition('id="report">')[2].partition("</script>")[0]
    assert len(data) > 1000 and not set("<>&") & set(data)
    assert json.loads(data)["kind"] == "audit"


def test_the_page_allows_itself_and_nothing_else() -> None:
    tags = Page(page.render(report_data.build(fleets.fleet(3)))).tags
    policy = next(
        attributes["content"] or ""
        for _tag, attributes in tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy.replace("http-equiv", "")


def test_json_comes_back(tmp_path: pathlib.Path) -> None:
    report = report_data.build(fleets.hostile(), title="t", generated="now")
    file = tmp_path / "report.json"
    file.write_text(exchange.to_json(report))
    assert report_data.build(exchange.read_report(str(file), "audit")["hosts"], title="t", generated="now") == report
    with pytest.raises(BadTask, match="of kind 'audit'"):
        exchange.read_report(str(file), "rotation")
    file.write_text("{}")
    with pytest.raises(BadTask, match="no report of this collection"):
        exchange.read_report(str(file), "audit")
    file.write_text("{")
    with pytest.raises(BadTask, match="not JSON"):
        exchange.read_report(str(file), "audit")


def test_csv_has_a_line_for_each_finding_and_volume() -> None:
    lines = list(csv.DictReader(io.StringIO(exchange.to_csv(report_data.build(HOSTS)))))
    assert [(line["host"], line["kind"], line["severity"], line["rule"], line["keyslot"]) for line in lines] == [
        ("a", "unverified", "high", "slot-unknown", "0"),
        ("b", "volume", "", "", ""),
        ("b", "finding", "high", "kdf-cost", "0"),
        ("b", "finding", "low", "slot-ignored", "1"),
        ("c", "volume", "", "", ""),
        ("lost", "host", "", "", ""),
    ]
    assert lines[4]["message"] == "it is gone"


def test_no_cell_is_a_formula() -> None:
    for line in csv.reader(io.StringIO(exchange.to_csv(report_data.build(fleets.hostile())))):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in line)


def test_junit_fails_for_all_that_is_not_in_order() -> None:
    root = ElementTree.fromstring(
        exchange.to_junit(
            report_data.build(
                [
                    *HOSTS,
                    {
                        "host": "d",
                        "volumes": [fleets.volume(1, "findings", findings=[fleets.finding(severity="info")])],
                    },
                ]
            )
        )
    )
    suites = {suite.get("name"): suite for suite in root}
    assert {
        name: (suite.get("tests"), suite.get("failures"), suite.get("errors")) for name, suite in suites.items()
    } == {
        "a": ("2", "1", "0"),
        "b": ("4", "2", "0"),
        "c": ("1", "0", "1"),
        "d": ("2", "0", "0"),
        "lost": ("1", "0", "1"),
    }
    assert [case.get("name") for case in suites["b"]] == [
        "audit",
        "audit",
        "kdf-cost (keyslot 0)",
        "slot-ignored (keyslot 1)",
    ]
    assert [failure.get("type") for failure in root.iter("failure")] == ["unverified", "high", "low"]


@pytest.mark.parametrize("kind", ["audit", "rotation"])
def test_a_volume_is_the_same_test_in_each_of_its_states(kind: str) -> None:
    """A pipeline shows what became of a test by its name."""

    def tests(state: str) -> t.List[t.Tuple[t.Optional[str], t.Optional[str]]]:
        hosts = [{"host": "a", "volumes": [fleets.volume(1, state)]}]
        root = ElementTree.fromstring(exchange.to_junit(report_data.build(hosts, kind=kind)))
        return [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]

    assert {tuple(tests(state)) for state in report_data.STATES[kind]} == {(("a./dev/vda1", kind),)}


def test_what_a_rotation_says_of_a_volume() -> None:
    one = fleets.rotated(
        1, secrets=["86cfc40b", 7], closed=["leaked"], unknown=[{"keyslot": 5, "label": "", "tried": True}, "x"]
    )
    report = report_data.build([{"host": "a", "volumes": [one]}], kind="rotation")
    volume = report["hosts"][0]["volumes"][0]
    assert (volume["secrets"], volume["closed"]) == (["86cfc40b"], ["leaked"])
    assert volume["unknown"] == [{"keyslot": 5, "label": "", "tried": True}] and report["totals"]["unknown"] == 1
    assert "1 keyslot opened with no secret that the run could try." in page.summary(report)


def test_files_beneath_a_volume() -> None:
    rows = [{"path": "/b\n", "role": "backing", "encrypted": True, "opened_by": ["a", 7], "replaced": ["a"]}, "x", {}]
    report = report_data.build([{"host": "a", "volumes": [fleets.rotated(1, chain=rows)]}], kind="rotation")
    assert report["hosts"][0]["volumes"][0]["chain"] == [
        {"path": "/b\\n", "role": "backing", "encrypted": True, "opened_by": ["a"], "replaced": ["a"]},
        {"path": "?", "role": "backing", "encrypted": None, "opened_by": [], "replaced": []},
    ]


def test_junit_of_a_hostile_fleet_is_xml() -> None:
    root = ElementTree.fromstring(exchange.to_junit(report_data.build(fleets.hostile(), title="\x00<")))
    assert len(root) == len(fleets.HOSTILE)


METRIC = re.compile(r'luksmith_[a-z_]+\{kind="(audit|rotation)"(,(state|severity|verdict)="[a-z]+")?\} \d+')


@pytest.mark.parametrize("kind", ["audit", "rotation"])
def test_metrics_are_numbers_and_no_text_of_a_host(kind: str) -> None:
    run = {"check": False, "who": fleets.HOSTILE[0]} if kind == "rotation" else None
    text = exchange.to_prometheus(report_data.build(fleets.hostile(), kind=kind, run=run))
    lines = [line for line in text.splitlines() if not line.startswith("# ")]
    assert all(METRIC.fullmatch(line) for line in lines) and len(lines) == len({line.split()[0] for line in lines})
    assert ('luksmith_verdict{kind="rotation",verdict="failed"} 1' in lines) == (kind == "rotation")
    names = [line.partition("{")[0] for line in lines]
    assert set(re.findall(r"# TYPE (\S+) gauge", text)) == set(names)


def test_metrics_are_the_totals() -> None:
    lines = exchange.to_prometheus(report_data.build(HOSTS)).splitlines()
    for line in (
        'luksmith_hosts{kind="audit"} 4',
        'luksmith_hosts_without_answer{kind="audit"} 1',
        'luksmith_volumes{kind="audit",state="compliant"} 1',
        'luksmith_findings{kind="audit",severity="high"} 1',
    ):
        assert line in lines


def test_the_whole_report_in_a_sentence() -> None:
    assert page.summary(report_data.build(HOSTS, generated="today")) == (
        "Verdict: not compliant. 4 volumes on 4 hosts: 1 failed, 1 with findings, 1 not verified, 1 compliant. 1 host "
        "gave no answer. Made today."
    )
    rotation = report_data.build(
        [{"host": "a", "volumes": [fleets.rotated(1), fleets.rotated(2, "partial")]}], kind="rotation"
    )
    assert page.summary(rotation) == "2 volumes on 1 host: 1 partly done, 1 done."
    json.dumps(rotation)
