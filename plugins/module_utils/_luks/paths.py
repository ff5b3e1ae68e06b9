# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Paths of files on hosts and on the controller: which no file can have, what kind of file is there, and errors of the
system in words.

Imports only the errors.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys

from .errors import NOTHING_CHANGED, BadTask, StorageFault

_UTF8 = "Run the task with PYTHONUTF8=1 or a UTF-8 locale (LC_ALL=C.UTF-8) in its environment"

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)

_TAG = re.compile("(uuid|label|partuuid|partlabel)=", re.IGNORECASE)
_REMEDIES = {
    errno.ENOENT: "Check the path; a device that was just attached may still be waiting for udev",
    errno.EACCES: "Run as a user with this permission, for block devices usually root (become: true)",
    errno.EPERM: "Run as a user with this permission; an immutable file (lsattr) refuses even root",
    errno.EROFS: "The file system is mounted read-only; remount it writable",
    errno.ELOOP: "The symbolic links form a loop; give the path of the file itself",
    errno.ENOTDIR: "A part of the path is not a directory; check the path",
    errno.ENOSPC: "Free some space there",
    errno.EDQUOT: "Free some space there",
    errno.ETXTBSY: "A program is running from this file, or it is swap space; stop that first",
    errno.ENXIO: "There is no device behind this node; check that it is attached",
    errno.ENODEV: "There is no device behind this node; check that it is attached",
}


def fault(
    path: str, doing: str, error: OSError, *, why: str = "", remedy: str = "", changed: str = NOTHING_CHANGED
) -> StorageFault:
    """A StorageFault in the system's words: "cannot open it: Permission denied (EACCES)"."""
    number = error.errno or 0
    name = errno.errorcode.get(number, str(number))
    found = StorageFault(
        f"{doing}: {os.strerror(number)} ({name})",
        why=why,
        remedy=remedy or (number == errno.ENOENT and _meant(path)) or _REMEDIES.get(number, ""),
        volume=path,
        changed=changed,
    )
    found.errno = number
    return found


def _meant(path: str) -> str:
    """What to write instead of a path that is none of a file, or ""."""
    tag = _TAG.match(path)
    if tag:
        return f"Write {tag.group(1).upper()}= in capital letters"
    if any(sign in path for sign in "*?["):
        return "Give one path; luksmith.luks.volumes_info finds the volumes of a pattern"
    if not path.startswith("/"):
        return "Give the whole path, such as /dev/mapper/NAME or /srv/images/NAME"
    return ""


def unusable(path: str) -> str:
    """Why no file can have this path, or ""."""
    if "\0" in path:
        return "contains a NUL character, which no file name can have"
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        return f"has characters that Python on this host cannot encode, because its locale uses {encoding}, not UTF-8"
    return ""


def remedy_for(path: str) -> str:
    """What to do about a path that is :func:`unusable`."""
    return "Check the path" if "\0" in path else _UTF8


def check_path(path: str, name: str) -> None:
    """Raises BadTask if the path that the task gives as ``name`` is :func:`unusable`."""
    reason = unusable(path)
    if reason:
        raise BadTask(f"{name} is {path!r}, which {reason}", remedy=remedy_for(path))


def kind_of(mode: int) -> str:
    """The type of a file that is not a regular file, in words."""
    return next((words for test, words in _KINDS if test(mode)), "something unknown")
