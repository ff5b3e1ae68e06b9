# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Reads past the kernel's page cache: what is on the medium, not what the kernel remembers of it."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import typing as t

# Bytes. Direct I/O needs multiples of the logical block size; no device in use has a larger one.
_DIRECT = 4096


@contextlib.contextmanager
def direct_read(descriptor: int, offset: int, length: int) -> t.Iterator[t.Optional[memoryview]]:
    """``length`` bytes read past the page cache, or None if that is not supported; the buffer is wiped afterwards.

    Uses a second descriptor, so that the given one keeps its locks. Raises OSError (EIO) if the medium fails.
    """
    begin = offset // _DIRECT * _DIRECT
    skip = offset - begin
    wanted = -(-(skip + length) // _DIRECT) * _DIRECT
    try:
        direct = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC) if length else -1
    except (OSError, AttributeError):  # the file system or the platform has no direct I/O
        direct = -1
    if direct < 0:
        yield None
        return
    try:
        with mmap.mmap(-1, wanted) as buffer, memoryview(buffer) as view:
            try:
                got = _fill_directly(direct, view, begin, skip + length)
                with view[skip : skip + length] as found:
                    yield found if got >= skip + length else None
            finally:
                view[:] = bytes(wanted)
    finally:
        os.close(direct)


def _fill_directly(descriptor: int, view: memoryview, begin: int, wanted: int) -> int:
    got = 0
    try:
        while got < wanted:
            with view[got:] as rest:
                count = os.preadv(descriptor, [rest], begin + got)
            got += count
            # At the end of the file a direct read is short, and the next offset would not be aligned.
            if not count or got % _DIRECT:
                break
    except OSError as error:
        if error.errno == errno.EIO:
            raise
        return 0
    return got


def forget_pages(descriptor: int, offset: int, length: int) -> None:
    """Ask the kernel to drop the range from its page cache. It drops whole pages, so the range is widened to pages."""
    first = offset // mmap.PAGESIZE * mmap.PAGESIZE
    end = -(-(offset + length) // mmap.PAGESIZE) * mmap.PAGESIZE
    with contextlib.suppress(OSError, AttributeError):
        os.posix_fadvise(descriptor, first, end - first, os.POSIX_FADV_DONTNEED)
