# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The locks that cryptsetup takes on a LUKS2 header: flock on the file itself, or on a lock file per block device.

Source: cryptsetup's lib/utils_device_locking.c as observed with 2.6.1 and 2.8.6. It takes none for LUKS1; ours are taken for
both formats, because they also keep our own processes apart.
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
# The file is replaced under us only while somebody else releases it; so often in a row nobody does.
_TRIES = 100


def device_lock_path(rdev: int) -> str:
    return f"{FOLDER}/{_name(rdev)}"


def lock(fd: int, *, exclusive: bool) -> bool:
    """flock without waiting; False when somebody else holds it in a way that conflicts."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def unlock(fd: int) -> None:
    fcntl.flock(fd, fcntl.LOCK_UN)


class DeviceLock:
    """The held lock file of a block device."""

    def __init__(self, folder: int, name: str, fd: int) -> None:
        self._folder = folder
        self._name = name
        self._fd = fd

    def release(self) -> None:
        """Unlock, and remove the file unless somebody else came in between; as cryptsetup leaves the folder."""
        try:
            unlock(self._fd)
            if lock(self._fd, exclusive=True) and _is_current(self._folder, self._name, self._fd):
                os.unlink(self._name, dir_fd=self._folder)
        except OSError:
            # The close below ends the lock in any case; a file that stays behind does no harm.
            pass
        finally:
            os.close(self._fd)
            os.close(self._folder)


def lock_device(rdev: int, *, exclusive: bool) -> t.Optional[DeviceLock]:
    """Take the lock file of a block device without waiting; None when somebody else holds it.

    Raises OSError where the folder or the file cannot be had (no root), StorageFault when the folder is not to be trusted.
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
    """The sentence for an OSError of :func:`lock_device`; ``path`` is the device."""
    return fault(
        path,
        f"cannot use cryptsetup's lock folder {FOLDER}",
        error,
        why="without it nothing keeps cryptsetup from changing the same header at the same time",
        remedy="Run as root (become: true); in a container, make /run writable",
    )


def _open_folder() -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(FOLDER, 0o700)
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if os.fstat(folder).st_uid not in (0, os.geteuid()):
        os.close(folder)
        raise StorageFault(
            f"cryptsetup's lock folder {FOLDER} belongs to an ordinary user",
            why="who owns it can make the locks in it meaningless",
            remedy="Find out who made it, remove it and run again; it is made anew",
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
