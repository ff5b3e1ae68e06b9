# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS1 headers for tests, packed field by field from the specification's table and not by the code under test."""

from __future__ import annotations

import struct
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import luksmeta

ACTIVE = 0x00AC71F3
DEAD = 0x0000DEAD
UUID = b"0b6dd9bb-21a1-4c9c-b8b0-0a3d8f2c6a55"


def salt(seed: int) -> bytes:
    """32 bytes without a zero, different for each seed."""
    return bytes((seed * 37 + index * 5) % 255 + 1 for index in range(32))


def sectors(key_bytes: int) -> int:
    return (key_bytes * 4000 + 511) // 512


def default_starts(key_bytes: int) -> t.List[int]:
    """First sectors as cryptsetup lays them out: from sector 8, each area rounded up to 8 sectors."""
    step = (sectors(key_bytes) + 7) // 8 * 8
    return [8 + number * step for number in range(8)]


def build(
    active: t.Iterable[int] = (0,),
    *,
    cipher: bytes = b"aes",
    mode: bytes = b"xts-plain64",
    hash_spec: bytes = b"sha256",
    key_bytes: int = 64,
    payload: int = 4096,
    mk_iterations: int = 1000,
    uuid: bytes = UUID,
    starts: t.Optional[t.Sequence[int]] = None,
    padding: bytes = b"",
) -> bytes:
    """1024 bytes of header; ``payload`` and ``starts`` in sectors.

    Active slot n has n + 1000 iterations and ``salt(n)``.
    """
    head = b"LUKS\xba\xbe" + struct.pack(">H", 1)
    head += cipher.ljust(32, b"\0") + mode.ljust(32, b"\0") + hash_spec.ljust(32, b"\0")
    head += struct.pack(">II", payload, key_bytes)
    head += bytes(range(100, 120)) + salt(99) + struct.pack(">I", mk_iterations) + uuid.ljust(40, b"\0")
    active = set(active)
    for number, start in enumerate(starts or default_starts(key_bytes)):
        live = number in active
        head += struct.pack(">II", ACTIVE if live else DEAD, 1000 + number if live else 0)
        head += salt(number) if live else bytes(32)
        head += struct.pack(">II", start, 4000)
    assert len(head) == 592
    return head + padding.ljust(432, b"\0")


def reader(data: bytes) -> t.Callable[[int, int], bytes]:
    """``read`` over bytes that fails the test when something outside is read."""

    def read(offset: int, length: int) -> bytes:
        assert offset >= 0, "read before the start"
        assert length >= 0, "negative read"
        if offset >= len(data) and length == luksmeta.SIZE:
            return bytes(length)  # the gap behind the keyslots, in which no program has stored anything
        assert offset + length <= len(data), "read behind the end"
        return data[offset : offset + length]

    return read


def patch(raw: bytes, offset: int, data: bytes) -> bytes:
    return raw[:offset] + data + raw[offset + len(data) :]


def slot_field(number: int, field: int) -> int:
    """Offset of a field of a slot: 0 state, 4 iterations, 8 salt, 40 material sector, 44 stripes."""
    return 208 + 48 * number + field
