# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which secrets are one and the same to a key derivation; hashlib is the judge."""

from __future__ import annotations

import hashlib
import itertools
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Argon2, Pbkdf2
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.derivations import Derivations

SALT = bytes(range(32))


def secrets(hash_name: str) -> t.List[bytes]:
    block = hashlib.new(hash_name).block_size
    texts = [b"x" * length for length in (1, block - 1, block, block + 1, 3 * block)]
    hashed = [hashlib.new(hash_name, text).digest() for text in texts]
    return [*texts, *hashed, *(text + b"\0" for text in (*texts, *hashed)), b"\0x"]


def same(texts: t.List[bytes], one: int, other: int, parameters: t.Union[Pbkdf2, Argon2]) -> bool:
    derivations = Derivations([types.SimpleNamespace(value=bytearray(text)) for text in texts], kdf.Budget())
    try:
        return derivations.same_input(one, other, parameters)
    finally:
        derivations.close()


@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha512", "sha3_256"])
def test_two_secrets_are_the_same_where_pbkdf2_gives_one_key(hash_name: str) -> None:
    texts = secrets(hash_name)
    parameters = Pbkdf2(hash_name.replace("_", "-"), 1, SALT)
    keys = [hashlib.pbkdf2_hmac(hash_name, text, SALT, 1) for text in texts]
    pairs = list(itertools.combinations(range(len(texts)), 2))
    found = [pair for pair in pairs if same(texts, *pair, parameters)]
    assert found == [(one, other) for one, other in pairs if keys[one] == keys[other]]
    assert len(found) >= 10


def test_argon2_tells_every_two_apart() -> None:
    texts = secrets("sha256")
    parameters = Argon2("argon2id", 4, 32, 1, SALT)
    assert not [pair for pair in itertools.combinations(range(len(texts)), 2) if same(texts, *pair, parameters)]
