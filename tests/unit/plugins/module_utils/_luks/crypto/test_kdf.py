# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Budgets: hostile or impossible costs are refused before a step is computed, and the refusal names the values."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import argon2, hashes, kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import (
    BudgetExceeded,
    LuksmithError,
    MalformedHeader,
    Unsupported,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Argon2, Kdf, Pbkdf2, UnknownKdf

SALT = bytes(range(32))
BUDGET = kdf.Budget()


class Derived(Exception):
    """A refusal came too late."""


@pytest.fixture
def no_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    def derived(*arguments: t.Any) -> t.Any:
        raise Derived

    class Provider:
        name = "rung"

        def ability(self, kind: str) -> argon2.Derive:
            return derived

    monkeypatch.setattr(argon2, "PROVIDERS", [Provider()])
    monkeypatch.setattr(hashes, "pbkdf2", derived)
    monkeypatch.setattr(kdf, "pbkdf2", derived)
    monkeypatch.setattr(kdf, "available_memory", lambda: 8 * 1024 * 1024)


def argon(time: int = 4, memory: int = 65536, parallel: int = 4, salt: bytes = SALT, kind: str = "argon2id") -> Argon2:
    return Argon2(kind, time, memory, parallel, salt)


REFUSED: t.List[t.Tuple[Kdf, t.Type[LuksmithError], str]] = [
    (Pbkdf2("sha256", 0, SALT), MalformedHeader, "0 iterations"),
    (Pbkdf2("sha256", -1, SALT), MalformedHeader, "-1 iterations"),
    (Pbkdf2("sha256", 2**32 - 1, SALT), BudgetExceeded, "4294967295 iterations.*100000000"),
    (Pbkdf2("sha256", 100_000_001, SALT), BudgetExceeded, "100000001"),
    (Pbkdf2("sha255", 1000, SALT), Unsupported, "hash 'sha255'"),
    (argon(time=0), MalformedHeader, "0 passes"),
    (argon(time=-1), MalformedHeader, "-1 passes"),
    (argon(parallel=0), MalformedHeader, "0 lanes"),
    (argon(memory=31), MalformedHeader, "at least 8 KiB"),
    (argon(memory=-5), MalformedHeader, "-5 KiB"),
    (argon(time=2**32), MalformedHeader, "32-bit"),
    (argon(memory=2**32 + 65536), MalformedHeader, "32-bit"),
    (argon(salt=b"1234567"), MalformedHeader, "8 bytes of salt"),
    (argon(time=100_001, memory=64), BudgetExceeded, "100001 passes.*100000"),
    (argon(parallel=17), BudgetExceeded, "17 lanes.*16"),
    (argon(memory=4194305), BudgetExceeded, "4194305 KiB.*4194304"),
    (argon(time=65, memory=4194304), BudgetExceeded, "65 passes over 4194304 KiB"),
    (argon(kind="argon2d"), Unsupported, "argon2d"),
    (UnknownKdf("scrypt"), Unsupported, "scrypt"),
]


@pytest.mark.parametrize(("asked", "error", "words"), REFUSED, ids=str)
@pytest.mark.usefixtures("no_derivation")
def test_refused_before_any_cost(asked: Kdf, error: t.Type[LuksmithError], words: str) -> None:
    for call in (lambda: kdf.check(asked, budget=BUDGET), lambda: kdf.derive(asked, b"secret", 64, budget=BUDGET)):
        with pytest.raises(error, match=words) as caught:
            call()
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "asked",
    [
        Pbkdf2("sha256", 1, SALT),
        Pbkdf2("SHA512", 100_000_000, SALT),
        argon(time=4, memory=4194304),
        argon(time=4, memory=1048576),
        argon(time=40_000, memory=64, parallel=1),
        argon(kind="argon2i", time=4, memory=32, parallel=4),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_derivation")
def test_sane_headers_pass(asked: Kdf) -> None:
    kdf.check(asked, budget=BUDGET)
    with pytest.raises(Derived):
        kdf.derive(asked, b"secret", 64, budget=BUDGET)


@pytest.mark.usefixtures("no_derivation")
@pytest.mark.usefixtures("no_derivation")
def test_what_openssl_cannot_count_is_refused_whatever_the_limit() -> None:
    limit = kdf.Budget(max_iterations=2**40)
    kdf.check(Pbkdf2("sha256", 2**31 - 1, SALT), budget=limit)
    with pytest.raises(Unsupported, match="OpenSSL supports at most 2147483647 iterations"):
        kdf.check(Pbkdf2("sha256", 2**31, SALT), budget=limit)


def test_each_bound_is_an_option() -> None:
    kdf.check(Pbkdf2("sha256", 200_000_000, SALT), budget=kdf.Budget(max_iterations=200_000_000))
    kdf.check(argon(time=200_000, memory=160, parallel=20), budget=kdf.Budget(max_time=200_000, max_parallel=20))
    kdf.check(argon(memory=6 * 1024 * 1024), budget=kdf.Budget(max_memory=6 * 1024 * 1024))
    kdf.check(argon(time=65, memory=4194304), budget=kdf.Budget(max_work=65 * 4194304))


@pytest.mark.usefixtures("no_derivation")
def test_memory_that_the_host_lacks_is_refused_whatever_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kdf, "available_memory", lambda: 524288)
    kdf.check(argon(memory=524288), budget=BUDGET)
    with pytest.raises(BudgetExceeded, match="524288 KiB available requires 1048576 KiB"):
        kdf.check(argon(memory=1048576), budget=kdf.Budget(max_memory=2**40))


@pytest.mark.usefixtures("no_derivation")
def test_unknown_host_memory_is_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kdf, "available_memory", lambda: None)
    kdf.check(argon(memory=4194304), budget=BUDGET)


def test_a_host_without_argon2_is_told_before_anything_is_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argon2, "PROVIDERS", [])
    with pytest.raises(Unsupported, match="argon2id"):
        kdf.check(argon(), budget=BUDGET)


def test_derive_reaches_both_families() -> None:
    assert (
        kdf.derive(Pbkdf2("sha1", 1, b"salt"), b"password", 20, budget=BUDGET).hex()
        == "0c60c80f961f0e71f3a9b524af6012062fe037a6"
    )
    slot = Argon2("argon2id", 2, 256, 1, b"somesalt")
    try:
        kdf.check(slot, budget=BUDGET)
    except Unsupported as error:
        pytest.skip(str(error))
    derived = kdf.derive(slot, b"password", 32, budget=BUDGET)
    assert isinstance(derived, bytearray)
    assert derived.hex() == "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"
    with pytest.raises(MalformedHeader):
        kdf.derive(slot, b"password", 3, budget=BUDGET)
