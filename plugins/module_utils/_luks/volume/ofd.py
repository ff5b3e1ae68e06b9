# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Open file description locks on single bytes, the primitive under QEMU's image locks.

They belong to the open file and not to the process (fcntl.lockf would lose them when any other descriptor of the file is
closed), and they vanish with the last descriptor, also when the process is killed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

# In the fcntl module only since Python 3.9.
_F_OFD_GETLK = 36
_F_OFD_SETLK = 37
# struct flock with a 64-bit off_t and native alignment: what Python's fcntl passes on 32-bit machines too. l_pid must be 0.
_FLOCK = struct.Struct("@hhqqi0q")


def lock(fd: int, byte: int) -> bool:
    """Take a shared lock; False when somebody holds an exclusive one. OSError where the file system has no such locks."""
    try:
        fcntl.fcntl(fd, _F_OFD_SETLK, _request(fcntl.F_RDLCK, byte))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def unlock(fd: int, byte: int) -> None:
    fcntl.fcntl(fd, _F_OFD_SETLK, _request(fcntl.F_UNLCK, byte))


def held_by_others(fd: int, byte: int, *, only_exclusive: bool = False) -> bool:
    """Does anybody else hold the byte (``only_exclusive``: hold it exclusively)? Locks of ``fd`` itself do not count."""
    kind = fcntl.F_RDLCK if only_exclusive else fcntl.F_WRLCK
    answer = fcntl.fcntl(fd, _F_OFD_GETLK, _request(kind, byte))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def _request(kind: int, byte: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0)
