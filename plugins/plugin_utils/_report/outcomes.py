# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What each rule says of a volume and of a host, in the words of XCCDF 1.2.

A report holds what was found. That nothing was found is a pass only where the rule applies to the volume, the policy
asks for it, and the audit had what the rule looks at. Everything else has another word.
"""

from __future__ import annotations

import functools
import json
import typing as t

from ...module_utils._luks.audit import rule as looks_at
from ...module_utils._luks.audit.policy import INFO, OFF
from ...module_utils._luks.audit.rules import RULES, SEGMENT_GAP, UNREADABLE
from ...module_utils._luks.errors import numbered
from ...module_utils._luks.header.model import LUKSMETA_UNREADABLE as UNREADABLE_TOKENS
from ...module_utils._luks.task.options import PROOF
from .fleet_rules import FLEET_RULES
from .verdict import many

Report = t.Mapping[str, t.Any]

FAIL, ERROR, UNKNOWN, NOT_CHECKED = "fail", "error", "unknown", "notchecked"
INFORMATIONAL, PASS, NOT_APPLICABLE, NOT_SELECTED = "informational", "pass", "notapplicable", "notselected"
# A host has the worst outcome of its volumes, in this order: one volume that was not looked at takes away the pass.
_WORST_FIRST = (FAIL, ERROR, UNKNOWN, NOT_CHECKED, INFORMATIONAL, PASS, NOT_APPLICABLE, NOT_SELECTED)
# Outcomes that count for the score of a host.
COUNTED = (PASS, FAIL, ERROR, UNKNOWN)

RULES_BY_ID = {rule.id: rule for rule in RULES}
NAMES = (*RULES_BY_ID, *FLEET_RULES)
_KNOWN = frozenset(NAMES)

_ONLY_FOR = {
    **dict.fromkeys(("boot-signature", "slot-remnant"), "luks1"),
    **dict.fromkeys(
        ("header-copy", "header-salt", "header-checksum", "metadata-unknown", "area-alignment", "cve-2020-14382"),
        "luks2",
    ),
    **dict.fromkeys(("reencryption", "cve-2021-4122", "requirement", "requirement-unknown"), "luks2"),
    **dict.fromkeys(("record-label", "record-stale", "tpm2-unconditional", "tpm2-sha1"), "luks2"),
}
# The image has a header of its own, in which the one of LUKS lies.
_NOT_IN_QCOW2 = ("foreign-signature",)
# A finding of these says that nothing else could be read.
BLIND = (UNREADABLE.id, SEGMENT_GAP.id)
_FIPS = "fips-140-3"
# They read what a token holds.
_INSIDE_TOKENS = ("tpm2-unconditional", "tpm2-sha1", "clevis-renew", "token-doubled")

_REASONS = 3  # that are told of one rule

Verdict = t.Tuple[str, str]


def of_host(host: Report) -> t.Dict[str, Verdict]:
    """The outcome of each rule on a host, and why it was not checked, or ""."""
    each = [of_volume(volume, host["policies"]) for volume in host["volumes"]]
    if host["error"]:
        whole = (ERROR, "") if each else (NOT_CHECKED, "the host gave no answer")
        each.append(dict.fromkeys(NAMES, whole))
    outcomes = {name: _worst([one[name] for one in each]) for name in NAMES}
    if host["excluded"]:  # on each volume that was seen is not on each volume
        left = (NOT_CHECKED, "a volume of the host was excluded")
        outcomes.update((name, left) for name, one in outcomes.items() if one[0] in (PASS, NOT_APPLICABLE))
    return outcomes


def of_volume(volume: Report, policies: t.Mapping[str, t.Any]) -> t.Dict[str, Verdict]:
    """The same on a volume; ``policies``: those of its host, by their digest."""
    audited = volume.get("audited", {})
    policy = policies.get(audited.get("policy_digest", ""))
    # The worse outcome of a rule comes later, and stays.
    found = {one["rule"]: INFORMATIONAL for one in volume["findings"]}
    found.update((one["rule"], UNKNOWN) for one in volume["unverified"])
    found.update((one["rule"], FAIL) for one in volume["findings"] if one["severity"] != INFO)
    facts = {
        **{name: volume.get(name) for name in ("type", "container", "looked")},
        "failed": volume["state"] == "failed",
        "found": {name: outcome for name, outcome in found.items() if name in _KNOWN},
        "proof": audited.get("verify") == PROOF,
        "backups": bool(audited.get("backups")),
        "store": {name: volume["store"].get(name) for name in ("opens", "secret")} if "store" in volume else None,
        "compared": [name for name, count in volume.get("compared", {}).items() if count],
        "rows": [_fact(row) for row in volume["keyslots"] if row["state"] == "active"],
        "policy": {name: policy.get(name) for name in ("extends", "text")} if isinstance(policy, t.Mapping) else {},
    }
    return _of_facts(json.dumps(facts, sort_keys=True))


class _Row(t.NamedTuple):
    keyslot: int
    bound: bool
    opened: bool
    recorded: bool
    tokens: t.List[str]
    kdf: t.Optional[str]


def _fact(row: Report) -> _Row:
    bound, opened, recorded = (bool(row.get(name)) for name in ("bound", "opened_by", "recorded"))
    return _Row(row["keyslot"], bound, opened, recorded, row["tokens"], row.get("kdf", {}).get("type"))


@functools.lru_cache(maxsize=2048)
def _of_facts(text_of_facts: str) -> t.Dict[str, Verdict]:
    """Of all that counts of a volume, as JSON: most volumes of a fleet have it in common with many others."""
    facts = json.loads(text_of_facts)
    found, text = facts["found"], facts["policy"].get("text")
    blind = not facts["type"] or any(name in found for name in BLIND)
    asked = _Asked(facts) if isinstance(text, dict) else None
    outcomes = {}
    for name in NAMES:
        if name in found:
            outcomes[name] = (found[name], "")
        elif facts["failed"]:
            outcomes[name] = (ERROR, "")
        elif asked is None:
            outcomes[name] = (NOT_CHECKED, "it is not known which policy was asked")
        elif blind and not _is_of_the_policy(name):
            outcomes[name] = (NOT_CHECKED, "the header could not be read")
        else:
            outcomes[name] = asked.outcome(name)
    return outcomes


def counted(report: Report) -> t.Dict[str, t.Dict[str, t.Any]]:
    """For each rule the number of volumes with each outcome, and with each reason why it was not checked (``why``)."""
    totals: t.Dict[str, t.Dict[str, t.Any]] = {name: {} for name in NAMES}
    for host in report["hosts"]:
        for volume in host["volumes"]:
            for name, (outcome, why) in of_volume(volume, host["policies"]).items():
                total = totals[name]
                total[outcome] = total.get(outcome, 0) + 1
                if why:
                    reasons = total.setdefault("why", {})
                    reasons[why] = reasons.get(why, 0) + 1
    return totals


def in_words(total: t.Mapping[str, t.Any]) -> str:
    """On how many volumes a rule was not checked, and why, from its part of :func:`counted`; "" if on none."""
    reasons = sorted(total.get("why", {}).items(), key=lambda one: (-one[1], one[0]))
    if not reasons:
        return ""
    told = "; ".join(f"{why} ({many(count, 'volume')})" for why, count in reasons[:_REASONS])
    return f"not checked: {told}" + (f"; {len(reasons) - _REASONS} more reasons" if reasons[_REASONS:] else "")


class _Asked:
    """Whether nothing found of a rule is a pass, on a volume that was audited with a policy that is known.

    A rule that needs more than a readable header has a method of its name, which says what was missing to look at.
    """

    def __init__(self, facts: t.Mapping[str, t.Any]) -> None:
        self._facts = facts
        self._policy: t.Mapping[str, t.Any] = facts["policy"]["text"]
        self._looked = facts["looked"] or {}
        self._store = facts["store"]
        self._active = [_Row(*row) for row in facts["rows"]]
        self._bound = [row for row in self._active if row.bound]

    def outcome(self, name: str) -> Verdict:
        rule, kind = RULES_BY_ID.get(name), self._facts["type"]
        changed = self._policy.get("rules")
        if rule is not None:
            if isinstance(changed, t.Mapping) and changed.get(name) == OFF:
                return NOT_SELECTED, ""
            if rule.option and (rule.option not in self._policy or self._policy[rule.option] is False):
                return NOT_SELECTED, ""
        if _ONLY_FOR.get(name, kind) != kind:
            return NOT_APPLICABLE, ""
        if name in _NOT_IN_QCOW2 and self._facts["container"] == "qcow2":
            return NOT_APPLICABLE, ""
        why = self._why_not(name, rule.looks_at if rule is not None else "")
        return (NOT_CHECKED, why) if why else (PASS, "")

    def _why_not(self, name: str, looks_at_what: str) -> str:
        """What was missing to look at, in words, or ""."""
        own = getattr(self, f"_{name.replace('-', '_')}", None)
        if looks_at_what in (looks_at.SECRETS, looks_at.STORE) and not self._facts["proof"] and name not in _BY_RECORD:
            return "no secret was tried (verify: record)"
        if own is not None:
            return str(own())
        if looks_at_what == looks_at.BACKUP:
            return "" if self._looked.get("backups") else "no header backup of this volume was given"
        if name in _INSIDE_TOKENS:
            unread = any(UNREADABLE_TOKENS in row.tokens for row in self._active)
            return "what a token holds could not be read" if unread or "token-malformed" in self._facts["found"] else ""
        return ""

    def _fips_keyslot(self) -> str:
        if self._looked.get("fips"):
            return ""
        if self._facts["policy"]["extends"] != _FIPS:
            return f"the host is not in FIPS mode, and the policy does not extend {_FIPS}"
        others = [row.keyslot for row in self._active if row.kdf != "pbkdf2"]
        return f"{_slots(others)} not pbkdf2, which kdf-type judges" if others else ""

    def _grub_closed(self) -> str:
        asked = self._looked.get("grub") or self._policy.get("opened_by_grub")
        return "" if asked else "nothing says that GRUB must open the volume"

    def _kdf_cost(self) -> str:
        """A token's random key may have lower costs, if the policy believes the token."""
        costs = self._policy.get("minimum_costs")
        believed = isinstance(costs, t.Mapping) and costs.get("tokens")
        unproven = self._only_by_token()
        return f"{_slots(unproven)} guarded by a token, which the policy believes" if believed and unproven else ""

    _kdf_type = _kdf_cost

    def _only_by_token(self) -> t.List[int]:
        return [row.keyslot for row in self._active if row.tokens and not row.opened]

    def _slot_unknown(self) -> str:
        unproven = self._only_by_token()
        return f"{_slots(unproven)} guarded by a token, and no secret was tried" if unproven else ""

    def _token_dangling(self) -> str:
        unproven = self._only_by_token()
        return f"{_slots(unproven)} opened by nothing that was given" if unproven else ""

    def _volume_key_padded(self) -> str:
        return "" if self._looked.get("volume_key") else "nothing that was given yields the volume key"

    def _secret_forbidden(self) -> str:
        return "" if self._looked.get("forbidden") else "no forbidden secret was given"

    def _secret_empty(self) -> str:
        return "" if self._looked.get("empty_secret") else "the empty secret was not tried on every keyslot"

    def _secret_duplicate(self) -> str:
        closed = [row.keyslot for row in self._bound if not row.opened]
        return f"{_slots(closed)} opened by no known secret" if closed else ""

    def _record_label(self) -> str:
        recorded = any(row.recorded for row in self._active)
        return "" if recorded else "no keyslot was taken from the record (verify: record)"

    def _record_stale(self) -> str:
        return "" if self._looked.get("record") else "the header has no record of this collection"

    def _backup_unreadable(self) -> str:
        return "" if self._facts["backups"] else "no header backup was given"

    _backup_missing = _backup_unreadable

    def _backup_forbidden(self) -> str:
        if not self._looked.get("backups"):
            return "no header backup of this volume was given"
        return "" if self._looked.get("forbidden") or self._looked.get("older") else "no forbidden secret was given"

    def _store_missing(self) -> str:
        if self._store is None:
            return "no store was asked (audit_store)"
        return "" if self._looked.get("store") else "the store gave no answer"

    def _store_closed(self) -> str:
        why = self._store_missing()
        return why or ("" if self._store["opens"] in ("yes", "no") else "the current secret was not tried")

    def _store_older(self) -> str:
        older = self._looked.get("older")
        return self._store_missing() or ("" if older else "no replaced secret of the store could be tried")

    def _store_kept(self) -> str:
        return self._store_missing() or ("" if self._looked.get("kept") else "rotate_keeps names no secret")

    def _store_staged(self) -> str:
        return self._store_missing() or ("" if self._store["secret"] else "the store has no secret for the volume")

    _store_given_out = _store_staged

    def _clone(self) -> str:
        return (
            "" if "volumes" in self._facts["compared"] else "there is no other volume in the report to compare it with"
        )

    def _secret_shared(self) -> str:
        if "secrets" in self._facts["compared"]:
            return ""
        return "not all secrets of this volume were compared with those of another host"


# What the store says of itself is the same however the secrets are tried.
_BY_RECORD = ("store-missing", "store-staged", "store-given-out")


def _slots(numbers: t.Sequence[int]) -> str:
    return f"{numbered(numbers)} {'are' if numbers[1:] else 'is'}"


def _is_of_the_policy(name: str) -> bool:
    return name in RULES_BY_ID and RULES_BY_ID[name].looks_at == looks_at.POLICY


def _worst(outcomes: t.Sequence[Verdict]) -> Verdict:
    nothing = (NOT_APPLICABLE, "")
    return min(outcomes, key=lambda one: _WORST_FIRST.index(one[0]), default=nothing)
