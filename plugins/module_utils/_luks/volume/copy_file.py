# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The file with a copy of a header that keeps a volume open while a keyslot is replaced in place (``backup_dir``).

The name has the uuid, for people, and the name that the journal of the header has for the copy. That name tells the
folder, so that a run that is given another one does not take a copy that it cannot see for one that is gone. Knows no
formats.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import typing as t

from .. import files
from ..errors import LuksmithError, StorageFault
from ..header.model import COPY_SUFFIX, Header, Intent, IntentKind, copy_prefix
from ..paths import fault, kind_of

MODE = 0o600
_TRIAL = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_ANSWER = (errno.EOPNOTSUPP, errno.EINVAL)  # of libraries and file systems that cannot allocate ahead
_RANDOM = 8  # bytes of a name; the others tell the folder


def new_name(folder: str) -> str:
    """32 hexadecimal digits for a copy in ``folder``: half of them random, half of them a mark of the folder.

    Raises StorageFault if there is no such folder.
    """
    drawn = os.urandom(_RANDOM).hex()
    try:
        return drawn + _mark(folder, drawn)
    except OSError as error:
        raise fault(folder, "cannot open the folder", error) from None


def check_writable(folder: str, size: int) -> None:
    """Raises the StorageFault that :meth:`CopyFile.write` of so many bytes would raise, as far as can be known."""
    try:
        files.check_replaceable(os.path.join(folder, COPY_SUFFIX), follow=False, size=size)
    except StorageFault as error:
        error.volume = folder
        raise


def named_for(folder: str, name: str) -> bool:
    """Whether :func:`new_name` made ``name`` for this folder. A folder of the same path on another file system, such as
    a mount point on which nothing is mounted, is another one.
    """
    drawn = name[: 2 * _RANDOM]
    try:
        return name == drawn + _mark(folder, drawn)
    except OSError:
        return False


def _mark(folder: str, drawn: str) -> str:
    path = os.path.realpath(folder)
    told = f"{drawn} {os.stat(path).st_ino} {os.statvfs(path).f_fsid} ".encode() + os.fsencode(path)
    return hashlib.sha256(told).hexdigest()[: 32 - 2 * _RANDOM]


def others(folder: str, header: Header) -> t.List[str]:
    """Paths in ``folder`` of copies of headers with the uuid of ``header`` that it does not name."""
    named = header.intent.copy_file(header.uuid) if header.intent is not None else ""
    try:
        names = os.listdir(folder)
    except OSError:
        return []  # whoever needs the folder says what is wrong with it
    start = copy_prefix(header.uuid)
    return [
        os.path.join(folder, name)
        for name in sorted(names)
        if name.startswith(start) and name.endswith(COPY_SUFFIX) and name != named
    ]


class CopyFile:
    """``name``: the 32 hexadecimal digits of the journal; ``uuid``: of the volume, which is text that anyone wrote."""

    def __init__(self, folder: str, uuid: str, name: str) -> None:
        self.path = os.path.join(folder, Intent(IntentKind.COPIED, 0, copy=name).copy_file(uuid))

    def check_room(self, size: int) -> None:
        """Raises StorageFault if no file of so many bytes can be made in the folder. The file of this trial has no name
        by the time it has a size: a crash leaves an empty one at most.
        """
        folder, name = os.path.split(files.unfinished_of(self.path))
        try:
            descriptor = os.open(os.path.join(folder, name), _TRIAL, MODE)
            try:
                os.unlink(os.path.join(folder, name))
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in _NO_ANSWER:
                raise fault(folder, f"cannot make a file of {-(-size // 1024)} KiB there", error) from None

    def write(self, data: bytes) -> None:
        """Durable and read back from the medium when this returns. Raises what :func:`.files.replace` raises."""
        files.replace(self.path, data, mode=MODE, follow=False, secret=True)

    @contextlib.contextmanager
    def opened(self) -> t.Iterator[t.Tuple[t.Callable[[int, int], bytes], int]]:
        """A reader of the file, which raises StorageFault past its end, and its size.

        Raises StorageFault if it cannot be opened or is not a regular file.
        """
        descriptor = self._open(os.O_RDONLY)
        try:
            size = os.fstat(descriptor).st_size

            def read(offset: int, length: int) -> bytes:
                try:
                    data = os.pread(descriptor, length, offset) if offset >= 0 else b""
                except OSError as error:
                    raise fault(self.path, "cannot read it", error) from None
                if len(data) != length:
                    raise StorageFault(f"it ends before byte {offset + length}", volume=self.path)
                return data

            yield read, size
        finally:
            os.close(descriptor)

    def exists(self) -> bool:
        return os.path.lexists(self.path)

    def remove(self) -> None:
        """Overwrite and remove it, and what an interrupted write left beside it. Nothing there is no error.

        Raises StorageFault if it stays, or if a power failure could bring it back.
        """
        for path in (self.path, files.unfinished_of(self.path)):
            with contextlib.suppress(LuksmithError):
                descriptor = self._open(os.O_RDWR, path)
                try:
                    files.overwrite(descriptor)
                finally:
                    os.close(descriptor)
            try:
                os.lstat(path)  # on a read-only file system, unlink fails for a file that is not there, too
                os.unlink(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise fault(path, "cannot remove it", error) from None
        files.sync_folder(self.path)

    def _open(self, how: int, path: str = "") -> int:
        path = path or self.path
        try:
            descriptor = os.open(path, how | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise fault(path, "cannot open it", error) from None
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            raise StorageFault(f"it is {kind_of(mode)}", volume=path)
        return descriptor
