# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A libcrypto that cannot or does not do what it is asked says so, and nothing comes back that looks like a result."""

from __future__ import annotations

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
