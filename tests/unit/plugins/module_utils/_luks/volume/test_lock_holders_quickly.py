# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The descriptors of a whole host are looked through only if the kernel's list of locks says that there is something to
find.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import lock_holders, locks, ofd
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.needs import Need

REGISTER = pathlib.Path(__file__).resolve().parents[5] / "tools" / "register.py"


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "x.img"
    path.write_bytes(bytes(4096))
    return path


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> t.List[str]:
    """The folders that are listed: all processes, and the descriptors of each."""
    listed: t.List[str] = []
    honest = os.listdir

    def listdir(folder: t.Any) -> t.List[str]:
        listed.append(str(folder))
        return honest(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    return listed


def inode(path: pathlib.Path) -> t.Tuple[int, int]:
    status = os.stat(path)
    return (status.st_dev, status.st_ino)


initial_namespace = pytest.mark.skipif(
    os.stat("/proc/self/ns/pid").st_ino != lock_holders.INITIAL_NAMESPACE,
    reason=str(Need("the kernel's whole list of locks", "run the same command outside of a container")),
)


@initial_namespace
def test_no_lock_is_seen_at_a_glance(image: pathlib.Path, walks: t.List[str]) -> None:
    assert lock_holders.holders_of(inode(image)) == []
    assert walks == []


@initial_namespace
def test_check_mode_looks_through_no_descriptors(
    image: pathlib.Path, walks: t.List[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for those of a QEMU, which another test may run meanwhile."""
    monkeypatch.setattr(lock_holders, "KEEPERS", ("no such program",))
    with open_volume(str(image), writable=False) as volume:
        walks.clear()
        assert locks.writer_obstacles(volume) == []
    assert [folder for folder in walks if folder.startswith("/proc/")] == []


_HOLDER = """
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR)
if sys.argv[2] == "FLOCK":
    fcntl.flock(fd, fcntl.LOCK_EX)
elif sys.argv[2] == "POSIX":
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, 100)
else:
    fcntl.fcntl(fd, 37, struct.pack("@hhqqi0q", fcntl.F_WRLCK, 0, 100, 1, 0))
print(flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def held(path: pathlib.Path, kind: str) -> t.Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"\n"
        yield process.pid
        process.communicate()


@pytest.mark.parametrize("folder", ["", "/dev/shm"])
@pytest.mark.parametrize("kind", ["FLOCK", "POSIX", "OFDLCK"])
def test_every_kind_of_lock_is_found(image: pathlib.Path, kind: str, folder: str) -> None:
    """On a file system of a disk and in memory, where cryptsetup's lock files lie: /run."""
    with contextlib.ExitStack() as rest:
        if folder:
            image = pathlib.Path(folder, f"{os.getpid()}-{kind}-{os.urandom(8).hex()}")
            image.write_bytes(bytes(4096))
            rest.callback(image.unlink)
        with held(image, kind) as pid:
            found = lock_holders.holders_of(inode(image))
            assert [(holder.pid, [lock.kind for lock in holder.locks]) for holder in found] == [(pid, [kind])]
        assert lock_holders.holders_of(inode(image)) == []


@pytest.mark.needs("root")
def test_in_a_container_the_list_is_not_believed(image: pathlib.Path) -> None:
    """It leaves out what was taken by a process that is gone, though a child of it still holds it."""
    script = """
import fcntl, os, runpy, signal, sys
runpy.run_path(sys.argv[2])
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import lock_holders
reading, writing = os.pipe()
taker = os.fork()
if not taker:
    fd = os.open(sys.argv[1], os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    child = os.fork()
    if not child:
        os.write(writing, b"%d" % os.getpid())
        signal.pause()
    os._exit(0)
os.waitpid(taker, 0)
child = int(os.read(reading, 20))
status = os.stat(sys.argv[1])
with open("/proc/locks") as listed:
    holders = lock_holders.holders_of((status.st_dev, status.st_ino))
    print(f":{status.st_ino} " in listed.read(), [holder.pid == child for holder in holders])
"""
    command = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        sys.executable,
        "-c",
        script,
        str(image),
        str(REGISTER),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False [True]", done.stderr


class TestList:
    """What the list says, from a made-up one."""

    @pytest.fixture(autouse=True)
    def proc(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
        root = tmp_path / "proc"
        (root / "self" / "ns").mkdir(parents=True)
        (root / "self" / "ns" / "pid").touch()
        monkeypatch.setattr(lock_holders, "PROC", str(root))
        monkeypatch.setattr(lock_holders, "INITIAL_NAMESPACE", (root / "self" / "ns" / "pid").stat().st_ino)
        return root

    def listed(self, proc: pathlib.Path, monkeypatch: pytest.MonkeyPatch, *contents: str) -> bool:
        """Whether a file with inode 4711 seems locked; ``contents``: of the list, each time that it is read."""
        texts = iter(contents)
        monkeypatch.setattr(lock_holders, "_text", lambda _path: next(texts))
        return lock_holders._may_be_locked(4711)

    def test_locks_on_other_files_are_none(self, proc: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        others = "1: FLOCK  ADVISORY  WRITE 4711 fe:00:14711 0 EOF\n2: OFDLCK ADVISORY  READ -1 fe:00:47110 4711 4711\n"
        assert not self.listed(proc, monkeypatch, others, others)

    def test_a_row_that_moved_up_between_two_pages_is_not_missed(
        self, proc: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.listed(proc, monkeypatch, "", "1: OFDLCK ADVISORY  READ -1 00:2a:4711 100 100\n")

    def test_a_list_that_cannot_be_read_says_nothing(self, proc: pathlib.Path) -> None:
        assert lock_holders._may_be_locked(4711)

    def test_a_number_that_a_small_kernel_shortens(self, proc: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (proc / "locks").write_text("1: FLOCK  ADVISORY  WRITE 1 fe:00:7 0 EOF\n")
        assert lock_holders._may_be_locked((3 << 32) + 7) and lock_holders._may_be_locked((3 << 32) + 4)
        assert not lock_holders._may_be_locked((3 << 32) + 8)


def test_own_open_file_description_locks_are_found(image: pathlib.Path) -> None:
    with open(image, "rb") as stream:
        assert ofd.lock(stream.fileno(), 100)
        assert [str(holder) for holder in lock_holders.holders_of(inode(image))] and lock_holders.holders_of(
            inode(image), own=[stream.fileno()]
        ) == []
        fcntl.flock(stream, fcntl.LOCK_UN)
