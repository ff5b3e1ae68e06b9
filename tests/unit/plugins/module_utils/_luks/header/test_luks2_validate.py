# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules for LUKS2 metadata: libcryptsetup's, and the ones that it forgets."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import luks2, luks2_json
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

KDF = image.tree()["keyslots"]["0"]["kdf"]
SEGMENT = image.tree()["segments"]["0"]
DYNAMIC_FIRST = {"0": SEGMENT, "1": {**SEGMENT, "offset": "33554432", "size": "512"}}


def two(**second: t.Any) -> t.Dict[str, t.Any]:
    return {"0": {**SEGMENT, "size": "1048576"}, "1": {**SEGMENT, "offset": "17825792", **second}}


# path in the tree, value (... deletes); cryptsetup 2.6.1 refuses each of these, which tests/interop shows.
MALFORMED: t.List[t.Tuple[str, t.Any]] = [
    *((section, value) for section in ("keyslots", "tokens", "segments", "digests", "config") for value in (..., [], "x", None)),
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
    ("segments/0/sector_size", luks2_json.Number("512.0")),
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
    ("keyslots/0/kdf/salt", ...),
    ("keyslots/0/kdf/iterations", "1000"),
    ("keyslots/0/kdf/iterations", luks2_json.Number("1000.0")),
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

# Cryptsetup 2.6.1 loads these and fails, hangs or misbehaves later.
STRICTER: t.List[t.Tuple[str, t.Any]] = [
    ("tokens", {"": {"type": "x", "keyslots": []}}),
    ("tokens", {"01": {"type": "x", "keyslots": []}}),
    ("digests/01", image.digest([], [])),
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
    ("vendor", {"deep": [1, luks2_json.Number("1.50")]}),
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


def load(path: str, value: t.Any) -> luks2.Luks2Header:
    base = image.tree()
    if path == "segments" and isinstance(value, dict):
        base["digests"]["0"]["segments"] = list(value)
    if path == "segments/1":
        base["digests"]["0"]["segments"].append("1")
        base["segments"]["0"]["size"] = "512"
    text = luks2_json.emit(image.changed(base, path, value))
    return luks2.parse(image.reader(image.build(text)), image.SIZE)


def show(case: t.Any) -> str:
    return "deleted" if case is ... else str(case)[:40]


@pytest.mark.parametrize(("path", "value"), MALFORMED, ids=show)
def test_what_libcryptsetup_refuses_is_malformed(path: str, value: t.Any) -> None:
    with pytest.raises(errors.MalformedHeader) as caught:
        load(path, value)
    assert not isinstance(caught.value, luks2_json.StricterThanCryptsetup)
    assert "Nothing was changed." in str(caught.value)


@pytest.mark.parametrize(("path", "value"), STRICTER, ids=show)
def test_what_libcryptsetup_forgets_is_refused_with_its_own_reason(path: str, value: t.Any) -> None:
    with pytest.raises(luks2_json.StricterThanCryptsetup, match="would load it"):
        load(path, value)


@pytest.mark.parametrize(("path", "value"), FINE, ids=show)
def test_what_is_unusual_but_clear_is_read(path: str, value: t.Any) -> None:
    assert load(path, value).format == "luks2"


def reencrypting(**slot: t.Any) -> t.Dict[str, t.Any]:
    tree = image.tree()
    area = {"type": "checksum", "hash": "sha256", "sector_size": 512, "offset": "8388608", "size": "4096", **slot.pop("area", {})}
    tree["keyslots"]["2"] = {"type": "reencrypt", "key_size": 1, "mode": "reencrypt", "direction": "forward", "area": area, **slot}
    backup = {**SEGMENT, "sector_size": 4096}
    tree["segments"] = {
        "0": {**backup, "size": "1048576"},
        "1": {**SEGMENT, "offset": "17825792"},
        "2": {**SEGMENT, "flags": ["backup-previous"]},
        "3": {**backup, "flags": ["backup-final"]},
    }
    tree["digests"]["0"]["segments"] = ["0", "1", "2", "3"]
    tree["config"]["requirements"] = {"mandatory": ["online-reencrypt-v2"]}
    return tree


def parse(tree: t.Mapping[str, t.Any]) -> luks2.Luks2Header:
    return luks2.parse(image.reader(image.build(tree)), image.SIZE)


@pytest.mark.parametrize(
    "slot",
    [
        {},
        {"mode": "encrypt", "direction": "backward", "area": {"type": "none"}},
        {"mode": "decrypt", "area": {"type": "datashift", "shift_size": "512"}},
        {"area": {"type": "datashift-checksum", "shift_size": "512"}},
        {"area": {"type": "journal"}},
    ],
)
def test_a_reencryption_can_be_read(slot: t.Dict[str, t.Any]) -> None:
    header = parse(reencrypting(**slot))
    assert header.keyslots[2].kind == "reencrypt"
    assert header.layout.taken[2].offset == 8388608
    assert header.write_obstacle is not None


@pytest.mark.parametrize(
    "slot",
    [
        {"key_size": 2},
        {"mode": "x"},
        {"direction": "x"},
        {"mode": 1},
        {"area": {"hash": ""}},
        {"area": {"sector_size": 256}},
        {"area": {"sector_size": 1536}},
        {"area": {"type": "datashift"}},
        {"area": {"type": "datashift", "shift_size": "0"}},
        {"area": {"type": "datashift-journal", "shift_size": "513"}},
    ],
)
def test_a_broken_reencryption_slot_is_malformed(slot: t.Dict[str, t.Any]) -> None:
    with pytest.raises(errors.MalformedHeader):
        parse(reencrypting(**slot))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("config/requirements/mandatory", []),
        ("keyslots/2", ...),
        ("segments/3/flags", ["backup-x"]),
        ("segments/1/encryption", "aes-cbc-plain"),
        ("segments/1/flags", ["in-reencryption"]),
        ("segments/3/flags", []),
        ("keyslots/3", {**reencrypting()["keyslots"]["2"], "area": {"type": "none", "offset": "9437184", "size": "4096"}}),
    ],
)
def test_a_reencryption_must_fit_together(path: str, value: t.Any) -> None:
    with pytest.raises(errors.MalformedHeader):
        parse(image.changed(reencrypting(), path, value))


def test_leftovers_of_an_earlier_kdf_are_repaired_in_memory_only() -> None:
    tree = image.changed(image.tree(), "keyslots/1/kdf/iterations", 1000)
    tree["keyslots"]["1"]["kdf"]["hash"] = "sha256"
    header = parse(tree)
    assert header.keyslots[1].kdf.type == "argon2id"
    assert list(header.metadata["keyslots"]["1"]["kdf"]) == ["type", "time", "memory", "cpus", "salt"]
    assert header.needs_heal is False and "leftovers" in header.warnings[0]
    assert header.image()[0] == image.build(tree)
    assert header.after_commit(header).warnings == ()
