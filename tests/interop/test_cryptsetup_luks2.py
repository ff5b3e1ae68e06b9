# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS2 in both directions: cryptsetup makes, we change, cryptsetup judges every change, changes too, and we read
that.
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.lock_lab import loop_device
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import (
    CHEAP,
    PBKDF2,
    Luks2Volume,
    needs_cryptsetup,
    run,
)
from ansible_collections.luksmith.luks.tests.interop.module_process import keyslots, run_module

pytestmark = needs_cryptsetup

KDFS: t.Dict[str, t.Tuple[t.Tuple[str, ...], t.Dict[str, t.Any]]] = {
    "pbkdf2-sha256": (
        ("--pbkdf", "pbkdf2", "--hash", "sha256", "--pbkdf-force-iterations", "1000"),
        {"type": "pbkdf2", "hash": "sha256", "iterations": 1000},
    ),
    "pbkdf2-sha512": (
        ("--pbkdf", "pbkdf2", "--hash", "sha512", "--pbkdf-force-iterations", "1000"),
        {"type": "pbkdf2", "hash": "sha512", "iterations": 1000},
    ),
    **{
        kdf: (
            ("--pbkdf", kdf, "--pbkdf-force-iterations", "4", "--pbkdf-memory", "32", "--pbkdf-parallel", "1"),
            {"type": kdf, "time": 4, "memory": 32, "parallel": 1},
        )
        for kdf in ("argon2i", "argon2id")
    },
}
CIPHERS = (
    ("aes-xts-plain64", 256),
    ("aes-xts-plain64", 512),
    ("aes-cbc-essiv:sha256", 128),
    ("aes-cbc-essiv:sha256", 256),
)
METADATA = {"16k": 16, "32k": 32, "64k": 64, "128k": 128, "256k": 256, "512k": 512, "1m": 1024, "2m": 2048, "4m": 4096}
# Every derivation with every cipher and key size; all metadata sizes, and both sector sizes for each derivation and
# cipher.
MATRIX = [
    (kdf, cipher, bits, list(METADATA)[(4 * row + column) % len(METADATA)], (512, 4096)[(row + column) % 2])
    for row, kdf in enumerate(KDFS)
    for column, (cipher, bits) in enumerate(CIPHERS)
]
SECRETS = ("pw0", "theirs", "ours", "ours 2", "theirs 2", "unbound")
RECORD = "luksmith.luks-record"


class Judged:
    """Runs the module and lets cryptsetup judge every write.

    ``slots``: what must open what from now on, slot -> secret.
    """

    def __init__(
        self, volume: Luks2Volume, slots: t.Dict[int, str], *, payload: t.Optional[pathlib.Path] = None
    ) -> None:
        self.volume = volume
        self.slots = slots
        self.device = payload or volume.path
        self.options: t.Dict[str, t.Any] = {"header": str(volume.path)} if payload else {}

    def write(self, entry: t.Mapping[str, t.Any], touched: int, kind: str, unlock: t.Sequence[str] = ("pw0",)) -> t.Any:
        """One entry, one slot: everything else of the JSON stays to the byte."""
        before, seqid = self.volume.pieces(), self.volume.seqid
        result = keyslots(self.device, [entry], unlock=unlock, **self.options)
        assert [(action["action"], action["keyslot"]) for action in result["plan"]] == [(kind, touched)]
        self.judge(touched)
        assert self.volume.seqid > seqid
        assert untouched(before, touched) == untouched(self.volume.pieces(), touched)
        return result

    def judge(self, touched: t.Optional[int] = None) -> None:
        """Every secret opens its slot; no other secret opens the slot that was touched, or (None) any."""
        self.volume.approved()
        assert sorted(self.volume.tree()["keyslots"], key=int) == [str(slot) for slot in sorted(self.slots)]
        for slot, secret in self.slots.items():
            asked = SECRETS if touched in (None, slot) else [secret]
            assert self.volume.opened([slot], asked) == {(slot, secret)}

    def settled(self, *entries: t.Mapping[str, t.Any]) -> t.Any:
        """The task holds already: no change, and not a byte is written."""
        before = self.volume.sha256()
        result = keyslots(self.device, entries, unlock=["pw0"], **self.options)
        assert (result["changed"], result["plan"]) == (False, [])
        assert self.volume.sha256() == before
        return result


def untouched(pieces: t.Mapping[t.Tuple[str, ...], str], slot: int) -> t.Dict[t.Tuple[str, ...], str]:
    """Without the slot, the lists of slots in the digests, and our record; in their order."""
    return {
        path: text
        for path, text in pieces.items()
        if path != ("keyslots", str(slot))
        and not (path[0] == "digests" and path[-1] == "keyslots")
        and not (path[0] == "tokens" and RECORD in text)
    }


def present(label: str, costs: t.Optional[t.Mapping[str, t.Any]] = None, **more: t.Any) -> t.Dict[str, t.Any]:
    return {"new_secret": {"label": f"label of {label}", "passphrase": label}, "pbkdf": costs or CHEAP, **more}


SHORT = [("pbkdf2-sha512", "aes-cbc-essiv:sha256", 128), ("argon2id", "aes-xts-plain64", 512)]


@pytest.mark.parametrize(
    ("kdf", "cipher", "bits", "metadata", "sector"),
    [case if case[:3] in SHORT else pytest.param(*case, marks=pytest.mark.full) for case in MATRIX],
)
def test_both_directions(tmp_path: pathlib.Path, kdf: str, cipher: str, bits: int, metadata: str, sector: int) -> None:
    """It may take some seconds: cryptsetup derives keys of its own costs, and each program opens what the other
    wrote.
    """
    options, costs = KDFS[kdf]
    volume = Luks2Volume(tmp_path / "volume").format(
        *("--cipher", cipher, "--key-size", bits, "--sector-size", sector, *options),
        *("--luks2-metadata-size", metadata, "--luks2-keyslots-size", "2m", "--label", "ä/label", "--subsystem", "sub"),
        size=METADATA[metadata] * 2048 + (4 << 20),
    )
    volume.add(2, "theirs", *options).add(6, "unbound", "--unbound", "--key-size", "256", *options)
    volume.import_token(3, {"type": "user", "keyslots": ["0", "2"], "number": 1, "text": "a/b \u00fc"})
    judged = Judged(volume, {0: "pw0", 2: "theirs", 6: "unbound"})
    judged.slots[1] = "ours"
    added = judged.write(present("ours", costs), 1, "add")
    assert (added["type"], added["container"], added["verified"]) == ("luks2", "raw", True)
    row = next(row for row in added["keyslots"] if row["keyslot"] == 1)
    assert row["kdf"] == costs

    judged.slots[2] = "ours 2"
    judged.write(present("ours 2", costs, old_secret={"passphrase": "theirs"}), 2, "rekey")
    assert volume.tree()["tokens"]["3"]["keyslots"] == ["0", "2"]

    # cryptsetup changes what we wrote, in all its ways, and we agree on the outcome.
    volume.add(4, "theirs 2", *options, unlock="ours")
    run(
        "cryptsetup",
        "luksChangeKey",
        "-q",
        *options,
        "-d",
        volume.keyfile("ours 2"),
        volume.path,
        volume.keyfile("theirs"),
    )
    run("cryptsetup", "luksKillSlot", "-q", "-d", volume.keyfile("pw0"), volume.path, 1)
    judged.slots = {0: "pw0", 2: "theirs", 4: "theirs 2", 6: "unbound"}
    volume.approved()
    info = run_module(
        "keyslots_info",
        {
            "device": str(volume.path),
            "secrets": [{"label": f"label of {word}", "passphrase": word} for word in SECRETS],
        },
    )
    assert sorted((row["keyslot"], row["bound"]) for row in info["keyslots"]) == [
        (0, True),
        (2, True),
        (4, True),
        (6, False),
    ]
    assert (info["header"]["label"], info["header"]["subsystem"], info["header"]["segments"][0]["sector_size"]) == (
        "ä/label",
        "sub",
        sector,
    )
    judged.settled(present("theirs", costs), present("theirs 2", costs, keyslot=4), {"state": "absent", "keyslot": 1})

    del judged.slots[4]
    judged.write({"state": "absent", "old_secret": {"passphrase": "theirs 2"}}, 4, "erase")


@pytest.fixture(name="rich")
def fixture_rich(tmp_path: pathlib.Path) -> Judged:
    """Two digests besides the data's: slots 3 and 5 are unbound, each with a volume key of its own."""
    volume = Luks2Volume(tmp_path / "volume").format("--label", "L", "--subsystem", "S")
    volume.add(1, "theirs").add(3, "unbound", "--unbound", "--key-size", "256").add(
        5, "theirs 2", "--unbound", "--key-size", "512"
    )
    assert len(volume.tree()["digests"]) == 3
    return Judged(volume, {0: "pw0", 1: "theirs", 3: "unbound", 5: "theirs 2"})


@pytest.mark.parametrize("priority", [pytest.param("prefer", marks=pytest.mark.full), "ignore"])
def test_priorities(rich: Judged, priority: str) -> None:
    entry = {"keyslot": 1, "new_secret": {"passphrase": "theirs"}}
    rich.write({**entry, "priority": priority}, 1, "set-priority")
    assert rich.volume.tree()["keyslots"]["1"]["priority"] == {"prefer": 2, "ignore": 0}[priority]
    assert rich.volume.opens("theirs") == (
        priority == "prefer"
    )  # without its number, cryptsetup passes over an ignored slot
    rich.settled({**entry, "priority": priority})
    run("cryptsetup", "config", "--key-slot", 1, "--priority", "ignore", rich.volume.path)
    rich.write(entry, 1, "set-priority")
    assert "priority" not in rich.volume.tree()["keyslots"]["1"]
    rich.settled(entry)


def test_unbound_slots_and_their_digests(rich: Judged) -> None:
    """A secret that opens an unbound slot only does not open the volume; such a slot goes when it is named, its digest
    with it.
    """
    rich.slots[2] = "unbound"
    rich.write(present("unbound"), 2, "add")
    purged = keyslots(rich.volume.path, [present("pw0"), present("theirs"), present("unbound")], purge=True)
    assert not purged["changed"]
    assert sum("not bound to the volume" in str(warning) for warning in purged["warnings"]) == 2
    before = rich.volume.pieces()
    del rich.slots[3]
    keyslots(rich.volume.path, [{"state": "absent", "keyslot": 3}], unlock=["pw0"])
    rich.judge()
    assert sorted(rich.volume.tree()["digests"]) == ["0", "2"]
    gone = {path: text for path, text in untouched(before, 3).items() if path[:2] != ("digests", "1")}
    assert untouched(rich.volume.pieces(), 3) == gone


def test_labels_with_every_change(rich: Judged) -> None:
    rich.slots[2] = "ours"
    rich.write(present("ours"), 2, "add")
    rich.slots[2] = "ours 2"
    rich.write(present("ours 2", old_secret={"passphrase": "ours"}), 2, "rekey")
    shown = rich.volume.approved()
    assert "Label:         \tL\n" in shown and "Subsystem:     \tS\n" in shown


def test_a_detached_header(tmp_path: pathlib.Path) -> None:
    """Only the header file changes. The payload is a file with nothing of LUKS in it."""
    payload = tmp_path / "payload"
    payload.write_bytes(b"payload\0" * 131072)
    header = Luks2Volume(tmp_path / "header")
    header.path.write_bytes(bytes(16 << 20))
    run(
        "cryptsetup",
        "luksFormat",
        "-q",
        "--type",
        "luks2",
        "--header",
        header.path,
        *PBKDF2,
        payload,
        header.keyfile("pw0"),
    )
    before = payload.read_bytes()
    judged = Judged(header, {0: "pw0"}, payload=payload)
    judged.slots[1] = "ours"
    judged.write(present("ours"), 1, "add")
    judged.slots[0] = "ours 2"
    judged.write(present("ours 2", old_secret={"passphrase": "pw0"}), 0, "rekey")
    del judged.slots[1]
    judged.write({"state": "absent", "keyslot": 1, "old_secret": {"passphrase": "ours"}}, 1, "erase", unlock=["ours 2"])
    opened = run(
        "cryptsetup", "open", "--test-passphrase", "--header", header.path, "-d", header.keyfile("ours 2"), payload
    )
    assert opened.returncode == 0
    assert payload.read_bytes() == before


@pytest.mark.needs("loop")
def test_a_loop_device(tmp_path: pathlib.Path) -> None:
    """What is written to the device is in its file, and the other way round."""
    file = Luks2Volume(tmp_path / "volume").like()
    with loop_device(file.path) as device:
        judged = Judged(Luks2Volume(pathlib.Path(device), tmp_path), {0: "pw0", 1: "ours"})
        judged.write(present("ours"), 1, "add")
        judged.slots[1] = "ours 2"
        judged.write(present("ours 2", old_secret={"passphrase": "ours"}), 1, "rekey")
        del judged.slots[1]
        judged.write({"state": "absent", "old_secret": {"passphrase": "ours 2"}}, 1, "erase")
    Judged(file, {0: "pw0"}).judge()
