# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The cost of a new keyslot: given by the entry, else inherited, else calibrated from the derivation just measured.

Nothing is inherited or calibrated below the policy minimum (an entry may still ask for less): PBKDF2 600,000
iterations (OWASP Password Storage Cheat Sheet, for HMAC-SHA-256); Argon2 4 passes over 64 MiB (the minimum of
cryptsetup's benchmark).
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..crypto import fips
from ..crypto.kdf import Budget
from ..header.model import Argon2, Kdf, Pbkdf2
from ..plan.types import KdfChoice
from ..task.desired import Costs
from ..unlock.derivations import Measurement
from ..unlock.hints import SALT_SIZE

MINIMUM_ITERATIONS = 600_000
MAXIMUM_ITERATIONS = 2**32 - 1
MINIMUM_TIME = 4
MINIMUM_MEMORY = 64 * 1024  # KiB
MAXIMUM_MEMORY = 1024 * 1024  # KiB
MAXIMUM_LANES = 4
DEFAULT_ITER_TIME = 2000  # ms


@dataclasses.dataclass(frozen=True)
class Precedents:
    """What a choice is based on.

    replaced: key derivation of the keyslot that is rekeyed. opener: of the keyslot that gave the volume key. measured:
    how long that took. only_hash: for LUKS1, whose keyslots are PBKDF2 with this hash. memory_limit: KiB that Argon2
    may use here. budget: upper bound of calibrated costs. salt: a fresh one that carries a label; None makes one
    without.
    """

    replaced: t.Optional[Kdf] = None
    opener: t.Optional[Kdf] = None
    measured: t.Optional[Measurement] = None
    only_hash: str = ""
    memory_limit: int = MAXIMUM_MEMORY
    budget: Budget = dataclasses.field(default_factory=Budget)
    salt: t.Optional[bytes] = None

    @property
    def parents(self) -> t.List[Kdf]:
        return [kdf for kdf in (self.replaced, self.opener) if kdf is not None]


def choose(costs: Costs, iter_time: t.Optional[int], precedents: Precedents) -> KdfChoice:
    """Parameters with a fresh salt. ``iter_time`` in milliseconds, None for :data:`DEFAULT_ITER_TIME`."""
    kind = _kind(costs, precedents)
    salt = precedents.salt or os.urandom(SALT_SIZE)
    if kind == "pbkdf2":
        inherited = next((kdf.hash for kdf in precedents.parents if isinstance(kdf, Pbkdf2)), "sha256")
        iterations, measured = _iterations(costs, iter_time, precedents)
        return KdfChoice(
            Pbkdf2(precedents.only_hash or costs.hash or inherited, iterations, salt),
            frozenset({"iterations"} if measured else ()),
        )
    return _argon2(kind, costs, iter_time, precedents, salt)


def to_time(costs: Costs, precedents: Precedents) -> t.Optional[Kdf]:
    """The least costly derivation whose time tells what :func:`choose` has to know; None if ``costs`` say it all."""
    kind = _kind(costs, precedents)
    if kind == "pbkdf2":
        hash_name = precedents.only_hash or costs.hash or "sha256"
        return None if costs.iterations is not None else Pbkdf2(hash_name, MINIMUM_ITERATIONS, bytes(SALT_SIZE))
    lanes = costs.parallel or _usual_lanes(precedents)
    memory = max(costs.memory or MINIMUM_MEMORY, 8 * lanes)
    return None if costs.time is not None else Argon2(kind, MINIMUM_TIME, memory, lanes, bytes(SALT_SIZE))


def _kind(costs: Costs, precedents: Precedents) -> str:
    known = next((kdf.type for kdf in precedents.parents if isinstance(kdf, (Pbkdf2, Argon2))), "argon2id")
    # A host in FIPS mode could not open what it would add.
    return "pbkdf2" if precedents.only_hash else costs.type or ("pbkdf2" if fips.active() else known)


def _usual_lanes(precedents: Precedents) -> int:
    return min(MAXIMUM_LANES, os.cpu_count() or 1, precedents.budget.max_parallel)


def _iterations(costs: Costs, iter_time: t.Optional[int], precedents: Precedents) -> t.Tuple[int, bool]:
    stored = precedents.replaced.iterations if isinstance(precedents.replaced, Pbkdf2) else 0
    if costs.iterations is not None:
        return max(costs.iterations, stored), False
    if iter_time is None:
        for parent in precedents.parents:
            if isinstance(parent, Pbkdf2) and parent.iterations >= MINIMUM_ITERATIONS:
                return parent.iterations, False
    seen = precedents.measured
    if seen is None or not isinstance(seen.kdf, Pbkdf2) or seen.seconds <= 0:
        return max(MINIMUM_ITERATIONS, stored), False
    wanted = int(seen.kdf.iterations / seen.seconds * (iter_time or DEFAULT_ITER_TIME) / 1000)
    return max(min(wanted, MAXIMUM_ITERATIONS, precedents.budget.max_iterations), MINIMUM_ITERATIONS), True


def _argon2(kind: str, costs: Costs, iter_time: t.Optional[int], precedents: Precedents, salt: bytes) -> KdfChoice:
    measured = set()
    parent = next(
        (
            kdf
            for kdf in precedents.parents
            if isinstance(kdf, Argon2) and kdf.time >= MINIMUM_TIME and kdf.memory >= MINIMUM_MEMORY
        ),
        None,
    )
    parallel = costs.parallel or (parent.parallel if parent else None)
    if parallel is None:
        parallel = _usual_lanes(precedents)
        measured.add("parallel")
    memory = costs.memory or (parent.memory if parent else None)
    if memory is None:
        memory = max(MINIMUM_MEMORY, min(MAXIMUM_MEMORY, precedents.memory_limit))
        measured.add("memory")
    seen = precedents.measured
    if costs.time is not None:
        time = costs.time
    elif iter_time is None and parent is not None:
        time = parent.time
    elif seen is not None and isinstance(seen.kdf, Argon2) and seen.seconds > 0:
        affordable = seen.kdf.memory * seen.kdf.time / seen.seconds * (iter_time or DEFAULT_ITER_TIME) / 1000
        if costs.memory is None:
            memory = max(MINIMUM_MEMORY, min(memory, int(affordable / MINIMUM_TIME)))
            measured.add("memory")
        time = max(
            MINIMUM_TIME,
            min(int(affordable / memory), precedents.budget.max_time, precedents.budget.max_work // memory),
        )
        measured.add("time")
    else:
        time = MINIMUM_TIME
    stored = precedents.replaced
    if isinstance(stored, Argon2) and stored.type == kind:
        time, memory, parallel = max(time, stored.time), max(memory, stored.memory), max(parallel, stored.parallel)
    return KdfChoice(Argon2(kind, time, max(memory, 8 * parallel), parallel, salt), frozenset(measured))
