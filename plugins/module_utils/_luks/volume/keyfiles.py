# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Replaces the content of a keyfile on the host, whole or not at all, and overwrites the old content afterwards.

A program that reads the path meanwhile (systemd-cryptsetup at boot, a rebuild of the initramfs) finds the old or the
new secret.
"""

from __future__ import annotations

import contextlib
import os
import stat

from .. import files
from ..errors import LuksmithError, Refused, StorageFault
from ..paths import fault

OWNER_ONLY = 0o077
MODE = 0o400
_PATIENCE = 10.0  # seconds to wait for another run that replaces the same keyfile
_OLD = "It still contains the old secret."
_NEW = "It contains the new secret, but after a power cut it may contain the old one again."


def check_replaceable(path: str) -> None:
    """Raises the Refused or StorageFault that :func:`replace` would raise before it writes, as far as that is known."""
    _status(path)
    try:
        files.check_replaceable(path, owner=files.EXACTLY_LIKE_THE_OLD)
    except StorageFault as error:
        raise _keyfile_fault(path, error) from None


def _status(path: str) -> os.stat_result:
    try:
        status = os.stat(path)
    except OSError as error:
        raise _keyfile_fault(path, fault(path, "cannot access it", error)) from None
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"the keyfile {path!r} is not a regular file", remedy="Replace its content by hand")
    return status


def replace(path: str, content: bytearray) -> None:
    """Replace the regular file at ``path`` (symbolic links are followed) durably; owner and a private mode stay.

    Raises Refused if it is not a regular file, Busy if another run holds it for too long, StorageFault if the system
    reports an error.
    """
    path = os.path.realpath(path)
    status = _status(path)
    private = not status.st_mode & OWNER_ONLY
    with contextlib.ExitStack() as rest:
        old = _open_old(path, status)
        if old >= 0:
            rest.callback(os.close, old)
        try:
            files.replace(
                path,
                content,
                mode=stat.S_IMODE(status.st_mode) if private else MODE,
                owner=files.EXACTLY_LIKE_THE_OLD,
                secret=True,
                patience=_PATIENCE,
                leftovers=(f".{os.path.basename(path)}.luksmith-",),
            )
        except StorageFault as error:
            raise _keyfile_fault(path, error) from None
        if old >= 0:
            _overwrite(old)


def _open_old(path: str, status: os.stat_result) -> int:
    """A descriptor of the old file, which is to be overwritten; -1 if it cannot be opened, which is not an error."""
    for way in (os.O_RDWR, os.O_RDONLY):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, way | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            if os.path.samestat(os.fstat(descriptor), status):
                return descriptor
            os.close(descriptor)
    return -1


def _overwrite(old: int) -> None:
    """Overwrite the blocks of the file that has no name any more, unless it has another hard link."""
    status = os.fstat(old)
    if status.st_nlink:
        return
    with contextlib.suppress(OSError):
        # A keyfile is often read-only for its owner, who may change its mode for the moment of opening it.
        os.fchmod(old, files.PRIVATE)
        try:
            writable = os.open(f"/proc/self/fd/{old}", os.O_RDWR | os.O_CLOEXEC)
        finally:
            os.fchmod(old, stat.S_IMODE(status.st_mode))
        try:
            files.overwrite(writable)
        finally:
            os.close(writable)


def _keyfile_fault(path: str, error: StorageFault) -> LuksmithError:
    found = StorageFault(
        f"the keyfile {path!r} cannot be replaced: {error.found}",
        why=error.why,
        remedy=error.remedy or "Correct that and run the task again",
        changed=_NEW if error.after_change else _OLD,
    )
    found.after_change = error.after_change
    return found
