# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Fingerprints of volume keys and secrets, by which the report of one run finds those that are equal.

They help nobody guess what they are of. A host makes an HMAC with a key that all hosts of the run get; the controller
makes an HMAC of that with another key, which never leaves it. Both keys are drawn when Ansible loads this file, which
it does before it starts a process for each host, and they are nowhere but in the memory of this run. So whoever reads a
result or the log of a run has no key to try guesses with, a host sees no fingerprint but its own, and the report has
none at all.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import typing as t

Json = t.Mapping[str, t.Any]

_FOR_HOSTS, _OWN = os.urandom(32), os.urandom(32)
_MADE_BY_A_HOST = re.compile(r"[0-9a-f]{64}")
_MOST = 100


def key_for_hosts() -> str:
    return _FOR_HOSTS.hex()


def rekeyed(volume: Json) -> t.Dict[str, t.Any]:
    """The result of a volume with the fingerprints that the controller goes by; what is none is left out."""
    found = volume.get("prints")
    rest = {name: value for name, value in volume.items() if name != "prints"}
    if not isinstance(found, t.Mapping):
        return rest
    secrets = found.get("secrets")
    items = list(secrets.items())[:_MOST] if isinstance(secrets, t.Mapping) else []
    prints: t.Dict[str, t.Any] = {
        "secrets": {str(label): _again(one) for label, one in items if _is_print(one)},
    }
    if _is_print(found.get("volume_key")):
        prints["volume_key"] = _again(found["volume_key"])
    return {**rest, "prints": prints}


def _is_print(value: t.Any) -> bool:
    return isinstance(value, str) and bool(_MADE_BY_A_HOST.fullmatch(value))


def _again(made: str) -> str:
    return hmac.new(_OWN, made.encode(), hashlib.sha256).hexdigest()
