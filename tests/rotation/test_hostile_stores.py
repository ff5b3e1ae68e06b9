# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever can write to a store decides nothing on a volume: what was planted, brought back or exchanged there is
refused or thrown away.

Each test may take 10 to 20 s: it plays two or three rotations.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import ROOT, Lab, exactly_the_newest

VOLUMES = ("luks2.img",)
COMMAND = [sys.executable, str(ROOT / "tests" / "rotation" / "store_command.py"), "{{ inventory_dir }}/command.json"]
PLANTED = {
    "id": "aaaaaaaa",
    "passphrase": "known to the one who planted it",
    "generation": "one",
    "created": "2026-11-24T01:04:41Z",
}
TWO = ("-e", "rotate_generation=two")
pytestmark = pytest.mark.needs("ansible-playbook", "cryptsetup")


def contents(lab: Lab) -> t.List[bytes]:
    """Of the volumes and of the stores."""
    stores = [
        path
        for path in (lab.folder / "command.json", *sorted((lab.folder / "store").iterdir()))
        if path.exists() and path.suffix != ".lock"
    ]
    return [path.read_bytes() for path in (*(lab.folder / volume for volume in VOLUMES), *stores)]


def test_a_secret_that_was_planted_in_the_store(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """What the volume does not prove comes to no volume. Several plays: longer than 5 seconds."""
    lab = Lab.once_rotated(tmp_path / "lab", shared, VOLUMES, rotate_store="command", rotate_command=COMMAND)
    first = exactly_the_newest(lab, lab.stored(), "one")
    store = lab.folder / "command.json"
    held = json.loads(store.read_text())
    (key,) = held
    held[key]["entry"]["next"] = PLANTED
    store.write_text(json.dumps(held))
    output = lab.play()
    assert "secret aaaaaaaa was staged, and the volume does not prove it" in output, output
    last = exactly_the_newest(lab, lab.stored(), "one")
    assert "aaaaaaaa" not in last.values() and first != last
    assert not lab.opens(VOLUMES[0], PLANTED["passphrase"])
    assert "changed=0 " in lab.play()


def test_a_store_that_came_back_from_a_backup(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """An older store is refused, and nothing changes. Three plays: longer than 5 seconds."""
    lab = Lab.once_rotated(tmp_path / "lab", shared, VOLUMES)
    store = lab.folder / "store" / "secrets.yml"
    shutil.copy(store, lab.folder / "kept")
    lab.play(*TWO)
    exactly_the_newest(lab, lab.stored(), "two")
    newest = store.read_bytes()
    shutil.copy(lab.folder / "kept", store)
    before = contents(lab)
    for flags in ((), TWO):
        assert "the store is older than the volume" in lab.play(*flags, expect=2)
    store.rename(lab.folder / "elsewhere")
    assert "the store holds nothing for this volume" in lab.play(*TWO, expect=2)
    store.write_bytes((lab.folder / "kept").read_bytes())
    assert contents(lab) == before
    store.write_bytes(newest)
    assert "changed=0 " in lab.play(*TWO)


@pytest.mark.parametrize("volume", ["luks1.img", "luks2.img"])
def test_a_current_secret_that_was_planted(tmp_path: pathlib.Path, shared: pathlib.Path, volume: str) -> None:
    """It never comes to the volume, although break-glass would open the way for it."""
    lab = Lab.once_rotated(tmp_path / "lab", shared, (volume,), rotate_store="command", rotate_command=COMMAND)
    store = lab.folder / "command.json"
    held = json.loads(store.read_text())
    (key,) = held
    entry = held[key]["entry"]
    entry["current"], entry["past"] = PLANTED, [entry["current"]["id"]]
    store.write_text(json.dumps(held))
    output = lab.play(expect=None)
    assert not lab.opens(volume, PLANTED["passphrase"]), output
    assert "secret aaaaaaaa opens nothing" in output, output


@pytest.mark.full
def test_a_backup_folder_that_does_not_exist(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    lab = Lab.make(tmp_path / "lab", shared, VOLUMES, rotate_header_backup="{{ inventory_dir }}/no-such-folder")
    before = contents(lab)
    output = lab.play(expect=2)
    assert "refused at backup" in output and "no-such-folder does not exist" in output, output
    assert contents(lab) == before


@pytest.mark.full
@pytest.mark.parametrize("flags", [(), ("--check",)])
def test_a_misspelt_store(tmp_path: pathlib.Path, shared: pathlib.Path, flags: t.Sequence[str]) -> None:
    lab = Lab.make(tmp_path / "lab", shared, VOLUMES, rotate_store="vault-file")
    output = lab.play(*flags, expect=2)
    assert "There is no store 'vault-file'" in output and lab.moments()[-1].startswith("task "), output


@pytest.mark.full
@pytest.mark.needs("openssl")
def test_a_useless_certificate_fails_the_dry_run_by_name(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    lab = Lab.make(tmp_path / "lab", shared, VOLUMES)
    words = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "rsa:1024",
        "-keyout",
        "key",
        "-out",
        "short.pem",
        "-subj",
        "/CN=escrow",
    ]
    subprocess.run(words, cwd=lab.folder, capture_output=True, check=True)
    own = {
        "rotate_store": "escrow",
        "rotate_escrow_folder": str(lab.folder / "store"),
        "rotate_escrow_certificates": [str(lab.folder / "short.pem")],
    }
    output = lab.play("--check", "-e", json.dumps(own), expect=2)
    assert "short.pem has 1024 bits; at least 2048 are needed" in output, output
    assert list((lab.folder / "store").iterdir()) == []
