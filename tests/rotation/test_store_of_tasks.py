# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store of somebody's own that is a folder with two task files: the rotation is interrupted wherever it is asked, and
goes on with the answer.
"""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import Lab, exactly_the_newest, nothing_is_lost

VOLUMES = ("luks1.img", "luks2.img")
TWO = ("-e", "rotate_generation=two")
pytestmark = [pytest.mark.full, pytest.mark.needs("ansible-playbook", "cryptsetup")]

READ = """
- name: Look for it
  ansible.builtin.stat:
    path: '{{ store }}/{{ rotate_store_key | replace("/", "_") }}.json'
  delegate_to: localhost
  register: there

- name: Read it
  ansible.builtin.set_fact:
    rotate_stored: >-
      {{ lookup('ansible.builtin.file', there.stat.path) | from_json if there.stat.exists
         else {'entry': none, 'version': 0} }}
  no_log: true
"""
WRITE = """
- name: Refuse where there is no room
  ansible.builtin.assert:
    that: not (full | default(false))
    fail_msg: the store is full

- name: Write it
  ansible.builtin.copy:
    content: '{{ {"entry": rotate_entry, "version": (rotate_stored.version | int) + 1} | to_json }}'
    dest: '{{ store }}/{{ rotate_store_key | replace("/", "_") }}.json'
    mode: '0600'
  delegate_to: localhost
  no_log: true
"""


def test_a_folder_of_tasks(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """It may take a minute: six rotations of two volumes."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "read.yml").write_text(READ)
    (folder / "write.yml").write_text(WRITE)
    lab = Lab.make(tmp_path / "lab", shared, VOLUMES, rotate_store=str(folder), store="{{ inventory_dir }}/store")

    def stored() -> t.List[t.Dict[str, t.Any]]:
        return [json.loads(path.read_text())["entry"] for path in sorted((lab.folder / "store").iterdir())]

    lab.play()
    first = exactly_the_newest(lab, stored(), "one")
    assert len(first) == 2 and "changed=0 " in lab.play()

    before = [(lab.folder / volume).read_bytes() for volume in VOLUMES]
    output = lab.play(*TWO, "-e", '{"full": true}', expect=2)
    assert "2 of 2 volumes were not brought to the end" in output and "the store is full" in output, output
    assert [(lab.folder / volume).read_bytes() for volume in VOLUMES] == before
    # Where all hosts may fail, the last play fails those that did.
    output = lab.play(*TWO, "-e", '{"full": true, "rotate_max_fail_percentage": 100}', expect=2)
    assert "the store is full" in output[output.index("PLAY [Name the hosts") :], output

    lab.play(*TWO, expect=-9, KILL_BEFORE="host erase")
    nothing_is_lost(lab, stored())
    lab.play(*TWO)
    exactly_the_newest(lab, stored(), "two")
