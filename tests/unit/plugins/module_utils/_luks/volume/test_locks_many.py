# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many processes at one volume: never two inside, and a killed one leaves nothing behind."""

from __future__ import annotations

import os
import pathlib

from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Busy
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import locks
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.tools.module_server import LONG, pause, start

PROCESSES = 6
TURNS = 10


def volume_in(folder: pathlib.Path) -> pathlib.Path:
    image = folder / "volume.img"
    image.write_bytes(b"x" * 4096)
    return image


def hammer(image: pathlib.Path) -> None:
    """In a process of its own: try, wait a little or not at all, and try again, until it has been inside often
    enough.
    """
    guard, tally = image.with_name("guard"), image.with_name("tally")
    inside = attempts = 0
    while inside < TURNS:
        attempts += 1
        try:
            with open_volume(str(image), writable=True) as volume, locks.exclusive(
                volume, timeout=0.02 * (attempts % 3)
            ):
                os.close(os.open(guard, os.O_CREAT | os.O_EXCL))
                with tally.open("a") as stream:
                    stream.write("x")
                guard.unlink()
                inside += 1
        except Busy:
            pass


def test_never_two_holders(tmp_path: pathlib.Path) -> None:
    image = volume_in(tmp_path)
    children = [start(hammer, image) for _number in range(PROCESSES)]
    for child in children:
        child.returned()
    assert len((tmp_path / "tally").read_text()) == TURNS * PROCESSES


def be_patient(image: pathlib.Path) -> None:
    with open_volume(str(image), writable=True) as volume:
        for _turn in range(5):
            with locks.exclusive(volume, timeout=LONG), image.with_name("tally").open("a") as stream:
                stream.write("x")


def test_those_who_are_patient_all_get_in(tmp_path: pathlib.Path) -> None:
    image = volume_in(tmp_path)
    children = [start(be_patient, image) for _number in range(PROCESSES)]
    for child in children:
        child.returned()
    assert len((tmp_path / "tally").read_text()) == 5 * PROCESSES


def hold(image: pathlib.Path) -> None:
    with open_volume(str(image), writable=True) as volume, locks.exclusive(volume, timeout=0):
        pause("inside")


def test_a_killed_holder_leaves_nothing_behind(tmp_path: pathlib.Path) -> None:
    image = volume_in(tmp_path)
    child = start(hold, image)
    child.reached("inside")
    with open_volume(str(image), writable=True) as volume:
        try:
            with locks.exclusive(volume, timeout=0):
                raise AssertionError("two holders")
        except Busy as error:
            assert f"pid {child.pid} (python" in str(error)
        child.kill()
        with locks.exclusive(volume, timeout=0):
            pass
