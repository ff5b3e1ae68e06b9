# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""System calls on one file that fail at a chosen call: what a bad disk, a full file system or a pulled plug answers.

A call counts if it is about the volume's file, by descriptor or by path. After a failed fsync the writes since the last
one are what the medium makes of them: lost, there, or torn. The kernel calls its pages clean then and does not try
again.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import fcntl
import functools
import os
import typing as t

from ansible_collections.luksmith.luks.tests.crash.blocklog import identity

CALLS = {
    "open": os,
    "fstat": os,
    "stat": os,
    "lseek": os,
    "pread": os,
    "preadv": os,
    "pwrite": os,
    "fsync": os,
    "fcntl": fcntl,
    "flock": fcntl,
}
LOST, THERE, TORN = "lost", "there", "torn"


class Fault(t.NamedTuple):
    """At the call number ``index`` of ``call``: ``error`` is raised, or a part of the work is done.

    lasting: every counted call from there on fails, as when the device is gone. short: half of the bytes are read or
    written, at this call and at every one of its kind. end: a read finds the end of the file. fate: of the unsynced
    writes at a failed fsync, or of a write that is acknowledged, as worn flash does that has silently become read-only.
    """

    call: str
    index: int
    error: int = 0
    lasting: bool = False
    short: bool = False
    end: bool = False
    fate: str = ""

    def __str__(self) -> str:
        what = (
            errno.errorcode[self.error]
            if self.error
            else "short"
            if self.short
            else "end of file"
            if self.end
            else "a lie"
        )
        return (
            f"{self.call} number {self.index}: "
            f"{what}{' from there on' if self.lasting else ''}{f', writes {self.fate}' if self.fate else ''}"
        )


class Concerned:
    """Which calls are about the file or device at ``volume``; ``real``: the functions of :data:`CALLS` as they are."""

    def __init__(self, volume: str) -> None:
        self.path = os.path.realpath(volume)
        self.real = {name: getattr(module, name) for name, module in CALLS.items()}
        self._identity = identity(os.stat(volume))
        self._paths: t.Dict[str, str] = {}

    def by(self, what: t.Any, options: t.Mapping[str, t.Any]) -> bool:
        """``what``: the descriptor or path that is the call's first argument."""
        if options.get("dir_fd") is not None:
            return False
        if isinstance(what, int):
            try:
                return identity(self.real["fstat"](what)) == self._identity
            except OSError:
                return False
        return self._resolved(os.fspath(what)) == self.path

    def _resolved(self, path: str) -> str:
        """Remembered, because looking is a third of the work otherwise; what a number of a descriptor means changes."""
        if path.startswith("/proc/"):
            return os.path.realpath(path)
        if path not in self._paths:
            self._paths[path] = os.path.realpath(path)
        return self._paths[path]

    def replace(self, call: t.Callable[..., t.Any]) -> None:
        """From now on ``call(name, ...)`` stands for each function, until :meth:`restore`."""
        for name, module in CALLS.items():
            setattr(module, name, functools.partial(call, name))

    def restore(self) -> None:
        for name, module in CALLS.items():
            setattr(module, name, self.real[name])


class Injected:
    """``counts``: calls so far by name; ``hit``: whether the fault happened."""

    def __init__(self, volume: str, fault: t.Optional[Fault]) -> None:
        self.fault = fault
        self.counts: t.Counter[str] = collections.Counter()
        self.hit = False
        self.concerned = Concerned(volume)
        self._real = self.concerned.real
        self._unsynced: t.List[t.Tuple[int, bytes, bytes]] = []

    def call(self, name: str, *arguments: t.Any, **options: t.Any) -> t.Any:
        real = self._real[name]
        if not self.concerned.by(arguments[0], options):
            return real(*arguments, **options)
        index = self.counts[name]
        self.counts[name] += 1
        fault = self.fault
        now = (
            fault is not None and fault.call == name and (index >= fault.index if fault.short else index == fault.index)
        )
        if fault is not None and (now or (self.hit and fault.lasting)):
            self.hit = True
            if name == "fsync" and fault.fate:
                self._fate(fault.fate)
            if fault.error:
                raise OSError(fault.error, os.strerror(fault.error))
            return self._part(name, fault, *arguments)
        return self._whole(name, real, *arguments, **options)

    def _whole(self, name: str, real: t.Callable[..., t.Any], *arguments: t.Any, **options: t.Any) -> t.Any:
        if name == "pwrite":
            fd, data, offset = arguments
            self._unsynced.append((offset, self._real["pread"](fd, len(data), offset), bytes(data)))
        elif name == "fsync":
            self._unsynced.clear()
        return real(*arguments, **options)

    def _part(self, name: str, fault: Fault, *arguments: t.Any) -> t.Any:
        real = self._real[name]
        if name == "pread":
            fd, length, offset = arguments
            return b"" if fault.end else real(fd, max(1, length // 2), offset)
        if name == "preadv":
            fd, buffers, offset = arguments
            whole = memoryview(buffers[0])
            return 0 if fault.end else real(fd, [whole[: max(512, len(whole) // 2 // 512 * 512)]], offset)
        fd, data, offset = arguments
        if fault.fate:
            kept = _on_the_medium(fault.fate, self._real["pread"](fd, len(data), offset), bytes(data))
            self.hit = kept != data
            return real(fd, kept, offset)
        return self._whole(name, real, fd, data[: max(1, len(data) // 2)], offset)

    def _fate(self, fate: str) -> None:
        """Nobody reads what the module's page cache would hold: the file is the medium."""
        fd = self._real["open"](self.concerned.path, os.O_WRONLY)
        try:
            for offset, old, new in reversed(self._unsynced):
                self._real["pwrite"](fd, _on_the_medium(fate, old, new), offset)
        finally:
            os.close(fd)


def _on_the_medium(fate: str, old: bytes, new: bytes) -> bytes:
    half = len(new) // 2 // 512 * 512
    return {LOST: old, THERE: new, TORN: new[:half] + old[half:]}[fate]


@contextlib.contextmanager
def injected(volume: str, fault: t.Optional[Fault] = None) -> t.Iterator[Injected]:
    """While the block runs, ``fault`` happens to the file at ``volume``; without one, calls are only counted."""
    state = Injected(volume, fault)
    state.concerned.replace(state.call)
    try:
        yield state
    finally:
        state.concerned.restore()
