# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS2 headers for tests, packed from the specification's table and not by the code under test."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import struct
import typing as t

UUID = b"4a1f7b0e-5f0e-4b67-9a20-1b5d3f3c2e11"
SIZE = 20 << 20
HDR_SIZE = 0x4000
AREA = 258048


def salt(seed: int, length: int = 32) -> bytes:
    return bytes((seed * 37 + index * 5) % 256 for index in range(length))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def keyslot(offset: int, seed: int = 1, *, key_size: int = 64, size: int = AREA) -> t.Dict[str, t.Any]:
    return {
        "type": "luks2",
        "key_size": key_size,
        "af": {"type": "luks1", "stripes": 4000, "hash": "sha256"},
        "area": {
            "type": "raw",
            "offset": str(offset),
            "size": str(size),
            "encryption": "aes-xts-plain64",
            "key_size": 64,
        },
        "kdf": {"type": "pbkdf2", "hash": "sha256", "iterations": 1000 + seed, "salt": b64(salt(seed))},
    }


def argon2(seed: int = 2) -> t.Dict[str, t.Any]:
    return {"type": "argon2id", "time": 4, "memory": 65536, "cpus": 2, "salt": b64(salt(seed))}


def digest(keyslots: t.Sequence[str], segments: t.Sequence[str] = ("0",), seed: int = 90) -> t.Dict[str, t.Any]:
    return {
        "type": "pbkdf2",
        "keyslots": list(keyslots),
        "segments": list(segments),
        "hash": "sha256",
        "iterations": 1000,
        "salt": b64(salt(seed)),
        "digest": b64(salt(seed + 1)),
    }


def tree(*, slots: int = 2, hdr_size: int = HDR_SIZE) -> t.Dict[str, t.Any]:
    """``slots`` bound keyslots (the second with Argon2id), no tokens, one crypt segment behind 16 MiB."""
    start = 2 * hdr_size
    result: t.Dict[str, t.Any] = {
        "keyslots": {str(number): keyslot(start + number * AREA, number) for number in range(slots)},
        "tokens": {},
        "segments": {
            "0": {
                "type": "crypt",
                "offset": "16777216",
                "size": "dynamic",
                "iv_tweak": "0",
                "encryption": "aes-xts-plain64",
                "sector_size": 512,
            }
        },
        "digests": {"0": digest([str(number) for number in range(slots)])},
        "config": {"json_size": str(hdr_size - 4096), "keyslots_size": str(16777216 - start)},
    }
    if slots > 1:
        result["keyslots"]["1"]["kdf"] = argon2()
    return result


def rich_tree() -> t.Dict[str, t.Any]:
    """Slots 0, 1 (prefer) bound, 5 unbound with a digest of its own, tokens of other people, members nobody knows."""
    result = tree()
    result["keyslots"]["1"]["priority"] = 2
    result["keyslots"]["5"] = keyslot(32768 + 2 * AREA, 5, key_size=32, size=131072)
    result["digests"]["1"] = digest(["5"], [], 70)
    result["tokens"] = {
        "0": {"type": "systemd-tpm2", "keyslots": ["1"], "tpm2-blob": "AAAA", "tpm2-pcrs": [7]},
        "3": {"type": "clevis", "keyslots": ["0", "1"], "jwe": {"ciphertext": "x"}},
        "4": {"type": "luks2-keyring", "keyslots": ["1"], "key_description": "k\u00e9y\n/"},
    }
    result["vendor"] = {"number": 7, "list": [None, True, {}, []]}
    return result


def dumps(value: t.Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def pack(
    area: t.Union[bytes, t.Mapping[str, t.Any]],
    *,
    secondary: bool = False,
    seqid: int = 3,
    hdr_size: int = HDR_SIZE,
    alg: str = "sha256",
    label: bytes = b"label",
    version: int = 2,
    offset: t.Optional[int] = None,
) -> bytes:
    """One copy with a right checksum; ``area``: JSON text or tree, padded with NUL."""
    text = area if isinstance(area, bytes) else dumps(area)
    body = text.ljust(hdr_size - 4096, b"\0")[: hdr_size - 4096]
    position = (hdr_size if secondary else 0) if offset is None else offset
    head = struct.pack(
        ">6sHQQ48s32s64s40s48sQ184s64s3584s",
        b"SKUL\xba\xbe" if secondary else b"LUKS\xba\xbe",
        version,
        hdr_size,
        seqid,
        label,
        alg.encode(),
        salt(201 if secondary else 200, 64),
        UUID,
        b"subsystem",
        position,
        b"",
        b"",
        b"",
    )
    checksum = hashlib.new(alg, head + body).digest()
    return head[:448] + checksum.ljust(64, b"\0") + head[512:] + body


def build(
    area: t.Union[bytes, t.Mapping[str, t.Any], None] = None, *, hdr_size: int = HDR_SIZE, **options: t.Any
) -> bytes:
    """Both copies."""
    what = rich_tree() if area is None else area
    return pack(what, hdr_size=hdr_size, **options) + pack(what, secondary=True, hdr_size=hdr_size, **options)


def reader(raw: bytes, size: int = SIZE) -> t.Callable[[int, int], bytes]:
    """``raw``, then zeros up to ``size``; a read behind that fails the test."""

    def read(offset: int, length: int) -> bytes:
        assert offset >= 0 and length >= 0 and offset + length <= size, "read outside of the device"
        return raw[offset : offset + length].ljust(length, b"\0")

    return read


def changed(base: t.Mapping[str, t.Any], path: str, value: t.Any) -> t.Dict[str, t.Any]:
    """A copy of ``base`` with the member at ``a/b/c`` set; a value of ``...`` deletes it."""
    result: t.Any = copy.deepcopy(base)
    *parents, last = path.split("/")
    place = result
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return t.cast(t.Dict[str, t.Any], result)
