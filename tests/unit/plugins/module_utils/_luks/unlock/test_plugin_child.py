# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that asks a token plugin, with libraries that stand in for libcryptsetup, its plugin and libc. Real ones
are asked in tests/interop.
"""

from __future__ import annotations

import inspect
import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import plugin_child, token_plugin

PIN = b"pin of the machine"
# Runs before the text of the process, in it. WAYS: what goes wrong; NOTES: a file for what was asked.
LIBRARIES = """
import ctypes, errno, json, os

buffer = ctypes.create_string_buffer(b"sealed", 6)

def note(*what):
    with open(NOTES, "a") as file:
        file.write(json.dumps(what) + "\\n")

class Library:
    told = None
    debug = 0

    def __init__(self, name, use_errno=False):
        if name is not None and "no library" in WAYS:
            raise OSError(f"{name}: cannot open shared object file")
        note("opened", name)
        self.crypt_token_external_path = lambda: b"/plugins"

    def crypt_set_log_callback(self, volume, log, own):
        Library.told = log

    def crypt_init(self, volume, path):
        note("header", open(path, "rb").read(6).decode())
        return -errno.ENOMEM if "init" in WAYS else 0

    def crypt_load(self, volume, kind, parameters):
        return -errno.EINVAL if "load" in WAYS else 0

    def crypt_token_status(self, volume, number, type):
        return 2 if "status" in WAYS else 4

    def crypt_set_debug_level(self, level):
        Library.debug = level

    def cryptsetup_token_open_pin(self, volume, number, given, size, secret, length, parameters):
        os.write(2, b"heard of the plugin\\n")
        if Library.told and Library.debug:
            Library.told(0, b"told by libcryptsetup", None)
        pin = bytes(given._obj)[: size.value].decode() if given else ""
        device = getattr(parameters, "_obj", None)
        note("pin", number, pin, device.device.decode() if device else parameters and parameters.decode())
        if "open" in WAYS:
            return -errno.EPERM
        secret._obj.value, length._obj.value = ctypes.addressof(buffer), len(buffer)
        return 0

    def prctl(self, *options):
        note("prctl", *options)

    def write(self, number, secret, length):
        os.write(number, ctypes.string_at(secret, length.value))

def end(code, right=os._exit):
    note("end", code, buffer.raw.decode())
    right(code)

ctypes.CDLL, os._exit = Library, end
"""


class Header:
    extent = 1 << 20

    def image(self) -> t.Tuple[bytes, ...]:
        return (b"header",)


@pytest.fixture
def ask(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., t.Any]:
    """What the process yields, and what it noted."""
    source, notes = inspect.getsource(plugin_child), tmp_path / "notes"

    class Loader:
        text = ""

        def get_source(self, _name: str) -> str:
            return self.text

    loader = Loader()
    monkeypatch.setattr(plugin_child.__spec__, "loader", loader)

    def asked(*ways: str, type: str = "systemd-tpm2", pin: bytes = PIN, device: str = "/dev/tpmrm0") -> t.Any:
        begin = f"NOTES, WAYS = {str(notes)!r}, {ways!r}\n{LIBRARIES}"
        loader.text = f"{begin}\nexec(compile({source!r}, 'child', 'exec'))"
        header: t.Any = Header()
        found = token_plugin.passphrase(header, 3, type, pin, device)
        return bytes(found), [json.loads(line) for line in notes.read_text().splitlines()]

    asked.notes = notes  # type: ignore[attr-defined]
    return asked


def test_what_the_plugin_yields_and_nothing_is_left(ask: t.Callable[..., t.Any]) -> None:
    found, notes = ask()
    assert found == b"sealed"
    assert notes == [
        ["opened", plugin_child.LIBRARY],
        ["header", "header"],
        ["opened", "/plugins/libcryptsetup-token-systemd-tpm2.so"],
        ["opened", None],
        ["prctl", 4, 0, 0, 0, 0],
        ["pin", 3, PIN.decode(), "/dev/tpmrm0"],
        ["opened", None],
        ["end", 0, "\0" * 6],
    ]


@pytest.mark.parametrize(
    ("type", "device", "seen"),
    [
        ("systemd-tpm2", "", None),
        ("systemd-fido2", "/dev/hidraw0", "/dev/hidraw0"),
        ("systemd-pkcs11", "/dev/hidraw0", None),
    ],
)
def test_the_device_is_for_whom_it_is(ask: t.Callable[..., t.Any], type: str, device: str, seen: t.Any) -> None:
    assert ["pin", 3, "", seen] in ask(type=type, pin=b"", device=device)[1]


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("no library", "libcryptsetup.so.12: cannot open shared object file"),
        ("init", "ended with 1: libcryptsetup"),
        ("load", "libcryptsetup does not take the header"),
        ("status", "libcryptsetup has no plugin for tokens of the type systemd-tpm2"),
        ("open", "ended with 1: told by libcryptsetup; heard of the plugin"),
    ],
)
def test_what_goes_wrong_is_told_in_the_words_of_whom_it_happened_to(
    ask: t.Callable[..., t.Any], way: str, says: str
) -> None:
    with pytest.raises(Refused, match=says):
        ask(way)
    assert ask.notes.read_text().splitlines()[-1] == '["end", 1, "sealed"]'  # type: ignore[attr-defined]
