# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Ladders of libraries: the first rung that can do a thing does it; what no rung can do says why, rung by rung."""

from __future__ import annotations

import typing as t


class NotProvided(Exception):
    """A rung cannot do what was asked ("not installed", "OpenSSL 3.0 has no ARGON2ID"). Never leaves this package."""


class Rung(t.Protocol):
    """One library."""

    @property
    def name(self) -> str:
        """How people call the library."""


RungT = t.TypeVar("RungT", bound=Rung)
AbilityT = t.TypeVar("AbilityT")


def climb(rungs: t.Sequence[RungT], ask: t.Callable[[RungT], AbilityT]) -> t.Tuple[RungT, AbilityT]:
    """The first rung for which ``ask(rung)`` does not raise NotProvided, with its answer; else NotProvided with all reasons."""
    reasons = []
    for rung in rungs:
        try:
            return rung, ask(rung)
        except NotProvided as reason:
            reasons.append(f"{rung.name}: {reason}")
    raise NotProvided("; ".join(reasons))
