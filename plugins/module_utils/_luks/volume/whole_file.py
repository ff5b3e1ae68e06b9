# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A small file that is replaced whole or not at all: written beside, made durable, read back, renamed.

A cut leaves the old file, and perhaps an unfinished one beside it that the next run takes over. The name of that one is
fixed, and its lock tells a run that is at work from one that died.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import typing as t

from ..errors import Busy, StorageFault
from . import flocks
from .node import Node, fault
from .storage import Region

MODE = 0o600

_TRIES = 10
_CREATE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_KEPT = "The file that was there before is untouched."


def check_replaceable(path: str) -> None:
    """Raise what :func:`replace` would raise before it writes a byte: no such folder, no right to write in it."""
    folder = _folder(path)
    if not os.path.isdir(folder):
        raise StorageFault(f"its folder {folder} does not exist", remedy="Make the folder first, for root only (mode 0700)", volume=path)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise fault(path, f"cannot write into its folder {folder}", OSError(errno.EACCES, os.strerror(errno.EACCES)))


def replace(path: str, data: bytes) -> None:
    """``path`` holds ``data`` with mode 0600, durably, when this returns. Raises StorageFault and Busy; the old file then stays.

    A link is followed, so that the file that it leads to is replaced.
    """
    target = os.path.realpath(path)
    beside = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.luksmith-new")
    fd = _open_alone(path, beside)
    try:
        _fill(path, fd, data)
        os.rename(beside, target)
        sync_folder(os.path.dirname(target))
    except OSError as error:
        _remove(beside)
        raise fault(path, "cannot write it", error, changed=_KEPT) from None
    except StorageFault as error:
        _remove(beside)
        error.changed = _KEPT
        raise
    finally:
        os.close(fd)


def restrict(path: str) -> None:
    """Mode 0600 for a file that has the right content."""
    try:
        os.chmod(path, MODE)
    except OSError as error:
        raise fault(path, "cannot set its mode to 0600", error) from None


def _open_alone(path: str, beside: str) -> int:
    for _attempt in range(_TRIES):
        try:
            fd = os.open(beside, _CREATE, MODE)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _in_the_way(path, beside) from None
            raise fault(path, f"cannot create {beside}", error) from None
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            os.close(fd)
            raise _in_the_way(path, beside)
        if not flocks.lock(fd, exclusive=True):
            os.close(fd)
            raise Busy(f"another run is writing {beside}", remedy="Run again when it is done", volume=path)
        # Its owner may have renamed it away between our open and our lock: then it is the finished file, and not ours.
        with contextlib.suppress(OSError):
            now = os.stat(beside, follow_symlinks=False)
            if (now.st_dev, now.st_ino) == (status.st_dev, status.st_ino):
                return fd
        os.close(fd)
    raise Busy(f"other runs keep writing {beside}", remedy="Run again when they are done", volume=path)


def _in_the_way(path: str, beside: str) -> StorageFault:
    return StorageFault(f"{beside} is in the way, and no file of this user", remedy="Find out whose it is and remove it", volume=path)


def _fill(path: str, fd: int, data: bytes) -> None:
    os.ftruncate(fd, 0)
    os.fchmod(fd, MODE)
    os.ftruncate(fd, len(data))
    region = Region(Node(path, fd, os.fstat(fd), len(data), True), 0, len(data))
    region.write(0, data)
    region.barrier()
    region.confirm(0, data, "what was read back is not what was written")


def _remove(beside: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(beside)


def sync_folder(folder: str) -> None:
    """What was renamed in ``folder`` has its new name on the medium when this returns. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _folder(path: str) -> str:
    return os.path.dirname(os.path.realpath(path))


def mode_of(path: str) -> t.Optional[int]:
    """Permission bits of a file, None where there is none."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return None
