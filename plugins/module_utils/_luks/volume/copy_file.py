# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The file with a copy of a header that keeps a volume open while a keyslot is replaced in place (``backup_dir``).

The name has the uuid, for people, and the name that the journal of the header has for the copy. Knows no formats.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import typing as t

from .. import files
from ..errors import LuksmithError, StorageFault
from ..paths import fault, kind_of

MODE = 0o600
_UNSAFE = re.compile(r"[^0-9A-Za-z-]")
_LONGEST_UUID = 40


class CopyFile:
    """``name``: the 32 hexadecimal digits of the journal; ``uuid``: of the volume, which is text that anyone wrote."""

    def __init__(self, folder: str, uuid: str, name: str) -> None:
        self.path = os.path.join(folder, f"luksmith-{_UNSAFE.sub('_', uuid)[:_LONGEST_UUID]}-{name}.luks-header")

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
