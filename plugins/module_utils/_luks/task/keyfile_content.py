# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The content of a keyfile, byte for byte, as cryptsetup reads it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import typing as t

from ..crypto.memory import wipe
from ..errors import BadSecret, BadTask
from ..paths import check_path
from ..value_kinds import kind_of

KEYFILE_LIMIT = 8 * 1024 * 1024  # bytes; cryptsetup's default "maximum keyfile size", inclusive


def read_keyfile(
    path: t.Any, offset: t.Optional[int], size: t.Optional[int], name: str, *, called: str = "keyfile"
) -> bytearray:
    """``size`` bytes (default: all, up to KEYFILE_LIMIT) of a regular file or block device, from byte ``offset`` on.

    The rules are those of ``cryptsetup --keyfile-offset --keyfile-size``. Raises BadTask if the path or the numbers are
    not valid, BadSecret if the file cannot be read or is too short or too long.
    """
    if not isinstance(path, str) or not path:
        raise BadTask(
            f"{name}: {called} is {kind_of(path)}, not a path", remedy="Give the path of a file on the managed host"
        )
    if "\0" in path:
        raise BadTask(
            f"{name}: the path of the keyfile contains a NUL byte",
            remedy="Give the path of a file, not its content; use passphrase_base64 for content",
        )
    check_path(path, f"{name}: the path of the keyfile")
    if not path.startswith("/"):
        raise BadTask(
            f"{name}: {called} is {path!r}, which is no absolute path",
            why="it would lead to whatever folder the module runs in on the managed host",
            remedy="Give the whole path of a file on the managed host",
        )
    for option, number, least in (("keyfile_offset", offset, 0), ("keyfile_size", size, 1)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < least):
            raise BadTask(
                f"{name}: {option} is {number!r}",
                why="it is a number of bytes",
                remedy=f"Give a whole number of at least {least}, or leave it out",
            )
    start = offset or 0
    described = f"{name}: {called} {path!r}"
    try:
        # O_NONBLOCK: opening a FIFO would otherwise wait for a writer before its type is known.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise BadSecret(f"{described} cannot be opened: {_words(error)}", remedy=_remedy(error)) from None
    try:
        available = _length(descriptor, described) - start
        # A block device has a page cache of its own, which misses what was written through the file beneath it.
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if available < 0:
            raise BadSecret(
                f"{described} has {available + start} bytes, fewer than keyfile_offset {start}",
                remedy="Check the offset and the file",
            )
        if size is not None and size > available:
            raise BadSecret(
                f"{described} has {available} bytes after offset {start}, fewer than keyfile_size {size}",
                remedy="Check the size and the file",
            )
        if size is None and available > KEYFILE_LIMIT:
            raise BadSecret(
                f"{described} has {available} bytes after offset {start}",
                why=f"without keyfile_size at most {KEYFILE_LIMIT} bytes (8 MiB) are read, as in cryptsetup",
                remedy="Give keyfile_size if this really is the keyfile",
            )
        return _exactly(descriptor, available if size is None else size, start, described)
    except OSError as error:
        raise BadSecret(f"{described} cannot be read: {_words(error)}") from None
    finally:
        os.close(descriptor)


def _length(descriptor: int, described: str) -> int:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        return os.lseek(descriptor, 0, os.SEEK_END)
    kind = (
        "a directory"
        if stat.S_ISDIR(mode)
        else "a FIFO"
        if stat.S_ISFIFO(mode)
        else "a character device"
        if stat.S_ISCHR(mode)
        else "not a regular file"
    )
    raise BadSecret(
        f"{described} is {kind}",
        why="a keyfile must give the same bytes at every read",
        remedy="Give a regular file (or a block device), or the content as passphrase_base64",
    )


def _exactly(descriptor: int, size: int, start: int, described: str) -> bytearray:
    value = bytearray(size)
    try:
        with memoryview(value) as view:
            done = 0
            while done < size:
                with view[done:] as rest:
                    count = os.preadv(descriptor, [rest], start + done)
                if count == 0:
                    raise BadSecret(
                        f"{described} became shorter while it was read",
                        remedy="Run again when nothing writes to it",
                    )
                done += count
        return value
    except BaseException:
        wipe(value)
        raise


def _words(error: OSError) -> str:
    return f"{error.strerror} ({errno.errorcode.get(error.errno or 0, 'unknown error')})"


def _remedy(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "The file must exist on the managed host, not on the controller"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "Run the task with become: true, or make the file readable"
    return "Check the path on the managed host"
