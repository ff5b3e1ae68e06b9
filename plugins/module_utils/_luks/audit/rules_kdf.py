# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules on the cost of guessing a secret: key derivation, hashes, salts, and the digest of the volume key."""

from __future__ import annotations

import collections
import typing as t

from ..crypto import fips
from ..header.model import Argon2, Keyslot, Pbkdf2, UnknownKdf
from .evidence import Evidence
from .policy import OTHER, Policy
from .remedies import but_first, costs, encrypt_anew, new_slot, other_hash, other_kdf, rekey, restore
from .rule import Hit, RuleSet
from .tokens import CLAIMED, DECLARED, ENOUGH, PROVEN, guard

RULES = RuleSet()

_WEAK_HASHES = ("md4", "md5", "sha1", "rmd128", "ripemd128")
# cryptsetup itself never writes more than 4 lanes and 4 GiB; a forged header could exhaust a host.
_MOST_LANES = 4


@RULES.rule("kdf-type", "high", "A keyslot uses a key derivation that the policy does not allow.", option="kdf_types")
def _type(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in _derived(evidence):
        if policy.kdf_types and slot.kdf.type not in policy.kdf_types:
            found = f"keyslot {slot.number} uses {slot.kdf.type}; the policy allows {', '.join(policy.kdf_types)}"
            yield from _by_guard(evidence, policy, slot, found, other_kdf(evidence, slot.number, policy.kdf_types))


@RULES.rule(
    "kdf-cost",
    "high",
    "The key derivation of a keyslot costs less than the policy requires, so that guessing is cheap.",
    option="minimum_costs",
)
def _cost(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in _derived(evidence):
        kdf = slot.kdf
        if isinstance(kdf, Pbkdf2):
            least = policy.pbkdf2_costs.get(kdf.hash.lower(), policy.pbkdf2_costs.get(OTHER, 0))
            if kdf.iterations < least:
                found = (
                    f"keyslot {slot.number} has {kdf.iterations} iterations of pbkdf2 with {kdf.hash}; the policy "
                    f"requires {least}"
                )
                yield from _by_guard(evidence, policy, slot, found, costs(evidence, slot.number))
        elif (
            isinstance(kdf, Argon2)
            and policy.argon2_costs
            and not any(kdf.time >= time and kdf.memory >= memory for time, memory in policy.argon2_costs)
        ):
            asked = " or ".join(
                f"{time} {'pass' if time == 1 else 'passes'} over {memory} KiB" for time, memory in policy.argon2_costs
            )
            found = (
                f"keyslot {slot.number} has {kdf.time} passes of {kdf.type} over {kdf.memory} KiB; the policy requires "
                f"{asked}"
            )
            yield from _by_guard(evidence, policy, slot, found, costs(evidence, slot.number))


def _by_guard(evidence: Evidence, policy: Policy, slot: Keyslot, found: str, remedy: str) -> t.Iterator[Hit]:
    """``found`` about the costs of ``slot``, unless a random key guards it."""
    by = guard(evidence, policy, slot)
    if by == DECLARED or (by == PROVEN and (not isinstance(slot.kdf, Pbkdf2) or slot.kdf.iterations >= ENOUGH)):
        return
    if by != CLAIMED:
        yield Hit(found, remedy, keyslot=slot.number)
        return
    kinds = sorted({token.type for token in evidence.header.tokens if slot.number in token.keyslots})
    yield Hit(
        f"{found}. That is enough for the random key of {' and '.join(kinds)}, but nothing proves that one guards it",
        f"Give the secret that opens it, or name in the policy what suffices (minimum_costs: {{tokens: {{{kinds[0]}: "
        f"{ENOUGH}}}}})",
        keyslot=slot.number,
        unverified=True,
    )


@RULES.rule(
    "kdf-hash",
    "medium",
    "A keyslot uses a hash that the policy does not allow, for its PBKDF2 or its anti-forensic split, or the digest of "
    "the volume key does.",
    option="kdf_hashes",
)
def _hash(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in _derived(evidence):
        used = {slot.af_hash.lower()} | ({slot.kdf.hash.lower()} if isinstance(slot.kdf, Pbkdf2) else set())
        for name in sorted(used):
            if policy.kdf_hashes and name not in policy.kdf_hashes:
                yield Hit(
                    f"keyslot {slot.number} uses the hash {name}; the policy allows {', '.join(policy.kdf_hashes)}",
                    other_hash(evidence, slot.number),
                    keyslot=slot.number,
                )
    for digest in evidence.header.digests if evidence.header.format == "luks2" else ():
        if policy.kdf_hashes and digest.hash and digest.hash.lower() not in policy.kdf_hashes:
            yield Hit(
                f"digest {digest.number} of the volume key uses the hash {digest.hash}; the policy allows "
                f"{', '.join(policy.kdf_hashes)}",
                encrypt_anew(evidence),
            )


@RULES.rule(
    "hash-weak",
    "medium",
    "A hash with known collisions (MD5, SHA-1 and older) is in use. PBKDF2 is not broken by that, but replace it.",
)
def _weak_hash(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if evidence.header.format == "luks1":  # one hash for all of it
        for digest in evidence.header.digests:
            if digest.hash.lower() in _WEAK_HASHES:
                yield Hit(
                    f"the header uses {digest.hash} for all its hashes",
                    encrypt_anew(evidence),
                )
        return
    for slot in _derived(evidence):
        used = {slot.af_hash.lower()} | ({slot.kdf.hash.lower()} if isinstance(slot.kdf, Pbkdf2) else set())
        for name in sorted(used.intersection(_WEAK_HASHES)):
            yield Hit(f"keyslot {slot.number} uses {name}", rekey(evidence, slot.number), keyslot=slot.number)
    for digest in evidence.header.digests:
        if digest.hash.lower() in _WEAK_HASHES:
            yield Hit(
                f"digest {digest.number} of the volume key uses {digest.hash}",
                f"{encrypt_anew(evidence)}. A conversion from LUKS1 keeps such a digest",
            )


@RULES.rule(
    "kdf-unknown", "medium", "A keyslot uses a key derivation that no released program supports: it cannot be opened."
)
def _unknown(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in evidence.header.keyslots.values():
        if slot.kind == "luks2" and isinstance(slot.kdf, UnknownKdf):
            remedy = f"Erase keyslot {slot.number} by its number if it is not needed{but_first(evidence, slot.number)}"
            yield Hit(
                f"keyslot {slot.number} uses the unknown key derivation {slot.kdf.type!r}", remedy, keyslot=slot.number
            )


@RULES.rule(
    "kdf-excessive",
    "medium",
    "A key derivation costs more than kdf_limits allow or cryptsetup ever writes: to open it may exhaust a host.",
)
def _excessive(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in _derived(evidence):
        reason = evidence.beyond_limits.get(slot.number, "")
        if not reason and isinstance(slot.kdf, Argon2) and slot.kdf.parallel > _MOST_LANES:
            reason = f"{slot.kdf.parallel} lanes; cryptsetup allows {_MOST_LANES}"
        if reason:
            yield Hit(
                f"keyslot {slot.number}: {reason}",
                f"Unless this is intended, treat the header as forged; else erase keyslot {slot.number} by its number "
                f"and add its secret again{but_first(evidence, slot.number)}",
                keyslot=slot.number,
            )


@RULES.rule(
    "fips-keyslot",
    "high",
    "The host is in FIPS mode, or the policy is for one that is, and it has no approved function for a keyslot or its "
    "data.",
)
def _fips(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if not evidence.fips and policy.extends != "fips-140-3":
        return
    # Without such a host, kdf-type says of the policy which key derivations are wrong.
    slots = [slot for slot in _derived(evidence) if evidence.fips or isinstance(slot.kdf, Pbkdf2)]
    wanting = {slot.number: missing for slot in slots for missing in [_not_approved(evidence, slot)] if missing}
    left = [slot.number for slot in evidence.bound if slot.number not in wanting]
    rest = "" if left else "; no keyslot is left that it can open"
    for number, missing in wanting.items():
        who = "this host is in FIPS mode, in which it" if evidence.fips else "a host in FIPS mode"
        yield Hit(
            f"{who} cannot open keyslot {number}: {missing} is not approved{rest}",
            f"On a host that is not in FIPS mode: {_approved(evidence, evidence.header.keyslots[number])}",
            keyslot=number,
        )


def _not_approved(evidence: Evidence, slot: Keyslot) -> str:
    hashes = [slot.af_hash, *(digest.hash for digest in evidence.header.digests if digest.number in slot.digests)]
    if isinstance(slot.kdf, Pbkdf2):
        hashes.append(slot.kdf.hash)
    return fips.not_approved(slot.kdf.type, hashes, slot.encryption, slot.area_key_size) or _data_not_approved(evidence)


def _data_not_approved(evidence: Evidence) -> str:
    key_size = evidence.header.key_size
    found = (fips.not_approved("pbkdf2", (), one.encryption, key_size) for one in evidence.header.segments)
    return next(filter(None, found), "")


def _approved(evidence: Evidence, slot: Keyslot) -> str:
    """How the keyslot gets functions that are approved."""
    digests = [digest.hash for digest in evidence.header.digests if digest.number in slot.digests]
    data = _data_not_approved(evidence) or fips.not_approved("pbkdf2", digests, "aes-xts-plain64", 64)
    if evidence.header.format == "luks1" or data:
        return encrypt_anew(evidence, "--cipher aes-xts-plain64 --key-size 512 --hash sha256 --pbkdf pbkdf2")
    hashes = [slot.af_hash, *([slot.kdf.hash] if isinstance(slot.kdf, Pbkdf2) else [])]
    if fips.not_approved(slot.kdf.type, hashes, "aes-xts-plain64", 64):
        return f"{rekey(evidence, slot.number)}, such as pbkdf: {{type: pbkdf2, hash: sha256}}"
    return new_slot(evidence, slot.number)


@RULES.rule(
    "kdf-salt", "medium", "Two keyslots have the same salt: equal secrets are visible, and one guess tries both."
)
def _salt(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    groups: t.Dict[bytes, t.List[int]] = collections.defaultdict(list)
    for slot in _derived(evidence):
        if not isinstance(slot.kdf, UnknownKdf):
            groups[slot.kdf.salt].append(slot.number)
    for numbers in groups.values():
        if len(numbers) > 1:
            yield Hit(
                f"keyslots {', '.join(map(str, numbers))} have the same salt",
                "Replace their secrets: every new keyslot gets its own salt",
                keyslot=numbers[1],
            )


@RULES.rule(
    "digest-weak",
    "medium",
    "The digest of a volume key has fewer iterations than the policy requires.",
    option="minimum_digest_iterations",
)
def _digest(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for digest in evidence.header.digests:
        if digest.type == "pbkdf2" and digest.iterations < policy.minimum_digest_iterations:
            found = (
                f"digest {digest.number} of the volume key has {digest.iterations} iterations; the policy requires "
                f"{policy.minimum_digest_iterations}"
            )
            yield Hit(found, f"{encrypt_anew(evidence)}: no program writes a new digest for an old volume key")


@RULES.rule(
    "digest-unknown",
    "high",
    "The digest of a volume key is of an unknown type: a right key cannot be told from a wrong one.",
)
def _digest_type(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for digest in evidence.header.digests:
        if digest.type != "pbkdf2":
            yield Hit(
                f"digest {digest.number} is of unknown type {digest.type!r}",
                f"Find out who wrote it. {restore(evidence)}",
            )


@RULES.rule("digest-orphan", "low", "A digest has no keyslot, or several digests cover the data.")
def _digest_use(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for digest in evidence.header.digests:
        if not digest.keyslots and evidence.header.format == "luks2":
            yield Hit(
                f"digest {digest.number} has no keyslot: no secret gives its key",
                restore(evidence),
            )
    covering = [str(digest.number) for digest in evidence.header.digests if 0 in digest.segments]
    if len(covering) > 1:
        yield Hit(
            f"segment 0 is covered by digests {', '.join(covering)}: it is ambiguous which volume key is the right one",
            f"{restore(evidence)}; cryptsetup never writes such a header",
        )


def _derived(evidence: Evidence) -> t.List[Keyslot]:
    return [slot for slot in evidence.header.keyslots.values() if slot.kind in ("luks1", "luks2")]
