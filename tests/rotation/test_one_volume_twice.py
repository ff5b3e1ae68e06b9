# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One volume that two hosts list, whose names differ in a capital letter: only one of them gives it a secret."""

from __future__ import annotations

import json
import pathlib

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import BREAK_GLASS, LEAKED, Lab

pytestmark = pytest.mark.needs("ansible-playbook", "cryptsetup")


def test_of_two_hosts_one_is_refused(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """LUKS1 has no record of a rotation. Two plays: some seconds."""
    lab = Lab.make(tmp_path / "lab", shared, ["luks1.img"], rotate_generation="one")
    inventory = json.loads((lab.folder / "hosts.json").read_text())
    inventory["all"]["hosts"] = dict.fromkeys(("Web1", "web1"), inventory["all"]["hosts"]["web"])
    (lab.folder / "hosts.json").write_text(json.dumps(inventory))
    for _run in range(2):
        output = lab.play(expect=2)
        owner, label = "Web1", f"rotation {lab.stored()[0]['current']['id']}"
        assert "Two hosts have one volume" in output and f"{label} is that of {owner}." in output, output
        first, second = lab.stored()
        assert (first["host"], second["host"], second["current"]) == ("Web1", "web1", None)
        assert lab.opens("luks1.img", first["current"]["passphrase"]) and lab.opens("luks1.img", BREAK_GLASS)
        assert not lab.opens("luks1.img", LEAKED)
        secrets = [second["next"], *second["older"]]
        assert not any(lab.opens("luks1.img", secret["passphrase"]) for secret in secrets if secret)
