# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vectors of sound headers: ciphers, modes, hashes, key derivations, keyslots."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Argon2, Kdf, Pbkdf2

from .computed import SIZE1, SIZE2, A, B, luks1, luks2
from .stanzas import lines_of, secret, stanza

BASE1, BASE2 = "luks1-slot-0", "luks2-base"
MODES = [
    *[(f"{one}-xts-plain64", size) for one in ("aes", "serpent", "twofish", "camellia") for size in (32, 64)],
    *[(f"aes-{mode}", size) for mode in ("xts-plain", "xts-plain64be") for size in (32, 64)],
    *[
        (f"{one}-cbc-{iv}", size)
        for one in ("aes", "serpent", "twofish")
        for iv in ("plain", "plain64", "essiv:sha256")
        for size in (16, 32)
    ],
]
HASHES = ["sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", "sha3-256", "sha3-512"]


def luks1_vectors() -> t.Iterator[str]:
    for mode, size in MODES:
        name = f"luks1-{mode.replace(':', '-')}-{size * 8}"
        edits = luks1(name, mode, "sha256", size, {0: A})
        yield stanza(name, f"size {SIZE1}", *lines_of(edits), secret("a", A), expect="opens 0 with a")
        yield stanza(f"{name}-wrong", f"base {name}", secret("a", B), expect="opens nothing")
    for hash_name in HASHES:
        name = f"luks1-hash-{hash_name}"
        edits = luks1(name, "aes-xts-plain64", hash_name, 32, {0: A})
        yield stanza(name, f"size {SIZE1}", *lines_of(edits), secret("a", A), expect="opens 0 with a")
    for slot in range(8):
        name = f"luks1-slot-{slot}"
        edits = luks1(name, "aes-xts-plain64", "sha256", 32, {slot: A, (slot + 1) % 8: B})
        expect = f"opens {slot} with a, {(slot + 1) % 8} with b"
        yield stanza(name, f"size {SIZE1}", *lines_of(edits), secret("a", A), secret("b", B), expect=expect)


def luks2_vectors() -> t.Iterator[str]:
    pbkdf2 = Pbkdf2("sha256", 1000, b"")
    made: t.List[t.Tuple[str, str, Kdf, int, str]] = [(BASE2, "aes-xts-plain64", pbkdf2, 64, "sha256")]
    made += [(f"luks2-{mode.replace(':', '-')}-{size * 8}", mode, pbkdf2, size, "sha256") for mode, size in MODES]
    made += [(f"luks2-hash-{one}", "aes-xts-plain64", Pbkdf2(one, 1000, b""), 64, one) for one in HASHES]
    made += [
        (f"luks2-{kind}-{time}-{lanes}", "aes-xts-plain64", Argon2(kind, time, 32, lanes, b""), 64, "sha256")
        for kind in ("argon2i", "argon2id")
        for time, lanes in ((4, 1), (5, 1), (4, 2), (4, 4))
    ]
    for name, mode, derive, size, hash_name in made:
        tree, edits = luks2(name, mode, derive, size, hash_name)
        lines = [f"size {SIZE2}", *lines_of(edits), f"json {json.dumps(tree)}", "checksum 0 16384", secret("a", A)]
        yield stanza(name, *lines, expect="opens 0 with a")
