# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argon2: fixed vectors through every library, the order of the providers, and what is said when none can."""

from __future__ import annotations

import sys
import threading
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import argon2, kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.providers import NotProvided
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BudgetExceeded, Unsupported
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.crypto.one_provider import alone, named

# Test vectors of the reference implementation (version 0x13): "password", "somesalt", 2 passes, 256 KiB, then 1 or 2
# lanes.
VECTORS = [
    ("argon2i", 1, "89e9029f4637b295beb027056a7336c414fadd43f6b208645281cb214a56452f"),
    ("argon2i", 2, "4ff5ce2769a1d7f4c8a491df09d41a9fbe90e5eb02155a13e4c01e20cd4eab61"),
    ("argon2id", 1, "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"),
    ("argon2id", 2, "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"),
]


@pytest.mark.parametrize("provider", argon2.PROVIDERS, ids=named)
@pytest.mark.parametrize(("kind", "lanes", "expected"), VECTORS)
def test_reference_vectors(provider: argon2.Argon2Provider, kind: str, lanes: int, expected: str) -> None:
    with alone(argon2.PROVIDERS, provider, lambda one: one.ability(kind)):
        assert (
            argon2.argon2(kind, bytearray(b"password"), b"somesalt", argon2.Argon2Costs(2, 256, lanes, 32)).hex()
            == expected
        )
        assert argon2.argon2_provider(kind) == provider.name


@pytest.mark.parametrize("kind", argon2.TYPES)
@pytest.mark.parametrize("secret", [b"", b"\0", b"x" * 600, memoryview(b"view")], ids=["empty", "nul", "long", "view"])
def test_all_libraries_agree(kind: str, secret: kdf.Bytes) -> None:
    seen = []
    for provider in argon2.PROVIDERS:
        try:
            derive = provider.ability(kind)
        except NotProvided:
            continue
        seen.append(bytes(derive(secret, b"salt" * 8, argon2.Argon2Costs(4, 67, 3, 64))))
    assert len(seen) >= 1
    assert len(set(seen)) == 1


class Fake:
    def __init__(self, name: str, kinds: t.Sequence[str]) -> None:
        self.name = name
        self.kinds = kinds

    def ability(self, kind: str) -> argon2.Derive:
        if kind not in self.kinds:
            raise NotProvided(f"has no {kind}")

        def fails(secret: kdf.Bytes, salt: bytes, costs: argon2.Argon2Costs) -> bytearray:
            raise argon2.Failed("Memory allocation error")

        return fails


@pytest.mark.parametrize("provider", argon2.PROVIDERS, ids=named)
def test_failing_library_never_gives_a_key(provider: argon2.Argon2Provider) -> None:
    too_little_memory = argon2.Argon2Costs(4, 1, 4, 32)
    with alone(argon2.PROVIDERS, provider, lambda one: one.ability("argon2id")), pytest.raises(
        BudgetExceeded, match=provider.name
    ):
        argon2.argon2("argon2id", b"x", b"s" * 32, too_little_memory)


def test_order_of_the_ladder() -> None:
    assert [provider.name for provider in argon2.PROVIDERS] == ["argon2-cffi", "libcrypto", "libargon2", "cryptography"]


def test_first_rung_with_the_type_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argon2, "PROVIDERS", [Fake("new", ["argon2id"]), Fake("old", ["argon2id", "argon2i"])])
    assert (argon2.argon2_provider(), argon2.argon2_provider("argon2i")) == ("new", "old")


def test_library_without_memory_is_a_budget_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argon2, "PROVIDERS", [Fake("some", ["argon2id"])])
    with pytest.raises(
        BudgetExceeded, match=r"(?i)argon2id over 1048576 KiB failed in some \(Memory allocation error\)"
    ):
        argon2.argon2("argon2id", b"x", b"s" * 32, argon2.Argon2Costs(4, 1048576, 4, 64))


def test_no_rung_names_all_four_and_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("argon2", "cryptography", "cryptography.exceptions", "cryptography.hazmat.primitives.kdf"):
        monkeypatch.setitem(sys.modules, module, None)
    providers = [
        argon2.Argon2Cffi(),
        argon2.Libcrypto(["libcrypto.so.none"]),
        argon2.Libargon2("libargon2.so.none"),
        argon2.Cryptography(),
    ]
    monkeypatch.setattr(argon2, "PROVIDERS", providers)
    with pytest.raises(Unsupported) as caught:
        argon2.argon2_provider("argon2i")
    assert (caught.value.what, caught.value.name) == ("key derivation", "argon2i")
    for provider in providers:
        assert f"{provider.name}: " in str(caught.value)
    assert "libargon2-1" in str(caught.value)


def test_a_package_that_has_argon2_over_an_openssl_without_it_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class UnsupportedAlgorithm(Exception):
        pass

    def refuse(**_costs: t.Any) -> t.NoReturn:
        raise UnsupportedAlgorithm

    errors = types.SimpleNamespace(UnsupportedAlgorithm=UnsupportedAlgorithm)
    derivations = types.SimpleNamespace(argon2=types.SimpleNamespace(Argon2id=refuse))
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", errors)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.kdf", derivations)
    with pytest.raises(NotProvided, match="this version has no argon2id"):
        argon2.Cryptography().ability("argon2id")


def test_cryptography_derives_one_at_a_time() -> None:
    provider = argon2.Cryptography()
    try:
        derive = provider.ability("argon2id")
    except NotProvided as reason:
        pytest.skip(str(reason))
    finished: t.List[bytearray] = []
    thread = threading.Thread(target=lambda: finished.append(derive(b"x", b"s" * 32, argon2.Argon2Costs(1, 16, 2, 32))))
    with provider._one_at_a_time:
        thread.start()
        thread.join(0.05)
        assert finished == []
    thread.join(30)
    assert len(finished) == 1


@pytest.mark.parametrize("provider", argon2.PROVIDERS, ids=named)
def test_threads_do_not_wait_for_each_other_for_ever(provider: argon2.Argon2Provider) -> None:
    results: t.List[bytes] = []
    with alone(argon2.PROVIDERS, provider, lambda one: one.ability("argon2id")):
        derive = provider.ability("argon2id")

        def work() -> None:
            for _round in range(5):
                results.append(bytes(derive(b"x", b"s" * 32, argon2.Argon2Costs(2, 256, 4, 32))))

        threads = [threading.Thread(target=work, daemon=True) for _thread in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(results) == 15
    assert len(set(results)) == 1
