# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clevis seals is asked for again before it counts: a JWE that yields another key is never a binding."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply import seal
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.desired import Binding

URL = "http://tang.example.com"
TANG = Binding("clevis", pin="tang", config=json.dumps({"url": URL}))


@pytest.fixture
def clevis(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., t.List[bytes]]:
    """A clevis that seals to the server ``url`` and yields what ``back`` makes of the key; the keys that it got."""

    def fake(url: str = URL, back: t.Callable[[bytes], bytes] = bytes) -> t.List[bytes]:
        keys: t.List[bytes] = []
        header = json.dumps({"clevis": {"pin": "tang", "tang": {"url": url}}}).encode()
        jwe = b".".join([base64.urlsafe_b64encode(header).rstrip(b"="), b"", b"aXY", b"dGV4dA", b"dGFn"])

        def encrypt(_command: t.Any, secret: bytearray, *_more: t.Any, **_options: t.Any) -> bytearray:
            keys.append(bytes(secret))
            return bytearray(jwe + b"\n")

        monkeypatch.setattr(seal.clevis, "program", lambda: "clevis")
        monkeypatch.setattr(seal.child, "answer", encrypt)
        monkeypatch.setattr(seal.clevis, "passphrase", lambda _jwe: bytearray(back(keys[-1])))
        return keys

    return fake


def test_a_key_that_comes_back(clevis: t.Callable[..., t.List[bytes]]) -> None:
    keys = clevis()
    made = seal.sealed(TANG, bytearray())
    assert [bytes(made.secret)] == keys and made.token["type"] == "clevis"


def test_another_key(clevis: t.Callable[..., t.List[bytes]]) -> None:
    clevis(back=lambda key: key[:-1] + b"?")
    with pytest.raises(Refused, match="for another key"):
        seal.sealed(TANG, bytearray())


def test_another_server(clevis: t.Callable[..., t.List[bytes]]) -> None:
    clevis(url="http://other.example.com")
    with pytest.raises(Refused, match="of another kind"):
        seal.sealed(TANG, bytearray())
