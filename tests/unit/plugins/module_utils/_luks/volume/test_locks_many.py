# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many processes at one volume: never two inside, and a killed one leaves nothing behind."""

from __future__ import annotations

import os
import pathlib
import signal
import traceback
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Busy
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import locks
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume

PROCESSES = 6
ATTEMPTS = 60


def in_a_child(work: t.Callable[[], int]) -> int:
    """Pid of a forked process whose exit status is what ``work`` returns."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            status = work()
        except BaseException:  # noqa: BLE001 (pytest must not run on in the child)
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def hammer(image: pathlib.Path, guard: str, tally: str) -> int:
    for number in range(ATTEMPTS):
        try:
            with open_volume(str(image), writable=True) as volume, locks.exclusive(volume, timeout=0.02 * (number % 3)):
                os.close(os.open(guard, os.O_CREAT | os.O_EXCL))
                with open(tally, "a") as stream:
                    stream.write("x")
                os.unlink(guard)
        except Busy:
            pass
    return 0


def test_never_two_holders(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "volume.img"
    image.write_bytes(b"x" * 4096)
    tally = tmp_path / "tally"
    children = [in_a_child(lambda: hammer(image, str(tmp_path / "guard"), str(tally))) for _number in range(PROCESSES)]
    assert [os.WEXITSTATUS(os.waitpid(pid, 0)[1]) for pid in children] == [0] * PROCESSES
    assert len(tally.read_text()) >= PROCESSES


def test_those_who_are_patient_all_get_in(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "volume.img"
    image.write_bytes(b"x" * 4096)
    tally = tmp_path / "tally"

    def patient() -> int:
        with open_volume(str(image), writable=True) as volume:
            for _turn in range(5):
                with locks.exclusive(volume, timeout=60), open(tally, "a") as stream:
                    stream.write("x")
        return 0

    children = [in_a_child(patient) for _number in range(PROCESSES)]
    assert [os.WEXITSTATUS(os.waitpid(pid, 0)[1]) for pid in children] == [0] * PROCESSES
    assert len(tally.read_text()) == 5 * PROCESSES


def test_a_killed_holder_leaves_nothing_behind(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "volume.img"
    image.write_bytes(b"x" * 4096)
    ready, tell = os.pipe()

    def hold() -> int:
        with open_volume(str(image), writable=True) as volume, locks.exclusive(volume, timeout=0):
            os.write(tell, b"x")
            signal.pause()
        return 0

    child = in_a_child(hold)
    os.read(ready, 1)
    with open_volume(str(image), writable=True) as volume:
        try:
            with locks.exclusive(volume, timeout=0):
                raise AssertionError("two holders")
        except Busy as error:
            assert f"pid {child} (python" in str(error)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        with locks.exclusive(volume, timeout=0):
            pass
    os.close(ready)
    os.close(tell)
