# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What makes every write to a readable LUKS2 header unsafe (obstacles), and what is merely unusual (warnings)."""

from __future__ import annotations

import re
import typing as t

from ...errors import Refused
from ..model import Keyslot, Segment
from . import members, recovery, validate_keyslots, validate_segments, view
from .binary import MAX_SEQID
from .metadata import RESTORE, Tree

SLOT_COUNT = 32
TOKEN_COUNT = 32
INTENT_TYPE = "luksmith.luks-intent"

_NULL_CIPHER = re.compile(r"cipher_null|(^|[^a-z0-9])null($|[^a-z0-9])")
_IV = re.compile(r"-[a-z0-9]+-null$|\)-null$")  # an IV of zeros, which encrypts
_FEATURES = {
    "opal": "keeps its key in a self-encrypting drive",
    "opal-v2": "keeps its key in a self-encrypting drive",
}
_FINISH = (
    "Finish it with 'cryptsetup reencrypt --resume-only DEVICE', or look with 'cryptsetup repair DEVICE' why it cannot "
    "go on"
)
# About the data only: cryptsetup 2.8, which wrote it, changes keyslots beside it as ever.
_ABOUT_DATA = ("inline-hw-tags",)


def is_null_cipher(encryption: str) -> bool:
    """Whether the cipher stores data in plain text ("cipher_null-ecb", "ecb(null)", ...)."""
    name = encryption.lower()
    return bool(_NULL_CIPHER.search(_IV.sub("", name)))


def obstacle(
    tree: Tree, copies: recovery.Copies, keyslots: t.Mapping[int, Keyslot], segments: t.Sequence[Segment], problem: str
) -> t.Optional[Refused]:
    """The first reason why no write is safe, or None. ``problem``: what is wrong with our own journal entry, or ""."""
    for found in (
        _requirement(tree),
        _segment_obstacle(tree, segments),
        _keyslot_obstacle(keyslots),
        _key_size_obstacle(tree),
        _number_obstacle(tree),
        _copy_obstacle(copies),
    ):
        if found:
            return found
    if problem:
        return Refused(
            f"the journal entry of an interrupted run in the LUKS2 header cannot be used: {problem}",
            why="following it could overwrite data that is still needed",
            remedy="If a newer version of this collection wrote it, finish with that version; else remove it: "
            f"'cryptsetup token remove --token-id {_journal(tree)} DEVICE'",
        )
    return None


def _journal(tree: Tree) -> str:
    """The number of the token with our journal entry."""
    return next((name for name, token in tree["tokens"].items() if token["type"] == INTENT_TYPE), "N")


def requirements(tree: Tree) -> t.Tuple[str, ...]:
    """The mandatory requirements of the header."""
    return tuple(tree["config"].get("requirements", {}).get("mandatory", ()))


def warnings(
    tree: Tree, copies: recovery.Copies, keyslots: t.Mapping[int, Keyslot], segments: t.Sequence[Segment]
) -> t.List[str]:
    """Sentences about what is unusual, but neither invalid nor an obstacle."""
    found = list(copies.notes)
    if copies.good.checksum_alg != "sha256":
        found.append(
            f"The LUKS2 header checksum uses {copies.good.checksum_alg}; cryptsetup itself writes only sha256."
        )
    for number, slot in keyslots.items():
        found += _slot_warnings(number, slot, tree["keyslots"][str(number)])
    for name, digest in tree["digests"].items():
        if digest["type"] != "pbkdf2":
            found.append(f"Digest {name} is of unknown type {digest['type']!r}: its keyslots cannot be opened.")
        if len(set(digest["keyslots"])) != len(digest["keyslots"]):
            found.append(f"Digest {name} lists a keyslot twice.")
    for segment in segments:
        if segment.type != "crypt" and not segment.type.startswith("hw-opal"):
            found.append(f"Segment {segment.number} is of unknown type {segment.type!r}.")
        elif segment.sector_size not in (512, 1024, 2048, 4096):
            found.append(
                f"Segment {segment.number} has a sector size of {segment.sector_size} bytes, which the kernel does "
                "not support."
            )
    return found


def _slot_warnings(number: int, slot: Keyslot, raw: Tree) -> t.List[str]:
    found = []
    if slot.area.offset % view.AREA_UNIT:
        found.append(f"The area of keyslot {number} at {slot.area.offset} is not aligned to {view.AREA_UNIT} bytes.")
    if slot.kind != "luks2":
        found.append(f"Keyslot {number} is of type {slot.kind!r}: it is reported, but never opened.")
        return found
    if raw["kdf"]["type"] not in validate_keyslots.KDF_MEMBERS:
        found.append(
            f"Keyslot {number} uses the unknown key derivation {raw['kdf']['type']!r}: it can be reported and erased, "
            "but not opened. cryptsetup stops at it, unless its library has it, before it tries the keyslots behind, "
            "which then open only by their numbers (--key-slot)."
        )
    if raw["af"]["stripes"] != view.STRIPES:
        found.append(
            f"Keyslot {number} claims {raw['af']['stripes']} stripes; cryptsetup ignores that and uses {view.STRIPES}."
        )
    if "priority" in raw and (not members.is_a(raw["priority"], int) or raw["priority"] not in view.PRIORITIES):
        found.append(f"Keyslot {number} has an unknown priority, which counts as 'ignore', as in cryptsetup.")
    if not slot.key_size or not slot.area_key_size:
        found.append(f"Keyslot {number} has a key of 0 bytes: no secret opens it.")
    return found


def _refused(what: str, why: str, remedy: str) -> Refused:
    return Refused(what, why=why, remedy=remedy)


def _requirement(tree: Tree) -> t.Optional[Refused]:
    for flag in requirements(tree):
        if flag in _ABOUT_DATA:
            continue
        if validate_keyslots.means_reencryption(flag):
            return _refused(
                f"the volume is being reencrypted (requirement {flag!r})",
                "its keyslots and segments belong to the program that reencrypts it",
                _FINISH,
            )
        if flag in _FEATURES:
            return _refused(
                f"the volume {_FEATURES[flag]} (requirement {flag!r})",
                "this collection can read such a header, but does not know how a change of keyslots affects the drive",
                f"Change its keyslots with cryptsetup {'2.9' if flag == 'opal-v2' else '2.8'} or later",
            )
        return _refused(
            f"the header requires an unknown feature (requirement {flag!r})",
            "a program that does not support it must not write to the header",
            "Use a release of cryptsetup that supports it",
        )
    return None


def _segment_obstacle(tree: Tree, segments: t.Sequence[Segment]) -> t.Optional[Refused]:
    for segment in segments:
        if segment.type.startswith("hw-opal"):
            return _refused(
                f"segment {segment.number} is a range of a self-encrypting drive ({segment.type})",
                "this collection can read such a header, but does not know how a change of keyslots affects the drive",
                "Change its keyslots with cryptsetup 2.8 or later",
            )
        if validate_segments.is_backup(tree["segments"][str(segment.number)]) or "in-reencryption" in segment.flags:
            return _refused(
                f"segment {segment.number} belongs to a reencryption",
                "its keyslots and segments belong to the program that reencrypts it",
                _FINISH,
            )
        if is_null_cipher(segment.encryption):
            return _refused(
                f"segment {segment.number} is not encrypted at all (cipher {segment.encryption!r})",
                "a change of keyslots would protect nothing, and an attacker may have planted this header",
                f"Find out who wrote this header; if it is not yours: {RESTORE}",
            )
    first = view.data_digests(tree)
    if len(first) > 1:
        return _refused(
            f"segment 0 is covered by several digests ({', '.join(first)})",
            "it is ambiguous which volume key is the right one",
            f"{RESTORE}; cryptsetup never writes such a header",
        )
    others = [name for name, digest in tree["digests"].items() if digest["segments"] and name not in first]
    if others:
        return _refused(
            f"segments of the volume have different volume keys (digest {', '.join(others)} does not cover segment 0)",
            "a keyslot would open only a part of the data, and cryptsetup opens only those of segment 0",
            f"{RESTORE}; cryptsetup never writes such a header",
        )
    return None


def _key_size_obstacle(tree: Tree) -> t.Optional[Refused]:
    """All keyslots of a digest hold one key and must agree on its size, which a new keyslot takes from them."""
    for digest in view.data_digests(tree):
        sizes = {
            number: tree["keyslots"][number]["key_size"]
            for number in tree["digests"][digest]["keyslots"]
            if tree["keyslots"][number]["type"] == "luks2"
        }
        described = {size: f"{size} bytes in keyslot {number}" for number, size in reversed(list(sizes.items()))}
        if len(described) > 1:
            return _refused(
                "the keyslots of the volume contain keys of different sizes "
                f"({', '.join(reversed(list(described.values())))})",
                "they must hold the same key, and a new keyslot of the wrong size would open nothing",
                f"{RESTORE}; cryptsetup never writes such a header",
            )
    return None


def _keyslot_obstacle(keyslots: t.Mapping[int, Keyslot]) -> t.Optional[Refused]:
    for number, slot in keyslots.items():
        if slot.kind == "reencrypt":
            return _refused(
                f"keyslot {number} belongs to a reencryption",
                "its keyslots and segments belong to the program that reencrypts it",
                _FINISH,
            )
        if slot.kind != "luks2":
            continue
        needed = slot.key_size * view.STRIPES
        if needed > slot.area.size:
            return _refused(
                f"the area of keyslot {number} has {slot.area.size} bytes, but its key material needs {needed}",
                "the key material extends into space that seems free, where a new keyslot would overwrite it",
                f"While another keyslot opens the volume, remove this one: 'cryptsetup luksKillSlot DEVICE {number}'. "
                f"Or: {RESTORE}",
            )
        if is_null_cipher(slot.encryption):
            return _refused(
                f"keyslot {number} stores its key unencrypted (cipher {slot.encryption!r})",
                "anyone can put a volume key of their choice there, and an attacker may have planted this header",
                "Find out who wrote it; if it is not wanted, and another keyslot opens the volume, remove it: "
                f"'cryptsetup luksKillSlot DEVICE {number}'",
            )
    return None


def _number_obstacle(tree: Tree) -> t.Optional[Refused]:
    for section, limit in (("tokens", TOKEN_COUNT), ("keyslots", SLOT_COUNT)):
        for name in tree[section]:
            if int(name) >= limit:
                return _refused(
                    f"the header has {section[:-1]} {name}, but the highest number is {limit - 1}",
                    "cryptsetup itself fails or crashes on such a header",
                    f"{RESTORE}; no command can name what has such a number",
                )
    return None


def _copy_obstacle(copies: recovery.Copies) -> t.Optional[Refused]:
    if copies.foreign:
        return _refused(
            f"the two copies of the LUKS2 header differ, and the device also contains {copies.foreign}",
            "something else may own this device, and making the copies equal could destroy it",
            "Find out what the device is; if it is the LUKS volume, run 'cryptsetup repair' on it first",
        )
    if copies.good.seqid >= MAX_SEQID:
        return _refused(
            "the sequence id of the LUKS2 header is at its maximum",
            "a newer header cannot be written",
            "Back up the data and format the volume anew",
        )
    return None
