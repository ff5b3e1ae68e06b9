# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets for tests of the report, from nice to hostile."""

from __future__ import annotations

import typing as t

HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "</script ><script >document.title='owned'</script >",
    "</script/><svg/onload=\"document.title='owned'\">",
    "<!--<script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\" onmouseover=\"document.title='owned'",
    "<!--",
    "]]>",
    "\u202eevil\u202c",
    "two\nlines\tand\x00a NUL\x1b[31m",
    '=HYPERLINK("http://x")',
    "{{ 7 * 7 }}",
    "\ud800",
    "$&${location}`",
)


def row(keyslot: int, *opened_by: str, **members: t.Any) -> t.Dict[str, t.Any]:
    kdf = {"type": "argon2id", "time": 4, "memory": 65536, "parallel": 2}
    fixed = {
        "keyslot": keyslot,
        "state": "active",
        "bound": True,
        "priority": "normal",
        "kdf": kdf,
        "opened_by": list(opened_by),
        "tried": True,
        "tokens": [],
    }
    return {**fixed, "changed": "2026-11-01T00:00:00Z", "age_days": 23, "recorded": False, "mark": None, **members}


def finding(
    rule: str = "kdf-cost", severity: str = "high", keyslot: t.Optional[int] = 0, **members: t.Any
) -> t.Dict[str, t.Any]:
    return {
        "rule": rule,
        "severity": severity,
        "keyslot": keyslot,
        "message": f"{rule} was found",
        "remedy": "do something",
        **members,
    }


def volume(number: int = 0, state: str = "compliant", **members: t.Any) -> t.Dict[str, t.Any]:
    fixed = {
        "device": f"/dev/vda{number}",
        "uuid": f"uuid-{number}",
        "type": "luks2",
        "container": "raw",
        "slot_count": 32,
        "state": state,
        "policy": "strict",
    }
    return {
        **fixed,
        "keyslots": [row(0, "admin"), row(1, "break-glass")],
        "findings": [],
        "unverified": [],
        "verified": True,
        "kdf_evaluations": 3,
        **members,
    }


def bad_volume(number: int = 0, **members: t.Any) -> t.Dict[str, t.Any]:
    return volume(number, "findings", findings=[finding(), finding("slot-ignored", "low", 1)], **members)


def fleet(count: int) -> t.List[t.Dict[str, t.Any]]:
    """``count`` volumes, three on each host; every seventh has findings, every ninth something that nobody verified."""

    def one(number: int) -> t.Dict[str, t.Any]:
        if number % 7 == 1:
            return bad_volume(number)
        return (
            volume(number, "unverified", unverified=[finding("slot-unknown", "high", 1)])
            if number % 9 == 2
            else volume(number)
        )

    return [
        {"host": f"host-{first // 3:05}", "volumes": [one(number) for number in range(first, min(first + 3, count))]}
        for first in range(0, count, 3)
    ]


def hostile() -> t.List[t.Dict[str, t.Any]]:
    """Every text of a host is one of :data:`HOSTILE`."""
    hosts = []
    for text in HOSTILE:
        rows = [row(0, text, tokens=[text], priority=text, kdf={"type": text}, state="active", changed=text)]
        one = volume(
            0,
            "findings",
            device=text,
            uuid=text,
            label=text,
            cipher=text,
            policy=text,
            msg=text,
            keyslots=rows,
            phase=text,
        )
        one["findings"] = [finding(text, text, message=text, remedy=text)]
        one["unverified"] = [finding(text, "high", message=text, remedy=text)]
        hosts.append({"host": f"host {text}", "error": text, "volumes": [one]})
    return hosts


def rotated(number: int, state: str = "done", **members: t.Any) -> t.Dict[str, t.Any]:
    plan = [{"action": "rekey", "keyslot": 0, "label": "admin 2026", "reason": "opened by admin 2025"}]
    before, after = [row(0, "admin 2025"), row(1, "break-glass")], [row(0, "admin 2026"), row(1, "break-glass")]
    return volume(
        number,
        state,
        before=before,
        after=after if state == "done" else before,
        keyslots=after,
        plan=plan,
        phase="recorded",
        **members,
    )
