# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Derives keys from secrets: PBKDF2 and Argon2, within a budget.

A header is untrusted input: its costs are compared with the budget before anything is computed.
"""

from __future__ import annotations

import typing as t

from ..errors import BudgetExceeded, MalformedHeader, Unsupported
from ..header import model
from .hashes import MOST_ITERATIONS, Hash, hash_size, new_hash, pace, pbkdf2, pbkdf2_function
from .host import available_memory
from .memory import Bytes, wipe

__all__ = ("Budget", "Bytes", "Hash", "check", "derive", "hash_size", "new_hash", "pbkdf2", "wipe")

_GIB = 1024 * 1024
# RFC 9106 section 3.1. ctypes would silently truncate a larger number to 32 bits.
_LARGEST_ARGON2_NUMBER = 2**32 - 1
_SHORTEST_ARGON2_SALT = 8
_SHORTEST_ARGON2_RESULT = 4
_ALL_CORES = 2**16
_REMEDY = "raise the limit if you trust the origin of this header and can wait that long"


class Budget(t.NamedTuple):
    """The most that one derivation may cost.

    The defaults accept all that cryptsetup and QEMU create, with a margin: they write at most 4 GiB and 4 lanes and,
    for the usual 2 s, a few million iterations or some GiB of passes. ``max_work`` is memory times passes; 256 GiB take
    about 4 minutes on a slow core. The free memory of the host is always a limit too.

    max_iterations: PBKDF2; max_time: Argon2 passes; max_memory: KiB; max_parallel: lanes; max_work: KiB times passes.
    max_total_memory: KiB of all derivations that run at the same time; None: half of what was available.
    available: KiB that were available before this run used any; None: what the host reports now.
    """

    max_iterations: int = 100_000_000
    max_time: int = 100_000
    max_memory: int = 4 * _GIB
    max_parallel: int = 16
    max_work: int = 256 * _GIB
    max_total_memory: t.Optional[int] = None
    available: t.Optional[int] = None

    def of_this_moment(self) -> Budget:
        """The same limits, with :attr:`available` measured now, before derivations use memory themselves."""
        return self._replace(available=available_memory())

    @property
    def total_memory(self) -> int:
        """KiB for all derivations that run at the same time; a single one may take more, within the other limits."""
        if self.max_total_memory is not None:
            return self.max_total_memory
        return self.max_memory if self.available is None else self.available // 2


def _within(what: str, value: int, limit: int, unit: str, remedy: str = _REMEDY) -> None:
    if value > limit:
        raise BudgetExceeded(f"{what} requires {value} {unit}", why=f"the limit is {limit} {unit}", remedy=remedy)


def _unknown(kind: str) -> Unsupported:
    return Unsupported(
        "key derivation",
        kind,
        why="this collection does not support it",
        remedy="erase the keyslot by its number if it is not needed and another one opens the volume",
    )


def _check_pbkdf2(kdf: model.Pbkdf2, budget: Budget) -> None:
    if kdf.iterations < 1:
        raise MalformedHeader(f"pbkdf2 with {kdf.iterations} iterations", why="at least one is needed")
    _within("pbkdf2", kdf.iterations, budget.max_iterations, "iterations")
    if kdf.iterations > MOST_ITERATIONS:
        raise Unsupported(
            "key derivation",
            f"pbkdf2 with {kdf.iterations} iterations",
            why=f"OpenSSL supports at most {MOST_ITERATIONS} iterations",
        )
    pbkdf2_function(kdf.hash)


def _check_argon2(kdf: model.Argon2, budget: Budget) -> None:
    from .argon2 import TYPES, argon2_provider

    if kdf.type not in TYPES:
        raise _unknown(kdf.type)
    asked = (
        f"{kdf.type} with {kdf.time} passes, {kdf.memory} KiB, {kdf.parallel} lanes and {len(kdf.salt)} bytes of salt"
    )
    if kdf.time < 1 or kdf.parallel < 1:
        raise MalformedHeader(asked, why="at least one pass and one lane are needed")
    if max(kdf.time, kdf.memory, kdf.parallel) > _LARGEST_ARGON2_NUMBER:
        raise MalformedHeader(asked, why="the parameters of Argon2 are 32-bit numbers")
    if kdf.memory < 8 * kdf.parallel:
        raise MalformedHeader(asked, why="Argon2 needs at least 8 KiB of memory for each lane")
    if len(kdf.salt) < _SHORTEST_ARGON2_SALT:
        raise MalformedHeader(asked, why=f"Argon2 needs at least {_SHORTEST_ARGON2_SALT} bytes of salt")
    _within(kdf.type, kdf.time, budget.max_time, "passes")
    _within(kdf.type, kdf.parallel, budget.max_parallel, "lanes")
    _within(kdf.type, kdf.memory, budget.max_memory, "KiB of memory")
    _within(
        f"{kdf.type} ({kdf.time} passes over {kdf.memory} KiB)",
        kdf.time * kdf.memory,
        budget.max_work,
        "KiB of memory traffic",
    )
    available = available_memory() if budget.available is None else budget.available
    if available is not None:
        remedy = "free memory on the host, or run this on the host that usually unlocks the volume"
        _within(f"{kdf.type} on a host with {available} KiB available", kdf.memory, available, "KiB of memory", remedy)
    argon2_provider(kdf.type)


def check(kdf: model.Kdf, *, budget: Budget) -> None:
    """Raises what :func:`derive` would raise, without deriving: MalformedHeader, BudgetExceeded or Unsupported."""
    if isinstance(kdf, model.Pbkdf2):
        _check_pbkdf2(kdf, budget)
    elif isinstance(kdf, model.Argon2):
        _check_argon2(kdf, budget)
    else:
        raise _unknown(kdf.type)


def lanes(kdf: model.Kdf) -> int:
    """Threads that a derivation keeps busy: all cores if the library allows only one Argon2 derivation at a time.

    Raises Unsupported if no library of this host provides the derivation.
    """
    if not isinstance(kdf, model.Argon2):
        return 1
    from .argon2 import ONE_AT_A_TIME, argon2_provider

    return _ALL_CORES if argon2_provider(kdf.type) == ONE_AT_A_TIME else kdf.parallel


def memory(kdf: model.Kdf) -> int:
    """KiB that a derivation needs."""
    return kdf.memory if isinstance(kdf, model.Argon2) else 0


def usual_seconds(kdf: model.Kdf, length: int, seconds: float) -> float:
    """The seconds that cryptsetup with OpenSSL would have needed for a derivation that took ``seconds`` here, perhaps
    in a faster library: target times of new keyslots are those of the program that opens the volume at boot.
    """
    return seconds * pace(kdf.hash, kdf.iterations, length) if isinstance(kdf, model.Pbkdf2) else seconds


def derive(kdf: model.Kdf, secret: Bytes, length: int, *, budget: Budget) -> bytearray:
    """``length`` bytes (16 to 64 for a keyslot area) from ``secret``; the caller wipes them.

    Some libraries take or return ``bytes``, a copy of which stays until the garbage collector reuses its memory.

    Raises, before it computes anything, MalformedHeader if the parameters are impossible, BudgetExceeded if the costs
    exceed ``budget``, Unsupported if no library of this host provides the derivation. Raises BudgetExceeded as well if
    a library cannot allocate the memory.
    """
    check(kdf, budget=budget)
    if isinstance(kdf, model.Pbkdf2):
        return pbkdf2(kdf.hash, secret, kdf.salt, kdf.iterations, length)
    if isinstance(kdf, model.Argon2):
        from .argon2 import Argon2Costs, argon2

        if length < _SHORTEST_ARGON2_RESULT:
            raise MalformedHeader(
                f"{kdf.type} for {length} bytes", why=f"Argon2 returns at least {_SHORTEST_ARGON2_RESULT}"
            )
        return argon2(kdf.type, secret, kdf.salt, Argon2Costs(kdf.time, kdf.memory, kdf.parallel, length))
    raise _unknown(kdf.type)
