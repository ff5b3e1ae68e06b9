# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Everything in a header as plain values for the result of ``keyslots_info``. No secret, no volume key."""

from __future__ import annotations

import typing as t

from ..errors import shown
from ..header.model import Header, IntentKind, Keyslot, Token
from ..unlock.hints import fingerprint

_LONGEST = 200  # characters of what another program wrote
_NEXT = "the next run of luksmith.luks.keyslots that writes"
_UNFINISHED = {
    IntentKind.WIPE: "left the old key material of keyslot {keyslot} on the device; {next} overwrites it first",
    IntentKind.ERASE: "was erasing keyslot {keyslot}, which may be active and open with nothing; "
    "{next} finishes that first",
    IntentKind.REPLACE_ERASE: "was erasing keyslot {keyslot} to fill it again, and it may be active and open with "
    "nothing; {next} finishes that first, and fills it if its task gives the secret",
    IntentKind.REPLACE_FILL: "was filling keyslot {keyslot} again after erasing it; "
    "{next} fills it if its task gives the secret, else it stays free",
    IntentKind.MOVE_ADD: "was about to rekey keyslot {keyslot} through a copy in keyslot {temporary_slot}; "
    "{next} continues if a secret of its task opens the copy, else it erases the copy",
    IntentKind.MOVE_ERASE: "was rekeying keyslot {keyslot}, which may be active and open with nothing, and its new "
    "secret opens keyslot {temporary_slot}; {next} continues if a secret of its task opens that, "
    "else it erases keyslot {keyslot}",
    IntentKind.MOVE_FILL: "was moving the new secret of keyslot {keyslot} back from keyslot {temporary_slot}; "
    "{next} finishes that first",
    IntentKind.COPIED: "left a copy of the header, the file {copy} in its backup_dir, which opens with the secrets of "
    "before; {next}, with the same backup_dir, finishes the change and removes the copy",
}


def describe_header(header: Header) -> t.Dict[str, t.Any]:
    """Offsets in bytes from the start of the header, sizes in bytes; names as headers spell them."""
    return {
        "version": int(header.format[-1]),
        "uuid": header.uuid,
        "label": header.label,
        "subsystem": header.subsystem,
        "cipher": header.cipher,
        "key_size": header.key_size,
        "slot_count": header.slot_count,
        "free_keyslots": header.slot_count - len(header.keyslots),
        "size": header.extent,
        "copies": dict(header.health),
        "requirements": list(header.requirements),
        "unfinished": unfinished(header),
        "write_obstacle": None if header.write_obstacle is None else shown(header.write_obstacle.found),
        "areas": [_area(slot) for slot in header.keyslots.values()],
        "segments": [segment._asdict() for segment in header.segments],
        "digests": [
            {
                "number": digest.number,
                "type": digest.type,
                "hash": digest.hash,
                "iterations": digest.iterations,
                "keyslots": list(digest.keyslots),
                "segments": list(digest.segments),
            }
            for digest in header.digests
        ],
        "tokens": [_token(header, token) for token in header.tokens],
        "record": _record(header),
    }


def _token(header: Header, token: Token) -> t.Dict[str, t.Any]:
    row = {"number": token.number, "type": token.type, "keyslots": list(token.keyslots), "ours": token.ours}
    if token.ours:
        return row
    from ..header.foreign_tokens import MEMBERS, TPM2
    from ..unlock.tokens import decoded, members_of

    found = decoded(header, token)
    if token.type not in MEMBERS or not members_of(header, token):
        return row
    row.update(says=shown(str(found), _LONGEST), problem=shown(found.problem), asks_for_pin=found.asks_for_pin)
    if token.type == TPM2:
        row.update(pcrs=list(found.pcrs), pcr_bank=shown(found.bank, _LONGEST))
    if found.pin is not None:
        urls = [shown(pin.url, _LONGEST) for pin in found.pin.all() if pin.url]
        row.update(pin=shown(found.pin.name, _LONGEST), urls=urls)
    return row


def doubtful_tokens(header: Header) -> t.List[str]:
    """Warnings of tokens of other programs that cannot be what they seem."""
    others = [token for token in header.tokens if not token.ours]
    if not others:
        return []
    from ..header.foreign_tokens import MEMBERS, doubled
    from ..unlock.tokens import decoded

    tokens = [decoded(header, token) for token in others]
    found = []
    for token in tokens:
        name = f"token {token.number} ({shown(token.type, _LONGEST)})"
        if token.problem:
            found.append(f"{name} is damaged or forged: {token.problem}")
        if not token.keyslots and token.type in MEMBERS:
            found.append(f"{name} refers to no keyslot, so that it unlocks nothing")
    for other, token, shared in doubled([token for token in tokens if token.type in MEMBERS]):
        what = f"both refer to keyslot {shared[0]}" if shared else "seal the same key"
        found.append(f"tokens {other.number} and {token.number} {what}: at most one of them is what it seems")
    return found


def unfinished(header: Header) -> t.Optional[t.Dict[str, t.Any]]:
    """What an interrupted run left to do, and in ``says`` how the next run ends it; None if nothing is left."""
    intent = header.intent
    if intent is None:
        return None
    says = _UNFINISHED.get(
        intent.kind, "left a journal entry of an unknown kind for keyslot {keyslot}; only its own version can finish it"
    )
    copy = intent.copy_file(header.uuid)
    words = {"keyslot": intent.keyslot, "temporary_slot": intent.temporary_slot, "next": _NEXT, "copy": copy}
    says = f"An interrupted run {says.format(**words)}."
    if intent.copy and intent.kind != IntentKind.COPIED:
        says += (
            f" It left a copy of the header, the file {copy} in its backup_dir: the next run needs the same backup_dir."
        )
    keyslot = None if intent.kind == IntentKind.COPIED else intent.keyslot
    return {"kind": str(intent.kind), "keyslot": keyslot, "via": intent.temporary_slot, "says": says}


def _area(slot: Keyslot) -> t.Dict[str, t.Any]:
    return {
        "keyslot": slot.number,
        "kind": slot.kind,
        "offset": slot.area.offset,
        "size": slot.area.size,
        "encryption": slot.encryption,
        "key_size": slot.key_size,
        "stripes": slot.af_stripes,
        "af_hash": slot.af_hash,
        "digests": list(slot.digests),
        "fingerprint": fingerprint(slot.kdf),
    }


def _record(header: Header) -> t.List[t.Dict[str, t.Any]]:
    """``current`` is False if another program has erased or rewritten the keyslot since."""
    lines = []
    for number, entry in sorted(header.record.items()):
        slot = header.keyslots.get(number)
        current = slot is not None and entry.fingerprint == fingerprint(slot.kdf)
        lines.append({"keyslot": number, "label": entry.label, "changed": entry.changed, "current": current})
    return lines
