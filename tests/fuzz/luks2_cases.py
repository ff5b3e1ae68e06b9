# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS2 headers, hurt: the JSON tree, its text, the binary fields, each copy by itself; checksums are mostly right
again.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import json
import random
import struct
import typing as t

from ansible_collections.luksmith.luks.tests.fuzz import hurt
from ansible_collections.luksmith.luks.tests.fuzz.medium import Medium
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

Tree = t.Dict[str, t.Any]

# Where signatures of other formats lie, and what they say.
_SIGNATURES = (
    (510, b"\x55\xaa"),
    (512, b"EFI PART"),
    (512, b"LABELONE"),
    (1080, b"\x53\xef"),
    (0x8001, b"CD001"),
    (4086, b"SWAPSPACE2"),
    (65600, b"_BHRfS_M"),
)
# offset and bytes of the numbers of the binary header
_NUMBERS = ((6, 2), (8, 8), (16, 8), (256, 8))
_TEXTS = ((24, 48), (72, 32), (104, 64), (168, 40), (208, 48))


@dataclasses.dataclass
class Copy:
    """One copy before its checksum is made."""

    text: bytes
    seqid: int = 3
    alg: str = "sha256"


@functools.lru_cache(maxsize=None)
def bases() -> t.Tuple[str, ...]:
    """Sound metadata of all kinds, as JSON: plain, rich, with our notes, being reencrypted, full, with areas at odd
    places.
    """
    rich = image.rich_tree()
    noted = copy.deepcopy(rich)
    noted["tokens"]["6"] = {
        "type": "luksmith.luks-intent", "keyslots": [], "version": 1, "kind": "wipe", "keyslot": 3,
        "extents": [{"offset": "8388608", "size": "4096"}]
    }  # fmt: skip
    noted["tokens"]["7"] = {
        "type": "luksmith.luks-record", "keyslots": [], "version": 1,
        "slots": {"0": {"label": "a", "fingerprint": "00", "changed": "2026-01-01T00:00:00Z"}},
    }  # fmt: skip
    moving = image.tree()
    moving["config"]["requirements"] = {"mandatory": ["online-reencrypt-v2"]}
    moving["keyslots"]["2"] = {
        "type": "reencrypt", "key_size": 1, "mode": "reencrypt", "direction": "forward",
        "area": {"type": "checksum", "offset": "8388608", "size": "4096", "hash": "sha256", "sector_size": 512},
    }  # fmt: skip
    moving["segments"]["1"] = {**moving["segments"]["0"], "flags": ["backup-previous"]}
    moving["segments"]["2"] = {**moving["segments"]["0"], "flags": ["backup-final"]}
    moving["digests"]["0"]["segments"] = ["0", "1", "2"]
    full = image.tree(slots=32)
    trees = (image.tree(slots=1), image.tree(), rich, rich, noted, noted, moving, full)
    return tuple(json.dumps(tree, separators=(",", ":"), ensure_ascii=False) for tree in trees)


def make(rng: random.Random) -> Medium:
    hdr_size = rng.choice((*[0x4000] * 30, 0x8000, 0x10000, 0x40000)) if rng.random() < 0.9998 else 0x400000
    tree = json.loads(rng.choice(bases()))
    _fit(tree, hdr_size)
    if rng.random() < 0.0001:
        return _crowd(rng)
    for _time in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        (hurt_areas if rng.random() < 0.25 else hurt.hurt_tree)(tree, rng)
    text = image.dumps(tree) if rng.random() < 0.9 else json.dumps(tree).encode()
    if rng.random() < 0.12:
        text = hurt.hurt_text(text, rng)
    first = second = Copy(text, alg=rng.choice(("sha256",) * 12 + ("sha1", "sha512", "md5", "sha3-256")))
    if rng.random() < 0.25:
        second = _other(tree, first, rng)
        if rng.random() < 0.5:
            first, second = second, first
    copies = [pack(one, hdr_size, rng, secondary=position == 1) for position, one in enumerate((first, second))]
    if rng.random() < 0.1:
        copies[rng.randrange(2)] = rng.choice((bytes(hdr_size), rng.randbytes(512).ljust(hdr_size, b"\0")))
    raw = b"".join(copies)
    if rng.random() < 0.08:
        raw = hurt.hurt_bytes(raw, rng)
    if rng.random() < 0.05:
        where, signature = rng.choice(_SIGNATURES)
        raw = raw.ljust(where + len(signature), b"\0")
        raw = raw[:where] + signature + raw[where + len(signature) :]
    size = rng.choice(
        (*[image.SIZE] * 12, 16777216, 16777215, 2 * hdr_size, hdr_size, 4096, 4095, hurt.number(rng), 2**63 - 1, 2**64)
    )
    return Medium(raw[:size], size)


def _fit(tree: Tree, hdr_size: int) -> None:
    """Make the base one of another header size."""
    move = 2 * hdr_size - 0x8000
    tree["config"].update(json_size=str(hdr_size - 4096), keyslots_size=str(16777216 - 2 * hdr_size))
    for slot in tree["keyslots"].values():
        slot["area"]["offset"] = str(int(slot["area"]["offset"]) + move)


def hurt_areas(tree: Tree, rng: random.Random) -> None:
    """Areas that touch, overlap, leave their room, wrap round at 2^64, or are too short for their key."""
    slots = (
        [
            slot
            for slot in tree.get("keyslots", {}).values()
            if isinstance(slot, dict) and isinstance(slot.get("area"), dict)
        ]
        if _is_tree(tree)
        else []
    )
    if not slots:
        return
    area, other = rng.choice(slots)["area"], rng.choice(slots)["area"]
    try:
        edge = int(other["offset"]) + rng.choice((0, int(other["size"])))
    except (KeyError, TypeError, ValueError):
        edge = 0
    if rng.random() < 0.6:
        area["offset"] = str(
            rng.choice(
                (
                    edge,
                    edge + rng.choice((1, -1, 512, -512, 4096, -4096)),
                    hurt.number(rng),
                    2**64 - rng.choice((512, 4096, 258048)),
                )
            )
        )
    else:
        area["size"] = str(rng.choice((hurt.number(rng), 4096, 258047, 258049, 2**63, 2**64 - 1)))


def _is_tree(tree: Tree) -> bool:
    return isinstance(tree.get("keyslots"), dict)


def _other(tree: Tree, first: Copy, rng: random.Random) -> Copy:
    """What the second copy may be instead: older, newer, with other content or another algorithm."""
    changed = copy.deepcopy(tree)
    if rng.random() < 0.6:
        hurt.hurt_tree(changed, rng)
    seqid = rng.choice((first.seqid, first.seqid, first.seqid + 1, first.seqid - 1, 0, 2**64 - 1))
    return Copy(
        image.dumps(changed), seqid, rng.choice((first.alg, first.alg, "sha1", "sha224", "whirlpool", "nohash", ""))
    )


def pack(one: Copy, hdr_size: int, rng: random.Random, *, secondary: bool) -> bytes:
    try:
        hashlib.new(one.alg.replace("-", "_"))
        block = bytearray(
            image.pack(one.text, secondary=secondary, seqid=one.seqid, hdr_size=hdr_size, alg=one.alg.replace("-", "_"))
        )
    except ValueError:
        block = bytearray(image.pack(one.text, secondary=secondary, seqid=one.seqid, hdr_size=hdr_size))
    struct.pack_into("32s", block, 72, one.alg.encode())
    if rng.random() < 0.1:
        offset, length = rng.choice(_NUMBERS)
        block[offset : offset + length] = hurt.unsigned(rng, 8 * length).to_bytes(length, "big")
    if rng.random() < 0.1:
        offset, length = rng.choice(_TEXTS)
        block[offset : offset + length] = rng.choice(
            (rng.randbytes(length), b"\x1b[31m\n\r\x9b", b"A" * length, bytes(length))
        ).ljust(length, b"\0")[:length]
    if rng.random() < 0.95:
        _seal(block)
    return bytes(block)


def _seal(block: bytearray) -> None:
    name = bytes(block[72:104]).split(b"\0")[0].decode("latin-1").replace("-", "_")
    try:
        state = hashlib.new(name)
        block[448:512] = bytes(64)
        state.update(block)
        digest = state.digest()
    except (ValueError, TypeError):
        return
    block[448:512] = digest.ljust(64, b"\0")[:64]


def _crowd(rng: random.Random) -> Medium:
    """As many members as fit into the largest JSON area: what is not linear takes for ever."""
    hdr_size = 0x400000
    tree = image.tree(slots=1, hdr_size=hdr_size)
    tree["config"]["keyslots_size"] = str(16777216 - 2 * hdr_size)
    room, kind = hdr_size - 4096 - 20000, rng.randrange(9)
    text = b""
    if kind == 0:
        text = b'{"' + b'\\"' * (room // 2)
    elif kind == 1:
        text = b'{"a":[' + b'"",' * (room // 3)
    elif kind == 2:
        tree["digests"]["1"] = {"type": "x", "keyslots": ["0"] * (room // 8), "segments": []}
        tree["keyslots"].update(
            {str(number): _stub(2 * hdr_size + 262144 + 512 * number) for number in range(1, min(room // 160, 14000))}
        )
    elif kind == 3:
        tree["digests"]["1"] = {"type": "x", "keyslots": [], "segments": ["0"] * (room // 8)}
        tree["segments"].update(
            {
                str(number): {"type": "x", "offset": str(2**40 + 512 * number), "size": "512"}
                for number in range(1, room // 120)
            }
        )
        tree["segments"]["0"]["size"] = "512"
    elif kind == 4:
        tree["tokens"] = {str(number): {"type": "x", "keyslots": ["0"] * 20} for number in range(room // 130)}
    elif kind == 5:
        tree["digests"].update(
            {str(number): {"type": "x", "keyslots": [], "segments": ["0"] * 3} for number in range(1, room // 70)}
        )
    elif kind == 6:
        extents = [
            {"offset": str(2 * hdr_size + 4096 * (number % 1000)), "size": "4096"} for number in range(room // 40)
        ]
        tree["tokens"]["0"] = {
            "type": "luksmith.luks-intent",
            "keyslots": [],
            "version": 1,
            "kind": "wipe",
            "keyslot": 3,
            "extents": extents,
        }
    elif kind == 7:
        tree["config"]["requirements"] = {"mandatory": ["x" * 10] * (room // 14)}
    else:
        start, size = 2 * hdr_size + 131072 * 4, 512
        slot = {**image.keyslot(start, 1), "key_size": 0}
        count = min(room // 420, (16777216 - start) // size)
        for number in range(1, count):
            tree["keyslots"][str(number)] = {
                **slot,
                "area": {**slot["area"], "offset": str(start + size * number), "size": str(size)},
            }
            tree["digests"]["0"]["keyslots"].append(str(number))
    text = text or image.dumps(tree)
    return Medium(image.build(text[: hdr_size - 4097], hdr_size=hdr_size), image.SIZE)


def _stub(offset: int) -> Tree:
    return {"type": "x", "key_size": 1, "area": {"type": "x", "offset": str(offset), "size": "512"}}
