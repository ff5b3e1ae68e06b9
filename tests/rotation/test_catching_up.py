# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that are not as the store left them: away for a time, back from a backup, without a free keyslot, copied."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import (
    BREAK_GLASS,
    LEAKED,
    Lab,
    exactly_the_newest,
    nothing_is_lost,
)
from ansible_collections.luksmith.luks.tests.rotation.test_audit_store import audit

VOLUMES = ("luks1.img", "luks2.img")
TWO, THREE = ("-e", "rotate_generation=two"), ("-e", "rotate_generation=three")
pytestmark = [pytest.mark.full, pytest.mark.needs("ansible-playbook", "cryptsetup")]


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory, shared: pathlib.Path) -> Lab:
    """Once rotated: generation one."""
    return Lab.once_rotated(tmp_path_factory.mktemp("rotated") / "lab", shared, VOLUMES)


def test_a_rotation_that_was_cut_is_finished_before_the_next_one(rotated: Lab, tmp_path: pathlib.Path) -> None:
    """It may take half a minute: three rotations of two volumes."""
    lab = rotated.copy(tmp_path / "lab")
    lab.play(*TWO, expect=-9, KILL_BEFORE="host add")
    staged = {entry["uuid"]: entry["next"] for entry in lab.stored() if entry["next"]}
    assert staged
    lab.play(*THREE)
    stored = lab.stored()
    exactly_the_newest(lab, stored, "three")
    for entry in stored:
        if entry["uuid"] in staged:
            assert staged[entry["uuid"]]["id"] in [secret["id"] for secret in entry["older"]], (
                "it became the current one before it was replaced"
            )
    assert "changed=0 " in lab.play(*THREE)


def test_a_volume_that_comes_back_from_a_backup_catches_up(rotated: Lab, tmp_path: pathlib.Path) -> None:
    """It may take half a minute: three rotations of two volumes."""
    lab = rotated.copy(tmp_path / "lab")
    lab.play(*TWO)
    lab.play(*THREE)
    current = exactly_the_newest(lab, lab.stored(), "three")
    for volume in VOLUMES:
        shutil.copy(rotated.folder / volume, lab.folder / volume)
    lab.play(*THREE)
    fresh = exactly_the_newest(lab, lab.stored(), "three")
    assert not set(fresh.values()) & set(current.values()), (
        "what is only in the store does not come to a volume: a fresh secret does"
    )
    assert "changed=0 " in lab.play(*THREE)


def test_a_backup_from_before_the_first_rotation_catches_up(
    rotated: Lab, tmp_path: pathlib.Path, shared: pathlib.Path
) -> None:
    """It may take 20 s: a rotation of two volumes."""
    lab = rotated.copy(tmp_path / "lab")
    fresh = Lab.make(tmp_path / "fresh", shared, VOLUMES)
    for volume in VOLUMES:
        shutil.copy(fresh.folder / volume, lab.folder / volume)
    lab.play()
    exactly_the_newest(lab, lab.stored(), "one")


def test_two_volumes_with_one_uuid_share_a_secret(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """It may take half a minute: three rotations of two volumes."""
    lab = Lab.make(tmp_path / "lab", shared, ("luks2.img", "copy.img"), source={"copy.img": "luks2.img"})
    lab.play()
    first = exactly_the_newest(lab, lab.stored(), "one")
    lab.play(*TWO)
    second = exactly_the_newest(lab, lab.stored(), "two")
    assert len(first) == len(second) == 1 and first != second
    assert "changed=0 " in lab.play(*TWO)


OTHERS = [f"a colleague's secret {number}" for number in range(6)]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, shared: pathlib.Path) -> Lab:
    """A volume whose eight keyslots are all taken."""
    lab = Lab.make(tmp_path_factory.mktemp("full") / "lab", shared, ("luks1.img",))
    for secret in OTHERS:
        lab.add_keyslot("luks1.img", secret)
    assert len(lab.active("luks1.img")) == 8
    return lab


@pytest.mark.parametrize("moment", ["host add", "phase promote", "store write", "host erase"])
def test_a_header_without_a_free_keyslot(full: Lab, tmp_path: pathlib.Path, moment: str) -> None:
    """It may take 20 s: two rotations."""
    lab = full.copy(tmp_path / "lab")
    lab.play(expect=-9, KILL_BEFORE=moment)
    nothing_is_lost(lab, lab.stored(), OTHERS)
    lab.play()
    (entry,) = lab.stored()
    assert entry["next"] is None and entry["current"]["generation"] == "one"
    assert len(lab.active("luks1.img")) == 8
    for secret in [entry["current"]["passphrase"], BREAK_GLASS, *OTHERS]:
        assert lab.opens("luks1.img", secret)
    assert not lab.opens("luks1.img", LEAKED)
    nothing_is_lost(lab, lab.stored(), OTHERS)


MACHINE = "of the machine"


@pytest.mark.needs("clevis")
def test_a_host_with_nothing_but_a_binding_is_taken_in(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """With a volume key in the list, which is that of another volume. It may take 30 s: two rotations and an audit."""
    keeps = [
        {"label": "other", "volume_key_base64": "A" * 86 + "=="},
        {"label": "machine", "token": "clevis"},
        {"label": "break-glass", "passphrase": BREAK_GLASS},
    ]
    lab = Lab.make(tmp_path / "lab", shared, ("luks2.img",), rotate_keeps=keeps, rotate_replaces=[])
    volume = lab.folder / "luks2.img"
    lab.add_keyslot("luks2.img", MACHINE)
    _with_cryptsetup("luksRemoveKey", "-q", "--key-file", "-", volume, stdin=LEAKED)
    _with_cryptsetup("luksRemoveKey", "-q", "--key-file", "-", volume, stdin=BREAK_GLASS)
    (bound,) = lab.active("luks2.img")
    sealing = ["clevis", "encrypt", "null", "{}", "-y"]
    jwe = subprocess.run(sealing, input=MACHINE, capture_output=True, text=True, check=True)
    parts = dict(zip(("protected", "encrypted_key", "iv", "ciphertext", "tag"), jwe.stdout.split(".")))
    token = json.dumps({"type": "clevis", "keyslots": [str(bound)], "jwe": parts})
    _with_cryptsetup("token", "import", volume, stdin=token)
    output = lab.play()
    assert MACHINE not in output
    (entry,) = lab.stored()
    assert lab.opens("luks2.img", entry["current"]["passphrase"]) and lab.opens("luks2.img", MACHINE)
    lab.play(*TWO)
    (again,) = lab.stored()
    assert lab.opens("luks2.img", again["current"]["passphrase"]) and lab.opens("luks2.img", MACHINE)
    assert not lab.opens("luks2.img", entry["current"]["passphrase"])
    assert "changed=0 " in lab.play(*TWO)
    audited, output = audit(lab, rotate_keeps=keeps[:2])
    found = audited["luks2.img"]
    assert found["store"]["kept"] == ["machine"] and found["store"]["opens"] == "yes"
    judged = {one["rule"] for kind in ("findings", "unverified") for one in found[kind]}
    assert not {rule for rule in judged if rule.startswith(("store-", "slot-", "token-"))}, judged
    assert found["verified"] and MACHINE not in output


def _with_cryptsetup(action: str, *words: t.Union[str, pathlib.Path], stdin: str) -> None:
    done = subprocess.run(["cryptsetup", action, *words], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done


def test_volumes_that_share_a_secret(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """One is missing, and then it is there. It may take 15 s."""
    group = {"name": "both", "volumes": [f"{tmp_path}/lab/luks1.img", f"{tmp_path}/lab/luks2.img"]}
    lab = Lab.make(tmp_path / "lab", shared, ("luks1.img", "luks2.img"), rotate_groups=[group])
    (lab.folder / "luks1.img").rename(tmp_path / "away")
    output = lab.play(expect=2)
    assert "it shares its secret with" in output and lab.stored() == [] and len(lab.active("luks2.img")) == 2
    (tmp_path / "away").rename(lab.folder / "luks1.img")
    lab.play()
    (entry,) = lab.stored()
    for volume in lab.volumes:
        assert lab.opens(volume, entry["current"]["passphrase"]) and not lab.opens(volume, LEAKED)
    assert "2 unchanged" in lab.play()
