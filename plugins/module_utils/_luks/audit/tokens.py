# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What guards a keyslot: a person's secret, or a random key that a TPM, a security key or a server keeps.

systemd and Clevis put a random key into a keyslot and let a TPM, a security key or a server guard that key; 1,000
iterations are enough for it. But a token is a claim in the header, which whoever wrote the header could make, also for
a keyslot with a passphrase. So a token alone excuses nothing: the policy must say which types it believes, the token
must have the members of its type, and what a secret proves wins over both.
"""

from __future__ import annotations

import typing as t

from ..header.foreign_tokens import CLEVIS, Decoded, decode, is_recovery_key
from ..header.model import Keyslot, Pbkdf2, Token
from ..unlock import tokens
from .evidence import Evidence
from .policy import Policy

PERSON, PROVEN, DECLARED, CLAIMED = "person", "proven", "declared", "claimed"
ENOUGH = 1000  # iterations for a random key: NIST SP 800-132, section 5.2, and what systemd and Clevis write


def decoded(evidence: Evidence) -> t.List[Decoded]:
    """The tokens of other programs. luksmeta keeps only the bytes of Clevis, a compact JWE."""
    header = evidence.header
    return [_decoded(evidence, token) for token in header.tokens if not token.ours]


def _decoded(evidence: Evidence, token: Token) -> Decoded:
    if evidence.header.format == "luks2" or token.type != CLEVIS:
        return tokens.decoded(evidence.header, token)
    parts = evidence.luksmeta.get(token.number, b"").decode("ascii", "replace").split(".")
    jwe = {"protected": parts[0], "ciphertext": parts[3]} if len(parts) == 5 else {}
    return decode(token.number, token.type, token.keyslots, {"jwe": jwe})


def guard(evidence: Evidence, policy: Policy, slot: Keyslot) -> str:
    """PROVEN: a given secret opens the keyslot, and is a random key. PERSON: what else opens it, or nothing is known.

    CLAIMED: its tokens are what they say, as far as they were asked, and the policy lists their types, or the task
    asked one that gave no answer. DECLARED: the policy also names what suffices for them, and the keyslot has it.
    """
    number = slot.number
    if number in evidence.machine_made:
        return PROVEN
    holders = [token for token in decoded(evidence) if number in token.keyslots]
    believed = {*(policy.token_types or ()), *policy.token_costs}
    opened = number in evidence.empty or evidence.opened_by.get(number)
    if opened and number not in evidence.asked.alone:
        return PERSON
    if not holders or any(token.problem or evidence.refuted(token.number, number) for token in holders):
        return PERSON
    if any(token.type not in believed for token in holders):
        return CLAIMED if evidence.silence(number) else PERSON
    for token in holders:
        enough = policy.token_costs.get(token.type)
        if enough is None or (isinstance(slot.kdf, Pbkdf2) and slot.kdf.iterations < enough):
            return CLAIMED
    return DECLARED


def believed_slots(evidence: Evidence, policy: Policy) -> t.List[int]:
    """The keyslots that are accepted without a proof, by the policy's word on their tokens."""
    return [slot.number for slot in evidence.header.keyslots.values() if guard(evidence, policy, slot) == DECLARED]


# Bytes in no text that a person types: controls without the usual ones, and what UTF-8 never contains.
_NO_TEXT = frozenset({*range(1, 32), 0xC0, 0xC1, *range(0xF5, 0x100)} - {9, 10, 13})


def is_random_key(secret: bytearray) -> bool:
    """Whether the secret has the form of a key that a machine drew: a recovery key of systemd, or 32 bytes of no text.

    Its bytes are not copied.
    """
    if is_recovery_key(secret):
        return True
    return len(secret) >= 32 and len(set(secret)) >= 24 and sum(byte in _NO_TEXT for byte in secret) >= 2


def is_token_key(secret: bytearray) -> bool:
    """The same of a secret that a token gave: systemd writes its keys as base64, and Clevis as pwmake spells them.

    Its bytes are not copied.
    """
    if is_random_key(secret):
        return True
    letters = [any(byte in range(first, first + 26) for byte in secret) for first in b"aA"]
    return (
        len(secret) >= 40 and len(set(secret)) >= 16 and all(letters) and all(byte in range(33, 127) for byte in secret)
    )
