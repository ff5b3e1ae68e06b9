# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``rotate_qmp``: ansible-playbook rotates the image that a QEMU has open, and the QEMU makes each change.

tests/interop/test_live.py has the same without Ansible.
"""

from __future__ import annotations

import hashlib
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.live_qemu import daemon
from ansible_collections.luksmith.luks.tests.interop.qemu_image import OPENER, QemuImage
from ansible_collections.luksmith.luks.tests.interop.qemu_programs import needs_qemu_programs
from ansible_collections.luksmith.luks.tests.rotation.lab import Lab

pytestmark = [pytest.mark.full, needs_qemu_programs, pytest.mark.needs("ansible-playbook", "cryptsetup")]

NONE_GIVEN = ("-e", '{"rotate_qmp": {}}')
TWO = ("-e", "rotate_generation=two")


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("form", ["luks", "qcow2"])
def test_an_image_that_a_qemu_has_open(tmp_path: pathlib.Path, shared: pathlib.Path, form: str) -> None:
    """Seven plays, and several jobs of QEMU: it may take a minute."""
    image = QemuImage(tmp_path, form)
    variables: t.Dict[str, t.Any] = {
        "rotate_volumes": [{"device": str(image.path)}],
        "rotate_replaces": [{"label": "opener", "passphrase": OPENER}],
        "rotate_keeps": [],
        "rotate_pbkdf": {},
        "rotate_iter_time": 300,
        "rotate_qmp": {str(image.path): str(image.path.with_name("q"))},
    }
    lab = Lab.make(tmp_path / "lab", shared, (), **variables)
    with daemon(image) as qemu:
        before = sha256(image.path)
        assert "QMP monitor in rotate_qmp" in lab.play(*NONE_GIVEN, expect=2)
        assert sha256(image.path) == before
        assert "changed=0 " not in lab.play("--check")
        assert sha256(image.path) == before and not [entry for entry in lab.stored() if entry["current"]]

        lab.play()
        (first,) = lab.stored()
        assert (first["current"]["generation"], first["next"]) == ("one", None)
        assert "changed=0 " in lab.play()

        lab.play(*TWO, expect=-9, KILL_BEFORE="phase promote")
        lab.play(*TWO)
        (second,) = lab.stored()
        assert (second["current"]["generation"], second["next"]) == ("two", None)
        assert "changed=0 " in lab.play(*TWO)
        assert qemu.left_behind() == [] and qemu.serves()
    gone, stays = first["current"]["passphrase"], second["current"]["passphrase"]
    assert image.opened_by(OPENER, gone, stays) == {stays} and len(image.active()) == 1
