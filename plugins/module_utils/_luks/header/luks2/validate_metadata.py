# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The rules that LUKS2 metadata must obey to be read at all.

A violation of the rules of libcryptsetup 2.6.1 to 2.8.7 raises MalformedHeader: cryptsetup refuses the copy too and
reads the other one. A violation of a rule that cryptsetup does not check raises StricterThanCryptsetup. What can be
read, but makes a write unsafe, is in :mod:`.obstacles`; docs/luks2.md lists all three kinds.
"""

from __future__ import annotations

import typing as t

from . import binary, members, validate_keyslots, validate_segments
from .metadata import Tree

MAX_KEYSLOTS_SIZE = 128 << 20
ALIGNMENT = 4096


def repair(tree: Tree) -> t.List[str]:
    """Remove members of a previous type from ``kdf`` objects, as cryptsetup does on load. Returns the keyslots.

    Old cryptsetup releases left them. The next write stores the change.
    """
    concerned = []
    keyslots = tree.get("keyslots")
    for number, slot in keyslots.items() if isinstance(keyslots, dict) else ():
        kdf = slot.get("kdf") if isinstance(slot, dict) and slot.get("type") == "luks2" else None
        allowed = (
            validate_keyslots.KDF_MEMBERS.get(kdf["type"])
            if isinstance(kdf, dict) and isinstance(kdf.get("type"), str)
            else None
        )
        if isinstance(kdf, dict) and allowed:
            leftovers = [member for member in kdf if member not in allowed]
            for member in leftovers:
                del kdf[member]
            if leftovers:
                concerned.append(number)
    return concerned


def check(tree: Tree, hdr_size: int) -> None:
    """Raises MalformedHeader if ``tree`` is not valid metadata of a copy of ``hdr_size`` bytes."""
    config = members.member(tree, "config", dict, "the metadata")
    mandatory = _requirements(config)
    for section in ("tokens", "digests", "segments", "keyslots"):
        members.member(tree, section, dict, "the metadata")
    _tokens(tree)
    _digests(tree)
    validate_segments.check_segments(tree, mandatory)
    for number, slot in tree["keyslots"].items():
        members.number_of(number, f"keyslot {number!r}")
        where = f"keyslot {number}"
        members.text(slot, "type", where)
        members.uint32(slot, "key_size", where)
    _config(tree, config, hdr_size)
    _areas(tree, hdr_size)
    validate_keyslots.check_keyslots(tree, mandatory)


def _requirements(config: Tree) -> t.List[str]:
    if "requirements" not in config:
        return []
    requirements = members.member(config, "requirements", dict, "config")
    if "mandatory" not in requirements:
        return []
    mandatory = members.strings(requirements, "mandatory", "requirements")
    if sum(1 for flag in mandatory if validate_keyslots.REENCRYPT_CANDIDATE.fullmatch(flag)) > 1:
        raise members.malformed("it has several online reencryption requirements")
    return mandatory


def _tokens(tree: Tree) -> None:
    for number, token in tree["tokens"].items():
        members.number_of(number, f"token {number!r}")
        members.text(token, "type", f"token {number}")
        members.references(token, "keyslots", tree["keyslots"], f"token {number}")


def _digests(tree: Tree) -> None:
    for number, digest in tree["digests"].items():
        where = f"digest {number}"
        members.number_of(number, f"digest {number!r}")
        kind = members.text(digest, "type", where)
        members.references(digest, "keyslots", tree["keyslots"], where)
        members.references(digest, "segments", tree["segments"], where)
        if kind == "pbkdf2":
            _pbkdf2_digest(digest, where)


def _pbkdf2_digest(digest: Tree, where: str) -> None:
    for name in ("hash", "salt", "digest"):
        if not isinstance(digest.get(name), str) or not digest[name]:
            raise members.stricter(f"{where} has no {name!r}")
    members.cost(digest, "iterations", where)
    if len(members.decoded(digest["salt"], f"the salt of {where}")) != members.SALT_SIZE:
        raise members.stricter(f"the salt of {where} does not have {members.SALT_SIZE} bytes")
    # A converted LUKS1 header has 20 bytes; fewer would let a wrong key pass.
    if not 20 <= len(members.decoded(digest["digest"], f"the value of {where}")) <= 64:
        raise members.stricter(f"the value of {where} does not have 20 to 64 bytes")


def _config(tree: Tree, config: Tree, hdr_size: int) -> None:
    json_size = members.uint64(config, "json_size", "config")
    keyslots_size = members.uint64(config, "keyslots_size", "config")
    if json_size != hdr_size - binary.BINARY_SIZE or hdr_size not in binary.HEADER_SIZES:
        raise members.malformed(f"the JSON area of {json_size} bytes does not fit a header of {hdr_size}")
    if keyslots_size % ALIGNMENT or keyslots_size > MAX_KEYSLOTS_SIZE:
        raise members.malformed(f"the keyslots area has {keyslots_size} bytes")
    payload = min(
        int(segment["offset"]) for segment in tree["segments"].values() if not validate_segments.is_backup(segment)
    )
    if payload and 2 * hdr_size + keyslots_size > payload:
        raise members.malformed(f"the keyslots area overlaps the payload at {payload}")
    if "flags" in config:
        members.strings(config, "flags", "config")


def _areas(tree: Tree, hdr_size: int) -> None:
    end = 2 * hdr_size + int(tree["config"]["keyslots_size"])
    ranges = []
    for number, slot in tree["keyslots"].items():
        where = f"the area of keyslot {number}"
        area = members.member(slot, "area", dict, f"keyslot {number}")
        members.text(area, "type", where)
        offset, size = members.uint64(area, "offset", where), members.uint64(area, "size", where)
        if not size or offset < 2 * hdr_size or offset + size > end:
            raise members.malformed(
                f"{where} ({size} bytes at {offset}) is not inside the keyslots area ({2 * hdr_size} to {end})"
            )
        ranges.append((offset, offset + size))
    members.no_overlap(ranges, "keyslot areas")
