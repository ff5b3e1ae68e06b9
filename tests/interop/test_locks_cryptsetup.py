# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cryptsetup and this collection at one LUKS2 header: on a file, on a loop device, and with one of them on each."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import locks
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.interop.lock_lab import (
    FIRST_SYNC,
    PATIENCE,
    loop_device,
    refused,
    started,
    stopped,
    until,
    waits_for_flock,
    writes_under_flock,
)
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume

pytestmark = pytest.mark.needs("cryptsetup")

LOCK_FOLDER = "/run/cryptsetup"
CHEAP = ("--batch-mode", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    volume = Luks2Volume(tmp_path / "luks2.img").like()
    volume.keyfile("pw0").rename(tmp_path / "key")
    (tmp_path / "new").write_text("another")
    return volume.path


@contextlib.contextmanager
def places(image: pathlib.Path, ours: str, theirs: str) -> t.Iterator[t.Tuple[str, str]]:
    """Path of the volume for us and for cryptsetup: the image or a loop device on it."""
    with contextlib.ExitStack() as stack:
        device = stack.enter_context(loop_device(image)) if "loop" in (ours, theirs) else ""
        yield tuple({"file": str(image), "loop": device}[kind] for kind in (ours, theirs))  # type: ignore[misc]


def lock_name(device: str) -> str:
    rdev = os.stat(device).st_rdev
    return f"L_{os.major(rdev)}:{os.minor(rdev)}"


def dump(path: str, _image: pathlib.Path) -> t.List[str]:
    return ["cryptsetup", "luksDump", path]


def add_key(path: str, image: pathlib.Path) -> t.List[str]:
    return [
        "cryptsetup",
        "luksAddKey",
        *CHEAP,
        "--key-file",
        str(image.parent / "key"),
        path,
        str(image.parent / "new"),
    ]


COMMANDS = {"dump": dump, "add": add_key}
# cryptsetup on a file knows nothing of a loop device, but whoever works on the device locks the file too.
PLACES = [
    ("file", "file"),
    *(
        pytest.param(*pair, marks=pytest.mark.needs("loop"))
        for pair in (("loop", "loop"), ("file", "loop"), ("loop", "file"))
    ),
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("ours", "theirs"), PLACES)
def test_cryptsetup_waits_until_we_have_written(image: pathlib.Path, ours: str, theirs: str, command: str) -> None:
    with contextlib.ExitStack() as stack:
        mine, other = stack.enter_context(places(image, ours, theirs))
        volume = stack.enter_context(open_volume(mine, writable=True))
        with locks.exclusive(volume, timeout=0):
            process = stack.enter_context(started(*COMMANDS[command](other, image), stdin=subprocess.DEVNULL))
            until(lambda: waits_for_flock(process.pid), "cryptsetup waits for its lock", process)
            assert process.poll() is None
        assert process.wait(PATIENCE) == 0
        assert ours == "file" or lock_name(mine) not in os.listdir(LOCK_FOLDER)


@pytest.mark.parametrize(("ours", "theirs"), PLACES)
def test_cryptsetup_reads_but_does_not_write_while_we_read(image: pathlib.Path, ours: str, theirs: str) -> None:
    with contextlib.ExitStack() as stack:
        mine, other = stack.enter_context(places(image, ours, theirs))
        volume = stack.enter_context(open_volume(mine, writable=False))
        with locks.shared(volume, timeout=0):
            assert (
                subprocess.run(dump(other, image), stdout=subprocess.DEVNULL, check=False, timeout=PATIENCE).returncode
                == 0
            )
            process = stack.enter_context(started(*add_key(other, image), stdin=subprocess.DEVNULL))
            until(lambda: waits_for_flock(process.pid), "cryptsetup waits for its lock", process)
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(("ours", "theirs"), PLACES)
@pytest.mark.needs("strace")
def test_we_do_not_get_in_while_cryptsetup_writes(image: pathlib.Path, ours: str, theirs: str) -> None:
    with contextlib.ExitStack() as stack:
        mine, other = stack.enter_context(places(image, ours, theirs))
        volume = stack.enter_context(open_volume(mine, writable=True))
        with stopped(image.parent, FIRST_SYNC, *add_key(other, image)) as (pid, tracer):
            assert writes_under_flock(pid)
            for lock in (locks.exclusive, locks.shared):
                message = refused(lock, volume)
                assert f"pid {pid} (cryptsetup)" in message
                assert "cryptsetup's lock" in message
            assert any(f"id {pid} (cryptsetup)" in sentence for sentence in locks.writer_obstacles(volume))
        assert tracer.returncode == 0
        with locks.exclusive(volume, timeout=0):
            pass


@pytest.mark.needs("loop")
def test_two_of_us_and_a_cryptsetup_leave_no_lock_file_behind(image: pathlib.Path) -> None:
    with loop_device(image) as device, open_volume(device, writable=True) as volume:
        name = lock_name(device)
        with locks.shared(volume, timeout=0), open_volume(device, writable=False) as second:
            assert name in os.listdir(LOCK_FOLDER)
            with locks.shared(second, timeout=0):
                assert (
                    subprocess.run(
                        dump(device, image), stdout=subprocess.DEVNULL, check=False, timeout=PATIENCE
                    ).returncode
                    == 0
                )
            refused(locks.exclusive, second)
        assert name not in os.listdir(LOCK_FOLDER)


@pytest.mark.parametrize("place", ["file", pytest.param("loop", marks=pytest.mark.needs("loop"))])
def test_cryptsetup_still_opens_what_we_have_written_to_under_the_lock(image: pathlib.Path, place: str) -> None:
    """A write of the same bytes; the header stays one that cryptsetup takes without repairing it."""
    before = image.read_bytes()
    with places(image, place, place) as (mine, _other):
        opened = open_volume(mine, writable=True)
        with opened as volume, locks.exclusive(volume, timeout=0):
            volume.region.write(0, volume.region.read(0, 16384))
            volume.region.barrier()
            assert volume.region.reread(0, 16384) == before[:16384]
    command = ["cryptsetup", "open", "--test-passphrase", "--key-file", image.parent / "key", image]
    assert subprocess.run(command, check=False, timeout=PATIENCE).returncode == 0
    assert image.read_bytes() == before
