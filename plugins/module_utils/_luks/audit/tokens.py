# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Tokens of other programs, decoded, and what guards a keyslot.

systemd and Clevis put a random key into a keyslot and let a TPM, a security key or a server guard that key; 1,000
iterations are enough for it. But a token is a claim in the header, which whoever wrote the header could make, also for
a keyslot with a passphrase. So a token alone excuses nothing: the policy must say which types it believes, the token
must have the members of its type, and what a secret proves wins over both.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import typing as t

from ..header.model import Keyslot, Pbkdf2
from .evidence import Evidence
from .policy import Policy

TPM2, CLEVIS = "systemd-tpm2", "clevis"
# What each type cannot do without. The keyslot of each has a random key.
MEMBERS: t.Dict[str, t.Dict[str, t.Tuple[type, ...]]] = {
    TPM2: {"tpm2-blob": (str, list), "tpm2-pcrs": (list,), "tpm2-policy-hash": (str, list)},
    "systemd-fido2": {"fido2-credential": (str,), "fido2-salt": (str,), "fido2-rp": (str,)},
    "systemd-pkcs11": {"pkcs11-uri": (str,), "pkcs11-key": (str,)},
    "systemd-recovery": {},
    CLEVIS: {"jwe": (dict,)},
}
_DEEPEST = 4  # Clevis pins inside each other

PERSON, PROVEN, DECLARED, CLAIMED = "person", "proven", "declared", "claimed"
ENOUGH = 1000  # iterations for a random key: NIST SP 800-132, section 5.2, and what systemd and Clevis write


class Decoded(t.NamedTuple):
    """A token of another program. ``problem``: why it is not what its type says, or "".

    loose: unlocks in this machine whatever it boots (TPM2 without PCRs, PIN and signed policy).
    bank: of the PCRs. sealed: hash of what it seals. tang_keys: thumbprints of the Tang keys that it trusts.
    """

    number: int
    type: str
    keyslots: t.Tuple[int, ...]
    problem: str = ""
    loose: bool = False
    bank: str = ""
    sealed: str = ""
    tang_keys: t.FrozenSet[str] = frozenset()

    @property
    def keyslot(self) -> t.Optional[int]:
        """The first one, under which a finding stands."""
        return self.keyslots[0] if self.keyslots else None


def decoded(evidence: Evidence) -> t.List[Decoded]:
    """The tokens of other programs; those of LUKS1 (luksmeta) by their type only."""
    members: t.Mapping[str, t.Any] = evidence.metadata.get("tokens") or {}
    return [
        _decode(token.number, token.type, token.keyslots, members.get(str(token.number), {}))
        if members
        else Decoded(token.number, token.type, token.keyslots)
        for token in evidence.header.tokens
        if not token.ours
    ]


def _decode(number: int, kind: str, keyslots: t.Tuple[int, ...], token: t.Mapping[str, t.Any]) -> Decoded:
    found = Decoded(number, kind, keyslots)
    for name, types in MEMBERS.get(kind, {}).items():
        if not isinstance(token.get(name), types) or (not token[name] and name != "tpm2-pcrs"):
            return found._replace(problem=f"it has no valid {name!r}")
    if kind == TPM2:
        bound = token["tpm2-pcrs"] or token.get("tpm2_pubkey_pcrs") or token.get("tpm2_pcrlock")
        return found._replace(
            loose=not bound and not token.get("tpm2-pin"),
            bank=str(token.get("tpm2-pcr-bank", "")),
            sealed=_hash(token["tpm2-blob"]),
        )
    if kind == CLEVIS:
        header = _jwe_header(token["jwe"].get("protected"))
        if not isinstance(header.get("clevis"), dict) or not isinstance(header["clevis"].get("pin"), str):
            return found._replace(problem="its JWE names no pin")
        return found._replace(sealed=_hash(token["jwe"].get("ciphertext")), tang_keys=frozenset(_tang_keys(header)))
    return found


def _jwe_header(protected: t.Any) -> t.Dict[str, t.Any]:
    try:
        text = protected.encode("ascii")
        header = json.loads(base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
    except (AttributeError, ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def _tang_keys(header: t.Mapping[str, t.Any], depth: int = 0) -> t.Iterator[str]:
    """The thumbprints of the keys of each Tang server in a pin, and in the pins inside it (sss)."""
    pin = header.get("clevis")
    if not isinstance(pin, dict) or depth > _DEEPEST:
        return
    if isinstance(header.get("kid"), str):
        yield header["kid"]
    tang, shared = pin.get("tang"), pin.get("sss")
    advertised = tang.get("adv") if isinstance(tang, dict) else None
    keys = advertised.get("keys") if isinstance(advertised, dict) else None
    for key in keys if isinstance(keys, list) else ():
        yield from _thumbprints(key)
    parts = shared.get("jwe") if isinstance(shared, dict) else None
    for part in parts if isinstance(parts, list) else ():
        yield from _tang_keys(_jwe_header(str(part).partition(".")[0]), depth + 1)


def _thumbprints(key: t.Any) -> t.Iterator[str]:
    """Of an elliptic curve key, as Clevis and Tang show it: RFC 7638 with SHA-256, and with SHA-1 as old ones did."""
    if isinstance(key, dict) and all(isinstance(key.get(name), str) for name in ("crv", "kty", "x", "y")):
        text = json.dumps({name: key[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":")).encode()
        for name in ("sha256", "sha1"):
            yield base64.urlsafe_b64encode(hashlib.new(name, text).digest()).decode().rstrip("=")


def _hash(value: t.Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def guard(evidence: Evidence, policy: Policy, slot: Keyslot) -> str:
    """PROVEN: a given secret opens the keyslot, and is a random key. PERSON: what else opens it, or nothing is known.

    CLAIMED: its tokens are what they say, and the policy lists their types. DECLARED: it also names what suffices for
    them, and the keyslot has it.
    """
    number = slot.number
    if number in evidence.machine_made:
        return PROVEN
    holders = [token for token in decoded(evidence) if number in token.keyslots]
    believed = {*(policy.token_types or ()), *policy.token_costs}
    opened = number in evidence.empty or evidence.opened_by.get(number)
    if opened or not holders or any(token.problem or token.type not in believed for token in holders):
        return PERSON
    for token in holders:
        enough = policy.token_costs.get(token.type)
        if enough is None or (isinstance(slot.kdf, Pbkdf2) and slot.kdf.iterations < enough):
            return CLAIMED
    return DECLARED


def believed_slots(evidence: Evidence, policy: Policy) -> t.List[int]:
    """The keyslots that are accepted without a proof, by the policy's word on their tokens."""
    return [slot.number for slot in evidence.header.keyslots.values() if guard(evidence, policy, slot) == DECLARED]


_RECOVERY_KEY = re.compile(rb"(?:[cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}")
# Bytes in no text that a person types: controls without the usual ones, and what UTF-8 never contains.
_NO_TEXT = frozenset({*range(1, 32), 0xC0, 0xC1, *range(0xF5, 0x100)} - {9, 10, 13})


def is_random_key(secret: bytearray) -> bool:
    """Whether the secret has the form of a key that a machine drew: a recovery key of systemd, or 32 bytes of no text.

    Its bytes are not copied.
    """
    distinct = len(set(secret))
    if _RECOVERY_KEY.fullmatch(secret):
        return distinct >= 12  # 16 letters and the dash; 64 drawn letters miss more than 5 once in 100,000 cases
    return len(secret) >= 32 and distinct >= 24 and sum(byte in _NO_TEXT for byte in secret) >= 2
