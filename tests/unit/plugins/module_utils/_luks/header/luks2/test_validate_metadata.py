# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules for LUKS2 metadata: libcryptsetup's, and the ones that it forgets."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import codec, metadata, validate_metadata
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header.luks2 import luks2_cases as cases

SEGMENT = cases.SEGMENT


def load(path: str, value: t.Any) -> codec.Luks2Header:
    return codec.parse(image.reader(image.build(cases.text(path, value))), image.SIZE)


def show(case: t.Any) -> str:
    return "deleted" if case is ... else str(case)[:40]


@pytest.mark.parametrize(("path", "value"), cases.MALFORMED, ids=show)
def test_what_libcryptsetup_refuses_is_malformed(path: str, value: t.Any) -> None:
    with pytest.raises(errors.MalformedHeader) as caught:
        load(path, value)
    assert not isinstance(caught.value, metadata.StricterThanCryptsetup)
    assert "Nothing was changed." in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("segments", {}, "it has no segment"),
        ("segments", cases.DYNAMIC_FIRST, "a segment with dynamic size is not the last one"),
        ("config/keyslots_size", "16743936", "the keyslots area has 16743936 bytes"),
        ("keyslots/0/kdf/hash", ..., "the kdf of keyslot 0 does not have exactly the members"),
    ],
    ids=show,
)
def test_the_sentence_tells_which_rule_is_broken(path: str, value: t.Any, words: str) -> None:
    """Other rules would refuse most of these, too, and say something else."""
    with pytest.raises(errors.MalformedHeader, match=words):
        load(path, value)


def test_a_detached_header_has_a_largest_keyslots_area() -> None:
    """No payload behind it bounds the area."""
    tree = image.changed(image.tree(), "segments/0/offset", "0")

    def with_area_of(size: int) -> codec.Luks2Header:
        return codec.parse(
            image.reader(image.build(image.changed(tree, "config/keyslots_size", str(size)))),
            2 * validate_metadata.MAX_KEYSLOTS_SIZE,
        )

    assert with_area_of(validate_metadata.MAX_KEYSLOTS_SIZE).format == "luks2"
    with pytest.raises(errors.MalformedHeader, match="the keyslots area has 134221824 bytes"):
        with_area_of(validate_metadata.MAX_KEYSLOTS_SIZE + 4096)


def test_two_reencryptions_at_once_are_malformed() -> None:
    with pytest.raises(errors.MalformedHeader, match="several online reencryption requirements"):
        parse(
            image.changed(reencrypting(), "config/requirements/mandatory", ["online-reencrypt-v2", "online-reencrypt"])
        )


@pytest.mark.parametrize(("path", "value"), cases.STRICTER, ids=show)
def test_what_libcryptsetup_forgets_is_refused_with_its_own_reason(path: str, value: t.Any) -> None:
    with pytest.raises(metadata.StricterThanCryptsetup, match="would load it"):
        load(path, value)


@pytest.mark.parametrize(("path", "value"), cases.REFUSED_SINCE_2_7, ids=show)
def test_what_only_a_newer_cryptsetup_refuses_is_no_reason_to_take_another_copy(path: str, value: t.Any) -> None:
    with pytest.raises(
        metadata.StricterThanCryptsetup, match=r"OPAL segment 0.*since release 2\.7\.0; an older one would load it"
    ):
        load(path, value)


@pytest.mark.parametrize(("path", "value"), cases.FINE, ids=show)
def test_what_is_unusual_but_clear_is_read(path: str, value: t.Any) -> None:
    assert load(path, value).format == "luks2"


def reencrypting(**slot: t.Any) -> t.Dict[str, t.Any]:
    tree = image.tree()
    area = {
        "type": "checksum",
        "hash": "sha256",
        "sector_size": 512,
        "offset": "8388608",
        "size": "4096",
        **slot.pop("area", {}),
    }
    tree["keyslots"]["2"] = {
        "type": "reencrypt",
        "key_size": 1,
        "mode": "reencrypt",
        "direction": "forward",
        "area": area,
        **slot,
    }
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


def parse(tree: t.Mapping[str, t.Any]) -> codec.Luks2Header:
    return codec.parse(image.reader(image.build(tree)), image.SIZE)


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
        (
            "keyslots/3",
            {**reencrypting()["keyslots"]["2"], "area": {"type": "none", "offset": "9437184", "size": "4096"}},
        ),
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
    assert header.needs_heal is False and "leftover" in header.warnings[0]
    assert header.image()[0] == image.build(tree)
    assert header.after_commit(header).warnings == ()
