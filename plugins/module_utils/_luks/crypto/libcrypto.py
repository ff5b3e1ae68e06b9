# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""OpenSSL's libcrypto through ctypes: ciphers. 3.x and 1.1.1 have the same functions for them.

Python's own hashlib links against this library, so that it is there wherever Python is. :mod:`.openssl3` has the
digests and key derivations. Source: OpenSSL's manual page EVP_EncryptInit(3).
"""

from __future__ import annotations

import ctypes
import functools
import typing as t

from .memory import Bytes, filled, lent
from .providers import Chunks, NotProvided
from .shared_library import Prototypes, first, opened

LIBRARIES = ("libcrypto.so.3", "libcrypto.so.1.1")

_POINTER = ctypes.c_void_p
_INT = ctypes.c_int

_CIPHERS: Prototypes = {
    "ERR_clear_error": (None, ()),
    "OpenSSL_version_num": (ctypes.c_ulong, ()),
    "EVP_CIPHER_CTX_new": (_POINTER, ()),
    "EVP_CIPHER_CTX_free": (None, (_POINTER,)),
    "EVP_CIPHER_CTX_set_padding": (_INT, (_POINTER, _INT)),
    "EVP_CipherInit_ex": (_INT, (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT)),
    "EVP_CipherUpdate": (_INT, (_POINTER, _POINTER, ctypes.POINTER(_INT), _POINTER, _INT)),
}


class LibCrypto:
    """A loaded libcrypto. Every call uses its own contexts, so that threads may share the object.

    Raises NotProvided if the library cannot be loaded.
    """

    def __init__(self, library: str) -> None:
        self._library = opened(library, _CIPHERS)
        number = self._library.OpenSSL_version_num()
        self.version = (
            "OpenSSL "
            f"{number >> 28}.{number >> 20 & 0xFF}.{(number >> 4 if number >> 28 >= 3 else number >> 12) & 0xFF}"
        )

    def _failed(self, doing: str) -> NotProvided:
        # hashlib and ssl read the same error queue of the thread and would report what is left in it.
        self._library.ERR_clear_error()
        return NotProvided(f"{self.version} {doing}")

    def cipher(self, name: str) -> int:
        """Handle of a cipher ("aes_256_xts") for :meth:`crypt`. Raises NotProvided if this build lacks it."""
        try:
            getter = getattr(self._library, f"EVP_{name}")
        except AttributeError:
            raise NotProvided(f"{self.version} has no {name}") from None
        getter.restype = _POINTER
        getter.argtypes = ()
        return int(getter())

    def crypt(self, cipher: int, key: Bytes, chunks: Chunks, buffer: bytearray, encrypt: bool) -> None:
        """Encrypt or decrypt ``buffer`` in place; ``chunks``: (start, end, 16 bytes of IV or b"") of each piece.

        Raises NotProvided if OpenSSL refuses to run the cipher.
        """
        library = self._library
        context = library.EVP_CIPHER_CTX_new()
        written = _INT(0)
        try:
            with lent(key) as key_address, filled(buffer) as base:
                good = library.EVP_CipherInit_ex(context, cipher, None, key_address, None, int(encrypt)) == 1
                good = good and library.EVP_CIPHER_CTX_set_padding(context, 0) == 1
                for start, end, iv in chunks:
                    good = good and (not iv or library.EVP_CipherInit_ex(context, None, None, None, iv, -1) == 1)
                    good = (
                        good
                        and library.EVP_CipherUpdate(context, base + start, written, base + start, end - start) == 1
                    )
                    if not good or written.value != end - start:
                        raise self._failed("refused to run the cipher")
        finally:
            library.EVP_CIPHER_CTX_free(context)


@functools.lru_cache(maxsize=None)
def _load(library: str) -> LibCrypto:
    return LibCrypto(library)


def load(libraries: t.Sequence[str] = LIBRARIES) -> LibCrypto:
    """The first of ``libraries`` (file names or paths) that loads. Raises NotProvided if none does."""
    return first(_load, libraries)
