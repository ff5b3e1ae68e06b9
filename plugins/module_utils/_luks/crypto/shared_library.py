# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Libraries of the system through ctypes: loaded by one of their names, with the prototypes that are used."""

from __future__ import annotations

import ctypes
import typing as t

from . import fips
from .providers import NotProvided

# Name of a function -> its result and its arguments, as ctypes types.
Prototypes = t.Mapping[str, t.Tuple[t.Any, t.Tuple[t.Any, ...]]]
Library = t.TypeVar("Library")


def opened(name: str, prototypes: Prototypes) -> ctypes.CDLL:
    """The library of that file name or path. Raises NotProvided if it cannot be loaded or lacks a function."""
    try:
        library = ctypes.CDLL(name)
        declare(library, prototypes)
    except (OSError, AttributeError) as error:
        raise NotProvided(str(error)) from error
    return library


def declare(library: ctypes.CDLL, prototypes: Prototypes) -> None:
    """Raises AttributeError if the library lacks one of the functions."""
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


def first(load: t.Callable[[str], Library], names: t.Sequence[str]) -> Library:
    """The first of ``names`` that ``load`` loads. Raises NotProvided with the reason of each if none does."""
    reasons = []
    for name in names:
        try:
            return load(name)
        except NotProvided as reason:
            reasons.append(str(reason))
    raise NotProvided("; ".join(reasons))


def first_outside_fips(load: t.Callable[[str], Library], names: t.Sequence[str]) -> Library:
    """As :func:`first`, for libraries that are not validated. Raises NotProvided on a host in FIPS mode, too."""
    if fips.active():
        raise NotProvided("not used in FIPS mode")
    return first(load, names)
