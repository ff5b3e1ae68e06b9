# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs that hold a volume, and ways to wait for what they do without guessing how long it takes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Busy
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import holders
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import Volume

PATIENCE = 60
Lock = t.Callable[..., t.ContextManager[None]]


def needs(*programs: str, root: bool = False) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    reason = f"not installed here: {', '.join(missing)}" if missing else "needs root"
    return pytest.mark.skipif(bool(missing) or (root and os.geteuid() != 0), reason=reason)


def until(condition: t.Callable[[], t.Any], what: str, process: t.Optional[subprocess.Popen[bytes]] = None) -> t.Any:
    """Ask again and again; AssertionError when it never comes true, at once when ``process`` ended before."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = condition()
        if answer:
            return answer
        if process is not None and process.poll() is not None:
            pytest.fail(f"{process.args!r} ended with {process.returncode} before: {what}")
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


def bytes_of(pid: int, path: t.Union[str, pathlib.Path]) -> t.List[int]:
    """QEMU's lock bytes that the process holds on the file."""
    status = os.stat(path)
    found = [lock for holder in holders.holders_of((status.st_dev, status.st_ino)) if holder.pid == pid for lock in holder.locks if lock.kind == holders.OFD]
    return [byte for byte in range(100, 205) if any(lock.covers(byte) for lock in found)]


def waits_for_flock(pid: int) -> bool:
    """An arrow in the kernel's table marks somebody who waits."""
    return any(row[1:3] == ["->", "FLOCK"] and row[5] == str(pid) for row in map(str.split, pathlib.Path("/proc/locks").read_text().splitlines()))


def writes_under_flock(pid: int) -> bool:
    rows = [line.split() for line in pathlib.Path("/proc/locks").read_text().splitlines()]
    return any((row[1], row[3], row[4]) == ("FLOCK", "WRITE", str(pid)) for row in rows)


class Halted:
    """True once a process is stopped and has not run between two questions: strace stops it for a moment at every call."""

    def __init__(self, pid: int) -> None:
        self._status = pathlib.Path(f"/proc/{pid}/status")
        self._last: t.List[str] = []

    def __call__(self) -> bool:
        lines = [line for line in self._status.read_text().splitlines() if line.startswith(("State:", "voluntary_ctxt", "nonvoluntary_ctxt"))]
        before, self._last = self._last, lines
        return lines == before and lines[0].split()[1] in "tT"


@contextlib.contextmanager
def started(*command: t.Union[str, pathlib.Path], stdin: t.Any = subprocess.PIPE) -> t.Iterator[subprocess.Popen[bytes]]:
    """A program that is ended together with what it started when the block ends. Its input stays open until then."""
    process = subprocess.Popen([str(word) for word in command], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE)


@contextlib.contextmanager
def holding(process: t.ContextManager[subprocess.Popen[bytes]], path: t.Union[str, pathlib.Path], taken: t.Sequence[int]) -> t.Iterator[int]:
    """The program has come so far that it holds exactly ``taken``; yields its pid."""
    with process as running:
        until(lambda: bytes_of(running.pid, path) == list(taken), f"{running.args!r} holds {taken}", running)
        yield running.pid


_HOLDER = """
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
for byte in sys.argv[2:]:
    fcntl.fcntl(fd, 37, struct.pack("@hhqqi0q", fcntl.F_RDLCK, 0, int(byte), 1, 0))
sys.stdin.read()
"""


def holder_of(path: t.Union[str, pathlib.Path], *taken: int) -> t.ContextManager[int]:
    """A process that holds these bytes, as some program would that cannot be stopped at will."""
    return holding(started(sys.executable, "-c", _HOLDER, path, *map(str, taken)), path, taken)


def refused(lock: Lock, volume: Volume) -> str:
    """The message of the refusal; fails when the lock is granted."""
    with pytest.raises(Busy) as caught, lock(volume, timeout=0):
        pass
    return str(caught.value)


@contextlib.contextmanager
def loop_device(path: t.Union[str, pathlib.Path], *options: str) -> t.Iterator[str]:
    """Attached with losetup and detached in the end."""
    device = subprocess.run(["losetup", "--find", "--show", *options, str(path)], check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield device
    finally:
        # What a test set with "blockdev --setro" would stay with the device for whoever attaches something to it next.
        subprocess.run(["blockdev", "--setrw", device], check=True)
        subprocess.run(["losetup", "--detach", device], check=True)
