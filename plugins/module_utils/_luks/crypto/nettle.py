# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Nettle through ctypes: block ciphers in the modes of LUKS, and PBKDF2.

Debian 12 and 13 have it from the start, as a part of apt. The files .7 and .8 are those of releases 3.4 to 3.10; 4.0
has another interface. Source: the Nettle manual, chapters "Cipher functions", "Cipher modes" and "Key derivation
functions", and nettle-meta.h for the table of ciphers.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import typing as t

from .memory import Bytes, filled, lent
from .providers import Chunks, NotProvided
from .shared_library import Prototypes, first_outside_fips, opened

LIBRARIES = ("libnettle.so.8", "libnettle.so.7")

_POINTER = ctypes.c_void_p
_SIZE = ctypes.c_size_t
_UNSIGNED = ctypes.c_uint

_SET_KEY = ctypes.CFUNCTYPE(None, _POINTER, _POINTER)
_RUN = ctypes.CFUNCTYPE(None, _POINTER, _SIZE, _POINTER, _POINTER)

_CHAINED = (_POINTER, _POINTER, _SIZE, _POINTER, _SIZE, _POINTER, _POINTER)
_PBKDF2 = (_SIZE, _POINTER, _UNSIGNED, _SIZE, _POINTER, _SIZE, _POINTER)
_PROTOTYPES: Prototypes = {
    "nettle_get_ciphers": (ctypes.POINTER(_POINTER), ()),
    "nettle_xts_encrypt_message": (None, (*(_POINTER,) * 4, _SIZE, _POINTER, _POINTER)),
    "nettle_xts_decrypt_message": (None, (*(_POINTER,) * 5, _SIZE, _POINTER, _POINTER)),
    "nettle_cbc_encrypt": (None, _CHAINED),
    "nettle_cbc_decrypt": (None, _CHAINED),
    "nettle_ctr_crypt": (None, _CHAINED),
}


class _Cipher(ctypes.Structure):
    """struct nettle_cipher."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("context_size", _UNSIGNED),
        ("block_size", _UNSIGNED),
        ("key_size", _UNSIGNED),
        ("set_encrypt_key", _POINTER),
        ("set_decrypt_key", _POINTER),
        ("encrypt", _POINTER),
        ("decrypt", _POINTER),
    ]


class LibNettle:
    """A loaded libnettle. Every call uses its own contexts, so that threads may share the object.

    Raises NotProvided if the library cannot be loaded.
    """

    def __init__(self, library: str) -> None:
        self._library = opened(library, _PROTOTYPES)
        self._ciphers: t.Dict[str, _Cipher] = {}
        table = self._library.nettle_get_ciphers()
        for address in iter(iter(table).__next__, None):
            one = _Cipher.from_address(address)
            self._ciphers[one.name.decode()] = one

    def crypt(
        self,
        name: str,
        mode: str,
        key: Bytes,
        chunks: Chunks,
        buffer: bytearray,
        encrypt: bool,
    ) -> None:
        """Encrypt or decrypt ``buffer`` in place with the cipher ``name`` ("serpent256") in ``mode`` ("xts", "cbc",
        "ctr", "ecb"); ``chunks``: (start, end, IV of one block or b"") of each piece.
        """
        cipher = self._ciphers[name]
        size = cipher.key_size
        # Only the block function of CTR always encrypts.
        forward = encrypt or mode == "ctr"
        run = cipher.encrypt if forward else cipher.decrypt
        with contextlib.ExitStack() as stack:
            main = self._schedule(stack, cipher, key[:size], forward)
            tweak = self._schedule(stack, cipher, key[size:], True) if mode == "xts" else 0
            base = stack.enter_context(filled(buffer))
            for start, end, iv in chunks:
                text = (end - start, base + start, base + start)
                with lent(iv) as iv_address:
                    if mode == "ecb":
                        _RUN(run)(main, *text)
                    elif mode == "xts" and encrypt:
                        self._library.nettle_xts_encrypt_message(main, tweak, run, iv_address, *text)
                    elif mode == "xts":
                        self._library.nettle_xts_decrypt_message(main, tweak, run, cipher.encrypt, iv_address, *text)
                    elif mode == "ctr":
                        self._library.nettle_ctr_crypt(main, run, cipher.block_size, iv_address, *text)
                    else:
                        chained = self._library.nettle_cbc_encrypt if encrypt else self._library.nettle_cbc_decrypt
                        chained(main, run, cipher.block_size, iv_address, *text)

    @staticmethod
    def _schedule(stack: contextlib.ExitStack, cipher: _Cipher, key: Bytes, encrypt: bool) -> int:
        """Address of the key schedule of ``key``, which is wiped when ``stack`` is unwound."""
        context = stack.enter_context(lent(bytes(cipher.context_size)))
        with lent(key) as address:
            _SET_KEY(cipher.set_encrypt_key if encrypt else cipher.set_decrypt_key)(context, address)
        return context

    def has(self, name: str, key_size: int) -> None:
        """Raises NotProvided if this release lacks the cipher ``name`` with a key of ``key_size`` bytes."""
        if name not in self._ciphers or self._ciphers[name].key_size != key_size:
            raise NotProvided(f"no {name or 'such cipher'}")

    def pbkdf2(self, name: str) -> t.Callable[[Bytes, bytes, int, int], bytearray]:
        """PBKDF2-HMAC with the hash ``name`` ("sha256"), a function of (secret, salt, iterations, length).

        Raises NotProvided if this release lacks it.
        """
        try:
            function = getattr(self._library, f"nettle_pbkdf2_hmac_{name}")
        except AttributeError:
            raise NotProvided(f"no PBKDF2 with {name}") from None
        function.restype = None
        function.argtypes = _PBKDF2

        def run(secret: Bytes, salt: bytes, iterations: int, result: bytearray) -> None:
            with lent(secret) as secret_address, lent(salt) as salt_address, filled(result) as address:
                function(len(secret), secret_address, iterations, len(salt), salt_address, len(result), address)

        def derive(secret: Bytes, salt: bytes, iterations: int, length: int) -> bytearray:
            result = bytearray(length)
            run(secret, salt, iterations, result)
            # Nettle leaves its HMAC contexts on the stack; the same call with nothing secret overwrites them.
            run(b"", salt, 1, bytearray(length))
            return result

        return derive


@functools.lru_cache(maxsize=None)
def _load(library: str) -> LibNettle:
    return LibNettle(library)


def load(libraries: t.Sequence[str] = LIBRARIES) -> LibNettle:
    """The first of ``libraries`` that loads. Raises NotProvided if none does, or on a host in FIPS mode."""
    return first_outside_fips(_load, libraries)
