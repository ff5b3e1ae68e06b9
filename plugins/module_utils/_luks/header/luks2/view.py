# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Validated LUKS2 metadata as values of the model. The metadata stays authoritative; these are views."""

from __future__ import annotations

import typing as t

from .. import model
from . import members as luks2_members
from . import validate_keyslots, validate_segments
from .metadata import Tree

# cryptsetup always uses this number of stripes, whatever the header says.
STRIPES = 4000
AREA_UNIT = 4096
# Values of the member "priority" of a keyslot; normal if there is none.
PRIORITIES = {0: model.PRIORITY_IGNORE, 1: model.PRIORITY_NORMAL, 2: model.PRIORITY_PREFER}


def area_size(key_size: int) -> int:
    """Bytes of the area that cryptsetup allocates for a key of ``key_size`` bytes."""
    return -(-key_size * STRIPES // AREA_UNIT) * AREA_UNIT


def keyslots(tree: Tree) -> t.Dict[int, model.Keyslot]:
    """The keyslots by number, ascending."""
    members: t.Dict[str, t.List[t.Tuple[int, bool]]] = {name: [] for name in tree["keyslots"]}
    of_the_data = binding_digests(tree)
    for digest_name, digest in tree["digests"].items():
        for name in dict.fromkeys(digest["keyslots"]):
            members[name].append((int(digest_name), digest_name in of_the_data))
    return {
        number: _keyslot(tree, number, members[str(number)])
        for number in sorted(int(name) for name in tree["keyslots"])
    }


def digests(tree: Tree) -> t.Tuple[model.Digest, ...]:
    """The digests, by number."""
    return tuple(
        _digest(tree, number, tree["digests"][str(number)]) for number in sorted(int(name) for name in tree["digests"])
    )


def segments(tree: Tree) -> t.Tuple[model.Segment, ...]:
    """All segments, in order. Those that only describe data before or after a reencryption have a flag "backup-..."."""
    return tuple(_segment(number, tree["segments"][str(number)]) for number in range(len(tree["segments"])))


def data_digests(tree: Tree) -> t.List[str]:
    """Names of the digests that cover the first data segment; more than one makes the header ambiguous."""
    return [name for name, digest in tree["digests"].items() if "0" in digest["segments"]]


def binding_digests(tree: Tree) -> t.List[str]:
    """Names of the digests whose keyslots open the volume: the first that covers segment 0, as cryptsetup takes it.

    A reencryption has two keys, and segments for both; all their digests count then.
    """
    if any(validate_segments.is_backup(segment) for segment in tree["segments"].values()):
        return [name for name, digest in tree["digests"].items() if digest["segments"]]
    return data_digests(tree)[:1]


def volume_key_size(tree: Tree) -> int:
    """Bytes of the volume key: those of the first keyslot of the data's digest; 0 if it has none."""
    return next((_listed_size(tree, tree["digests"][name]) for name in data_digests(tree)), 0)


def _listed_size(tree: Tree, digest: Tree) -> int:
    return next((int(tree["keyslots"][number]["key_size"]) for number in digest["keyslots"]), 0)


def kdf_of(kdf: Tree) -> model.Kdf:
    """The key derivation that a ``kdf`` object describes. Raises StricterThanCryptsetup if its salt is not base64."""
    kind = kdf["type"]
    if kind not in validate_keyslots.KDF_MEMBERS:
        return model.UnknownKdf(type=kind)
    salt = luks2_members.decoded(kdf["salt"], "the salt")
    if kind == "pbkdf2":
        return model.Pbkdf2(hash=kdf["hash"], iterations=kdf["iterations"], salt=salt)
    return model.Argon2(type=kind, time=kdf["time"], memory=kdf["memory"], parallel=kdf["cpus"], salt=salt)


def _keyslot(tree: Tree, number: int, members: t.Sequence[t.Tuple[int, bool]]) -> model.Keyslot:
    """``members``: the digests that list the slot, each with whether it is one of :func:`binding_digests`."""
    slot = tree["keyslots"][str(number)]
    area = model.Extent(int(slot["area"]["offset"]), int(slot["area"]["size"]))
    priority: t.Any = slot.get("priority", 1)
    common = {
        "number": number,
        "kind": slot["type"],
        "key_size": slot["key_size"],
        "area": area,
        # cryptsetup skips a keyslot of unknown priority unless it is named, as for "ignore".
        "priority": PRIORITIES.get(priority, model.PRIORITY_IGNORE)
        if luks2_members.is_a(priority, int)
        else model.PRIORITY_IGNORE,
        "digests": tuple(sorted(name for name, _binds in members)),
        "bound": any(binds for _name, binds in members),
    }
    if slot["type"] != "luks2":
        return model.Keyslot(
            kdf=model.UnknownKdf(type=""), af_hash="", af_stripes=0, encryption="", area_key_size=0, **common
        )
    return model.Keyslot(
        kdf=kdf_of(slot["kdf"]),
        af_hash=slot["af"]["hash"],
        af_stripes=STRIPES,
        encryption=slot["area"]["encryption"],
        area_key_size=slot["area"]["key_size"],
        **common,
    )


def _digest(tree: Tree, number: int, digest: Tree) -> model.Digest:
    known = digest["type"] == "pbkdf2"
    return model.Digest(
        number=number,
        type=digest["type"],
        hash=digest["hash"] if known else "",
        iterations=digest["iterations"] if known else 0,
        salt=luks2_members.decoded(digest["salt"], "the salt") if known else b"",
        value=luks2_members.decoded(digest["digest"], "the value") if known else b"",
        keyslots=tuple(int(name) for name in digest["keyslots"]),
        segments=tuple(int(name) for name in digest["segments"]),
        key_size=_listed_size(tree, digest),
    )


def _segment(number: int, segment: Tree) -> model.Segment:
    encryption: t.Any = segment.get("encryption")
    sector_size: t.Any = segment.get("sector_size")
    return model.Segment(
        number=number,
        type=segment["type"],
        offset=int(segment["offset"]),
        size=None if segment["size"] == validate_segments.DYNAMIC else int(segment["size"]),
        encryption=encryption if isinstance(encryption, str) else "",
        sector_size=sector_size if luks2_members.is_a(sector_size, int) else model.SECTOR,
        flags=tuple(segment.get("flags", ())),
    )
