# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS1 with Clevis: what luksmeta wrote is shown, and protects its keyslot as a token of LUKS2 does."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, PBKDF2, run
from ansible_collections.luksmith.luks.tests.interop.module_process import keyslots, run_module

pytestmark = pytest.mark.needs("cryptsetup", "luksmeta")
CLEVIS = "cb6e8904-81ff-40da-a84a-07ab9ab5715e"
OTHER = "7cd03b4f-6b2e-4d2a-8f5a-6d3a1f2b9c10"


class Volume:
    """LUKS1 with "pw0" in keyslot 0, "machine" in keyslot 1 and "stranger" in keyslot 2."""

    def __init__(self, path: pathlib.Path, key_size: int) -> None:
        self.path = path
        with path.open("wb") as file:
            file.truncate(8 << 20)
        run(
            "cryptsetup",
            "luksFormat",
            "-q",
            "--type",
            "luks1",
            "--key-size",
            key_size,
            *PBKDF2,
            "-d",
            self.key("pw0"),
            path,
        )
        for secret in ("machine", "stranger"):
            run("cryptsetup", "luksAddKey", "-q", *PBKDF2, "-d", self.key("pw0"), path, self.key(secret))
        run("luksmeta", "init", "-f", "-d", path)
        self.save(1, CLEVIS)

    def key(self, secret: str) -> pathlib.Path:
        path = self.path.with_name(f"key-{secret}")
        path.write_text(secret)
        return path

    def save(self, slot: int, owner: str) -> None:
        run("luksmeta", "save", "-d", self.path, "-s", slot, "-u", owner, stdin="what the program keeps")

    def block(self) -> int:
        return self.path.read_bytes().index(b"LUKSMETA")

    def opens(self, secret: str) -> bool:
        done = run("cryptsetup", "open", "--test-passphrase", "-d", self.key(secret), self.path, check=False)
        return bool(done.returncode == 0)


@pytest.fixture(params=[256, 512])
def volume(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Volume:
    return Volume(tmp_path / "volume", int(request.param))


def entry(label: str, **more: t.Any) -> t.Dict[str, t.Any]:
    return {"new_secret": {"label": label, "passphrase": label}, "pbkdf": CHEAP, **more}


def tokens(volume: Volume) -> t.Dict[int, t.List[str]]:
    found = run_module("keyslots_info", {"device": str(volume.path)})
    return {row["keyslot"]: row["tokens"] for row in found["keyslots"] if row["tokens"]}


def test_a_backup_shows_it(volume: Volume) -> None:
    """In the table and the diff, as keyslots does: of a new backup, of the one that it replaces, and of a restore."""
    path = volume.path.with_name("backup")
    given = {"device": str(volume.path), "path": str(path), "unlock": [{"label": "pw0", "passphrase": "pw0"}]}

    def shown(result: t.Mapping[str, t.Any], number: int = 1) -> t.Tuple[t.List[str], bool, bool]:
        diff = result["diff"]
        lines = [[line for line in diff[side].splitlines() if "token clevis" in line] for side in ("before", "after")]
        table = {row["keyslot"]: row["tokens"] for row in result["keyslots"]}
        return table.get(number, []), bool(lines[0]), bool(lines[1])

    assert shown(run_module("header_backup", given, diff=True)) == (["clevis"], False, True)
    run("luksmeta", "wipe", "-f", "-d", volume.path, "-s", 1, "-u", CLEVIS)
    volume.save(2, CLEVIS)
    run("cryptsetup", "luksKillSlot", "-q", volume.path, 1)
    back = {**given, "state": "restored", "force": True}
    assert shown(run_module("header_backup", back, check=True, diff=True)) == (["clevis"], True, True)
    assert shown(run_module("header_backup", given, diff=True), 2) == (["clevis"], True, True)


def test_purge_leaves_the_keyslot_of_clevis_and_says_so(volume: Volume) -> None:
    assert tokens(volume) == {1: ["clevis"]}
    purged = keyslots(volume.path, [entry("pw0")], purge=True)
    assert [(action["action"], action["keyslot"]) for action in purged["plan"]] == [("erase", 2)]
    assert any("keyslot 1" in str(warning) and "clevis" in str(warning) for warning in purged["warnings"])
    assert volume.opens("machine") and not volume.opens("stranger")
    assert CLEVIS in run("luksmeta", "show", "-d", volume.path).stdout


@pytest.mark.parametrize("state", ["absent", "forced"])
def test_an_erase_by_name_takes_the_entry_along(volume: Volume, state: str) -> None:
    """luksmeta finds its block intact, the other entries in it, and nothing of what it kept for this keyslot."""
    volume.save(2, OTHER)
    wanted = {"state": "absent", "keyslot": 1} if state == "absent" else entry("next", keyslot=1)
    kept = run("luksmeta", "load", "-d", volume.path, "-s", 2, "-u", OTHER).stdout
    foreseen = keyslots(volume.path, [wanted], unlock=["pw0"], force=state == "forced", check=True)
    done = keyslots(volume.path, [wanted], unlock=["pw0"], force=state == "forced")
    assert not volume.opens("machine") and volume.opens("next") == (state == "forced")
    for result in (foreseen, done):
        assert any("keyslot 1" in str(one) and "is removed with the key" in str(one) for one in result["warnings"])
    shown = run("luksmeta", "show", "-d", volume.path).stdout
    assert CLEVIS not in shown and OTHER in shown
    assert run("luksmeta", "load", "-d", volume.path, "-s", 2, "-u", OTHER).stdout == kept
    assert volume.path.read_bytes().count(b"what the program keeps") == 1
    volume.save(1, CLEVIS)


def test_an_erase_beside_a_damaged_block_says_that_it_stays(volume: Volume) -> None:
    content = bytearray(volume.path.read_bytes())
    content[volume.block() + 40] ^= 1
    volume.path.write_bytes(content)
    before = bytes(content[volume.block() :])
    erased = keyslots(volume.path, [{"state": "absent", "keyslot": 1}], unlock=["pw0"])
    assert any("luksmeta wipe -d DEVICE -s 1" in str(warning) for warning in erased["warnings"])
    assert volume.path.read_bytes()[volume.block() :] == before


def backup(volume: Volume, check: bool = False, **options: t.Any) -> t.Dict[str, t.Any]:
    path = f"{volume.path}.backup"
    return run_module("header_backup", {"device": str(volume.path), "path": path, **options}, check=check)


def restored(volume: Volume, **options: t.Any) -> t.Dict[str, t.Any]:
    unlock = [{"label": "pw0", "passphrase": "pw0"}]
    return backup(volume, state="restored", unlock=unlock, force=True, **options)


def loaded(volume: Volume) -> str:
    done = run("luksmeta", "load", "-d", volume.path, "-s", 1, "-u", CLEVIS, check=False)
    return str(done.stdout)


def unbind(volume: Volume) -> None:
    """As clevis luks unbind does."""
    run("cryptsetup", "luksKillSlot", "-q", "-d", volume.key("pw0"), volume.path, 1)
    run("luksmeta", "wipe", "-f", "-d", volume.path, "-s", 1, "-u", CLEVIS)


def test_a_backup_brings_a_binding_back(volume: Volume) -> None:
    """cryptsetup restores the part of the same file that it knows."""
    before = volume.path.read_bytes()
    made = backup(volume)
    assert any("luksHeaderRestore would not" in str(warning) for warning in made["warnings"])
    assert not backup(volume)["changed"]
    unbind(volume)
    assert not volume.opens("machine") and not loaded(volume)
    assert restored(volume, check=True)["changed"] and not volume.opens("machine")
    done = restored(volume)
    assert "what luksmeta keeps" in str(done["plan"])
    assert volume.opens("machine") and loaded(volume) == "what the program keeps"
    assert volume.path.read_bytes() == before
    assert not restored(volume)["changed"]

    unbind(volume)
    path = f"{volume.path}.backup"
    run("cryptsetup", "luksHeaderRestore", "-q", volume.path, "--header-backup-file", path)
    assert volume.opens("machine") and not loaded(volume)
    last = restored(volume)
    assert [action["action"] for action in last["plan"]] == ["restore-header"]
    assert loaded(volume) == "what the program keeps"


def test_a_header_that_is_gone_comes_back_with_the_binding(volume: Volume) -> None:
    before = volume.path.read_bytes()
    backup(volume)
    with volume.path.open("r+b") as file:
        file.write(bytes(volume.block() + 4096))
    restored(volume)
    assert volume.opens("machine") and loaded(volume) == "what the program keeps"
    assert len(before) == volume.path.stat().st_size


def test_a_backup_without_the_binding_takes_its_note_along(volume: Volume) -> None:
    """Clevis would take the next key in that keyslot for its own. The notes of keyslots that stay are left."""
    run("cryptsetup", "luksKillSlot", "-q", "-d", volume.key("pw0"), volume.path, 1)
    path = f"{volume.path}.backup"
    run("cryptsetup", "luksHeaderBackup", volume.path, "--header-backup-file", path)
    run("cryptsetup", "luksAddKey", "-q", *PBKDF2, "-S", 1, "-d", volume.key("pw0"), volume.path, volume.key("machine"))
    volume.save(2, OTHER)
    restored(volume)
    assert not volume.opens("machine") and volume.opens("stranger")
    shown = run("luksmeta", "show", "-d", volume.path).stdout
    assert CLEVIS not in shown and OTHER in shown


def test_a_number_with_a_stale_entry_is_avoided(volume: Volume) -> None:
    """Clevis would take the new keyslot for its own, and fail."""
    run("cryptsetup", "luksKillSlot", "-q", "-d", volume.key("pw0"), volume.path, 1)
    added = keyslots(volume.path, [entry("new")], unlock=["pw0"])
    assert [(action["action"], action["keyslot"]) for action in added["plan"]] == [("add", 3)]


def test_entries_of_other_programs_protect_too(volume: Volume) -> None:
    volume.save(2, OTHER)
    assert tokens(volume) == {1: ["clevis"], 2: [f"luksmeta {OTHER}"]}
    assert not keyslots(volume.path, [entry("pw0")], purge=True)["changed"]


def test_a_damaged_block_is_told_and_hides_nothing(volume: Volume) -> None:
    """Which keyslots are in use is then unknown, so that purge erases none that no secret opens."""
    content = bytearray(volume.path.read_bytes())
    content[volume.block() + 40] ^= 1
    volume.path.write_bytes(content)
    found = run_module("keyslots_info", {"device": str(volume.path)})
    assert any("luksmeta block" in str(one) and "wrong checksum" in str(one) for one in found["warnings"])
    assert not keyslots(volume.path, [entry("pw0")], purge=True)["changed"]
    assert volume.opens("machine") and volume.opens("stranger")


def test_no_block_no_tokens(volume: Volume) -> None:
    content = bytearray(volume.path.read_bytes())
    begin = volume.block()
    content[begin : begin + 272] = bytes(272)
    volume.path.write_bytes(content)
    assert tokens(volume) == {}
