# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Argon2i and Argon2id (RFC 9106, version 0x13) from a library that the host has.

Providers: argon2-cffi; libcrypto >= 3.2; libargon2; ``cryptography`` >= 44 (Argon2i from 47). All return the same
bytes. A host with cryptsetup always has the library that cryptsetup uses: libcrypto or libargon2.
"""

from __future__ import annotations

import ctypes
import dataclasses
import threading
import typing as t

from ..errors import BudgetExceeded, Unsupported
from . import fips, openssl3
from .libcrypto import LIBRARIES
from .memory import Bytes, filled, lent
from .providers import NotProvided, select

TYPES = ("argon2i", "argon2id")


@dataclasses.dataclass(frozen=True)
class Argon2Costs:
    """``time`` passes over ``memory`` KiB in ``parallel`` lanes for a result of ``length`` bytes."""

    time: int
    memory: int
    parallel: int
    length: int


class Failed(Exception):
    """A library with Argon2 failed. Since the costs are checked before, it could not allocate the memory."""


Derive = t.Callable[[Bytes, bytes, Argon2Costs], bytearray]


class Argon2Provider(t.Protocol):
    """A library with Argon2."""

    @property
    def name(self) -> str:
        ...

    def ability(self, kind: str) -> Derive:
        """A function for ``kind`` (one of TYPES) that raises Failed. Raises NotProvided if the library lacks it."""


class Argon2Cffi:
    """The PyPI package argon2-cffi (python3-argon2). Takes and returns ``bytes``: two copies that cannot be wiped."""

    name = "argon2-cffi"

    def ability(self, kind: str) -> Derive:
        """Raises NotProvided if this host lacks it."""
        try:
            from argon2 import exceptions, low_level
        except ImportError as error:
            raise NotProvided(str(error)) from error
        version = {"argon2i": low_level.Type.I, "argon2id": low_level.Type.ID}[kind]

        def derive(secret: Bytes, salt: bytes, costs: Argon2Costs) -> bytearray:
            try:
                return bytearray(
                    low_level.hash_secret_raw(
                        bytes(secret), salt, costs.time, costs.memory, costs.parallel, costs.length, version
                    )
                )
            except exceptions.HashingError as error:
                raise Failed(str(error)) from error

        return derive


class Libcrypto:
    """OpenSSL >= 3.2 through ctypes.

    Each derivation has its own library context: in a shared one, two derivations with several lanes at once can
    deadlock (seen with cryptography 50.0 and OpenSSL 4.0).
    """

    name = "libcrypto"

    def __init__(self, libraries: t.Sequence[str] = LIBRARIES) -> None:
        self._libraries = libraries

    def ability(self, kind: str) -> Derive:
        """Raises NotProvided if this host lacks it."""
        library = openssl3.load(self._libraries)
        with library.context("default") as probe:
            library.has_derivation(probe, kind.upper())

        def derive(secret: Bytes, salt: bytes, costs: Argon2Costs) -> bytearray:
            with library.context("default") as context:
                parameters: t.Dict[str, openssl3.Parameter] = {
                    "pass": secret,
                    "salt": salt,
                    "iter": costs.time,
                    "memcost": costs.memory,
                    "lanes": costs.parallel,
                    "threads": library.allow_threads(context, costs.parallel),
                }
                try:
                    return library.derive(context, kind.upper(), parameters, costs.length)
                except NotProvided as reason:
                    raise Failed(str(reason)) from None

        return derive


class Libargon2:
    """The reference implementation through ctypes (a dependency of cryptsetup on Debian 11 and 12, Ubuntu, SLES)."""

    name = "libargon2"

    def __init__(self, library: str = "libargon2.so.1") -> None:
        self._path = library

    def ability(self, kind: str) -> Derive:
        """Raises NotProvided if this host lacks it."""
        try:
            library = ctypes.CDLL(self._path)
            size, number, pointer = ctypes.c_size_t, ctypes.c_uint32, ctypes.c_void_p
            for function in (library.argon2i_hash_raw, library.argon2id_hash_raw):
                function.argtypes = (number, number, number, pointer, size, pointer, size, pointer, size)
                function.restype = ctypes.c_int
            library.argon2_error_message.argtypes = (ctypes.c_int,)
            library.argon2_error_message.restype = ctypes.c_char_p
        except (OSError, AttributeError) as error:
            raise NotProvided(str(error)) from error
        run = library.argon2i_hash_raw if kind == "argon2i" else library.argon2id_hash_raw

        def derive(secret: Bytes, salt: bytes, costs: Argon2Costs) -> bytearray:
            result = bytearray(costs.length)
            with lent(secret) as secret_at, filled(result) as result_at:
                code = run(
                    costs.time,
                    costs.memory,
                    costs.parallel,
                    secret_at,
                    len(secret),
                    salt,
                    len(salt),
                    result_at,
                    costs.length,
                )
            if code != 0:
                raise Failed(library.argon2_error_message(code).decode("ascii", "replace"))
            return result

        return derive


class Cryptography:
    """The PyPI package ``cryptography``. Takes and returns ``bytes``: two copies that cannot be wiped.

    Only one derivation at a time in the process: version 50.0 deadlocks if two threads derive with several lanes.
    """

    name = "cryptography"
    _one_at_a_time = threading.Lock()

    def ability(self, kind: str) -> Derive:
        """Raises NotProvided if this host lacks it."""
        try:
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives.kdf import argon2
        except ImportError as error:
            raise NotProvided(str(error)) from error
        try:
            function = getattr(argon2, kind.capitalize())
            function(salt=bytes(8), length=4, iterations=1, lanes=1, memory_cost=8)
        except (AttributeError, UnsupportedAlgorithm):
            raise NotProvided(f"this version has no {kind}") from None

        def derive(secret: Bytes, salt: bytes, costs: Argon2Costs) -> bytearray:
            try:
                with self._one_at_a_time:
                    run = function(
                        salt=salt,
                        length=costs.length,
                        iterations=costs.time,
                        lanes=costs.parallel,
                        memory_cost=costs.memory,
                    )
                    return bytearray(run.derive(bytes(secret)))
            except (MemoryError, ValueError) as error:
                raise Failed(str(error) or "no memory") from None

        return derive


ONE_AT_A_TIME = Cryptography.name
PROVIDERS: t.List[Argon2Provider] = [Argon2Cffi(), Libcrypto(), Libargon2(), Cryptography()]


def _provider(kind: str) -> t.Tuple[str, Derive]:
    if fips.active():
        raise Unsupported(
            "key derivation",
            kind,
            why="this host is in FIPS mode, and no validated library has it",
            remedy="use a keyslot with pbkdf2; where there is none, add it (pbkdf: {type: pbkdf2}) on a host that is "
            "not in FIPS mode",
        )
    try:
        provider, derive = select(PROVIDERS, lambda provider: provider.ability(kind))
    except NotProvided as reasons:
        raise Unsupported(
            "key derivation",
            kind,
            why=f"no library of this host provides it ({reasons})",
            remedy="install one of: libargon2 (Debian and Ubuntu: libargon2-1), python3-argon2 (PyPI: argon2-cffi), "
            "OpenSSL 3.2+, cryptography 47+",
        ) from None
    return provider.name, derive


def argon2_provider(kind: str = "argon2id") -> str:
    """Name of the library that derives ``kind`` on this host. Raises Unsupported if every library lacks it."""
    return _provider(kind)[0]


def argon2(kind: str, secret: Bytes, salt: bytes, costs: Argon2Costs) -> bytearray:
    """The derived key; the caller has checked ``costs`` and wipes the result.

    Raises Unsupported if every library lacks ``kind``, BudgetExceeded if the library cannot allocate the memory.
    """
    name, derive = _provider(kind)
    try:
        return derive(secret, salt, costs)
    except Failed as reason:
        raise BudgetExceeded(
            f"{kind} over {costs.memory} KiB failed in {name} ({reason})",
            why="the host could not provide that much memory",
            remedy="free memory on the host, or run this on the host that usually unlocks the volume",
        ) from None
