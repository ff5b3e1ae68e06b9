# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Anti-forensic split: the published recurrence computed by hand, and merge as its inverse."""

from __future__ import annotations

import hashlib
import os

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import antiforensic
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import MalformedHeader, Unsupported
from hypothesis import given, settings
from hypothesis import strategies as st


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right))


def diffused(block: bytes, hash_name: str) -> bytes:
    width = hashlib.new(hash_name).digest_size
    parts = [block[start : start + width] for start in range(0, len(block), width)]
    return b"".join(
        hashlib.new(hash_name, number.to_bytes(4, "big") + part).digest()[: len(part)]
        for number, part in enumerate(parts)
    )


@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha512", "md5"])
@pytest.mark.parametrize("size", [16, 24, 32, 64, 96])
def test_recurrence(hash_name: str, size: int) -> None:
    noise = hashlib.shake_128(b"noise").digest(3 * size)
    key = hashlib.shake_128(b"key").digest(size)
    state = bytes(size)
    for start in range(0, len(noise), size):
        state = diffused(xor(state, noise[start : start + size]), hash_name)
    assert antiforensic.merge(noise + xor(state, key), size, 4, hash_name) == key


@settings(deadline=None)
@given(
    key=st.binary(min_size=1, max_size=130),
    stripes=st.integers(1, 9),
    hash_name=st.sampled_from(["sha1", "sha256", "sha512", "blake2b-512"]),
    rest=st.binary(max_size=9),
)
def test_merge_undoes_split(key: bytes, stripes: int, hash_name: str, rest: bytes) -> None:
    material = antiforensic.split(bytearray(key), stripes, hash_name)
    assert len(material) == len(key) * stripes
    assert antiforensic.merge(material + rest, len(key), stripes, hash_name) == key
    assert antiforensic.merge(memoryview(material), len(key), stripes, hash_name) == key


@settings(deadline=None)
@given(position=st.integers(0, 64 * 20 - 1))
def test_every_byte_of_the_material_matters(position: int) -> None:
    key = bytes(range(64))
    material = antiforensic.split(key, 20, "sha256")
    material[position] ^= 1
    assert antiforensic.merge(material, 64, 20, "sha256") != key


def test_real_size_uses_fresh_randomness() -> None:
    key = os.urandom(64)
    first, second = antiforensic.split(key, 4000, "sha256"), antiforensic.split(key, 4000, "sha256")
    assert len(first) == 256000
    assert all(first[start : start + 64] != second[start : start + 64] for start in range(0, 256000, 64))
    assert antiforensic.merge(first, 64, 4000, "sha256") == antiforensic.merge(second, 64, 4000, "sha256") == key


@pytest.mark.parametrize(("key", "stripes"), [(b"", 4000), (b"key", 0), (b"key", -1)])
def test_impossible_split_is_malformed(key: bytes, stripes: int) -> None:
    with pytest.raises(MalformedHeader):
        antiforensic.split(key, stripes, "sha256")
    with pytest.raises(MalformedHeader):
        antiforensic.merge(bytes(8000), len(key), stripes, "sha256")


def test_short_material_is_malformed() -> None:
    with pytest.raises(MalformedHeader, match=r"255999 bytes.*256000"):
        antiforensic.merge(bytes(255999), 64, 4000, "sha256")


def test_unknown_hash_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="sha257"):
        antiforensic.split(b"key", 2, "sha257")
    with pytest.raises(Unsupported, match="sha257"):
        antiforensic.merge(b"keykey", 3, 2, "sha257")
