# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A file on the controller that several runs change at once: one at a time, and whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ...module_utils._luks import files

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
        """Nobody else changes the file meanwhile, on this controller. Raises FileBusy, OSError, LuksmithError."""
        files.make_folder(self._folder)
        descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
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
        """None if there is no such file. Whole also without the lock, because it is only ever replaced. Raises OSError."""
        try:
            return files.read_regular(self.path)
        except FileNotFoundError:
            return None

    def replace(self, content: bytes) -> None:
        """Durably: after a power cut the file is the old one or the new one. Only inside :meth:`locked`. Raises LuksmithError."""
        files.replace(self.path, content, owner=files.LIKE_THE_OLD, leftovers=(f".{self._name}.new-",))
