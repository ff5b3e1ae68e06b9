# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The verdict over the audit of a fleet, and what the audit was not to look at. Each form of the report says the same.

"compliant" without more words is said only of a fleet of which nothing was left out.
"""

from __future__ import annotations

import typing as t

Report = t.Mapping[str, t.Any]

WORDS = (
    NOT_COMPLIANT,
    NOT_ALL_SEEN,
    NOTHING_SEEN,
    NOT_PROVEN,
    BY_RECORD,
    AS_FAR_AS,
    COMPLIANT,
) = (
    "not compliant",
    "not all was seen",
    "nothing was seen",
    "not proven",
    "compliant by record",
    "compliant, as far as audited",
    "compliant",
)
_GOOD = (BY_RECORD, AS_FAR_AS)
BEYOND_LIMIT = "The host is beyond --limit and was not asked."
NO_VOLUME = "No LUKS volume was found on the host."


class Left(t.NamedTuple):
    """Something that the audit was not to look at; ``volume``: "" for the host or its search as a whole."""

    host: str
    volume: str
    kind: str
    text: str


BEYOND, EXCLUDED, CHOSEN, SEARCH = ("beyond", "excluded", "chosen", "search")


def left_out(report: Report) -> t.List[Left]:
    """All of it: hosts beyond --limit, excluded volumes, and hosts where not every volume was looked for."""
    found = [Left(host, "", BEYOND, BEYOND_LIMIT) for host in report.get("scope", {}).get("beyond", ())]
    for host in report["hosts"]:
        name = host["host"]
        found += [Left(name, one["volume"], EXCLUDED, one["reason"]) for one in host["excluded"]]
        searched = host.get("searched", {})
        if searched.get("volumes"):
            named = ", ".join(searched["volumes"])
            found.append(Left(name, "", CHOSEN, f"Only the volumes of audit_volumes were audited: {named}."))
        elif searched.get("block_devices") is False:
            found.append(Left(name, "", SEARCH, "Block devices were not searched (audit_block_devices)."))
    return found


def limits(report: Report) -> t.List[str]:
    """The same as parts of a sentence."""
    found = left_out(report)
    number = {kind: sum(one.kind == kind for one in found) for kind in (BEYOND, EXCLUDED, CHOSEN, SEARCH)}
    said = []
    if number[BEYOND]:
        targets = report["scope"]["targets"]
        said.append(f"{targets - number[BEYOND]:,} of {many(targets, 'host')}")
    if number[EXCLUDED]:
        said.append(f"{many(number[EXCLUDED], 'volume')} excluded")
    if number[CHOSEN]:
        said.append(f"only chosen volumes on {many(number[CHOSEN], 'host')}")
    if number[SEARCH]:
        said.append(f"no block devices on {many(number[SEARCH], 'host')}")
    return said


def of_audit(report: Report) -> t.Dict[str, t.Any]:
    """``word``: one of WORDS; ``about``: a sentence; ``limits``: what it does not cover."""
    totals, bounds = report["totals"], limits(report)
    states, volumes = totals["states"], totals["volumes"]
    if states["findings"]:
        worst = next((severity for severity, count in totals["findings"].items() if count), "unknown")
        word = NOT_COMPLIANT
        about = f"{states['findings']:,} of {many(volumes, 'volume')} with findings; the worst is {worst}."
    elif states["failed"] or totals["hosts_without_answer"]:
        word, about = NOT_ALL_SEEN, "Nothing bad was found in what could be read."
    elif not volumes:
        word, about = NOTHING_SEEN, "No volume was audited."
    elif totals["unverified"] or states["unverified"]:
        count = max(totals["unverified"], states["unverified"])
        word, about = NOT_PROVEN, f"No finding, but {many(count, 'thing')} could not be verified."
    elif states["recorded"]:
        word = BY_RECORD
        about = f"{many(states['recorded'], 'volume')} only as far as the header says, which proves nothing."
    elif bounds:
        word, about = AS_FAR_AS, "No finding on any volume that was seen, but not everything was to be seen."
    else:
        word, about = COMPLIANT, "No finding on any volume that was seen, and nothing was left unverified."
    return {"word": word, "about": about, "limits": bounds}


def sentence(verdict: Report) -> str:
    """For a console: the word, and what it does not cover."""
    bounds = ", ".join(verdict["limits"])
    if not bounds:
        return f"Verdict: {verdict['word']}."
    return (
        f"Verdict: {verdict['word']}{': ' if verdict['word'] in _GOOD else '. Not everything was audited: '}{bounds}."
    )


def is_unproven(volume: Report) -> bool:
    """Whether a keyslot of the volume was taken from its record or token, whatever else was found on it."""
    if volume["state"] == "failed" or not volume.get("type"):
        return False  # nothing at all was seen of it
    return volume["state"] == "recorded" or volume.get("verified") is False


def why_unproven(volume: Report) -> str:
    return (
        f"what opens {volume['device']} is known only as far as its header says: a keyslot was not tried, which proves "
        "nothing"
    )


def many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
