# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vectors of what other programs keep beside keyslots: tokens of LUKS2, and luksmeta, which is for LUKS1.

Sources: the LUKS2 specification, section 3.3.6; what systemd 252, Clevis 19 and cryptsetup 2.6 write; luksmeta 9
(libluksmeta.c). Nothing stands behind a token here: no TPM, no server, no security key.
"""

from __future__ import annotations

import base64
import json
import struct
import typing as t
import uuid

from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Pbkdf2

from .computed import known, luks2
from .plain import BASE1, BASE2
from .stanzas import BOTH, lines_of, stanza

# Between the key material of BASE1 and its payload.
LUKSMETA = 1052672
CLEVIS = uuid.UUID("cb6e8904-81ff-40da-a84a-07ab9ab5715e").bytes
Entry = t.Tuple[bytes, bytes]


def _text(name: str, size: int) -> str:
    return base64.b64encode(known(name, size)).decode()


JWE = {
    "protected": base64.urlsafe_b64encode(
        b'{"alg":"dir","clevis":{"pin":"tang","tang":{"url":"http://tang.invalid"}},"enc":"A256GCM"}'
    ).decode().rstrip("="),
    "encrypted_key": "", "iv": "AAAAAAAAAAAAAAAA", "ciphertext": "AAAA", "tag": "AAAAAAAAAAAAAAAAAAAAAA",
}  # fmt: skip
TPM2 = {
    "tpm2-blob": _text("blob", 192), "tpm2-pcrs": [7], "tpm2-pcr-bank": "sha256", "tpm2-primary-alg": "ecc",
    "tpm2-policy-hash": known("policy", 32).hex(), "tpm2-pin": False,
}  # fmt: skip
FIDO2 = {
    "fido2-credential": _text("credential", 64), "fido2-salt": _text("salt", 32), "fido2-rp": "io.systemd.cryptsetup",
    "fido2-clientPin-required": True, "fido2-up-required": True, "fido2-uv-required": False,
}  # fmt: skip
PKCS11 = {"pkcs11-uri": "pkcs11:token=x;object=y", "pkcs11-key": _text("key", 256)}
TOKENS: t.List[t.Tuple[str, t.Dict[str, t.Dict[str, t.Any]], str]] = [
    ("clevis", {"0": {"type": "clevis", "keyslots": ["0"], "jwe": JWE}}, "token 0 clevis"),
    ("systemd-tpm2", {"0": {"type": "systemd-tpm2", "keyslots": ["0"], **TPM2}}, "token 0 systemd-tpm2"),
    ("systemd-fido2", {"0": {"type": "systemd-fido2", "keyslots": ["0"], **FIDO2}}, "token 0 systemd-fido2"),
    ("systemd-pkcs11", {"0": {"type": "systemd-pkcs11", "keyslots": ["0"], **PKCS11}}, "token 0 systemd-pkcs11"),
    ("systemd-recovery", {"0": {"type": "systemd-recovery", "keyslots": ["0"]}}, "token 0 systemd-recovery"),
    (
        "luks2-keyring",
        {"0": {"type": "luks2-keyring", "keyslots": ["0"], "key_description": "x"}},
        "token 0 luks2-keyring",
    ),
    ("unknown", {"0": {"type": "somebody-else", "keyslots": ["0"], "deep": {"er": [1]}}}, "token 0 somebody-else"),
    ("of-no-keyslot", {"0": {"type": "somebody-else", "keyslots": []}}, "token 0 somebody-else"),
    ("number-31", {"31": {"type": "somebody-else", "keyslots": ["0"]}}, "token 31 somebody-else"),
    (
        "two-on-one",
        {"0": {"type": "clevis", "keyslots": ["0"], "jwe": JWE}, "1": {"type": "systemd-recovery", "keyslots": ["0"]}},
        "token 0 clevis, token 1 systemd-recovery",
    ),
]


def token_vectors() -> t.Iterator[str]:
    for name, tokens, expect in TOKENS:
        tree, _areas = luks2(BASE2, "aes-xts-plain64", Pbkdf2("sha256", 1000, b""), 64)
        tree["tokens"] = tokens
        lines = [f"base {BASE2}", f"json {json.dumps(tree)}", "checksum 0 16384"]
        yield stanza(f"luks2-token-{name}", *lines, expect=f"opens 0 with a, {expect}")


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _number in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def luksmeta(entries: t.Mapping[int, Entry], version: int = 1) -> t.Tuple[bytes, bytes]:
    """The block, and the data that its entries (keyslot -> uuid, data) point to, a page for each from 4096 on."""
    rows, data = b"", b""
    for slot in range(8):
        name, content = entries.get(slot, (bytes(16), b""))
        place = 4096 + len(data) if content else 0
        rows += struct.pack(">16sIIII", name, place, len(content), crc32c(content) if content else 0, 0)
        data += content.ljust(-(-len(content) // 4096) * 4096, b"\0")
    checksum = crc32c(struct.pack(">8sII", b"LUKSMETA", version, 0) + rows)
    return struct.pack(">8sII", b"LUKSMETA", version, checksum) + rows, data


def luksmeta_vectors() -> t.Iterator[str]:
    one = {1: (CLEVIS, b"e30.AA.AA.AA.AA")}
    stranger = uuid.UUID("6505c72b-4a65-4ef5-a3a5-0f6b7a2f0b2a").bytes
    for name, entries, expect in (
        ("empty", {}, BOTH),
        ("clevis", one, f"{BOTH}, token 1 clevis"),
        ("of-another", {0: (stranger, b"x")}, f"{BOTH}, token 0 luksmeta {uuid.UUID(bytes=stranger)}"),
        ("on-a-free-keyslot", {5: (CLEVIS, b"x")}, f"{BOTH}, token 5 clevis"),
        ("all", dict.fromkeys(range(8), (CLEVIS, b"x")),
            ", ".join([BOTH, *(f"token {slot} clevis" for slot in range(8))])),
    ):  # fmt: skip
        block, data = luksmeta(entries)
        edits = [(LUKSMETA, block), *([(LUKSMETA + 4096, data)] if data else [])]
        lines = [f"base {BASE1}", *lines_of(edits)]
        yield stanza(f"luksmeta-{name}", *lines, expect=expect)
    block, _size = luksmeta(one)
    later, _size = luksmeta(one, version=2)
    for name, content in (
        ("checksum-wrong", block[:12] + bytes(4) + block[16:]),
        ("version-2", later),
        ("uuid-changed", block[:40] + b"\xff" + block[41:]),
        ("cut", block[:60] + bytes(212)),
    ):
        lines = [f"base {BASE1}", f"hex {LUKSMETA} {content.hex()}"]
        yield stanza(f"luksmeta-attack-{name}", *lines, expect=f"{BOTH}, tokens unreadable")
    yield stanza(
        "luksmeta-attack-magic", f"base {BASE1}", f"hex {LUKSMETA} {b'X'.hex() + block[1:].hex()}", expect=BOTH
    )
