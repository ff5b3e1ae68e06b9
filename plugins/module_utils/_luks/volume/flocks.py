# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The locks that cryptsetup takes on a LUKS2 header: flock on the file itself, or on a lock file for a block device.

Source: cryptsetup's lib/utils_device_locking.c, as observed with 2.6.1 and 2.8.6. cryptsetup takes none for LUKS1; this
collection takes them for both formats, because they also separate its own runs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import typing as t

from ..errors import StorageFault
from .node import fault

FOLDER = "/run/cryptsetup"
# Another process replaces the file only when it releases its lock, which does not happen so often in a row.
_TRIES = 100


def device_lock_path(rdev: int) -> str:
    """The lock file of a block device."""
    return f"{FOLDER}/{_name(rdev)}"


def lock(fd: int, *, exclusive: bool) -> bool:
    """Take flock without waiting; False if another process holds a conflicting one.

    Raises OSError if the file system does not support it.
    """
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def unlock(fd: int) -> None:
    """Release the flock. Raises OSError if the system does not."""
    fcntl.flock(fd, fcntl.LOCK_UN)


class DeviceLock:
    """The held lock file of a block device."""

    def __init__(self, folder: int, name: str, fd: int) -> None:
        self._folder = folder
        self._name = name
        self._fd = fd

    def release(self) -> None:
        """Unlock, and remove the file unless another process has locked it, as cryptsetup does."""
        try:
            unlock(self._fd)
            if lock(self._fd, exclusive=True) and _is_current(self._folder, self._name, self._fd):
                os.unlink(self._name, dir_fd=self._folder)
        except OSError:
            # Closing it releases the lock in any case, and a leftover lock file is harmless.
            pass
        finally:
            os.close(self._fd)
            os.close(self._folder)


def lock_device(rdev: int, *, exclusive: bool) -> t.Optional[DeviceLock]:
    """Lock the lock file of a block device without waiting; None if another process holds it.

    Raises OSError if the directory or the file cannot be opened (no root), StorageFault if an ordinary user owns the
    directory.
    """
    folder = _open_folder()
    try:
        for _attempt in range(_TRIES):
            fd = os.open(_name(rdev), os.O_CREAT | os.O_NOFOLLOW | os.O_RDWR | os.O_CLOEXEC, 0o644, dir_fd=folder)
            try:
                if not lock(fd, exclusive=exclusive):
                    return None
                if _is_current(folder, _name(rdev), fd):
                    held = DeviceLock(folder, _name(rdev), fd)
                    folder = fd = -1
                    return held
            finally:
                if fd >= 0:
                    os.close(fd)
        return None
    finally:
        if folder >= 0:
            os.close(folder)


def no_folder(path: str, error: OSError) -> StorageFault:
    """The error for an OSError of :func:`lock_device`; ``path`` is the device."""
    return fault(
        path,
        f"cannot use cryptsetup's lock directory {FOLDER}",
        error,
        why="without it, cryptsetup could change the same header at the same time",
        remedy="Run as root (become: true); in a container, make /run writable",
    )


def _open_folder() -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(FOLDER, 0o700)
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if os.fstat(folder).st_uid not in (0, os.geteuid()):
        os.close(folder)
        raise StorageFault(
            f"cryptsetup's lock directory {FOLDER} belongs to an ordinary user",
            why="its owner could defeat the locks in it",
            remedy="Find out who created it, remove it and run the task again, which creates it anew",
        )
    return folder


def _is_current(folder: int, name: str, fd: int) -> bool:
    try:
        now = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino)


def _name(rdev: int) -> str:
    return f"L_{os.major(rdev)}:{os.minor(rdev)}"
