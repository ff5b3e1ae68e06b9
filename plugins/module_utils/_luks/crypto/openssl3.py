# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Digests and key derivations by name in library contexts, which libcrypto has since OpenSSL 3.0.

Before that, hashlib provides every digest itself. Source: OpenSSL's manual pages EVP_KDF(3), EVP_KDF-ARGON2(7),
EVP_KDF-PBKDF2(7), OSSL_LIB_CTX(3).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import typing as t

from .libcrypto import LIBRARIES, LibCrypto
from .memory import Bytes, filled, lent
from .providers import NotProvided
from .shared_library import Prototypes, declare, first

_UNSIGNED = 2
_TEXT = 4
_OCTETS = 5

_POINTER = ctypes.c_void_p
_INT = ctypes.c_int
_SIZE = ctypes.c_size_t
_NAME = ctypes.c_char_p

_BY_NAME: Prototypes = {
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
_THREADS: Prototypes = {
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


class LibCrypto3(LibCrypto):
    """A loaded libcrypto, which may turn out to be an older one.

    by_name: whether it has contexts at all; threads: whether it can be built with threads.
    Raises NotProvided if the library cannot be loaded.
    """

    def __init__(self, library: str) -> None:
        super().__init__(library)
        self._lasting: t.Dict[t.Tuple[str, ...], int] = {}
        self.by_name = self._declares(_BY_NAME)
        self.threads = self._declares(_THREADS)

    def _declares(self, prototypes: Prototypes) -> bool:
        try:
            declare(self._library, prototypes)
        except AttributeError:
            return False
        return True

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
def _load(library: str) -> LibCrypto3:
    return LibCrypto3(library)


def load(libraries: t.Sequence[str] = LIBRARIES) -> LibCrypto3:
    """As :func:`.libcrypto.load`."""
    return first(_load, libraries)
