# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs that hold a volume, and ways to wait for what they do without guessing how long it takes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import signal
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Busy
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import ofd
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import Volume

PATIENCE = 60
Lock = t.Callable[..., t.ContextManager[None]]


def until(condition: t.Callable[[], t.Any], what: str, process: t.Optional[subprocess.Popen[bytes]] = None) -> t.Any:
    """For what another program does and tells nobody: ask again and again, for something that stays true once it is.

    A failure when it never comes true, at once when ``process`` ended before.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = condition()
        if answer:
            return answer
        if process is not None and process.poll() is not None:
            pytest.fail(f"{process.args!r} ended with {process.returncode} before: {what}")
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


LOCK_BYTES = range(100, 205)  # QEMU's; what each means is in volume/locks.py


def bytes_of(pid: int, path: t.Union[str, pathlib.Path]) -> t.List[int]:
    """QEMU's lock bytes that a program of ours holds on the file. It must not forbid us to look, as our modules do."""
    status = os.stat(path)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    found = []
    for info in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it closes files while we look
            found += [line.split() for line in info.read_text().splitlines() if line.startswith("lock:")]
    held = [(int(row[7]), int(row[8])) for row in found if (row[2], row[6]) == ("OFDLCK", place)]
    return [byte for byte in LOCK_BYTES if any(first <= byte <= last for first, last in held)]


def bytes_taken(path: t.Union[str, pathlib.Path]) -> t.List[int]:
    """Those that anybody holds: the kernel tells it about every process, but not who that is."""
    with open(path, "rb") as file:
        return [byte for byte in LOCK_BYTES if ofd.held_by_others(file.fileno(), byte)]


def waits_for_flock(pid: int) -> bool:
    """An arrow in the kernel's table marks somebody who waits."""
    return any(
        row[1:3] == ["->", "FLOCK"] and row[5] == str(pid)
        for row in map(str.split, pathlib.Path("/proc/locks").read_text().splitlines())
    )


def writes_under_flock(pid: int) -> bool:
    rows = [line.split() for line in pathlib.Path("/proc/locks").read_text().splitlines()]
    return any((row[1], row[3], row[4]) == ("FLOCK", "WRITE", str(pid)) for row in rows)


@contextlib.contextmanager
def started(
    *command: t.Union[str, pathlib.Path], stdin: t.Any = subprocess.PIPE
) -> t.Iterator[subprocess.Popen[bytes]]:
    """A program that is ended together with what it started when the block ends. Its input stays open until then."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)


FIRST_SYNC = ("fsync", 1)  # cryptsetup has its exclusive lock, and key material is written
HEADER_READ = ("flock", 2)  # it has read the header, and given back the shared lock for that


@contextlib.contextmanager
def stopped(
    folder: pathlib.Path, at: t.Tuple[str, int], *command: t.Union[str, pathlib.Path]
) -> t.Iterator[t.Tuple[int, subprocess.Popen[bytes]]]:
    """A cryptsetup that stops in its n-th call of that name until the block ends. Yields pid and strace to wait for.

    strace reports the stop after it has happened, so that no SIGCONT can come too early.
    """
    told = folder / "strace"
    call, number = at
    inject = ["strace", "-f", "-o", told, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGSTOP:when={number}"]
    with started(*inject, *command, stdin=subprocess.DEVNULL) as tracer:
        until(lambda: told.exists() and "stopped by SIGSTOP" in told.read_text(), "cryptsetup is stopped", tracer)
        pid = int(told.read_text().split()[0])
        yield pid, tracer
        os.kill(pid, signal.SIGCONT)
        tracer.wait(PATIENCE)


_HOLDER = """
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
for byte in sys.argv[2:]:
    fcntl.fcntl(fd, 37, struct.pack("@hhqqi0q", fcntl.F_RDLCK, 0, int(byte), 1, 0))
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holder_of(path: t.Union[str, pathlib.Path], *taken: int) -> t.Iterator[int]:
    """The pid of a process that holds these bytes, as some program would that cannot be stopped at will."""
    with started(sys.executable, "-c", _HOLDER, path, *map(str, taken)) as running:
        says(running, b"held\n")
        yield running.pid


def says(process: subprocess.Popen[bytes], words: bytes) -> None:
    """Wait until its standard output has ``words``, which say that it has done its first step."""
    assert process.stdout is not None
    said = b""
    while words not in said:
        ready = select.select([process.stdout], [], [], PATIENCE)[0]
        more = os.read(process.stdout.fileno(), 4096) if ready else b""
        assert more, f"{process.args!r} does not say {words!r}, but {said!r}" + ("" if ready else f" in {PATIENCE} s")
        said += more


def refused(lock: Lock, volume: Volume) -> str:
    """The message of the refusal; fails when the lock is granted."""
    with pytest.raises(Busy) as caught, lock(volume, timeout=0):
        pass
    return str(caught.value)


@contextlib.contextmanager
def loop_device(path: t.Union[str, pathlib.Path], *options: str) -> t.Iterator[str]:
    """Attached with losetup and detached in the end."""
    device = subprocess.run(
        ["losetup", "--find", "--show", *options, str(path)], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        yield device
    finally:
        # What a test set with "blockdev --setro" would stay with the device for whoever attaches something to it next.
        subprocess.run(["blockdev", "--setrw", device], check=True)
        subprocess.run(["losetup", "--detach", device], check=True)
