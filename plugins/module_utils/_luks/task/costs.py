# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The ``pbkdf`` and ``iter_time`` options of an entry. Values that no volume can hold are refused here.

The bounds are those that cryptsetup documents and enforces for new keyslots (lib/utils_pbkdf.c).
"""

from __future__ import annotations

import re
import typing as t

from ..crypto.kdf import Budget
from ..errors import BadTask
from .desired import Costs
from .options import LIMITS, whole_number

PBKDF2 = "pbkdf2"
ARGON2 = ("argon2i", "argon2id")
DEFAULT_ARGON2 = "argon2id"
TYPES = (PBKDF2, *ARGON2)

# option -> (least, most, unit). Upper bounds: OpenSSL's counter, the width of the field, cryptsetup's limits. The least
# memory is what Argon2 needs for the most lanes, 8 KiB each (RFC 9106).
BOUNDS: t.Mapping[str, t.Tuple[int, int, str]] = {
    "iterations": (1000, 2**31 - 1, "iterations"),
    "time": (4, 2**32 - 1, "passes over the memory"),
    "memory": (32, 4 * 1024 * 1024, "KiB"),
    "parallel": (1, 4, "lanes"),
}
ARGON2_ONLY = ("time", "memory", "parallel")
PBKDF2_ONLY = ("hash", "iterations")


def parse_costs(params: t.Any, name: str) -> Costs:
    """The ``pbkdf`` dictionary of the entry called ``name``. Raises BadTask if it is not valid.

    A cost that only one family has implies the type; a keyslot of the other family would silently ignore it.
    """
    if params is None:
        return Costs()
    if not isinstance(params, t.Mapping):
        raise BadTask(
            f"{name}: pbkdf is not a dictionary",
            remedy="Write it as pbkdf: {type: argon2id, memory: 262144}; "
            f"its options are type, hash, {', '.join(BOUNDS)}",
        )
    kind = params.get("type")
    if kind is not None and kind not in TYPES:
        raise BadTask(f"{name}: pbkdf.type is {kind!r}", remedy=f"Use one of {', '.join(TYPES)}")
    hash_name = _hash(params.get("hash"), name)
    numbers = {
        option: whole_number(params.get(option), f"{name}: pbkdf.{option}", *bounds)
        for option, bounds in BOUNDS.items()
    }
    costs = Costs(type=kind, hash=hash_name, **numbers)
    _check_together(costs, name)
    return costs._replace(type=kind or _implied_type(costs))


def parse_iter_time(value: t.Any, costs: Costs, name: str) -> t.Optional[int]:
    """The ``iter_time`` option in milliseconds. Raises BadTask if it is not valid beside ``costs``."""
    iter_time = whole_number(value, f"{name}: iter_time", 1, 2**32 - 1, "milliseconds")
    pinned = [option for option in ("iterations", "time") if getattr(costs, option) is not None]
    if iter_time is not None and pinned:
        raise BadTask(
            f"{name} has iter_time and pbkdf.{pinned[0]}",
            why=f"iter_time measures a cost that pbkdf.{pinned[0]} already sets",
            remedy="Keep one of them",
        )
    return iter_time


def check_affordable(costs: Costs, budget: Budget, name: str) -> None:
    """Raises BadTask for costs above ``kdf_limits``: later runs could not try the keyslot and would see drift."""
    costs_by_limit = {option: getattr(costs, option) for option in ("iterations", "time", "memory", "parallel")}
    costs_by_limit["work"] = costs.time * costs.memory if costs.time is not None and costs.memory is not None else None
    for option, cost in costs_by_limit.items():
        bound = getattr(budget, f"max_{option}")
        if cost is not None and cost > bound:
            raise BadTask(
                f"{name}: pbkdf asks for {cost} {LIMITS[option]}, and kdf_limits.{option} allows {bound}",
                why="the keyslot could be written, but no later run of this task could open it",
                remedy=f"Lower the cost, or raise kdf_limits.{option}",
            )


def _implied_type(costs: Costs) -> t.Optional[str]:
    if any(getattr(costs, option) is not None for option in PBKDF2_ONLY):
        return PBKDF2
    return DEFAULT_ARGON2 if costs.given else None


def _hash(value: t.Any, name: str) -> t.Optional[str]:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value):
        raise BadTask(f"{name}: pbkdf.hash is {value!r}, not a hash name", remedy="Write it as in sha256 or sha512")
    return value.lower()


def _check_together(costs: Costs, name: str) -> None:
    argon2 = [option for option in ARGON2_ONLY if getattr(costs, option) is not None]
    pbkdf2 = [option for option in PBKDF2_ONLY if getattr(costs, option) is not None]
    if costs.type == PBKDF2 and argon2:
        raise BadTask(
            f"{name}: pbkdf.{argon2[0]} is given with type {PBKDF2}",
            why=f"{PBKDF2} has only iterations and a hash",
            remedy="Choose an Argon2 type, or remove it",
        )
    if costs.type in ARGON2 and pbkdf2:
        raise BadTask(
            f"{name}: pbkdf.{pbkdf2[0]} is given with type {costs.type}",
            why="Argon2 has only time, memory and parallel",
            remedy=f"Choose type {PBKDF2}, or remove it",
        )
    if argon2 and pbkdf2:
        raise BadTask(
            f"{name}: pbkdf.{pbkdf2[0]} and pbkdf.{argon2[0]} are given together",
            why=f"The first belongs to {PBKDF2}, the second to Argon2",
            remedy="Remove one of them, and name the type",
        )
