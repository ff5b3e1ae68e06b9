# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret that is a part of a path, of a label or of a word that our own results have.

Ansible puts asterisks in its place wherever a module says it. What the roles act on must not be changed by that.
"""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import BREAK_GLASS, LEAKED, Lab, exactly_the_newest

pytestmark = pytest.mark.needs("ansible-playbook", "cryptsetup")
VOLUMES = ("luks1.img", "luks2.img")


def named(*words: str) -> t.List[t.Dict[str, str]]:
    return [{"label": f"guess {number}", "passphrase": word} for number, word in enumerate(words)]


def test_a_rotation_finds_its_volumes_again(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """Two plays: some seconds."""
    guesses = named("luks", "img", "rotation ", "a", "1", "add", "opens")
    lab = Lab.make(
        tmp_path / "lab",
        shared,
        VOLUMES,
        rotate_volumes=[],
        rotate_paths=["{{ inventory_dir }}/luks?.img"],
        rotate_replaces=[{"label": "leaked", "passphrase": LEAKED}, *guesses],
    )
    lab.play()
    exactly_the_newest(lab, lab.stored(), "one")
    assert ": 2 volumes unchanged" in lab.play() or "changed=0" in lab.play()


def test_an_audit_counts_what_it_found(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """Two plays: some seconds."""
    lab = Lab.make(tmp_path / "lab", shared, VOLUMES)
    usual: t.Dict[str, t.Any] = {
        "audit_volumes": [{"device": f"{{{{ inventory_dir }}}}/{name}"} for name in VOLUMES],
        "audit_block_devices": False,
        "audit_crypttab": "{{ inventory_dir }}/crypttab",
        "audit_report_directory": "{{ inventory_dir }}/report",
        "audit_report_formats": ["json"],
        "audit_secrets": [{"label": "break-glass", "passphrase": BREAK_GLASS}],
    }
    told = []
    for guesses in ([], named("high", "critical", "medium", "strict", "luks", "secret", "a", "1", "proof")):
        forbidden = [{"label": "leaked", "passphrase": LEAKED}, *guesses]
        lab.play("-e", json.dumps({**usual, "audit_forbidden_secrets": forbidden}), playbook="audit")
        report = json.loads((lab.folder / "report" / "luks-audit.json").read_text())
        found = [
            (volume["device"], finding["rule"], finding["severity"], finding["keyslot"])
            for host in report["hosts"]
            for volume in host["volumes"]
            for finding in volume["findings"]
        ]
        told.append((report["verdict"], found))
    assert told[0] == told[1]
    assert any(rule == "secret-forbidden" for _device, rule, _severity, _keyslot in told[0][1])
