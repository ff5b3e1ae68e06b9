# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Libraries in the order of preference: the first one with an ability is used; if all lack it, the error says why."""

from __future__ import annotations

import typing as t

from . import fips
from .memory import Bytes

# (start, end, IV) of each piece of a buffer; the IV is one block, or b"" in ECB.
Chunks = t.Sequence[t.Tuple[int, int, bytes]]
# Encrypts (True) or decrypts the buffer in place: (key, chunks, buffer, encrypt).
Crypt = t.Callable[[Bytes, Chunks, bytearray, bool], None]


class NotProvided(Exception):
    """A library lacks an ability ("not installed", "OpenSSL 3.0 has no ARGON2ID"). Never leaves this package."""


class Provider(t.Protocol):
    """One library."""

    @property
    def name(self) -> str:
        """The usual name of the library."""


ProviderT = t.TypeVar("ProviderT", bound=Provider)
AbilityT = t.TypeVar("AbilityT")


def select(providers: t.Sequence[ProviderT], ask: t.Callable[[ProviderT], AbilityT]) -> t.Tuple[ProviderT, AbilityT]:
    """The first provider for which ``ask(provider)`` does not raise NotProvided, and its answer.

    On a host in FIPS mode only those are asked that say of themselves that they are ``validated``.

    Raises NotProvided with the reason of each provider if all of them do.
    """
    reasons = []
    restricted = fips.active()
    for provider in providers:
        if restricted and not getattr(provider, "validated", False):
            reasons.append(f"{provider.name}: not used in FIPS mode")
            continue
        try:
            return provider, ask(provider)
        except NotProvided as reason:
            reasons.append(f"{provider.name}: {reason}")
    raise NotProvided("; ".join(reasons))
