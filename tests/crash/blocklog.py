# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record, below ``volume/``, of the system calls that change a file and of those that make changes durable.

os.pwrite and os.fsync are replaced while a run is recorded; every other way of changing a file that Python has fails
the test. test_system_calls.py shows with strace that a module in a process of its own does the same calls and no
others.
"""

from __future__ import annotations

import contextlib
import os
import typing as t


class Call(t.NamedTuple):
    """``data`` is None for a barrier."""

    offset: int
    data: t.Optional[bytes]


Identity = t.Tuple[int, int]
# By none of these may a header be changed: the record would not know.
_UNRECORDED = ("write", "writev", "pwritev", "ftruncate", "truncate", "posix_fallocate", "copy_file_range", "sendfile")


def identity(status: os.stat_result) -> Identity:
    return (status.st_dev, status.st_ino)


@contextlib.contextmanager
def recorded(path: t.Union[str, os.PathLike[str]], beside: str = "") -> t.Iterator[t.List[Call]]:
    """The calls on the file at ``path``, in order, while the block runs. Writes to other files fail the test, except
    in the folder ``beside``.
    """
    calls: t.List[Call] = []
    volume = identity(os.stat(path))
    pwrite, fsync, fdatasync = os.pwrite, os.fsync, os.fdatasync

    def recorded_pwrite(fd: int, data: t.Any, offset: int) -> int:
        if identity(os.fstat(fd)) != volume:
            other = os.readlink(f"/proc/self/fd/{fd}")
            assert beside and os.path.dirname(other) == beside, f"another file was written: {other}"
            return pwrite(fd, data, offset)
        written = pwrite(fd, data, offset)
        calls.append(Call(offset, bytes(data[:written])))
        return written

    def barrier(real: t.Callable[[int], None]) -> t.Callable[[int], None]:
        def call(fd: int) -> None:
            real(fd)
            if identity(os.fstat(fd)) == volume:
                calls.append(Call(0, None))

        return call

    def unrecorded(name: str, real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def call(fd: t.Any, *arguments: t.Any, **options: t.Any) -> t.Any:
            assert not isinstance(fd, int) or identity(os.fstat(fd)) != volume, f"os.{name} changed the volume unseen"
            return real(fd, *arguments, **options)

        return call

    replaced = {"pwrite": recorded_pwrite, "fsync": barrier(fsync), "fdatasync": barrier(fdatasync)}
    replaced.update({name: unrecorded(name, getattr(os, name)) for name in _UNRECORDED if hasattr(os, name)})
    with _replaced(replaced):
        yield calls


@contextlib.contextmanager
def _replaced(functions: t.Mapping[str, t.Callable[..., t.Any]]) -> t.Iterator[None]:
    saved = {name: getattr(os, name) for name in functions}
    for name, function in functions.items():
        setattr(os, name, function)
    try:
        yield
    finally:
        for name, function in saved.items():
            setattr(os, name, function)
