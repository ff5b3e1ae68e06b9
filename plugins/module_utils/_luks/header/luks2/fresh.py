# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A LUKS2 header that nothing on a disk is the template of, in the form that cryptsetup writes."""

from __future__ import annotations

import os
import struct
import typing as t

from .. import model
from . import metadata
from .binary import BINARY_SIZE, MAGIC_PRIMARY, SALT_SIZE, Copy, build_copy

SEQID = 3  # cryptsetup has written three times when it has made a volume with one keyslot
# magic, version, header size, sequence id, label, checksum algorithm, salt, uuid, subsystem, header offset
_FIELDS = struct.Struct(">6sHQQ48s32s64s40s48sQ")


def metadata_of(cipher: str, digest: metadata.Tree, header_size: int, keyslots_size: int) -> metadata.Tree:
    """Metadata without keyslots and tokens; the data begins at byte 0 of another device."""
    return {
        "keyslots": {},
        "tokens": {},
        "segments": {
            "0": {
                "type": "crypt",
                "offset": "0",
                "size": "dynamic",
                "iv_tweak": "0",
                "encryption": cipher,
                "sector_size": model.SECTOR,
            }
        },
        "digests": {"0": digest},
        "config": {"json_size": str(header_size - BINARY_SIZE), "keyslots_size": str(keyslots_size)},
    }


def copies(header_size: int, tree: metadata.Tree, uuid: bytes, label: bytes = b"") -> t.Tuple[Copy, Copy]:
    """Both copies with ``tree``, which has to fit."""
    block = _FIELDS.pack(MAGIC_PRIMARY, 2, header_size, SEQID, label, b"sha256", bytes(SALT_SIZE), uuid, b"", 0)
    template = Copy(
        offset=0,
        block=block.ljust(BINARY_SIZE, b"\0"),
        hdr_size=header_size,
        seqid=SEQID,
        label=label,
        checksum_alg="sha256",
        salt=bytes(SALT_SIZE),
        uuid=uuid,
        subsystem=b"",
    )
    area = metadata.emit(tree).ljust(header_size - BINARY_SIZE, b"\0")
    primary, secondary = (
        build_copy(template, offset, SEQID, os.urandom(SALT_SIZE), area) for offset in (0, header_size)
    )
    return primary, secondary
