# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""First clusters of qcow2 images for tests, packed from the format's table and not by the code under test."""

from __future__ import annotations

import struct
import typing as t

SIZE = 2359296
POINTER = (262144, 2068480)
Extension = t.Tuple[int, bytes]


def crypto(offset: int = POINTER[0], length: int = POINTER[1]) -> Extension:
    return 0x0537BE77, struct.pack(">QQ", offset, length)


def build(
    *,
    version: int = 3,
    cluster_bits: int = 16,
    method: int = 2,
    incompatible: int = 0,
    autoclear: int = 0,
    header_length: int = 112,
    backing: t.Tuple[int, int] = (0, 0),
    extensions: t.Sequence[Extension] = (crypto(),),
    end: bytes = bytes(8),
) -> bytes:
    """The first cluster of an image, packed from the format's table."""
    head = b"QFI\xfb" + struct.pack(
        ">IQIIQIIQQIIQ", version, *backing, cluster_bits, 1 << 20, method, 1, 196608, 65536, 1, 0, 0
    )
    assert len(head) == 72
    if version >= 3:
        head += struct.pack(">QQQII", incompatible, 0, autoclear, 4, header_length)
        head = head.ljust(header_length, b"\0")
    for kind, data in extensions:
        head += struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)
    return (head + end).ljust(1 << min(max(cluster_bits, 9), 21), b"\0")
