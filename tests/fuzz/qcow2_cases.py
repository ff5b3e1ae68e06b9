# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""qcow2 headers, hurt: the fields, the chain of header extensions, the pointer, and what lies where it points."""

from __future__ import annotations

import random
import struct
import typing as t

from ansible_collections.luksmith.luks.tests.fuzz import hurt, luks1_cases
from ansible_collections.luksmith.luks.tests.fuzz.medium import Medium
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import qcow2_image

# offset and bytes of the numbers of a version 3 header
_NUMBERS = ((4, 4), (8, 8), (16, 4), (20, 4), (24, 8), (32, 4), (72, 8), (80, 8), (88, 8), (96, 4), (100, 4))


def _extension(rng: random.Random, cluster: int) -> t.Tuple[int, bytes]:
    how = rng.randrange(5)
    if how == 0:
        return rng.choice((0x6803F857, 0xE2792ACA, 0x23852875, 0x44415441, 0)), rng.randbytes(
            rng.choice((0, 1, 8, 48, 384))
        )
    if how == 1:
        return 0x0537BE77, rng.randbytes(rng.choice((0, 15, 16, 17)))
    offset = rng.choice((cluster, 2 * cluster, 262144, hurt.unsigned(rng, 64)))
    return qcow2_image.crypto(offset, rng.choice((qcow2_image.POINTER[1], cluster, 1, 0, hurt.unsigned(rng, 64))))


def make(rng: random.Random) -> Medium:
    bits = rng.choice((9, 12, 16, 16, 16, 16, 21, 8, 22))
    cluster = 1 << min(max(bits, 9), 16)
    extensions = [_extension(rng, cluster) for _time in range(rng.choice((0, 0, 0, 1, 1, 2)))]
    if rng.random() < 0.7:
        extensions.insert(rng.randrange(len(extensions) + 1), qcow2_image.crypto())
    head = qcow2_image.build(
        version=rng.choice((2, 3, 3, 3)),
        cluster_bits=min(bits, 16) if bits != 22 else 16,
        incompatible=rng.choice((0, 0, 0, 1, 2, 4, 1 << rng.randrange(64))),
        autoclear=rng.choice((0, 0, 1 << rng.randrange(64))),
        header_length=rng.choice((104, 112, 112, 112, 120)),
        extensions=extensions,
        end=rng.choice((bytes(8), b"")),
    )
    for _time in range(rng.choice((0, 0, 1, 1, 2))):
        if rng.random() < 0.7:
            offset, length = rng.choice(_NUMBERS)
            head = head[:offset] + hurt.unsigned(rng, 8 * length).to_bytes(length, "big") + head[offset + length :]
        else:
            head = hurt.hurt_bytes(head, rng, within=256)
    if rng.random() < 0.1:
        # Many extensions without content, up to the end of the first cluster.
        head = head[:112] + struct.pack(">II", 1, 0) * ((len(head) - 112) // 8)
    size = rng.choice((*[qcow2_image.SIZE] * 9, 71, 72, 103, 104, 512, 65536, 262144, hurt.number(rng), 2**63 - 1))
    raw = head
    if rng.random() < 0.2:
        raw = head.ljust(qcow2_image.POINTER[0], b"\0")[: qcow2_image.POINTER[0]] + luks1_cases.make(rng).raw
    return Medium(raw[:size], size)
