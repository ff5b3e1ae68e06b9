# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The text of a policy in one form, its digest, and where it differs from another one.

Two policies that require the same have the same digest, however they were written, so that an audit can be repeated
and compared. Names, descriptions and reasons require nothing and are not part of it.
"""

from __future__ import annotations

import hashlib
import json
import typing as t

from ..errors import counted
from .policy import Policy, parse

Text = t.Dict[str, t.Any]

_LISTS = ("formats", "ciphers", "keyslot_ciphers", "kdf_types", "kdf_hashes")
_ORDERLESS = ("required_labels", "allowed_labels", "retired_tang_keys", "recovery_labels", "shared_labels")
_NUMBERS = ("minimum_key_size", "minimum_keyslot_key_size", "minimum_digest_iterations")
_NESTED = ("minimum_costs", "renewed_since", "expected", "rules")


def text_of(policy: Policy) -> Text:
    """What the policy requires, in the form of a task; what requires nothing is left out."""
    text: Text = {name: sorted(getattr(policy, name)) for name in (*_LISTS, *_ORDERLESS) if getattr(policy, name)}
    text.update({name: getattr(policy, name) for name in _NUMBERS if getattr(policy, name)})
    argon2 = [{"time": time, "memory": memory} for time, memory in sorted(policy.argon2_costs)]
    costs = {"pbkdf2": dict(policy.pbkdf2_costs), "argon2": argon2, "tokens": dict(policy.token_costs)}
    text["minimum_costs"] = {name: value for name, value in costs.items() if value}
    if policy.token_types is not None:
        text["token_types"] = sorted(policy.token_types)
    if policy.maximum_age_days is not None:
        text["maximum_age_days"] = policy.maximum_age_days
    text["try_empty_secret"] = policy.try_empty_secret
    if policy.require_backup:
        text["require_backup"] = True
    if policy.opened_by_grub:
        text["opened_by_grub"] = True
    text["renewed_since"] = dict(policy.renewed_since)
    text["expected"], text["rules"] = dict(policy.expected), dict(policy.rules)
    return {name: value for name, value in text.items() if value or name not in _NESTED}


def digest_of(text: Text) -> str:
    """SHA-256 over the text as JSON with sorted keys and without spaces, in hex."""
    return hashlib.sha256(json.dumps(text, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def places(text: Text) -> t.Dict[str, t.Any]:
    """Each requirement by its place: ``{"kdf_types": […], "minimum_costs.pbkdf2.sha256": 600000, …}``."""
    found: t.Dict[str, t.Any] = {}
    for name, value in text.items():
        if isinstance(value, dict):
            found.update({f"{name}.{place}": item for place, item in places(value).items()})
        else:
            found[name] = value
    return found


def describe(policy: Policy, known_rules: t.Collection[str]) -> t.Dict[str, t.Any]:
    """The policy as evidence: its name for people, its text, the digest of that, and what it changes and accepts."""
    text = text_of(policy)
    changes = differences(text_of(parse(policy.extends, known_rules)), text) if policy.extends else []
    changed = f"{policy.extends}, changed in {counted(len(changes), 'place')}"
    name = policy.name if not changes else changed if policy.name == policy.extends else f"{policy.name} ({changed})"
    if not policy.extends:
        name = f"{policy.name} (extends no ready policy)"
    return {
        "name": name,
        "extends": policy.extends or None,
        "digest": digest_of(text),
        "text": text,
        "changes": changes,
        "accepted": dict(policy.accepted),
    }


def differences(ready: Text, own: Text) -> t.List[t.Dict[str, t.Any]]:
    """The places in which ``own`` differs, with the value of each (None: requires nothing there)."""
    before, after = places(ready), places(own)
    return [
        {"place": place, "ready": before.get(place), "own": after.get(place)}
        for place in sorted({*before, *after})
        if before.get(place) != after.get(place)
    ]
