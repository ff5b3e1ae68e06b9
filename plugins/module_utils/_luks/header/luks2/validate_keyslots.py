# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The rules for each type of keyslot in LUKS2 metadata; unknown types pass. See :mod:`.validate_metadata`."""

from __future__ import annotations

import collections
import re
import typing as t

from ..model import SECTOR
from . import members as luks2_members
from . import validate_segments
from .metadata import Tree

KDF_MEMBERS = {
    "pbkdf2": ("type", "salt", "hash", "iterations"),
    "argon2i": ("type", "salt", "time", "memory", "cpus"),
    "argon2id": ("type", "salt", "time", "memory", "cpus"),
}
# Possible requirements of a reencryption, future versions included.
REENCRYPT_CANDIDATE = re.compile(r"online-reencrypt(-v[0-9]+)?")


def means_reencryption(flag: str) -> bool:
    """Whether the requirement ``flag`` says that a reencryption is under way, in this or an older form."""
    return flag == "offline-reencrypt" or REENCRYPT_CANDIDATE.fullmatch(flag) is not None


_KDF_COSTS = ("iterations", "time", "memory", "cpus")


def check_keyslots(tree: Tree, mandatory: t.Sequence[str]) -> None:
    """``mandatory``: the requirements. Raises MalformedHeader if a keyslot breaks a rule."""
    reencrypting = 0
    listed = collections.Counter(number for digest in tree["digests"].values() for number in set(digest["keyslots"]))
    for number, slot in tree["keyslots"].items():
        where = f"keyslot {number}"
        if slot["type"] == "luks2":
            _luks2_keyslot(slot, where)
            if listed[number] != 1:
                raise luks2_members.malformed(f"{where} is not in exactly one digest")
        elif slot["type"] == "reencrypt":
            reencrypting += 1
            _reencrypt_keyslot(slot, where)
    if any(flag in validate_segments.ONLINE_REENCRYPT for flag in mandatory) and not reencrypting:
        raise luks2_members.malformed("it is being reencrypted, but has no keyslot of type reencrypt")
    if reencrypting and not any(REENCRYPT_CANDIDATE.fullmatch(flag) for flag in mandatory):
        raise luks2_members.malformed("it has a keyslot of type reencrypt, but no requirement for it")
    if reencrypting > 1:
        raise luks2_members.malformed("it has several keyslots of type reencrypt")


def _luks2_keyslot(slot: Tree, where: str) -> None:
    kdf = luks2_members.member(slot, "kdf", dict, where)
    af = luks2_members.member(slot, "af", dict, where)
    kind = luks2_members.text(kdf, "type", f"the kdf of {where}")
    if kind in KDF_MEMBERS:
        _kdf(kdf, KDF_MEMBERS[kind], f"the kdf of {where}")
    if luks2_members.text(af, "type", f"the anti-forensic part of {where}") != "luks1":
        raise luks2_members.malformed(f"the anti-forensic part of {where} is of an unknown type")
    luks2_members.text(af, "hash", f"the anti-forensic part of {where}")
    luks2_members.member(af, "stripes", int, f"the anti-forensic part of {where}")
    if slot["area"]["type"] != "raw":
        raise luks2_members.malformed(f"the area of {where} is not raw")
    luks2_members.text(slot["area"], "encryption", f"the area of {where}")
    if not 0 <= luks2_members.member(slot["area"], "key_size", int, f"the area of {where}") <= luks2_members.UINT32:
        raise luks2_members.stricter(f"the key size of the area of {where} is out of range")


def _kdf(kdf: Tree, members: t.Sequence[str], where: str) -> None:
    if set(kdf) != set(members):
        raise luks2_members.malformed(f"{where} does not have exactly the members {', '.join(members)}")
    for name in members:
        if name in _KDF_COSTS:
            luks2_members.member(kdf, name, int, where)
            luks2_members.cost(kdf, name, where)
        else:
            luks2_members.text(kdf, name, where)
    if len(luks2_members.decoded(kdf["salt"], f"the salt of {where}")) != luks2_members.SALT_SIZE:
        raise luks2_members.stricter(f"the salt of {where} does not have {luks2_members.SALT_SIZE} bytes")


def _reencrypt_keyslot(slot: Tree, where: str) -> None:
    area = slot["area"]
    if slot["key_size"] != 1:
        raise luks2_members.malformed(f"{where} of type reencrypt has key size {slot['key_size']}")
    mode, direction = luks2_members.text(slot, "mode", where), luks2_members.text(slot, "direction", where)
    if mode not in ("reencrypt", "encrypt", "decrypt") or direction not in ("forward", "backward"):
        raise luks2_members.malformed(f"{where} of type reencrypt has an unknown mode or direction")
    if area["type"] in ("checksum", "datashift-checksum"):
        luks2_members.text(area, "hash", where)
        sector_size = luks2_members.uint32(area, "sector_size", where)
        if sector_size < SECTOR or sector_size & (sector_size - 1):
            raise luks2_members.malformed(f"{where} has checksum blocks of {sector_size} bytes")
    elif area["type"].startswith("datashift"):
        shift = luks2_members.uint64(area, "shift_size", where)
        if not shift or shift % SECTOR:
            raise luks2_members.malformed(f"{where} shifts data by {shift} bytes")
