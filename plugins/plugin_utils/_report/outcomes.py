# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What each rule says of a volume and of a host, in the words of XCCDF 1.2.

A report holds what was found. That nothing was found is a pass only where the rule applies to the volume, the policy
asks for it, and the audit had what the rule looks at. Everything else has another word.
"""

from __future__ import annotations

import typing as t

from ...module_utils._luks.audit import rule as looks_at
from ...module_utils._luks.audit.policy import INFO, OFF
from ...module_utils._luks.audit.rules import RULES, SEGMENT_GAP, UNREADABLE
from ...module_utils._luks.task.options import PROOF
from .fleet_rules import CLONE, FLEET_RULES

Report = t.Mapping[str, t.Any]

FAIL, ERROR, UNKNOWN, NOT_CHECKED = "fail", "error", "unknown", "notchecked"
INFORMATIONAL, PASS, NOT_APPLICABLE, NOT_SELECTED = "informational", "pass", "notapplicable", "notselected"
# A host has the worst outcome of its volumes, in this order: one volume that was not looked at takes away the pass.
_WORST_FIRST = (FAIL, ERROR, UNKNOWN, NOT_CHECKED, INFORMATIONAL, PASS, NOT_APPLICABLE, NOT_SELECTED)
# Outcomes that count for the score of a host.
COUNTED = (PASS, FAIL, ERROR, UNKNOWN)

RULES_BY_ID = {rule.id: rule for rule in RULES}
NAMES = (*RULES_BY_ID, *FLEET_RULES)

_ONLY_FOR = {
    **dict.fromkeys(("boot-signature", "slot-remnant"), "luks1"),
    **dict.fromkeys(
        ("header-copy", "header-salt", "header-checksum", "metadata-unknown", "area-alignment", "cve-2020-14382"),
        "luks2",
    ),
    **dict.fromkeys(("reencryption", "cve-2021-4122", "requirement", "requirement-unknown"), "luks2"),
}
# A finding of these says that nothing else could be read.
BLIND = (UNREADABLE.id, SEGMENT_GAP.id)
# Whether the host gave these a reason to look is not in the report.
_BY_THE_HOST = {"fips-keyslot": "", "grub-closed": "opened_by_grub"}


def of_host(host: Report) -> t.Dict[str, str]:
    """The outcome of each rule on a host."""
    each = [of_volume(volume, host["policies"]) for volume in host["volumes"]]
    if host["error"]:
        each.append(dict.fromkeys(NAMES, ERROR if each else NOT_CHECKED))
    outcomes = {name: _worst([one[name] for one in each]) for name in NAMES}
    if host["excluded"]:  # on each volume that was seen is not on each volume
        outcomes.update((name, NOT_CHECKED) for name, one in outcomes.items() if one in (PASS, NOT_APPLICABLE))
    return outcomes


def of_volume(volume: Report, policies: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    """The outcome of each rule on a volume; ``policies``: those of its host, by their digest."""
    policy = policies.get(volume.get("audited", {}).get("policy_digest", ""))
    text = policy.get("text") if isinstance(policy, t.Mapping) else None
    # The worse outcome of a rule comes later, and stays.
    found = {one["rule"]: INFORMATIONAL for one in volume["findings"]}
    found.update((one["rule"], UNKNOWN) for one in volume["unverified"])
    found.update((one["rule"], FAIL) for one in volume["findings"] if one["severity"] != INFO)
    blind = not volume.get("type") or any(name in found for name in BLIND)
    outcomes = {}
    for name in NAMES:
        if name in found:
            outcomes[name] = found[name]
        elif volume["state"] == "failed":
            outcomes[name] = ERROR
        elif not isinstance(text, t.Mapping) or (blind and not _is_of_the_policy(name)):
            outcomes[name] = NOT_CHECKED
        else:
            outcomes[name] = _without_finding(name, volume, text)
    return outcomes


def _without_finding(name: str, volume: Report, policy: t.Mapping[str, t.Any]) -> str:
    """The outcome of a rule of which nothing was found on a volume that was audited."""
    if name in FLEET_RULES:
        return PASS if name == CLONE and volume.get("key_digest") else NOT_CHECKED
    rule = RULES_BY_ID[name]
    changed = policy.get("rules")
    if isinstance(changed, t.Mapping) and changed.get(name) == OFF:
        return NOT_SELECTED
    if rule.option and (rule.option not in policy or policy[rule.option] is False):
        return NOT_SELECTED
    if _ONLY_FOR.get(name, volume.get("type")) != volume.get("type"):
        return NOT_APPLICABLE
    return PASS if _looked(name, rule.looks_at, volume, policy) else NOT_CHECKED


def _looked(name: str, where: str, volume: Report, policy: t.Mapping[str, t.Any]) -> bool:
    """Whether the audit had what the rule looks at."""
    audited = volume.get("audited", {})
    if name in _BY_THE_HOST:
        return _BY_THE_HOST[name] in policy
    if where == looks_at.SECRETS:
        tried = bool(audited.get("verify") == PROOF)
        if name == "secret-forbidden":
            return tried and bool(audited.get("forbidden_labels"))
        if name == "volume-key-padded":
            return tried and any(row["opened_by"] and not row.get("recorded") for row in volume["keyslots"])
        return tried
    if where == looks_at.RECORD:
        return any(row.get("changed") for row in volume["keyslots"])
    if where == looks_at.BACKUP:
        return bool(audited.get("backups"))
    if where == looks_at.STORE:
        opens = volume.get("store", {}).get("opens")
        return opens in ("yes", "no") or (name == "store-missing" and opens == "by record")
    return True


def _is_of_the_policy(name: str) -> bool:
    return name in RULES_BY_ID and RULES_BY_ID[name].looks_at == looks_at.POLICY


def _worst(outcomes: t.Sequence[str]) -> str:
    return outcomes[0] if len(outcomes) == 1 else min(outcomes, key=_WORST_FIRST.index, default=NOT_APPLICABLE)
