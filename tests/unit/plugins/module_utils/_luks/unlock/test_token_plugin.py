# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a token plugin is asked: by a process of its own, which may hang or crash. Other programs stand in for it."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError, Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2.codec import Luks2Header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Token
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.secret_list import SecretList
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.secrets import TokenRequest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.volume_keys import unlocking
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import plugin_child, token_plugin, tokens
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors

Program = t.Callable[[str], None]
PIN = b"pin of the machine"


class StandIn:
    """The part of a header that is used."""

    extent = 1 << 20

    def image(self) -> t.Tuple[bytes, ...]:
        return (b"one", b"two")


HEADER = t.cast(Luks2Header, StandIn())


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    class Loader:
        text = ""

        def get_source(self, _name: str) -> str:
            return self.text

    loader = Loader()
    monkeypatch.setattr(plugin_child.__spec__, "loader", loader)
    return lambda text: setattr(loader, "text", f"import os, sys, time\n{text}")


def test_it_gets_the_header_and_the_pin_and_neither_is_in_its_arguments(program: Program) -> None:
    program(
        "header = open('/proc/self/fd/' + sys.argv[1], 'rb').read()\n"
        "assert header.rstrip(b'\\0') == b'onetwo' and len(header) == 1 << 20\n"
        "seen = open('/proc/self/environ', 'rb').read() + open('/proc/self/cmdline', 'rb').read()\n"
        "pin = os.read(0, 100)\n"
        "assert pin and pin not in seen and sys.argv[2:] == ['3', 'systemd-tpm2', '/dev/tpmrm0']\n"
        "os.write(1, pin + b'\\0\\n')"
    )
    before = open_descriptors()
    found = token_plugin.passphrase(HEADER, 3, "systemd-tpm2", PIN, "/dev/tpmrm0")
    assert found == PIN + b"\0\n"
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        ("sys.exit('no such device')", "ended with 1: no such device"),
        ("os.write(1, b'key'); os.abort()", "was ended by SIGABRT"),
        ("pass", "yielded nothing"),
        ("time.sleep(1000)", "did not end in time"),
    ],
)
def test_one_that_fails_hangs_or_crashes_is_told(program: Program, text: str, words: str) -> None:
    program(text)
    with pytest.raises(Refused, match=words) as caught:
        token_plugin.passphrase(HEADER, 3, "systemd-tpm2", patience=1.0 if "sleep" in text else 60.0)
    assert "the plugin systemd-tpm2 of libcryptsetup" in caught.value.found


@pytest.mark.parametrize(
    ("number", "asked", "pin", "gets"), [(1, (2,), b"1234", b""), (2, (2,), b"1234", b"1234"), (1, (), b"", b"")]
)
def test_a_pin_goes_to_the_token_that_asks_for_one(
    number: int, asked: t.Tuple[int, ...], pin: bytes, gets: bytes
) -> None:
    token = Token(number=number, type="systemd-tpm2", keyslots=(1,))
    assert tokens.pin_for(token, TokenRequest("auto", bytearray(pin)), asked) == gets


@pytest.mark.parametrize(("asked", "pin", "words"), [((2,), b"", "none was given"), ((1, 2), b"1", "okens 1, 2 ask")])
def test_no_pin_and_one_for_two_tokens_are_refused(asked: t.Tuple[int, ...], pin: bytes, words: str) -> None:
    token = Token(number=2, type="systemd-tpm2", keyslots=(1,))
    with pytest.raises(Refused, match=words):
        tokens.pin_for(token, TokenRequest("auto", bytearray(pin)), asked)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"token": "auto", "pin": 1234}, "pin is a number"),
        ({"token": "auto", "pin": ""}, "pin has 0 bytes"),
        ({"token": "auto", "pin": "12\n34"}, "a newline"),
        ({"token": "auto", "device": ""}, "device is ''"),
        ({"passphrase": "x", "pin": "1234"}, "pin or device without token"),
        ({"token": "auto", "pin": "1234", "passphrase": "x"}, "has token and passphrase"),
    ],
)
def test_items_that_are_no_token_are_refused(item: t.Dict[str, t.Any], words: str) -> None:
    with SecretList() as secrets, pytest.raises(LuksmithError, match=words) as caught:
        unlocking(secrets, [item], "unlock")
    assert "1234" not in str(caught.value)


def test_a_pin_is_wiped_with_its_secret() -> None:
    with SecretList() as secrets:
        unlocking(secrets, [{"token": "auto", "pin": "1234", "device": "auto"}], "unlock")
        request = secrets.members[0].token
        assert request == TokenRequest("auto", bytearray(b"1234"), "")
    assert request is not None and request.pin == bytes(4)


@pytest.mark.parametrize(
    ("format", "type", "words"),
    [("luks2", "vendor", "cannot ask a token of this type"), ("luks1", "systemd-tpm2", "LUKS1 has no such tokens")],
)
def test_what_cannot_be_asked_is_not(format: str, type: str, words: str, program: Program) -> None:
    program("os.write(1, b'key')")
    header: t.Any = types.SimpleNamespace(
        format=format, tokens=[Token(3, type, (1,))], metadata={"tokens": {"3": {"type": type, "keyslots": ["1"]}}}
    )
    asked = tokens.ask(header, lambda _offset, size: bytes(size), TokenRequest("3", bytearray(), ""), never, [])
    assert asked.token is None and words in asked.failures[0][1]


def never(secret: bytearray, _token: Token) -> t.Tuple[int, ...]:
    raise AssertionError(f"it yielded {bytes(secret)!r}")


def test_a_python_that_does_not_tell_its_program(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program("os.write(1, b'key')")
    assert token_plugin.passphrase(HEADER, 3, "systemd-tpm2") == b"key"
    monkeypatch.setattr(token_plugin.sys, "executable", "")
    with pytest.raises(Refused, match="Python does not tell its program"):
        token_plugin.passphrase(HEADER, 3, "systemd-tpm2")
