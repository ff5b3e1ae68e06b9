# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyslots that are not bound to the volume, by their number: ranked, erased, and given another secret for the key that
they have. cryptsetup shows that key.
"""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, PBKDF2, Luks2Volume, run
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots

pytestmark = pytest.mark.needs("cryptsetup")
OTHER = bytes(range(32))


def secret(text: str) -> t.Dict[str, str]:
    return {"label": text.upper(), "passphrase": text}


def replace(old: str, new: str, **more: t.Any) -> t.Dict[str, t.Any]:
    return {"keyslot": 7, "old_secret": secret(old), "new_secret": secret(new), "pbkdf": CHEAP, **more}


def add_unbound(volume: Luks2Volume, key: bytes = OTHER, slot: int = 7, word: str = "theirs") -> Luks2Volume:
    """A secret for another key than that of the volume."""
    file = volume.path.with_name("other")
    file.write_bytes(key)
    options = ("--unbound", "--key-size", 8 * len(key), "--volume-key-file", file, "--key-slot", slot)
    run("cryptsetup", "luksAddKey", "-q", *options, *PBKDF2, volume.path, volume.keyfile(word))
    return volume


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> Luks2Volume:
    """pw0 in keyslot 0, one in keyslot 1; theirs in keyslot 7, for a key of its own."""
    return add_unbound(Luks2Volume(tmp_path / "volume").like(slots={1: "one"}))


def key_of(volume: Luks2Volume, word: str, slot: int = 7) -> bytes:
    """The key that cryptsetup gets out of an unbound keyslot with this secret, or nothing."""
    named = ("--unbound", "--key-slot", slot, "-d", volume.keyfile(word))
    done = run("cryptsetup", "luksDump", "-q", *named, volume.path, check=False)
    assert done.returncode == 0 or (done.returncode == 2 and "No key available" in done.stderr), done.stderr
    return bytes.fromhex(re.sub(r"\s", "", done.stdout.partition("Unbound Key:")[2]))


def refused(volume: Luks2Volume, entries: t.Sequence[t.Mapping[str, t.Any]], sentence: str, **options: t.Any) -> None:
    before = volume.sha256()
    with pytest.raises(ModuleFailed, match=f"(?i){sentence}"):
        keyslots(volume.path, entries, **{"unlock": ["pw0"], **options})
    assert volume.sha256() == before


def test_one_can_be_ranked(volume: Luks2Volume) -> None:
    keyslots(volume.path, [{"keyslot": 7, "priority": "ignore"}])
    assert volume.tree()["keyslots"]["7"]["priority"] == 0


def test_one_is_erased_by_number_only_if_the_secret_opens_it(volume: Luks2Volume) -> None:
    for other in ("pw0", "nothing"):
        assert not keyslots(volume.path, [{"state": "absent", "keyslot": 7, "old_secret": secret(other)}])["changed"]
    assert not keyslots(volume.path, [{"state": "absent", "old_secret": secret("theirs")}])["changed"]
    keyslots(volume.path, [{"state": "absent", "keyslot": 7, "old_secret": secret("theirs")}], unlock=["pw0"])
    assert "7" not in volume.tree()["keyslots"] and len(volume.tree()["digests"]) == 1 and volume.opens("pw0")


def test_another_secret_for_the_key_that_it_has(volume: Luks2Volume) -> None:
    """No secret of the volume is needed, nothing but this keyslot changes, and a second run changes nothing."""
    volume.import_token(4, {"type": "of-somebody", "keyslots": ["7"]})
    before, entry = volume.tree(), replace("theirs", "next")
    predicted = keyslots(volume.path, [entry], check=True)
    assert volume.tree() == before
    done = keyslots(volume.path, [entry])
    assert [(one["action"], one["keyslot"]) for one in done["plan"]] == [("rekey", 7)]
    for name in ("plan", "keyslots", "diff", "warnings"):
        assert predicted[name] == done[name]
    row = next(row for row in done["keyslots"] if row["keyslot"] == 7)
    assert (row["bound"], row["opened_by"], row["tokens"]) == (False, ["NEXT"], ["of-somebody"])
    assert "keyslot 7 is not bound to the volume: NEXT opens another key there" in str(done["warnings"])

    assert (key_of(volume, "next"), key_of(volume, "theirs")) == (OTHER, b"")
    assert volume.opened((0, 1, 7), ("pw0", "one", "next", "theirs")) == {(0, "pw0"), (1, "one"), (7, "next")}
    assert not volume.opens("next") and "7: luks2 (unbound)" in volume.approved()
    after = volume.tree()
    assert after["digests"] == before["digests"] and after["segments"] == before["segments"]
    for number in ("0", "1"):
        assert after["keyslots"][number] == before["keyslots"][number]
    assert after["tokens"]["4"] == before["tokens"]["4"]
    old = before["keyslots"]["7"]["area"]
    assert volume.raw(int(old["offset"]), int(old["size"])) != bytes(int(old["size"]))
    assert after["keyslots"]["7"]["area"]["offset"] != old["offset"]

    image = volume.raw()
    again = keyslots(volume.path, [entry])
    assert not again["changed"] and again["keyslots"] == done["keyslots"] and volume.raw() == image
    # With the header of before, what the keyslot had before is gone from the medium.
    volume.edit(lambda tree: tree.update(before))
    assert key_of(volume, "theirs") == b""


@pytest.mark.parametrize("size", [16, 32, 64, pytest.param(511, marks=pytest.mark.full)])
def test_the_key_may_have_another_length_than_that_of_the_volume(tmp_path: pathlib.Path, size: int) -> None:
    """The area of such a keyslot is as large as its key needs, not as that of the volume does."""
    key = bytes(255 - number % 256 for number in range(size))
    # Two areas of the largest key: the new one is written beside the old one.
    room = ("--luks2-keyslots-size", "6m") if size > 64 else ()
    volume = add_unbound(Luks2Volume(tmp_path / "volume").like(*room, slots={1: "one"}, size=16 << 20), key)
    keyslots(volume.path, [replace("theirs", "next"), replace("nothing", "next")])
    assert key_of(volume, "next") == key
    sizes = {int(slot["area"]["size"]) for slot in volume.tree()["keyslots"].values()}
    assert sizes == {131072, -(-size * 4000 // 4096) * 4096}
    volume.add(9, "nine").approved()


def test_beside_changes_of_the_volume(volume: Luks2Volume) -> None:
    """What opens the other key does not open the volume: the same new secret gets a keyslot of its own there."""
    entries = [replace("theirs", "next"), {"new_secret": secret("next"), "old_secret": secret("one"), "pbkdf": CHEAP}]
    done = keyslots(volume.path, entries, purge=True, allow_lockout=True)
    made = sorted((one["action"], one["keyslot"]) for one in done["plan"])
    assert made == [("erase", 0), ("rekey", 1), ("rekey", 7)]
    assert volume.opens("next") and volume.opened((1, 7), ("one", "next")) == {(1, "next"), (7, "next")}
    assert key_of(volume, "next") == OTHER and not keyslots(volume.path, entries, purge=True)["changed"]


def test_it_is_no_opener_of_the_volume(volume: Luks2Volume) -> None:
    gone = [{"state": "absent", "keyslot": number} for number in (0, 1)]
    refused(volume, [replace("theirs", "next"), *gone], "would leave no keyslot that a secret of this task is proven")
    refused(
        volume, [replace("theirs", "next"), {"new_secret": secret("next")}], "opens a keyslot of the volume", unlock=[]
    )


def test_other_costs_and_priority(volume: Luks2Volume) -> None:
    stronger = replace("theirs", "theirs", pbkdf={"type": "argon2id", "time": 4, "memory": 64, "parallel": 1})
    done = keyslots(volume.path, [{**stronger, "priority": "ignore"}])
    assert [(one["action"], one["keyslot"]) for one in done["plan"]] == [("rekey", 7)]
    slot = volume.tree()["keyslots"]["7"]
    assert (slot["kdf"]["type"], slot["priority"]) == ("argon2id", 0) and key_of(volume, "theirs") == OTHER
    assert not keyslots(volume.path, [{**stronger, "priority": "ignore"}])["changed"]


def test_what_is_refused(volume: Luks2Volume) -> None:
    refused(volume, [replace("pw0", "next")], "keyslot 7 is in use, and neither NEXT nor PW0 opens it")
    in_use = "keyslot 7 is in use, and not bound to the volume: {} there.*give the secret that opens it as old_secret"
    nobody, theirs = (in_use.format(who) for who in ("no secret opens the volume", "THEIRS opens another key"))
    refused(volume, [{"keyslot": 7, "new_secret": secret("next")}], nobody)
    refused(volume, [{"keyslot": 7, "new_secret": secret("theirs")}], theirs)
    unpinned = {"old_secret": secret("theirs"), "new_secret": secret("next")}
    refused(volume, [unpinned], "THEIRS opens keyslot 7 only, which is not bound to the volume: name it by keyslot")


def test_by_force_it_becomes_one_of_the_volume(volume: Luks2Volume) -> None:
    keyslots(volume.path, [{"keyslot": 7, "new_secret": secret("next")}], unlock=["pw0"], force=True)
    assert volume.opened((7,), ("theirs", "next")) == {(7, "next")} and volume.opens("next")
    assert list(volume.tree()["digests"]) == ["0"]


def test_without_room_beside_it(tmp_path: pathlib.Path) -> None:
    """Nothing else holds its key, so that it is never wiped before the new secret works; room is made by what goes."""
    volume = Luks2Volume(tmp_path / "volume").format("--luks2-keyslots-size", "384k")
    add_unbound(volume.add(1, "one"))
    backup = tmp_path / "copies"
    backup.mkdir()
    refused(volume, [replace("theirs", "next")], "no safe order.*needs room beside it .not bound to the volume.")
    refused(volume, [replace("theirs", "next")], "no safe order", backup_dir=str(backup))
    done = keyslots(volume.path, [replace("theirs", "next"), {"state": "absent", "keyslot": 1}], unlock=["pw0"])
    assert [(one["action"], one["keyslot"]) for one in done["plan"]] == [("erase", 1), ("rekey", 7)]
    assert key_of(volume, "next") == OTHER and volume.opens("pw0")


def test_a_volume_that_has_nothing_else(volume: Luks2Volume) -> None:
    """'cryptsetup luksErase' leaves keyslots that are not bound."""
    for number in (0, 1):
        run("cryptsetup", "luksKillSlot", "-q", volume.path, number)
    keyslots(volume.path, [replace("theirs", "next")])
    assert key_of(volume, "next") == OTHER
