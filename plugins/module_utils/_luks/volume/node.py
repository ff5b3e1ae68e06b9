# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""An open regular file or block device, and the errors for everything else."""

from __future__ import annotations

import os
import stat
import typing as t

from ..errors import StorageFault
from ..paths import fault, kind_of, remedy_for, unusable

__all__ = ("Node", "fault", "open_node")

# O_NONBLOCK and O_NOCTTY: the path may have become a FIFO or a terminal since its kind was checked.
_OPEN_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Node:
    """An open regular file or block device. ``size``: bytes at the time of opening."""

    def __init__(self, *, path: str, fd: int, stat: os.stat_result, size: int, writable: bool) -> None:
        self.path = path
        self.fd = fd
        self.stat = stat
        self.size = size
        self.writable = writable

    @property
    def is_block(self) -> bool:
        return stat.S_ISBLK(self.stat.st_mode)

    @property
    def inode(self) -> t.Tuple[int, int]:
        """The inode to which locks belong, of the file or of the device node: (st_dev, st_ino)."""
        return (self.stat.st_dev, self.stat.st_ino)

    def still_there(self) -> bool:
        """Whether the path still leads to the file or device that is open."""
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        if self.is_block:
            return stat.S_ISBLK(now.st_mode) and now.st_rdev == self.stat.st_rdev
        return (now.st_dev, now.st_ino) == self.inode

    def close(self) -> None:
        """Close the descriptor. It may be called twice."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


def open_node(path: str, *, writable: bool) -> Node:
    """Open a regular file or block device.

    Raises StorageFault if the path cannot be opened or is of another kind, which is checked before it is opened.
    """
    try:
        # Opening a character device may have effects (rewind a tape, start a watchdog).
        _check_kind(os.stat(path), path)
        fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | _OPEN_FLAGS)
    except OSError as error:
        raise fault(path, "cannot open it for writing" if writable else "cannot open it", error) from None
    except ValueError:
        raise StorageFault(f"the path {unusable(path)}", remedy=remedy_for(path)) from None
    try:
        status = os.fstat(fd)
        _check_kind(status, path)
        return Node(path=path, fd=fd, stat=status, size=os.lseek(fd, 0, os.SEEK_END), writable=writable)
    except OSError as error:
        os.close(fd)
        raise fault(path, "cannot determine its size", error) from None
    except StorageFault:
        os.close(fd)
        raise


def _check_kind(status: os.stat_result, path: str) -> None:
    if stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode):
        return
    raise StorageFault(
        f"it is {kind_of(status.st_mode)}",
        why="a LUKS header is in a regular file or on a block device",
        remedy="Give the path of the volume itself",
        volume=path,
    )
