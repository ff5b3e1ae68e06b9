# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Secret bytes in memory: the owner of a buffer wipes it.

Python objects of type ``bytes`` and ``int`` cannot be wiped. Functions of this package that have to pass a secret
through one (hashlib and argon2-cffi return ``bytes``) say so in their docstring.
"""

from __future__ import annotations

import contextlib
import ctypes
import typing as t

Bytes = t.Union[bytes, bytearray, memoryview]


def wipe(*buffers: t.Union[bytearray, memoryview]) -> None:
    """Overwrite each buffer with zeros; its length stays."""
    for buffer in buffers:
        buffer[:] = bytes(len(buffer))


@contextlib.contextmanager
def lent(data: Bytes) -> t.Iterator[int]:
    """Address of a copy of ``data`` for a C function: valid inside the block, never NULL, wiped afterwards."""
    copy = bytearray(len(data) + 1)
    copy[:-1] = data
    try:
        yield ctypes.addressof((ctypes.c_ubyte * len(copy)).from_buffer(copy))
    finally:
        wipe(copy)


@contextlib.contextmanager
def filled(buffer: bytearray) -> t.Iterator[int]:
    """Address of ``buffer`` itself (not empty), for a C function that writes to it; do not resize it meanwhile."""
    exported = (ctypes.c_ubyte * len(buffer)).from_buffer(buffer)
    try:
        yield ctypes.addressof(exported)
    finally:
        del exported
