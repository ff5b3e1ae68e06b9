# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""XTS and LRW over a library's ECB, for ciphers that it has without these modes: AES-192, Camellia, ARIA in
OpenSSL.

Both modes combine each block of 16 bytes with a mask before and after the cipher. The masks pass through Python's
integers, a copy of which stays until the memory is used again; the masks alone decrypt nothing. Sources: IEEE 1619-2018
(XTS), the draft of 2004 of IEEE P1619 (LRW), and the kernel's lrw.c for the counter.
"""

from __future__ import annotations

from .memory import Bytes, wipe
from .providers import Chunks, Crypt

BLOCK = 16
_ALL = 2**128 - 1
_POLYNOMIAL = 0x87


def xts(ecb: Crypt) -> Crypt:
    """XTS over ``ecb``: the key is that of the data, then that of the tweak, of the same size."""

    def crypt(key: Bytes, chunks: Chunks, buffer: bytearray, encrypt: bool) -> None:
        with memoryview(key) as view:
            half = len(view) // 2
            tweaks = bytearray(b"".join(iv for _start, _end, iv in chunks))
            ecb(view[half:], [(0, len(tweaks), b"")], tweaks, True)
            masks = bytearray(len(buffer))
            try:
                for number, (start, end, _iv) in enumerate(chunks):
                    tweak = int.from_bytes(tweaks[number * BLOCK :][:BLOCK], "little")
                    for place in range(start, end, BLOCK):
                        masks[place : place + BLOCK] = tweak.to_bytes(BLOCK, "little")
                        tweak = _doubled(tweak)
                _whitened(ecb, view[:half], chunks, buffer, masks, encrypt)
            finally:
                wipe(tweaks, masks)

    return crypt


def lrw(ecb: Crypt) -> Crypt:
    """LRW over ``ecb``: the key is that of the data, then 16 bytes; the IV is the number of the block, big endian."""

    def crypt(key: Bytes, chunks: Chunks, buffer: bytearray, encrypt: bool) -> None:
        with memoryview(key) as view:
            factor = int.from_bytes(view[-BLOCK:], "big")
            # From block i to i + 1 the mask changes by the product with i ^ (i + 1), which is 2**n - 1.
            steps = [_product(factor, (1 << bits) - 1) for bits in range(129)]
            masks = bytearray(len(buffer))
            try:
                for start, end, iv in chunks:
                    block = int.from_bytes(iv, "big")
                    mask = _product(factor, block)
                    for place in range(start, end, BLOCK):
                        masks[place : place + BLOCK] = mask.to_bytes(BLOCK, "big")
                        mask ^= steps[(block ^ (block + 1) & _ALL).bit_length()]
                        block = block + 1 & _ALL
                _whitened(ecb, view[:-BLOCK], chunks, buffer, masks, encrypt)
            finally:
                wipe(masks)

    return crypt


def _whitened(ecb: Crypt, key: Bytes, chunks: Chunks, buffer: bytearray, masks: bytearray, encrypt: bool) -> None:
    _combine(chunks, buffer, masks)
    ecb(key, [(0, len(buffer), b"")], buffer, encrypt)
    _combine(chunks, buffer, masks)


def _combine(chunks: Chunks, buffer: bytearray, masks: bytearray) -> None:
    for start, end, _iv in chunks:
        both = int.from_bytes(buffer[start:end], "big") ^ int.from_bytes(masks[start:end], "big")
        buffer[start:end] = both.to_bytes(end - start, "big")


def _doubled(value: int) -> int:
    return (value << 1 & _ALL) ^ (_POLYNOMIAL if value >> 127 else 0)


def _product(left: int, right: int) -> int:
    """In GF(2**128) modulo x**128 + x**7 + x**2 + x + 1."""
    result = 0
    while right:
        if right & 1:
            result ^= left
        left, right = _doubled(left), right >> 1
    return result
