# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify_volume finds every kind of wrong volume, also one that cryptsetup changed, and is never green for nothing."""

from __future__ import annotations

import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils.test_volumes import make_test_volume
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume, needs_cryptsetup, run
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module

ADMIN = {"label": "admin", "passphrase": "correct horse"}
LEAKED = {"label": "leaked", "passphrase": "winter-2025"}
BREAK_GLASS = {"label": "break-glass", "passphrase": "in-case-of-fire"}
FORMATS = ("luks1", "luks2", "qcow2")


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "data.img"


def verify(path: pathlib.Path, **asked: t.Any) -> t.Dict[str, t.Any]:
    return run_module("verify_volume", {"device": str(path), **asked})


def failures(path: pathlib.Path, **asked: t.Any) -> t.List[str]:
    """What it says; the message begins with the volume and has all of it."""
    with pytest.raises(ModuleFailed) as caught:
        verify(path, **asked)
    result = caught.value.result
    assert result["msg"].startswith(f"{path}: ") and all(one in result["msg"] for one in result["failures"])
    return list(result["failures"])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_right_volume(kind: str, path: pathlib.Path) -> None:
    make_test_volume(path, format=kind)
    asked = {"opens": [LEAKED, BREAK_GLASS], "does_not_open": [ADMIN], "keyslots": [1, 0], "tokens": []}
    result = verify(path, **asked)
    assert result["assertions"] == 5 and result["failures"] == [] and not result["changed"]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_wrong_secret_and_keyslot_is_named(kind: str, path: pathlib.Path) -> None:
    make_test_volume(path, format=kind)
    asked = {"opens": [ADMIN, BREAK_GLASS], "does_not_open": [LEAKED], "keyslots": [1], "tokens": ["clevis"]}
    assert failures(path, **asked) == [
        "'admin' must open the volume, but opens no keyslot.",
        "'leaked' must not open the volume, but opens keyslot 0.",
        "The active keyslots must be [1], but are [0, 1].",
        "The tokens of other programs must be ['clevis'], but are [].",
    ]


def test_tokens_and_keyslots_that_are_not_bound(path: pathlib.Path) -> None:
    unbound = {"secret": LEAKED, "bound": False}
    make_test_volume(path, keyslots=[{"secret": ADMIN}, unbound, {"token": "clevis"}, {"token": "systemd-tpm2"}])
    verify(path, opens=[ADMIN], does_not_open=[LEAKED], tokens=["systemd-tpm2", "clevis"])
    assert failures(path, opens=[LEAKED]) == [
        "'leaked' must open the volume, but opens only keyslot 1, which is not bound to it."
    ]
    assert len(failures(path, tokens=["clevis"])) == 1


def test_what_cannot_be_tried_is_not_closed(path: pathlib.Path) -> None:
    make_test_volume(path, secrets=[ADMIN])
    asked = {"kdf_limits": {"memory": 16}, "does_not_open": [LEAKED], "opens": [ADMIN]}
    found = failures(path, **asked)
    assert len(found) == 2 and all("keyslot 0 could not be tried" in one for one in found)


@needs_cryptsetup
@pytest.mark.parametrize("kind", ["luks1", "luks2"])
def test_what_cryptsetup_changed_is_seen(kind: str, path: pathlib.Path) -> None:
    before = path.with_name("before")
    make_test_volume(path, format=kind)
    shutil.copy(path, before)
    verify(path, unchanged_since=str(before))
    volume = Luks2Volume(path)
    run("cryptsetup", "luksKillSlot", "-q", "-d", volume.keyfile(BREAK_GLASS["passphrase"]), path, 0)
    assert failures(path, unchanged_since=str(before)) == [f"It must be as in {before}, but the header has changed."]
    assert failures(path, opens=[LEAKED, BREAK_GLASS]) == ["'leaked' must open the volume, but opens no keyslot."]


@pytest.mark.parametrize("kind", FORMATS)
def test_unchanged_since_a_backup_of_the_header(kind: str, path: pathlib.Path) -> None:
    backup = str(path.with_name("backup"))
    make_test_volume(path, format=kind)
    run_module("header_backup", {"device": str(path), "path": backup})
    verify(path, unchanged_since=backup)
    entry = {"new_secret": ADMIN, "pbkdf": {"iterations": 1000}}
    keyslots(path, [entry], unlock=[LEAKED], check=True)
    verify(path, unchanged_since=backup)
    keyslots(path, [entry], unlock=[LEAKED])
    assert failures(path, unchanged_since=backup)


def test_one_byte_of_key_material_is_a_change(path: pathlib.Path) -> None:
    before = path.with_name("before")
    make_test_volume(path, format="luks1")
    shutil.copy(path, before)
    content = bytearray(path.read_bytes())
    content[4096 + 131072 + 5] ^= 1
    path.write_bytes(content)
    assert failures(path, unchanged_since=str(before)) == [
        f"It must be as in {before}, but the key material of keyslot 1 has changed."
    ]


@pytest.mark.parametrize("asked", [{}, {"opens": []}, {"opens": [], "does_not_open": []}])
def test_a_task_that_asks_for_nothing_fails(asked: t.Dict[str, t.Any], path: pathlib.Path) -> None:
    make_test_volume(path)
    with pytest.raises(ModuleFailed, match=r"data\.img: The task asks for nothing"):
        verify(path, **asked)


def test_no_volume_fails(path: pathlib.Path) -> None:
    with pytest.raises(ModuleFailed, match="No such file"):
        verify(path, opens=[ADMIN])
    path.write_bytes(bytes(1 << 20))
    with pytest.raises(ModuleFailed, match="not with a LUKS header"):
        verify(path, keyslots=[])


def test_a_secret_that_must_and_must_not_open_is_refused(path: pathlib.Path) -> None:
    make_test_volume(path)
    with pytest.raises(ModuleFailed, match="'leaked' is in opens and in does_not_open"):
        verify(path, opens=[LEAKED], does_not_open=[{"label": "other", "passphrase": LEAKED["passphrase"]}])


@needs_cryptsetup
@pytest.mark.parametrize("kind", ["luks1", "luks2"])
def test_a_volume_that_was_formatted_anew_is_another(kind: str, path: pathlib.Path) -> None:
    """With the same UUID, the right secret and the right keyslots: only its volume key tells."""
    before = path.with_name("before")
    made = make_test_volume(path, format=kind, secrets=[ADMIN], key_size=64)
    run_module("header_backup", {"device": str(path), "path": str(before)})
    volume = Luks2Volume(path)
    admin = volume.keyfile(ADMIN["passphrase"])
    keyslots(path, [{"new_secret": BREAK_GLASS, "pbkdf": {"iterations": 1000}}], unlock=[ADMIN])
    asked = {"opens": [ADMIN], "keyslots": [0, 1], "same_volume_as": str(before)}
    assert verify(path, **asked)["assertions"] == 3
    run("cryptsetup", "luksKillSlot", "-q", "-d", admin, path, 1)
    asked["keyslots"] = [0]
    verify(path, **asked)
    cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--uuid", made["uuid"], "--key-size", "512"]
    run("cryptsetup", "luksFormat", "-q", "--type", kind, *cheap, path, admin)
    found = failures(path, **asked)
    assert len(found) == 1 and found[0].startswith(f"It must be the same volume as {before}, but it has another ")
    told = found[0].partition(" but it has ")[2]
    assert "another volume key" in told and "UUID" not in told and "format" not in told


@needs_cryptsetup
def test_a_volume_that_was_converted_is_another(path: pathlib.Path) -> None:
    before = path.with_name("before")
    make_test_volume(path, format="luks1", secrets=[ADMIN])
    shutil.copy(path, before)
    run("cryptsetup", "convert", "-q", "--type", "luks2", path)
    assert failures(path, same_volume_as=str(before))[0].startswith(
        f"It must be the same volume as {before}, but it has another format"
    )
    with pytest.raises(ModuleFailed, match="nowhere: Cannot open it: No such file"):
        verify(path, same_volume_as=str(path.with_name("nowhere")))


@needs_cryptsetup
def test_a_keyslot_that_programs_do_not_try(path: pathlib.Path) -> None:
    make_test_volume(path, secrets=[ADMIN, BREAK_GLASS])
    verify(path, opens=[BREAK_GLASS], ignored=[])
    run("cryptsetup", "config", "--key-slot", "1", "--priority", "ignore", path)
    assert not Luks2Volume(path).opens(BREAK_GLASS["passphrase"])
    (said,) = failures(path, opens=[ADMIN, BREAK_GLASS])
    assert said.startswith("'break-glass' must open the volume, but opens only keyslot 1 with priority ignore")
    assert verify(path, opens=[BREAK_GLASS], ignored=[1])["assertions"] == 2
    assert failures(path, ignored=[0, 1]) == ["The keyslots with priority ignore must be [0, 1], but are [1]."]
