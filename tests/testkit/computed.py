# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS1 and LUKS2 headers, computed; the same bytes on each run.

Key material would be random and large. Each keyslot here has ciphertext of zeros but for its last sector, which is
chosen so that the anti-forensic merge gives the volume key.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import antiforensic, cipher, kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Kdf, Pbkdf2

A, B = b"correct horse", b"battery staple"
STRIPES = 4000
UUID = b"5e5f1d0c-7c6b-4b6e-9a62-000000000001"
SIZE1, SIZE2 = 4 << 20, 17 << 20
LUKS1_PAYLOAD = 4096  # sectors
Edit = t.Tuple[int, bytes]
Tree = t.Dict[str, t.Any]


def known(name: str, size: int) -> bytes:
    """Bytes that look random and are the same on each run."""
    return hashlib.shake_256(name.encode()).digest(size)


def last_sector(encryption: str, key: bytes, volume_key: bytes, af_hash: str) -> Edit:
    """The only sector of key material that is not zeros, and its place in the area."""
    size = -(-len(volume_key) * STRIPES // 512) * 512
    plain = cipher.decrypt(encryption, key, bytes(size))
    end = len(volume_key) * STRIPES
    plain[end - len(volume_key) : end] = bytes(len(volume_key))
    merged = antiforensic.merge(plain, len(volume_key), STRIPES, af_hash)
    last = bytes(one ^ other for one, other in zip(merged, volume_key))
    plain[end - len(volume_key) : end] = last
    sealed = bytes(cipher.encrypt(encryption, key, plain))
    if any(sealed[:-512]):
        raise ValueError(f"{encryption}: one sector depends on another")
    return size - 512, sealed[-512:]


def luks1(name: str, mode: str, hash_name: str, size: int, holders: t.Mapping[int, bytes]) -> t.List[Edit]:
    """``mode``: "aes-xts-plain64"; ``holders``: keyslot -> secret."""
    volume_key, salt = known(f"{name} key", size), known(f"{name} salt", 32)
    digest = bytes(kdf.pbkdf2(hash_name, volume_key, salt, 1000, 20))
    block, _dash, chain = mode.partition("-")
    raw = struct.pack(
        ">6sH32s32s32sII20s32sI40s", b"LUKS\xba\xbe", 1, block.encode(), chain.encode(), hash_name.encode(),
        LUKS1_PAYLOAD, size, digest, salt, 1000, UUID,
    )  # fmt: skip
    stride = -(-size * STRIPES // 4096) * 8
    edits: t.List[Edit] = []
    for slot in range(8):
        sector, slot_salt = 8 + slot * stride, known(f"{name} slot {slot}", 32)
        if slot in holders:
            key = bytes(kdf.pbkdf2(hash_name, holders[slot], slot_salt, 1000, size))
            place, content = last_sector(mode, key, volume_key, hash_name)
            edits.append((sector * 512 + place, content))
            raw += struct.pack(">II32sII", 0x00AC71F3, 1000, slot_salt, sector, STRIPES)
        else:
            raw += struct.pack(">II32sII", 0x0000DEAD, 0, bytes(32), sector, STRIPES)
    return [(0, raw), *edits]


def luks2(
    name: str, mode: str, derive: Kdf, size: int, hash_name: str = "sha256", secret: bytes = A
) -> t.Tuple[Tree, t.List[Edit]]:
    volume_key, salt = known(f"{name} key", size), known(f"{name} salt", 32)
    derive = derive._replace(salt=known(f"{name} slot", 32))
    digest = bytes(kdf.pbkdf2(hash_name, volume_key, salt, 1000, 32))
    key = bytes(kdf.derive(derive, secret, size, budget=kdf.Budget()))
    place, content = last_sector(mode, key, volume_key, hash_name)
    if isinstance(derive, Pbkdf2):
        costs: Tree = {"type": "pbkdf2", "hash": derive.hash, "iterations": derive.iterations}
    else:
        costs = {"type": derive.type, "time": derive.time, "memory": derive.memory, "cpus": derive.parallel}
    area = -(-size * STRIPES // 4096) * 4096
    tree = {
        "keyslots": {"0": {
            "type": "luks2", "key_size": size,
            "af": {"type": "luks1", "stripes": STRIPES, "hash": hash_name},
            "area": {"type": "raw", "offset": "32768", "size": str(area), "encryption": mode, "key_size": size},
            "kdf": {**costs, "salt": base64.b64encode(derive.salt).decode()},
        }},
        "tokens": {},
        "segments": {"0": {
            "type": "crypt", "offset": "16777216", "size": "dynamic", "iv_tweak": "0", "encryption": mode,
            "sector_size": 512,
        }},
        "digests": {"0": {
            "type": "pbkdf2", "keyslots": ["0"], "segments": ["0"], "hash": hash_name, "iterations": 1000,
            "salt": base64.b64encode(salt).decode(), "digest": base64.b64encode(digest).decode(),
        }},
        "config": {"json_size": "12288", "keyslots_size": "16744448"},
    }  # fmt: skip
    edits = [(32768 + place, content)]
    for copy, magic in ((0, b"LUKS\xba\xbe"), (16384, b"SKUL\xba\xbe")):
        block = struct.pack(
            ">6sHQQ48s32s64s40s48sQ", magic, 2, 16384, 1, b"", b"sha256", known(f"{name} {copy}", 64), UUID, b"", copy
        )
        edits.append((copy, block))
    return tree, edits
