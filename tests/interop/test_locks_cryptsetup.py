# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cryptsetup and this collection at one LUKS2 header: on a file, on a loop device, and with one of them on each."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import locks
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.interop.lock_lab import (
    PATIENCE,
    Halted,
    loop_device,
    needs,
    refused,
    started,
    until,
    waits_for_flock,
    writes_under_flock,
)

pytestmark = needs("cryptsetup", "losetup", root=True)

LOCK_FOLDER = "/run/cryptsetup"
CHEAP = ("--batch-mode", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("original")
    (folder / "key").write_bytes(b"secret")
    (folder / "new").write_bytes(b"another")
    path = folder / "luks2.img"
    path.write_bytes(b"")
    os.truncate(path, 4 << 20)
    geometry = ("--luks2-metadata-size", "16k", "--luks2-keyslots-size", "2m", "--offset", "5120", "--key-size", "256")
    subprocess.run(["cryptsetup", "luksFormat", "--type", "luks2", *CHEAP, *geometry, path, folder / "key"], check=True)
    return path


@pytest.fixture
def image(original: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    for name in ("key", "new", "luks2.img"):
        shutil.copy(original.parent / name, tmp_path)
    return tmp_path / "luks2.img"


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
    return ["cryptsetup", "luksAddKey", *CHEAP, "--key-file", str(image.parent / "key"), path, str(image.parent / "new")]


COMMANDS = {"dump": dump, "add": add_key}
# cryptsetup on a file knows nothing of a loop device, but whoever works on the device locks the file too.
PLACES = [("file", "file"), ("loop", "loop"), ("file", "loop"), ("loop", "file")]


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
        assert lock_name(mine) not in os.listdir(LOCK_FOLDER)


@pytest.mark.parametrize(("ours", "theirs"), PLACES)
def test_cryptsetup_reads_but_does_not_write_while_we_read(image: pathlib.Path, ours: str, theirs: str) -> None:
    with contextlib.ExitStack() as stack:
        mine, other = stack.enter_context(places(image, ours, theirs))
        volume = stack.enter_context(open_volume(mine, writable=False))
        with locks.shared(volume, timeout=0):
            assert subprocess.run(dump(other, image), stdout=subprocess.DEVNULL, check=False, timeout=PATIENCE).returncode == 0
            process = stack.enter_context(started(*add_key(other, image), stdin=subprocess.DEVNULL))
            until(lambda: waits_for_flock(process.pid), "cryptsetup waits for its lock", process)
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(("ours", "theirs"), PLACES)
@needs("strace")
def test_we_do_not_get_in_while_cryptsetup_writes(image: pathlib.Path, ours: str, theirs: str) -> None:
    """strace stops cryptsetup in its first fsync, so that it keeps the lock under which it has just written key material."""
    with contextlib.ExitStack() as stack:
        mine, other = stack.enter_context(places(image, ours, theirs))
        volume = stack.enter_context(open_volume(mine, writable=True))
        halt = ["strace", "-f", "-o", os.devnull, "-e", "trace=fsync", "-e", "inject=fsync:signal=SIGSTOP:when=1"]
        with started(*halt, *add_key(other, image), stdin=subprocess.DEVNULL) as tracer:
            pid = until(lambda: child_of(tracer.pid), "strace has started cryptsetup", tracer)
            until(lambda: writes_under_flock(pid), "cryptsetup has its lock", tracer)
            until(Halted(pid), "cryptsetup is stopped", tracer)
            assert writes_under_flock(pid)
            for lock in (locks.exclusive, locks.shared):
                message = refused(lock, volume)
                assert f"pid {pid} (cryptsetup)" in message
                assert "cryptsetup's lock" in message
            assert any(f"id {pid} (cryptsetup)" in sentence for sentence in locks.writer_obstacles(volume))
            # More than once: a signal that comes before the stop is lost.
            until(lambda: resumed(pid) and tracer.poll() is not None, "cryptsetup has ended")
            assert tracer.returncode == 0
        with locks.exclusive(volume, timeout=0):
            pass


def child_of(pid: int) -> t.Optional[int]:
    """The cryptsetup that strace runs, among the short-lived children with which strace finds out what the kernel can do."""
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if pathlib.Path(f"/proc/{child}/comm").read_text() == "cryptsetup\n":
                return int(child)
    return None


def resumed(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    return True


def test_two_of_us_and_a_cryptsetup_leave_no_lock_file_behind(image: pathlib.Path) -> None:
    with loop_device(image) as device, open_volume(device, writable=True) as volume:
        name = lock_name(device)
        with locks.shared(volume, timeout=0), open_volume(device, writable=False) as second:
            assert name in os.listdir(LOCK_FOLDER)
            with locks.shared(second, timeout=0):
                assert subprocess.run(dump(device, image), stdout=subprocess.DEVNULL, check=False, timeout=PATIENCE).returncode == 0
            refused(locks.exclusive, second)
        assert name not in os.listdir(LOCK_FOLDER)


def test_cryptsetup_still_opens_what_we_have_written_to_under_the_lock(image: pathlib.Path) -> None:
    """A write of the same bytes through each path; the header stays one that cryptsetup takes without repairing it."""
    before = image.read_bytes()
    for place in ("file", "loop"):
        with places(image, place, place) as (mine, _other), open_volume(mine, writable=True) as volume, locks.exclusive(volume, timeout=0):
            volume.region.write(0, volume.region.read(0, 16384))
            volume.region.barrier()
            assert volume.region.reread(0, 16384) == before[:16384]
    command = ["cryptsetup", "open", "--test-passphrase", "--key-file", image.parent / "key", image]
    assert subprocess.run(command, check=False, timeout=PATIENCE).returncode == 0
    assert image.read_bytes() == before
