# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Who holds locks on a file: process and program, as far as the system tells.

The kernel answers a question for the owner of an open file description lock with "-1". What names the process is the list
of its descriptors: /proc/PID/fdinfo/N has one line per lock that was taken through that descriptor. Other users' processes
show that list to root only; for flock and POSIX locks the host-wide /proc/locks still has the pid.

A host can have a hundred thousand descriptors, so that they are looked through only if /proc/locks has a lock on the file.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

PROC = "/proc"
# Inode of the pid namespace that a host begins with (include/linux/proc_ns.h).
INITIAL_NAMESPACE = 0xEFFFFFFC

OFD = "OFDLCK"
POSIX = "POSIX"
FLOCK = "FLOCK"


@dataclasses.dataclass(frozen=True)
class Lock:
    """``first`` to ``last`` in bytes, both included; ``last`` is None for "to the end"."""

    kind: str
    exclusive: bool
    first: int
    last: t.Optional[int]

    def covers(self, byte: int) -> bool:
        return self.first <= byte and (self.last is None or byte <= self.last)


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process and its locks on one file. ``program`` is the file name of what it runs, "" when unknown."""

    pid: int
    program: str
    locks: t.Tuple[Lock, ...]

    def __str__(self) -> str:
        name = f"pid {self.pid} ({self.program})" if self.program else f"pid {self.pid}"
        return f"this very process, {name}" if self.pid == os.getpid() else name


def holders_of(inode: t.Tuple[int, int], *, own: t.Collection[int] = ()) -> t.List[Holder]:
    """Everybody who holds a lock on the file with this (st_dev, st_ino), by pid.

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
        # What is listed for this process here includes its own descriptors, which were left out on purpose above.
        # A pid that is gone left its lock to a child, which the descriptors named.
        if (
            where == place
            and pid > 0
            and pid != mine
            and lock not in found.get(pid, ())
            and os.path.exists(f"{PROC}/{pid}")
        ):
            found.setdefault(pid, []).append(lock)
    return [Holder(pid, _program(pid), tuple(locks)) for pid, locks in sorted(found.items())]


def _may_be_locked(number: int) -> bool:
    """False only where /proc/locks shows that there is no lock on any file with this inode number.

    The device is not compared: btrfs and others show another one there than stat does. In a pid namespace of its own (a
    container) the list leaves out what somebody outside has taken, or somebody who is gone, though a child of his may still
    hold it. It is read a page at a time, so that a row that moves up between two pages is missed: it is read twice.
    """
    try:
        if os.stat(f"{PROC}/self/ns/pid").st_ino != INITIAL_NAMESPACE:
            return True
        # What 32-bit kernels make of a longer number: some cut it, NFS and FUSE fold it.
        shown = {number, number & 0xFFFFFFFF, (number ^ number >> 32) & 0xFFFFFFFF}
        return any(f":{one} " in text for text in (_text(f"{PROC}/locks") for _look in range(2)) for one in shown)
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
        # Eight fields; one more, an arrow, marks somebody who still waits for the lock.
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
    """Never from the command line, where other programs keep secrets."""
    try:
        return os.path.basename(os.readlink(f"{PROC}/{pid}/exe")).replace(" (deleted)", "")
    except OSError:
        pass
    try:
        with open(f"{PROC}/{pid}/comm", encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""
