# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The variables of the role ``audit``, and what a host's answer means. Pure.

meta/argument_specs.yml of the role says what each variable means; a test compares the two.
"""

from __future__ import annotations

import typing as t

from ..module_utils._luks.audit.policy import SEVERITIES
from ..module_utils._luks.errors import counted, shown

Json = t.Mapping[str, t.Any]

_SECRETS = {"type": "list", "elements": "dict", "default": [], "no_log": True}

SPEC: t.Dict[str, t.Dict[str, t.Any]] = {
    "audit_volumes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"device": {"type": "path", "required": True}, "header": {"type": "path"}},
    },
    "audit_paths": {"type": "list", "elements": "str", "default": []},
    "audit_block_devices": {"type": "bool", "default": True},
    "audit_crypttab": {"type": "path", "default": "/etc/crypttab"},
    "audit_exclude": {"type": "list", "elements": "raw", "default": []},
    "audit_allow_empty": {"type": "bool", "default": False},
    "audit_policy": {"type": "raw", "default": "strict"},
    "audit_policies": {"type": "dict", "default": {}},
    "audit_secrets": _SECRETS,
    "audit_forbidden_secrets": _SECRETS,
    "audit_store": {"type": "raw", "default": ""},
    "audit_backups": {"type": "list", "elements": "path", "default": []},
    "audit_verify": {"type": "str", "choices": ["proof", "record"], "default": "proof"},
    "audit_kdf_limits": {"type": "dict", "default": {}},
    "audit_lock_timeout": {"type": "float", "default": 30},
    "audit_fips": {"type": "str", "choices": ["auto", "require", "ignore"], "default": "auto"},
    "audit_fail_on": {"type": "str", "choices": ["never", *SEVERITIES], "default": "never"},
    "audit_report_directory": {"type": "path", "default": ""},
    "audit_report_name": {"type": "str", "default": "luks-audit"},
    "audit_report_title": {"type": "str", "default": ""},
    "audit_report_formats": {
        "type": "list",
        "elements": "str",
        "choices": ["html", "json", "csv", "junit", "sarif", "oscal", "xccdf", "arf"],
        "default": ["html", "json", "csv", "junit"],
    },
}
# Those with paths on the host; all others are on the controller.
ON_THE_HOST = ("audit_volumes", "audit_crypttab", "audit_backups")
REPORT = tuple(name for name in SPEC if name.startswith("audit_report_"))
# The others are options of the module, under the same names.
_ASKED = tuple(name for name in SPEC if name not in (*REPORT, "audit_fail_on", "audit_store", "audit_allow_empty"))

NO_ANSWER = "the host gave no answer"
# What goes from a result into the report.
_MEMBERS = (
    "device",
    "header",
    "uuid",
    "type",
    "container",
    "label",
    "cipher",
    "key_size",
    "slot_count",
    "fingerprint",
    "key_digest",
    "policy",
    "evidence",
    "state",
    "verified",
    "msg",
    "findings",
    "unverified",
    "keyslots",
    "looked",
    "store",
    "prints",
    "kdf_evaluations",
)


def asked(given: Json) -> t.Dict[str, t.Any]:
    """The options of the module, from the variables as :data:`SPEC` leaves them."""
    options = {name[len("audit_") :]: given[name] for name in _ASKED}
    return {**options, "exclude": [one["volume"] for one in excluded(given["audit_exclude"])]}


def excluded(items: t.Sequence[t.Any]) -> t.List[t.Dict[str, str]]:
    """What is left out of the audit, and why: ``volume`` and ``reason`` of each item of ``audit_exclude``."""
    told = [one if isinstance(one, t.Mapping) else {"volume": one} for one in items]
    unsaid = "no reason was given"
    return [{"volume": str(one.get("volume", "")), "reason": str(one.get("reason") or unsaid)} for one in told]


def answer_of(host: str, result: Json, exclude: t.Sequence[t.Any] = ()) -> t.Dict[str, t.Any]:
    """The part of the report, from what the module said. A host is data: what has another kind is left out.

    exclude: items of ``audit_exclude``, which are the operator's; of these, those that the host has.
    """
    here = result.get("excluded")
    left_out = [one for one in excluded(exclude) if not isinstance(here, list) or one["volume"] in here]
    if not isinstance(result.get("volumes"), list):
        return {"host": host, "error": NO_ANSWER, "volumes": [], "excluded": left_out}
    volumes = [
        {name: one[name] for name in _MEMBERS if name in one} for one in result["volumes"] if isinstance(one, t.Mapping)
    ]
    unreadable = [device for device in _list(result, "unreadable") if isinstance(device, str)]
    error = (
        f"these devices could not be read, and may be LUKS volumes: {', '.join(map(shown, unreadable))}"
        if unreadable
        else ""
    )
    return {"host": host, "error": error, "volumes": volumes, "excluded": left_out}


def traced(given: Json, searched: Json) -> t.Dict[str, t.Any]:
    """For the report: where the host was to look for volumes, and what led to none there."""
    chosen = given["audit_volumes"]
    return {
        "volumes": [str(one["device"]) for one in chosen],
        "paths": [] if chosen else list(given["audit_paths"]),
        "block_devices": bool(given["audit_block_devices"]) and not chosen,
        "unmatched": list(searched["unmatched"]),
        "allow_empty": searched["allow_empty"],
    }


def problem_of(answer: Json, fail_on: str) -> str:
    """Why the host fails: what could not be audited, else findings that are bad enough."""
    failed = [one for one in answer["volumes"] if one.get("state") not in ("compliant", "recorded", *_NOT_COMPLIANT)]
    if answer["error"] or failed:
        parts = [answer["error"], *(one.get("msg") or f"{one.get('device')}: {NO_ANSWER}" for one in failed)]
        return " ".join(shown(str(part)) for part in parts if part)
    fatal = () if fail_on == "never" else SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    found = [one for volume in answer["volumes"] for name in _FOUND for one in _list(volume, name)]
    bad = [one for one in found if isinstance(one, t.Mapping) and one.get("severity") in fatal]
    return "; ".join(shown(str(one.get("message", ""))) for one in bad)


def summary_of(answer: Json) -> str:
    if not answer["volumes"]:
        return "no volume was found"
    states = [one.get("state") for one in answer["volumes"]]
    recorded = f", {states.count('recorded')} only by record" if "recorded" in states else ""
    left = len(answer.get("excluded", ()))
    excluded_too = f"; {left} excluded" if left else ""
    return f"{states.count('compliant')} of {counted(len(states), 'volume')} compliant{recorded}{excluded_too}"


_NOT_COMPLIANT = ("findings", "unverified")
_FOUND = ("findings", "unverified")


def _list(source: Json, name: str) -> t.Sequence[t.Any]:
    value = source.get(name)
    return value if isinstance(value, list) else ()
