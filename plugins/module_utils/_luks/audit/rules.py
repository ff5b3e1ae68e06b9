# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""All rules and their results for one volume. A test compares the table in docs/audit.md with them."""

from __future__ import annotations

import typing as t

from . import (
    rules_encryption,
    rules_header,
    rules_history,
    rules_kdf,
    rules_secrets,
    rules_slots,
    rules_store,
    rules_tokens,
)
from .evidence import Evidence
from .policy import ACCEPTED, GAP, SEVERITIES, Policy
from .policy_gaps import gaps
from .rule import AREA, HEADER, POLICY, RECORD, SECRETS, Rule, severity_of

Finding = t.Dict[str, t.Any]


def _never(evidence: Evidence, policy: Policy) -> t.Iterator[t.Any]:
    return iter(())


# Without a readable header there is no evidence; :mod:`.unreadable` makes the findings of these two.
UNREADABLE = Rule(
    "header-unreadable",
    "critical",
    "The header breaks the format, is ambiguous (JSON that programs read differently, duplicate keys, bytes after the "
    "text), or cannot be read on this host.",
    HEADER,
    _never,
)
SEGMENT_GAP = Rule(
    "cve-2020-14382",
    "critical",
    "The numbers of the segments have a gap before the backup segments: cryptsetup 2.2.0 to 2.3.3 writes out of "
    "bounds when it only reads such a device.",
    HEADER,
    _never,
    references=("CVE-2020-14382",),
)

POLICY_GAP = Rule(
    GAP,
    "high",
    "The policy allows more than the ready policy that it extends, and neither names a cost nor gives a reason.",
    POLICY,
    _never,
)
POLICY_ACCEPTED = Rule(
    ACCEPTED,
    "info",
    "The policy allows more than the ready policy that it extends, and gives a reason.",
    POLICY,
    _never,
)

# In the order in which findings of one severity are told.
FILES = (
    rules_header,
    rules_encryption,
    rules_kdf,
    rules_slots,
    rules_tokens,
    rules_secrets,
    rules_store,
    rules_history,
)
RULES: t.Tuple[Rule, ...] = (
    POLICY_GAP,
    POLICY_ACCEPTED,
    UNREADABLE,
    SEGMENT_GAP,
    *(rule for file in FILES for rule in file.RULES.rules),
)
# Their remedies end a reencryption. Those of others wait: a keyslot that looks superfluous may have the new volume key.
ABOUT_REENCRYPTION = ("cve-2021-4122", "reencryption")
FINISH_FIRST = (
    "Finish the reencryption first ('cryptsetup reencrypt --resume-only DEVICE') and audit again. Change no keyslot "
    "before: without the old or the new volume key the data is lost"
)
IDS = tuple(rule.id for rule in RULES)
_DEFAULTS = {rule.id: rule.severity for rule in RULES}


def judge(evidence: Evidence, policy: Policy) -> t.Tuple[t.List[Finding], t.List[Finding]]:
    """The findings, and what could not be verified; the most severe first, then in the order of the rules."""
    findings: t.List[Finding] = []
    unverified: t.List[Finding] = []
    findings += judge_policy(policy)
    for rule in RULES:
        severity = severity_of(rule, policy)
        if severity is None:
            continue
        for hit in rule.check(evidence, policy):
            on_keyslots = hit.keyslot is not None or rule.looks_at in (AREA, RECORD, SECRETS)
            waits = evidence.reencrypting and on_keyslots and rule.id not in ABOUT_REENCRYPTION
            (unverified if hit.unverified else findings).append(
                finding(rule.id, severity, hit.message, FINISH_FIRST if waits else hit.remedy, hit.keyslot)
            )
    return _sorted(findings), _sorted(unverified)


def judge_policy(policy: Policy) -> t.List[Finding]:
    """The findings of the policy itself, the same for every volume."""
    found = []
    for gap in gaps(policy, _DEFAULTS):
        rule = POLICY_ACCEPTED if gap.reason else POLICY_GAP
        message = f"the policy {policy.name!r}: {gap.message}{f', because: {gap.reason}' if gap.reason else ''}"
        found.append(
            finding(rule.id, rule.severity, message, "Review it with the policy" if gap.reason else gap.remedy)
        )
    return found


def finding(rule: str, severity: str, message: str, remedy: str, keyslot: t.Optional[int] = None) -> Finding:
    """A finding as it appears in the result."""
    return {"rule": rule, "severity": severity, "keyslot": keyslot, "message": message, "remedy": remedy}


def _sorted(findings: t.Sequence[Finding]) -> t.List[Finding]:
    return sorted(findings, key=lambda one: SEVERITIES.index(one["severity"]))
