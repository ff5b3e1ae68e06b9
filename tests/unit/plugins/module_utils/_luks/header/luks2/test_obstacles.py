# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes writing unsafe although reading works, and what is merely said."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import codec
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header.luks2 import luks2_cases as cases


def read(path: str, value: t.Any, **options: t.Any) -> codec.Luks2Header:
    return codec.parse(image.reader(image.build(image.changed(image.tree(), path, value), **options)), image.SIZE)


def mandatory(flag: str) -> t.Tuple[str, t.Any]:
    return "config/requirements", {"mandatory": [flag]}


OBSTACLES = [
    (*mandatory("req0"), "'req0'"),
    (*mandatory("offline-reencrypt"), "reencrypted"),
    (*mandatory("online-reencrypt-v9"), "reencrypted"),
    (*mandatory("opal"), "self-encrypting"),
    (*mandatory("opal-v2"), "self-encrypting"),
    ("segments/0", cases.OPAL, "self-encrypting"),
    ("segments/0", cases.OPAL_CRYPT, "self-encrypting"),
    ("segments/0/flags", ["in-reencryption"], "segment 0 belongs to a reencryption"),
    ("segments/0/encryption", "cipher_null-ecb", "not encrypted"),
    ("segments/0/encryption", "null", "not encrypted"),
    ("segments/0/encryption", "capi:ecb(cipher_null)-plain64", "not encrypted"),
    ("keyslots/0/area/encryption", "cipher_null-ecb", "unencrypted"),
    ("keyslots/0/area/encryption", "NULL-ecb", "unencrypted"),
    ("keyslots/0/area/encryption", "cipher_null-cbc-null", "unencrypted"),
    ("keyslots/0/area/encryption", "null-cbc-null", "unencrypted"),
    ("keyslots/0/area/encryption", "capi:cbc(null)-null", "unencrypted"),
    ("keyslots/1/area/size", "4096", "4096 bytes, but its key material needs 256000"),
    ("keyslots/1/area/size", "255488", "needs 256000"),
    ("keyslots/1/key_size", 4294967295, "needs 17179869180000"),
    ("tokens/32", {"type": "x", "keyslots": []}, "token 32"),
    (
        "keyslots/32",
        {"type": "vendor", "key_size": 1, "area": {"type": "x", "offset": "8388608", "size": "4096"}},
        "keyslot 32",
    ),
    ("digests/1", image.digest([], ["0"]), "several digests"),
    ("keyslots/1/key_size", 32, "different sizes (64 bytes in keyslot 0, 32 bytes in keyslot 1)"),
    ("keyslots/0/key_size", 16, "different sizes (16 bytes in keyslot 0, 64 bytes in keyslot 1)"),
    ("tokens/0", {"type": "luksmith.luks-intent", "keyslots": []}, "interrupted run"),
]


@pytest.mark.parametrize(("path", "value", "word"), OBSTACLES)
def test_it_reads_but_no_write_leaves(path: str, value: t.Any, word: str) -> None:
    header = read(path, value)
    assert header.uuid and list(header.keyslots)[:2] == [0, 1]
    obstacle = header.write_obstacle
    assert isinstance(obstacle, errors.Refused)
    assert f"{word}" in obstacle.found and obstacle.why and obstacle.remedy
    with pytest.raises(errors.Refused) as caught:
        header.with_priority(0, "prefer").commit_writes(header)
    assert caught.value.found == obstacle.found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("keyslots/1/area/size", "256000"),
        ("segments/0/encryption", "aes-xts-plain64:nullify"),
        ("segments/0/encryption", "aes-cbc-null"),
        ("keyslots/0/area/encryption", "serpent-cbc-null"),
        ("segments/0/encryption", "capi:cbc(aes)-null"),
        ("tokens/31", {"type": "x", "keyslots": []}),
        ("config/requirements", {"optional": ["req0"]}),
        ("config/flags", ["no-such-flag"]),
    ],
)
def test_no_obstacle(path: str, value: t.Any) -> None:
    header = read(path, value)
    assert header.write_obstacle is None
    assert len(header.with_priority(0, "prefer").commit_writes(header)) == 4


def test_the_last_sequence_id_is_an_obstacle() -> None:
    assert read("vendor", 1, seqid=(1 << 64) - 2).write_obstacle is None
    assert "sequence id" in str(read("vendor", 1, seqid=(1 << 64) - 1).write_obstacle)


def test_requirements_are_told() -> None:
    assert read("config/requirements", {"mandatory": ["req0", "req1"]}).requirements == ("req0", "req1")


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("keyslots/1/area/offset", "8388609", "not aligned"),
        ("keyslots/0/kdf", {"type": "scrypt"}, "'scrypt'"),
        ("keyslots/0/af/stripes", 1, "1 stripes"),
        ("keyslots/0/priority", 9, "priority"),
        ("keyslots/0/area/key_size", 0, "0 bytes"),
        (
            "keyslots/9",
            {"type": "vendor", "key_size": 1, "area": {"type": "x", "offset": "8388608", "size": "4096"}},
            "'vendor'",
        ),
        ("digests/0/keyslots", ["0", "1", "0"], "twice"),
        ("digests/1", {"type": "new", "keyslots": [], "segments": []}, "'new'"),
        ("segments/0/type", "linear", "'linear'"),
        ("segments/0/sector_size", 1536, "1536"),
        ("segments/0/sector_size", 8192, "8192"),
    ],
)
def test_odd_things_are_said_and_do_not_stop(path: str, value: t.Any, word: str) -> None:
    header = read(path, value)
    assert word in " ".join(header.warnings)
    assert header.write_obstacle is None


def test_stripes_are_those_that_cryptsetup_really_uses() -> None:
    assert read("keyslots/0/af/stripes", 1).keyslots[0].af_stripes == 4000
