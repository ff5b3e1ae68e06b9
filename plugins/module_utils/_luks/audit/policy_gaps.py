# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Where a policy allows more than the ready policy that it extends, and does not say what that costs.

A key derivation has a price, so that a policy which allows another one must name the price (``minimum_costs``). What
has no price needs a reason (``accepted``, by rule) if one of the other ready policies objects to it, too. A policy that
extends none is held against the one that asks for least.
"""

from __future__ import annotations

import typing as t

from .policy import FORMATS, INFO, KDF_TYPES, OFF, OTHER, Policy, parse
from .ready_policies import READY

# A key, and the rule under whose name its reason is given.
_LISTS = (
    ("formats", "format"),
    ("ciphers", "cipher"),
    ("keyslot_ciphers", "keyslot-cipher"),
    ("kdf_types", "kdf-type"),
    ("kdf_hashes", "kdf-hash"),
)
_SIZES = (
    ("minimum_key_size", "key-size"),
    ("minimum_keyslot_key_size", "keyslot-key-size"),
    ("minimum_digest_iterations", "digest-weak"),
)
# What a policy that extends none is held against.
LOOSEST = "legacy"


class Gap(t.NamedTuple):
    """``reason``: why the policy accepts it; empty if it does not say."""

    message: str
    remedy: str
    reason: str = ""


def gaps(policy: Policy, severities: t.Mapping[str, str]) -> t.List[Gap]:
    """All gaps of ``policy``; ``severities``: rule -> its default."""
    found = list(_costs(policy))
    others = [parse(name, severities) for name in READY]
    ready = next(other for other in others if other.extends == (policy.extends or LOOSEST))
    found += _wider(policy, ready, others)
    found += _quiet_rules(policy, ready, severities)
    if not policy.minimum_digest_iterations:
        what = f"minimum_digest_iterations requires nothing, but {ready.minimum_digest_iterations} in {ready.extends}"
        found.append(_without_reason(policy, "digest-weak", what))
    if ready.try_empty_secret and not policy.try_empty_secret:
        found.append(_without_reason(policy, "secret-empty", "the empty secret is not tried (try_empty_secret)"))
    if found and not policy.extends:
        found = [one._replace(message=f"it extends no ready policy; {one.message}") for one in found]
    return found


def _costs(policy: Policy) -> t.Iterator[Gap]:
    """Each key derivation that the policy allows has a minimum cost. A policy that names none allows all."""
    if _quiet(policy, "kdf-cost"):
        yield Gap("the rule kdf-cost does not count, so that any cost is compliant", "Lower minimum_costs instead")
    allowed = KDF_TYPES if not policy.kdf_types or _quiet(policy, "kdf-type") else policy.kdf_types
    if not policy.argon2_costs and ("argon2id" in allowed or "argon2i" in allowed):
        yield _no_cost("argon2", "argon2")
    if "pbkdf2" in allowed and OTHER not in policy.pbkdf2_costs:
        if not policy.kdf_hashes or _quiet(policy, "kdf-hash"):
            yield _no_cost("pbkdf2 with any hash", f"pbkdf2.{OTHER}")
        for name in policy.kdf_hashes:
            if name not in policy.pbkdf2_costs:
                yield _no_cost(f"pbkdf2 with {name}", f"pbkdf2.{name}")


def _no_cost(what: str, key: str) -> Gap:
    return Gap(f"{what} is allowed, but has no minimum cost", f"Set minimum_costs.{key} in the policy")


def _wider(policy: Policy, ready: Policy, others: t.Sequence[Policy]) -> t.Iterator[Gap]:
    for key, rule in _LISTS:
        own, before = getattr(policy, key), getattr(ready, key)
        if key == "formats" and set(before) == set(FORMATS):
            continue  # to require nothing is to require the same
        if before and not own and not (key == "kdf_types" and _priced(policy, "argon2i")):
            yield _without_reason(policy, rule, f"{key} requires nothing, but {list(before)} in {ready.extends}")
        for item in own if before else ():
            objecting = [other.extends for other in others if getattr(other, key) and item not in getattr(other, key)]
            if item not in before and len(objecting) > 1 and not _priced(policy, item):
                yield _without_reason(policy, rule, f"{key} allows {item}, but not in {' and '.join(objecting)}")
    for key, rule in _SIZES:
        size = getattr(policy, key)
        objecting = [other.extends for other in others if getattr(other, key) > size]
        if size < getattr(ready, key) and len(objecting) > 1:
            yield _without_reason(policy, rule, f"{key} is {size}, but more in {' and '.join(objecting)}")


def _priced(policy: Policy, item: str) -> bool:
    """Whether the policy itself names a cost for this type or hash."""
    return item in policy.own_costs or (item == "argon2i" and "argon2" in policy.own_costs)


def _quiet_rules(policy: Policy, ready: Policy, severities: t.Mapping[str, str]) -> t.Iterator[Gap]:
    for rule, severity in severities.items():
        before = ready.rules.get(rule, severity)
        if rule != "kdf-cost" and before not in (OFF, INFO) and _quiet(policy, rule):
            yield _without_reason(policy, rule, f"the rule {rule} does not count, but is {before} in {ready.extends}")


def _quiet(policy: Policy, rule: str) -> bool:
    return policy.rules.get(rule) in (OFF, INFO)


def _without_reason(policy: Policy, rule: str, what: str) -> Gap:
    return Gap(what, f"Say in the policy why that is accepted (accepted: {{{rule}: …}})", policy.accepted.get(rule, ""))
