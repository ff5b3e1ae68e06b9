# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A report as XCCDF 1.2, and as ARF 1.1, the formats of SCAP, which oscap reads.

The rules of an audit are the rules of a benchmark, each policy is a profile, and each host has a test result. There is
no checklist that a SCAP scanner could run: the checks are of this collection.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import typing as t
from xml.sax.saxutils import escape

from ...module_utils._luks.audit.policy import OFF
from ...module_utils._luks.audit.traceable import TOOL
from ...module_utils._luks.errors import BadTask
from .fleet_rules import FLEET_RULES
from .oscal import moment_of, time_of
from .outcomes import COUNTED, NAMES, PASS, RULES_BY_ID, of_host
from .parts import Parts
from .rule_book import BOOK, ids_of
from .verdict import BEYOND_LIMIT, NO_VOLUME, left_out

Report = t.Mapping[str, t.Any]
Lines = t.Iterator[str]

_ID = "xccdf_luksmith.luks_{}_{}"
_CCE = "https://nvd.nist.gov/config/cce/index"
_CVE = "https://www.cve.org"
_SCORING = "urn:xccdf:scoring:flat-unweighted"
_SEVERITIES = {"critical": "high", "high": "high", "medium": "medium", "low": "low", "info": "info"}
_MESSAGES = {"critical": "error", "high": "error", "medium": "warning", "low": "warning", "info": "info"}
_FLEET_SEVERITY = "medium"
_VERSION = TOOL.split()[-1]
_SINCE = "2026-11-29"  # of this benchmark
_ABOUT = (
    "What luksmith.luks.audit checks of LUKS volumes. A rule passes on a host if it was checked on each of its volumes "
    "and found nothing. What nobody looked at is notchecked, what could not be verified is unknown, and a volume that "
    "could not be read is an error. None of them is a pass."
)
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
_ARF = (
    '<arf:asset-report-collection xmlns:arf="http://scap.nist.gov/schema/asset-reporting-format/1.1"'
    ' xmlns:core="http://scap.nist.gov/schema/reporting-core/1.1"'
    ' xmlns:ai="http://scap.nist.gov/schema/asset-identification/1.1">'
)
_TERMS = "http://scap.nist.gov/specifications/arf/vocabulary/relationships/1.0#"
# What ARF takes for the name of a host. Another one is only in the report of its asset.
_NAMEABLE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
# The check is in the module, so that there is no content that a scanner could run.
_CHECK = '<check system="urn:luksmith:luks:audit"/>'
# The older form of the name, on which the Schematron rules of oscap remark. oscap 1.3.7 refuses a benchmark on which
# they have no remark at all.
_PLATFORM = "cpe:/o:linux:linux_kernel"
_METADATA = '<dc:creator xmlns:dc="http://purl.org/dc/elements/1.1/">The luksmith developers</dc:creator>'
_XCCDF = 'xmlns="http://checklists.nist.gov/xccdf/1.2"'


def to_xccdf(report: Report) -> str:
    return "".join(xccdf_parts(report))


def to_arf(report: Report) -> str:
    return "".join(arf_parts(report))


def xccdf_parts(report: Report) -> Parts:
    """One benchmark with the test result of each host."""
    results = (line for host in _hosts(report) for line in _result(report, host))
    return _lines(itertools.chain((_HEAD,), _benchmark(report, results)))


def arf_parts(report: Report) -> Parts:
    """The same in an asset report collection: each host is an asset, and has a report of its own.

    Raises BadTask if there is no host, since a collection has at least one report.
    """
    hosts = _hosts(report)
    if not hosts:
        raise BadTask("the report has no host, of which arf could have a report", remedy="Leave arf out, or add a host")
    return _lines(_collection(report, hosts))


def _lines(lines: t.Iterable[str]) -> Parts:
    return (f"{line}\n" for line in lines)


def _collection(report: Report, hosts: t.Sequence[Report]) -> Lines:
    yield from (_HEAD, _ARF, f'<core:relationships xmlns:terms="{_TERMS}">')
    for number, _host in enumerate(hosts):
        for kind, to in (("createdFor", "request"), ("isAbout", f"asset-{number}")):
            yield f'<core:relationship type="terms:{kind}" subject="report-{number}"><core:ref>{to}</core:ref>'
            yield "</core:relationship>"
    yield from ("</core:relationships>", '<arf:report-requests><arf:report-request id="request"><arf:content>')
    yield from _benchmark(report, ())
    yield "</arf:content></arf:report-request></arf:report-requests>"
    yield "<arf:assets>"
    for number, host in enumerate(hosts):
        yield f'<arf:asset id="asset-{number}"><ai:computing-device>'
        if _NAMEABLE.fullmatch(host["host"]):
            yield f"<ai:hostname>{host['host']}</ai:hostname>"
        yield "</ai:computing-device></arf:asset>"
    yield from ("</arf:assets>", "<arf:reports>")
    for number, host in enumerate(hosts):
        yield f'<arf:report id="report-{number}"><arf:content>'
        yield from _result(report, host, _XCCDF)
        yield "</arf:content></arf:report>"
    yield from ("</arf:reports>", "</arf:asset-report-collection>")


def _hosts(report: Report) -> t.List[Report]:
    """Those of the report, and those beyond --limit, of which nothing was checked."""
    unasked = report.get("scope", {}).get("beyond", ())
    nothing: Report = {"error": BEYOND_LIMIT, "volumes": [], "excluded": [], "policies": {}}
    return [*report["hosts"], *({**nothing, "host": host} for host in unasked)]


def _benchmark(report: Report, results: t.Iterable[str]) -> Lines:
    policies = {digest: policy for host in report["hosts"] for digest, policy in host["policies"].items()}
    yield f'<Benchmark {_XCCDF} id="{_ID.format("benchmark", "audit")}" resolved="1" xml:lang="en">'
    yield from (f'<status date="{_SINCE}">accepted</status>', "<title>Audit of LUKS volumes</title>")
    yield from (f"<description>{_ABOUT}</description>", f'<platform idref="{_PLATFORM}"/>')
    yield from (f"<version>{_VERSION}</version>", f"<metadata>{_METADATA}</metadata>")
    for digest, policy in sorted(policies.items()):
        yield from _profile(digest, policy)
    for name in NAMES:
        yield from _rule(name)
    yield from results
    yield "</Benchmark>"


def _profile(digest: str, policy: t.Any) -> t.List[str]:
    known = policy if isinstance(policy, t.Mapping) else {}
    text = known.get("text")
    lines = [f'<Profile id="{_profile_id(digest)}">', f"<title>{escape(str(known.get('name') or '-'))}</title>"]
    lines.append(f"<description>{escape(json.dumps(text, sort_keys=True))}</description>")
    rules = text.get("rules") if isinstance(text, t.Mapping) else None
    for name, severity in sorted(rules.items()) if isinstance(rules, t.Mapping) else ():
        if severity == OFF and name in RULES_BY_ID:
            lines.append(f'<select idref="{_ID.format("rule", name)}" selected="false"/>')
    return [*lines, "</Profile>"]


def _rule(name: str) -> t.List[str]:
    rule, entry = RULES_BY_ID.get(name), BOOK[name]
    severity = _SEVERITIES[rule.severity] if rule else _FLEET_SEVERITY
    about = rule.about if rule else FLEET_RULES[name]
    lines = [f'<Rule id="{_ID.format("rule", name)}" severity="{severity}" selected="true">']
    lines += [f"<title>{name}</title>", f"<description>{escape(about)}</description>"]
    lines.append(f"<warning>When it is mistaken: {escape(entry.mistaken)}</warning>")
    idents = [one for one in ids_of(name) if one.startswith("CCE-")]
    lines += [f"<reference>{escape(one)}</reference>" for one in ids_of(name) if one not in idents]
    lines += [f'<ident system="{_CCE}">{one}</ident>' for one in idents]
    lines += [f'<ident system="{_CVE}">{escape(one)}</ident>' for one in (rule.references if rule else ())]
    return [*lines, f"<fixtext>{escape(entry.remedy)}</fixtext>", _CHECK, "</Rule>"]


def _result(report: Report, host: Report, namespace: str = "") -> t.List[str]:
    """The test result of a host; ``namespace``: where it is the root of its document."""
    times = sorted(filter(None, map(time_of, host["volumes"]))) or [moment_of(report["generated"])]
    name = _ID.format("testresult", _hex(host["host"], report["generated"]))
    begin = f'<TestResult id="{name}" start-time="{times[0]}" end-time="{times[-1]}" version="{_VERSION}"'
    lines = [
        f'{begin} test-system="cpe:2.3:a:luksmith:luks:{_VERSION}:*:*:*:*:*:*:*"{" " if namespace else ""}{namespace}>'
    ]
    if namespace:
        lines.append(f'<benchmark href="#request" id="{_ID.format("benchmark", "audit")}"/>')
    lines.append(f"<title>{escape(report['title'])}</title>")
    lines += [f"<remark>{escape(one)}</remark>" for one in _remarks(host)]
    if len(host["policies"]) == 1:
        lines.append(f'<profile idref="{_profile_id(next(iter(host["policies"])))}"/>')
    lines.append(f"<target>{escape(host['host'])}</target>")
    outcomes = of_host(host)
    said: t.Dict[str, t.List[str]] = {}
    for volume in host["volumes"]:
        for one in (*volume["findings"], *volume["unverified"]):
            text = f"{volume['device']}: {one['message']}. {one['remedy']}"
            said.setdefault(one["rule"], []).append(
                f'<message severity="{_MESSAGES[one["severity"]]}">{escape(text)}</message>'
            )
    for rule, (outcome, why) in outcomes.items():
        lines.append(f'<rule-result idref="{_ID.format("rule", rule)}"><result>{outcome}</result>')
        lines += [*said.get(rule, ()), *([f'<message severity="info">{escape(why)}</message>'] if why else [])]
        lines.append(f"{_CHECK}</rule-result>")
    counted = [outcome for outcome, _why in outcomes.values() if outcome in COUNTED]
    score = f'<score system="{_SCORING}" maximum="{len(counted)}">{counted.count(PASS)}</score>'
    return [*lines, score, "</TestResult>"]


def _remarks(host: Report) -> t.Iterator[str]:
    """What no rule can say: what was asked and not seen, and by which digests the rest can be compared."""
    if host["error"]:
        yield f"The host was not audited, or not as a whole: {host['error']}"
    if not host["volumes"] and not host["error"]:
        yield NO_VOLUME
    for left in left_out({"hosts": [host]}):
        yield f"{left.kind.capitalize()}: {left.volume} ({left.text})" if left.volume else left.text
    known = set(NAMES)
    for volume in host["volumes"]:
        digests = [volume.get("audited", {}).get("policy_digest") or "-", volume.get("fingerprint") or "-"]
        yield f"{volume['device']} is {volume['state']}; policy {digests[0]}, header {digests[1]}"
        if volume["state"] == "failed":
            yield f"{volume['device']} could not be audited: {volume.get('msg') or '-'}"
        for one in (*volume["findings"], *volume["unverified"]):
            if one["rule"] not in known:
                yield f"{volume['device']}: {one['rule']}, a rule of another release: {one['message']}"


def _profile_id(digest: str) -> str:
    return _ID.format("profile", _hex(digest))


def _hex(*parts: str) -> str:
    """A part of an id, the same for the same thing, whatever a host calls itself."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
