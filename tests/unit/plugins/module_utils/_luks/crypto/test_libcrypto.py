# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A libcrypto that cannot or does not do what it is asked says so, and nothing comes back that looks like a result."""

from __future__ import annotations

import collections
import ctypes
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import libcrypto, openssl3
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.providers import NotProvided


@pytest.fixture
def library() -> openssl3.LibCrypto3:
    for name in libcrypto.LIBRARIES:
        try:
            return openssl3.LibCrypto3(name)
        except NotProvided:
            continue
    pytest.skip("not installed here: libcrypto")


@pytest.fixture
def context(library: openssl3.LibCrypto3) -> t.Iterator[int]:
    if not library.by_name:
        pytest.skip(f"{library.version} has no contexts")
    with library.context("default") as opened:
        yield opened


def test_no_such_library() -> None:
    with pytest.raises(NotProvided):
        openssl3.LibCrypto3("libcrypto.so.none")


def test_no_such_cipher(library: openssl3.LibCrypto3) -> None:
    with pytest.raises(NotProvided, match="has no rot_13"):
        library.cipher("rot_13")


@pytest.mark.parametrize("encrypt", [True, False])
def test_a_part_of_a_block_is_no_ciphertext(library: openssl3.LibCrypto3, encrypt: bool) -> None:
    """The cipher keeps the rest of the block for later and calls that a success."""
    buffer = bytearray(31)
    with pytest.raises(NotProvided, match="refused to run the cipher"):
        library.crypt(library.cipher("aes_256_cbc"), bytes(32), [(0, 31, bytes(16))], buffer, encrypt)


def test_no_such_provider(library: openssl3.LibCrypto3, context: int) -> None:
    with pytest.raises(NotProvided, match="cannot load its 'no-such-provider' provider"):
        library.lasting_context("no-such-provider")


def test_a_library_without_contexts(library: openssl3.LibCrypto3) -> None:
    library.by_name = False
    with pytest.raises(NotProvided, match=r"is older than 3\.0"):
        library.lasting_context("default")


def test_no_such_hash(library: openssl3.LibCrypto3, context: int) -> None:
    assert len(library.digest(context, "sha256", b"abc")) == 32
    with pytest.raises(NotProvided, match="has no md7"):
        library.digest(context, "md7", b"abc")


def test_no_such_derivation(library: openssl3.LibCrypto3, context: int) -> None:
    for ask in (lambda: library.has_derivation(context, "PBKDF7"), lambda: library.derive(context, "PBKDF7", {}, 32)):
        with pytest.raises(NotProvided, match="has no PBKDF7"):
            ask()


def test_a_derivation_without_its_parameters(library: openssl3.LibCrypto3, context: int) -> None:
    library.has_derivation(context, "PBKDF2")
    with pytest.raises(NotProvided, match="could not compute PBKDF2"):
        library.derive(context, "PBKDF2", {"pass": b"secret"}, 32)


def test_no_error_is_left_for_others(library: openssl3.LibCrypto3, context: int) -> None:
    """hashlib and ssl would report it as their own."""
    for ask in (lambda: library.digest(context, "md7", b"abc"), lambda: library.derive(context, "PBKDF2", {}, 32)):
        with pytest.raises(NotProvided):
            ask()
        peek = library._library.ERR_peek_error
        peek.restype, peek.argtypes = ctypes.c_ulong, ()
        assert peek() == 0


# What makes an object of the library, and what frees it.
FREED = {
    "EVP_CIPHER_CTX_new": "EVP_CIPHER_CTX_free",
    "OSSL_LIB_CTX_new": "OSSL_LIB_CTX_free",
    "OSSL_PROVIDER_load": "OSSL_PROVIDER_unload",
    "EVP_MD_fetch": "EVP_MD_free",
    "EVP_KDF_fetch": "EVP_KDF_free",
    "EVP_KDF_CTX_new": "EVP_KDF_CTX_free",
}


class Counted:
    """A library, and how many objects of each kind it made and freed."""

    def __init__(self, library: t.Any) -> None:
        self._library = library
        self.made: t.Counter[str] = collections.Counter()
        self.freed: t.Counter[str] = collections.Counter()

    def __getattr__(self, name: str) -> t.Callable[..., t.Any]:
        def call(*given: t.Any) -> t.Any:
            found = getattr(self._library, name)(*given)
            if name in FREED and found:
                self.made[FREED[name]] += 1
            elif name in FREED.values():
                self.freed[name] += 1
            return found

        return call


def test_what_the_library_makes_is_freed(library: openssl3.LibCrypto3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it fails; some of these objects hold keys and secrets, which the library wipes then."""
    cipher, counted = library.cipher("aes_256_cbc"), Counted(library._library)
    monkeypatch.setattr(library, "_library", counted)
    library.crypt(cipher, bytes(32), [(0, 32, bytes(16))], bytearray(32), True)
    with pytest.raises(NotProvided):
        library.crypt(cipher, bytes(32), [(0, 31, bytes(16))], bytearray(31), True)
    expected = {"EVP_CIPHER_CTX_free": 2}
    if library.by_name:
        parameters: t.Any = {"pass": b"secret", "salt": bytes(16), "iter": 1000, "digest": "SHA256"}
        with library.context("default") as opened:
            library.digest(opened, "sha256", b"abc")
            library.has_derivation(opened, "PBKDF2")
            library.derive(opened, "PBKDF2", parameters, 32)
            with pytest.raises(NotProvided, match="could not compute"):
                library.derive(opened, "PBKDF2", {"pass": b"secret"}, 32)
        with pytest.raises(NotProvided, match="cannot load"), library.context("default", "no-such-provider"):
            pass
        expected.update(OSSL_LIB_CTX_free=2, OSSL_PROVIDER_unload=2, EVP_MD_free=1, EVP_KDF_free=3)
        expected.update(EVP_KDF_CTX_free=2)
    assert counted.made == counted.freed == expected
