# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The anti-forensic split of LUKS: a key spread over stripes, all of which are needed to recover it.

All stripes but the last are random; the last one is the key XOR the diffused chain of the others. Diffusion replaces
each digest-sized block by H(big-endian 32-bit block number || block), the last one truncated to the rest of the key.
Source: LUKS1 on-disk format, section "anti-forensic splitter", and the behaviour of cryptsetup. XOR goes through Python
integers and random stripes through ``bytes``; neither can be wiped.
"""

from __future__ import annotations

import os
import typing as t

from ..errors import MalformedHeader
from .hashes import new_hash
from .memory import Bytes


def _chain(stripes: t.Union[bytes, memoryview], size: int, hash_name: str) -> int:
    """The diffused XOR of all stripes.

    The inner loop of every trial (4,000 stripes), so hash objects that have seen the block number are copied.
    """
    empty = new_hash(hash_name)
    width = empty.digest_size
    blocks = []
    for index, start in enumerate(range(0, size, width)):
        numbered = empty.copy()
        numbered.update(index.to_bytes(4, "big"))
        blocks.append((numbered.copy, slice(start, start + width)))
    state, number = 0, int.from_bytes
    for start in range(0, len(stripes), size):
        mixed = (state ^ number(stripes[start : start + size], "big")).to_bytes(size, "big")
        diffused = b""
        for copy, part in blocks:
            digest = copy()
            digest.update(mixed[part])
            diffused += digest.digest()
        state = number(diffused[:size], "big")
    return state


def _require_shape(key_size: int, stripes: int) -> None:
    if key_size < 1 or stripes < 1:
        raise MalformedHeader(
            f"anti-forensic split of a {key_size}-byte key into {stripes} stripes", why="both must be at least 1"
        )


def split(key: Bytes, stripes: int, hash_name: str) -> bytearray:
    """``stripes`` times ``len(key)`` bytes of key material that :func:`merge` turns back into ``key``.

    The stripes are random on each call. Raises Unsupported if the host lacks the hash, MalformedHeader if the key is
    empty or ``stripes`` is 0.
    """
    size = len(key)
    _require_shape(size, stripes)
    noise = os.urandom(size * (stripes - 1))
    last = _chain(noise, size, hash_name) ^ int.from_bytes(key, "big")
    return bytearray(noise) + bytearray(last.to_bytes(size, "big"))


def merge(material: Bytes, key_size: int, stripes: int, hash_name: str) -> bytearray:
    """The key in the first ``key_size * stripes`` bytes of ``material``; the rest is rounding and ignored.

    Any material gives some key: only the digest of the volume key shows whether it is the right one.

    Raises Unsupported if the host lacks the hash, MalformedHeader if there is less material or ``key_size`` or
    ``stripes`` is 0.
    """
    _require_shape(key_size, stripes)
    need = key_size * stripes
    if len(material) < need:
        raise MalformedHeader(
            f"{len(material)} bytes of key material", why=f"a {key_size}-byte key in {stripes} stripes needs {need}"
        )
    with memoryview(material)[:need] as view:
        state = _chain(view[: need - key_size], key_size, hash_name)
        return bytearray((state ^ int.from_bytes(view[need - key_size :], "big")).to_bytes(key_size, "big"))
