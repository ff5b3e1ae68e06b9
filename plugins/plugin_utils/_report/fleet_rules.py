# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules that only a look at all volumes can judge. Their findings are like those of a host."""

from __future__ import annotations

import collections
import typing as t

from ...module_utils._luks.audit.policy import worst

CLONE, SHARED = "clone", "secret-shared"
FLEET_RULES = {
    CLONE: "Two volumes have one volume key or one uuid: whoever can open one of them can open the other.",
    SHARED: "One secret opens volumes of several hosts: whoever learns it on one of them can open the others.",
}
_SEVERITIES = {CLONE: "high", SHARED: "medium"}
_SHOWN = 3
_PROVEN = ", as their secrets prove"
_ANEW = "Encrypt one of them anew ('cryptsetup reencrypt DEVICE'): a clone keeps its volume key for ever"
_OWN_UUID = (
    "Find out which is the clone, encrypt it anew ('cryptsetup reencrypt DEVICE'), and give it a uuid of its own "
    "('cryptsetup luksUUID --uuid UUID DEVICE')"
)

Volume = t.Dict[str, t.Any]
Place = t.Tuple[str, Volume]


def judge(hosts: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Add the findings to the volumes of ``hosts``. Those of an earlier report are judged anew if possible."""
    places: t.List[Place] = [(host["host"], volume) for host in hosts for volume in host["volumes"]]
    for _host, volume in places:
        volume["findings"] = [one for one in volume["findings"] if one["rule"] not in FLEET_RULES or _lasting(one)]
    # Results without it are of headers that could not be read, or of a release that did not ask for clones.
    known = [(host, volume) for host, volume in places if volume.get("key_digest")]
    for name, remedy in (
        ("key_digest", _ANEW),
        ("uuid", _OWN_UUID),
    ):
        _same(known, name, [volume.get(name) for _host, volume in known], remedy)
    prints = [volume.get("prints", {}).get("volume_key") for _host, volume in known]
    _same(known, "prints", prints, _ANEW)
    _shared(known)
    _note_what_was_compared(hosts, known)


def _same(places: t.Sequence[Place], name: str, values: t.Sequence[t.Any], remedy: str) -> None:
    """Those of one of ``values`` that is one and the same, unless it was said of them already."""
    groups: t.Dict[str, t.List[Place]] = collections.defaultdict(list)
    for place, value in zip(places, values):
        if value:
            groups[value].append(place)
    for group in groups.values():
        for host, volume in group if len(group) > 1 else ():
            others = [(other, one) for other, one in group if one is not volume and not _told(volume)]
            if others:
                what = "uuid" if name == "uuid" else "volume key"
                proven = _PROVEN if name == "prints" else ""
                message = f"{host}:{volume['device']} has the {what} of {_some(others)}{proven}"
                _add(volume, CLONE, message, remedy)


def _shared(places: t.Sequence[Place]) -> None:
    groups: t.Dict[str, t.List[t.Tuple[str, Volume, str]]] = collections.defaultdict(list)
    for host, volume in places:
        for label, made in volume.get("prints", {}).get("secrets", {}).items():
            groups[made].append((host, volume, label))
    for group in groups.values():
        hosts = list(dict.fromkeys(host for host, _volume, _label in group))
        for host, volume, label in group if len(hosts) > 1 else ():
            others = [(other, one) for other, one, _label in group if other != host]
            count = f"{len(hosts) - 1} other host{'' if len(hosts) == 2 else 's'}"
            message = f"{label!r} opens {host}:{volume['device']} and volumes of {count}: {_some(others)}"
            _add(volume, SHARED, message, "Rotate with the role rotate, which gives each volume a secret of its own")


def _note_what_was_compared(hosts: t.Sequence[t.Mapping[str, t.Any]], known: t.Sequence[Place]) -> None:
    """``compared``: with how many other volumes a volume was; its secrets, with how many of other hosts.

    Nothing of an earlier report counts: this one has no fingerprints of its volumes.
    """
    told = collections.Counter(host for host, volume in known if volume.get("prints", {}).get("secrets"))
    everywhere = sum(told.values())
    for host in hosts:
        for volume in host["volumes"]:
            volume.pop("compared", None)
            if volume.get("key_digest"):
                others = everywhere - told[host["host"]]
                whole = others and _all_told(volume, host.get("policies", {}))
                volume["compared"] = {"volumes": len(known) - 1, "secrets": others if whole else 0}


def _all_told(volume: Volume, policies: t.Mapping[str, t.Any]) -> bool:
    """Whether the secret of each keyslot has a fingerprint, or is to be the same everywhere by the policy."""
    policy = policies.get(volume.get("audited", {}).get("policy_digest", ""))
    text = policy.get("text") if isinstance(policy, t.Mapping) else None
    shared = text.get("shared_labels") if isinstance(text, t.Mapping) else None
    named = {*volume.get("prints", {}).get("secrets", {}), *(shared if isinstance(shared, (list, tuple)) else ())}
    rows = [row for row in volume["keyslots"] if row["state"] == "active" and row.get("bound")]
    return bool(rows) and all(not row.get("recorded") and named.intersection(row["opened_by"]) for row in rows)


def _lasting(finding: t.Mapping[str, t.Any]) -> bool:
    """Whether it came from fingerprints, which no report has."""
    return finding["rule"] == SHARED or str(finding["message"]).endswith(_PROVEN)


def _told(volume: Volume) -> bool:
    return any(one["rule"] == CLONE for one in volume["findings"])


def _some(places: t.Sequence[Place]) -> str:
    shown = ", ".join(f"{host}:{volume['device']}" for host, volume in places[:_SHOWN])
    return f"{shown} and {len(places) - _SHOWN} more" if len(places) > _SHOWN else shown


def _add(volume: Volume, rule: str, message: str, remedy: str) -> None:
    severity = _SEVERITIES[rule]
    volume["findings"].append(
        {"rule": rule, "severity": severity, "keyslot": None, "message": message, "remedy": remedy}
    )
    volume["worst"] = worst([severity, *([volume["worst"]] if volume["worst"] else [])])
    if volume["state"] != "failed":
        volume["state"] = "findings"
