# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Libgcrypt through ctypes: block ciphers in the modes of LUKS, hashes and PBKDF2.

Source: the Libgcrypt reference manual, chapters "Initializing the library", "Symmetric cryptography", "Hashing" and
"Key Derivation"; the numbers are those of gcrypt.h.
"""

from __future__ import annotations

import ctypes
import functools
import typing as t

from .memory import Bytes, filled, lent
from .providers import Chunks, NotProvided
from .shared_library import Prototypes, first_outside_fips, opened

LIBRARIES = ("libgcrypt.so.20",)

_POINTER = ctypes.c_void_p
_SIZE = ctypes.c_size_t
_INT = ctypes.c_int
_UNSIGNED = ctypes.c_uint
_ULONG = ctypes.c_ulong

_DISABLE_SECURE_MEMORY, _INITIALIZED, _IS_INITIALIZED = 37, 38, 39
_MODES = {"ecb": 1, "cbc": 3, "ctr": 6, "xts": 13}
_KDF_PBKDF2 = 34

_PROTOTYPES: Prototypes = {
    "gcry_check_version": (ctypes.c_char_p, (ctypes.c_char_p,)),
    "gcry_cipher_algo_info": (_UNSIGNED, (_INT, _INT, _POINTER, _POINTER)),
    "gcry_cipher_open": (_UNSIGNED, (ctypes.POINTER(_POINTER), _INT, _INT, _UNSIGNED)),
    "gcry_cipher_close": (None, (_POINTER,)),
    "gcry_cipher_setkey": (_UNSIGNED, (_POINTER, _POINTER, _SIZE)),
    "gcry_cipher_setiv": (_UNSIGNED, (_POINTER, _POINTER, _SIZE)),
    "gcry_cipher_setctr": (_UNSIGNED, (_POINTER, _POINTER, _SIZE)),
    "gcry_cipher_encrypt": (_UNSIGNED, (_POINTER, _POINTER, _SIZE, _POINTER, _SIZE)),
    "gcry_cipher_decrypt": (_UNSIGNED, (_POINTER, _POINTER, _SIZE, _POINTER, _SIZE)),
    "gcry_md_algo_info": (_UNSIGNED, (_INT, _INT, _POINTER, _POINTER)),
    "gcry_md_hash_buffer": (None, (_INT, _POINTER, _POINTER, _SIZE)),
    "gcry_kdf_derive": (_UNSIGNED, (_POINTER, _SIZE, _INT, _INT, _POINTER, _SIZE, _ULONG, _SIZE, _POINTER)),
    "gcry_strerror": (ctypes.c_char_p, (_UNSIGNED,)),
}
_TEST_ALGORITHM = 8


class LibGcrypt:
    """A loaded libgcrypt. Every call uses its own handles, so that threads may share the object.

    Raises NotProvided if the library cannot be loaded.
    """

    def __init__(self, library: str) -> None:
        self._library = opened(library, _PROTOTYPES)
        if not self._library.gcry_check_version(None):
            raise NotProvided("it could not be initialized")
        # Another user of the library in this process may have done the rest already.
        if not self._library.gcry_control(_INT(_IS_INITIALIZED)):
            self._library.gcry_control(_INT(_DISABLE_SECURE_MEMORY), _INT(0))
            self._library.gcry_control(_INT(_INITIALIZED), _INT(0))

    def _checked(self, code: int, doing: str) -> None:
        if code:
            raise NotProvided(f"{doing}: {self._library.gcry_strerror(code).decode(errors='replace')}")

    def has_cipher(self, number: int) -> None:
        """Raises NotProvided if this build lacks the cipher of that number."""
        self._checked(self._library.gcry_cipher_algo_info(number, _TEST_ALGORITHM, None, None), f"cipher {number}")

    def crypt(
        self,
        number: int,
        mode: str,
        key: Bytes,
        chunks: Chunks,
        buffer: bytearray,
        encrypt: bool,
    ) -> None:
        """Encrypt or decrypt ``buffer`` in place; ``chunks``: (start, end, IV of one block or b"") of each piece.

        Raises NotProvided if the library refuses the cipher, the mode or the key.
        """
        library, handle = self._library, _POINTER()
        self._checked(library.gcry_cipher_open(handle, number, _MODES[mode], 0), f"cipher {number} in mode {mode}")
        begin = library.gcry_cipher_setctr if mode == "ctr" else library.gcry_cipher_setiv
        run = library.gcry_cipher_encrypt if encrypt else library.gcry_cipher_decrypt
        try:
            with lent(key) as address:
                self._checked(library.gcry_cipher_setkey(handle, address, len(key)), "key")
            with filled(buffer) as base:
                for start, end, iv in chunks:
                    if iv:
                        with lent(iv) as address:
                            self._checked(begin(handle, address, len(iv)), "IV")
                    self._checked(run(handle, base + start, end - start, None, 0), "running the cipher")
        finally:
            library.gcry_cipher_close(handle)

    def has_hash(self, number: int) -> None:
        """Raises NotProvided if this build lacks the hash of that number."""
        self._checked(self._library.gcry_md_algo_info(number, _TEST_ALGORITHM, None, None), f"hash {number}")

    def digest(self, number: int, size: int, message: Bytes) -> bytes:
        """The digest (``size`` bytes) of a whole message; the hash must be there."""
        result = bytearray(size)
        with lent(message) as address, filled(result) as place:
            self._library.gcry_md_hash_buffer(number, place, address, len(message))
        return bytes(result)

    def pbkdf2(self, number: int, secret: Bytes, salt: bytes, iterations: int, length: int) -> bytearray:
        """``length`` bytes of PBKDF2-HMAC with the hash of that number. Raises NotProvided if the library refuses."""
        result = bytearray(length)
        with lent(secret) as secret_address, lent(salt) as salt_address, filled(result) as place:
            source = (secret_address, len(secret), _KDF_PBKDF2, number, salt_address, len(salt))
            self._checked(self._library.gcry_kdf_derive(*source, iterations, length, place), "PBKDF2")
        return result


@functools.lru_cache(maxsize=None)
def _load(library: str) -> LibGcrypt:
    return LibGcrypt(library)


def load(libraries: t.Sequence[str] = LIBRARIES) -> LibGcrypt:
    """The first of ``libraries`` that loads. Raises NotProvided if none does, or on a host in FIPS mode."""
    return first_outside_fips(_load, libraries)
