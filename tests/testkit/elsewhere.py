# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vectors of headers that lie somewhere else than at the start of a volume: in a qcow2 image, or alone.

Source of the qcow2 image: QEMU's qcow2 format description (docs/interop/qcow2).
"""

from __future__ import annotations

import json
import struct
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Pbkdf2

from .computed import SIZE2, A, B, Edit, luks1, luks2
from .plain import BASE1
from .stanzas import BOTH, lines_of, secret, stanza

CLUSTER = 65536
_REFCOUNT_TABLE, _REFCOUNT_BLOCK, _L1_TABLE, LUKS = (number * CLUSTER for number in (1, 2, 3, 4))
EXTENSION = 104  # where the only header extension begins, behind a header of version 3
LENGTH = 2068480  # of header and key material: eight areas for a key of 64 bytes
SIZE = LUKS + -(-LENGTH // CLUSTER) * CLUSTER


def qcow2(luks: t.Iterable[Edit]) -> t.List[Edit]:
    """An image without a cluster of data around a LUKS1 header."""
    head = b"QFI\xfb" + struct.pack(
        ">IQIIQIIQQIIQQQQII", 3, 0, 0, 16, 1 << 20, 2, 1, _L1_TABLE, _REFCOUNT_TABLE, 1, 0, 0, 0, 0, 0, 4, EXTENSION
    )
    head += struct.pack(">IIQQ", 0x0537BE77, 16, LUKS, LENGTH)
    counts = struct.pack(">H", 1) * (SIZE // CLUSTER)
    around = [(0, head), (_REFCOUNT_TABLE, struct.pack(">Q", _REFCOUNT_BLOCK)), (_REFCOUNT_BLOCK, counts)]
    return [*around, *((LUKS + offset, content) for offset, content in luks)]


def qcow2_vectors() -> t.Iterator[str]:
    for mode, size in (
        ("aes-xts-plain64", 32), ("aes-xts-plain64", 64), ("aes-cbc-essiv:sha256", 32), ("aes-cbc-plain64", 16),
        ("serpent-xts-plain64", 64), ("twofish-xts-plain64", 64),
    ):  # fmt: skip
        name = f"qcow2-{mode.replace(':', '-')}-{size * 8}"
        edits = qcow2(luks1(name, mode, "sha256", size, {0: A}))
        yield stanza(name, f"size {SIZE}", *lines_of(edits), secret("a", A), expect="opens 0 with a")
        yield stanza(f"{name}-wrong", f"base {name}", secret("a", B), expect="opens nothing")
    for slot in range(8):
        name = f"qcow2-slot-{slot}"
        edits = qcow2(luks1(name, "aes-xts-plain64", "sha256", 32, {slot: A}))
        yield stanza(name, f"size {SIZE}", *lines_of(edits), secret("a", A), expect=f"opens {slot} with a")


def qcow2_attacks() -> t.Iterator[str]:
    number, long = struct.Struct(">I").pack, struct.Struct(">Q").pack
    for name, offset, content, expect in (
        ("magic", 0, b"QFI\xfc", "refused"),
        ("version-1", 4, number(1), "refused"),
        ("version-4", 4, number(4), "refused"),
        ("cluster-bits-8", 20, number(8), "refused"),
        ("cluster-bits-22", 20, number(22), "refused"),
        ("not-encrypted", 32, number(0), "refused"),
        ("legacy-aes", 32, number(1), "refused"),
        ("encryption-3", 32, number(3), "refused"),
        ("corrupt-bit", 72, long(2), "refused"),
        ("unknown-feature", 72, long(1 << 60), "refused"),
        ("refcount-order-7", 96, number(7), "refused"),
        ("header-length-96", 100, number(96), "refused"),
        ("header-length-105", 100, number(105), "refused"),
        ("header-length-huge", 100, number(0xFFFFFFF8), "refused"),
        ("extension-gone", EXTENSION, bytes(4), "refused"),
        ("extension-of-another", EXTENSION, number(0x12345678), "refused"),
        ("extension-length-0", EXTENSION + 4, number(0), "refused"),
        ("extension-length-8", EXTENSION + 4, number(8), "refused"),
        ("extension-length-24", EXTENSION + 4, number(24), "refused"),
        ("extension-length-huge", EXTENSION + 4, number(0xFFFFFFF8), "refused"),
        ("extension-twice", EXTENSION + 24, struct.pack(">IIQQ", 0x0537BE77, 16, LUKS, LENGTH), "refused"),
        ("luks-at-0", EXTENSION + 8, long(0), "refused"),
        ("luks-unaligned", EXTENSION + 8, long(LUKS + 512), "refused"),
        ("luks-behind-the-end", EXTENSION + 8, long(1 << 40), "refused"),
        ("luks-at-the-end-of-all", EXTENSION + 8, long((1 << 64) - CLUSTER), "refused"),
        ("luks-length-0", EXTENSION + 16, long(0), "refused"),
        ("luks-length-592", EXTENSION + 16, long(592), "refused"),
        ("luks-length-huge", EXTENSION + 16, long((1 << 64) - 1), "refused"),
        ("luks-magic", LUKS, bytes(6), "refused"),
        ("luks-version-2", LUKS + 6, b"\0\2", "refused"),
    ):
        lines = ["base qcow2-slot-0", f"hex {offset} {content.hex()}"]
        yield stanza(f"qcow2-attack-{name}", *lines, expect=expect)


def detached_vectors() -> t.Iterator[str]:
    payload = "detached 1048576"
    for start, title in ((b"\0\0\0\0", "at-0"), (b"\0\0\0\x08", "at-8"), (b"\0\0\x10\0", "at-4096")):
        lines = [f"base {BASE1}", payload, f"hex 104 {start.hex()}"]
        yield stanza(f"detached-luks1-{title}", *lines, expect="refused" if title == "at-8" else BOTH)
    for name, offset, sector_size, expect in (
        ("at-0", "0", 512, "opens 0 with a"),
        ("at-16-mib", "16777216", 512, "opens 0 with a"),
        ("sectors-of-4096", "0", 4096, "opens 0 with a"),
        ("unaligned", "513", 512, "refused"),
    ):
        tree, edits = luks2(f"detached-luks2-{name}", "aes-xts-plain64", Pbkdf2("sha256", 1000, b""), 64)
        tree["segments"]["0"].update(offset=offset, sector_size=sector_size)
        lines = [f"size {SIZE2}", payload, *lines_of(edits), f"json {json.dumps(tree)}", "checksum 0 16384"]
        yield stanza(f"detached-luks2-{name}", *lines, secret("a", A), expect=expect)
