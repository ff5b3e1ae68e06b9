# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What the record in a LUKS2 header says of slots: which to try first, and which were changed by others since."""

from __future__ import annotations

import hashlib
import typing as t

from ..header.model import Header, Kdf, UnknownKdf


def fingerprint(kdf: Kdf) -> str:
    """Hex of a hash over the slot's public salt: changes with every rewrite of the slot, and tells nothing of a secret."""
    return "" if isinstance(kdf, UnknownKdf) else hashlib.sha256(kdf.salt).hexdigest()[:32]


def remembered(header: Header, labels: t.Sequence[str]) -> t.Dict[int, t.List[int]]:
    """Slot -> secret numbers whose label the record holds for it, where the slot is still the one recorded."""
    found: t.Dict[int, t.List[int]] = {}
    for keyslot, entry in header.record.items():
        slot = header.keyslots.get(keyslot)
        if slot is not None and slot.bound and entry.fingerprint == fingerprint(slot.kdf):
            secrets = [secret for secret, label in enumerate(labels) if entry.label == label]
            if secrets:
                found[keyslot] = secrets
    return found


def hints(header: Header, labels: t.Sequence[str]) -> t.Dict[int, int]:
    """Secret number -> the slot to try first. A hint is never a proof."""
    return {secret: keyslot for keyslot, secrets in sorted(remembered(header, labels).items(), reverse=True) for secret in secrets}
