# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Edits of the 1024 bytes of a LUKS1 header, as cryptsetup and QEMU would leave them."""

from __future__ import annotations

import typing as t

from ...errors import Refused
from .. import model
from . import fields, journal


def refusal_to_hold(hash_name: str, kdf: model.Kdf, priority: str) -> t.Optional[str]:
    """Why a LUKS1 header with this hash cannot hold these, or None."""
    if not isinstance(kdf, model.Pbkdf2):
        return f"LUKS1 keyslots support only pbkdf2, not {kdf.type}"
    if kdf.hash.lower() != hash_name:
        return f"all LUKS1 keyslots use the hash of the header, {hash_name}; {kdf.hash} is not possible"
    if priority != model.PRIORITY_NORMAL:
        return "LUKS1 keyslots have no priority"
    return None


def check_number(number: int) -> None:
    """Raises Refused if LUKS1 has no keyslot of this number."""
    if not 0 <= number < fields.SLOT_COUNT:
        raise Refused(f"keyslot {number} does not exist", why=f"LUKS1 has keyslots 0 to {fields.SLOT_COUNT - 1}")


def accepted(found: fields.Fields, number: int, kdf: model.Kdf, area: model.Extent, priority: str) -> model.Pbkdf2:
    """``kdf`` if keyslot ``number`` can hold it at ``area``. Raises Refused if not."""
    check_number(number)
    refusal = refusal_to_hold(found.hash.lower(), kdf, priority)
    if refusal is not None or not isinstance(kdf, model.Pbkdf2):
        raise Refused(refusal or "LUKS1 keyslots support only pbkdf2")
    if not 1 <= kdf.iterations <= fields.MAX_ITERATIONS or len(kdf.salt) != fields.SALT_SIZE:
        raise Refused(
            f"a LUKS1 keyslot cannot hold {kdf.iterations} iterations with a salt of {len(kdf.salt)} bytes",
            why=f"it takes 1 to {fields.MAX_ITERATIONS} iterations and a salt of {fields.SALT_SIZE} bytes",
        )
    if area != found.slots[number].area:
        raise Refused(
            f"the key material of keyslot {number} cannot lie at byte {area.offset}",
            why="LUKS1 gives each keyslot one fixed place",
        )
    return kdf


def with_slot(raw: bytes, found: fields.Fields, number: int, kdf: model.Pbkdf2) -> bytes:
    """``raw`` with keyslot ``number`` active."""
    return _with_slot_fields(raw, found, number, fields.ACTIVE, kdf.iterations, kdf.salt)


def without_slot(raw: bytes, found: fields.Fields, number: int) -> bytes:
    """State inactive, iterations 0, salt zero; offset and stripes stay, as cryptsetup and QEMU leave them.

    Raises Refused if there is no such keyslot.
    """
    check_number(number)
    return _with_slot_fields(raw, found, number, fields.INACTIVE, 0, bytes(fields.SALT_SIZE))


def with_intent(raw: bytes, intent: t.Optional[model.Intent]) -> bytes:
    """``raw`` with this journal entry, or without one. Raises Refused if LUKS1 never needs such an intent."""
    return _patched(raw, journal.OFFSET, journal.encode(intent, raw))


def _with_slot_fields(raw: bytes, found: fields.Fields, number: int, state: int, iterations: int, salt: bytes) -> bytes:
    start = found.slots[number].area.offset // model.SECTOR
    packed = fields.SLOT.pack(state, iterations, salt, start, fields.STRIPES)
    return _patched(raw, fields.SLOTS_OFFSET + number * fields.SLOT_SIZE, packed)


def _patched(raw: bytes, offset: int, data: bytes) -> bytes:
    return raw[:offset] + data + raw[offset + len(data) :]
