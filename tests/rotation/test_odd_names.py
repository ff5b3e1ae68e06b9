# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of files that mean something to a shell, a template, a terminal or a decoder: whoever may make a file where a
pattern of rotate_paths looks can choose one. It is rotated as any other, or refused alone.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import BREAK_GLASS, LEAKED, Lab, exactly_the_newest

pytestmark = pytest.mark.needs("ansible-playbook", "cryptsetup")
NO_TEXT = "no text \udcff.img"
# The second one is where the path of the first one would lead if its variables were replaced.
ODD = ("$HOME.img", "{{ lookup('env', 'HOME') }} {% raw.img", "a b'c\"d\ne\x1b[2J%s\\.img", "*?[a]#~.img")


def test_each_is_rotated_or_refused_alone(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """Two plays: some seconds."""
    lab = Lab.make(
        tmp_path / "lab",
        shared,
        ["luks2.img"],
        rotate_volumes=[],
        rotate_paths=["{{ inventory_dir }}/*.img"],
        rotate_report="{{ inventory_dir }}/report",
    )
    template = lab.folder / "luks2.img"
    for number, name in enumerate((*ODD, NO_TEXT)):
        path = lab.folder / name
        path.write_bytes(template.read_bytes())
        uuid = f"00000000-0000-4000-8000-{number:012}"
        subprocess.run(["cryptsetup", "--batch-mode", "luksUUID", "--uuid", uuid, os.fsencode(path)], check=True)
    template.unlink()
    lab = dataclasses.replace(lab, volumes=ODD)
    for _run in range(2):
        output = lab.play(expect=2)
        assert "1 of 5 volumes was not brought to the end" in output and "is not UTF-8" in output, output
        exactly_the_newest(lab, lab.stored(), "one")
    assert lab.opens(NO_TEXT, LEAKED) and lab.opens(NO_TEXT, BREAK_GLASS)
    assert "\x1b[2J" not in output.replace("\\x1b", "")
