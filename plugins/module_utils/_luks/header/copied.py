# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""How many bytes a copy of a header has: the header, the key material of all keyslots, and what luksmeta keeps."""

from __future__ import annotations

import typing as t

from .model import Header
from .reading import Read

if t.TYPE_CHECKING:  # imported by what parses a header of that format
    from .luks1.codec import Luks1Header

_PAGE = 4096


def backup_size(header: Header, read: Read, size: int) -> int:
    """Bytes of a backup of what ``read`` reads, at most ``size``: with what luksmeta keeps behind the keyslots.

    Raises StorageFault as ``read`` does.
    """
    luksmeta = t.cast("Luks1Header", header).luksmeta_extent(read) if header.format == "luks1" else None
    return min(image_size(header) if luksmeta is None else luksmeta.end, size)


def longest_backup(header: Header) -> int:
    """Bytes up to the data: what is longer has some of it, and is a volume."""
    return max([image_size(header), *(segment.offset for segment in header.segments)])


def image_size(header: Header) -> int:
    """Bytes of header and keyslots: to the end of the last area, in whole pages of 4096 bytes as in cryptsetup."""
    return -(-header.extent // _PAGE) * _PAGE
