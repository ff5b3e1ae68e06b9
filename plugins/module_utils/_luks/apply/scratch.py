# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A LUKS2 header of its own in memory, which protects nothing: a program can make its token there, without a real key.

A token and what it seals are not bound to the header in which they were made, so that both can move to another one.
"""

from __future__ import annotations

import base64
import os
import uuid

from ..crypto import kdf
from ..crypto.memory import wipe
from ..header import model
from ..header.luks2 import edit, fresh, view
from ..unlock import key_material

SECRET = b"it protects nothing"
_CIPHER = "aes-xts-plain64"
_HEADER_SIZE, _KEY_SIZE, _KEYSLOTS_SIZE = 1 << 14, 32, 1 << 20
_SIZE = 2 << 20


def scratch_header() -> int:
    """The descriptor of a file in memory with a header that :data:`SECRET` opens; the caller closes it.

    Raises Unsupported if this host lacks AES.
    """
    key, salt = os.urandom(_KEY_SIZE), os.urandom(32)
    digest = {
        "type": "pbkdf2",
        "keyslots": [],
        "segments": ["0"],
        "hash": "sha256",
        "iterations": 1000,
        "salt": base64.b64encode(salt).decode(),
        "digest": base64.b64encode(kdf.pbkdf2("sha256", key, salt, 1000, 32)).decode(),
    }
    tree = fresh.metadata_of(_CIPHER, digest, _HEADER_SIZE, _KEYSLOTS_SIZE)
    tree["segments"]["0"]["offset"] = str(_SIZE)
    slot = model.Keyslot(
        number=0,
        kind="luks2",
        key_size=_KEY_SIZE,
        kdf=model.Pbkdf2("sha256", 1000, os.urandom(32)),
        af_hash="sha256",
        af_stripes=view.STRIPES,
        area=model.Extent(2 * _HEADER_SIZE, view.area_size(_KEY_SIZE)),
        encryption=_CIPHER,
        area_key_size=_KEY_SIZE,
    )
    edit.put_keyslot(tree, slot)
    derived = kdf.derive(slot.kdf, SECRET, slot.area_key_size, budget=kdf.Budget())
    material = key_material.seal(slot, derived, key)
    wipe(derived)
    file = os.memfd_create("scratch", os.MFD_CLOEXEC)
    os.ftruncate(file, _SIZE + (1 << 20))
    for copy in fresh.copies(_HEADER_SIZE, tree, str(uuid.uuid4()).encode()):
        os.pwrite(file, copy.block, copy.offset)
    os.pwrite(file, material, slot.area.offset)
    return file
