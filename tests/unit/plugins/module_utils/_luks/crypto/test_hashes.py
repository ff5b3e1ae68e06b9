# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PBKDF2 and digests: published vectors, all libraries alike, names and refusals."""

from __future__ import annotations

import hashlib
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import hashes, kdf, libcrypto
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.providers import NotProvided
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import MalformedHeader, Unsupported
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.crypto.one_provider import alone, named

SHA256 = hashes._HASHES["sha256"]

# RFC 6070 (without its 2**24 iterations) and RFC 7914 section 11.
VECTORS = [
    ("sha1", b"password", b"salt", 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
    ("sha1", b"password", b"salt", 2, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"),
    ("sha1", b"password", b"salt", 4096, "4b007901b765489abead49d926f721d065a429c1"),
    (
        "sha1",
        b"passwordPASSWORDpassword",
        b"saltSALTsaltSALTsaltSALTsaltSALTsalt",
        4096,
        "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038",
    ),
    ("sha1", b"pass\0word", b"sa\0lt", 4096, "56fa6aa75548099dcc37d7f03425e0c3"),
    (
        "sha256",
        b"passwd",
        b"salt",
        1,
        "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
    ),
]

# Digests of b"abc" from FIPS 180-4, FIPS 202, RFC 7693, RFC 1321, the RIPEMD-160, Whirlpool and SM3 publications.
ABC = {
    "md5": "900150983cd24fb0d6963f7d28e17f72",
    "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d",
    "sha224": "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "sha3-256": "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
    "ripemd160": "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
    "rmd160": "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
    "blake2s-256": "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982",
    "sm3": "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
    "whirlpool": (
        "4e2448a4c6f486bb16b6562c73b4020bf3043e3a731bce721ae1b303d97e6d4c"
        "7181eebdb6c57e277d0e34957114cbd6c797fc9d95d8b582d225292076d4eef5"
    ),
}


@pytest.mark.parametrize("provider", hashes.PROVIDERS, ids=named)
@pytest.mark.parametrize(("name", "secret", "salt", "iterations", "expected"), VECTORS)
def test_pbkdf2_of_the_rfcs(
    provider: hashes.HashProvider, name: str, secret: bytes, salt: bytes, iterations: int, expected: str
) -> None:
    with alone(hashes.PROVIDERS, provider, lambda one: one.pbkdf2(SHA256)):
        assert kdf.pbkdf2(name, bytearray(secret), salt, iterations, len(expected) // 2).hex() == expected


@pytest.mark.parametrize(("name", "size"), [("wp256", 32), ("wp384", 48), ("WP512", 64)])
def test_short_forms_of_whirlpool_are_its_first_bytes(name: str, size: int) -> None:
    try:
        first = kdf.new_hash(name)
    except Unsupported as reason:
        pytest.skip(str(reason.why))
    first.update(b"ab")
    second = first.copy()
    second.update(b"c")
    first.update(b"x")
    assert second.digest().hex() == ABC["whirlpool"][: 2 * size]
    assert kdf.hash_size(name) == second.digest_size == size


@pytest.mark.parametrize("provider", hashes.PROVIDERS, ids=named)
@pytest.mark.parametrize("name", ABC)
def test_digest_of_abc(provider: hashes.HashProvider, name: str) -> None:
    with alone(hashes.PROVIDERS, provider, lambda one: one.new(hashes._HASHES[name])):
        first = kdf.new_hash(name)
        first.update(b"ab")
        second = first.copy()
        second.update(memoryview(b"c"))
        first.update(b"x")
        assert second.digest().hex() == ABC[name]
        assert kdf.hash_size(name) == second.digest_size == len(ABC[name]) // 2


@pytest.mark.parametrize("name", sorted(name for name, names in hashes._HASHES.items() if not names.whole))
def test_all_libraries_agree(name: str) -> None:
    seen: t.Set[t.Tuple[bytes, bytes, int, int]] = set()
    for provider in hashes.PROVIDERS:
        try:
            derived = provider.pbkdf2(hashes._HASHES[name])(bytearray(b"secret"), b"salt" * 8, 7, 70)
            digest = provider.new(hashes._HASHES[name])()
        except hashes.NotProvided:
            continue
        digest.update(b"x" * 200)
        seen.add((bytes(derived), digest.digest(), digest.digest_size, digest.block_size))
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["SHA256", "Sha256", "sha256"])
def test_case_of_a_hash_name_does_not_matter(name: str) -> None:
    assert kdf.pbkdf2(name, b"passwd", b"salt", 1, 64).hex() == VECTORS[-1][-1]


@pytest.mark.parametrize(
    "name", ["", "sha257", "shake_128", "md5-sha1", "sha256\0", "whirlpool_gcryptbug", "stribog512"]
)
def test_unknown_hash_is_named(name: str) -> None:
    for call in (lambda: kdf.new_hash(name), lambda: kdf.hash_size(name), lambda: kdf.pbkdf2(name, b"x", b"y", 1, 1)):
        with pytest.raises(Unsupported) as caught:
            call()
        assert (caught.value.what, caught.value.name) == ("hash", name)


def test_hash_that_no_library_has_is_unsupported_with_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *arguments: t.Any) -> t.Any:
        raise ValueError("unsupported hash type")

    monkeypatch.setattr(hashlib, "new", without)
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", without)
    monkeypatch.setattr(hashes, "PROVIDERS", [hashes.Hashlib(), hashes.LibcryptoLegacy("libcrypto.so.none")])
    for call in (
        lambda: kdf.new_hash("sha256"),
        lambda: kdf.hash_size("sha256"),
        lambda: kdf.pbkdf2("sha256", b"x", b"y", 1, 1),
    ):
        with pytest.raises(Unsupported, match=r"hashlib: no .*libcrypto: libcrypto\.so\.none"):
            call()


@pytest.mark.parametrize(("iterations", "length"), [(0, 32), (-1, 32), (1, 0)])
def test_impossible_pbkdf2_is_malformed(iterations: int, length: int) -> None:
    with pytest.raises(MalformedHeader):
        kdf.pbkdf2("sha256", b"x", b"y", iterations, length)


def test_more_iterations_than_openssl_counts_are_unsupported() -> None:
    with pytest.raises(Unsupported, match="2147483648 iterations"):
        kdf.pbkdf2("sha256", b"x", b"y", 2**31, 32)


def test_whirlpool_does_not_change_what_hashlib_offers() -> None:
    try:
        kdf.new_hash("whirlpool")
    except Unsupported as error:
        pytest.skip(str(error))
    before = "whirlpool" in hashlib.algorithms_available
    if not before:
        with pytest.raises(ValueError):
            hashlib.new("whirlpool")
    assert hashlib.sha256(b"abc").hexdigest() == ABC["sha256"]


def test_missing_library_gives_its_reason() -> None:
    with pytest.raises(hashes.NotProvided, match=r"libcrypto\.so\.none.*; .*libcrypto\.so\.nothing"):
        libcrypto.load(["libcrypto.so.none", "libcrypto.so.nothing"])


def test_a_library_that_fails_when_it_is_tried_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_given: t.Any) -> t.NoReturn:
        raise NotProvided("the legacy provider is not there")

    library = types.SimpleNamespace(lasting_context=lambda *_names: None, digest=fails, derive=fails)
    monkeypatch.setattr(hashes.LibcryptoLegacy, "_library", lambda _provider: library)
    names: t.Any = types.SimpleNamespace(openssl="RIPEMD160")
    for ability in (hashes.LibcryptoLegacy().new, hashes.LibcryptoLegacy().pbkdf2):
        with pytest.raises(NotProvided, match="legacy provider"):
            ability(names)


def test_a_package_that_has_no_such_hash_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = pytest.importorskip("cryptography.exceptions")

    def fails(*_given: t.Any) -> t.NoReturn:
        raise exceptions.UnsupportedAlgorithm("not in FIPS mode")

    monkeypatch.setattr("cryptography.hazmat.primitives.hashes.Hash", fails)
    monkeypatch.setattr("cryptography.hazmat.primitives.kdf.pbkdf2.PBKDF2HMAC", fails)
    names: t.Any = types.SimpleNamespace(cryptography="SHA256", hashlib="sha256", size=32)
    for ability in (hashes.Cryptography().new, hashes.Cryptography().pbkdf2):
        with pytest.raises(NotProvided, match="not in FIPS mode"):
            ability(names)
