# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that gives no answer and is alone in its batch: there Ansible ends a play, whatever its limit is."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import Lab

pytestmark = pytest.mark.needs("ansible-playbook", "cryptsetup", "ssh")


def a_lab_whose_first_host_is_lost(tmp_path: pathlib.Path, shared: pathlib.Path) -> Lab:
    lab = Lab.make(tmp_path / "lab", shared, ("luks2.img",))
    inventory = json.loads((lab.folder / "hosts.json").read_text())
    web = inventory["all"]["hosts"].pop("web")
    lost = {**web, "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    inventory["all"]["hosts"] = {"off-1": lost, "on-1": web}
    (lab.folder / "hosts.json").write_text(json.dumps(inventory))
    return lab


def test_by_default_the_run_ends_there_and_says_what_to_type(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    output = a_lab_whose_first_host_is_lost(tmp_path, shared).play(expect=4)
    assert "on-1: volume" not in output
    assert "Not begun: 1 host of later batches (on-1)." in output
    assert "1 of 1 host of the last batch failed or gave no answer (off-1)" in output
    for way in ("--limit '!off-1'", "-e rotate_serial=100%", "-e rotate_max_fail_percentage=100"):
        assert way in output


def test_where_all_may_fail_it_goes_on_and_the_host_fails_in_the_end(
    tmp_path: pathlib.Path, shared: pathlib.Path
) -> None:
    lab = a_lab_whose_first_host_is_lost(tmp_path, shared)
    output = lab.play("-e", "rotate_max_fail_percentage=100", expect=2)
    assert "on-1: volume 1 of 1" in output and "Not begun" not in output
    assert not lab.opens("luks2.img", "winter-2025")
    recap = output[output.index("PLAY RECAP") :]
    assert re.search(r"off-1 .* failed=1 ", recap) and re.search(r"on-1 .* failed=0 ", recap)
