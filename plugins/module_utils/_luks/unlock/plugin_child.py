# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The program of a process of its own, which :mod:`.token_plugin` starts with this text: it asks a token plugin.

It imports nothing of the collection. Arguments: the descriptor of a file with the header, the number of the token, its
type, and the device that the plugin is to use ("" for the one it finds). The PIN is the input, the secret the output.
The words of libcryptsetup and of the plugin are its errors.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import typing as t

LIBRARY = "libcryptsetup.so.12"
_EXTERNAL = 4  # CRYPT_TOKEN_EXTERNAL: a plugin is there and takes the token for a valid one
_DEBUG = -1  # CRYPT_DEBUG_ALL
_PR_SET_DUMPABLE = 4
_LONGEST_PIN = 4096
_ERRORS = [2]  # the descriptor for our words, once a file in memory hears what libraries write to 2
_NOISE = "Requesting JSON"
_BY_DEVICE = ("systemd-tpm2", "systemd-fido2")  # a PKCS#11 token names its own, by its URI
_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
# Numbers that plugins agree on; what they mean differs from their text in the system.
_REASONS = {
    errno.ENOANO: "it asks for a PIN, and none was given",
    errno.EAGAIN: "its device is not there",
}


class _Tpm2Parameters(ctypes.Structure):
    """What the plugin for TPM2 takes instead of choosing a device. Newer ones read further pointers, NULL here."""

    _fields_: t.ClassVar = [
        ("search_pcr_mask", ctypes.c_uint32),
        ("device", ctypes.c_char_p),
        ("further", ctypes.c_void_p * 6),
    ]


def main(header: str, number: str, type: str, device: str) -> None:
    """Ends the process with a sentence if there is no secret."""
    _ERRORS[0] = os.dup(2)
    os.dup2(os.memfd_create("heard", os.MFD_CLOEXEC), 2)
    os.environ["TSS2_LOG"] = "all+NONE"  # each error is told again by what called it
    library = _opened(LIBRARY)
    said: t.List[str] = []
    # The names stay until the end: libcryptsetup calls it.
    log = _LOG(lambda _level, text, _own: said.append(text.decode("utf-8", "replace").strip()))
    library.crypt_set_log_callback(None, log, None)
    volume = ctypes.c_void_p()
    _checked(library.crypt_init(ctypes.byref(volume), f"/proc/self/fd/{header}".encode()), "libcryptsetup", said)
    _checked(library.crypt_load(volume, b"LUKS2", None), "libcryptsetup does not take the header", said)
    if library.crypt_token_status(volume, int(number), None) != _EXTERNAL:
        _end(f"libcryptsetup has no plugin for tokens of the type {type}, or this one is damaged for it")
    library.crypt_token_external_path.restype = ctypes.c_char_p
    folder = library.crypt_token_external_path()
    plugin = _opened(os.path.join(folder.decode(), f"libcryptsetup-token-{type}.so"))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    library.crypt_set_debug_level(_DEBUG)
    del said[:]
    _ask(plugin, volume, int(number), type, device, said)


def _ask(plugin: t.Any, volume: t.Any, number: int, type: str, device: str, said: t.List[str]) -> None:
    pin = bytearray(_LONGEST_PIN)
    size = os.readv(0, [pin])
    given = ctypes.byref((ctypes.c_char * len(pin)).from_buffer(pin)) if size else None
    secret, length = ctypes.c_void_p(), ctypes.c_size_t()
    parameters: t.Any = None
    if device and type in _BY_DEVICE:
        name = device.encode()
        tpm = _Tpm2Parameters(0xFFFFFFFF, name)
        parameters = ctypes.byref(tpm) if type == "systemd-tpm2" else name
    found = plugin.cryptsetup_token_open_pin(
        volume, number, given, ctypes.c_size_t(size), ctypes.byref(secret), ctypes.byref(length), parameters
    )
    pin[:] = bytes(len(pin))
    _checked(found, "", said)
    ctypes.CDLL(None, use_errno=True).write(1, secret, length)
    ctypes.memset(secret, 0, length.value)
    _end("")


def _end(error: str) -> t.NoReturn:
    """At once: libcryptsetup logs from its destructors, when Python is gone."""
    os.write(_ERRORS[0], error.encode("utf-8", "surrogateescape"))
    os._exit(1 if error else 0)


def _opened(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        _end(str(error))


def _checked(code: int, what: str, said: t.Sequence[str]) -> None:
    if code < 0:
        with open("/proc/self/fd/2", encoding="utf-8", errors="replace") as told:
            heard = [line.strip() for line in told if line.strip()]
        words = [line for line in said if not line.startswith(_NOISE) and "open failed" not in line]
        known = _REASONS.get(-code, "")
        found = [part for part in (what, known, *words[-2:], *heard[-1:]) if part]
        _end("; ".join(found or [os.strerror(-code)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
