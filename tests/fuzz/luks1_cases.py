# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS1 headers, hurt field by field."""

from __future__ import annotations

import hashlib
import random
import struct

from ansible_collections.luksmith.luks.tests.fuzz import hurt
from ansible_collections.luksmith.luks.tests.fuzz.medium import Medium
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image

_NAMES = (
    b"aes",
    b"serpent",
    b"cipher_null",
    b"xts-plain64",
    b"cbc-essiv:sha256",
    b"ecb",
    b"sha256",
    b"SHA256",
    b"sha1",
    b"md5",
    b"whirlpool",
    b"",
    b"\x1b[2J",
    b"a\nb",
    b"x" * 32,
    b"\xff" * 8,
    b"capi:xts(aes)-plain64",
    b"ripemd160",
    b"sha512",
    b"lrw-plain64",
)
_INTENT_OFFSET = 768
# offset and bytes of each number outside of the slots, and inside of one
_NUMBERS = ((6, 2), (104, 4), (108, 4), (164, 4))
_SLOT_NUMBERS = ((0, 4), (4, 4), (40, 4), (44, 4))
_KEY_BYTES = (16, 24, 32, 64, 64, 32, 1, 512, 513, 48)


def make(rng: random.Random) -> Medium:
    key_bytes = rng.choice(_KEY_BYTES)
    starts = luks1_image.default_starts(key_bytes)
    payload = starts[-1] + luks1_image.sectors(key_bytes) + rng.choice((0, 7, 56))
    if rng.random() < 0.15:
        payload = 0
    raw = luks1_image.build(
        rng.sample(range(8), rng.randrange(9)),
        mode=rng.choice((b"xts-plain64", b"cbc-essiv:sha256", b"cbc-plain")),
        hash_spec=rng.choice((b"sha256", b"sha1", b"sha512", b"SHA256")),
        key_bytes=key_bytes,
        payload=payload,
        starts=starts,
        padding=rng.choice((b"", b"", b"\0" * 200 + b"x")),
    )
    if rng.random() < 0.3:
        raw = _with_intent(raw, rng)
    for _time in range(rng.choice((0, 1, 1, 2, 3))):
        raw = hurt_header(raw, rng)
    size = rng.choice(
        (8 << 20, 8 << 20, 8 << 20, (payload or 8192) * 512, 1024, 1023, 4096, hurt.number(rng), 2**63 - 1)
    )
    return Medium(raw[:size], size)


def hurt_header(raw: bytes, rng: random.Random) -> bytes:
    how = rng.randrange(7)
    if how == 0:
        offset, length = rng.choice(_NUMBERS)
        return luks1_image.patch(raw, offset, hurt.unsigned(rng, 8 * length).to_bytes(length, "big"))
    if how in (1, 2):
        field, length = rng.choice(_SLOT_NUMBERS)
        place = luks1_image.slot_field(rng.randrange(8), field)
        old = int.from_bytes(raw[place : place + length], "big")
        new = (
            rng.choice((hurt.unsigned(rng, 32), old + rng.choice((1, -1, 8, -8)), luks1_image.ACTIVE, luks1_image.DEAD))
            & 0xFFFFFFFF
        )
        return luks1_image.patch(raw, place, new.to_bytes(length, "big"))
    if how == 3:
        one, other = rng.randrange(8), rng.randrange(8)  # a slot where another one is
        place = luks1_image.slot_field(other, 40)
        return luks1_image.patch(raw, luks1_image.slot_field(one, 40), raw[place : place + 4])
    if how == 4:
        name = rng.choice(_NAMES)
        return luks1_image.patch(raw, rng.choice((8, 40, 72)), name.ljust(32, b"\0")[:32])
    if how == 5:
        return _with_intent(raw, rng)
    return hurt.hurt_bytes(raw, rng)


def _with_intent(raw: bytes, rng: random.Random) -> bytes:
    """The note of an interrupted run as docs/format.md has it, with any content and (mostly) the right check."""
    body = struct.pack(
        ">8sBBBB20x",
        b"LUKSMITH",
        rng.choice((1, 1, 1, 2)),
        rng.randrange(8),
        rng.randrange(9),
        rng.choice((0xFF, 0xFF, *range(9))),
    )
    check = hashlib.sha256(body + raw[112:208]).digest()
    if rng.random() < 0.1:
        check = rng.randbytes(32)
    return luks1_image.patch(raw, _INTENT_OFFSET, body + check)
