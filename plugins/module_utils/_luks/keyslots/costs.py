# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""How expensive a new keyslot is: pinned where anything pins it, calibrated from the derivation just seen otherwise.

Policy minimum, below which nothing is inherited or calibrated (an entry may still ask for less by name):
PBKDF2 600,000 iterations (OWASP Password Storage Cheat Sheet, for HMAC-SHA-256); Argon2 4 passes over 64 MiB
(the floor of cryptsetup's own benchmark).
"""

from __future__ import annotations

import os
import typing as t

from ..header.model import Argon2, Kdf, Pbkdf2
from .observe import Measurement
from .vocabulary import Costs

MINIMUM_ITERATIONS = 600_000
MINIMUM_TIME = 4
MINIMUM_MEMORY = 64 * 1024
MAXIMUM_MEMORY = 1024 * 1024
MAXIMUM_LANES = 4
DEFAULT_ITER_TIME = 2000
SALT_SIZE = 32


def new_kdf(
    costs: Costs,
    iter_time: t.Optional[int],
    *,
    replaced: t.Optional[Kdf],
    opener: t.Optional[Kdf],
    measured: t.Optional[Measurement],
    only_hash: str,
    memory_limit: int,
) -> Kdf:
    """Parameters with a fresh salt for a slot to be made.

    replaced: of the slot that is rekeyed. opener: of the slot that gave the volume key. measured: how long that took.
    only_hash: LUKS1, whose slots are PBKDF2 with this hash. memory_limit: KiB that Argon2 may use on this host.
    """
    parents = [kdf for kdf in (replaced, opener) if kdf is not None]
    kind = "pbkdf2" if only_hash else costs.type or next((kdf.type for kdf in parents if isinstance(kdf, (Pbkdf2, Argon2))), "argon2id")
    salt = os.urandom(SALT_SIZE)
    if kind == "pbkdf2":
        hash_name = only_hash or costs.hash or next((kdf.hash for kdf in parents if isinstance(kdf, Pbkdf2)), "sha256")
        return Pbkdf2(hash=hash_name, iterations=_iterations(costs, iter_time, replaced, parents, measured), salt=salt)
    return _argon2(kind, costs, iter_time, replaced, parents, measured, memory_limit, salt)


def _iterations(costs: Costs, iter_time: t.Optional[int], replaced: t.Optional[Kdf], parents: t.Sequence[Kdf], measured: t.Optional[Measurement]) -> int:
    stored = replaced.iterations if isinstance(replaced, Pbkdf2) else 0
    if costs.iterations is not None:
        return max(costs.iterations, stored)
    if iter_time is None:
        for parent in parents:
            if isinstance(parent, Pbkdf2) and parent.iterations >= MINIMUM_ITERATIONS:
                return parent.iterations
    if measured is not None and isinstance(measured.kdf, Pbkdf2) and measured.seconds > 0:
        per_second = measured.kdf.iterations / measured.seconds
        wanted = int(per_second * (iter_time or DEFAULT_ITER_TIME) / 1000)
        return min(max(wanted, MINIMUM_ITERATIONS), 2**32 - 1)
    return MINIMUM_ITERATIONS


def _argon2(
    kind: str,
    costs: Costs,
    iter_time: t.Optional[int],
    replaced: t.Optional[Kdf],
    parents: t.Sequence[Kdf],
    measured: t.Optional[Measurement],
    memory_limit: int,
    salt: bytes,
) -> Argon2:
    stored = replaced if isinstance(replaced, Argon2) else None
    parent = next((kdf for kdf in parents if isinstance(kdf, Argon2) and kdf.time >= MINIMUM_TIME and kdf.memory >= MINIMUM_MEMORY), None)
    parallel = costs.parallel or (parent.parallel if parent else min(MAXIMUM_LANES, os.cpu_count() or 1))
    memory = costs.memory or (parent.memory if parent else max(MINIMUM_MEMORY, min(MAXIMUM_MEMORY, memory_limit)))
    if costs.time is not None:
        time = costs.time
    elif iter_time is None and parent is not None:
        time = parent.time
    elif measured is not None and isinstance(measured.kdf, Argon2) and measured.seconds > 0:
        kib_per_second = measured.kdf.memory * measured.kdf.time / measured.seconds
        kib = kib_per_second * (iter_time or DEFAULT_ITER_TIME) / 1000
        if costs.memory is None:
            memory = max(MINIMUM_MEMORY, min(memory, int(kib / MINIMUM_TIME)))
        time = max(MINIMUM_TIME, int(kib / memory))
    else:
        time = MINIMUM_TIME
    if stored is not None and stored.type == kind:
        time, memory, parallel = max(time, stored.time), max(memory, stored.memory), max(parallel, stored.parallel)
    return Argon2(type=kind, time=time, memory=max(memory, 8 * parallel), parallel=parallel, salt=salt)
