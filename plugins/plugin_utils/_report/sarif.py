# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A report as SARIF 2.1.0, the format in which scanners tell platforms what they found.

A finding is a result of kind ``fail``, what could not be verified is ``open``, a finding of severity info is
``informational``, and a volume without any is ``pass``. A volume that is compliant by record is ``open``. A host or
volume that could not be audited is a notification, and makes the invocation unsuccessful. What was left out is a
notification, too.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
import urllib.parse

from ...module_utils._luks.audit.rules import RULES
from .fleet_rules import FLEET_RULES
from .parts import Parts, Streamed, json_of
from .rule_book import BOOK, ids_of
from .verdict import NO_VOLUME, is_unproven, left_out, why_unproven

Report = t.Mapping[str, t.Any]
Json = t.Dict[str, t.Any]

_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "none"}
# For platforms that sort by a number, as a CVSS score has it.
_SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "3.0", "info": "0.0"}
_RULES = {rule.id: rule for rule in RULES}


def to_sarif(report: Report) -> str:
    return "".join(sarif_parts(report))


def sarif_parts(report: Report) -> Parts:
    notes: t.List[Json] = []
    rules: t.Set[str] = set()
    told = [
        _notification(f"{left.kind}: {left.text}", _location(left.host, {"device": left.volume}), "note")
        for left in left_out(report)
    ]
    for host in report["hosts"]:
        if host["error"]:
            notes.append(_notification(host["error"], _location(host["host"])))
        elif not host["volumes"]:
            told.append(_notification(NO_VOLUME, _location(host["host"]), "note"))
        for volume in host["volumes"]:
            rules.update(one["rule"] for one in (*volume["findings"], *volume["unverified"]))
            if volume["state"] == "failed":
                notes.append(_notification(volume.get("msg", ""), _location(host["host"], volume)))
    used = {name: rank for rank, name in enumerate(sorted(rules))}
    run = {
        "tool": {"driver": {"name": "luksmith.luks", "rules": [_rule(name) for name in used]}},
        "invocations": [{"executionSuccessful": not notes, "toolExecutionNotifications": [*notes, *told]}],
        "results": Streamed(lambda: _all_results(report, used)),
        "properties": {
            "title": report["title"],
            "generated": report["generated"],
            "verdict": report["verdict"]["word"],
            "limits": report["verdict"]["limits"],
            "rules": report["rules"],
        },
    }
    return json_of({"version": "2.1.0", "runs": [run]})


def _all_results(report: Report, used: t.Mapping[str, int]) -> t.Iterator[Json]:
    for host in report["hosts"]:
        for volume in host["volumes"]:
            for result in _results(host["host"], volume):
                yield {**result, "ruleIndex": used[result["ruleId"]]} if "ruleId" in result else result


def _rule(name: str) -> Json:
    rule, entry = _RULES.get(name), BOOK.get(name)
    if name in FLEET_RULES:
        return {"id": name, "shortDescription": {"text": FLEET_RULES[name]}, "properties": {"tags": ids_of(name)}}
    if rule is None or entry is None:  # of another release
        return {"id": name}
    return {
        "id": name,
        "shortDescription": {"text": rule.about},
        "help": {"text": f"{entry.remedy} When it is mistaken: {entry.mistaken}"},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {
            "tags": [*ids_of(name), *rule.references],
            "security-severity": _SCORES[rule.severity],
            **({} if entry.topics else {"why-no-identifier": entry.why}),
        },
    }


def _results(host: str, volume: Report) -> t.List[Json]:
    found = [
        _result(host, volume, one, "informational" if one["severity"] == "info" else "fail")
        for one in volume["findings"]
    ]
    found += [_result(host, volume, one, "open") for one in volume["unverified"]]
    if is_unproven(volume):
        return [*found, _whole(host, volume, "open", f"{host}: {why_unproven(volume)}")]
    if not found and volume["state"] != "failed":
        return [_whole(host, volume, "pass", f"{host}: {volume['device']} is {volume['state']}")]
    return found


def _whole(host: str, volume: Report, kind: str, text: str) -> Json:
    """A result that is about no rule."""
    return {
        "kind": kind,
        "level": "none",
        "message": {"text": text},
        "locations": [_location(host, volume)],
        "properties": _of_volume(volume),
    }


def _result(host: str, volume: Report, finding: Report, kind: str) -> Json:
    identity = [host, volume["device"], volume.get("header"), finding["rule"], finding["keyslot"]]
    return {
        "ruleId": finding["rule"],
        "kind": kind,
        "level": _LEVELS[finding["severity"]] if kind == "fail" else "none",
        "message": {"text": f"{finding['message']}. {finding['remedy']}"},
        "locations": [_location(host, volume)],
        "partialFingerprints": {"finding/v1": hashlib.sha256(json.dumps(identity).encode()).hexdigest()},
        "properties": {"severity": finding["severity"], "keyslot": finding["keyslot"], **_of_volume(volume)},
    }


def _of_volume(volume: Report) -> Json:
    known = {name: volume[name] for name in ("uuid", "policy", "state", "fingerprint") if name in volume}
    return {**known, **({"storeOpens": volume["store"]["opens"]} if "store" in volume else {})}


def _location(host: str, volume: t.Optional[Report] = None) -> Json:
    """Platforms show files, so that a volume is one, in a folder with the name of its host."""
    device = volume["device"] if volume else ""
    return {
        "physicalLocation": {"artifactLocation": {"uri": urllib.parse.quote(f"{host}/{device.lstrip('/')}", safe="/")}},
        "logicalLocations": [{"fullyQualifiedName": f"{host}:{device}", "kind": "resource"}],
    }


def _notification(text: str, location: Json, level: str = "error") -> Json:
    return {"level": level, "message": {"text": text or "it could not be audited"}, "locations": [location]}
