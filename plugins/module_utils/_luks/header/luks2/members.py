# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Typed access to members of LUKS2 metadata.

Errors name the place, ``where`` or ``what``. They are MalformedHeader, or its subclass StricterThanCryptsetup if only
this collection refuses the header (see :mod:`.validate_metadata`).
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import typing as t

from ...errors import MalformedHeader
from .metadata import LOOK_AND_RESTORE, StricterThanCryptsetup, Tree

SALT_SIZE = 32
UINT32 = 0xFFFFFFFF
UINT64 = 0xFFFFFFFFFFFFFFFF

_DIGITS = re.compile(r"[0-9]+")
_CANONICAL = re.compile(r"0|[1-9][0-9]{0,5}")


def number64(text: t.Any, what: str) -> int:
    """The value of a 64-bit quantity, which LUKS2 stores as a string of decimal digits. Raises MalformedHeader."""
    if not isinstance(text, str) or not _DIGITS.fullmatch(text) or len(text) > 64 or int(text) > UINT64:
        raise malformed(f"{what} is not a decimal number of at most 64 bits")
    return int(text)


def decoded(text: str, what: str) -> bytes:
    """The bytes of strict base64, which every decoder reads alike. Raises StricterThanCryptsetup if it is not."""
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise stricter(f"{what} is not valid base64") from None


def malformed(what: str) -> MalformedHeader:
    """The error for what libcryptsetup refuses too."""
    return MalformedHeader(
        f"the LUKS2 metadata breaks the format: {what}",
        why="cryptsetup refuses such a header too",
        remedy=LOOK_AND_RESTORE,
    )


def stricter(what: str) -> StricterThanCryptsetup:
    """The error for what only this collection refuses."""
    return StricterThanCryptsetup(
        f"the LUKS2 metadata breaks the format: {what}",
        why="cryptsetup would load it and then fail or misbehave, and guessing what was meant is not safe",
        remedy=LOOK_AND_RESTORE,
    )


@contextlib.contextmanager
def refused_since(release: str) -> t.Iterator[None]:
    """For rules that only newer cryptsetup has: an older one takes the copy for valid, so the other may not replace it.

    Raises StricterThanCryptsetup instead of MalformedHeader.
    """
    try:
        yield
    except MalformedHeader as error:
        raise StricterThanCryptsetup(
            error.found,
            why=f"cryptsetup refuses such a header since release {release}; an older one would load it and not know "
            "what is wrong",
            remedy=LOOK_AND_RESTORE,
        ) from None


def is_a(value: t.Any, kind: type) -> bool:
    """Whether ``value`` is a ``kind`` and no boolean: Python counts booleans as integers, JSON does not."""
    return isinstance(value, kind) and not isinstance(value, bool)


def member(container: t.Any, name: str, kind: type, where: str) -> t.Any:
    """The member ``name``. Raises MalformedHeader if it is missing or not a ``kind``."""
    if not isinstance(container, dict) or not is_a(container.get(name), kind):
        raise malformed(f"{where} has no {name!r} of the right type")
    return container[name]


def text(container: t.Any, name: str, where: str) -> str:
    """A string. Raises MalformedHeader if it is missing, empty or of another type."""
    text = member(container, name, str, where)
    if not text:
        raise malformed(f"{name!r} of {where} is empty")
    return t.cast(str, text)


def uint32(container: t.Any, name: str, where: str) -> int:
    """A number of 32 bits. Raises MalformedHeader if it is anything else."""
    value = member(container, name, int, where)
    if not 0 <= value <= UINT32:
        raise malformed(f"{name!r} of {where} is {value}")
    return t.cast(int, value)


def uint64(container: t.Any, name: str, where: str) -> int:
    """A number of 64 bits, stored as a string. Raises MalformedHeader if it is anything else."""
    return number64(text(container, name, where), f"{name!r} of {where}")


def strings(container: t.Any, name: str, where: str) -> t.List[str]:
    """A list of strings. Raises MalformedHeader if it is anything else."""
    items = member(container, name, list, where)
    if not all(isinstance(item, str) for item in items):
        raise malformed(f"{name!r} of {where} has items that are not strings")
    return t.cast(t.List[str], items)


def references(container: t.Any, name: str, targets: Tree, where: str) -> None:
    """Raises MalformedHeader if an item of the list ``name`` is not a key of ``targets``."""
    for item in strings(container, name, where):
        if not isinstance(targets.get(item), dict):
            raise malformed(f"{where} refers to {name} {item!r}, which does not exist")


def number_of(number: str, what: str) -> None:
    """Raises MalformedHeader if a key is not a number, StricterThanCryptsetup if it is not a plain decimal."""
    if number and not _DIGITS.fullmatch(number):
        raise malformed(f"{what} is not a number")
    if not _CANONICAL.fullmatch(number):
        raise stricter(f"the number of {what} is not written as a plain decimal")


def cost(container: Tree, name: str, where: str) -> None:
    """Raises StricterThanCryptsetup if the member is not a number from 1 to 2^32-1."""
    value: t.Any = container.get(name)
    if not is_a(value, int) or not 1 <= value <= UINT32:
        raise stricter(f"{name!r} of {where} is not a number from 1 to 2^32-1")


def no_overlap(ranges: t.List[t.Tuple[int, int]], what: str) -> None:
    """Raises MalformedHeader if two ranges (start, end) overlap."""
    ranges = sorted(ranges)
    for (_start, end), (start, _end) in zip(ranges, ranges[1:]):
        if start < end:
            raise malformed(f"two {what} overlap at offset {start}")
