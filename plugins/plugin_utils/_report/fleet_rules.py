# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules that only a look at all volumes can judge. Their findings are like those of a host."""

from __future__ import annotations

import collections
import typing as t

CLONE = "clone"
FLEET_RULES = {
    CLONE: "Two volumes have one volume key or one uuid: whoever can open one of them can open the other.",
}
_SEVERITY = "high"
_SHOWN = 3

Volume = t.Dict[str, t.Any]
Place = t.Tuple[str, Volume]


def judge(hosts: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Add the findings to the volumes of ``hosts``. Those of an earlier report are judged anew."""
    places: t.List[Place] = [(host["host"], volume) for host in hosts for volume in host["volumes"]]
    for _host, volume in places:
        volume["findings"] = [one for one in volume["findings"] if one["rule"] not in FLEET_RULES]
    # Results without it are of headers that could not be read, or of a release that did not ask for clones.
    places = [(host, volume) for host, volume in places if volume.get("key_digest")]
    for name, remedy in (
        ("key_digest", "Encrypt one of them anew ('cryptsetup reencrypt'): a clone keeps its volume key for ever"),
        ("uuid", "Find out which is the clone, encrypt it anew, and give it a uuid of its own"),
    ):
        _same(places, name, remedy)


def _same(places: t.Sequence[Place], name: str, remedy: str) -> None:
    groups: t.Dict[str, t.List[Place]] = collections.defaultdict(list)
    for host, volume in places:
        if volume.get(name):
            groups[volume[name]].append((host, volume))
    for group in groups.values():
        for host, volume in group if len(group) > 1 else ():
            others = [(other, one) for other, one in group if one is not volume and not _told(volume)]
            if others:
                _add(volume, host, others, name, remedy)


def _told(volume: Volume) -> bool:
    return any(one["rule"] == CLONE for one in volume["findings"])


def _add(volume: Volume, host: str, others: t.Sequence[Place], name: str, remedy: str) -> None:
    shown = ", ".join(f"{other}:{one['device']}" for other, one in others[:_SHOWN])
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    what = "volume key" if name == "key_digest" else "uuid"
    volume["findings"].append(
        {
            "rule": CLONE,
            "severity": _SEVERITY,
            "keyslot": None,
            "message": f"{host}:{volume['device']} has the {what} of {shown}{more}",
            "remedy": remedy,
        }
    )
    volume["worst"] = _SEVERITY if volume["worst"] != "critical" else "critical"
    if volume["state"] != "failed":
        volume["state"] = "findings"
