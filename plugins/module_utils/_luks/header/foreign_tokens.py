# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Tokens of systemd and Clevis, decoded: what they ask for before they give out a secret. Nothing here is a proof."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import typing as t

TPM2, FIDO2, PKCS11, RECOVERY, CLEVIS = (
    "systemd-tpm2",
    "systemd-fido2",
    "systemd-pkcs11",
    "systemd-recovery",
    "clevis",
)
# Those that keep the secret of their keyslot, which nobody can give them anew; and those that may be asked unattended:
# FIDO2 waits for somebody to touch the key.
SEALING = (CLEVIS, TPM2, FIDO2, PKCS11)
UNATTENDED = (CLEVIS, TPM2, PKCS11)
# What each type cannot do without. The keyslot of each has a random key.
MEMBERS: t.Dict[str, t.Dict[str, t.Tuple[type, ...]]] = {
    TPM2: {"tpm2-blob": (str, list), "tpm2-pcrs": (list,), "tpm2-policy-hash": (str, list)},
    FIDO2: {"fido2-credential": (str,), "fido2-salt": (str,), "fido2-rp": (str,)},
    PKCS11: {"pkcs11-uri": (str,), "pkcs11-key": (str,)},
    RECOVERY: {},
    CLEVIS: {"jwe": (dict,)},
}
_RECOVERY_KEY = re.compile(rb"(?:[cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}")
_DEEPEST = 4  # Clevis pins inside each other


class Pin(t.NamedTuple):
    """A pin of Clevis. ``threshold``: how many of the pins ``inside`` it need (sss). keys: thumbprints (tang).

    pcrs: as Clevis spells them ("0,7").
    """

    name: str
    url: str = ""
    pcrs: str = ""
    bank: str = ""
    keys: t.FrozenSet[str] = frozenset()
    threshold: int = 0
    inside: t.Tuple[Pin, ...] = ()

    def all(self) -> t.Iterator[Pin]:
        yield self
        for pin in self.inside:
            yield from pin.all()

    def __str__(self) -> str:
        if self.inside:
            return f"{self.threshold} of ({', '.join(map(str, self.inside))})"
        bound = f"PCRs {self.pcrs} of {self.bank or 'sha256'}" if self.pcrs else ""
        return " ".join(part for part in (self.name, self.url, bound) if part)


class Decoded(t.NamedTuple):
    """A token of another program. ``problem``: why it is not what its type says, or "".

    loose: unlocks in this machine whatever it boots (TPM2 without PCRs, PIN and signed policy).
    pcrs, bank: of TPM2. asks_for_pin: of its TPM, key or card. sealed: hash of what it seals. pin: of Clevis.
    """

    number: int
    type: str
    keyslots: t.Tuple[int, ...]
    problem: str = ""
    loose: bool = False
    pcrs: t.Tuple[int, ...] = ()
    bank: str = ""
    asks_for_pin: bool = False
    sealed: str = ""
    pin: t.Optional[Pin] = None

    @property
    def keyslot(self) -> t.Optional[int]:
        """The first one, under which a finding stands."""
        return self.keyslots[0] if self.keyslots else None

    @property
    def tang_keys(self) -> t.FrozenSet[str]:
        """Thumbprints of the Tang keys that it trusts."""
        return frozenset(key for pin in (self.pin.all() if self.pin else ()) for key in pin.keys)

    def __str__(self) -> str:
        """For people, without number and keyslots: "TPM2, PCRs 7 of sha256, with a PIN"."""
        if self.problem:
            return f"{self.type}, but {self.problem}"
        if self.type == TPM2:
            bound = f"PCRs {', '.join(map(str, self.pcrs))} of {self.bank or 'sha256'}" if self.pcrs else "no PCRs"
            return f"TPM2, {bound}, {'with' if self.asks_for_pin else 'without'} a PIN"
        if self.type == CLEVIS and self.pin is not None:
            return f"Clevis, {self.pin}"
        return self.type + (", with a PIN" if self.asks_for_pin else "")


def is_recovery_key(secret: bytearray) -> bool:
    """Whether it has the form of a recovery key of systemd and was drawn. Its bytes are not copied."""
    # 16 letters and the dash; 64 drawn letters miss more than 5 once in 100,000 cases
    return _RECOVERY_KEY.fullmatch(secret) is not None and len(set(secret)) >= 12


def doubled(tokens: t.Sequence[Decoded]) -> t.Iterator[t.Tuple[Decoded, Decoded, t.List[int]]]:
    """Pairs of tokens that name the same keyslots (which may be none) or seal the same key."""
    for position, token in enumerate(tokens):
        for other in tokens[:position]:
            shared = sorted(set(token.keyslots) & set(other.keyslots))
            if shared or (token.sealed and token.sealed == other.sealed):
                yield other, token, shared


def decode(number: int, kind: str, keyslots: t.Tuple[int, ...], token: t.Mapping[str, t.Any]) -> Decoded:
    """The token whose members in the header are ``token``."""
    found = Decoded(number, kind, keyslots, asks_for_pin=asks_for_pin(kind, token))
    for name, types in MEMBERS.get(kind, {}).items():
        if not isinstance(token.get(name), types) or (not token[name] and name != "tpm2-pcrs"):
            return found._replace(problem=f"it has no valid {name!r}")
    if kind == TPM2:
        bound = token["tpm2-pcrs"] or token.get("tpm2_pubkey_pcrs") or token.get("tpm2_pcrlock")
        return found._replace(
            loose=not bound and not token.get("tpm2-pin"),
            pcrs=tuple(sorted(pcr for pcr in token["tpm2-pcrs"] if isinstance(pcr, int))),
            bank=str(token.get("tpm2-pcr-bank", "")),
            sealed=_hash(token["tpm2-blob"]),
        )
    if kind == CLEVIS:
        pin = _pin(token["jwe"].get("protected"))
        if pin is None:
            return found._replace(problem="its JWE names no pin")
        return found._replace(sealed=_hash(token["jwe"].get("ciphertext")), pin=pin)
    return found


def asks_for_pin(kind: str, token: t.Mapping[str, t.Any]) -> bool:
    """Whether the TPM, key or card wants a PIN. One that does not counts a PIN as an attack."""
    if kind == TPM2:
        return token.get("tpm2-pin") is True
    if kind == FIDO2:
        return token.get("fido2-clientPin-required") is True
    return kind == PKCS11


def _pin(protected: t.Any, depth: int = 0) -> t.Optional[Pin]:
    """The pin in the header of a JWE, and those inside it."""
    header = _jwe_header(protected)
    pin = header.get("clevis")
    if not isinstance(pin, dict) or not isinstance(pin.get("pin"), str):
        return None
    name = pin["pin"]
    own: t.Mapping[str, t.Any] = pin[name] if isinstance(pin.get(name), dict) else {}
    keys = {header["kid"]} if isinstance(header.get("kid"), str) else set()
    advertised = own.get("adv")
    for key in _list(advertised.get("keys") if isinstance(advertised, dict) else None):
        keys.update(_thumbprints(key))
    parts = _list(own.get("jwe")) if depth < _DEEPEST else []
    inside = [_pin(str(part).partition(".")[0], depth + 1) for part in parts]
    return Pin(
        name,
        url=_text(own.get("url")),
        pcrs=_text(own.get("pcr_ids")),
        bank=_text(own.get("pcr_bank")),
        keys=frozenset(keys),
        threshold=own["t"] if isinstance(own.get("t"), int) else 0,
        inside=tuple(one for one in inside if one is not None),
    )


def _text(value: t.Any) -> str:
    return value if isinstance(value, str) else ""


def _list(value: t.Any) -> t.List[t.Any]:
    return value if isinstance(value, list) else []


def _jwe_header(protected: t.Any) -> t.Dict[str, t.Any]:
    try:
        text = protected.encode("ascii")
        header = json.loads(base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
    except (AttributeError, ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}


def _thumbprints(key: t.Any) -> t.Iterator[str]:
    """Of an elliptic curve key, as Clevis and Tang show it: RFC 7638 with SHA-256, and with SHA-1 as old ones did."""
    if isinstance(key, dict) and all(isinstance(key.get(name), str) for name in ("crv", "kty", "x", "y")):
        text = json.dumps({name: key[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":")).encode()
        for name in ("sha256", "sha1"):
            yield base64.urlsafe_b64encode(hashlib.new(name, text).digest()).decode().rstrip("=")


def _hash(value: t.Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
