# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Open file description locks on single bytes, on which QEMU's image locks are built. See fcntl(2).

They belong to the open file, not to the process (fcntl.lockf loses its locks if any other descriptor of the file is
closed), and end with the last descriptor, also if the process is killed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

# In the fcntl module since Python 3.9.
_F_OFD_GETLK = 36
_F_OFD_SETLK = 37
# struct flock with 64-bit off_t and native alignment, which Python's fcntl passes on 32-bit machines too. l_pid must be
# 0.
_FLOCK = struct.Struct("@hhqqi0q")


def lock(fd: int, byte: int) -> bool:
    """Take a shared lock; False if another process holds an exclusive one.

    Raises OSError if the file system does not support such locks.
    """
    try:
        fcntl.fcntl(fd, _F_OFD_SETLK, _request(fcntl.F_RDLCK, byte))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def unlock(fd: int, byte: int) -> None:
    """Release the lock. Raises OSError if the system does not."""
    fcntl.fcntl(fd, _F_OFD_SETLK, _request(fcntl.F_UNLCK, byte))


def held_by_others(fd: int, byte: int, *, only_exclusive: bool = False) -> bool:
    """Whether another open file holds a lock (``only_exclusive``: an exclusive one) on the byte. Raises OSError."""
    kind = fcntl.F_RDLCK if only_exclusive else fcntl.F_WRLCK
    answer = fcntl.fcntl(fd, _F_OFD_GETLK, _request(kind, byte))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _request(kind: int, byte: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0)
