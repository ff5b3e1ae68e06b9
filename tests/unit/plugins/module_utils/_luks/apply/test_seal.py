# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clevis seals is asked for again before it counts: a JWE that yields another key is never a binding. Nor is a
token that systemd-cryptenroll makes for other PCRs.
"""

from __future__ import annotations

import base64
import json
import os
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply import scratch, seal
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import fresh
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2.codec import parse
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


PCRS = Binding("systemd-tpm2", pcrs=(7,))
TOKEN = {"type": "systemd-tpm2", "tpm2-blob": "x", "tpm2-pcrs": [7], "tpm2-policy-hash": "y"}


@pytest.fixture
def enrolled(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., t.List[t.Any]]:
    """A systemd-cryptenroll that opens the header with the keyfile and adds this token; what it was told."""

    def fake(token: t.Optional[t.Dict[str, t.Any]]) -> t.List[t.Any]:
        told: t.List[t.Any] = []

        def typed(command: t.List[str], pin: bytearray, _words: t.Any, pass_fds: t.Tuple[int, int]) -> None:
            file, key = pass_fds
            told.extend([command[2:5], bytes(pin), os.pread(key, 100, 0), os.fstat(key).st_mode & 0o777])
            header = parse(lambda offset, size: os.pread(file, size, offset), os.fstat(file).st_size)
            material = os.pread(file, header.keyslots[0].area.size, header.keyslots[0].area.offset)
            told.append(any(material))
            if token is not None:
                tree = header.metadata
                tree["tokens"]["0"] = {"keyslots": ["0"], **token}
                for copy in fresh.copies(header.keyslots[0].area.offset // 2, tree, header.uuid.encode()):
                    os.pwrite(file, copy.block, copy.offset)

        monkeypatch.setattr(seal.shutil, "which", lambda program: f"/usr/bin/{program}")
        monkeypatch.setattr(seal.child, "typed", typed)
        monkeypatch.setattr(seal.token_plugin, "passphrase", lambda *_token: bytearray(b"sealed"))
        return told

    return fake


def test_a_token_with_the_pcrs_that_are_wanted(enrolled: t.Callable[..., t.List[t.Any]]) -> None:
    told, before = enrolled(TOKEN), os.listdir("/proc/self/fd")
    made = seal.sealed(PCRS, bytearray(b"1234"))
    assert made.secret == b"sealed" and made.token["tpm2-pcrs"] == [7]
    words = ["--tpm2-device=auto", "--tpm2-pcrs=7", "--tpm2-with-pin=yes"]
    assert told == [words, b"1234", bytes(scratch.SECRET), 0o400, True]
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("token", "words"), [(None, "made no token"), ({**TOKEN, "tpm2-pcrs": [7, 11]}, "made a token with other PCRs")]
)
def test_no_such_token(
    enrolled: t.Callable[..., t.List[t.Any]], token: t.Optional[t.Dict[str, t.Any]], words: str
) -> None:
    enrolled(token)
    with pytest.raises(Refused, match=words):
        seal.sealed(PCRS, bytearray())


def test_no_systemd_cryptenroll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal.shutil, "which", lambda _program: None)
    with pytest.raises(Refused, match="systemd-cryptenroll is not installed"):
        seal.sealed(PCRS, bytearray())


def test_what_is_compared_and_what_opens_the_scratch_header_are_wiped(
    clevis: t.Callable[..., t.List[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped: t.List[bytes] = []
    for module in (seal, scratch):
        monkeypatch.setattr(module, "wipe", lambda buffer: wiped.append(bytes(buffer)))
    keys = clevis()
    seal.sealed(TANG, bytearray())
    assert wiped == keys
    del wiped[:]
    keys = clevis(back=lambda key: key[:-1] + b"?")
    with pytest.raises(Refused, match="for another key"):
        seal.sealed(TANG, bytearray())
    assert wiped == [keys[0][:-1] + b"?", keys[0]]
    del wiped[:]
    os.close(scratch.scratch_header())
    assert len(wiped) == 1 and any(wiped[0])
