# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Which keyslot to try first, and (LUKS2) which keyslots others changed since the record was written.

LUKS1 has no place for a record. There the last 8 of a salt's 32 bytes are a hash of the other 24, which are random, and
the label, so that a run that has the label finds its keyslot. The label is not secret, and salts of other programs
suggest nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import typing as t

from ..header.model import Header, Kdf, UnknownKdf

SALT_SIZE = 32
_TAG_SIZE = 8


def fingerprint(kdf: Kdf) -> str:
    """Hex of a hash over the keyslot's public salt: changes with each rewrite and reveals nothing of a secret."""
    return "" if isinstance(kdf, UnknownKdf) else hashlib.sha256(kdf.salt).hexdigest()[:32]


def recorded(header: Header) -> t.Dict[int, str]:
    """Keyslot -> its label, of those that nobody has written since the record was."""
    slots = header.keyslots
    return {
        keyslot: entry.label
        for keyslot, entry in header.record.items()
        if keyslot in slots and slots[keyslot].bound and entry.fingerprint == fingerprint(slots[keyslot].kdf)
    }


def remembered(header: Header, labels: t.Sequence[str]) -> t.Dict[int, t.List[int]]:
    """Keyslot -> numbers of the secrets that the record names by label, if the keyslot is still the recorded one."""
    found: t.Dict[int, t.List[int]] = {}
    for keyslot, recorded_label in recorded(header).items():
        secrets = [secret for secret, label in enumerate(labels) if recorded_label == label]
        if secrets:
            found[keyslot] = secrets
    return found


def labelled_salt(label: str) -> bytes:
    """A fresh salt of 32 bytes from which :func:`hints` can tell that its keyslot was made for ``label``."""
    random = os.urandom(SALT_SIZE - _TAG_SIZE)
    return random + _tag(random, label)


def _tag(random: bytes, label: str) -> bytes:
    return hmac.new(
        random, b"luksmith.luks label\0" + label.encode("utf-8", "surrogateescape"), hashlib.sha256
    ).digest()[:_TAG_SIZE]


def _labelled(header: Header, labels: t.Sequence[str]) -> t.Dict[int, t.List[int]]:
    found: t.Dict[int, t.List[int]] = {}
    for keyslot, slot in header.keyslots.items():
        if not isinstance(slot.kdf, UnknownKdf) and len(slot.kdf.salt) == SALT_SIZE:
            random, tag = slot.kdf.salt[:-_TAG_SIZE], slot.kdf.salt[-_TAG_SIZE:]
            secrets = [secret for secret, label in enumerate(labels) if hmac.compare_digest(_tag(random, label), tag)]
            if secrets:
                found[keyslot] = secrets
    return found


def made_for(header: Header, labels: t.Sequence[str]) -> t.Dict[int, str]:
    """Keyslot -> the one of ``labels`` that it was made for, as the header says."""
    slots = _labelled(header, labels) if header.format == "luks1" else remembered(header, labels)
    return {keyslot: labels[secrets[0]] for keyslot, secrets in slots.items()}


def hints(header: Header, labels: t.Sequence[str]) -> t.Dict[int, int]:
    """Secret number -> the keyslot to try first. A hint is never a proof."""
    slots = _labelled(header, labels) if header.format == "luks1" else remembered(header, labels)
    return {secret: keyslot for keyslot, secrets in sorted(slots.items(), reverse=True) for secret in secrets}
