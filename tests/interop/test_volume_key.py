# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume key in place of a secret: what cryptsetup dumped adds a secret that cryptsetup opens, and proves no more."""

from __future__ import annotations

import base64
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, PBKDF2, Luks2Volume, run
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module

pytestmark = pytest.mark.needs("cryptsetup")
NEW = {"new_secret": {"label": "new", "passphrase": "new"}, "pbkdf": CHEAP}


def dumped(volume: Luks2Volume) -> pathlib.Path:
    path = volume.path.with_name(f"{volume.path.name}-key")
    options = ("--dump-volume-key", "--volume-key-file", path)
    run("cryptsetup", "luksDump", "-q", *options, "-d", volume.keyfile("pw0"), volume.path)
    return path


@pytest.fixture(params=["luks1", "luks2"])
def volume(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Luks2Volume:
    return Luks2Volume(tmp_path / "volume").like(type=str(request.param))


def refused(volume: Luks2Volume, *entries: t.Mapping[str, t.Any], **options: t.Any) -> str:
    before = volume.sha256()
    with pytest.raises(ModuleFailed) as caught:
        keyslots(volume.path, entries or (NEW,), **options)
    assert volume.sha256() == before
    return str(caught.value)


def test_adds_a_secret_that_cryptsetup_opens(volume: Luks2Volume) -> None:
    unlock = [{"label": "dump", "volume_key_file": str(dumped(volume))}]
    foreseen = keyslots(volume.path, [NEW], check=True, unlock=unlock)
    added = keyslots(volume.path, [NEW], unlock=unlock)
    assert added["plan"] == foreseen["plan"] and [one["action"] for one in added["plan"]] == ["add"]
    assert volume.opened((0, 1), ("pw0", "new")) == {(0, "pw0"), (1, "new")}
    # The search for the new secret in keyslot 0, and its key: nothing was measured, because the entry has costs.
    assert added["kdf_evaluations"] == 2 and not any("measured" in str(one) for one in added["warnings"])
    assert not keyslots(volume.path, [NEW], unlock=unlock)["changed"]


def test_cryptsetup_takes_the_same_file(volume: Luks2Volume) -> None:
    """What opens with our keyslot is the key that cryptsetup accepts as the one of this volume."""
    key = dumped(volume)
    keyslots(volume.path, [NEW], unlock=[{"volume_key_base64": base64.b64encode(key.read_bytes()).decode()}])
    options = ("--volume-key-file", key, *PBKDF2)
    run("cryptsetup", "luksAddKey", "-q", *options, volume.path, volume.keyfile("third"))
    assert volume.opens("new") and volume.opens("third")


def test_costs_are_measured_once_and_that_is_said(volume: Luks2Volume) -> None:
    entries = [{"new_secret": {"passphrase": one}, "iter_time": 1} for one in ("one", "two")]
    added = keyslots(volume.path, entries, unlock=[{"volume_key_file": str(dumped(volume))}])
    # Two searches, two keys, and the one that was measured.
    assert added["kdf_evaluations"] == 5
    assert any("measured on this host for the costs" in str(one) for one in added["warnings"])
    assert volume.opens("one") and volume.opens("two")


def test_a_key_with_another_bit_is_refused(volume: Luks2Volume) -> None:
    key = bytearray(dumped(volume).read_bytes())
    key[-1] ^= 1
    said = refused(volume, unlock=[{"label": "flipped", "volume_key_base64": base64.b64encode(key).decode()}])
    assert "the volume key flipped is not that of the volume (its digest is not the one in the header)" in said


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda key: key[:16], "it has 16 bytes, and the volume key has 32"),
        # HMAC takes both for the same key, as the digest alone would.
        (lambda key: key + bytes(16), "it has 48 bytes, and the volume key has 32"),
        (lambda key: key.hex().encode(), "it looks like hex digits"),
    ],
    ids=["half", "zeros added", "hex"],
)
def test_a_key_of_another_length_is_refused(volume: Luks2Volume, change: t.Any, found: str) -> None:
    key = change(dumped(volume).read_bytes())
    assert found in refused(volume, unlock=[{"volume_key_base64": base64.b64encode(key).decode()}])


def test_it_never_counts_as_an_opener(volume: Luks2Volume) -> None:
    """It would not open the volume at boot."""
    unlock = [{"volume_key_file": str(dumped(volume))}]
    said = refused(volume, {"state": "absent", "keyslot": 0}, unlock=unlock)
    assert "would leave no keyslot that a secret of this task is proven to open" in said
    purged = keyslots(volume.path, [NEW], purge=True, unlock=unlock)
    assert [(one["action"], one["keyslot"]) for one in purged["plan"]] == [("add", 1), ("erase", 0)]
    assert volume.opened((0, 1), ("pw0", "new")) == {(1, "new")}


def test_a_volume_without_a_keyslot_gets_one(volume: Luks2Volume) -> None:
    key = dumped(volume)
    run("cryptsetup", "luksErase", "-q", volume.path)
    assert not volume.opens("pw0")
    padded = base64.b64encode(key.read_bytes() + bytes(32)).decode()
    assert "is not that of the volume" in refused(volume, unlock=[{"volume_key_base64": padded}])
    keyslots(volume.path, [NEW], unlock=[{"volume_key_file": str(key)}])
    assert volume.opens("new")
    again = key.with_name("again")
    options = ("--dump-volume-key", "--volume-key-file", again)
    run("cryptsetup", "luksDump", "-q", *options, "-d", volume.keyfile("new"), volume.path)
    assert again.read_bytes() == key.read_bytes()


def test_force_overwrites_with_it(volume: Luks2Volume) -> None:
    unlock = [{"volume_key_file": str(dumped(volume))}]
    assert "is in use" in refused(volume, {"keyslot": 0, **NEW}, unlock=unlock)
    keyslots(volume.path, [{"keyslot": 0, **NEW}], force=True, unlock=unlock)
    assert volume.opened((0,), ("pw0", "new")) == {(0, "new")}


def test_it_is_shown_whether_it_is_the_key(volume: Luks2Volume) -> None:
    key = dumped(volume).read_bytes()
    wrong = base64.b64encode(bytes(reversed(key))).decode()
    given = [
        {"label": "right", "volume_key_base64": base64.b64encode(key).decode()},
        {"label": "wrong", "volume_key_base64": wrong},
    ]
    found = run_module("keyslots_info", {"device": str(volume.path), "secrets": given})
    assert found["volume_keys"] == {"right": True, "wrong": False} and found["kdf_evaluations"] == 0
    assert any("the volume key wrong is not that of the volume" in str(one) for one in found["warnings"])
    task = {"device": str(volume.path), "path": f"{volume.path}.backup", "unlock": given}
    backup = run_module("header_backup", task)
    assert backup["volume_keys"] == {"right": True, "wrong": False}


def test_a_backup_of_another_volume_key_is_not_restored(volume: Luks2Volume) -> None:
    """A damaged header says nothing of the key that the data has, and the operator can."""
    key = dumped(volume).read_bytes()
    task: t.Dict[str, t.Any] = {"device": str(volume.path), "path": f"{volume.path}.backup"}
    run_module("header_backup", task)
    volume.patch(0, bytes(volume.path.stat().st_size // 2))
    secret = {"passphrase": "pw0"}

    def restore(*unlock: t.Any) -> None:
        run_module("header_backup", {**task, "state": "restored", "force": True, "unlock": [*unlock]})

    wrong = {"label": "data", "volume_key_base64": base64.b64encode(bytes(reversed(key))).decode()}
    with pytest.raises(ModuleFailed, match="volume key data is not that of the backup"):
        restore(secret, wrong)
    right = {"volume_key_base64": base64.b64encode(key).decode()}
    with pytest.raises(ModuleFailed, match="nlock has a volume key only"):
        restore(right)
    restore(secret, right)
    assert volume.opens("pw0")
