# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""OpenSSL's libcrypto through ctypes: AES, one-shot digests and key derivations.

Python's own hashlib links against this library, so that it is there wherever Python is. 3.x and 1.1.1 have the same
functions for ciphers; digests and derivations by name need 3.0 (before that, hashlib provides every digest itself).
Source: OpenSSL's manual pages EVP_EncryptInit(3), EVP_KDF(3), EVP_KDF-ARGON2(7), EVP_KDF-PBKDF2(7), OSSL_LIB_CTX(3).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import typing as t

from .memory import Bytes, filled, lent
from .providers import NotProvided

LIBRARIES = ("libcrypto.so.3", "libcrypto.so.1.1")

_UNSIGNED = 2
_TEXT = 4
_OCTETS = 5

_POINTER = ctypes.c_void_p
_INT = ctypes.c_int
_SIZE = ctypes.c_size_t
_NAME = ctypes.c_char_p

_CIPHERS: t.Dict[str, t.Tuple[t.Any, t.Tuple[t.Any, ...]]] = {
    "ERR_clear_error": (None, ()),
    "OpenSSL_version_num": (ctypes.c_ulong, ()),
    "EVP_CIPHER_CTX_new": (_POINTER, ()),
    "EVP_CIPHER_CTX_free": (None, (_POINTER,)),
    "EVP_CIPHER_CTX_set_padding": (_INT, (_POINTER, _INT)),
    "EVP_CipherInit_ex": (_INT, (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT)),
    "EVP_CipherUpdate": (_INT, (_POINTER, _POINTER, ctypes.POINTER(_INT), _POINTER, _INT)),
}
_BY_NAME: t.Dict[str, t.Tuple[t.Any, t.Tuple[t.Any, ...]]] = {
    "OSSL_LIB_CTX_new": (_POINTER, ()),
    "OSSL_LIB_CTX_free": (None, (_POINTER,)),
    "OSSL_PROVIDER_load": (_POINTER, (_POINTER, _NAME)),
    "OSSL_PROVIDER_unload": (_INT, (_POINTER,)),
    "EVP_MD_fetch": (_POINTER, (_POINTER, _NAME, _NAME)),
    "EVP_MD_free": (None, (_POINTER,)),
    "EVP_Digest": (_INT, (_POINTER, _SIZE, _POINTER, ctypes.POINTER(ctypes.c_uint), _POINTER, _POINTER)),
    "EVP_KDF_fetch": (_POINTER, (_POINTER, _NAME, _NAME)),
    "EVP_KDF_free": (None, (_POINTER,)),
    "EVP_KDF_CTX_new": (_POINTER, (_POINTER,)),
    "EVP_KDF_CTX_free": (None, (_POINTER,)),
    "EVP_KDF_derive": (_INT, (_POINTER, _POINTER, _SIZE, _POINTER)),
}
_THREADS: t.Dict[str, t.Tuple[t.Any, t.Tuple[t.Any, ...]]] = {
    "OSSL_set_max_threads": (_INT, (_POINTER, ctypes.c_uint64)),
}

Parameter = t.Union[int, str, Bytes]


class _Param(ctypes.Structure):
    """OSSL_PARAM."""

    _fields_ = [
        ("key", _NAME),
        ("data_type", ctypes.c_uint),
        ("data", _POINTER),
        ("data_size", _SIZE),
        ("return_size", _SIZE),
    ]


class LibCrypto:
    """A loaded libcrypto. Every call uses its own contexts, so that threads may share the object.

    Raises NotProvided if the library cannot be loaded.
    """

    def __init__(self, library: str) -> None:
        try:
            self._library = ctypes.CDLL(library)
            self._declare(_CIPHERS)
        except (OSError, AttributeError) as error:
            raise NotProvided(str(error)) from error
        self._lasting: t.Dict[t.Tuple[str, ...], int] = {}
        self.by_name = self._declares(_BY_NAME)
        self.threads = self._declares(_THREADS)
        number = self._library.OpenSSL_version_num()
        self.version = (
            "OpenSSL "
            f"{number >> 28}.{number >> 20 & 0xFF}.{(number >> 4 if number >> 28 >= 3 else number >> 12) & 0xFF}"
        )

    def _declare(self, prototypes: t.Mapping[str, t.Tuple[t.Any, t.Tuple[t.Any, ...]]]) -> None:
        for name, (result, arguments) in prototypes.items():
            function = getattr(self._library, name)
            function.restype = result
            function.argtypes = arguments

    def _declares(self, prototypes: t.Mapping[str, t.Tuple[t.Any, t.Tuple[t.Any, ...]]]) -> bool:
        try:
            self._declare(prototypes)
        except AttributeError:
            return False
        return True

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

    def crypt(
        self, cipher: int, key: Bytes, chunks: t.Sequence[t.Tuple[int, int, bytes]], buffer: bytearray, encrypt: bool
    ) -> None:
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

    @contextlib.contextmanager
    def context(self, *providers: str) -> t.Iterator[int]:
        """Our own library context with ``providers`` ("default", "legacy"), so that hashlib's stays as it is.

        Raises NotProvided if OpenSSL is older than 3.0 or cannot load a provider.
        """
        with contextlib.ExitStack() as stack:
            yield self._open_context(stack, providers)

    def _open_context(self, stack: contextlib.ExitStack, providers: t.Sequence[str]) -> int:
        if not self.by_name:
            raise NotProvided(f"{self.version} is older than 3.0")
        library = self._library
        context = library.OSSL_LIB_CTX_new()
        stack.callback(library.OSSL_LIB_CTX_free, context)
        for provider in providers:
            loaded = library.OSSL_PROVIDER_load(context, provider.encode())
            if not loaded:
                raise self._failed(f"cannot load its {provider!r} provider")
            stack.callback(library.OSSL_PROVIDER_unload, loaded)
        return int(context)

    def lasting_context(self, *providers: str) -> int:
        """As :meth:`context`, but for the life of the process: to set one up takes 0.3 ms. Raises NotProvided."""
        if providers not in self._lasting:
            with contextlib.ExitStack() as stack:
                self._lasting[providers] = self._open_context(stack, providers)
                stack.pop_all()
        return self._lasting[providers]

    def allow_threads(self, context: int, threads: int) -> int:
        """How many of ``threads`` a derivation in ``context`` may use: all, or 1 if OpenSSL was built without."""
        return threads if self.threads and self._library.OSSL_set_max_threads(context, threads) == 1 else 1

    def digest(self, context: int, name: str, message: Bytes) -> bytes:
        """Digest of a whole message. Raises NotProvided if ``context`` lacks the hash."""
        library = self._library
        algorithm = library.EVP_MD_fetch(context, name.encode(), None)
        if not algorithm:
            raise self._failed(f"has no {name}")
        result = (ctypes.c_ubyte * 64)()
        size = ctypes.c_uint(0)
        try:
            with lent(message) as address:
                if library.EVP_Digest(address, len(message), result, size, algorithm, None) != 1:
                    raise self._failed(f"refused to run {name}")
        finally:
            library.EVP_MD_free(algorithm)
        return bytes(result[: size.value])

    def has_derivation(self, context: int, algorithm: str) -> None:
        """Raises NotProvided if ``context`` lacks the key derivation ``algorithm`` ("ARGON2ID")."""
        found = self._library.EVP_KDF_fetch(context, algorithm.encode(), None)
        if not found:
            raise self._failed(f"has no {algorithm}")
        self._library.EVP_KDF_free(found)

    def derive(self, context: int, algorithm: str, parameters: t.Mapping[str, Parameter], length: int) -> bytearray:
        """``length`` bytes of the key derivation ``algorithm`` with the OSSL_PARAMs ``parameters``.

        Raises NotProvided if ``context`` lacks it or it fails.
        """
        library = self._library
        result = bytearray(length)
        with contextlib.ExitStack() as stack:
            found = library.EVP_KDF_fetch(context, algorithm.encode(), None)
            if not found:
                raise self._failed(f"has no {algorithm}")
            stack.callback(library.EVP_KDF_free, found)
            run = library.EVP_KDF_CTX_new(found)
            stack.callback(library.EVP_KDF_CTX_free, run)
            table = (_Param * (len(parameters) + 1))(*(_param(stack, key, value) for key, value in parameters.items()))
            if library.EVP_KDF_derive(run, stack.enter_context(filled(result)), length, table) != 1:
                raise self._failed(f"could not compute {algorithm}")
        return result


def _param(stack: contextlib.ExitStack, key: str, value: Parameter) -> _Param:
    if isinstance(value, int):
        return _Param(key.encode(), _UNSIGNED, stack.enter_context(lent(value.to_bytes(4, sys.byteorder))), 4, 0)
    if isinstance(value, str):
        return _Param(key.encode(), _TEXT, stack.enter_context(lent(value.encode())), len(value), 0)
    return _Param(key.encode(), _OCTETS, stack.enter_context(lent(value)), len(value), 0)


@functools.lru_cache(maxsize=None)
def _load(library: str) -> LibCrypto:
    return LibCrypto(library)


def load(libraries: t.Sequence[str] = LIBRARIES) -> LibCrypto:
    """The first of ``libraries`` (file names or paths) that loads. Raises NotProvided if none does."""
    reasons = []
    for library in libraries:
        try:
            return _load(library)
        except NotProvided as reason:
            reasons.append(str(reason))
    raise NotProvided("; ".join(reasons))
