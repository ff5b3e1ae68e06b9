# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The journal of LUKS1: 64 bytes in the padding of the header that store an intent (what an interrupted run was doing).

They lie in the second 512-byte sector, so that one sector write sets or removes them. cryptsetup and QEMU ignore them;
QEMU keeps them when it writes the header, cryptsetup zeroes them. The second half is SHA-256 over the first half and
the volume key digest (value, salt, iterations) and uuid of the header. So neither junk that an earlier owner of the
device left in the padding nor an entry copied from the header of another volume passes for an intent.

An entry of another version blocks every write: it may describe unfinished work that only its writer can finish. An
entry with a wrong checksum is no intent: it is reported and stays until an intent of this collection replaces it.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import typing as t

from ...errors import LuksmithError, Refused, Unsupported
from .. import model
from .fields import HEADER_SIZE, PADDING_OFFSET, SLOT_COUNT

OFFSET = 768
SIZE = 64
MAGIC = b"LUKSMITH"
VERSION = 1
_NO_TEMPORARY_SLOT = 0xFF
_KINDS = {
    model.IntentKind.ERASE: 1,
    model.IntentKind.MOVE_ADD: 2,
    model.IntentKind.MOVE_ERASE: 3,
    model.IntentKind.MOVE_FILL: 4,
    model.IntentKind.REPLACE_ERASE: 5,
    model.IntentKind.REPLACE_FILL: 6,
    model.IntentKind.COPIED: 7,
}
_WITH_TEMPORARY_SLOT = (model.IntentKind.MOVE_ADD, model.IntentKind.MOVE_ERASE, model.IntentKind.MOVE_FILL)
_IDENTITY = slice(112, 208)

# magic, version, kind, keyslot, temporary slot, name of a copy of the header; zeros up to the checksum
_BODY = struct.Struct(">8sBBBB16s4x")
_RESERVED = 4


class Padding(t.NamedTuple):
    """What the padding contains: an intent, or why no write is safe, or warnings about unknown bytes, or nothing."""

    intent: t.Optional[model.Intent] = None
    obstacle: t.Optional[LuksmithError] = None
    warnings: t.Tuple[str, ...] = ()


def _check(body: bytes, raw: bytes) -> bytes:
    return hashlib.sha256(body + raw[_IDENTITY]).digest()


def _valid(intent: model.Intent) -> bool:
    if intent.kind not in _KINDS or not 0 <= intent.keyslot < SLOT_COUNT or intent.extents:
        return False
    if intent.kind == model.IntentKind.COPIED and not intent.copy:
        return False
    if intent.kind in _WITH_TEMPORARY_SLOT:
        return (
            intent.temporary_slot is not None
            and 0 <= intent.temporary_slot < SLOT_COUNT
            and intent.temporary_slot != intent.keyslot
        )
    return intent.temporary_slot is None


def encode(intent: t.Optional[model.Intent], raw: bytes) -> bytes:
    """The ``SIZE`` bytes for ``OFFSET`` of the header ``raw``; zeros for None.

    Raises Refused if LUKS1 never needs such an intent.
    """
    if intent is None:
        return bytes(SIZE)
    if not _valid(intent):
        raise Refused(
            f"LUKS1 cannot store an intent of kind {str(intent.kind)!r} for keyslot {intent.keyslot}",
            why="no interrupted LUKS1 run is in such a state",
        )
    body = _BODY.pack(
        MAGIC,
        VERSION,
        _KINDS[intent.kind],
        intent.keyslot,
        _NO_TEMPORARY_SLOT if intent.temporary_slot is None else intent.temporary_slot,
        bytes.fromhex(intent.copy),
    )
    return body + _check(body, raw)


def decode(raw: bytes) -> Padding:
    """The journal entry in the padding of the 1024-byte header ``raw``."""
    record = raw[OFFSET : OFFSET + SIZE]
    around = raw[PADDING_OFFSET:OFFSET] + raw[OFFSET + SIZE : HEADER_SIZE]
    warnings = []
    if any(around) or (any(record) and not record.startswith(MAGIC)):
        warnings.append(
            f"the padding of the header, from byte {PADDING_OFFSET} on, contains unknown bytes; cryptsetup would zero "
            "them, this collection keeps them"
        )
    if not record.startswith(MAGIC):
        return Padding(warnings=tuple(warnings))
    body, check = record[: _BODY.size], record[_BODY.size :]
    _magic, version, kind, keyslot, temporary_slot, copy = _BODY.unpack(body)
    if version != VERSION:
        return Padding(obstacle=_unknown(f"version {version}"), warnings=tuple(warnings))
    if not hmac.compare_digest(check, _check(body, raw)):
        warnings.append(
            "the header contains a journal entry with a wrong checksum: it is damaged or belongs to another header, "
            "and is ignored"
        )
        return Padding(warnings=tuple(warnings))
    names = [name for name, code in _KINDS.items() if code == kind]
    intent = (
        model.Intent(
            kind=names[0],
            keyslot=keyslot,
            temporary_slot=None if temporary_slot == _NO_TEMPORARY_SLOT else temporary_slot,
            copy=copy.hex() if any(copy) else "",
        )
        if names
        else None
    )
    if intent is None or not _valid(intent) or any(body[-_RESERVED:]):
        return Padding(obstacle=_unknown(f"kind {kind}, keyslot {keyslot}"), warnings=tuple(warnings))
    return Padding(intent=intent, warnings=tuple(warnings))


def _unknown(name: str) -> Unsupported:
    return Unsupported(
        "journal entry",
        name,
        why="a newer release of this collection left unfinished work in the header, and a write could make it "
        "impossible to finish",
        remedy="Run the newest release of luksmith.luks on this volume first",
    )
