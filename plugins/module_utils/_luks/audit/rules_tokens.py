# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules on what a token of systemd or Clevis contains, and whether it can still open its keyslot."""

from __future__ import annotations

import typing as t

from ..header.foreign_tokens import MEMBERS, RECOVERY, doubled
from .evidence import Evidence
from .policy import Policy
from .remedies import enrol_anew, remove_token
from .rule import SECRETS, Hit, RuleSet
from .tokens import decoded

RULES = RuleSet()


@RULES.rule(
    "token-malformed",
    "medium",
    "A token lacks what its type needs, so that its program cannot use it: it is damaged or forged.",
)
def _malformed(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for token in decoded(evidence):
        if token.problem:
            yield Hit(
                f"token {token.number} of type {token.type!r} is not one: {token.problem}",
                f"Remove it: {remove_token(evidence, token.number, token.keyslot or 0)}",
                keyslot=token.keyslot,
            )


@RULES.rule(
    "tpm2-unconditional",
    "high",
    "A TPM2 token asks for no PCR, no signed policy and no PIN: whatever this machine boots gets the key.",
)
def _unconditional(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for token in decoded(evidence):
        if token.loose:
            yield Hit(
                f"token {token.number} lets the TPM give out the key without a PCR, a signed policy or a PIN",
                enrol_anew(token.type, token.keyslot or 0),
                keyslot=token.keyslot,
            )


@RULES.rule("tpm2-sha1", "medium", "A TPM2 token is bound to PCRs of the SHA-1 bank, whose values can be forged.")
def _sha1(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for token in decoded(evidence):
        if token.bank == "sha1":
            yield Hit(
                f"token {token.number} is bound to the sha1 bank of the TPM",
                enrol_anew(token.type, token.keyslot or 0),
                keyslot=token.keyslot,
            )


@RULES.rule(
    "token-dangling",
    "medium",
    "A token refers to a keyslot that its key does not open: another secret opens it, or it opens no data.",
    SECRETS,
)
def _dangling(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    slots = evidence.header.keyslots
    for token in decoded(evidence):
        if token.type not in MEMBERS or token.type == RECOVERY:
            continue
        for number in token.keyslots:
            if evidence.opens(token.number, number) and slots[number].bound:
                continue  # it was asked, whoever else has its key
            openers = [] if number in evidence.recorded else list(evidence.opened_by.get(number, ()))
            why = (
                "the secret that it gave does not open it"
                if evidence.refuted(token.number, number) and number in slots and slots[number].bound
                else f"{openers[0]!r} opens it, and a keyslot holds one key"
                if openers and number not in (*evidence.machine_made, *evidence.asked.alone)
                else "it is not active"
                if number not in slots
                else "it opens no data"
                if not slots[number].bound
                else ""
            )
            if why:
                yield Hit(
                    f"token {token.number} of type {token.type!r} refers to keyslot {number}, but {why}",
                    f"Remove it: {remove_token(evidence, token.number, number)}",
                    keyslot=number,
                )


@RULES.rule(
    "token-doubled",
    "medium",
    "Several tokens refer to one keyslot, or seal the same key: at most one of them is what it seems.",
)
def _doubled(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for other, token, shared in doubled(decoded(evidence)):
        if shared and all(evidence.opens(one.number, number) for one in (other, token) for number in shared):
            continue  # two ways to the same key, and both were asked
        yield Hit(
            f"tokens {other.number} and {token.number} "
            + (f"both refer to keyslot {shared[0]}" if shared else "seal the same key"),
            "Ask each of them alone for its secret (secrets: [{token: N}]), and remove the one that opens nothing, "
            "while another secret is proven to open the volume: 'cryptsetup token remove --token-id N DEVICE'",
            keyslot=shared[0] if shared else token.keyslot,
        )


@RULES.rule(
    "clevis-renew",
    "high",
    "A Clevis token trusts a Tang key that the policy has retired.",
    option="retired_tang_keys",
    references=("CVE-2021-4076", "CVE-2023-1672"),
)
def _renew(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for token in decoded(evidence):
        for key in sorted(token.tang_keys.intersection(policy.retired_tang_keys)):
            yield Hit(
                f"token {token.number} unlocks with the Tang key {key}, which is retired",
                enrol_anew(token.type, token.keyslot or 0),
                keyslot=token.keyslot,
            )
