# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our LUKS1 and qcow2 codecs against cryptsetup and QEMU: both make volumes, both judge what we make of them.

The key material of a LUKS1 slot does not depend on the slot's number. So a copy of slot 0's area with slot 0's salt
and iterations works in any slot, and the peers can open what we wrote without a key derivation of ours.
"""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import model, parsing, qcow2
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import codec as luks1_codec
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume
from ansible_collections.luksmith.luks.tests.interop.qemu_image import OPENER, QemuImage
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image as image

SECRET = ("--object", f"secret,id=s,data={OPENER}")

pytestmark = pytest.mark.needs("cryptsetup", "qemu-img", "qemu-io")


def run(*command: t.Any, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done


class Made(t.NamedTuple):
    """A volume somebody else made: a raw file, or a qcow2 image with the region of its header."""

    path: pathlib.Path
    offset: int = 0
    length: t.Optional[int] = None

    def header(self) -> luks1_codec.Luks1Header:
        data = self.path.read_bytes()[self.offset :][: self.length]
        found = parsing.parse_header(image.reader(data), len(data), embedded=self.length is not None)
        assert isinstance(found, luks1_codec.Luks1Header)
        return found

    def commit(self, new: model.Header, old: model.Header) -> None:
        with self.path.open("r+b") as file:
            for write in new.commit_writes(old):
                file.seek(self.offset + write.offset)
                file.write(write.data)

    def copy_area(self, source: model.Extent, target: model.Extent) -> None:
        with self.path.open("r+b") as file:
            file.seek(self.offset + source.offset)
            data = file.read(source.size)
            file.seek(self.offset + target.offset)
            file.write(data)

    def cut(self) -> pathlib.Path:
        """The header and its key material as a file that cryptsetup reads."""
        if self.length is None:
            return self.path
        cut = self.path.with_suffix(".cut")
        cut.write_bytes(self.path.read_bytes()[self.offset :][: self.length].ljust(4 << 20, b"\0"))
        return cut

    def opens(self, slot: int) -> bool:
        tried = run(
            "cryptsetup",
            "open",
            "--test-passphrase",
            "-q",
            "-S",
            slot,
            "--key-file",
            "-",
            self.cut(),
            stdin=OPENER,
            check=False,
        )
        assert tried.returncode in (0, 1, 2), tried.stderr
        return tried.returncode == 0


def detached_header(folder: pathlib.Path) -> Made:
    for name in ("volume", "header"):
        with (folder / name).open("wb") as file:
            file.truncate(4 << 20)
    command = [
        "cryptsetup",
        "luksFormat",
        "-q",
        "--type",
        "luks1",
        "--pbkdf-force-iterations",
        "1000",
        "--header",
        folder / "header",
    ]
    run(*command, folder / "volume", "-", stdin=OPENER)
    return Made(folder / "header")


def qemu_volume(folder: pathlib.Path, kind: str, *options: str) -> Made:
    path = QemuImage(folder, kind, options=",".join(options)).path
    if kind == "luks":
        return Made(path)
    data = path.read_bytes()
    found = qcow2.locate(image.reader(data), len(data))
    assert found.clear is None
    return Made(path, found.offset, found.length)


CRYPTSETUP = {
    "xts-256": ("-c", "aes-xts-plain64", "-s", "256"),
    "xts-512": ("-c", "aes-xts-plain64", "-s", "512"),
    "xts-sha512": ("-c", "aes-xts-plain64", "-s", "512", "-h", "sha512"),
    "essiv-128": ("-c", "aes-cbc-essiv:sha256", "-s", "128"),
    "essiv-192": ("-c", "aes-cbc-essiv:sha256", "-s", "192"),
    "essiv-256": ("-c", "aes-cbc-essiv:sha256", "-s", "256"),
    "cbc-plain": ("-c", "aes-cbc-plain", "-s", "128"),
    "align-1": ("-c", "aes-xts-plain64", "-s", "256", "--align-payload", "1"),
    "align-8": ("-c", "aes-xts-plain64", "-s", "512", "--align-payload", "8"),
    "align-2048": ("-c", "aes-cbc-plain", "-s", "192", "--align-payload", "2048"),
}
QCOW2 = {
    "qcow2-512": ("cluster_size=512",),
    "qcow2-4k": ("cluster_size=4k",),
    "qcow2-64k": (),
    "qcow2-2M": ("cluster_size=2M",),
    "qcow2-v2": ("compat=0.10",),
    "qcow2-lazy": ("lazy_refcounts=on", "preallocation=metadata"),
    "qcow2-extended-l2": ("extended_l2=on", "cluster_size=128k"),
    "qcow2-cbc": (
        "encrypt.cipher-alg=aes-128",
        "encrypt.cipher-mode=cbc",
        "encrypt.ivgen-alg=essiv",
        "encrypt.ivgen-hash-alg=sha256",
    ),
}
QEMU = {
    "qemu": (),
    "qemu-cbc": ("cipher-alg=aes-256", "cipher-mode=cbc", "ivgen-alg=essiv", "ivgen-hash-alg=sha256"),
    "qemu-sha1": ("hash-alg=sha1",),
}
DETACHED = ("detached",)
SHORT = ("xts-512", "essiv-128", "align-8", "detached", "qemu", "qcow2-64k")
ALL = [
    name if name in SHORT else pytest.param(name, marks=pytest.mark.full)
    for name in (*CRYPTSETUP, *DETACHED, *QEMU, *QCOW2)
]


def make(name: str, folder: pathlib.Path) -> Made:
    """One of these volumes, of which there are as many as are asked for, all of one uuid."""
    folder.mkdir(exist_ok=True)
    if name in CRYPTSETUP:
        return Made(Luks2Volume(folder / "volume").like(*CRYPTSETUP[name], type="luks1", opener=OPENER).path)
    if name in DETACHED:
        return detached_header(folder)
    return qemu_volume(folder, "luks", *QEMU[name]) if name in QEMU else qemu_volume(folder, "qcow2", *QCOW2[name])


@pytest.fixture(name="volume", params=ALL)
def fixture_volume(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Made:
    return make(request.param, tmp_path)


def assert_dump_agrees(header: luks1_codec.Luks1Header, volume: Made) -> None:
    """Every field that luksDump prints, against ours."""
    dump = run("cryptsetup", "luksDump", volume.cut()).stdout
    head, *slots = re.split(r"^Key Slot \d: ", dump, flags=re.MULTILINE)

    def value(text: str, name: str) -> str:
        found = re.search(rf"^\s*{name}:((?:.*\n)(?:\s+(?:[0-9a-f]{{2}} ?)+\n)*)", text, flags=re.MULTILINE)
        assert found is not None, f"{name} is not in {text}"
        return found.group(1).strip()

    def octets(text: str, name: str) -> bytes:
        return bytes.fromhex(value(text, name))

    (digest,), (segment,) = header.digests, header.segments
    assert f"{value(head, 'Cipher name')}-{value(head, 'Cipher mode')}" == header.cipher == segment.encryption
    assert value(head, "Hash spec") == digest.hash
    assert int(value(head, "Payload offset")) * 512 == segment.offset
    assert int(value(head, "MK bits")) == header.key_size * 8
    assert (octets(head, "MK digest"), octets(head, "MK salt")) == (digest.value, digest.salt)
    assert int(value(head, "MK iterations")) == digest.iterations
    assert value(head, "UUID") == header.uuid
    assert [number for number, text in enumerate(slots) if text.startswith("ENABLED")] == list(header.keyslots)
    for number, slot in header.keyslots.items():
        assert isinstance(slot.kdf, model.Pbkdf2)
        assert int(value(slots[number], "Iterations")) == slot.kdf.iterations
        assert octets(slots[number], "Salt") == slot.kdf.salt
        assert int(value(slots[number], "Key material offset")) * 512 == slot.area.offset
        assert int(value(slots[number], "AF stripes")) == slot.af_stripes


def qemu_info(volume: Made) -> t.Dict[str, t.Any]:
    kind = "luks" if volume.length is None else "qcow2"
    data = json.loads(run("qemu-img", "info", "--output=json", "-f", kind, volume.path).stdout)["format-specific"][
        "data"
    ]
    return t.cast("t.Dict[str, t.Any]", data if kind == "luks" else data["encrypt"])


def assert_qemu_agrees(header: luks1_codec.Luks1Header, volume: Made) -> None:
    info = qemu_info(volume)
    (digest,) = header.digests
    assert (info["uuid"], info["hash-alg"], info["master-key-iters"]) == (header.uuid, digest.hash, digest.iterations)
    assert info["payload-offset"] == header.segments[0].offset
    mode = f"{info['cipher-mode']}-{info['ivgen-alg']}" + (
        f":{info['ivgen-hash-alg']}" if info["ivgen-alg"] == "essiv" else ""
    )
    assert f"{info['cipher-alg'].partition('-')[0]}-{mode}" == header.cipher
    for number, slot in enumerate(info["slots"]):
        assert slot["key-offset"] == t.cast("t.Mapping[int, model.Extent]", header.layout.fixed)[number].offset
        assert slot["active"] == (number in header.keyslots)
        if slot["active"]:
            kept = header.keyslots[number]
            assert isinstance(kept.kdf, model.Pbkdf2)
            assert (slot["iters"], slot["stripes"]) == (kept.kdf.iterations, kept.af_stripes)


def assert_peers_agree(volume: Made) -> None:
    header = volume.header()
    assert_dump_agrees(header, volume)
    if header.segments[0].offset:
        assert_qemu_agrees(header, volume)


def test_a_foreign_volume_reads_as_its_maker_shows_it(volume: Made) -> None:
    header = volume.header()
    assert header.warnings == ()
    assert list(header.keyslots) == [0]
    assert_peers_agree(volume)


def test_slot_6_across_the_sectors_takes_over(volume: Made) -> None:
    assert_slot_moves(volume, 6)


@pytest.mark.parametrize("number", [1, 5, 7])
def test_any_other_slot_takes_over(tmp_path: pathlib.Path, number: int) -> None:
    assert_slot_moves(make("xts-512", tmp_path), number)


def assert_slot_moves(volume: Made, number: int) -> None:
    old = volume.header()
    target = t.cast("t.Mapping[int, model.Extent]", old.layout.fixed)[number]
    volume.copy_area(old.keyslots[0].area, target)
    both = old.with_keyslot(number, old.keyslots[0].kdf, target)
    volume.commit(both, old)
    assert_peers_agree(volume)
    assert volume.opens(0)
    assert volume.opens(number)
    volume.commit(both.without_keyslot(0), both)
    assert_peers_agree(volume)
    assert not volume.opens(0)
    assert volume.opens(number)
    if volume.length is not None:
        run(
            "qemu-img",
            "check",
            "-q",
            *SECRET,
            "--image-opts",
            f"driver=qcow2,file.filename={volume.path},encrypt.key-secret=s",
        )


@pytest.mark.parametrize("name", ["qemu", "xts-512"])
def test_an_erased_slot_looks_as_the_peers_leave_it(tmp_path: pathlib.Path, name: str) -> None:
    """Byte for byte on the header, beside what cryptsetup does to the same slot of a twin."""
    mine, theirs = (make(name, tmp_path / twin) for twin in ("mine", "theirs"))
    old = mine.header()
    mine.commit(old.without_keyslot(0), old)
    run("cryptsetup", "luksKillSlot", "-q", theirs.path, "0")
    assert mine.path.read_bytes()[:1024] == theirs.path.read_bytes()[:1024]


def test_erasing_by_qemu_leaves_the_same_header(tmp_path: pathlib.Path) -> None:
    mine, theirs = (make("qemu", tmp_path / twin) for twin in ("mine", "theirs"))
    old = mine.header()
    mine.commit(old.without_keyslot(0), old)
    source = f"driver=luks,file.filename={theirs.path},key-secret=s"
    run("qemu-img", "amend", "--force", *SECRET, "--image-opts", source, "-o", "state=inactive,keyslot=0")
    assert mine.path.read_bytes()[:592] == theirs.path.read_bytes()[:592]


class TestIntent:
    """What the peers do with the padding that holds our intent."""

    NOTE = model.Intent(model.IntentKind.MOVE_ERASE, 0, temporary_slot=3)

    @pytest.fixture(name="note")
    def fixture_note(self, tmp_path: pathlib.Path) -> t.Callable[[str], Made]:
        def note(name: str) -> Made:
            volume = make(name, tmp_path)
            old = volume.header()
            volume.commit(old.with_intent(self.NOTE), old)
            return volume

        return note

    @pytest.mark.parametrize("name", ["qemu", "xts-512", "qcow2-64k", "detached"])
    def test_both_read_past_it(self, note: t.Callable[[str], Made], name: str) -> None:
        noted = note(name)
        assert noted.header().intent == self.NOTE
        assert_peers_agree(noted)
        assert noted.opens(0)
        assert noted.header().intent == self.NOTE

    @pytest.mark.parametrize("name", ["qemu", "xts-512", "detached"])
    def test_cryptsetup_drops_it_when_it_writes(
        self, note: t.Callable[[str], Made], tmp_path: pathlib.Path, name: str
    ) -> None:
        noted, key = note(name), tmp_path / "new"
        key.write_text("another", encoding="utf-8")
        run(
            "cryptsetup",
            "luksAddKey",
            "-q",
            "--pbkdf-force-iterations",
            "1000",
            "--key-file",
            "-",
            noted.path,
            key,
            stdin=OPENER,
        )
        header = noted.header()
        assert list(header.keyslots) == [0, 1]
        assert (header.intent, header.warnings) == (None, ())

    @pytest.mark.parametrize(
        ("name", "prefix"),
        [
            ("qemu", ""),
            pytest.param("xts-512", "", marks=pytest.mark.full),
            pytest.param("qcow2-64k", "encrypt.", marks=pytest.mark.full),
        ],
    )
    def test_qemu_keeps_it_when_it_writes(self, note: t.Callable[[str], Made], name: str, prefix: str) -> None:
        noted = note(name)
        source = f"driver={'qcow2' if prefix else 'luks'},file.filename={noted.path},{prefix}key-secret=s"
        change = f"{prefix}state=active,{prefix}new-secret=s,{prefix}iter-time=1"
        run("qemu-img", "amend", *SECRET, "--image-opts", source, "-o", change)
        header = noted.header()
        assert list(header.keyslots) == [0, 1]
        assert header.intent == self.NOTE


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


# name, offset, bytes: what we read with a warning that QEMU refuses it; cryptsetup reads it too.
QEMU_REFUSES = [
    ("hash-upper", 72, b"SHA256"),
    ("below-sector-8", image.slot_field(0, 40), u32(7)),
    ("rounding-overlap", image.slot_field(1, 40), u32(508)),
]
# What we and both peers read without complaint, or at least luksDump does.
ALL_READ = [
    ("uuid-without-nul", 168, b"u" * 40),
    ("padding", 592, b"\1" * 432),
    ("state-zero-iterations-of-inactive", image.slot_field(3, 4), u32(9)),
]
# What we refuse, and so does QEMU; cryptsetup is laxer on some.
QEMU_AND_WE_REFUSE = [
    ("state", image.slot_field(3, 0), u32(0x1234)),
    ("stripes", image.slot_field(3, 44), u32(3999)),
    ("iterations-0", image.slot_field(0, 4), u32(0)),
    ("mk-iterations-0", 164, u32(0)),
    ("cipher-nul", 8, b"a" * 32),
    ("mode-nul", 40, b"x" * 32),
    ("hash-nul", 72, b"s" * 32),
    ("area-in-header", image.slot_field(0, 40), u32(1)),
    ("overlap", image.slot_field(1, 40), u32(507)),
    ("overlap-of-inactive", image.slot_field(6, 40), u32(8 + 504 * 7)),
    ("over-payload", 104, u32(4035)),
    ("key-bytes-0", 108, u32(0)),
]


@pytest.fixture(name="mutant")
def fixture_mutant(tmp_path: pathlib.Path) -> t.Callable[[int, bytes], Made]:
    def mutant(offset: int, data: bytes) -> Made:
        made = make("qemu", tmp_path)
        made.path.write_bytes(image.patch(made.path.read_bytes(), offset, data))
        return made

    return mutant


def qemu_reads(volume: Made) -> bool:
    return run("qemu-img", "info", "-f", "luks", volume.path, check=False).returncode == 0


@pytest.mark.parametrize(
    ("offset", "data"), [case[1:] for case in QEMU_REFUSES], ids=[case[0] for case in QEMU_REFUSES]
)
def test_a_warning_about_qemu_is_true(mutant: t.Callable[[int, bytes], Made], offset: int, data: bytes) -> None:
    volume = mutant(offset, data)
    (warning,) = volume.header().warnings
    assert "QEMU refuses" in warning
    assert not qemu_reads(volume)
    run("cryptsetup", "luksDump", volume.path)


@pytest.mark.parametrize(("offset", "data"), [case[1:] for case in ALL_READ], ids=[case[0] for case in ALL_READ])
def test_what_all_three_read(mutant: t.Callable[[int, bytes], Made], offset: int, data: bytes) -> None:
    volume = mutant(offset, data)
    volume.header()
    assert qemu_reads(volume)
    run("cryptsetup", "luksDump", volume.path)


@pytest.mark.parametrize(
    ("offset", "data"), [case[1:] for case in QEMU_AND_WE_REFUSE], ids=[case[0] for case in QEMU_AND_WE_REFUSE]
)
def test_what_neither_qemu_nor_we_read(mutant: t.Callable[[int, bytes], Made], offset: int, data: bytes) -> None:
    volume = mutant(offset, data)
    with pytest.raises(Exception, match=r"LUKS1 header is (damaged|truncated)"):
        volume.header()
    assert not qemu_reads(volume)
