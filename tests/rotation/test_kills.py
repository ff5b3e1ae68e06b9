# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation is killed at every task and inside the modules that write; cryptsetup says what works then, and after the next run.

In short: one LUKS2 volume, every third task. With LUKSMITH_LONG=1: a LUKS1 and a LUKS2 volume, the first rotation and the second one, every write.
"""

from __future__ import annotations

import os
import pathlib
import shutil

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import Lab, exactly_the_newest, nothing_is_lost

LONG = os.environ.get("LUKSMITH_LONG") == "1"
VOLUMES = ("luks1.img", "luks2.img") if LONG else ("luks2.img",)
SHARES = 4
STEP = 1 if LONG else 3
# Calls of the interpreter for a volume that is due: volumes_info, keyslots_info, plan, add, proof, erase.
ADD, ERASE = 3, 5
NEXT = ("-e", "rotate_generation=two")

pytestmark = pytest.mark.skipif(not all(map(shutil.which, ("cryptsetup", "strace"))), reason="not installed: cryptsetup, strace")


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Nothing was rotated yet: the store is empty, the leaked secret opens."""
    return Lab.make(tmp_path_factory.mktemp("blank") / "lab", VOLUMES)


@pytest.fixture(scope="session")
def rotated(blank: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Once rotated, so that the next rotation replaces a secret of the store."""
    lab = blank.copy(tmp_path_factory.mktemp("rotated") / "lab")
    lab.play()
    exactly_the_newest(lab, lab.stored(), "one")
    return lab


def finish(lab: Lab, *flags: str) -> None:
    """Judge what an interruption left, run again, judge the end, and run once more, which must change nothing."""
    generation = "two" if flags else "one"
    stored = lab.stored()
    nothing_is_lost(lab, stored)
    staged = {entry["uuid"]: entry["next"]["id"] for entry in stored if entry["next"]}
    done = {entry["uuid"]: entry["current"]["id"] for entry in stored if entry["current"] and entry["current"]["generation"] == generation}
    lab.play(*flags)
    final = exactly_the_newest(lab, lab.stored(), generation)
    for uuid, identity in {**done, **staged}.items():
        assert final[uuid] == identity, "a staged secret was taken up, and a finished volume was left alone"


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("rotation", ["first", "second"] if LONG else ["second"])
def test_controller_killed_at_every_task(request: pytest.FixtureRequest, tmp_path: pathlib.Path, rotation: str, share: int) -> None:
    begin: Lab = request.getfixturevalue("blank" if rotation == "first" else "rotated")
    flags = () if rotation == "first" else NEXT
    whole = begin.copy(tmp_path / "whole")
    whole.play(*flags)
    tasks = whole.tasks_begun()
    assert len(tasks) > 20 and any("Erase every older secret" in task for task in tasks), tasks
    for number in range(0, len(tasks), STEP)[share::SHARES]:
        lab = begin.copy(tmp_path / f"killed-at-{number}")
        lab.play(*flags, expect=-9, KILL_AT=str(number))
        assert lab.tasks_begun() == tasks[:number] if number else True
        finish(lab, *flags)
        shutil.rmtree(lab.folder)


def writes(lab: Lab, call: int, *flags: str) -> int:
    """How many writes to the volume call number ``call`` makes."""
    lab.play(*flags, KILL_CALL=str(call), KILL_WRITE="9999")
    return (lab.folder / "strace").read_text().count("pwrite64(")


@pytest.mark.parametrize("call", [ADD, ERASE], ids=["add", "erase"])
@pytest.mark.parametrize("share", range(2))
def test_module_killed_at_every_write(rotated: Lab, tmp_path: pathlib.Path, call: int, share: int) -> None:
    count = writes(rotated.copy(tmp_path / "whole"), call, *NEXT)
    assert count >= 4
    for number in range(1 + share, count + 1, 2 if LONG else 6):
        lab = rotated.copy(tmp_path / f"killed-at-{number}")
        output = lab.play(*NEXT, expect=2, KILL_CALL=str(call), KILL_WRITE=str(number))
        assert "1 of" in output and "the next run of this playbook takes it up" in output, output
        finish(lab, *NEXT)
        shutil.rmtree(lab.folder)


@pytest.mark.parametrize("begin", ["stage", "promote"])
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_store_killed_while_it_writes(rotated: Lab, tmp_path: pathlib.Path, begin: str, call: str) -> None:
    lab = rotated.copy(tmp_path / "lab")
    if begin == "promote":
        whole = rotated.copy(tmp_path / "whole")
        whole.play(*NEXT)
        lab.play(*NEXT, expect=-9, KILL_AT=whole.beginning_of("Promote the new secret"))
    before = (lab.folder / "store" / "secrets.yml").read_bytes()
    trace = tmp_path / "strace"
    lab.play(
        *NEXT, expect=None, command=["strace", "--seccomp-bpf", "-f", "-qq", "-o", str(trace), "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when=1"]
    )
    assert "killed by SIGKILL" in trace.read_text()
    assert (lab.folder / "store" / "secrets.yml").read_bytes() == before
    finish(lab, *NEXT)
