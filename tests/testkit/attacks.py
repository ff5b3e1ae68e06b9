# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vectors of hostile and broken headers: one field, one member or one copy at a time."""

from __future__ import annotations

import json
import struct
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Pbkdf2

from .computed import luks2
from .plain import BASE1, BASE2
from .stanzas import stanza


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
    tree, _areas = luks2(BASE2, "aes-xts-plain64", Pbkdf2("sha256", 1000, b""), 64)
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
    both = "opens 0 with a, degraded"
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
