# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules on the secrets that open the volume. Each answer is proven, from the record, or unverified."""

from __future__ import annotations

import typing as t

from ..header.foreign_tokens import RECOVERY
from ..header.model import PRIORITY_IGNORE, Keyslot
from ..result.chain_row import is_untried, place_of, what_opens
from .evidence import Evidence
from .policy import Policy
from .remedies import MAKE_IT_ANSWER, but_first, elsewhere, remove_beneath
from .rule import RECORD, SECRETS, Hit, RuleSet
from .tokens import CLAIMED, DECLARED, ENOUGH, guard

RULES = RuleSet()

_ASK_THE_STORE = (
    "Make the store give its secrets to this audit (--vault-id of its file, rotate_escrow_private_key for sealed "
    "ones), and audit again. Erase no keyslot before: its secret may be the current one"
)
_RECORD = (
    "Replace its secret with luksmith.luks.keyslots or the role rotate, which records when; LUKS1 has no room for a "
    "record, so that only the store of a rotation knows (audit_store)"
)


@RULES.rule("secret-forbidden", "critical", "A forbidden secret opens a keyslot, or a file beneath the image.", SECRETS)
def _forbidden(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for label in evidence.forbidden:
        for number in evidence.header.keyslots:
            if label in evidence.opened_by.get(number, ()) and not evidence.header.keyslots[number].bound:
                yield Hit(
                    f"{label!r} must not open anything, but opens keyslot {number}, which keeps a key that is not the "
                    "volume's",
                    f"Remove it by its number (state: absent, keyslot: {number}) if no other program needs that key",
                    keyslot=number,
                )
            elif label in evidence.opened_by.get(number, ()):
                yield Hit(
                    f"{label!r} must not open the volume, but opens keyslot {number}",
                    "Remove it with luksmith.luks.keyslots (state: absent, old_secret); it still opens old copies of "
                    "the header, so destroy or replace those too",
                    keyslot=number,
                )
            elif number in evidence.untried:
                yield Hit(
                    f"it is unknown whether {label!r} opens keyslot {number}: {evidence.untried[number]}",
                    _ASK_THE_STORE if _in_doubt(evidence) else elsewhere(evidence, number),
                    keyslot=number,
                    unverified=True,
                )
        for row in evidence.chain:
            if label in row["opened_by"]:
                yield Hit(f"{label!r} must not open the volume, but opens {what_opens(row)}", remove_beneath(row))
            elif is_untried(row):
                yield Hit(
                    f"it is unknown whether {label!r} opens {place_of(row)}: {row['why_untried']}",
                    "Audit on a host where it can be tried",
                    unverified=True,
                )


@RULES.rule(
    "label-missing",
    "high",
    "A secret that must open the volume does not, or only through a keyslot that is ignored at boot.",
    SECRETS,
    option="required_labels",
)
def _missing(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for label in policy.required_labels:
        opened = [slot for slot in evidence.bound if label in evidence.opened_by.get(slot.number, ())]
        untried = [slot.number for slot in evidence.bound if slot.number in evidence.untried]
        if any(slot.priority != PRIORITY_IGNORE for slot in opened):
            continue
        if opened:
            yield Hit(
                f"{label!r} opens only keyslots with priority ignore, which are not tried by default",
                "Set their priority to normal",
                keyslot=opened[0].number,
            )
        elif label not in evidence.labels:
            yield Hit(
                f"it is unknown whether {label!r} opens the volume: no secret with this label was given",
                "Give it in secrets",
                unverified=True,
            )
        elif label in evidence.asked.labels:
            yield Hit(
                f"it is unknown whether {label!r} opens the volume, because no token gave it: "
                f"{evidence.asked.labels[label]}",
                MAKE_IT_ANSWER,
                unverified=True,
            )
        elif untried:
            numbers = ", ".join(map(str, untried))
            yield Hit(
                f"{label!r} opens none of the keyslots that could be tried; these could not: {numbers}",
                "Audit on a host where they can be tried, or add the secret to another keyslot",
                unverified=True,
            )
        else:
            yield Hit(
                f"{label!r} must open the volume, but opens no keyslot",
                "Add it with luksmith.luks.keyslots; check first that it is the right secret",
            )


@RULES.rule(
    "slot-unknown",
    "high",
    "No given secret opens a keyslot: it may belong to an unknown secret.",
    SECRETS,
)
def _unknown(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in evidence.header.keyslots.values():
        if slot.kind not in ("luks1", "luks2") or evidence.opened_by.get(slot.number) or slot.number in evidence.empty:
            continue
        area = evidence.areas.get(slot.number)
        if area is not None and area.wiped:
            continue  # no secret opens it: slot-zombie
        holders = _token_types(evidence, slot)
        by_token = guard(evidence, policy, slot)
        if by_token == DECLARED:
            continue  # the secret of a TPM or a server cannot be tried here
        silence = evidence.silence(slot.number)
        if silence and not _in_doubt(evidence):
            yield Hit(
                f"it is unknown what opens keyslot {slot.number}: {silence}",
                MAKE_IT_ANSWER,
                keyslot=slot.number,
                unverified=True,
            )
            continue
        if by_token == CLAIMED:
            yield Hit(
                f"it is unknown what opens keyslot {slot.number}: the policy lists the type of its token, which proves "
                "nothing",
                f"Name in the policy what suffices for a random key (minimum_costs: {{tokens: {{{holders[0]}: "
                f"{ENOUGH}}}}})",
                keyslot=slot.number,
                unverified=True,
            )
            continue
        by = _holding(evidence, slot.number)
        if _in_doubt(evidence):
            # Its secret may be the current one, whatever else was not tried: no word of erasing.
            untried = (evidence.untried.get(slot.number) if evidence.labels else "") or silence
            more = f" Besides, {untried}" if untried else ""
            yield Hit(
                f"it is unknown what opens keyslot {slot.number}{by}: {_in_doubt(evidence)}.{more}".rstrip("."),
                _ASK_THE_STORE,
                keyslot=slot.number,
                unverified=True,
            )
        elif slot.number in evidence.untried and evidence.labels:
            yield Hit(
                f"it is unknown what opens keyslot {slot.number}{by}: {evidence.untried[slot.number]}",
                elsewhere(evidence, slot.number),
                keyslot=slot.number,
                unverified=True,
            )
        elif not evidence.labels:
            yield Hit(
                f"it is unknown what opens keyslot {slot.number}{by}: no secret was given",
                "Give the secrets that may open the volume; audit_store gives those of the role rotate",
                keyslot=slot.number,
                unverified=True,
            )
        else:
            yield Hit(
                f"no given secret opens keyslot {slot.number}{by}: it belongs to an unknown secret, or is wiped",
                _of_whom(evidence, slot.number),
                keyslot=slot.number,
            )


def _holding(evidence: Evidence, keyslot: int) -> str:
    """In brackets, which tokens refer to the keyslot."""
    holders = [token for token in evidence.header.tokens if keyslot in token.keyslots and not token.ours]
    told = [
        f"token {token.number} of type {token.type!r} gave a secret that does not open it"
        for token in holders
        if evidence.refuted(token.number, keyslot)
    ]
    others = [token.type for token in holders if not evidence.refuted(token.number, keyslot)]
    if others:
        told.append(f"token {', '.join(others)} refers to it, which proves nothing")
    return f" ({'; '.join(told)})" if told else ""


def _of_whom(evidence: Evidence, keyslot: int) -> str:
    erase = f"give the secret, or erase keyslot {keyslot} by its number{but_first(evidence, keyslot)}"
    if evidence.stored is not None:
        return f"Find its owner and {erase}"
    return (
        "Ask the store first if the role rotate has one (audit_store): a secret that was not asked for looks the same. "
        f"Else find the owner and {erase}"
    )


def _in_doubt(evidence: Evidence) -> str:
    """Why a secret of the store could open a keyslot that no given one opens, or ""."""
    stored = evidence.stored
    if stored is None:
        return ""
    if stored.problem:
        return f"the store could not be asked: {stored.problem}"
    sealed = [label for label in (stored.current, stored.staged) if label in stored.sealed]
    return f"the store holds {' and '.join(map(repr, sealed))} sealed" if sealed else ""


@RULES.rule(
    "record-label",
    "medium",
    "The record names a secret for a keyslot that is neither in the task nor in the policy.",
    RECORD,
)
def _record_label(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    known = {*evidence.labels, *evidence.forbidden, *policy.required_labels, *policy.allowed_labels}
    if evidence.stored is not None:
        known.update((*evidence.stored.wanted, *evidence.stored.older))
    for number in sorted(evidence.recorded):
        label = evidence.header.record[number].label
        if label not in known:
            yield Hit(
                f"the record says that {label!r} opens keyslot {number}, a secret that is not known here",
                "Give the secret with this label, or list the label in allowed_labels",
                keyslot=number,
                unverified=True,
            )


@RULES.rule(
    "secret-empty",
    "critical",
    "The empty secret opens a keyslot: anyone can open the volume.",
    SECRETS,
    option="try_empty_secret",
)
def _empty(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for number in sorted(evidence.empty):
        yield Hit(
            f"the empty secret opens keyslot {number}",
            f"Set a real secret for keyslot {number}, or erase it{but_first(evidence, number)}",
            keyslot=number,
        )


@RULES.rule(
    "secret-duplicate",
    "low",
    "One secret opens several keyslots, so that it still opens the volume after one of them is removed.",
    SECRETS,
)
def _duplicate(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for label in evidence.labels:
        opened = {slot.number for slot in evidence.bound if label in evidence.opened_by.get(slot.number, ())}
        # Two keyslots with different keys are no duplicates: either opens what the other one does not.
        for numbers in [sorted(opened.intersection(digest.keyslots)) for digest in evidence.header.digests]:
            if len(numbers) < 2:
                continue
            yield Hit(
                f"{label!r} opens keyslots {', '.join(map(str, numbers))}",
                f"Erase all but keyslot {numbers[0]}",
                keyslot=numbers[1],
            )


@RULES.rule(
    "record-stale", "medium", "Another program has written a keyslot since this collection recorded it.", RECORD
)
def _stale(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for number, entry in evidence.header.record.items():
        if number in evidence.header.keyslots and not evidence.is_current(number):
            yield Hit(
                f"keyslot {number} was recorded for {entry.label!r}, but another program has written it since",
                "Find out who wrote it and what opens it now, and replace that secret with luksmith.luks.keyslots or "
                "the role rotate, which records the new one",
                keyslot=number,
            )


@RULES.rule(
    "secret-age",
    "medium",
    "The secret of a keyslot is older than the policy allows, or of unknown age.",
    RECORD,
    option="maximum_age_days",
)
def _age(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if policy.maximum_age_days is None:
        return
    for slot in evidence.bound:
        age = evidence.age_days(slot.number)
        if age is None:
            yield Hit(
                f"it is unknown when keyslot {slot.number} was last changed: this collection has no record of it",
                _RECORD,
                keyslot=slot.number,
                unverified=True,
            )
        elif age < 0:
            yield Hit(
                f"the record of keyslot {slot.number} has a time in the future",
                "Set the clock of the host and replace the secret",
                keyslot=slot.number,
                unverified=True,
            )
        elif age > policy.maximum_age_days:
            yield Hit(
                f"keyslot {slot.number} was last changed {age} days ago; the policy allows {policy.maximum_age_days}",
                "Replace it with luksmith.luks.keyslots or the role rotate",
                keyslot=slot.number,
            )


@RULES.rule(
    "recovery-missing",
    "high",
    "No secret for an emergency opens the volume, such as a break-glass or a recovery key.",
    SECRETS,
    option="recovery_labels",
)
def _recovery(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if not policy.recovery_labels:
        return
    usual = [slot for slot in evidence.bound if slot.priority != PRIORITY_IGNORE]
    wanted = set(policy.recovery_labels)
    if any(wanted.intersection(evidence.opened_by.get(slot.number, ())) for slot in usual):
        return
    names = " nor ".join(map(repr, policy.recovery_labels))
    claimed = [slot.number for slot in usual if RECOVERY in _token_types(evidence, slot)]
    untried = [slot.number for slot in usual if slot.number in evidence.untried]
    silent = [evidence.asked.labels[label] for label in policy.recovery_labels if label in evidence.asked.labels]
    if silent:
        yield Hit(
            f"it is unknown whether {names} opens the volume, because no token gave it: {'; '.join(silent)}",
            MAKE_IT_ANSWER,
            unverified=True,
        )
    elif claimed:
        yield Hit(
            f"neither {names} was proven to open the volume; keyslot {claimed[0]} has a recovery key by its token, "
            "which proves nothing",
            "Give the recovery key with its label, and list that in recovery_labels",
            keyslot=claimed[0],
            unverified=True,
        )
    elif untried or not wanted.intersection(evidence.labels):
        why = (
            f"these keyslots could not be tried: {', '.join(map(str, untried))}"
            if untried
            else "none of them was given"
        )
        yield Hit(
            f"it is unknown whether {names} opens the volume: {why}", "Give one of them in secrets", unverified=True
        )
    else:
        yield Hit(
            f"neither {names} opens the volume",
            "Add one of them with luksmith.luks.keyslots, and keep it where it is found in an emergency",
        )


@RULES.rule(
    "secret-exposed",
    "high",
    "A keyslot has had its secret since before an exposure was over, which may have shown it.",
    RECORD,
    option="renewed_since",
    references=("CVE-2026-50152", "CVE-2020-11932"),
)
def _exposed(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for name, day in policy.renewed_since.items():
        for slot in evidence.bound:
            changed = evidence.changed(slot.number)
            if changed is None:
                yield Hit(
                    f"it is unknown whether keyslot {slot.number} is older than {day}, when {name} was over: this "
                    "collection has no record of it",
                    _RECORD,
                    keyslot=slot.number,
                    unverified=True,
                )
            elif changed.date().isoformat() < day:
                yield Hit(
                    f"keyslot {slot.number} was last changed on {changed.date()}, and {name} may have shown secrets "
                    f"until {day}",
                    "Replace it with luksmith.luks.keyslots or the role rotate, and destroy old copies of the header",
                    keyslot=slot.number,
                )


def _token_types(evidence: Evidence, slot: Keyslot) -> t.List[str]:
    return [token.type for token in evidence.header.tokens if slot.number in token.keyslots and not token.ours]
