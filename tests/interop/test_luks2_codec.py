# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our LUKS2 codec against cryptsetup and systemd: they make volumes, and they judge what we make of them.

The key material of a LUKS2 slot does not depend on the slot's number or place. So a copy of slot 0's area with slot
0's key derivation works in any slot, and the peers can open what we wrote without a derivation of ours.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import itertools
import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model, parsing
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import codec as luks2_codec
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2 import metadata as luks2_metadata
from ansible_collections.luksmith.luks.tests import kept
from ansible_collections.luksmith.luks.tests.interop import originals
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image as image

PBKDF2 = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
SIZES = {
    "16k": 0x4000,
    "32k": 0x8000,
    "64k": 0x10000,
    "128k": 0x20000,
    "256k": 0x40000,
    "512k": 0x80000,
    "1m": 0x100000,
    "2m": 0x200000,
    "4m": 0x400000,
}

AREA = ("--luks2-keyslots-size", "2m")  # cryptsetup fills all of it with random bytes; 16 MiB is what it takes unasked
SYSTEMD = pytest.mark.needs("systemd-cryptenroll")

pytestmark = pytest.mark.needs("cryptsetup")


def run(*command: t.Any, stdin: str = "", check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    done = subprocess.run(
        words, input=stdin, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


@dataclasses.dataclass
class Volume:
    """A raw file of 20 MiB; passphrase "pwN" is the one of slot N."""

    path: pathlib.Path

    def keyfile(self, number: int) -> pathlib.Path:
        path = self.path.with_name(f"key{number}")
        path.write_text(f"pw{number}", encoding="ascii")
        return path

    def format(self, *options: str) -> Volume:
        self.path.write_bytes(b"")
        os.truncate(self.path, image.SIZE)
        costs = () if "--pbkdf" in options else PBKDF2
        run("cryptsetup", "luksFormat", "-q", "--type", "luks2", *AREA, *costs, *options, self.path, self.keyfile(0))
        return self

    def add(self, number: int, *options: str) -> None:
        costs = options if "--pbkdf" in options else (*PBKDF2, *options)
        run(
            "cryptsetup",
            "luksAddKey",
            "-q",
            "--key-slot",
            number,
            *costs,
            "-d",
            self.keyfile(0),
            self.path,
            self.keyfile(number),
        )

    def header(self) -> luks2_codec.Luks2Header:
        with self.path.open("rb") as file:

            def read(offset: int, length: int) -> bytes:
                file.seek(offset)
                return file.read(length)

            found = parsing.parse_header(read, self.path.stat().st_size)
        assert isinstance(found, luks2_codec.Luks2Header)
        return found

    def write(self, writes: t.Iterable[model.Write]) -> None:
        with self.path.open("r+b") as file:
            for write in writes:
                file.seek(write.offset)
                file.write(write.data)

    def commit(self, new: luks2_codec.Luks2Header) -> None:
        self.write(new.commit_writes(self.header()))

    def copy_area(self, source: model.Extent, target: model.Extent) -> None:
        with self.path.open("r+b") as file:
            file.seek(source.offset)
            data = file.read(source.size)
            file.seek(target.offset)
            file.write(data)

    def text(self) -> bytes:
        with self.path.open("rb") as file:
            size = int.from_bytes(file.read(16)[8:], "big")
            file.seek(4096)
            return file.read(size - 4096).rstrip(b"\0")

    def dump(self) -> t.Any:
        return json.loads(run("cryptsetup", "luksDump", "--dump-json-metadata", self.path).stdout)

    def opens(self, number: int, *options: str) -> bool:
        options = options or ("--key-slot", str(number))
        return (
            run(
                "cryptsetup", "open", "--test-passphrase", *options, "-d", self.keyfile(number), self.path, check=False
            ).returncode
            == 0
        )

    def sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def copied(self) -> Volume:
        return Volume(originals.copied(self.path, self.path.with_name("copy.img")))

    def approved(self) -> str:
        """What luksDump shows; it and repair must find nothing to do."""
        before = self.sha256()
        shown = run("cryptsetup", "luksDump", self.path)
        repair = run("cryptsetup", "repair", "--debug", self.path)
        assert self.sha256() == before
        assert "requires recovery" not in repair.stdout
        assert not shown.stderr
        return shown.stdout


@pytest.fixture(name="volume")
def fixture_volume(tmp_path: pathlib.Path) -> Volume:
    return Volume(tmp_path / "volume.img")


def make_rich(volume: Volume) -> None:
    volume.format("--label", "\u00e4 label/1", "--subsystem", "sub")
    volume.add(
        1, "--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "32", "--pbkdf-parallel", "1"
    )
    volume.add(2)
    volume.add(5, "--unbound", "--key-size", "256", "--hash", "sha512")
    run("cryptsetup", "config", "--key-slot", 1, "--priority", "prefer", volume.path)
    run("cryptsetup", "token", "add", "--key-description", "a/b \u00e9", "--key-slot", 1, volume.path)
    token = (
        '{"type":"user","keyslots":["0","2"],"f":[1.50,1e5,-0.0],"s":"\\u0001\\n/\\"\u00fc\u2028",'
        '"n":null,"o":{"z":1,"a":[]}}'
    )
    run("cryptsetup", "token", "import", "--token-id", 4, volume.path, stdin=token)
    run(
        "cryptsetup",
        "token",
        "import",
        "--token-id",
        6,
        volume.path,
        stdin='{"type":"systemd-recovery","keyslots":["2"]}',
    )


@pytest.fixture(name="rich")
def fixture_rich(volume: Volume) -> Volume:
    """Slots 0 to 2 bound (1 prefer and Argon2id), 5 unbound; tokens: keyring on 1, an unusual one, recovery on 2."""
    recipe = ["rich LUKS2", originals.build_of("cryptsetup"), inspect.getsource(make_rich), inspect.getsource(Volume)]
    made = kept.folder(recipe, lambda scratch: make_rich(Volume(scratch / "volume.img")))
    originals.copied(made / "volume.img", volume.path)
    return volume


def agrees(volume: Volume) -> luks2_codec.Luks2Header:
    """Parse equals cryptsetup's own dump; what we would write equals what cryptsetup wrote."""
    header = volume.header()
    dump = volume.dump()
    assert json.loads(luks2_metadata.emit(header.metadata)) == dump
    assert luks2_metadata.emit(header.metadata) == volume.text()
    assert header.health == {"primary": "ok", "secondary": "ok"}
    assert header.write_obstacle is None
    assert sorted(header.keyslots) == sorted(int(name) for name in dump["keyslots"])
    for number, slot in header.keyslots.items():
        assert (slot.area.offset, slot.area.size) == tuple(
            int(dump["keyslots"][str(number)]["area"][name]) for name in ("offset", "size")
        )
    shown = run("cryptsetup", "luksDump", volume.path).stdout
    assert re.search(rf"^UUID:\s+{header.uuid}$", shown, re.MULTILINE)
    assert re.search(rf"^Epoch:\s+{header.seqid}$", shown, re.MULTILINE)
    assert re.search(rf"^Label:\s+{re.escape(header.label or '(no label)')}$", shown, re.MULTILINE)
    return header


@pytest.mark.parametrize(
    "size", [size if size in ("16k", "64k") else pytest.param(size, marks=pytest.mark.full) for size in SIZES]
)
def test_every_metadata_size(volume: Volume, size: str) -> None:
    volume.format("--luks2-metadata-size", size)
    header = agrees(volume)
    assert header.layout.window.offset == 2 * SIZES[size]
    volume.commit(header.with_priority(0, "ignore"))
    assert "Priority:   ignored" in volume.approved()
    assert volume.opens(0)
    agrees(volume)


SHORT_KINDS = [("pbkdf2", 256, 4096), ("argon2i", 512, 4096), ("argon2id", 512, 512)]
KINDS = itertools.product(("pbkdf2", "argon2i", "argon2id"), (256, 512), (512, 4096))


@pytest.mark.parametrize(
    ("kdf", "bits", "sector"),
    [kind if kind in SHORT_KINDS else pytest.param(*kind, marks=pytest.mark.full) for kind in KINDS],
)
def test_every_kdf_key_size_and_sector_size(volume: Volume, sector: int, bits: int, kdf: str) -> None:
    costs = (
        PBKDF2
        if kdf == "pbkdf2"
        else ("--pbkdf", kdf, "--pbkdf-force-iterations", "4", "--pbkdf-memory", "32", "--pbkdf-parallel", "1")
    )
    volume.format("--sector-size", str(sector), "--key-size", str(bits), *costs)
    header = agrees(volume)
    slot = header.keyslots[0]
    assert (header.key_size, header.segments[0].sector_size, slot.kdf.type, slot.area.size) == (
        bits // 8,
        sector,
        kdf,
        header.layout.unit,
    )
    # The slot that we would make is the one that cryptsetup made.
    assert header.new_keyslot(0, slot.kdf, slot.area) == slot
    fresh = header.without_keyslot(0)
    assert fresh.layout.place(0) == slot.area
    assert fresh.new_keyslot(0, slot.kdf, slot.area) == slot
    place = header.layout.place(7)
    assert place is not None
    volume.copy_area(slot.area, place)
    volume.commit(header.with_keyslot(7, slot.kdf, place))
    volume.approved()
    assert volume.opens(0, "--key-slot", "7") and volume.opens(0)


@pytest.mark.parametrize("cipher", ["aes-cbc-essiv:sha256", "aes-xts-plain64"])
def test_the_next_area_is_where_cryptsetup_puts_it(volume: Volume, cipher: str) -> None:
    volume.format("--cipher", cipher, "--key-size", "256")
    volume.add(1)
    volume.add(2)
    run("cryptsetup", "luksKillSlot", "-q", volume.path, 1)
    expected = volume.header()
    volume.add(3)
    theirs = volume.header().keyslots[3]
    assert theirs.area == expected.layout.place(3)
    ours = expected.with_keyslot(3, theirs.kdf, theirs.area)
    assert luks2_metadata.emit(ours.metadata) == volume.text()


def test_a_rich_header_is_read_as_cryptsetup_reads_it(rich: Volume) -> None:
    header = agrees(rich)
    assert {number: (slot.bound, slot.priority) for number, slot in header.keyslots.items()} == {
        0: (True, "normal"),
        1: (True, "prefer"),
        2: (True, "normal"),
        5: (False, "normal"),
    }
    tokens = [(token.number, token.type, token.keyslots) for token in header.tokens]
    assert tokens == [(0, "luks2-keyring", (1,)), (4, "user", (0, 2)), (6, "systemd-recovery", (2,))]
    assert (header.label, header.subsystem) == ("\u00e4 label/1", "sub")


@pytest.mark.parametrize("number", [0, 1, 5])
def test_erasing_writes_what_cryptsetup_writes(rich: Volume, number: int) -> None:
    theirs = rich.copied()
    run("cryptsetup", "luksKillSlot", "-q", theirs.path, number)
    rich.commit(rich.header().without_keyslot(number))
    assert rich.text() == theirs.text()
    rich.approved()
    assert [rich.opens(slot) for slot in (0, 1, 2)] == [slot != number for slot in (0, 1, 2)]


@pytest.mark.parametrize("priority", ["ignore", "normal", "prefer"])
@pytest.mark.parametrize("number", [pytest.param(0, marks=pytest.mark.full), 1])
def test_priorities_are_written_as_cryptsetup_writes_them(rich: Volume, number: int, priority: str) -> None:
    theirs = rich.copied()
    run("cryptsetup", "config", "--key-slot", number, "--priority", priority, theirs.path)
    rich.commit(rich.header().with_priority(number, priority))
    assert rich.text() == theirs.text()
    rich.approved()
    assert all(rich.opens(slot) for slot in (0, 1, 2))


def test_a_slot_of_systemd_takes_its_token_along(rich: Volume) -> None:
    rich.commit(rich.header().without_keyslot(2))
    assert [token.number for token in rich.header().tokens] == [0, 4]
    rich.approved()


def test_a_rekeyed_slot_keeps_number_priority_and_tokens(rich: Volume) -> None:
    header = rich.header()
    place = header.layout.place(1)
    assert place is not None
    # Slot 1 gets the secret of slot 0, by moving a copy of its material; the old area is given up to a wipe.
    rich.copy_area(header.keyslots[0].area, place)
    intent = model.Intent("wipe", 1, extents=(header.keyslots[1].area,))
    rich.commit(header.with_keyslot(1, header.keyslots[0].kdf, place).with_intent(intent))
    shown = rich.approved()
    assert rich.opens(0, "--key-slot", "1") and not rich.opens(1)
    assert [rich.opens(slot) for slot in (0, 2)] == [True, True]
    assert "Priority:   preferred" in shown and "luksmith.luks-intent" in shown
    after = rich.header()
    assert (after.intent, after.tokens[0].keyslots) == (intent, (1,))
    rich.commit(after.with_intent(None))
    assert json.loads(luks2_metadata.emit(rich.header().metadata))["tokens"] == header_tokens(header)


def header_tokens(header: luks2_codec.Luks2Header) -> t.Any:
    return json.loads(luks2_metadata.emit(header.metadata))["tokens"]


def record(header: luks2_codec.Luks2Header) -> t.Dict[int, model.RecordEntry]:
    return {
        number: model.RecordEntry(number, f"slot/{number} \u00e9", "00ff" * 8, "2026-01-02T03:04:05Z")
        for number in header.keyslots
    }


def test_after_cryptsetup_rewrites_our_header_the_text_is_still_ours(rich: Volume) -> None:
    header = rich.header()
    intent = model.Intent("wipe", 5, extents=(header.keyslots[5].area,))
    rich.commit(header.without_keyslot(5).with_intent(intent).with_record(record(header)).with_priority(0, "prefer"))
    ours = rich.text()
    run("cryptsetup", "config", "--label", "new", rich.path)
    assert rich.text() == ours
    after = agrees(rich)
    assert (after.label, after.intent) == ("new", intent)
    run("cryptsetup", "luksKillSlot", "-q", rich.path, 1)
    assert rich.text() == luks2_metadata.emit(theirs_after_kill(after, 1))


def theirs_after_kill(header: luks2_codec.Luks2Header, number: int) -> luks2_metadata.Tree:
    """Our tree without the slot, but with the record's entry: cryptsetup does not know what the record means."""
    tree = header.without_keyslot(number).metadata
    tree["tokens"] = header.metadata["tokens"]
    for token in tree["tokens"].values():
        token["keyslots"] = [name for name in token["keyslots"] if name != str(number)]
    return tree


def test_our_tokens_are_shown_and_bother_nobody(rich: Volume) -> None:
    header = rich.header()
    rich.commit(header.with_record(record(header)).with_intent(model.Intent("replace-fill", 1)))
    shown = rich.approved()
    assert "luksmith.luks-record" in shown and "luksmith.luks-intent" in shown
    exported = run("cryptsetup", "token", "export", "--token-id", rich.header().tokens[1].number, rich.path).stdout
    assert json.loads(exported)["type"].startswith("luksmith.")
    before = rich.sha256()
    assert all(rich.opens(slot) for slot in (0, 1, 2))
    assert rich.sha256() == before
    rich.add(3)
    assert rich.opens(3)
    assert rich.header().record == record(header)
    run("cryptsetup", "token", "remove", "--token-id", 2, rich.path)
    agrees(rich)


@SYSTEMD
def test_systemd_lists_and_wipes_on_volumes_that_we_wrote(volume: Volume) -> None:
    volume.format()
    run("systemd-cryptenroll", "--recovery-key", volume.path, PASSWORD="pw0")
    header = volume.header()
    volume.commit(header.with_record(record(header)).with_intent(model.Intent("replace-fill", 4)))
    listed = run("systemd-cryptenroll", volume.path).stdout
    assert re.findall(r"^\s*(\d+) (\w+)", listed, re.MULTILINE) == [("0", "password"), ("1", "recovery")]
    run("systemd-cryptenroll", "--wipe-slot=recovery", volume.path, PASSWORD="pw0")
    after = volume.header()
    assert list(after.keyslots) == [0]
    assert [token.type for token in after.tokens] == ["luksmith.luks-record", "luksmith.luks-intent"]
    volume.approved()


@SYSTEMD
def test_erasing_a_slot_of_systemd_leaves_what_systemd_would_leave(volume: Volume) -> None:
    volume.format()
    run("systemd-cryptenroll", "--recovery-key", volume.path, PASSWORD="pw0")
    theirs = volume.copied()
    run("systemd-cryptenroll", "--wipe-slot=1", theirs.path, PASSWORD="pw0")
    volume.commit(volume.header().without_keyslot(1))
    assert volume.text() == theirs.text()


@pytest.mark.parametrize("damage", ["primary", "secondary", "primary json", "stale primary", "stale secondary"])
def test_we_heal_as_cryptsetup_would(rich: Volume, damage: str) -> None:
    whole = rich.header()
    place = 0 if "primary" in damage else 0x4000
    if "stale" in damage:
        old = rich.path.read_bytes()[place : place + 0x4000]
        rich.commit(whole.with_priority(0, "ignore"))
        whole = rich.header()
        rich.write([model.Write(place, old)])
    else:
        rich.write([model.Write(place + (4500 if "json" in damage else 0), b"x" * 600)])
    before = rich.sha256()
    header = rich.header()
    assert header.needs_heal and rich.sha256() == before
    assert luks2_metadata.emit(header.metadata) == luks2_metadata.emit(whole.metadata)
    theirs = rich.copied()
    run("cryptsetup", "luksDump", theirs.path)
    assert theirs.sha256() != before
    assert theirs.text() == luks2_metadata.emit(header.metadata)
    rich.commit(header)
    rich.approved()
    assert agrees(rich).seqid == header.seqid + 1
    assert all(rich.opens(slot) for slot in (0, 1, 2))


def test_cryptsetup_reads_every_prefix_of_a_commit_as_we_do(rich: Volume) -> None:
    header = rich.header()
    new = header.without_keyslot(1).with_record(record(header))
    writes = new.commit_writes(header)
    seen = []
    for done in range(len(writes)):
        for cut in (0, 512, 1024, len(writes[done].data) - 512):
            state = rich.copied()
            state.write((*writes[:done], model.Write(writes[done].offset, writes[done].data[:cut])))
            text = luks2_metadata.emit(state.header().metadata)
            assert json.loads(text) == state.dump()
            assert text in (luks2_metadata.emit(header.metadata), luks2_metadata.emit(new.metadata))
            seen.append(text == luks2_metadata.emit(new.metadata))
            assert state.opens(0) and state.opens(2)
    assert seen == sorted(seen) and seen[0] is False and seen[-1] is True


def test_a_converted_luks1_header(volume: Volume) -> None:
    volume.path.write_bytes(b"")
    os.truncate(volume.path, image.SIZE)
    run(
        "cryptsetup", "luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000",
        "--cipher", "aes-xts-plain64", "--key-size", 256, volume.path, volume.keyfile(0),
    )  # fmt: skip
    run("cryptsetup", "convert", "-q", "--type", "luks2", volume.path)
    header = agrees(volume)
    assert len(header.digests[0].value) == 20
    place = header.layout.place(3)
    assert place is not None and place.offset % 4096 == 0
    volume.copy_area(header.keyslots[0].area, place)
    volume.commit(header.with_keyslot(3, header.keyslots[0].kdf, place))
    volume.approved()
    assert volume.opens(0, "--key-slot", "3") and volume.opens(0)


def test_requirements_of_a_real_reencryption_stop_us(volume: Volume) -> None:
    volume.format()
    run(
        "cryptsetup",
        "reencrypt",
        "-q",
        "--init-only",
        "--resilience",
        "checksum",
        *PBKDF2,
        "-d",
        volume.keyfile(0),
        volume.path,
    )
    header = volume.header()
    assert json.loads(luks2_metadata.emit(header.metadata)) == volume.dump()
    assert [slot.kind for slot in header.keyslots.values()].count("reencrypt") == 1
    assert isinstance(header.write_obstacle, errors.Refused)
    with pytest.raises(errors.Refused, match="reencrypt"):
        header.with_priority(0, "prefer").commit_writes(header)
