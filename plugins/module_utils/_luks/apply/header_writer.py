# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The disk under a transaction: guarded, durable, verified writes of header and key areas.

Before each write the header on disk is compared with the expected one, which reveals a writer that ignores the locks.
After each write comes a barrier.
"""

from __future__ import annotations

import hmac
import os
import typing as t

from ..errors import HeaderChanged
from ..header.model import Extent, Header, Write
from ..header.reading import TolerantRead
from ..volume.storage import Volume

PASSES_SINGLE = 1
PASSES_MULTIPLE = 40  # as QEMU and cryptsetup do on rotational media


class HeaderWriter:
    """Writes to one locked volume.

    header: the one on disk. written: whether a write has begun. notes: warnings about committed headers.
    Every write raises HeaderChanged if the header on disk is not the expected one, Refused if the file has left its
    path, and StorageFault if the medium fails or gives back other data than written.
    """

    def __init__(self, volume: Volume, header: Header, *, wipe_passes: int) -> None:
        self.header = header
        self.written = False
        self.notes: t.List[str] = []
        self._volume = volume
        self._region = volume.region
        self._wipe_passes = wipe_passes
        self._expected = self._image_of(header)

    @property
    def path(self) -> str:
        """The file or device that holds the header; the payload may be on another one."""
        return self._volume.node.path

    def commit(self, header: Header) -> None:
        """Make ``header`` the one on disk, write by write, each durable and read back; at the end, read back all of it.

        Raises as every write of this class, and Refused if the metadata does not fit.
        """
        for write in header.commit_writes(self.header):
            self._guarded_write(write.offset, write.data)
            self._expect(write.offset, write.data)
            self._check(write.offset, write.data)
        self.notes.extend(header.edit_notes)
        self.header = header.after_commit(self.header)
        self._expected = self._image_of(self.header)
        for extent, expected in self._expected:
            self._check(extent.offset, bytes(expected))

    def _check(self, offset: int, expected: bytes) -> None:
        self._region.confirm(
            offset, expected, f"the header read back from the medium at byte {offset} is not what was written"
        )

    def write_area(self, area: Extent, data: bytearray) -> bytes:
        """Write key material and return what the medium gives back, for the caller to open. Raises as every write."""
        self._guarded_write(area.offset, bytes(data))
        return self._region.reread(area.offset, len(data))

    def write_beside(self, writes: t.Iterable[Write], what: str) -> None:
        """Write what is neither header nor key material, one after another, each read back; ``what``: for messages.

        Raises as every write of this class.
        """
        for write in writes:
            self._guarded_write(write.offset, write.data)
            self._region.confirm(
                write.offset,
                write.data,
                f"{what}, read back from the medium at byte {write.offset}, is not what was written",
                "the medium or its driver loses writes: replace it",
            )

    def reread(self, offset: int, length: int) -> bytes:
        """What the medium holds ``offset`` bytes after the header's first byte. Raises StorageFault on a read error."""
        return self._region.reread(offset, length)

    def overwrite(self, area: Extent) -> None:
        """Wipe the area: passes of random bytes, each durable before the next, the last one read back.

        Raises as every write of this class.
        """
        noise = b""
        for _pass in range(self._wipe_passes):
            noise = os.urandom(area.size)
            self._guarded_write(area.offset, noise)
        self._region.confirm(
            area.offset,
            noise,
            f"the key area at byte {area.offset} was overwritten, but other data was read back",
            "the medium or its driver loses writes: replace the medium and destroy the old one,"
            " which may still hold the key material",
        )

    def _guarded_write(self, offset: int, data: bytes) -> None:
        self._guard()
        self._volume.check_still_there()
        if not self.written:
            self.written = True
            self._volume.begin_writing()
        self._region.write(offset, data)
        self._region.barrier()

    def _guard(self) -> None:
        # Parts that were unreadable when the header was parsed may still be; a write may repair them.
        read = TolerantRead(self._region.reread)
        for extent, expected in self._expected:
            if not hmac.compare_digest(read(extent.offset, extent.size), bytes(expected)):
                if read.fault is not None:
                    raise read.fault
                raise HeaderChanged(
                    "the header on disk is no longer the one that was read",
                    why="another program changed it despite the locks, and writing over it would undo that change",
                    remedy="find out what else changes this volume, then run the task again",
                )

    def _expect(self, offset: int, data: bytes) -> None:
        written = Extent(offset, len(data))
        for extent, expected in self._expected:
            if extent.overlaps(written):
                start, end = max(extent.offset, offset), min(extent.end, written.end)
                expected[start - extent.offset : end - extent.offset] = data[start - offset : end - offset]

    @staticmethod
    def _image_of(header: Header) -> t.List[t.Tuple[Extent, bytearray]]:
        return [(extent, bytearray(data)) for extent, data in zip(header.fingerprint_ranges(), header.image())]
