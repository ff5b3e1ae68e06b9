# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A file on the controller that several runs change at once: one at a time, whole or not at all, and with copies of
what it held before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import typing as t

from ...module_utils._luks import files
from ...module_utils._luks.errors import LuksmithError
from .._waiting_lock import lock_within
from .stores import UNCHANGED, StoreError

PREVIOUS = 5
MOST = 64 * 2**20  # bytes; an entry has a few KiB


class FileBusy(Exception):
    """Another run holds the lock of the file for longer than allowed."""


class CannotBeStored(Exception):
    """The store does not exist, and was not to be made."""


class GuardedFile:
    """The file at ``path``, symbolic links followed.

    Its lock is the file PATH.lock beside it, which stays: a lock that is deleted is none.

    store: the folder that must exist unless ``create``; without it, the folder of the file.
    previous: how many files PATH.previous-1 (the newest) and so on keep what the file held before.
    """

    def __init__(
        self, path: str, timeout: float = 60.0, *, store: str = "", create: bool = False, previous: int = PREVIOUS
    ) -> None:
        self.path = os.path.realpath(os.path.expanduser(path))
        self._folder, self._name = os.path.split(self.path)
        self._store = os.path.realpath(os.path.expanduser(store)) if store else self._folder
        self._timeout = timeout
        self._create = create
        self._previous = previous
        self._seen: t.Optional[bytes] = None

    def check(self) -> None:
        """Whether the file can be written, as far as that can be known. Raises CannotBeStored and LuksmithError."""
        if not self._create and not os.path.isdir(self._store):
            raise CannotBeStored(
                f"{self._store}, the folder of the store, does not exist. Is it mounted, and is the path right? "
                "To begin a new store there, make the folder or set rotate_store_create: true"
            )
        files.check_replaceable(self.path, owner=files.LIKE_THE_OLD, new_folders=True)

    @contextlib.contextmanager
    def changing(self) -> t.Iterator[GuardedFile]:
        """This file, locked; whatever goes wrong with file and lock is a StoreError."""
        try:
            with self.locked():
                yield self
        except (CannotBeStored, FileBusy) as error:
            raise StoreError(f"{error}. {UNCHANGED}") from None
        except LuksmithError as error:  # says itself what was changed
            raise StoreError(f"The store cannot be written. {error}") from None
        except OSError as error:
            raise StoreError(
                f"{error.filename or self.path} cannot be used for the store: {error.strerror}. {UNCHANGED}"
            ) from None

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """No other run changes the file meanwhile, on this controller.

        Raises CannotBeStored, FileBusy, OSError, LuksmithError.
        """
        self.check()
        self._make_folders()
        descriptor = self._open_lock()
        try:
            if not lock_within(descriptor, self._timeout):
                raise FileBusy(
                    f"another run has held {self.path}.lock for {self._timeout:g} seconds. Wait until it is done, then "
                    "run again"
                )
            yield
        finally:
            os.close(descriptor)

    def content(self) -> t.Optional[bytes]:
        """None if there is no such file.

        Whole also without the lock, because it is only ever replaced. Raises OSError.
        """
        try:
            self._seen = _whole(self.path)
        except FileNotFoundError:
            self._seen = None
        return self._seen

    def replace(self, content: bytes) -> None:
        """Durably: after a power cut the file is the old one or the new one.

        Only inside :meth:`locked`, after :meth:`content`.

        Raises LuksmithError; StoreError if the file is not what was read any more: an editor knows no lock of ours.
        """
        seen = self._seen
        if self.content() != seen:
            raise StoreError(
                f"{self.path} was changed by something else while the rotation was about to write it. Run the "
                f"rotation again. {UNCHANGED}"
            )
        new = seen is None
        mode = self._shared_mode() if new else None
        self._hold()
        try:
            files.replace(self.path, content, mode=mode, owner=files.LIKE_THE_OLD, leftovers=(f".{self._name}.new-",))
        finally:
            with contextlib.suppress(OSError):  # then it keeps the name that it has, and the next write takes it up
                self._shift()
        if new:
            _give(self.path, self._folder)

    def _copy(self, number: int) -> str:
        return f"{self.path}.previous-{number}"

    def _hold(self) -> None:
        """A second name for the file that is about to be replaced; the sync of the folder makes it durable together
        with the new file.
        """
        self._shift()  # of a run that was killed
        if self._previous <= 0 or not os.path.exists(self.path):
            return
        try:
            os.link(self.path, self._copy(0))
        except OSError:  # a file system without a second name for a file
            files.replace(self._copy(0), files.read_regular(self.path), owner=files.LIKE_THE_OLD)

    def _shift(self) -> None:
        """What was held becomes the newest copy, unless the file was not replaced after all."""
        held = self._copy(0)
        if not os.path.lexists(held):
            return
        if os.path.exists(self.path) and files.read_regular(held) == files.read_regular(self.path):
            os.unlink(held)
            return
        for number in range(max(self._previous, 1), 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(self._copy(number - 1), self._copy(number))

    def _shared_mode(self) -> int:
        """A folder that a group may write to is a store of that group."""
        return 0o660 if os.stat(self._folder).st_mode & stat.S_IWGRP else 0o600

    def _open_lock(self) -> int:
        lock = f"{self.path}.lock"
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
        with contextlib.suppress(FileNotFoundError):
            return os.open(lock, flags)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(lock, flags | os.O_CREAT | os.O_EXCL, 0o600)
            _give(lock, self._folder)
            os.fchmod(descriptor, self._shared_mode())
            return descriptor
        return os.open(lock, flags)

    def _make_folders(self) -> None:
        missing, above = [], self._folder
        while not os.path.isdir(above):
            missing.append(above)
            above = os.path.dirname(above)
        files.make_folder(self._folder)
        for folder in reversed(missing):
            _give(folder, os.path.dirname(folder))
            parent = os.stat(os.path.dirname(folder))
            if parent.st_mode & stat.S_IWGRP and parent.st_mode & stat.S_ISGID:
                os.chmod(folder, 0o2770)


def _whole(path: str) -> bytes:
    """What was put into the place of a store may be larger than memory. Raises OSError."""
    if os.stat(path).st_size > MOST:
        why = f"{os.strerror(errno.EFBIG)} for a store, which has {MOST // 2**20} MiB at most"
        raise OSError(errno.EFBIG, why, path)
    return files.read_regular(path)


def _give(path: str, folder: str) -> None:
    """To whom the folder belongs, where we may: what root makes there (sudo) is the operator's, and a group's is the
    group's.
    """
    with contextlib.suppress(OSError):  # on a file system that root does not own, for instance
        owner = os.stat(folder)
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        elif owner.st_mode & stat.S_IWGRP:
            os.chown(path, -1, owner.st_gid, follow_symlinks=False)
