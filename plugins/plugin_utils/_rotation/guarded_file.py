# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A file on the controller that several runs change at once: one at a time, and whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
import typing as t

_POLL = 0.05  # seconds; flock cannot wait for a limited time


class FileBusy(Exception):
    """Another run holds the lock of the file for longer than allowed."""


class GuardedFile:
    """The file at ``path``, symbolic links followed. Its lock is the file PATH.lock beside it, which stays: a lock that is deleted is none."""

    def __init__(self, path: str, timeout: float) -> None:
        self.path = os.path.realpath(os.path.expanduser(path))
        self._folder, self._name = os.path.split(self.path)
        self._timeout = timeout

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Nobody else changes the file meanwhile, on this controller. Raises FileBusy, OSError."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + self._timeout
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise FileBusy(f"another run has held {self.path}.lock for {self._timeout:g} seconds") from None
                    time.sleep(_POLL)
            yield
        finally:
            os.close(descriptor)

    def content(self) -> t.Optional[bytes]:
        """None if there is no such file. Whole also without the lock, because it is only ever replaced."""
        try:
            with open(self.path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def replace(self, content: bytes) -> None:
        """Durably: after a power cut the file is the old one or the new one. Only inside :meth:`locked`."""
        self._forget_leftovers()
        mode = os.stat(self.path).st_mode & 0o777 if os.path.exists(self.path) else 0o600
        descriptor, temporary = tempfile.mkstemp(prefix=self._prefix, dir=self._folder)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.rename(temporary, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @property
    def _prefix(self) -> str:
        return f".{self._name}.new-"

    def _forget_leftovers(self) -> None:
        """What a run left that was killed while it wrote."""
        for name in os.listdir(self._folder):
            if name.startswith(self._prefix):
                os.unlink(os.path.join(self._folder, name))
