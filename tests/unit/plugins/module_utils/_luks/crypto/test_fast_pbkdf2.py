# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PBKDF2 by the fastest library: the same bytes as hashlib in random cases, and who wins the race."""

from __future__ import annotations

import functools
import hashlib
import random
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import fast_pbkdf2, gcrypt, hashes, kdf, nettle
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.providers import NotProvided
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Argon2, Pbkdf2

NETTLE = ("sha1", "sha256", "sha384", "sha512")
GCRYPT = {"sha1": 2, "sha224": 11, "sha256": 8, "sha384": 9, "sha512": 10, "ripemd160": 3}
CASES = [pytest.param(200, id="short"), pytest.param(10_000, id="long", marks=pytest.mark.full)]


def of_nettle(name: str) -> fast_pbkdf2.Derive:
    return nettle.load().pbkdf2(name)


def of_gcrypt(name: str) -> fast_pbkdf2.Derive:
    return functools.partial(gcrypt.load().pbkdf2, GCRYPT[name])


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize(
    ("library", "name"), [*((of_nettle, name) for name in NETTLE), *((of_gcrypt, name) for name in GCRYPT)]
)
def test_equal_to_hashlib_in_random_cases(
    library: t.Callable[[str], fast_pbkdf2.Derive], name: str, cases: int
) -> None:
    try:
        derive = library(name)
        hashlib.pbkdf2_hmac(name, b"", b"", 1)
    except (NotProvided, ValueError) as reason:
        pytest.skip(str(reason))
    dice = random.Random(name)
    for _case in range(cases):
        # Secrets around the size of an input block, above which HMAC hashes them.
        secret = dice.randbytes(dice.choice((0, 1, 20, 63, 64, 65, 127, 128, 129, 600)))
        salt, iterations, length = dice.randbytes(dice.randrange(1, 65)), dice.randrange(1, 40), dice.randrange(1, 129)
        try:
            found = bytes(derive(secret, salt, iterations, length))
        except NotProvided:
            # Some releases of Libgcrypt refuse an empty passphrase.
            assert library is of_gcrypt and not secret
            continue
        assert found == hashlib.pbkdf2_hmac(name, secret, salt, iterations, length)


def wrong(secret: t.Any, salt: bytes, iterations: int, length: int) -> bytes:
    return bytes(length)


def right(secret: t.Any, salt: bytes, iterations: int, length: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", secret, salt, iterations, length)


usual = functools.partial(hashlib.pbkdf2_hmac, "sha256")


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., fast_pbkdf2.Contestant]:
    """A race between ``usual`` and others whose times are given."""

    def run(seconds: t.Mapping[t.Any, float]) -> fast_pbkdf2.Contestant:
        monkeypatch.setattr(fast_pbkdf2, "_won", {})
        monkeypatch.setattr(fast_pbkdf2, "_contestants", lambda name: [one for one in seconds if one is not usual])
        monkeypatch.setattr(fast_pbkdf2, "_seconds", lambda one: seconds[one])
        return fast_pbkdf2.fastest("sha256", "hashlib", usual)

    return run


def test_the_fastest_wins(race: t.Any) -> None:
    assert race({usual: 1.0, right: 0.5}) == (right, 2.0)


def test_what_is_slower_or_hardly_faster_does_not_win(race: t.Any) -> None:
    assert race({usual: 1.0, right: 1.5}) == (usual, 1.0)
    assert race({usual: 1.0, right: 0.97}) == (usual, 1.0)


def test_what_gives_other_bytes_does_not_win(race: t.Any) -> None:
    assert race({usual: 1.0, wrong: 0.1}) == (usual, 1.0)


def test_one_race_for_each_hash(race: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = race({usual: 1.0, right: 0.5})
    monkeypatch.setattr(fast_pbkdf2, "_race", lambda name, other: pytest.fail("a second race"))
    assert fast_pbkdf2.fastest("sha256", "hashlib", functools.partial(usual)) == first


def test_a_short_derivation_loads_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_pbkdf2, "_race", lambda name, other: pytest.fail("a race"))
    assert kdf.pbkdf2("sha256", b"a", b"b", 1000, 32) == hashlib.pbkdf2_hmac("sha256", b"a", b"b", 1000, 32)


@pytest.mark.parametrize("load", ["nettle", "gcrypt"])
def test_no_library_takes_part_that_is_not_there(load: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> t.NoReturn:
        raise NotProvided("not installed")

    monkeypatch.setattr(fast_pbkdf2.nettle, "load", absent)
    monkeypatch.setattr(fast_pbkdf2.gcrypt, "load", absent)
    assert list(fast_pbkdf2._contestants("sha256")) == []


def test_a_long_derivation_gives_what_hashlib_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "WORTH_A_RACE", 1)
    monkeypatch.setattr(fast_pbkdf2, "_won", {})
    for name in ("sha1", "SHA256", "sha512", "ripemd160"):
        assert kdf.pbkdf2(name, b"a", b"b" * 32, 5000, 64) == hashlib.pbkdf2_hmac(
            name.lower(), b"a", b"b" * 32, 5000, 64
        )


def test_a_time_is_told_as_openssl_would_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """``iter_time`` is about the program that opens the volume at boot, not about this collection."""
    monkeypatch.setattr(fast_pbkdf2, "_won", {("sha256", "hashlib"): fast_pbkdf2.Contestant(right, 2.5)})
    assert hashes.pace("sha256", 10**6, 32) == 2.5
    assert kdf.usual_seconds(Pbkdf2("sha256", 10**6, b"s" * 32), 32, 4.0) == 10.0
    assert kdf.usual_seconds(Pbkdf2("sha256", 1000, b"s" * 32), 32, 4.0) == 4.0
    assert kdf.usual_seconds(Argon2("argon2id", 4, 64, 1, b"s" * 32), 32, 4.0) == 4.0


def test_no_copy_of_a_key_is_left_where_the_library_fills_a_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    filled = bytearray(b"k" * 32)
    monkeypatch.setattr(hashes, "pbkdf2_function", lambda name: lambda secret, salt, iterations, length: filled)
    assert kdf.pbkdf2("sha256", b"a", b"b", 1000, 32) is filled


def test_no_key_is_left_on_the_stack_of_nettle() -> None:
    """It leaves its contexts there; the same call with nothing secret overwrites them."""
    called: t.List[t.Tuple[int, int]] = []

    def pbkdf2(size: int, _secret: int, iterations: int, *_rest: int) -> None:
        called.append((size, iterations))

    library: t.Any = types.SimpleNamespace(_library=types.SimpleNamespace(nettle_pbkdf2_hmac_sha256=pbkdf2))
    nettle.LibNettle.pbkdf2(library, "sha256")(b"secret", bytes(8), 1000, 32)
    assert called == [(6, 1000), (0, 1)]


def test_a_library_that_fails_when_it_is_tried_is_not_in_the_race(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_given: t.Any) -> t.NoReturn:
        raise NotProvided("not with this key")

    for name, pbkdf2 in (("nettle", lambda _name: fails), ("gcrypt", fails)):
        library = types.SimpleNamespace(pbkdf2=pbkdf2)
        monkeypatch.setattr(fast_pbkdf2, name, types.SimpleNamespace(load=lambda library=library: library))
    assert list(fast_pbkdf2._contestants("sha256")) == []


def test_what_is_timed_is_a_derivation() -> None:
    asked: t.List[int] = []
    derive: t.Any = lambda _secret, _salt, iterations, _length: asked.append(iterations)
    fast_pbkdf2._seconds(derive)
    assert asked == [fast_pbkdf2._ITERATIONS] * fast_pbkdf2._ROUNDS
