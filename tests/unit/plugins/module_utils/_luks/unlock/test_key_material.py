# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is computed on the way to a key is wiped, and what this host cannot compute is said."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Unsupported
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Digest, UnknownKdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import key_material
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.apply.step_log import Log

BOTH = pytest.mark.parametrize("format", ["luks1", "luks2"])
KEY = bytearray(range(64))


@pytest.fixture
def wiped(monkeypatch: pytest.MonkeyPatch) -> t.List[bytes]:
    """What was in each buffer that was wiped."""
    found: t.List[bytes] = []
    monkeypatch.setattr(key_material, "wipe", lambda buffer: found.append(bytes(buffer)))
    return found


@BOTH
def test_what_is_on_the_way_to_a_key_is_wiped(format: str, wiped: t.List[bytes]) -> None:
    slot = Log(format).header.keyslots[0]
    derived, key = bytearray(range(slot.area_key_size)), KEY[: slot.key_size]
    material = key_material.seal(slot, derived, key)
    split = wiped.pop()
    assert not wiped and len(split) >= slot.key_size * slot.af_stripes
    assert key_material.unseal(slot, derived, material) == key
    assert wiped == [split]


@BOTH
def test_the_digest_of_a_candidate_is_wiped(format: str, wiped: t.List[bytes]) -> None:
    digest = Log(format).header.digests[0]
    assert not key_material.matches(digest, KEY)
    assert wiped == [kdf.pbkdf2(digest.hash, KEY, digest.salt, digest.iterations, len(digest.value))]


@pytest.mark.parametrize(
    "lacking", ["kdf.check", "kdf.hash_size", "cipher.check"], ids=lambda name: name.replace(".", " ")
)
def test_what_cannot_be_tried_here_is_said(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    header = Log("luks2").header
    slot, budget = header.keyslots[0], kdf.Budget()

    def fail(*_asked: t.Any, **_options: t.Any) -> t.NoReturn:
        raise Unsupported("hash", "whirlpool")

    room, name = lacking.split(".")
    assert key_material.why_untriable(slot, [], budget=budget) == ""
    monkeypatch.setattr(getattr(key_material, room), name, fail)
    assert "whirlpool" in key_material.why_untriable(slot, [], budget=budget)


def test_only_what_looks_like_hex_digits_is_called_that() -> None:
    header: t.Any = types.SimpleNamespace(key_size=32, digests=[])
    wrong = {"hex": bytearray(b"0123456789abCDEF" * 4), "raw": KEY}
    told = {name: key_material.why_not_the_key(header, key, kdf.Budget()) for name, key in wrong.items()}
    assert "looks like hex digits" in told["hex"] and "hex" not in told["raw"]
    assert all("it has 64 bytes, and the volume key has 32" in one for one in told.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encryption": "cast6-xts-plain64"}, ("its key has 512 bits", "luksConvertKey", "reencrypt --cipher")),
        ({"encryption": "aes-hctr2-plain64"}, ("mode 'hctr2'", "its key has 512 bits", "luksConvertKey")),
        ({"encryption": "aes-xts-random"}, ("IV generator 'random'", "its key has 512 bits", "luksConvertKey")),
        ({"af_hash": "stribog256"}, ("unsupported hash 'stribog256'", "cryptsetup reencrypt --hash")),
        ({"kdf": UnknownKdf("scrypt")}, ("unsupported key derivation 'scrypt'", "erase the keyslot by its number")),
        ({"kind": "reencrypt"}, ("of type 'reencrypt', which is not for secrets",)),
    ],
    ids=["cipher", "mode", "iv", "hash", "derivation", "kind"],
)
def test_the_reason_says_what_helps(change: t.Any, words: t.Sequence[str]) -> None:
    slot = Log("luks2").header.keyslots[0]._replace(**{"area_key_size": 64, **change})
    told = key_material.why_untriable(slot, [], budget=kdf.Budget())
    assert all(word in told for word in words), told
    assert "libnettle8" not in told, "it would not help"


def test_a_digest_that_costs_too_much_is_not_computed() -> None:
    slot, budget = Log("luks2").header.keyslots[0], kdf.Budget()
    dear = Digest(0, "pbkdf2", "sha256", 1 << 31, bytes(32), bytes(32), (0,), (0,))
    assert key_material.why_untriable(slot, [dear], budget=budget)
    header: t.Any = types.SimpleNamespace(key_size=64, digests=[dear])
    assert "its digest cannot be computed" in key_material.why_not_the_key(header, KEY, budget)
