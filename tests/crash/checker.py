# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which secrets open which keyslots of an image, found without any code of the collection.

Written from the LUKS On-Disk Format Specification 1.2.3, the LUKS2 On-Disk Format Specification 1.1.1 and QEMU's
docs/interop/qcow2.txt, for what the volumes of this lane use: PBKDF2, AES-CBC-plain64, no more. It is quick enough to
judge every state; cryptsetup and QEMU judge the checker on a part of them.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import struct
import typing as t

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SECTOR = 512
LUKS1_MAGIC = b"LUKS\xba\xbe"
LUKS2_SECOND = b"SKUL\xba\xbe"
QCOW2_MAGIC = b"QFI\xfb"
QCOW2_CRYPTO_HEADER = 0x0537BE77
ACTIVE = 0x00AC71F3
NOTE_OFFSET = 768
NOTE_KINDS = {
    1: "erase",
    2: "hop-add",
    3: "hop-erase",
    4: "hop-fill",
    5: "replace-erase",
    6: "replace-fill",
    7: "copied",
}


@dataclasses.dataclass(frozen=True)
class Slot:
    hash: str
    iterations: int
    salt: bytes
    offset: int
    key_bytes: int
    stripes: int
    digest: t.Tuple[str, int, bytes, bytes]  # hash, iterations, salt, value
    priority: int = 1


@dataclasses.dataclass(frozen=True)
class Header:
    """``note``: kind and keyslot of what an interrupted run left; ``copies``: for each LUKS2 copy its sequence id, or
    None if damaged.
    """

    size: int
    slots: t.Dict[int, Slot]
    note: t.Optional[t.Tuple[str, t.Optional[int]]] = None
    copies: t.Tuple[t.Optional[int], ...] = ()


def embedded_at(image: bytes) -> int:
    """Where the LUKS header begins: 0, or the place that a qcow2 image names."""
    if not image.startswith(QCOW2_MAGIC):
        return 0
    at = struct.unpack(">I", image[100:104])[0]
    while True:
        kind, length = struct.unpack(">II", image[at : at + 8])
        if kind == QCOW2_CRYPTO_HEADER:
            return int(struct.unpack(">Q", image[at + 8 : at + 16])[0])
        assert kind, "the qcow2 image names no LUKS header"
        at += 8 + -(-length // 8) * 8


def read(data: bytes) -> Header:
    """``data`` begins with the LUKS header."""
    version = struct.unpack(">H", data[6:8])[0] if data.startswith(LUKS1_MAGIC) else 2
    return _luks1(data[:1024]) if version == 1 else _luks2(data)


@functools.lru_cache(maxsize=4096)
def _luks1(raw: bytes) -> Header:
    name = raw[72:104].rstrip(b"\0").decode()
    assert (raw[8:40].rstrip(b"\0"), raw[40:72].rstrip(b"\0")) == (b"aes", b"cbc-plain64")
    key_bytes = struct.unpack(">I", raw[108:112])[0]
    digest = (name, struct.unpack(">I", raw[164:168])[0], raw[132:164], raw[112:132])
    slots = {}
    for number in range(8):
        state, iterations, salt, offset, stripes = struct.unpack(">II32sII", raw[208 + 48 * number : 256 + 48 * number])
        if state == ACTIVE:
            slots[number] = Slot(name, iterations, salt, offset * SECTOR, key_bytes, stripes, digest)
    note = raw[NOTE_OFFSET : NOTE_OFFSET + 64]
    valid = note.startswith(b"LUKSMITH") and note[32:] == hashlib.sha256(note[:32] + raw[112:208]).digest()
    return Header(1024, slots, _note(NOTE_KINDS[note[9]], note[10]) if valid else None)


def _luks2_copy(data: bytes, offset: int) -> t.Optional[t.Tuple[int, t.Dict[str, t.Any], int]]:
    block = data[offset : offset + 4096]
    if block[:6] != (LUKS2_SECOND if offset else LUKS1_MAGIC):
        return None
    size, seqid = struct.unpack(">QQ", block[8:24])
    whole = data[offset : offset + size]
    zeroed = whole[:448] + bytes(64) + whole[512:]
    if hashlib.sha256(zeroed).digest() != whole[448:480]:
        return None
    return seqid, json.loads(whole[4096:].rstrip(b"\0")), size


def _luks2(data: bytes) -> Header:
    return _luks2_header(data[:32768])


@functools.lru_cache(maxsize=4096)
def _luks2_header(data: bytes) -> Header:
    copies = [_luks2_copy(data, offset) for offset in (0, 16384)]
    good = max((copy for copy in copies if copy), key=lambda copy: copy[0])
    tree = good[1]
    digests = {
        slot: (digest["hash"], digest["iterations"], _bytes(digest["salt"]), _bytes(digest["digest"]))
        for digest in tree["digests"].values()
        for slot in digest["keyslots"]
    }
    slots = {}
    for name, item in tree["keyslots"].items():
        assert (item["kdf"]["type"], item["area"]["encryption"]) == ("pbkdf2", "aes-cbc-plain64")
        kdf, area = item["kdf"], item["area"]
        slots[int(name)] = Slot(
            kdf["hash"],
            kdf["iterations"],
            _bytes(kdf["salt"]),
            int(area["offset"]),
            item["key_size"],
            item["af"]["stripes"],
            digests[name],
            item.get("priority", 1),
        )
    notes = [
        _note(token["kind"], token["keyslot"])
        for token in tree["tokens"].values()
        if token["type"] == "luksmith.luks-intent"
    ]
    return Header(2 * good[2], slots, notes[0] if notes else None, tuple(copy[0] if copy else None for copy in copies))


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def openers(
    data: bytes, secrets: t.Mapping[str, bytes], header: t.Optional[Header] = None
) -> t.Dict[int, t.FrozenSet[str]]:
    """Active keyslot -> names of the secrets that open it. ``header``: another one than that at the start of ``data``.

    A salt is used for one secret, so that once a secret has opened a slot with it, no other is tried on that salt
    again.
    """
    found = {}
    for number, slot in (header or read(data)).slots.items():
        material = data[slot.offset : slot.offset + slot.key_bytes * slot.stripes]
        key = (slot, hashlib.sha256(material).digest())
        if key not in _OPENED:
            candidates = [secret for secret in secrets.values() if _OWNER.get(slot.salt, secret) == secret]
            _OPENED[key] = next((secret for secret in candidates if _opens(slot, secret, material)), None)
            if _OPENED[key] is not None:
                _OWNER[slot.salt] = _OPENED[key]
        found[number] = frozenset(name for name, secret in secrets.items() if secret == _OPENED[key])
    return found


_OPENED: t.Dict[t.Tuple[Slot, bytes], t.Optional[bytes]] = {}
_OWNER: t.Dict[bytes, t.Optional[bytes]] = {}


def _opens(slot: Slot, secret: bytes, material: bytes) -> bool:
    key = _merge(_decrypt(_derive(slot.hash, secret, slot.salt, slot.iterations, slot.key_bytes), material), slot)
    name, iterations, salt, value = slot.digest
    return hashlib.pbkdf2_hmac(name, key, salt, iterations, len(value)) == value


@functools.lru_cache(maxsize=4096)
def _derive(name: str, secret: bytes, salt: bytes, iterations: int, length: int) -> bytes:
    return hashlib.pbkdf2_hmac(name, secret, salt, iterations, length)


def _decrypt(key: bytes, material: bytes) -> bytes:
    """AES-CBC with the number of the 512-byte sector as initial vector: one pass of ECB, then the chaining of all
    blocks at once.
    """
    blocks = Cipher(algorithms.AES(key), modes.ECB()).decryptor().update(material)
    chain = bytearray(b"\0" * 16 + material[:-16])
    for number in range(len(material) // SECTOR):
        chain[number * SECTOR : number * SECTOR + 16] = struct.pack("<QQ", number, 0)
    return _xor(blocks, bytes(chain))


def _merge(split: bytes, slot: Slot) -> bytes:
    """Anti-forensic merge; with a key of one hash block or less, diffusion is one hash of four zero bytes and the
    stripe.
    """
    assert slot.hash == "sha256" and slot.key_bytes == 16
    new, numbered, halves, (one, two) = (
        hashlib.sha256,
        struct.Struct(">4xQQ").pack,
        struct.Struct(">QQ16x").unpack,
        (0, 0),
    )
    *words, last_one, last_two = struct.unpack(f">{2 * slot.stripes}Q", split[: 16 * slot.stripes])
    for this_one, this_two in zip(words[::2], words[1::2]):
        one, two = halves(new(numbered(one ^ this_one, two ^ this_two)).digest())
    return struct.pack(">QQ", one ^ last_one, two ^ last_two)


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(len(one), "big")


def _note(kind: str, keyslot: int) -> t.Tuple[str, t.Optional[int]]:
    return kind, None if kind == "copied" else keyslot
