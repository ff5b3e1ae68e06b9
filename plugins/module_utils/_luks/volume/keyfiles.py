# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A keyfile on the host gets new content, whole or not at all, and the old content is overwritten afterwards.

The new file is written beside the old one and renamed over it, so that whoever reads the path (systemd-cryptsetup at boot, a
rebuild of the initramfs) finds the old secret or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import os
import stat
import typing as t

from ..crypto.memory import wipe
from ..errors import LuksmithError, Refused, StorageFault
from .whole_file import sync_folder

OWNER_ONLY = 0o077
MODE = 0o400
_SELINUX = "security.selinux"


def check_replaceable(path: str) -> None:
    """Raises what :func:`replace` would raise before it wrote anything, as far as that can be known: Refused or LuksmithError."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise _fault(path, error, LuksmithError) from None
    _check_regular(path, status)
    # Not the right to write to the file: its content comes by a rename, and a keyfile of mode 0400 is as it should be.
    folder = os.path.dirname(os.path.realpath(path))
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise Refused(f"this user cannot write in the folder {folder} of the keyfile", remedy="Run as root, and see whether its file system is read-only")
    if not _may_have_for_owner(status):
        raise Refused("the keyfile belongs to another user or group", why="Only root can give them the new file", remedy="Run as root")


def _may_have_for_owner(status: os.stat_result) -> bool:
    """Whether this user may give a file the owner and the group of ``status``."""
    me = os.geteuid()
    return me == 0 or (status.st_uid == me and status.st_gid in (os.getegid(), *os.getgroups()))


def _check_regular(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"the keyfile {path!r} is no regular file", remedy="Replace its content by hand")


def replace(path: str, content: bytearray) -> None:
    """Replace the regular file at ``path`` (symbolic links followed) durably; owner and a private mode stay.

    Raises Refused if it is no regular file, StorageFault if the system does not do what is asked.
    """
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    prefix = f".{name}.luksmith-"
    try:
        old = _open_for_overwriting(path)
    except OSError as error:
        raise _fault(path, error, LuksmithError) from None
    try:
        status = os.fstat(old)
        _check_regular(path, status)
        _forget_leftovers(folder, prefix)
        temporary = os.path.join(folder, f"{prefix}{os.urandom(8).hex()}")
        try:
            _write(temporary, content, old, status)
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_folder(folder)
        _overwrite(old)
    except OSError as error:
        raise _fault(path, error, StorageFault) from None
    finally:
        os.close(old)


def _open_for_overwriting(path: str) -> int:
    """The file as it is now, so that its blocks can be overwritten when it has no name any more. Raises OSError.

    The mode of a keyfile often forbids its owner to write; the owner may lift that, and does so until the file is open.
    """
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | flags)
    except PermissionError:
        reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags)
    try:
        mode = stat.S_IMODE(os.fstat(reading).st_mode)
        os.fchmod(reading, mode | stat.S_IWUSR)
        try:
            return os.open(path, os.O_RDWR | flags)
        finally:
            os.fchmod(reading, mode)
    finally:
        os.close(reading)


def _write(path: str, content: bytearray, old: int, status: os.stat_result) -> None:
    """A new file at ``path`` with the owner, the mode and the SELinux label of the old one, on the medium."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        private = not status.st_mode & OWNER_ONLY
        os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode) if private else MODE)
        with contextlib.suppress(OSError):
            os.setxattr(descriptor, _SELINUX, os.getxattr(old, _SELINUX))
        done = 0
        with memoryview(content) as view:
            while done < len(content):
                with view[done:] as rest:
                    done += os.write(descriptor, rest)
        os.fsync(descriptor)
        # The old secret is erased from the volume next, so what the page cache says is not enough.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        back = bytearray(len(content))
        same = os.preadv(descriptor, [back], 0) == len(back) and hmac.compare_digest(back, content)
        wipe(back)
        if not same:
            raise OSError(errno.EIO, "it reads back as something else; the medium or its driver loses writes")
    finally:
        os.close(descriptor)


def _overwrite(descriptor: int) -> None:
    """Best effort: the blocks of the file that has no name any more, unless another hard link still has them."""
    status = os.fstat(descriptor)
    if status.st_nlink == 0:
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, os.urandom(status.st_size), 0)
            os.fsync(descriptor)


def _forget_leftovers(folder: str, prefix: str) -> None:
    """Files of a run that was killed before it renamed its file; they hold a secret."""
    for name in os.listdir(folder):
        if name.startswith(prefix):
            descriptor = os.open(os.path.join(folder, name), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.unlink(os.path.join(folder, name))
                _overwrite(descriptor)
            finally:
                os.close(descriptor)


def _fault(path: str, error: OSError, kind: t.Type[LuksmithError]) -> LuksmithError:
    words = errno.errorcode.get(error.errno or 0, "") + (f" ({error.strerror})" if error.strerror else "")
    return kind(
        f"the keyfile {path!r} cannot be replaced: {words}", remedy="Repair that and run the task again", changed="It holds the old secret or the new one."
    )
