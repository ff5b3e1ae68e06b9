# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fingerprints are equal where a key is, and whoever lacks one of the two keys of the run cannot try a guess."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils import _prints
from ansible_collections.luksmith.luks.plugins.plugin_utils._prints import key_for_hosts, rekeyed


def made(secret: bytes, key: bytes) -> str:
    """As the host makes it of a secret."""
    return hmac.new(key, b"secret\0" + secret, hashlib.sha256).hexdigest()


def of_host(*secrets: bytes) -> t.Dict[str, t.Any]:
    key = bytes.fromhex(key_for_hosts())
    return {
        "prints": {
            "volume_key": "0" * 64,
            "secrets": {str(number): made(one, key) for number, one in enumerate(secrets)},
        }
    }


def test_equal_secrets_have_equal_prints_and_no_others_have() -> None:
    one, other = rekeyed(of_host(b"a", b"b")), rekeyed(of_host(b"b"))
    assert one["prints"]["secrets"]["1"] == other["prints"]["secrets"]["0"] != one["prints"]["secrets"]["0"]
    assert one["prints"]["volume_key"] == other["prints"]["volume_key"]


def test_neither_a_host_nor_a_reader_can_try_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host has the key for hosts, a reader of results has the prints: both together are not enough."""
    seen = rekeyed(of_host(b"winter"))["prints"]["secrets"]["0"]
    known = [b"", b"winter", bytes.fromhex(key_for_hosts())]
    tries = {hmac.new(key, text, hashlib.sha256).hexdigest() for key, text in itertools.product(known, known)}
    tries |= {made(b"winter", key) for key in known}
    tries |= {hmac.new(key, one.encode(), hashlib.sha256).hexdigest() for key in known for one in list(tries)}
    assert seen not in tries
    monkeypatch.setattr(_prints, "_OWN", os.urandom(32))
    assert rekeyed(of_host(b"winter"))["prints"]["secrets"]["0"] != seen, "another run has other ones"


@pytest.mark.parametrize(
    "prints",
    [None, 7, [], {"secrets": 7}, {"volume_key": "x" * 64}, {"secrets": {"a": "A" * 64}}, {"secrets": {1: None}}],
)
def test_what_is_no_fingerprint_is_left_out(prints: t.Any) -> None:
    found = rekeyed({"device": "/dev/a", "prints": prints})
    assert found["device"] == "/dev/a" and not found.get("prints", {}).get("secrets")
    assert "volume_key" not in found.get("prints", {})
