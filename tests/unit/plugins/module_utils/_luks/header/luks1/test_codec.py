# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a LUKS1 header must be to be read, and what an edit leaves of it."""

from __future__ import annotations

import struct
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import codec
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image as image
from hypothesis import given, settings
from hypothesis import strategies as st

SIZE = 16 << 20
KDF = model.Pbkdf2(hash="sha256", iterations=4321, salt=image.salt(50))


def parse(raw: bytes, size: int = SIZE, **options: bool) -> codec.Luks1Header:
    return codec.parse(image.reader(raw), size, **options)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def test_every_field_is_read() -> None:
    header = parse(image.build((0, 6)))
    assert (header.format, header.uuid, header.cipher, header.key_size) == (
        "luks1",
        image.UUID.decode(),
        "aes-xts-plain64",
        64,
    )
    assert (header.label, header.subsystem, header.tokens, header.record, header.requirements) == ("", "", (), {}, ())
    assert (header.health, header.needs_heal, header.write_obstacle, header.warnings, header.intent) == (
        {"primary": "ok"},
        False,
        None,
        (),
        None,
    )
    assert header.extent == (3536 + 500) * 512
    assert list(header.keyslots) == [0, 6]
    slot = header.keyslots[6]
    assert slot.kdf == model.Pbkdf2(hash="sha256", iterations=1006, salt=image.salt(6))
    assert (slot.kind, slot.key_size, slot.area_key_size, slot.af_hash, slot.af_stripes) == (
        "luks1",
        64,
        64,
        "sha256",
        4000,
    )
    assert (slot.encryption, slot.area, slot.bound, slot.digests) == (
        "aes-xts-plain64",
        model.Extent(3032 * 512, 256000),
        True,
        (0,),
    )
    (digest,) = header.digests
    assert (digest.hash, digest.iterations, digest.salt, digest.value) == (
        "sha256",
        1000,
        image.salt(99),
        bytes(range(100, 120)),
    )
    assert (digest.keyslots, digest.segments) == ((0, 6), (0,))
    (segment,) = header.segments
    assert (segment.offset, segment.size, segment.encryption, segment.sector_size) == (
        4096 * 512,
        None,
        "aes-xts-plain64",
        512,
    )


def test_layout_gives_every_slot_its_only_place() -> None:
    layout = parse(image.build((0, 2))).layout
    assert layout.slot_count == 8
    assert sorted(layout.taken) == [0, 2]
    assert layout.free_numbers() == [1, 3, 4, 5, 6, 7]
    assert layout.place(1) == model.Extent(512 * 512, 256000)
    assert layout.place(0) is None


@pytest.mark.parametrize(("key_bytes", "size"), [(16, 64000), (24, 96256), (32, 128000), (64, 256000)])
def test_an_area_is_whole_sectors(key_bytes: int, size: int) -> None:
    assert parse(image.build(key_bytes=key_bytes, mode=b"cbc-plain")).keyslots[0].area.size == size


BASE = image.build((0, 1))
MALFORMED = [
    ("magic", image.patch(BASE, 0, b"LUKS\xde\xad"), "magic and version"),
    ("version", image.patch(BASE, 6, b"\0\x02"), "magic and version"),
    ("cipher-nul", image.patch(BASE, 8, b"a" * 32), "cipher name is not terminated by a NUL"),
    ("mode-nul", image.patch(BASE, 40, b"x" * 32), "cipher mode is not terminated by a NUL"),
    ("hash-nul", image.patch(BASE, 72, b"s" * 32), "hash name is not terminated by a NUL"),
    ("cipher-empty", image.patch(BASE, 8, b"\0"), "cipher name is empty"),
    ("hash-escape", image.patch(BASE, 72, b"\x1b[2J\0"), "not printable ASCII"),
    ("mode-utf8", image.patch(BASE, 40, "é".encode()), "not printable ASCII"),
    ("key-bytes-0", image.patch(BASE, 108, u32(0)), "volume key has 0 bytes"),
    ("key-bytes-513", image.patch(BASE, 108, u32(513)), "volume key has 513 bytes"),
    ("key-bytes-huge", image.patch(BASE, 108, u32(0xFFFFFFFF)), "volume key has 4294967295 bytes"),
    ("mk-iterations-0", image.patch(BASE, 164, u32(0)), "digest of the volume key has 0 iterations"),
    ("active-iterations-0", image.patch(BASE, image.slot_field(1, 4), u32(0)), "keyslot 1 is active with 0 iterations"),
    ("state", image.patch(BASE, image.slot_field(3, 0), u32(0x1234)), "keyslot 3 has state 0x00001234"),
    ("state-zero", image.patch(BASE, image.slot_field(0, 0), u32(0)), "keyslot 0 has state"),
    ("stripes-active", image.patch(BASE, image.slot_field(0, 44), u32(3999)), "3999 anti-forensic stripes"),
    ("stripes-inactive", image.patch(BASE, image.slot_field(7, 44), u32(0)), "keyslot 7 has 0 anti-forensic stripes"),
    ("area-in-header", image.patch(BASE, image.slot_field(0, 40), u32(1)), "inside the header"),
    ("area-at-0-inactive", image.patch(BASE, image.slot_field(5, 40), u32(0)), "keyslot 5 begins at byte 0"),
    ("overlap-active", image.patch(BASE, image.slot_field(1, 40), u32(507)), "keyslots 0 and 1 overlap"),
    ("overlap-inactive", image.patch(BASE, image.slot_field(7, 40), u32(3035)), "keyslots 6 and 7 overlap"),
    ("same-place", image.patch(BASE, image.slot_field(4, 40), u32(8)), "overlap"),
    ("payload-over-area", image.build(payload=4035), "past the start of the payload"),
    ("payload-in-header", image.build(payload=1), "past the start of the payload"),
    ("area-beyond-u32", image.patch(image.build(payload=0), image.slot_field(7, 40), u32(0xFFFFFFFF)), "truncated"),
]


@pytest.mark.parametrize(("raw", "words"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_what_breaks_the_format_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(errors.MalformedHeader, match="Nothing was changed") as caught:
        parse(raw)
    assert words in caught.value.found
    assert caught.value.remedy


def test_a_truncated_file_is_refused_with_both_sizes() -> None:
    needed = (3536 + 500) * 512
    parse(BASE, needed)
    with pytest.raises(errors.MalformedHeader, match=f"ends at byte {needed}, but there are only {needed - 1} bytes"):
        parse(BASE, needed - 1)
    with pytest.raises(errors.MalformedHeader, match="needs 1024 bytes, but there are only 1023"):
        codec.parse(image.reader(BASE[:1023]), 1023)


ODD = [
    ("hash-upper", image.build(hash_spec=b"SHA256"), SIZE, "hash name in the header is 'SHA256'"),
    ("payload-at-end", BASE, 4096 * 512, "header backup or a detached header"),
    ("payload-beyond-end", image.build(payload=0x7FFFFFFF), SIZE, "header backup or a detached header"),
    (
        "cryptsetup-1.0",
        image.build(mode=b"cbc-plain", key_bytes=16, starts=range(2, 1010, 126), payload=1010),
        SIZE,
        "before sector 8",
    ),
    ("qemu-rounding", image.patch(BASE, image.slot_field(1, 40), u32(508)), SIZE, "keyslots 0 and 1 overlap once"),
    ("qemu-payload", image.build(payload=4036), SIZE, "keyslot 7 overlaps the payload once"),
    ("padding-begin", image.build(padding=b"\1"), SIZE, "unknown bytes"),
    ("padding-end", image.build(padding=bytes(431) + b"\1"), SIZE, "unknown bytes"),
]


@pytest.mark.parametrize(("raw", "size", "words"), [case[1:] for case in ODD], ids=[case[0] for case in ODD])
def test_what_is_odd_is_read_with_one_warning_and_stays_writable(raw: bytes, size: int, words: str) -> None:
    header = parse(raw, size)
    (warning,) = header.warnings
    assert words in warning
    assert header.write_obstacle is None
    edited = header.with_keyslot(2, KDF, header.layout.fixed[2])
    assert edited.warnings == header.warnings


ORDINARY = [
    ("detached", image.build(payload=0)),
    ("uuid-without-nul", image.build(uuid=b"u" * 40)),
    ("unknown-cipher", image.build(cipher=b"kuznyechik", mode=b"weird-ivgen:streebog")),
    ("unknown-hash", image.build(hash_spec=b"streebog256")),
    ("null-cipher", image.build(cipher=b"cipher_null", mode=b"ecb", key_bytes=32)),
    ("all-slots", image.build(range(8))),
    ("no-slot", image.build(())),
    ("inactive-iterations", image.patch(BASE, image.slot_field(7, 4), u32(77))),
]


@pytest.mark.parametrize("raw", [case[1] for case in ORDINARY], ids=[case[0] for case in ORDINARY])
def test_what_is_allowed_is_read_without_a_word(raw: bytes) -> None:
    header = parse(raw)
    assert header.warnings == ()
    assert header.image() == (raw,)


def test_a_container_keeps_the_payload_elsewhere() -> None:
    assert parse(BASE, 4096 * 512, embedded=True).warnings == ()
    assert parse(BASE, 4096 * 512, embedded=True).without_keyslot(0).warnings == ()


def test_uuid_bytes_cannot_reach_a_terminal() -> None:
    assert parse(image.build(uuid=b"a\x1b[2J\xff")).uuid == "a\\x1b[2J\\xff"


def test_the_spelling_of_the_hash_stays_on_disk_and_compares_without_case() -> None:
    header = parse(image.build(hash_spec=b"SHA256"))
    assert header.keyslots[0].kdf.hash == "sha256"
    edited = header.with_keyslot(1, KDF, header.layout.fixed[1])
    assert edited.image()[0][72:104] == b"SHA256".ljust(32, b"\0")
    assert parse(BASE).refusal_to_hold(model.Pbkdf2("SHA256", 1000, bytes(32)), "normal") is None


@pytest.mark.parametrize("number", range(8))
def test_an_edit_touches_its_slot_only(number: int) -> None:
    raw = image.build({0, 3, 7} - {number}, padding=bytes(range(1, 100)))
    header = parse(raw)
    start = image.slot_field(number, 0)
    extent = header.layout.fixed[number]
    added = header.with_keyslot(number, KDF, extent)
    assert added.keyslots[number] == header.new_keyslot(number, KDF, extent)
    assert added.image()[0] == image.patch(raw, start, u32(image.ACTIVE) + u32(4321) + image.salt(50))
    gone = added.without_keyslot(number)
    assert gone.image()[0] == image.patch(raw, start, u32(image.DEAD) + u32(0) + bytes(32))
    assert number not in gone.keyslots
    assert number in added.digests[0].keyslots
    assert header.image() == (raw,), "an edit must not change the header it began from"


REFUSED_KDFS: t.List[t.Tuple[model.Kdf, str]] = [
    (
        model.Pbkdf2("sha512", 1000, bytes(32)),
        "all LUKS1 keyslots use the hash of the header, sha256; sha512 is not possible",
    ),
    (model.Argon2("argon2id", 4, 65536, 1, bytes(32)), "only pbkdf2, not argon2id"),
    (model.UnknownKdf("scrypt"), "only pbkdf2, not scrypt"),
    (model.Pbkdf2("sha256", 0, bytes(32)), "0 iterations"),
    (model.Pbkdf2("sha256", 1 << 32, bytes(32)), "4294967296 iterations"),
    (model.Pbkdf2("sha256", 1000, bytes(31)), "salt of 31 bytes"),
]


@pytest.mark.parametrize(("kdf", "words"), REFUSED_KDFS, ids=[words for _kdf, words in REFUSED_KDFS])
def test_what_luks1_cannot_hold_is_refused(kdf: model.Kdf, words: str) -> None:
    header = parse(BASE)
    for attempt in (header.with_keyslot, header.new_keyslot):
        with pytest.raises(errors.Refused) as caught:
            attempt(2, kdf, header.layout.fixed[2])
        assert words in caught.value.found


def test_numbers_areas_and_priorities_of_luks2_are_refused() -> None:
    header = parse(BASE)
    for number in (-1, 8):
        for attempt in (
            lambda n=number: header.without_keyslot(n),
            lambda n=number: header.with_keyslot(n, KDF, model.Extent(4096, 256000)),
        ):
            with pytest.raises(errors.Refused, match="does not exist"):
                attempt()
    with pytest.raises(errors.Refused, match="one fixed place"):
        header.with_keyslot(2, KDF, header.layout.fixed[3])
    with pytest.raises(errors.Refused, match="no priority"):
        header.with_keyslot(2, KDF, header.layout.fixed[2], priority=model.PRIORITY_PREFER)
    with pytest.raises(errors.Refused, match="no priority"):
        header.with_priority(0, model.PRIORITY_IGNORE)
    assert header.refusal_to_hold(KDF, model.PRIORITY_IGNORE) == "LUKS1 keyslots have no priority"
    assert header.refusal_to_hold(KDF, model.PRIORITY_NORMAL) is None
    assert header.with_priority(0, model.PRIORITY_NORMAL).image() == header.image()
    assert header.with_record({0: model.RecordEntry(0, "a", "b", "c")}).image() == header.image()


def test_the_fingerprint_is_the_whole_header() -> None:
    header = parse(BASE)
    assert header.fingerprint_ranges() == (model.Extent(0, 1024),)
    assert header.after_commit(parse(image.build())).image() == header.image()


mutations = st.lists(st.tuples(st.integers(0, 1023), st.binary(min_size=1, max_size=8)), max_size=6)


@settings(max_examples=300, deadline=None)
@given(mutations=mutations, active=st.sets(st.integers(0, 7)), size=st.integers(0, 4 << 20))
def test_a_mutated_header_is_read_to_the_byte_or_refused(
    mutations: t.List[t.Tuple[int, bytes]], active: t.Set[int], size: int
) -> None:
    raw = image.build(active)
    for offset, data in mutations:
        raw = image.patch(raw, offset, data)[:1024]
    try:
        header = parse(raw, size)
    except errors.LuksmithError as error:
        assert str(error).isprintable()
        return
    assert header.image() == (raw,)
    assert all(sentence.isprintable() for sentence in (*header.warnings, header.uuid))
    for number, slot in header.keyslots.items():
        assert header.with_keyslot(number, slot.kdf, slot.area).image() == (raw,)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(min_size=1016, max_size=1016))
def test_junk_behind_the_magic_is_refused_cleanly(raw: bytes) -> None:
    with pytest.raises(errors.MalformedHeader):
        parse(b"LUKS\xba\xbe\0\1" + raw)
