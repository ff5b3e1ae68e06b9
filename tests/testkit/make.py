# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes vectors/*.txt, the same bytes on each run: ``python -m`` ... ``tests.testkit.make``, see README.md.

Key material would be random and large. Each keyslot here has ciphertext of zeros but for its last sector, which is
chosen so that the anti-forensic merge gives the volume key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import pathlib
import re
import struct
import typing as t
import zlib

from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import antiforensic, cipher, kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Argon2, Kdf, Pbkdf2
from ansible_collections.luksmith.luks.tests.testkit.kit import VECTORS

_LICENCE = """\
# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A, B = b"correct horse", b"battery staple"
STRIPES = 4000
BOTH = "opens 0 with a, 1 with b"
# (names, verdict): a member that no reader of a keyslot needs, or of which a reader needs a part only.
READ = (
    ("luks1-attack-payload-huge", BOTH),
    ("luks2-attack-(area-size-[12]|segment-offset-0|sector-size-3|stripes-[012346]|requirements-0)", "opens 0 with a"),
    ("luks2-attack-(slot-key-size-0|area-key-size-0)", "opens nothing"),
)
_STATE = "a state that is neither active nor free is damage to the collection; cryptsetup takes the keyslot for free"
_LATE = "luksDump prints the header, and only the attempt to open it fails"
# (names, program, verdict, why)
DIFFERENCES = (
    ("luks1-attack-hash-unknown", "luksmith", "opens nothing", "the header can be read; no keyslot of it can be tried"),
    (
        "luks1-attack-(cipher-empty|(cipher|mode)-unterminated|digest-iterations-0)", "cryptsetup", "opens nothing",
        _LATE,
    ),
    ("luks1-attack-slot-0-state-.*", "cryptsetup", "opens 1 with b", _STATE),
    ("luks1-attack-slot-1-state-.*", "cryptsetup", "opens 0 with a", _STATE),
    ("luks1-attack-slot-[2-7]-state-.*", "cryptsetup", BOTH, _STATE),
    (
        "luks2-attack-(area-key-size-1|iterations-0|salt-[12]|digest-iterations-0|digest-salt-1)",
        "cryptsetup", "opens nothing", _LATE,
    ),
    (
        "luks2-attack-(digest-iterations-1|digest-salt-0|json-trailing-comma)", "cryptsetup", "opens 0 with a",
        "its reader of JSON is lenient; the format has a number, a salt, and no comma there",
    ),
    ("luks2-attack-area-offset-3", "luksmith", "opens nothing", "an area that begins within a sector is not tried"),
    (
        "luks2-attack-area-offset-3", "cryptsetup", "opens 0 with a",
        "it divides the offset by the size of a sector and drops the rest",
    ),
)  # fmt: skip
UUID = b"5e5f1d0c-7c6b-4b6e-9a62-000000000001"
SIZE1, SIZE2 = 4 << 20, 17 << 20
LUKS1_PAYLOAD = 4096
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
    block, _, chain = mode.partition("-")
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


def luks2(name: str, mode: str, derive: Kdf, size: int, hash_name: str = "sha256") -> t.Tuple[Tree, t.List[Edit]]:
    volume_key, salt = known(f"{name} key", size), known(f"{name} salt", 32)
    derive = derive._replace(salt=known(f"{name} slot", 32))
    digest = bytes(kdf.pbkdf2(hash_name, volume_key, salt, 1000, 32))
    place, content = last_sector(mode, bytes(kdf.derive(derive, A, size, budget=kdf.Budget())), volume_key, hash_name)
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


def stanza(name: str, *lines: str, expect: str) -> str:
    expect = next((right for pattern, right in READ if re.fullmatch(pattern, name)), expect)
    peers = [
        f"peer {program}: {verdict}: {why}"
        for pattern, program, verdict, why in DIFFERENCES
        if re.fullmatch(pattern, name)
    ]
    return "\n".join([f"vector {name}", *lines, f"expect {expect}", *peers]) + "\n"


def lines_of(edits: t.Iterable[Edit]) -> t.List[str]:
    return [f"zlib {offset} {base64.b64encode(zlib.compress(content, 9)).decode()}" for offset, content in edits]


def secret(label: str, content: bytes) -> str:
    return f"secret {label} {content.hex()}"


MODES = [
    *[(f"{one}-xts-plain64", size) for one in ("aes", "serpent", "twofish", "camellia") for size in (32, 64)],
    *[(f"aes-{mode}", size) for mode in ("xts-plain", "xts-plain64be") for size in (32, 64)],
    *[
        (f"{one}-cbc-{iv}", size)
        for one in ("aes", "serpent", "twofish")
        for iv in ("plain", "plain64", "essiv:sha256")
        for size in (16, 32)
    ],
]
HASHES = ["sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", "sha3-256", "sha3-512"]


def luks1_vectors() -> t.Iterator[str]:
    for mode, size in MODES:
        name = f"luks1-{mode.replace(':', '-')}-{size * 8}"
        edits = luks1(name, mode, "sha256", size, {0: A})
        yield stanza(name, f"size {SIZE1}", *lines_of(edits), secret("a", A), expect="opens 0 with a")
        yield stanza(f"{name}-wrong", f"base {name}", secret("a", B), expect="opens nothing")
    for hash_name in HASHES:
        name = f"luks1-hash-{hash_name}"
        edits = luks1(name, "aes-xts-plain64", hash_name, 32, {0: A})
        yield stanza(name, f"size {SIZE1}", *lines_of(edits), secret("a", A), expect="opens 0 with a")
    for slot in range(8):
        name = f"luks1-slot-{slot}"
        edits = luks1(name, "aes-xts-plain64", "sha256", 32, {slot: A, (slot + 1) % 8: B})
        expect = f"opens {slot} with a, {(slot + 1) % 8} with b"
        yield stanza(name, f"size {SIZE1}", *lines_of(edits), secret("a", A), secret("b", B), expect=expect)


BASE1, BASE2 = "luks1-slot-0", "luks2-base"


def luks1_attacks() -> t.Iterator[str]:
    fields: t.List[t.Tuple[str, int, bytes]] = [
        ("version-0", 6, b"\0\0"),
        ("version-3", 6, b"\0\3"),
        ("version-65535", 6, b"\xff\xff"),
        ("magic", 0, b"LUKS\xba\xbf"),
        ("magic-swapped", 0, b"SKUL\xba\xbe"),
        ("magic-zero", 0, bytes(6)),
        ("payload-huge", 104, b"\xff\xff\xff\xff"),
        ("payload-in-the-areas", 104, struct.pack(">I", 9)),
        ("payload-1", 104, struct.pack(">I", 1)),
        ("key-bytes-0", 108, bytes(4)),
        ("key-bytes-huge", 108, b"\xff\xff\xff\xff"),
        ("key-bytes-overflow", 108, struct.pack(">I", 2**31)),
        ("hash-unknown", 72, b"sha257\0"),
        ("hash-empty", 72, bytes(32)),
        ("hash-unterminated", 72, b"x" * 32),
        ("cipher-empty", 8, bytes(32)),
        ("cipher-unterminated", 8, b"a" * 32),
        ("mode-unterminated", 40, b"x" * 32),
        ("digest-iterations-0", 164, bytes(4)),
    ]
    for slot in range(8):
        at = 208 + 48 * slot
        fields += [
            (f"slot-{slot}-state-0", at, bytes(4)),
            (f"slot-{slot}-state-odd", at, struct.pack(">I", 0x00AC71F4)),
            (f"slot-{slot}-offset-0", at + 40, bytes(4)),
            (f"slot-{slot}-offset-1", at + 40, struct.pack(">I", 1)),
            (f"slot-{slot}-offset-huge", at + 40, b"\xff\xff\xff\xff"),
            (f"slot-{slot}-stripes-0", at + 44, bytes(4)),
            (f"slot-{slot}-stripes-1", at + 44, struct.pack(">I", 1)),
            (f"slot-{slot}-stripes-huge", at + 44, b"\xff\xff\xff\xff"),
            (f"slot-{slot}-on-the-next", at + 40, struct.pack(">I", 8 + 256 * ((slot + 1) % 8))),
        ]
    for name, offset, content in fields:
        yield stanza(f"luks1-attack-{name}", f"base {BASE1}", f"hex {offset} {content.hex()}", expect="refused")


def luks2_vectors() -> t.Iterator[str]:
    pbkdf2 = Pbkdf2("sha256", 1000, b"")
    made: t.List[t.Tuple[str, str, Kdf, int, str]] = [(BASE2, "aes-xts-plain64", pbkdf2, 64, "sha256")]
    made += [(f"luks2-{mode.replace(':', '-')}-{size * 8}", mode, pbkdf2, size, "sha256") for mode, size in MODES]
    made += [(f"luks2-hash-{one}", "aes-xts-plain64", Pbkdf2(one, 1000, b""), 64, one) for one in HASHES]
    made += [
        (f"luks2-{kind}-{time}-{lanes}", "aes-xts-plain64", Argon2(kind, time, 32, lanes, b""), 64, "sha256")
        for kind in ("argon2i", "argon2id")
        for time, lanes in ((4, 1), (5, 1), (4, 2), (4, 4))
    ]
    for name, mode, derive, size, hash_name in made:
        tree, edits = luks2(name, mode, derive, size, hash_name)
        lines = [f"size {SIZE2}", *lines_of(edits), f"json {json.dumps(tree)}", "checksum 0 16384", secret("a", A)]
        yield stanza(name, *lines, expect="opens 0 with a")


# Path and value; a path that ends in "-" loses that member.
LUKS2_MEMBERS: t.List[t.Tuple[str, str, t.List[t.Any]]] = [
    (
        "area-offset",
        "keyslots.0.area.offset",
        [
            "0",
            "4096",
            "16384",
            "32769",
            "16777216",
            "18446744073709551615",
            "18446744073709551616",
            "-1",
            "",
            " 32768",
            "32768x",
            32768,
        ],
    ),
    ("area-size", "keyslots.0.area.size", ["0", "1", "255999", "16777216", "18446744073709551615", "-4096", 258048]),
    ("segment-offset", "segments.0.offset", ["0", "32768", "-1", "x", 16777216, "18446744073709551616"]),
    ("segment-size", "segments.0.size", ["0", "-1", "many", 512]),
    ("sector-size", "segments.0.sector_size", [0, 511, 513, 8192, -512, 9007199254740993, "512"]),
    ("slot-key-size", "keyslots.0.key_size", [0, -1, 2**53 + 1, "64", True]),
    ("area-key-size", "keyslots.0.area.key_size", [0, -1, "64"]),
    ("stripes", "keyslots.0.af.stripes", [0, 1, 3999, 4001, -4000, "4000", 2**32]),
    ("iterations", "keyslots.0.kdf.iterations", [0, "1000"]),
    ("salt", "keyslots.0.kdf.salt", ["", "=", "####", 5]),
    ("digest-keyslots", "digests.0.keyslots", [[], ["1"], ["0", "1"], [0], "0", {}]),
    ("digest-segments", "digests.0.segments", [["1"], ["0", "7"], [0], "0"]),
    ("digest-iterations", "digests.0.iterations", [0, "1000"]),
    ("digest-salt", "digests.0.salt", ["", "####"]),
    ("json-size", "config.json_size", ["0", "12287", "16384", 12288, "-1"]),
    ("keyslots-size", "config.keyslots_size", ["0", "4095", "16744449", "18446744073709551615", 16744448]),
    (
        "tokens",
        "tokens",
        [
            [],
            "x",
            {"0": {}},
            {"0": {"type": "x"}},
            {"0": {"type": "x", "keyslots": ["5"]}},
            {"0": {"type": 1, "keyslots": []}},
            {"a": {"type": "x", "keyslots": []}},
        ],
    ),
    ("keyslots", "keyslots", [[], "x", None]),
    ("segments", "segments", [[], {}, "x", None]),
    ("digests", "digests", [[], "x", None]),
    ("config", "config", [[], {}, "x", None]),
    ("requirements", "config.requirements", [{"mandatory": ["unknown-feature"]}, {"mandatory": "x"}]),
]


def luks2_attacks() -> t.Iterator[str]:
    tree, _ = luks2(BASE2, "aes-xts-plain64", Pbkdf2("sha256", 1000, b""), 64)
    for title, path, values in LUKS2_MEMBERS:
        for number, value in enumerate(values):
            copy = json.loads(json.dumps(tree))
            holder = copy
            *before, member = path.split(".")
            for step in before:
                holder = holder[step]
            holder[member] = value
            lines = [f"base {BASE2}", f"json {json.dumps(copy)}", "checksum 0 16384"]
            yield stanza(f"luks2-attack-{title}-{number}", *lines, expect="refused")
    text = json.dumps(tree)
    tricks = {
        "no-object": "[]", "empty": "", "cut": text[:-1], "a-number": "7", "trailing-comma": text[:-1] + ",}",
        "second-object": text + text, "text-behind": text + "x",
        "nan": text.replace('"stripes": 4000', '"stripes": NaN'),
        "deep": '{"x":' * 200 + "1" + "}" * 200, "comment": "/**/" + text,
    }  # fmt: skip
    for name, trick in tricks.items():
        yield stanza(
            f"luks2-attack-json-{name}", f"base {BASE2}", f"json {trick}", "checksum 0 16384", expect="refused"
        )
    both = "opens 0 with a"
    for name, lines, expect in (
        ("first-checksum-wrong", ["hex 448 00000000"], both), ("second-checksum-wrong", ["hex 16832 00000000"], both),
        ("both-checksums-wrong", ["hex 448 00000000", "hex 16832 00000000"], "refused"),
        ("first-magic-gone", ["hex 0 000000000000"], both), ("second-magic-gone", ["hex 16384 000000000000"], both),
        ("first-newer", ["hex 16 0000000000000009", "checksum 0"], both),
        ("second-newer", ["hex 16400 0000000000000009", "checksum 16384"], both),
        ("header-size-0", ["hex 8 0000000000000000", "hex 16392 0000000000000000", "checksum 0 16384"], "refused"),
        ("header-size-huge", ["hex 8 ffffffffffffffff", "hex 16392 ffffffffffffffff", "checksum 0 16384"], "refused"),
        ("header-offset", ["hex 256 0000000000001000", "hex 16640 0000000000001000", "checksum 0 16384"], "refused"),
        ("checksum-unknown", [f"hex 72 {b'sha257'.hex()}", f"hex 16456 {b'sha257'.hex()}", "checksum 0 16384"],
            "refused"),
    ):  # fmt: skip
        yield stanza(f"luks2-copies-{name}", f"base {BASE2}", *lines, expect=expect)


def main(folder: pathlib.Path = VECTORS) -> None:
    folder.mkdir(exist_ok=True)
    for name, parts in (
        ("1-luks1", luks1_vectors), ("2-luks1-attacks", luks1_attacks),
        ("3-luks2", luks2_vectors), ("4-luks2-attacks", luks2_attacks),
    ):  # fmt: skip
        text = "\n".join([_LICENCE, *parts()])
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
