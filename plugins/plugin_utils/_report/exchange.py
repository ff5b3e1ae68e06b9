# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A report for other programs: CSV for spreadsheets, JUnit XML for pipelines, metrics for Prometheus, JSON for
everything else.
"""

from __future__ import annotations

import csv
import io
import json
import typing as t
from xml.etree import ElementTree

from ...module_utils._luks.errors import BadTask
from ...module_utils._luks.files import read_regular
from .data import ASKING, AUDIT, BEYOND, INTERRUPTED, VERDICTS, VERSION, WAITING, is_partial
from .parts import Parts, json_of
from .rule_book import ids_of
from .verdict import BEYOND as LEFT_BEYOND
from .verdict import BEYOND_LIMIT, EXCLUDED, NO_VOLUME, Left, is_unproven, left_out, why_unproven

Report = t.Mapping[str, t.Any]

COLUMNS = (
    "host",
    "device",
    "uuid",
    "type",
    "policy",
    "state",
    "kind",
    "severity",
    "rule",
    "keyslot",
    "message",
    "remedy",
    "policy_digest",
    "header_digest",
    "audited",
    "tool",
    "ids",
    "store_opens",
)
UNANSWERED = {
    BEYOND: BEYOND_LIMIT,
    WAITING: "The host was not reached yet.",
    ASKING: "The host is under way, or was when the run was killed.",
    INTERRUPTED: "The run was interrupted while the host was under way. The next run goes on with it.",
}
# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_json(report: Report) -> str:
    return "".join(json_of(report))


def read_report(path: str, kind: str) -> t.Dict[str, t.Any]:
    """A report that :func:`to_json` wrote to ``path``.

    Raises BadTask if it is none, or of another kind.
    """
    try:
        report = json.loads(read_regular(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise BadTask(
            f"the report {path} cannot be read: {reason}",
            remedy="Give files that luksmith.luks.fleet_report wrote as json",
        ) from None
    if not isinstance(report, dict) or report.get("version") != VERSION or not isinstance(report.get("hosts"), list):
        raise BadTask(
            f"{path} is no report of this collection", remedy="Give files that luksmith.luks.fleet_report wrote as json"
        )
    if report.get("kind") != kind:
        raise BadTask(
            f"{path} is a report of kind {report.get('kind')!r}, not {kind!r}", remedy="Give only reports of one kind"
        )
    return t.cast(t.Dict[str, t.Any], report)


def to_csv(report: Report) -> str:
    return "".join(csv_parts(report))


def csv_parts(report: Report) -> Parts:
    """One line for each finding and each thing that could not be verified; one for a volume with neither.

    UTF-8 with CRLF, RFC 4180.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    for line in _csv_lines(report):
        writer.writerow(line)
        yield out.getvalue()
        out.seek(0)
        out.truncate()


def _csv_lines(report: Report) -> t.Iterator[t.Sequence[t.Any]]:
    yield COLUMNS
    for host, volume in _volumes(report):
        fixed = [host["host"], *(volume.get(name) or "" for name in ("device", "uuid", "type", "policy", "state"))]
        lines = [
            (kind, finding)
            for kind, name in (("finding", "findings"), ("unverified", "unverified"))
            for finding in volume[name]
        ]
        audited = volume.get("audited", {})
        trace = [audited.get("policy_digest", ""), volume.get("fingerprint", "")]
        trace += [audited.get("time", ""), audited.get("tool", "")]
        if is_unproven(volume):
            lines.append(("unverified", {"message": why_unproven(volume)}))
        for kind, finding in lines or [("volume", {"message": volume.get("msg", "")})]:
            rest = [kind, *("" if finding.get(name) is None else finding[name] for name in COLUMNS[7:12])]
            ids = "; ".join(ids_of(finding.get("rule", "")))
            opens = volume.get("store", {}).get("opens", "")
            yield [_cell(value) for value in (*fixed, *rest, *trace, ids, opens)]
    for host in report["hosts"]:
        missing = host.get("state") in UNANSWERED
        if host["error"] or missing:
            state, message = (host["state"], UNANSWERED[host["state"]]) if missing else ("failed", host["error"])
            yield _short(host["host"], "", state, "host", message)
        elif not host["volumes"] and report["kind"] == AUDIT:
            yield _short(host["host"], "", "answered", "host", NO_VOLUME)
    for left in left_out(report):
        kind = "host" if left.kind == LEFT_BEYOND else left.kind
        yield _short(left.host, left.volume, left.kind, kind, left.text)


def _short(host: str, device: str, state: str, kind: str, message: str) -> t.List[t.Any]:
    """A line about no finding."""
    known = {"host": host, "device": device, "state": state, "kind": kind, "message": message}
    return [_cell(known.get(name, "")) for name in COLUMNS]


def to_prometheus(report: Report) -> str:
    """The totals as metrics in the text format of Prometheus, without any text of a host."""
    totals = report["totals"]
    named: t.List[t.Tuple[str, str, t.Mapping[str, t.Any]]] = [
        ("hosts", "Hosts in the report.", {"": totals["hosts"]}),
        ("hosts_by_state", "Hosts of a rotation by state.", totals.get("hosts_by_state", {})),
        ("hosts_beyond_limit", "Hosts of the play beyond --limit.", _beyond(report)),
        ("volumes_excluded", "Volumes that the audit left out.", _excluded(report)),
        ("hosts_without_answer", "Hosts that could not be asked.", {"": totals["hosts_without_answer"]}),
        ("volumes", "Volumes by state.", totals["states"]),
        ("findings", "Findings by severity.", totals["findings"]),
        ("unverified", "What could not be verified.", {"": totals["unverified"]}),
        ("store_opens", "Volumes by whether the store of a rotation opens them.", totals.get("store", {})),
        ("unknown_keyslots", "Keyslots that no secret opened which the run could try.", _only(totals, "unknown")),
        ("verdict", "1 for the verdict over the run of a rotation, else 0.", _verdicts(report)),
    ]
    lines = []
    for name, about, values in named:
        if values:
            lines += [f"# HELP luksmith_{name} {about}", f"# TYPE luksmith_{name} gauge"]
        for value, number in values.items():
            label = f',{_LABELS.get(name, "state")}="{value}"' if value else ""
            lines.append(f'luksmith_{name}{{kind="{report["kind"]}"{label}}} {number}')
    return "\n".join(lines) + "\n"


_LABELS = {"findings": "severity", "verdict": "verdict", "store_opens": "answer"}


def _only(totals: t.Mapping[str, t.Any], name: str) -> t.Mapping[str, t.Any]:
    return {"": totals[name]} if name in totals else {}


def _beyond(report: Report) -> t.Mapping[str, t.Any]:
    return {"": len(report["scope"]["beyond"])} if "scope" in report else {}


def _excluded(report: Report) -> t.Mapping[str, t.Any]:
    return {"": sum(len(host["excluded"]) for host in report["hosts"])} if report["kind"] == AUDIT else {}


def _verdicts(report: Report) -> t.Mapping[str, t.Any]:
    run = report.get("run")
    return {verdict: int(verdict == run["verdict"]) for verdict in VERDICTS} if run else {}


def to_junit(report: Report) -> str:
    return "".join(junit_parts(report))


def junit_parts(report: Report) -> Parts:
    """One suite for each host; in it one test for each volume, and one for each rule that it breaks.

    What nobody could verify is a failure too: a pipeline must not be green by not looking.
    """
    root = ElementTree.tostring(ElementTree.Element("testsuites", name=report["title"]), encoding="unicode")
    suites = map(_text, _suites(report))
    first = next(suites, None)
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    if first is None:
        yield f"{root}\n"
        return
    yield f"{root[: -len(' />')]}>{first}"
    yield from suites
    yield "</testsuites>\n"


def _text(suite: ElementTree.Element) -> str:
    return ElementTree.tostring(suite, encoding="unicode")


def _suites(report: Report) -> t.Iterator[ElementTree.Element]:
    left = left_out(report)
    known = {host["host"] for host in report["hosts"]}
    unasked: t.List[Report] = [
        {"host": one.host, "error": None, "volumes": []} for one in left if one.host not in known
    ]
    for host in (*report["hosts"], *unasked):
        cases = _host_cases(host, report["kind"])
        cases += [_left_case(one) for one in left if one.host == host["host"]]
        kinds = ("failure", "error", "skipped")
        counts = {kind: sum(1 for case in cases if case.find(kind) is not None) for kind in kinds}
        suite = ElementTree.Element(
            "testsuite",
            name=host["host"],
            tests=str(len(cases)),
            failures=str(counts["failure"]),
            errors=str(counts["error"]),
            skipped=str(counts["skipped"]),
        )
        suite.extend(cases)
        yield suite


def _host_cases(host: Report, kind: str) -> t.List[ElementTree.Element]:
    cases = []
    state = host.get("state")
    if state in UNANSWERED:
        case = ElementTree.Element("testcase", classname=host["host"], name="the host answers")
        outcome = "skipped" if state == BEYOND else "error"
        ElementTree.SubElement(case, outcome, message=UNANSWERED[state], type=state)
        cases.append(case)
    elif host["error"]:
        case = ElementTree.Element("testcase", classname=host["host"], name="the host answers")
        ElementTree.SubElement(
            case, "error", message=host["error"], type="incomplete" if is_partial(host) else "unreachable"
        )
        cases.append(case)
    elif kind == AUDIT and not host["volumes"] and "policies" in host:
        case = ElementTree.Element("testcase", classname=host["host"], name="the host has a volume")
        ElementTree.SubElement(case, "skipped", message=NO_VOLUME)
        cases.append(case)
    for volume in host["volumes"]:
        cases += _volume_cases(f"{host['host']}.{volume['device']}", volume, kind)
    return cases


def _left_case(left: Left) -> ElementTree.Element:
    names = {LEFT_BEYOND: "the host answers", EXCLUDED: "excluded"}
    place = f"{left.host}.{left.volume}" if left.volume else left.host
    case = ElementTree.Element("testcase", classname=place, name=names.get(left.kind, "every volume was looked for"))
    ElementTree.SubElement(case, "skipped", message=left.text)
    return case


def _volume_cases(name: str, volume: Report, kind: str) -> t.List[ElementTree.Element]:
    # Its name says nothing of its state, so that whoever compares two reports sees the same test.
    whole = ElementTree.Element("testcase", classname=name, name=kind)
    if volume["state"] in ("failed", "refused", "partial"):
        ElementTree.SubElement(whole, "error", message=volume.get("msg", ""), type=volume["state"])
    elif is_unproven(volume):
        ElementTree.SubElement(whole, "skipped", message=why_unproven(volume), type="unverified")
    cases = [whole]
    for members in ("findings", "unverified"):
        for finding in volume[members]:
            slot = "" if finding["keyslot"] is None else f" (keyslot {finding['keyslot']})"
            case = ElementTree.Element("testcase", classname=name, name=f"{finding['rule']}{slot}")
            if finding["severity"] != "info":
                found = finding["severity"] if members == "findings" else "unverified"
                failure = ElementTree.SubElement(case, "failure", message=finding["message"], type=found)
                failure.text = finding["remedy"]
            elif members == "unverified":
                ElementTree.SubElement(case, "skipped", message=finding["message"], type="unverified")
            cases.append(case)
    return cases


def _volumes(report: Report) -> t.Iterator[t.Tuple[Report, Report]]:
    for host in report["hosts"]:
        for volume in host["volumes"]:
            yield host, volume


def _cell(value: t.Any) -> t.Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
