# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a LUKS2 header says, and what an edit changes and leaves alone."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import cipher_table
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model, parsing
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import codec as luks1_codec
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import codec, metadata
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2.edit import CIPHERS
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

PBKDF2 = model.Pbkdf2(hash="sha512", iterations=4321, salt=image.salt(50))
ARGON2 = model.Argon2(type="argon2id", time=5, memory=65536, parallel=2, salt=image.salt(51))
WINDOW = model.Extent(32768, 16777216 - 32768)


def read(area: t.Any = None, **options: t.Any) -> codec.Luks2Header:
    return codec.parse(image.reader(image.build(area, **options)), image.SIZE)


def area_of(header: codec.Luks2Header, number: int = 9) -> model.Extent:
    place = header.layout.place(number)
    assert place is not None
    return place


def test_every_field_is_read() -> None:
    header = read()
    assert (header.format, header.uuid, header.label, header.subsystem) == (
        "luks2",
        image.UUID.decode(),
        "label",
        "subsystem",
    )
    assert (header.cipher, header.key_size, header.slot_count, header.seqid) == ("aes-xts-plain64", 64, 32, 3)
    assert (header.health, header.needs_heal, header.write_obstacle) == (
        {"primary": "ok", "secondary": "ok"},
        False,
        None,
    )
    assert (header.warnings, header.intent, header.record, header.requirements) == ((), None, {}, ())
    assert header.extent == 16777216
    assert list(header.keyslots) == [0, 1, 5]
    assert header.keyslots[0] == model.Keyslot(
        number=0,
        kind="luks2",
        key_size=64,
        kdf=model.Pbkdf2(hash="sha256", iterations=1000, salt=image.salt(0)),
        af_hash="sha256",
        af_stripes=4000,
        area=model.Extent(32768, 258048),
        encryption="aes-xts-plain64",
        area_key_size=64,
    )
    assert header.keyslots[1].kdf == model.Argon2(type="argon2id", time=4, memory=65536, parallel=2, salt=image.salt(2))
    assert [slot.priority for slot in header.keyslots.values()] == ["normal", "prefer", "normal"]
    assert [(slot.digests, slot.bound) for slot in header.keyslots.values()] == [
        ((0,), True),
        ((0,), True),
        ((1,), False),
    ]
    assert header.digests[0] == model.Digest(
        number=0,
        type="pbkdf2",
        hash="sha256",
        iterations=1000,
        salt=image.salt(90),
        value=image.salt(91),
        keyslots=(0, 1),
        segments=(0,),
        key_size=64,
    )
    assert (header.digests[1].keyslots, header.digests[1].segments) == ((5,), ())
    assert header.segments == (
        model.Segment(
            number=0, type="crypt", offset=16777216, size=None, encryption="aes-xts-plain64", sector_size=512
        ),
    )
    assert header.tokens == (
        model.Token(0, "systemd-tpm2", (1,)),
        model.Token(3, "clevis", (0, 1)),
        model.Token(4, "luks2-keyring", (1,)),
    )


def test_the_dispatcher_finds_it_also_behind_a_wiped_primary() -> None:
    raw = image.build()
    assert parsing.parse_header(image.reader(raw), image.SIZE).format == "luks2"
    assert (
        parsing.parse_header(image.reader(bytes(image.HDR_SIZE) + raw[image.HDR_SIZE :]), image.SIZE).health["primary"]
        == "bad"
    )


def test_foreign_kinds_are_reported_and_keep_their_place() -> None:
    odd = image.changed(
        image.tree(),
        "keyslots/7",
        {"type": "vendor", "key_size": 1, "area": {"type": "x", "offset": "8388608", "size": "4096"}},
    )
    odd["keyslots"]["0"]["kdf"] = {"type": "argon2", "whatever": 1}
    header = read(odd)
    assert (header.keyslots[7].kind, header.keyslots[7].bound, header.keyslots[7].kdf) == (
        "vendor",
        False,
        model.UnknownKdf(""),
    )
    assert header.layout.taken[7] == model.Extent(8388608, 4096)
    assert header.keyslots[0].kdf == model.UnknownKdf("argon2")
    assert header.write_obstacle is None
    assert len(header.warnings) == 2
    with pytest.raises(errors.Refused, match="vendor"):
        header.with_keyslot(7, PBKDF2, area_of(header))


def test_layout_is_that_of_cryptsetup() -> None:
    layout = read().layout
    assert (layout.slot_count, layout.fixed, layout.window, layout.unit) == (32, None, WINDOW, 258048)
    assert layout.taken == {
        0: model.Extent(32768, 258048),
        1: model.Extent(290816, 258048),
        5: model.Extent(548864, 131072),
    }
    assert layout.place(2) == model.Extent(679936, 258048)
    assert read().without_keyslot(0).layout.place(2) == model.Extent(32768, 258048)


@pytest.mark.parametrize(("key_size", "unit"), [(16, 65536), (32, 131072), (64, 258048), (96, 385024)])
def test_area_size_follows_the_key(key_size: int, unit: int) -> None:
    tree = image.tree(slots=1)
    tree["keyslots"]["0"] = image.keyslot(32768, key_size=key_size, size=unit)
    assert read(tree).layout.unit == unit


def test_new_areas_begin_on_whole_blocks() -> None:
    # As left by a conversion from LUKS1 with 128-bit keys: the area ends in the middle of a block.
    tree = image.tree(slots=1)
    tree["keyslots"]["0"] = image.keyslot(32768, key_size=16, size=64000)
    assert read(tree).layout.place(1) == model.Extent(32768 + 65536, 65536)


def test_no_room_without_a_known_key_size() -> None:
    tree = image.tree(slots=0)
    header = read(tree)
    assert (header.key_size, header.layout.place(0)) == (0, None)
    with pytest.raises(errors.Refused):
        header.with_keyslot(0, PBKDF2, model.Extent(32768, 258048))


def test_the_key_size_survives_the_last_slot() -> None:
    header = read(image.tree(slots=1)).without_keyslot(0)
    assert (header.keyslots, header.key_size) == ({}, 64)
    assert header.with_keyslot(0, PBKDF2, area_of(header)).keyslots[0].bound


def test_a_new_slot_looks_as_cryptsetup_writes_it() -> None:
    header = read()
    edited = header.with_keyslot(2, PBKDF2, area_of(header), priority="ignore")
    salt = image.b64(PBKDF2.salt)
    assert metadata.emit(edited.metadata["keyslots"]["2"]).decode() == (
        '{"type":"luks2","key_size":64,"af":{"type":"luks1","stripes":4000,"hash":"sha512"},'
        '"area":{"type":"raw","offset":"679936","size":"258048","encryption":"aes-xts-plain64","key_size":64},'
        f'"kdf":{{"type":"pbkdf2","hash":"sha512","iterations":4321,"salt":"{salt}"}},"priority":0}}'
    )
    assert edited.metadata["digests"]["0"]["keyslots"] == ["0", "1", "2"]
    assert edited.keyslots[2] == header.new_keyslot(2, PBKDF2, area_of(header))._replace(priority="ignore")
    argon = header.with_keyslot(2, ARGON2, area_of(header)).metadata["keyslots"]["2"]
    assert list(argon["kdf"].items()) == [
        ("type", "argon2id"),
        ("time", 5),
        ("memory", 65536),
        ("cpus", 2),
        ("salt", image.b64(ARGON2.salt)),
    ]
    assert argon["af"]["hash"] == "sha256"
    assert "priority" not in argon


def test_rekey_keeps_number_priority_tokens_and_unknown_members() -> None:
    header = read(image.changed(image.rich_tree(), "keyslots/1/vendor", {"x": 1}))
    before = header.metadata
    edited = header.with_keyslot(1, PBKDF2, area_of(header, 1))
    after = edited.metadata
    assert edited.keyslots[1].area == model.Extent(679936, 258048)
    assert (edited.keyslots[1].kdf, edited.keyslots[1].priority) == (PBKDF2, "prefer")
    assert list(after["keyslots"]["1"]) == list(before["keyslots"]["1"])
    assert after["keyslots"]["1"]["vendor"] == {"x": 1}
    for section in ("tokens", "digests", "segments", "config", "vendor"):
        assert after[section] == before[section]
    assert after["keyslots"]["0"] == before["keyslots"]["0"]


def test_rekey_sets_a_priority_that_is_given() -> None:
    header = read()
    for number, priority in ((0, "prefer"), (1, "normal"), (1, "ignore")):
        edited = header.with_keyslot(number, PBKDF2, area_of(header, number), priority=priority)
        assert edited.keyslots[number].priority == priority


def test_rekey_keeps_the_cipher_of_the_slot_unless_it_is_unusable() -> None:
    tree = image.changed(image.tree(), "keyslots/0/area/encryption", "serpent-xts-plain64")
    header = read(tree)
    assert header.new_keyslot(0, PBKDF2, area_of(header)).encryption == "serpent-xts-plain64"
    assert header.new_keyslot(2, PBKDF2, area_of(header)).encryption == "aes-xts-plain64"


@pytest.mark.parametrize(
    "encryption",
    [
        "capi:xts(ecb(aes-generic))-plain64",
        "paes-xts-plain64",
        "phmac-xts-plain64",
        "xchacha20,aes-adiantum-plain64",
        "aes-hctr2-plain64",
        "cast6-xts-plain64",
        "aria-xts-plain64",
        "serpent-xts-plain64",
    ],
)
def test_a_payload_that_is_not_plain_aes_has_keyslots_in_aes(encryption: str) -> None:
    header = read(image.changed(image.tree(), "segments/0/encryption", encryption))
    slot = header.new_keyslot(2, PBKDF2, area_of(header))
    assert (slot.encryption, slot.area_key_size) == ("aes-xts-plain64", 64)


def test_the_ciphers_of_keyslots_are_those_of_the_libraries() -> None:
    assert tuple(cipher_table.CIPHERS) == CIPHERS


@pytest.mark.parametrize(("first", "second", "taken"), [("serpent", "twofish", "serpent"), ("serpent", "aes", "aes")])
def test_beside_such_a_payload_a_keyslot_has_a_cipher_that_opens_the_volume(
    first: str, second: str, taken: str
) -> None:
    tree = image.changed(image.tree(), "segments/0/encryption", "camellia-xts-plain64")
    for number, name in (("0", first), ("1", second)):
        tree["keyslots"][number]["area"].update(encryption=f"{name}-cbc-plain64", key_size=32)
    slot = read(tree).new_keyslot(2, PBKDF2, model.Extent(0, 0))
    assert (slot.encryption, slot.area_key_size) == (f"{taken}-cbc-plain64", 32)


def test_integrity_tags_are_not_for_keyslots() -> None:
    integrity = {"type": "hmac(sha256)", "journal_encryption": "none", "journal_integrity": "none"}
    tree = image.changed(image.tree(slots=1), "segments/0/integrity", integrity)
    tree["keyslots"]["0"] = image.keyslot(32768, key_size=96, size=385024)
    slot = read(tree).new_keyslot(2, PBKDF2, model.Extent(0, 0))
    assert (slot.key_size, slot.encryption, slot.area_key_size) == (96, "aes-xts-plain64", 64)


def test_the_payload_cipher_is_used_with_the_size_of_the_volume_key() -> None:
    tree = image.changed(image.tree(slots=1), "segments/0/encryption", "aes-cbc-essiv:sha256")
    tree["keyslots"]["0"] = image.keyslot(32768, key_size=32, size=131072)
    slot = read(tree).new_keyslot(2, PBKDF2, model.Extent(0, 0))
    assert (slot.encryption, slot.area_key_size) == ("aes-cbc-essiv:sha256", 32)


def test_an_unbound_slot_that_is_overwritten_becomes_bound() -> None:
    header = read()
    edited = header.with_keyslot(5, PBKDF2, area_of(header, 5))
    assert (edited.keyslots[5].digests, edited.keyslots[5].bound, edited.keyslots[5].key_size) == ((0,), True, 64)
    assert list(edited.metadata["digests"]) == ["0"]


def test_an_unbound_slot_can_keep_its_key() -> None:
    """Its digest, and the length of its key, which may be another one than that of the volume key."""
    header = read()
    before, place = header.keyslots[5], area_of(header, 5)
    edited = header.with_keyslot(5, PBKDF2, place, priority="ignore", own_key=True)
    assert edited.keyslots[5] == before._replace(kdf=PBKDF2, area=place, priority="ignore", af_hash=PBKDF2.hash)
    assert edited.keyslots[5]._replace(priority="normal") == header.new_keyslot(5, PBKDF2, place, own_key=True)
    assert not edited.keyslots[5].bound and edited.metadata["digests"] == header.metadata["digests"]
    with pytest.raises(errors.Refused, match="Keyslot 7 is not active"):
        header.with_keyslot(7, PBKDF2, place, own_key=True)


def test_an_erased_slot_is_gone_everywhere() -> None:
    header = read()
    record = {1: model.RecordEntry(1, "a", "00ff", "t"), 0: model.RecordEntry(0, "b", "00ff", "t")}
    after = header.with_record(record).without_keyslot(1).metadata
    assert list(after["keyslots"]) == ["0", "5"]
    assert after["digests"]["0"]["keyslots"] == ["0"]
    # systemd's token is worthless now, clevis' one still serves slot 0, and the keyring's stays as cryptsetup leaves
    # it.
    assert {name: token["keyslots"] for name, token in after["tokens"].items()} == {"1": [], "3": ["0"], "4": []}
    assert list(after["tokens"]["1"]["slots"]) == ["0"]
    assert after["vendor"] == header.metadata["vendor"]
    assert list(header.without_keyslot(5).metadata["digests"]) == ["0"]
    both = header.with_record(record).without_keyslot(1).without_keyslot(0)
    assert [token.type for token in both.tokens] == ["luks2-keyring"]
    assert list(both.metadata["digests"]) == ["0", "1"]


def test_priority_normal_is_no_member() -> None:
    header = read()
    assert header.with_priority(0, "ignore").metadata["keyslots"]["0"]["priority"] == 0
    assert header.with_priority(0, "prefer").keyslots[0].priority == "prefer"
    assert "priority" not in header.with_priority(1, "normal").metadata["keyslots"]["1"]
    assert metadata.emit(header.with_priority(1, "ignore").with_priority(1, "prefer").metadata) == metadata.emit(
        header.metadata
    )


@pytest.mark.parametrize(
    ("raw", "priority"), [(0, "ignore"), (1, "normal"), (2, "prefer"), (9, "ignore"), ("2", "ignore"), (True, "ignore")]
)
def test_priorities_nobody_knows_pass_the_slot_over(raw: t.Any, priority: str) -> None:
    header = read(image.changed(image.tree(), "keyslots/0/priority", raw))
    assert header.keyslots[0].priority == priority
    assert bool(header.warnings) == (raw is True or raw in ("2", 9))


def test_an_edit_leaves_the_header_it_came_from() -> None:
    header = read()
    text = metadata.emit(header.metadata)
    header.without_keyslot(1)
    header.with_priority(0, "prefer")
    header.with_keyslot(1, PBKDF2, area_of(header))
    header.with_intent(model.Intent("wipe", 1, extents=(model.Extent(8388608, 4096),)))
    header.metadata["tokens"].clear()
    assert metadata.emit(header.metadata) == text


@pytest.mark.parametrize(
    ("kdf", "priority", "word"),
    [
        (model.UnknownKdf("scrypt"), "normal", "scrypt"),
        (model.Argon2("argon2d", 4, 65536, 2, image.salt(9)), "normal", "argon2d"),
        (model.Argon2("argon2id", 0, 65536, 2, image.salt(9)), "normal", "passes"),
        (model.Argon2("argon2id", 4, 8 << 20, 2, image.salt(9)), "normal", "memory"),
        (model.Argon2("argon2id", 4, 8, 2, image.salt(9)), "normal", "memory"),
        (model.Argon2("argon2id", 4, 65536, 5, image.salt(9)), "normal", "lanes"),
        (model.Pbkdf2("sha256", 0, image.salt(9)), "normal", "iterations"),
        (model.Pbkdf2("sha256", 1 << 32, image.salt(9)), "normal", "iterations"),
        (PBKDF2, "urgent", "urgent"),
    ],
)
def test_what_luks2_cannot_hold(kdf: model.Kdf, priority: str, word: str) -> None:
    header = read()
    assert word in (header.refusal_to_hold(kdf, priority) or "")
    with pytest.raises(errors.Refused, match=word):
        header.with_keyslot(2, kdf, area_of(header), priority=priority)


def test_what_luks2_can_hold() -> None:
    header = read()
    assert [
        header.refusal_to_hold(kdf, priority) for kdf in (PBKDF2, ARGON2) for priority in ("ignore", "normal", "prefer")
    ] == [None] * 6


def test_edits_that_make_no_sense_are_refused() -> None:
    header = read()
    with pytest.raises(errors.Refused, match="keyslot 32"):
        header.with_keyslot(32, PBKDF2, area_of(header))
    with pytest.raises(errors.Refused, match="too small"):
        header.with_keyslot(2, PBKDF2, model.Extent(679936, 131072))
    with pytest.raises(errors.Refused, match="salt of a new keyslot has 16"):
        header.with_keyslot(2, model.Pbkdf2("sha256", 1000, bytes(16)), area_of(header))
    with pytest.raises(errors.MalformedHeader, match="overlap"):
        header.with_keyslot(2, PBKDF2, model.Extent(32768, 258048))
    for edit in (lambda: header.without_keyslot(2), lambda: header.with_priority(2, "prefer")):
        with pytest.raises(errors.Refused, match=r"(?i)keyslot 2 is not active"):
            edit()


def test_a_slot_needs_the_one_digest_of_the_data() -> None:
    tree = image.tree()
    tree["digests"]["1"] = image.digest([], ["0"], 5)
    header = read(tree)
    with pytest.raises(errors.Refused, match="2 digests"):
        header.with_keyslot(2, PBKDF2, area_of(header))


def test_metadata_that_does_not_fit_is_refused_with_sizes() -> None:
    tree = image.tree()
    tree["vendor"] = "x" * (12288 - len(image.dumps(tree)) - 100)
    header = read(tree)
    with pytest.raises(errors.Refused, match=r"would need \d+ bytes, but the JSON area has 12288"):
        header.with_keyslot(2, PBKDF2, area_of(header))
    exact = image.tree()
    exact["vendor"] = "x" * (12287 - len(image.dumps({**exact, "vendor": ""})))
    assert len(image.dumps(exact)) == 12287
    with pytest.raises(errors.Refused, match="would need 12301 bytes"):
        read(exact).with_priority(0, "prefer")
    exact["vendor"] = exact["vendor"][13:]
    assert read(exact).with_priority(0, "prefer").keyslots[0].priority == "prefer"


def test_a_luks1_header_is_not_turned_into_luks2() -> None:
    old = luks1_codec.parse(luks1_image.reader(luks1_image.build()), 16 << 20)
    for act in (lambda: read().commit_writes(old), lambda: read().after_commit(old)):
        with pytest.raises(errors.Refused, match="does not convert"):
            act()
