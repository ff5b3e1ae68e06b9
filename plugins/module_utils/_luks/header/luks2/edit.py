# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Edits of LUKS2 metadata, in the form and member order that cryptsetup 2.6.1 writes."""

from __future__ import annotations

import base64
import re
import typing as t

from ...errors import Refused
from .. import model
from . import members, tokens, view
from .metadata import Tree

FALLBACK_ENCRYPTION = "aes-xts-plain64"
FALLBACK_KEY_SIZE = 64

# What cryptsetup itself can store: the bounds of its --pbkdf-memory (KiB) and --pbkdf-parallel.
MAX_MEMORY = 4 << 20
MAX_PARALLEL = 4

# The ciphers that a library may have for keyslots. Not capi:, wrapped keys, hctr2, gcm, adiantum, null.
CIPHERS = ("aes", "serpent", "twofish", "camellia", "aria", "sm4", "seed", "cast5", "des3_ede")
_MODES = r"-(xts|lrw|cbc|ctr|ecb)(-.*)?"
_AES = re.compile("aes" + _MODES)
_USABLE = re.compile(f"({'|'.join(CIPHERS)})" + _MODES)


def refusal_to_hold(kdf: model.Kdf, priority: str) -> t.Optional[str]:
    """Why LUKS2 as cryptsetup writes it cannot hold these, or None. Ignores the salt, which may not exist yet."""
    if priority not in view.PRIORITIES.values():
        return f"LUKS2 keyslots support the priorities ignore, normal and prefer, not {priority!r}"
    if isinstance(kdf, model.Pbkdf2):
        if not 1 <= kdf.iterations <= members.UINT32:
            return f"PBKDF2 iterations must be from 1 to {members.UINT32}, not {kdf.iterations}"
        return None
    if isinstance(kdf, model.Argon2) and kdf.type in ("argon2i", "argon2id"):
        if not 1 <= kdf.time <= members.UINT32:
            return f"Argon2 passes must be from 1 to {members.UINT32}, not {kdf.time}"
        if not 1 <= kdf.parallel <= MAX_PARALLEL:
            return f"cryptsetup supports 1 to {MAX_PARALLEL} parallel Argon2 lanes, not {kdf.parallel}"
        if not 8 * kdf.parallel <= kdf.memory <= MAX_MEMORY:
            return (
                f"Argon2 memory for {kdf.parallel} lanes must be from {8 * kdf.parallel} to {MAX_MEMORY} KiB, not "
                f"{kdf.memory}"
            )
        return None
    return f"LUKS2 supports pbkdf2, argon2i and argon2id, not {kdf.type!r}"


def area_encryption(tree: Tree, number: int, key_size: int) -> t.Tuple[str, int]:
    """Cipher and key size in bytes for the area of keyslot ``number``.

    It is its own, else that of an AES payload, as cryptsetup has it. What unlocks a payload in another cipher leaves
    the data to the kernel, but has to open keyslots itself: a cipher that opens the volume today does, AES first; else
    AES-XTS with 64.
    """
    own = _area(tree, str(number))
    if own is not None:
        return own
    segment = tree["segments"]["0"]
    encryption = segment.get("encryption")
    if key_size and isinstance(encryption, str) and "integrity" not in segment and _AES.fullmatch(encryption):
        return encryption, key_size
    names = [name for digest in view.data_digests(tree) for name in tree["digests"][digest]["keyslots"]]
    in_use = [area for area in (_area(tree, name) for name in sorted(names, key=int)) if area is not None]
    fallback = (FALLBACK_ENCRYPTION, FALLBACK_KEY_SIZE)
    return next((area for area in in_use if _AES.fullmatch(area[0])), in_use[0] if in_use else fallback)


def _area(tree: Tree, name: str) -> t.Optional[t.Tuple[str, int]]:
    """Cipher and key size of the area of a keyslot for a secret, or None if another one could not be made so."""
    slot = tree["keyslots"].get(name)
    if slot is None or slot["type"] != "luks2":
        return None
    encryption, size = slot["area"]["encryption"], slot["area"]["key_size"]
    return (encryption, size) if size and _USABLE.fullmatch(encryption) else None


def put_keyslot(tree: Tree, slot: model.Keyslot) -> None:
    """Make ``slot`` active for the volume key of segment 0; one that is not bound stays with its digests.

    An active keyslot keeps unknown members and token references.

    Raises Refused if the keyslot is of another type, not exactly one digest covers segment 0, the key derivation is
    unknown, or its salt does not have 32 bytes.
    """
    name = str(slot.number)
    digest = _data_digest(tree) if slot.bound else ""
    kdf = _kdf(slot.kdf)
    present = tree["keyslots"].get(name)
    if present is not None and present["type"] != "luks2":
        raise Refused(
            f"keyslot {name} is of type {present['type']!r}",
            why="it is not a keyslot for a secret",
            remedy="Use another keyslot",
        )
    new = {
        "type": "luks2",
        "key_size": slot.key_size,
        "af": {"type": "luks1", "stripes": slot.af_stripes, "hash": slot.af_hash},
        "area": {
            "type": "raw",
            "offset": str(slot.area.offset),
            "size": str(slot.area.size),
            "encryption": slot.encryption,
            "key_size": slot.area_key_size,
        },
        "kdf": kdf,
    }
    if present is None:
        tree["keyslots"][name] = new
    else:
        present.update(new)
    set_priority(tree, slot.number, slot.priority)
    if slot.bound and name not in tree["digests"][digest]["keyslots"]:
        _leave_digests(tree, name)
        tree["digests"][digest]["keyslots"].append(name)


def drop_keyslot(tree: Tree, number: int) -> None:
    """Remove the keyslot, its references, and digests that then cover nothing, as cryptsetup does on write."""
    _leave_digests(tree, str(number))
    tokens.drop_keyslot(tree, number)
    del tree["keyslots"][str(number)]


def set_priority(tree: Tree, number: int, priority: str) -> None:
    """Set the priority of an active keyslot. Normal is stored as no member, as cryptsetup does."""
    slot = tree["keyslots"][str(number)]
    if priority == model.PRIORITY_NORMAL:
        slot.pop("priority", None)
    else:
        slot["priority"] = next(value for value, word in view.PRIORITIES.items() if word == priority)


def _leave_digests(tree: Tree, name: str) -> None:
    for digest_name, digest in list(tree["digests"].items()):
        if name in digest["keyslots"]:
            digest["keyslots"] = [slot for slot in digest["keyslots"] if slot != name]
            if not digest["keyslots"] and not digest["segments"]:
                del tree["digests"][digest_name]


def _data_digest(tree: Tree) -> str:
    digests = view.data_digests(tree)
    if len(digests) != 1:
        raise Refused(
            f"{len(digests)} digests cover segment 0 of the volume",
            why="a keyslot must belong to the volume key of the data",
            remedy="Inspect the header with 'cryptsetup luksDump'",
        )
    return digests[0]


def _kdf(kdf: model.Kdf) -> Tree:
    # refusal_to_hold has refused numbers out of bounds before.
    if isinstance(kdf, model.UnknownKdf):
        raise Refused(f"the key derivation {kdf.type!r} is not supported")
    if len(kdf.salt) != members.SALT_SIZE:
        raise Refused(
            f"the salt of a new keyslot has {len(kdf.salt)} bytes", why=f"LUKS2 salts have {members.SALT_SIZE} bytes"
        )
    salt = base64.b64encode(kdf.salt).decode("ascii")
    if isinstance(kdf, model.Pbkdf2):
        return {"type": kdf.type, "hash": kdf.hash, "iterations": kdf.iterations, "salt": salt}
    return {"type": kdf.type, "time": kdf.time, "memory": kdf.memory, "cpus": kdf.parallel, "salt": salt}
