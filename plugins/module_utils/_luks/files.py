# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Plain files, on hosts and on the controller. Knows no volumes, and imports nothing but the errors."""

from __future__ import annotations

import errno
import os
import stat
import sys

from .errors import BadTask

# O_NONBLOCK: opening a pipe would wait for somebody at its other end before anybody could see what it is.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)
_UTF8 = "Run the task with PYTHONUTF8=1 or a UTF-8 locale (LC_ALL=C.UTF-8) in its environment"


def unusable(path: str) -> str:
    """Why no file can be asked for by this path, or ""."""
    if "\0" in path:
        return "contains a NUL character, and no file can have such a name"
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return f"has characters that Python on this host cannot spell, because its locale says {sys.getfilesystemencoding()} and not UTF-8"
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
    """What is no regular file, in words."""
    return next((words for test, words in _KINDS if test(mode)), "something unknown")


def not_regular(mode: int) -> OSError:
    return OSError(errno.EINVAL, f"it is {kind_of(mode)}, not a regular file")


def read_regular(path: str) -> bytes:
    """All of a regular file. Raises OSError, also for anything else, which might never come to an end."""
    descriptor = os.open(path, _READ)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise not_regular(mode)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)
