# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Which other files a qcow2 image consists of. The names are as the image gives them; nothing is opened."""

from __future__ import annotations

import struct
import typing as t

from .magic import QCOW2
from .reading import Read

_BACKING_FORMAT = 0xE2792ACA
_DATA_FILE = 0x44415441
_LONGEST_NAME = 1023  # bytes, docs/interop/qcow2.txt
_FIRST_CLUSTER = 1 << 21  # bytes, at most
_V2_LENGTH = 72
_METHOD_NONE = 0


class References(t.NamedTuple):
    """``encrypted``: the image itself. ``backing_format``: "" where the image does not say it."""

    encrypted: bool
    backing: str = ""
    backing_format: str = ""
    data_file: str = ""


def references(read: Read, size: int) -> t.Optional[References]:
    """None if this is no qcow2 image, or one whose header cannot be read. Raises what ``read`` raises."""
    if size < _V2_LENGTH or read(0, len(QCOW2)) != QCOW2:
        return None
    head = read(0, min(size, _FIRST_CLUSTER))
    version, backing, length, bits = struct.unpack_from(">IQII", head, 4)
    if version not in (2, 3) or not 9 <= bits <= 21 or length > _LONGEST_NAME:
        return None
    head = head[: 1 << bits]
    begin = struct.unpack_from(">I", head, 100)[0] if version == 3 and len(head) > 104 else _V2_LENGTH
    texts = _extensions(head[: backing or len(head)], begin)
    return References(
        encrypted=struct.unpack_from(">I", head, 32)[0] != _METHOD_NONE,
        backing=_text(head[backing : backing + length]) if backing else "",
        backing_format=texts.get(_BACKING_FORMAT, ""),
        data_file=texts.get(_DATA_FILE, ""),
    )


def _extensions(head: bytes, offset: int) -> t.Dict[int, str]:
    found = {}
    while offset + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, offset)
        if kind == 0:
            break
        found[kind] = _text(head[offset + 8 : offset + 8 + min(length, _LONGEST_NAME)])
        offset += 8 + -(-length // 8) * 8
    return found


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
