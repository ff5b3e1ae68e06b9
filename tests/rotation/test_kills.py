# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation killed between its calls and inside modules that write; cryptsetup says what works then and after a rerun.

By default: once in each phase of a rotation, and once within each module that writes. In full: at every third moment
(a task, a phase, a call of the host or of the store), at every sixth write, and while the store is written. With
LUKSMITH_LONG=1 also: a LUKS1 and a LUKS2 volume, the first and the second rotation, every moment and every second
write.

Each test may take more than 5 s: it plays a whole rotation, which takes ansible-playbook about that long.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import Lab, exactly_the_newest, nothing_is_lost

LONG = os.environ.get("LUKSMITH_LONG") == "1"
VOLUMES = ("luks1.img", "luks2.img") if LONG else ("luks2.img",)
SHARES = 4
STEP = 1 if LONG else 3
# Calls of the interpreter for volumes that are due: look, add, erase.
ADD, ERASE = 1, 2
NEXT = ("-e", "rotate_generation=two")
# The beginning of each phase that begins with a change; the last one is where the controller really dies.
PHASES = ("host add", "phase promote", "host erase")

pytestmark = pytest.mark.needs("ansible-playbook", "cryptsetup")
one_process = pytest.mark.xdist_group("rotation killed")


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory, shared: pathlib.Path) -> Lab:
    """Nothing was rotated yet: the store is empty, the leaked secret opens."""
    return Lab.make(tmp_path_factory.mktemp("blank") / "lab", shared, VOLUMES)


@pytest.fixture(scope="session")
def rotated(tmp_path_factory: pytest.TempPathFactory, shared: pathlib.Path) -> Lab:
    """Once rotated, so that the next rotation replaces a secret of the store."""
    return Lab.once_rotated(tmp_path_factory.mktemp("rotated") / "lab", shared, VOLUMES)


@pytest.fixture(scope="session")
def killed(rotated: Lab, tmp_path_factory: pytest.TempPathFactory) -> t.Dict[str, Lab]:
    """The state before each of PHASES of a second rotation: one run, copied before each, killed at the last one."""
    folder = tmp_path_factory.mktemp("killed")
    lab = rotated.copy(folder / "lab")
    *kept, last = PHASES
    lab.play(*NEXT, expect=-9, KEEP_BEFORE="|".join(kept), KEPT=str(folder), LAB=str(lab.folder), KILL_BEFORE=last)
    return {last: lab, **{phase: lab.moved(folder / phase) for phase in kept}}


def finish(lab: Lab, *flags: str) -> None:
    """Judge what an interruption left, run again, judge the end."""
    generation = "two" if flags else "one"
    stored = lab.stored()
    nothing_is_lost(lab, stored)
    volumes = {lab.uuid(volume): volume for volume in lab.volumes}
    # What the volume does not prove could have been put there by somebody who can write to the store.
    staged = {
        entry["uuid"]: entry["next"]["id"]
        for entry in stored
        if entry["next"] and lab.opens(volumes[entry["uuid"]], entry["next"]["passphrase"])
    }
    done = {
        entry["uuid"]: entry["current"]["id"]
        for entry in stored
        if entry["current"] and entry["current"]["generation"] == generation
    }
    lab.play(*flags)
    final = exactly_the_newest(lab, lab.stored(), generation)
    for uuid, identity in {**done, **staged}.items():
        assert final[uuid] == identity, (
            "a staged secret that the volume proves was taken up, and a finished volume was left alone"
        )


@one_process
@pytest.mark.parametrize("phase", PHASES)
def test_controller_killed_before_each_phase(killed: t.Mapping[str, Lab], tmp_path: pathlib.Path, phase: str) -> None:
    """It may take 20 s: it plays a whole rotation, and the first of these tests plays two more for all of them."""
    lab = killed[phase].copy(tmp_path / "lab")
    (entry,) = (one for one in lab.stored() if one["uuid"] == lab.uuid(VOLUMES[-1]))
    assert (entry["next"] is not None, entry["current"]["generation"]) == (
        (False, "two") if phase == PHASES[-1] else (True, "one")
    )
    assert len(lab.active(VOLUMES[-1])) == (2 if phase == PHASES[0] else 3)
    finish(lab, *NEXT)


@one_process
@pytest.mark.needs("strace")
def test_module_killed_while_it_writes(killed: t.Mapping[str, Lab], tmp_path: pathlib.Path) -> None:
    """In the run that finds a staged secret which is not on the volume yet, while it adds; in the one after that, while
    it erases; a third one ends it.

    It may take 20 s: it plays three rotations.
    """
    lab = killed[PHASES[0]].copy(tmp_path / "lab")
    begin = lab.active(VOLUMES[-1])
    # One call more: the first one finds that the volume does not prove what was staged.
    for call, write in ((ADD + 1, 3), (ERASE + 1, 4)):
        output = lab.play(*NEXT, expect=2, KILL_CALL=str(call), KILL_WRITE=str(write))
        assert "the next run of this playbook takes it up" in output, output
        assert (lab.folder / "strace").read_text().count("pwrite64(") == write
        nothing_is_lost(lab, lab.stored())
    assert begin != lab.active(VOLUMES[-1])
    finish(lab, *NEXT)


@pytest.mark.full
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("rotation", ["first", "second"] if LONG else ["second"])
def test_controller_killed_at_every_moment(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, rotation: str, share: int
) -> None:
    """It may take minutes: two rotations for each moment."""
    begin: Lab = request.getfixturevalue("blank" if rotation == "first" else "rotated")
    flags = () if rotation == "first" else NEXT
    whole = begin.copy(tmp_path / "whole")
    whole.play(*flags)
    moments = whole.moments()
    assert len(moments) > 15 and {"host look", "host add", "host erase", "store write"} <= set(moments), moments
    for number in range(0, len(moments), STEP)[share::SHARES]:
        lab = begin.copy(tmp_path / f"killed-at-{number}")
        lab.play(*flags, expect=-9, KILL_AT=str(number))
        assert lab.moments() == moments[:number] if number else True
        finish(lab, *flags)
        shutil.rmtree(lab.folder)


def writes(lab: Lab, call: int, *flags: str) -> int:
    """How many writes to the volume call number ``call`` makes."""
    lab.play(*flags, KILL_CALL=str(call), KILL_WRITE="9999")
    return (lab.folder / "strace").read_text().count("pwrite64(")


@pytest.mark.full
@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", [ADD, ERASE], ids=["add", "erase"])
@pytest.mark.parametrize("share", range(2))
def test_module_killed_at_every_write(rotated: Lab, tmp_path: pathlib.Path, call: int, share: int) -> None:
    """It may take minutes: two rotations for each write."""
    count = writes(rotated.copy(tmp_path / "whole"), call, *NEXT)
    assert count >= 4
    for number in range(1 + share, count + 1, 2 if LONG else 6):
        lab = rotated.copy(tmp_path / f"killed-at-{number}")
        output = lab.play(*NEXT, expect=2, KILL_CALL=str(call), KILL_WRITE=str(number))
        assert "1 of" in output and "the next run of this playbook takes it up" in output, output
        finish(lab, *NEXT)
        shutil.rmtree(lab.folder)


@pytest.mark.full
@pytest.mark.needs("strace")
@pytest.mark.parametrize("begin", ["stage", "promote"])
@pytest.mark.parametrize(("call", "when"), [("fsync", 1), ("rename", 2)])
def test_store_killed_while_it_writes(rotated: Lab, tmp_path: pathlib.Path, begin: str, call: str, when: int) -> None:
    """It may take a minute: up to three rotations. The first rename of the process is that of its batch."""
    lab = rotated.copy(tmp_path / "lab")
    if begin == "promote":
        lab.play(*NEXT, expect=-9, KILL_BEFORE="phase promote")
    before = (lab.folder / "store" / "secrets.yml").read_bytes()
    trace = tmp_path / "strace"
    # Not with --seccomp-bpf: after a result that it has made up, strace 6.1 delivers no injected signal.
    strace = ["strace", "-f", "-qq", "-y", "-o", str(trace)]
    # strace of an ordinary user sees no names in a process that may not be dumped, so that none is made so.
    lab.play(
        *NEXT,
        expect=None,
        command=[
            *strace,
            "-e",
            f"trace=prctl,{call}",
            "-e",
            "inject=prctl:retval=0",
            "-e",
            f"inject={call}:signal=KILL:when={when}",
        ],
    )
    struck = [line for line in trace.read_text().splitlines() if f" {call}(" in line and line.endswith("= ?")]
    assert struck and all(str(lab.folder / "store") in line for line in struck), struck
    assert "killed by SIGKILL" in trace.read_text()
    assert (lab.folder / "store" / "secrets.yml").read_bytes() == before
    finish(lab, *NEXT)
