# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vectors of secrets: what a passphrase is to the byte, and which other bytes open the same keyslot.

HMAC pads a key that is shorter than a block of its hash with zeros, and hashes a longer one (RFC 2104), so that PBKDF2
cannot tell these secrets apart.
"""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Argon2

from .computed import SIZE1, SIZE2, luks1, luks2
from .stanzas import lines_of, secret, stanza

LONG = b"0123456789abcdef" * 8
# Name, the secret of the keyslot, and what is tried: secret -> does it open?
TRIED: t.List[t.Tuple[str, bytes, t.List[t.Tuple[bytes, bool]]]] = [
    ("newline", b"secret\n", [(b"secret\n", True), (b"secret", False), (b"secret\r\n", False)]),
    ("spaces", b"  a  ", [(b"  a  ", True), (b"a", False)]),
    ("one-byte", b"x", [(b"x", True), (b"X", False), (b"", False)]),
    ("nul-behind", b"secret", [(b"secret\0", True), (b"secret\0\0\0", True), (b"\0secret", False)]),
    ("nul-within", b"se\0cret", [(b"se\0cret", True), (b"se", False), (b"se\0cret\0", True)]),
    ("not-utf8", b"\xff\xfe\x80", [(b"\xff\xfe\x80", True), (b"\xc3\xbf\xc3\xbe\xc2\x80", False)]),
    ("composed", "\u00e9".encode(), [("\u00e9".encode(), True), ("e\u0301".encode(), False)]),
    ("a-block", LONG[:64], [(LONG[:64], True), (LONG[:63], False), (hashlib.sha256(LONG[:64]).digest(), False)]),
    ("long", LONG, [(LONG, True), (hashlib.sha256(LONG).digest(), True), (LONG[:127], False), (LONG[:64], False)]),
    ("513-bytes", b"p" * 513, [(b"p" * 513, True), (b"p" * 512, False)]),
]
ARGON2: t.List[t.Tuple[str, bytes, t.List[t.Tuple[bytes, bool]]]] = [
    ("nul-behind", b"secret", [(b"secret", True), (b"secret\0", False)]),
    ("long", LONG, [(LONG, True), (hashlib.sha256(LONG).digest(), False)]),
]


def _tried(secrets: t.Sequence[t.Tuple[bytes, bool]]) -> t.Tuple[t.List[str], str]:
    lines = [secret(f"s{number}", content) for number, (content, _opens) in enumerate(secrets)]
    opened = ", ".join(f"0 with s{number}" for number, (_content, opens) in enumerate(secrets) if opens)
    return lines, f"opens {opened}"


def secret_vectors() -> t.Iterator[str]:
    for title, held, secrets in TRIED:
        name = f"luks1-secret-{title}"
        lines, expect = _tried(secrets)
        edits = luks1(name, "aes-xts-plain64", "sha256", 32, {0: held})
        yield stanza(name, f"size {SIZE1}", *lines_of(edits), *lines, expect=expect)
    for title, held, secrets in ARGON2:
        name = f"luks2-secret-{title}"
        lines, expect = _tried(secrets)
        tree, edits = luks2(name, "aes-xts-plain64", Argon2("argon2id", 4, 32, 1, b""), 64, secret=held)
        made = [f"size {SIZE2}", *lines_of(edits), f"json {json.dumps(tree)}", "checksum 0 16384"]
        yield stanza(name, *made, *lines, expect=expect)
