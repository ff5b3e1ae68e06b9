# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The copy of the header that keeps a volume open while a plan without a safe order is carried out (``backup_dir``).

It is made under the locks, from the header that the journal already names it in, read back from its medium, and
compared with the key material that was proven to open. It is removed when everything else is done and proven, and the
journal forgets it only then. So in every state that a crash can leave, some keyslot of the header opens, or the copy
that the header names is there.
"""

from __future__ import annotations

import hmac

from ..errors import StorageFault
from ..header.copied import backup_size
from ..header.parsing import parse_header
from ..unlock.prover import Prover
from ..volume.copy_file import CopyFile, new_name
from .header_writer import HeaderWriter


class HeaderCopy:
    """The :class:`.copy_steps.Copies` of one volume.

    ``path``: of the copy, once there is one or the header names one; "" before and afterwards."""

    def __init__(self, folder: str, disk: HeaderWriter, size: int, prover: Prover) -> None:
        self.path = ""
        self._folder = folder
        self._disk = disk
        self._size = size
        self._prover = prover

    def check_room(self) -> None:
        """Raises StorageFault if the folder cannot take the copy, which free space and permissions do not tell."""
        size = backup_size(self._disk.header, self._disk.reread, self._size)
        self._file(self.new_name()).check_room(size)

    def new_name(self) -> str:
        """Raises as :func:`.copy_file.new_name`."""
        return new_name(self._folder)

    def make(self, name: str) -> None:
        """Copy the header that is on the disk, which names the copy.

        Raises what :meth:`.CopyFile.write` raises, and StorageFault if the copy is not what was proven.
        """
        file = self._file(name)
        header = self._disk.header
        data = self._disk.reread(0, backup_size(header, self._disk.reread, self._size))
        file.write(data)
        self.path = file.path
        with file.opened() as (read, size):
            copy = parse_header(read, size, embedded=True)
            same = hmac.compare_digest(read(0, size), data) and copy.image() == header.image()
            if not same or self._prover.stale(copy, read):
                raise StorageFault(
                    "the copy of the header does not read back as it was written",
                    why="the medium or its driver loses writes, or another process writes to the same path",
                    volume=file.path,
                )

    def remove(self, name: str) -> None:
        """Raises StorageFault if it stays."""
        file = self._file(name)
        try:
            file.remove()
        except StorageFault as error:
            error.why = (
                "this copy of the header still opens the volume with the secrets of before, and must not stay behind"
            )
            error.remedy = "remove what keeps the file from being removed, then run the same task again"
            raise
        self.path = ""

    def _file(self, name: str) -> CopyFile:
        return CopyFile(self._folder, self._disk.header.uuid, name)
