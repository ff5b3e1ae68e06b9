# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata at the borders of the rules, for the unit tests and for cryptsetup itself to judge."""

from __future__ import annotations

import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import metadata
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

KDF = image.tree()["keyslots"]["0"]["kdf"]
SEGMENT = image.tree()["segments"]["0"]
DYNAMIC_FIRST = {"0": SEGMENT, "1": {**SEGMENT, "offset": "33554432", "size": "512"}}


def two(**second: t.Any) -> t.Dict[str, t.Any]:
    return {"0": {**SEGMENT, "size": "1048576"}, "1": {**SEGMENT, "offset": "17825792", **second}}


# path in the tree, value (... deletes); cryptsetup 2.6.1 refuses each of these, which tests/interop shows.
MALFORMED: t.List[t.Tuple[str, t.Any]] = [
    *(
        (section, value)
        for section in ("keyslots", "tokens", "segments", "digests", "config")
        for value in (..., [], "x", None)
    ),
    ("tokens", {"0": {"type": "x"}}),
    ("tokens", {"0": {"keyslots": []}}),
    ("tokens", {"0": {"type": "", "keyslots": []}}),
    ("tokens", {"0": {"type": "x", "keyslots": ["9"]}}),
    ("tokens", {"0": {"type": "x", "keyslots": [0]}}),
    ("tokens", {"0": "x"}),
    ("tokens", {"x": {"type": "x", "keyslots": []}}),
    ("tokens", {"-1": {"type": "x", "keyslots": []}}),
    ("digests/0/type", ""),
    ("digests/0/keyslots", ["0", "1", "9"]),
    ("digests/0/keyslots", {"0": 1}),
    ("digests/0/segments", ["0", "1"]),
    ("digests/0/segments", ...),
    ("digests/0/segments", []),
    ("digests/0/keyslots", ["0"]),
    ("digests/1", image.digest(["0"], [])),
    ("digests/x", image.digest([], [])),
    ("segments", {}),
    ("segments", {"1": SEGMENT}),
    ("segments/01", SEGMENT),
    ("segments/", SEGMENT),
    ("segments/0/type", ""),
    ("segments/0/type", 1),
    ("segments/0/offset", "16777217"),
    ("segments/0/offset", 16777216),
    ("segments/0/offset", ""),
    ("segments/0/offset", " 16777216"),
    ("segments/0/offset", "-512"),
    ("segments/0/offset", "0x1000000"),
    ("segments/0/size", "0"),
    ("segments/0/size", "511"),
    ("segments/0/size", "18446744073709551616"),
    ("segments/0/size", "Dynamic"),
    ("segments/0/flags", "x"),
    ("segments/0/flags", [1]),
    ("segments/0/flags", ["backup-final"]),
    ("segments/0/iv_tweak", 0),
    ("segments/0/iv_tweak", "x"),
    ("segments/0/encryption", ""),
    ("segments/0/sector_size", "512"),
    ("segments/0/sector_size", 0),
    ("segments/0/sector_size", 513),
    ("segments/0/sector_size", -512),
    ("segments/0/sector_size", True),
    ("segments/0/sector_size", metadata.Number("512.0")),
    ("segments/0/sector_size", 1 << 32),
    ("segments/0", {**SEGMENT, "size": "512", "sector_size": 4096}),
    ("segments/0/integrity", []),
    ("segments/0/integrity", {"type": "x"}),
    ("segments", DYNAMIC_FIRST),
    ("segments", two(offset="16777216")),
    ("segments", two(offset="17825280")),
    ("segments", two(size="18446744073709551104")),
    ("segments", {"0": {**SEGMENT, "size": "512", "flags": ["backup-final"]}, "1": {**SEGMENT, "offset": "16777728"}}),
    ("keyslots/x", image.keyslot(8388608)),
    ("keyslots/0/type", ""),
    ("keyslots/0/key_size", "64"),
    ("keyslots/0/key_size", -1),
    ("keyslots/0/key_size", 1 << 32),
    ("keyslots/0/area", ...),
    ("keyslots/0/area/type", ...),
    ("keyslots/0/area/type", "other"),
    ("keyslots/0/area/offset", "0"),
    ("keyslots/0/area/offset", "32767"),
    ("keyslots/0/area/offset", "16777216"),
    ("keyslots/0/area/offset", "290816"),
    ("keyslots/0/area/offset", 32768),
    ("keyslots/0/area/size", "0"),
    ("keyslots/0/area/size", "258049"),
    ("keyslots/0/area/size", "18446744073709551615"),
    ("keyslots/0/area/encryption", ""),
    ("keyslots/0/area/key_size", ...),
    ("keyslots/0/area/key_size", "64"),
    ("keyslots/0/kdf", ...),
    ("keyslots/0/kdf/type", ""),
    ("keyslots/0/kdf/hash", ...),
    ("keyslots/0/kdf/hash", 256),
    ("keyslots/0/kdf/salt", ...),
    ("keyslots/0/kdf/iterations", "1000"),
    ("keyslots/0/kdf/iterations", metadata.Number("1000.0")),
    ("keyslots/1/kdf/time", ...),
    ("keyslots/1/kdf/memory", "65536"),
    ("keyslots/1/kdf/cpus", None),
    ("keyslots/0/af", ...),
    ("keyslots/0/af/type", "luks2"),
    ("keyslots/0/af/hash", ...),
    ("keyslots/0/af/stripes", "4000"),
    ("config/json_size", "12289"),
    ("config/json_size", 12288),
    ("config/json_size", "28672"),
    ("config/keyslots_size", "16744449"),
    ("config/keyslots_size", "16748544"),
    ("config/keyslots_size", "134221824"),
    ("config/keyslots_size", "258048"),
    ("config/flags", "x"),
    ("config/flags", [1]),
    ("config/requirements", []),
    ("config/requirements", {"mandatory": "x"}),
    ("config/requirements", {"mandatory": [1]}),
    ("config/requirements", {"mandatory": ["online-reencrypt", "online-reencrypt-v2"]}),
    ("config/requirements", {"mandatory": ["online-reencrypt-v2"]}),
]

OPAL = {
    "type": "hw-opal",
    "offset": "16777216",
    "size": "1048576",
    "opal_segment_number": 1,
    "opal_key_size": 32,
    "opal_segment_size": "1048576",
}
OPAL_CRYPT = {**SEGMENT, **OPAL, "type": "hw-opal-crypt"}

# Cryptsetup refuses these from 2.7.0 on; before, it does not know the type.
REFUSED_SINCE_2_7: t.List[t.Tuple[str, t.Any]] = [
    ("segments/0", {**OPAL, "size": "dynamic"}),
    ("segments/0", {**OPAL, "opal_segment_number": "1"}),
    ("segments/0", {**OPAL, "opal_key_size": None}),
    ("segments/0", {**OPAL, "opal_segment_size": ""}),
    ("segments/0", {**OPAL, "opal_segment_size": "1048575"}),
    ("segments/0", {**OPAL_CRYPT, "encryption": ""}),
    ("segments/0", {**OPAL_CRYPT, "sector_size": 513}),
]

# Cryptsetup 2.6.1 loads these and fails, hangs or misbehaves later.
STRICTER: t.List[t.Tuple[str, t.Any]] = [
    ("tokens", {"": {"type": "x", "keyslots": []}}),
    ("tokens", {"01": {"type": "x", "keyslots": []}}),
    ("digests/01", image.digest([], [])),
    ("keyslots/", image.keyslot(2 * image.HDR_SIZE + 2 * image.AREA)),
    ("keyslots/0/kdf/iterations", 0),
    ("keyslots/0/kdf/iterations", -1),
    ("keyslots/0/kdf/iterations", 1 << 32),
    ("keyslots/1/kdf/time", 0),
    ("keyslots/1/kdf/memory", -65536),
    ("keyslots/1/kdf/cpus", 0),
    ("keyslots/0/kdf/salt", "AAAA"),
    ("keyslots/0/kdf/salt", "no base64"),
    ("keyslots/0/kdf/salt", KDF["salt"] + "\u00e9"),
    ("keyslots/0/area/key_size", -1),
    ("digests/0/iterations", 0),
    ("digests/0/iterations", ...),
    ("digests/0/hash", ...),
    ("digests/0/salt", "AAAA"),
    ("digests/0/digest", ""),
    ("digests/0/digest", image.b64(bytes(19))),
    ("digests/0/digest", image.b64(bytes(65))),
]

FINE: t.List[t.Tuple[str, t.Any]] = [
    ("vendor", {"deep": [1, metadata.Number("1.50")]}),
    ("segments/0/offset", "0"),
    ("segments/0/offset", "0016777216"),
    ("segments/0/size", "18446744073709551104"),
    ("segments/0/sector_size", 1536),
    ("segments/0/type", "unheard-of"),
    ("segments", two()),
    ("segments/1", {**SEGMENT, "size": "512", "flags": ["backup-x"]}),
    ("segments/0/integrity", {"type": "x", "journal_encryption": "none", "journal_integrity": "none", "key_size": 32}),
    ("digests/0/digest", image.b64(bytes(20))),
    ("digests/0/keyslots", ["1", "0", "0"]),
    ("digests/8", image.digest([], [])),
    ("digests/1", {"type": "new", "keyslots": [], "segments": []}),
    ("keyslots/0/kdf", {"type": "scrypt", "n": 1}),
    ("keyslots/0/af/stripes", 0),
    ("config/flags", ["allow-discards"]),
    ("config/requirements", {"mandatory": [], "optional": 7}),
    ("config/requirements", {}),
]


def text(path: str, value: t.Any) -> bytes:
    """The metadata of a case as JSON; the digest follows where segments come."""
    base = image.tree()
    if path == "segments" and isinstance(value, dict):
        base["digests"]["0"]["segments"] = list(value)
    if path == "segments/1":
        base["digests"]["0"]["segments"].append("1")
        base["segments"]["0"]["size"] = "512"
    return metadata.emit(image.changed(base, path, value))


# JSON that is not strict, as the value of a whole area; json-c accepts most of it in a way of its own.
LENIENT: t.List[t.Union[str, bytes]] = [
    "{'a':1}",
    '{"a":1,}',
    '{"a":[1,]}',
    '{"a":1 /* why */}',
    '{"a":1 // why\n}',
    '{"a":NaN}',
    '{"a":Infinity}',
    '{"a":-Infinity}',
    '{"a":TRUE}',
    '{"a":007}',
    '{"a":-0}',
    '{"a":1.}',
    '{"a":+1}',
    '{"a":"x\ny"}',
    '{"a":"\x01"}',
    '{"a":1,"a":2}',
    '{"x":{"b":1,"c":2,"b":1}}',
    '{"a":"\\ud800"}',
    '{"\\udc00":1}',
    '{"a":"\\udc00\\ud800"}',
    '{"a":"x\\u0000y"}',
    '{"a\\u0000":1}',
    '{"a":9223372036854775808}',
    '{"a":-9223372036854775809}',
    '{"a":' + "9" * 5000 + "}",
    '{"a"\v:1}',
    '{"a":"\\x"}',
    '{"a":1',
    b'{"a":"\xff"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xc0\x80"}',
]
