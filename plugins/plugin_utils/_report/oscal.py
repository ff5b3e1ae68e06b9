# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A report as OSCAL assessment results, the format in which NIST wants evidence about the controls of SP 800-53.

Each volume is an inventory item. What was found on it, or that nothing was, is an observation. Each control that a rule
is evidence for is a finding: satisfied if every volume of every host was audited and no observation speaks against it.
The policies stand in the place of an assessment plan, as resources of the document.
"""

from __future__ import annotations

import base64
import datetime
import json
import re
import typing as t
import uuid

from .outcomes import BLIND, FAIL, INFORMATIONAL, PASS, in_words, of_volume
from .parts import Parts, Streamed, json_of
from .rule_book import BOOK, ids_of
from .verdict import NO_VOLUME, is_unproven, left_out, why_unproven

Report = t.Mapping[str, t.Any]
Json = t.Dict[str, t.Any]

VERSION = "1.2.3"  # of OSCAL
NAMESPACE = "https://luksmith.invalid/luks/oscal"
_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, NAMESPACE)
_NIST = "NIST 800-53 "
_MOMENT, _IN_WORDS = "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M UTC"
_LIMITS = (
    "It says what headers and key material of the listed volumes show. It does not show where secrets are kept, or "
    "that a volume is missing from the inventory."
)


def control_of(name: str) -> str:
    """The id of a control in the catalogue of SP 800-53 as OSCAL: "SC-28(1)" is sc-28.1."""
    return re.sub(r"\((\d+)\)", r".\1", name).lower()


def _controls(rule: str) -> t.List[str]:
    return [control_of(one[len(_NIST) :]) for one in ids_of(rule) if one.startswith(_NIST)]


CONTROLS = tuple(sorted({control for rule in BOOK for control in _controls(rule)}))
_RULES_OF = {control: [rule for rule in BOOK if control in _controls(rule)] for control in CONTROLS}


def to_oscal(report: Report) -> str:
    return "".join(oscal_parts(report))


def oscal_parts(report: Report) -> Parts:
    audited = [time for _host, volume in _volumes(report) for time in [time_of(volume)] if time]
    begin, end = (min(audited), max(audited)) if audited else (moment_of(report["generated"]),) * 2
    told = _Told(report, end)
    told.look()
    policies = _policies(report)
    document = {
        "uuid": _id("document", report["title"], report["generated"], *told.digests),
        "metadata": {
            "title": _line(report["title"]),
            "last-modified": end,
            "version": end,
            "oscal-version": VERSION,
        },
        "import-ap": {
            "href": f"#{policies[0]['uuid']}",
            "remarks": "There is no assessment plan. The policies in the back matter say what was asked of volumes.",
        },
        "results": [
            {
                "uuid": _id("result", report["generated"], *told.digests),
                "title": _line(report["title"]),
                "description": f"An audit of LUKS volumes by luksmith.luks. {_LIMITS}",
                "start": begin,
                "end": end,
                **({"local-definitions": {"inventory-items": Streamed(told.all_items)}} if told.names else {}),
                "reviewed-controls": {
                    "control-selections": [{"include-controls": [{"control-id": one} for one in CONTROLS]}]
                },
                **(
                    {"observations": Streamed(told.all_observations), "findings": Streamed(told.findings)}
                    if told.names
                    else {}
                ),
                **({"remarks": " ".join(told.excluded)} if told.excluded else {}),
            }
        ],
        "back-matter": {"resources": policies},
    }
    return json_of({"assessment-results": document})


class _Told:
    """The inventory items and observations of a report, and what they mean for each control.

    Of a large fleet only the latter is kept: items and observations are made again when they are written.
    """

    def __init__(self, report: Report, moment: str) -> None:
        self.items: t.List[Json] = []  # of the present host
        self.observations: t.List[Json] = []
        self.names: t.List[str] = []  # of all observations
        self.digests: t.List[str] = []
        self.excluded: t.List[str] = []
        self._report = report
        self._moment = moment
        self._known: t.Set[str] = set()
        self._against: t.Dict[str, t.List[str]] = {control: [] for control in CONTROLS}
        self._open: t.Dict[str, t.List[str]] = {control: [] for control in CONTROLS}
        self._rules = report["rules"]

    def look(self) -> None:
        for _host in self._hosts():
            pass
        if self.names and not self.digests:
            self._leave_open(self.names)

    def all_items(self) -> t.Iterator[Json]:
        again = _Told(self._report, self._moment)
        return (item for _host in again._hosts() for item in again.items)

    def all_observations(self) -> t.Iterator[Json]:
        again = _Told(self._report, self._moment)
        return (observation for _host in again._hosts() for observation in again.observations)

    def _hosts(self) -> t.Iterator[None]:
        """What is left out is that of another host."""
        for host in self._report["hosts"]:
            self.items, self.observations = [], []
            self.excluded += [
                _line(f"Excluded on {host['host']}: {one['volume']} ({one['reason']}).") for one in host["excluded"]
            ]
            if host["error"]:
                item = self._item(host["host"], "", [])
                self._unknown(item, f"{host['host']} was not audited, or not as a whole: {host['error']}")
            elif not host["volumes"]:
                self._add(self._item(host["host"], "", []), "no-volume", "no volume", NO_VOLUME, [], {})
            for volume in host["volumes"]:
                self._volume(host["host"], volume)
                self._leave_unasked_open(volume, host["policies"])
            yield
        self.items, self.observations = [], []
        for left in left_out(self._report):
            item = self._item(left.host, left.volume, [])
            self._unknown(item, f"{left.host}{':' if left.volume else ''}{left.volume} ({left.kind}): {left.text}")
        yield

    def _item(self, host: str, device: str, props: t.Sequence[t.Tuple[str, t.Any]]) -> str:
        name = f"{host}:{device}" if device else host
        item = _id("item", host, device, *(str(value) for key, value in props if key == "detached-header"))
        if item not in self._known:
            self._known.add(item)
            self.items.append({"uuid": item, "description": _line(name), **_props([("host", host), *props])})
        return item

    def _volume(self, host: str, volume: Report) -> None:
        names = (("device", "device"), ("header", "detached-header"), ("uuid", "luks-uuid"), ("type", "format"))
        item = self._item(host, volume["device"], [(name, volume.get(key)) for key, name in names])
        self.digests.append(str(volume.get("fingerprint", "")))
        if volume["state"] == "failed":
            self._unknown(item, f"{host}:{volume['device']} could not be audited: {volume.get('msg', '')}")
            return
        for finding in volume["findings"]:
            self._observe(item, volume, finding, "finding")
        for finding in volume["unverified"]:
            self._observe(item, volume, finding, "not-verified")
        if is_unproven(volume):
            said = f"{host}: {why_unproven(volume)}"
            self._leave_open([self._add(item, "not-verified", "recorded", said, self._of(volume), volume)])
        elif not volume["findings"] and not volume["unverified"]:
            title = f"{host}:{volume['device']} is {volume['state']}"
            self._add(item, "compliant", title, title, self._of(volume), volume)

    def _leave_unasked_open(self, volume: Report, policies: t.Mapping[str, t.Any]) -> None:
        """The controls of which no rule has looked at the volume."""
        if volume["state"] == "failed":
            return
        outcomes = of_volume(volume, policies)
        for control, rules in _RULES_OF.items():
            if not any(outcomes[rule][0] in (PASS, FAIL, INFORMATIONAL) for rule in rules if rule in outcomes):
                self._leave_open(self.names[-1:], [control])

    @staticmethod
    def _of(volume: Report) -> t.List[t.Tuple[str, t.Any]]:
        audited = volume.get("audited", {})
        found = [("state", volume["state"]), ("policy", volume.get("policy")), ("tool", audited.get("tool"))]
        found += [("policy-digest", audited.get("policy_digest")), ("header-digest", volume.get("fingerprint"))]
        return [*found, ("store-opens", volume.get("store", {}).get("opens"))]

    def _observe(self, item: str, volume: Report, finding: Report, kind: str) -> None:
        props = [("rule", finding["rule"]), ("severity", finding["severity"]), ("keyslot", finding["keyslot"])]
        name = self._add(item, kind, finding["rule"], finding["message"], [*props, *self._of(volume)], volume)
        self.observations[-1]["remarks"] = _line(finding["remedy"])
        if kind != "finding":
            # Whoever calls it information has not verified it either.
            self._leave_open([name], _controls(finding["rule"]) or CONTROLS)
        elif finding["severity"] != "info":
            controls = _controls(finding["rule"])
            for control in controls:
                self._against[control].append(name)
            if not controls or finding["rule"] in BLIND:
                # It is about no control alone: the policy asks too little, or the rest could not be read.
                self._leave_open([name])

    def _unknown(self, item: str, text: str) -> None:
        name = self._add(item, "not-audited", "not audited", text, [], {})
        self._leave_open([name])

    def _leave_open(self, names: t.Sequence[str], controls: t.Sequence[str] = CONTROLS) -> None:
        for control in controls:
            self._open[control] += [name for name in names if name not in self._against[control]]

    def _add(
        self, item: str, kind: str, title: str, text: str, props: t.Sequence[t.Tuple[str, t.Any]], volume: Report
    ) -> str:
        name = _id("observation", item, kind, title, text, str(len(self.names)))
        self.names.append(name)
        self.observations.append(
            {
                "uuid": name,
                "title": _line(title),
                "description": _line(text),
                **_props([("outcome", kind), *props]),
                "methods": ["UNKNOWN" if kind == "not-audited" else "TEST"],
                "types": ["finding" if kind == "finding" else "control-objective"],
                "subjects": [{"subject-uuid": item, "type": "inventory-item"}],
                "collected": time_of(volume) or self._moment,
            }
        )
        return name

    def findings(self) -> t.Iterator[Json]:
        """One for each control, with all that speaks against it, and all that left it open."""
        for control in CONTROLS:
            against, unsure = self._against[control], self._open[control]
            status = {"state": "not-satisfied", "reason": "fail" if against else "other"}
            if not against and not unsure:
                status = {"state": "satisfied", "reason": "pass"}
            about = f"Observations that speak against it: {len(against)}; that leave it open: {len(unsure)}. {_LIMITS}"
            told = [(rule, in_words(self._rules.get(rule, {}))) for rule in _RULES_OF[control]]
            unasked = [f"{rule} was {said}" for rule, said in told if said]
            related = [{"observation-uuid": name} for name in (*against, *unsure)]
            yield {
                "uuid": _id("finding", control, *against, *unsure, *self.digests),
                "title": f"Control {control}, as far as LUKS headers show",
                "description": about,
                **({"remarks": _line(". ".join(unasked))} if unasked else {}),
                "target": {"type": "objective-id", "target-id": f"{control}_obj", "status": status},
                **({"related-observations": related} if related else {}),
            }


def _policies(report: Report) -> t.List[Json]:
    """The policies as resources; one that says so where there is none."""
    texts = {digest: policy for host in report["hosts"] for digest, policy in host["policies"].items()}
    return [
        {
            "uuid": _id("policy", digest),
            "title": _line(f"Policy {policy.get('name', '')}" if isinstance(policy, t.Mapping) else "Policy"),
            **_props([("policy-digest", digest)]),
            "base64": {
                "filename": f"policy-{re.sub('[^0-9a-f]', '', digest)[:16] or 'none'}.json",
                "media-type": "application/json",
                "value": base64.b64encode(json.dumps(policy, sort_keys=True).encode()).decode(),
            },
        }
        for digest, policy in sorted(texts.items()) or [("", {"name": "(no volume was audited against one)"})]
    ]


def _volumes(report: Report) -> t.Iterator[t.Tuple[str, Report]]:
    for host in report["hosts"]:
        for volume in host["volumes"]:
            yield host["host"], volume


def _props(pairs: t.Sequence[t.Tuple[str, t.Any]]) -> Json:
    known = [(name, value) for name, value in pairs if value not in (None, "")]
    return {"props": [{"name": name, "ns": NAMESPACE, "value": _line(value)} for name, value in known]} if known else {}


def _id(*parts: str) -> str:
    """Version 5: the same for the same thing, so that two reports can be compared."""
    return str(uuid.uuid5(_SPACE, json.dumps(parts)))


def _line(text: t.Any) -> str:
    """One line, not empty, without spaces around it."""
    return " ".join(str(text).split()) or "-"


def time_of(volume: Report) -> str:
    """When a host says that it was audited, or "": a host may say anything."""
    time = volume.get("audited", {}).get("time", "")
    try:
        return datetime.datetime.strptime(time, _MOMENT).strftime(_MOMENT)
    except ValueError:
        return ""


def moment_of(generated: str) -> str:
    """When the report was made, if that is a time as :mod:`.writing` has it, else now."""
    try:
        moment = datetime.datetime.strptime(generated, _IN_WORDS)
    except ValueError:
        moment = datetime.datetime.now(datetime.timezone.utc)
    return moment.strftime(_MOMENT)
