# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The disk under a transaction: guarded, durable, verified writes of header and key areas.

Every write is preceded by a comparison of the header on disk with the one expected there, so that a writer who takes
none of our locks is noticed, and followed by a barrier before the next one starts.
"""

from __future__ import annotations

import hmac
import os
import typing as t

from ..errors import HeaderChanged
from ..header.model import Extent, Header
from ..header.reading import TolerantRead
from ..volume.storage import Volume

PASSES_SINGLE = 1
PASSES_MULTIPLE = 40  # what QEMU and cryptsetup write on rotational media


class HeaderWriter:
    """``header`` is what the disk holds; ``written`` becomes true with the first write; ``notes``: warnings of what was committed."""

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
        """Of the file or device that holds the header, which may be another one than the payload's."""
        return self._volume.node.path

    def commit(self, header: Header) -> None:
        """Bring the header on disk to ``header``, write by write, each durable and read back before the next; then read all of it."""
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
        self._region.confirm(offset, expected, f"the header read back from the medium at byte {offset} is not what was written")

    def write_area(self, area: Extent, data: bytearray) -> bytes:
        """Key material into an area; returns what the medium gives back, for the caller to open."""
        self._guarded_write(area.offset, bytes(data))
        return self._region.reread(area.offset, len(data))

    def reread(self, offset: int, length: int) -> bytes:
        """What the medium holds at ``offset`` from the header's first byte."""
        return self._region.reread(offset, length)

    def overwrite(self, area: Extent) -> None:
        """Destroy what the area holds: every pass of fresh random bytes durable before the next, the last one read back."""
        noise = b""
        for _pass in range(self._wipe_passes):
            noise = os.urandom(area.size)
            self._guarded_write(area.offset, noise)
        self._region.confirm(
            area.offset,
            noise,
            f"the key area at byte {area.offset} was overwritten and reads back as something else",
            "the medium or its driver loses writes: replace it, and destroy the old one, on which the key material may still be",
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
        # What could not be read when the header was parsed is expected to be as unreadable now; writing may mend it.
        read = TolerantRead(self._region.reread)
        for extent, expected in self._expected:
            if not hmac.compare_digest(read(extent.offset, extent.size), bytes(expected)):
                if read.fault is not None:
                    raise read.fault
                raise HeaderChanged(
                    "the header on disk is no longer the one that was read",
                    why="another program changed it in spite of the locks that were held, and writing over it would undo what it did",
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
