# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed host decides nothing on the controller: neither by facts in a module's result, nor by the fact cache, nor
by the uuid of its volume.

Each test may take 5 to 10 s: it plays a rotation or an audit.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import PATIENCE, ROOT, Lab

VOLUMES = ("luks2.img",)
pytestmark = pytest.mark.needs("ansible-playbook", "cryptsetup")

LYING = """#!/bin/sh
exec {python} {program} {lies} {python} "$@"
"""


@pytest.fixture
def lab(tmp_path: pathlib.Path, shared: pathlib.Path) -> Lab:
    return Lab.make(tmp_path / "lab", shared, VOLUMES)


def lie(lab: Lab, volume: t.Optional[t.Dict[str, t.Any]] = None, **result: t.Any) -> None:
    """From now on the host puts ``result`` into every result of a module, and ``volume`` into every volume there."""
    program = ROOT / "tests" / "rotation" / "lying_host.py"
    (lab.folder / "lies.json").write_text(json.dumps({"result": result, "volume": volume or {}}))
    (lab.folder / "python").write_text(
        LYING.format(python=sys.executable, program=program, lies=lab.folder / "lies.json")
    )


def taken_over(lab: Lab) -> t.Dict[str, t.Any]:
    """Facts with which a host would have its own command run on the controller, and a report where it wants one."""
    program = lab.folder / "attack"
    program.write_text(f"#!/bin/sh\ntouch {lab.folder}/taken-over\n")
    program.chmod(0o755)
    return {
        "rotate_store": "command",
        "rotate_command": [str(program)],
        "rotate_report": f"{lab.folder}/of-the-host",
        "audit_report_directory": f"{lab.folder}/of-the-host",
    }


def nothing_happened(lab: Lab, before: bytes, output: str) -> None:
    assert not (lab.folder / "taken-over").exists(), "the host ran a command on the controller"
    assert not (lab.folder / "of-the-host").exists(), "the host chose a folder on the controller"
    assert "bear the name of options" in output and "rotate_store" in output, output
    assert (lab.folder / VOLUMES[0]).read_bytes() == before and lab.stored() == []


@pytest.mark.parametrize("playbook", ["rotate", "audit"])
def test_facts_in_the_result_of_a_module(lab: Lab, playbook: str) -> None:
    """A whole play, which takes longer than 5 seconds on a slow machine."""
    before = (lab.folder / VOLUMES[0]).read_bytes()
    lie(lab, ansible_facts=taken_over(lab))
    nothing_happened(lab, before, lab.play("-e", audited(lab), playbook=playbook, expect=2))


def test_facts_in_a_result_without_any_volume(lab: Lab) -> None:
    before = (lab.folder / VOLUMES[0]).read_bytes()
    lie(lab, ansible_facts=taken_over(lab), volumes=[])
    nothing_happened(lab, before, lab.play("-e", '{"rotate_volumes": []}', expect=2))


@pytest.mark.parametrize("playbook", ["rotate", "audit"])
def test_what_a_host_left_in_the_fact_cache(lab: Lab, playbook: str) -> None:
    """It lied once, in whatever play, and tells the truth since."""
    before = (lab.folder / VOLUMES[0]).read_bytes()
    kept = {
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(lab.folder / "cache"),
    }
    honest = (lab.folder / "python").read_text()
    lie(lab, ansible_facts=taken_over(lab))
    # Not by a role of ours: neither gives a host's facts to Ansible.
    ping = [str(lab.bin / "ansible"), "-i", "hosts.json", "all", "-m", "ansible.builtin.ping"]
    subprocess.run(ping, **lab.surroundings(**kept), check=True, timeout=PATIENCE)
    assert any("rotate_store" in path.read_text() for path in (lab.folder / "cache").iterdir())
    (lab.folder / "python").write_text(honest)
    nothing_happened(lab, before, lab.play("-e", audited(lab), playbook=playbook, expect=2, **kept))


def audited(lab: Lab) -> str:
    return json.dumps({"audit_volumes": [{"device": str(lab.folder / VOLUMES[0])}], "audit_block_devices": False})


@pytest.mark.parametrize("uuid", ["../../outside", ""])
@pytest.mark.parametrize("store", ["escrow", "command"])
def test_the_uuid_of_a_host_is_no_path(lab: Lab, store: str, uuid: t.Any) -> None:
    """It is refused before any store is asked for it."""
    asked = lab.folder / "asked"
    program = lab.folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {asked}\n")
    program.chmod(0o755)
    (lab.folder / "escrow").mkdir()
    (lab.folder / "outside.json").write_text(json.dumps({"version": 1, "entry": None}))
    lie(lab, {"uuid": uuid}, uuid=uuid)
    own = {"rotate_store": store, "rotate_command": [str(program)], "rotate_escrow_folder": str(lab.folder / "escrow")}
    output = lab.play("-e", json.dumps(own), expect=2)
    assert "the uuid in the header is none" in output, output
    assert not asked.exists() and list((lab.folder / "escrow").iterdir()) == []
