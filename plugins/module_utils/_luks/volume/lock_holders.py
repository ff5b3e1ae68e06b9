# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Which processes hold locks on a file, as far as the system tells.

For an open file description lock the kernel reports -1 as its owner. The process can be found by its descriptors:
/proc/PID/fdinfo/N has one line for each lock that was taken through that descriptor. Only root can read that of other
users' processes; for flock and POSIX locks, /proc/locks of the host has the pid.

A host can have a hundred thousand descriptors, so that they are searched only if /proc/locks has a lock on the file.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import typing as t

PROC = "/proc"
# Inode of the initial pid namespace of a host (include/linux/proc_ns.h).
INITIAL_NAMESPACE = 0xEFFFFFFC

# Programs that keep a volume open and write to it much later, by the beginnings of their names. QEMU holds no lock with
# locking=off, and others know none.
KEEPERS = (
    "VBox",
    "cloud-hypervisor",
    "crosvm",
    "firecracker",
    "nbd-server",
    "nbdkit",
    "qemu",
    "spdk",
    "tcmu-runner",
    "tgtd",
)

OFD = "OFDLCK"
POSIX = "POSIX"
FLOCK = "FLOCK"


@dataclasses.dataclass(frozen=True)
class Lock:
    """A lock on the bytes ``first`` to ``last``, inclusive; a ``last`` of None means up to the end."""

    kind: str
    exclusive: bool
    first: int
    last: t.Optional[int]

    def covers(self, byte: int) -> bool:
        """Whether the lock includes ``byte``."""
        return self.first <= byte and (self.last is None or byte <= self.last)


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process and its locks on one file. ``program``: the file name of its program, "" if unknown."""

    pid: int
    program: str
    locks: t.Tuple[Lock, ...]

    def __str__(self) -> str:
        name = f"pid {self.pid} ({self.program})" if self.program else f"pid {self.pid}"
        return f"this process, {name}" if self.pid == os.getpid() else name


def holders_of(inode: t.Tuple[int, int], *, own: t.Collection[int] = ()) -> t.List[Holder]:
    """The processes with a lock on the file ``inode`` (st_dev, st_ino), by pid, as far as they are visible.

    own: descriptors of this process whose locks do not count.
    """
    found: t.Dict[int, t.List[Lock]] = {}
    if not _may_be_locked(inode[1]):
        return []
    mine = os.getpid()
    for pid in sorted(_numbers(PROC)):
        for fd in _numbers(f"{PROC}/{pid}/fd"):
            if pid == mine and fd in own:
                continue
            locks = [lock for _pid, _place, lock in _parse(f"{PROC}/{pid}/fdinfo/{fd}", "lock:")]
            if locks and _inode_of(f"{PROC}/{pid}/fd/{fd}") == inode:
                found.setdefault(pid, []).extend(lock for lock in locks if lock not in found.get(pid, ()))
    place = f"{os.major(inode[0]):02x}:{os.minor(inode[0]):02x}:{inode[1]}"
    for pid, where, lock in _parse(f"{PROC}/locks", ""):
        # For this process the list includes the descriptors that are left out on purpose above. A process that has
        # ended left its lock to a child, which was found by its descriptors.
        if (
            where == place
            and pid > 0
            and pid != mine
            and lock not in found.get(pid, ())
            and os.path.exists(f"{PROC}/{pid}")
        ):
            found.setdefault(pid, []).append(lock)
    return [Holder(pid, _program(pid), tuple(locks)) for pid, locks in sorted(found.items())]


def writers_of(file: os.stat_result) -> t.List[Holder]:
    """The processes of :data:`KEEPERS` that have the file or device open for writing, locked or not, as far as visible.

    Which programs run is read for each process, their descriptors for these only.
    """
    found = []
    for pid in sorted(_numbers(PROC)):
        program = _program(pid)
        if program.startswith(KEEPERS) and any(_writes(pid, fd, file) for fd in _numbers(f"{PROC}/{pid}/fd")):
            found.append(Holder(pid, program, ()))
    return found


def _writes(pid: int, fd: int, file: os.stat_result) -> bool:
    try:
        status = os.stat(f"{PROC}/{pid}/fd/{fd}")
        if stat.S_ISBLK(file.st_mode) and stat.S_ISBLK(status.st_mode):
            same = status.st_rdev == file.st_rdev
        else:
            same = (status.st_dev, status.st_ino) == (file.st_dev, file.st_ino)
        if not same:
            return False
        flags = next(line for line in _text(f"{PROC}/{pid}/fdinfo/{fd}").splitlines() if line.startswith("flags:"))
        return int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    except (OSError, StopIteration):
        return False


def _may_be_locked(number: int) -> bool:
    """False only if /proc/locks shows that there is no lock on any file with this inode number.

    The device is not compared: for btrfs and others it differs from that of stat. In another pid namespace (a
    container) the list lacks locks taken outside of it, or by a process that has ended although a child still holds the
    lock. The
    kernel returns the list page by page, so that a row that moves up in between is missed: so it is read twice.
    """
    try:
        if os.stat(f"{PROC}/self/ns/pid").st_ino != INITIAL_NAMESPACE:
            return True
        # 32-bit kernels shorten a longer number: some truncate it, NFS and FUSE fold it.
        shown = {number, number & 0xFFFFFFFF, (number ^ number >> 32) & 0xFFFFFFFF}
        return any(f":{one} " in text for text in (_text(f"{PROC}/locks") for _read in range(2)) for one in shown)
    except OSError:
        return True


def _text(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as stream:
        return stream.read()


def _parse(path: str, prefix: str) -> t.Iterator[t.Tuple[int, str, Lock]]:
    """(pid, "major:minor:inode", lock) per line such as ``1: OFDLCK  ADVISORY  READ -1 fe:00:12345 100 101``."""
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            rows = [line[len(prefix) :].split() for line in stream if line.startswith(prefix)]
    except OSError:
        return
    for row in rows:
        # Eight fields; a ninth one, an arrow, marks a process that waits for the lock.
        if len(row) == 8 and row[1] in (OFD, POSIX, FLOCK):
            last = None if row[7] == "EOF" else int(row[7])
            yield int(row[4]), row[5], Lock(row[1], row[3] == "WRITE", int(row[6]), last)


def _numbers(folder: str) -> t.List[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    except OSError:
        return []


def _inode_of(path: str) -> t.Optional[t.Tuple[int, int]]:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _program(pid: int) -> str:
    """Never the command line, which may contain secrets of other programs."""
    try:
        return os.path.basename(os.readlink(f"{PROC}/{pid}/exe")).replace(" (deleted)", "")
    except OSError:
        pass
    try:
        with open(f"{PROC}/{pid}/comm", encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""
