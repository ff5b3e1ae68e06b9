# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which copy counts, what is said of the other, and when neither may be touched."""

from __future__ import annotations

import hashlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import binary, codec, metadata
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

SIZE = image.HDR_SIZE
TREE = image.tree()
OTHER = image.changed(TREE, "keyslots/0/priority", 2)
TEXT = image.dumps(TREE)


def parse(raw: bytes, size: int = image.SIZE) -> codec.Luks2Header:
    return codec.parse(image.reader(raw, size), size)


def patched(raw: bytes, *patches: t.Tuple[int, bytes]) -> bytes:
    result = bytearray(raw)
    for offset, data in patches:
        result[offset : offset + len(data)] = data
    return bytes(result)


def both(primary: bytes, secondary: bytes) -> bytes:
    return primary.ljust(SIZE, b"\0") + secondary


def preferred(header: codec.Luks2Header) -> bool:
    return header.keyslots[0].priority == "prefer"


@pytest.mark.parametrize("hdr_size", binary.HEADER_SIZES)
@pytest.mark.parametrize("lost", ["none", "primary", "secondary"])
def test_one_good_copy_of_any_size_is_enough(hdr_size: int, lost: str) -> None:
    raw = bytearray(image.build(image.tree(hdr_size=hdr_size), hdr_size=hdr_size))
    if lost != "none":
        start = 0 if lost == "primary" else hdr_size
        raw[start : start + 4096] = bytes(4096)
    header = parse(bytes(raw))
    assert list(header.keyslots) == [0, 1]
    assert header.health == {
        "primary": "bad" if lost == "primary" else "ok",
        "secondary": "bad" if lost == "secondary" else "ok",
    }
    assert header.needs_heal is (lost != "none")
    assert header.write_obstacle is None
    assert [f"The {lost} copy" in note for note in header.warnings] == [True] * (lost != "none")
    assert header.image() == (bytes(raw),)
    assert [(extent.offset, extent.size) for extent in header.fingerprint_ranges()] == [(0, 2 * hdr_size)]


@pytest.mark.parametrize(
    ("where", "data"),
    [
        (0, b"X"),
        (7, b"\x03"),
        (8, b"\xff"),
        (14, b"\x80"),
        (16, b"\xff"),
        (72, b"sha512"),
        (72, b"\0"),
        (72, b"shake_128"),
        (104, b"x"),
        (256, b"\x01"),
        (300, b"x"),
        (448, b"x"),
        (4095, b"x"),
        (4096 + 20, b"X"),
        (SIZE - 1, b"x"),
    ],
)
def test_a_damaged_copy_is_passed_over(where: int, data: bytes) -> None:
    raw = image.build(TREE)
    assert parse(patched(raw, (SIZE + where, data))).health == {"primary": "ok", "secondary": "bad"}
    if where == 7:
        with pytest.raises(errors.MalformedHeader, match="version 3"):
            parse(patched(raw, (where, data)))
    else:
        assert parse(patched(raw, (where, data))).health == {"primary": "bad", "secondary": "ok"}


def test_bytes_behind_a_short_digest_do_not_count() -> None:
    assert parse(patched(image.build(TREE), (448 + 40, b"junk"))).health["primary"] == "ok"


def test_other_checksum_algorithms_are_read_and_kept() -> None:
    header = parse(image.build(TREE, alg="sha512"))
    assert not header.needs_heal
    assert "sha512" in header.warnings[0]
    block = header.after_commit(header).image()[0]
    zeroed = block[:448] + bytes(64) + block[512:SIZE]
    assert block[448:512] == hashlib.sha512(zeroed).digest()


def test_a_real_hash_that_python_lacks_is_not_a_damaged_copy() -> None:
    raw = patched(image.build(TREE), (72, b"stribog512\0"))
    with pytest.raises(errors.Unsupported, match="stribog512"):
        parse(raw)


def test_the_newer_copy_counts_and_the_older_is_stale() -> None:
    newer = image.pack(OTHER, seqid=4), image.pack(OTHER, seqid=4, secondary=True)
    older = image.pack(TREE, seqid=3), image.pack(TREE, seqid=3, secondary=True)
    header = parse(both(newer[0], older[1]))
    assert (preferred(header), header.seqid, header.health) == (True, 4, {"primary": "ok", "secondary": "stale"})
    header = parse(both(older[0], newer[1]))
    assert (preferred(header), header.seqid, header.health) == (True, 4, {"primary": "stale", "secondary": "ok"})


@pytest.mark.parametrize("difference", [{"area": OTHER}, {"label": b"other"}])
def test_equal_numbers_with_another_content_are_noticed(difference: t.Dict[str, t.Any]) -> None:
    header = parse(both(image.pack(TREE), image.pack(**{"area": TREE, **difference}, secondary=True)))
    assert (preferred(header), header.label) == (False, "label")
    assert header.health == {"primary": "ok", "secondary": "differs"}
    assert header.needs_heal and header.write_obstacle is None


def test_equal_salts_are_odd() -> None:
    secondary = bytearray(image.pack(TREE, secondary=True))
    secondary[104:168] = image.salt(200, 64)
    secondary[448:480] = bytes(32)
    secondary[448:480] = hashlib.sha256(secondary).digest()
    header = parse(both(image.pack(TREE), bytes(secondary)))
    assert not header.needs_heal
    assert "same salt" in header.warnings[0]


@pytest.mark.parametrize("content", [b"[]", TEXT + b"\n", image.dumps(image.changed(TREE, "segments", {}))])
def test_invalid_content_gives_way_to_the_other_copy(content: bytes) -> None:
    header = parse(both(image.pack(content), image.pack(TREE, secondary=True)))
    assert (list(header.keyslots), header.health) == ([0, 1], {"primary": "invalid", "secondary": "ok"})
    header = parse(both(image.pack(TREE), image.pack(content, secondary=True)))
    assert (list(header.keyslots), header.health) == ([0, 1], {"primary": "ok", "secondary": "invalid"})


@pytest.mark.parametrize(
    "content", [b"[]", TEXT[:-1] + b",}", image.dumps(image.changed(TREE, "keyslots/0/kdf/iterations", 0))]
)
@pytest.mark.parametrize("secondary", [False, True])
def test_a_newer_copy_is_never_rolled_back(content: bytes, secondary: bool) -> None:
    copies = [image.pack(TREE, seqid=3), image.pack(TREE, seqid=3, secondary=True)]
    copies[secondary] = image.pack(content, seqid=4, secondary=secondary)
    with pytest.raises(errors.MalformedHeader, match="could undo a change"):
        parse(both(*copies))


@pytest.mark.parametrize("secondary", [False, True])
def test_lenient_json_is_not_normalised_from_the_other_copy(secondary: bool) -> None:
    copies = [image.pack(TREE), image.pack(TREE, secondary=True)]
    copies[secondary] = image.pack(TEXT[:-1] + b",}", secondary=secondary)
    with pytest.raises(metadata.StricterThanCryptsetup, match="not strict JSON"):
        parse(both(*copies))
    copies[secondary] = image.pack(TEXT[:-1] + b",}", secondary=secondary, seqid=2)
    assert parse(both(*copies)).health == {
        "primary": "ok" if secondary else "invalid",
        "secondary": "invalid" if secondary else "ok",
    }


def test_with_an_intact_primary_the_secondary_has_one_place_only() -> None:
    primary = image.pack(b"[]")
    wide = image.tree(hdr_size=0x8000)
    raw = primary.ljust(0x8000, b"\0") + image.pack(wide, secondary=True, hdr_size=0x8000)
    with pytest.raises(errors.MalformedHeader, match="begin with"):
        parse(raw)
    assert parse(bytes(0x8000) + raw[0x8000:]).health == {"primary": "bad", "secondary": "ok"}


def test_a_size_between_the_nine_is_invalid() -> None:
    tree = image.changed(TREE, "config/json_size", str(0x6000 - 4096))
    with pytest.raises(errors.MalformedHeader, match="does not fit a header of 24576"):
        parse(image.build(tree, hdr_size=0x6000))


@pytest.mark.parametrize("lost", ["primary", "secondary"])
@pytest.mark.parametrize("kind", ["bad", "stale"])
def test_a_foreign_signature_stops_recovery(lost: str, kind: str) -> None:
    copies = {"primary": image.pack(TREE, seqid=3), "secondary": image.pack(TREE, seqid=3, secondary=True)}
    if kind == "stale":
        copies[lost] = image.pack(TREE, seqid=2, secondary=lost == "secondary")
    else:
        copies[lost] = bytes(SIZE)
    raw = both(copies["primary"], copies["secondary"])
    assert parse(raw).needs_heal
    label = b"LABELONE" + bytes(16) + b"LVM2 001"
    if lost == "primary" and kind == "bad":
        raw = patched(raw, (512, label))
        word = "LVM2"
    else:
        raw += bytes(65600 - len(raw)) + b"_BHRfS_M"
        word = "btrfs"
    with pytest.raises(errors.Refused, match=f"{word}.*cryptsetup repair"):
        parse(raw)


def test_a_foreign_signature_beside_two_equal_copies_is_no_matter() -> None:
    raw = image.build(TREE)
    assert parse(raw + bytes(65600 - len(raw)) + b"_BHRfS_M").write_obstacle is None


def test_differing_copies_are_read_but_not_healed_over_a_foreign_signature() -> None:
    raw = both(image.pack(TREE), image.pack(OTHER, secondary=True))
    header = parse(raw + bytes(65600 - len(raw)) + b"_BHRfS_M")
    assert header.needs_heal and "btrfs" in str(header.write_obstacle)


@pytest.mark.parametrize(
    ("raw", "kind", "word"),
    [
        (b"", errors.NotLuks, "no LUKS2 header"),
        (bytes(65536), errors.NotLuks, "zeros"),
        (b"LUKS\xba\xbe\0\1" + bytes(8000), errors.MalformedHeader, "version 1"),
        (b"LUKS\xba\xbe\0\2" + bytes(8000), errors.MalformedHeader, "(?i)no copy"),
        (image.pack(TREE)[:-1] + b"x", errors.MalformedHeader, "checksum is wrong"),
        (bytes(0x8000) + image.pack(TREE, secondary=True), errors.MalformedHeader, "offset field says"),
        (image.build(TEXT[:-1] + b",}"), metadata.StricterThanCryptsetup, "not strict JSON"),
    ],
)
def test_no_usable_copy(raw: bytes, kind: t.Type[errors.LuksmithError], word: str) -> None:
    with pytest.raises(kind, match=word):
        parse(raw)


@pytest.mark.parametrize("size", [0, 1, 8, 511, 4095, 4096, 8192, SIZE, SIZE + 4095, 2 * SIZE - 1, 2 * SIZE, 16777215])
def test_a_truncated_device_is_refused_without_reading_behind_its_end(size: int) -> None:
    with pytest.raises((errors.MalformedHeader, errors.NotLuks)):
        parse(image.build(TREE), size)
    assert parse(image.build(TREE), 16777216).extent == 16777216


def test_unterminated_and_undecodable_names_are_cut_and_shown() -> None:
    header = parse(image.build(TREE, label=b"x" * 48))
    assert header.label == "x" * 47
    assert parse(image.build(TREE, label=b"caf\xe9")).label == "caf\ufffd"
