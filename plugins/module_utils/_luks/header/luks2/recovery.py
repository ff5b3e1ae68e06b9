# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Selects the LUKS2 header from its two copies. Reading never repairs.

The order is that of libcryptsetup 2.6.1, with one difference: a copy whose checksum matches and whose sequence id is
higher is never ignored because of its content. cryptsetup would use the older copy, which rolls the header back.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ...errors import LuksmithError, MalformedHeader, NotLuks, Refused
from .. import signatures
from ..reading import Read, TolerantRead
from . import binary, metadata, validate_metadata
from .binary import Copy

OK = "ok"
BAD = "bad"  # no magic, wrong checksum or wrong offset
INVALID = "invalid"  # the checksum matches, but the content breaks the format
STALE = "stale"  # intact, with a lower sequence id
DIFFERS = "differs"  # intact, with the same sequence id, but other content

_REMEDY = (
    "Inspect both copies with 'cryptsetup luksDump --debug' on a copy of the device, or restore a header backup that "
    f"you trust: {metadata.REPLACE}"
)


@dataclasses.dataclass(frozen=True)
class Copies:
    """Both copies as they are on the disk, and the one that was selected.

    good:    the selected copy; salts: those that the next write puts into primary and secondary.
    primary, secondary: the bytes at both places, whatever they are.
    foreign: the signature of another format on the device; looked for only if a copy needs repair.
    """

    good: Copy
    primary: bytes
    secondary: bytes
    salts: t.Tuple[bytes, bytes]
    health: t.Mapping[str, str]
    notes: t.Tuple[str, ...] = ()
    foreign: t.Optional[str] = None

    @property
    def healthy(self) -> bool:
        """Whether no copy needs repair."""
        return all(word == OK for word in self.health.values())


@dataclasses.dataclass
class _Candidate:
    """What is at one place: a copy with its tree, a copy with a problem, or the reason why there is none."""

    name: str
    copy: t.Optional[Copy] = None
    tree: t.Optional[metadata.Tree] = None
    problem: t.Optional[MalformedHeader] = None
    word: str = BAD
    reason: str = ""
    repaired: t.Sequence[str] = ()


def choose(read: Read, size: int) -> t.Tuple[Copies, metadata.Tree]:
    """The copies and the validated tree of the selected one.

    Raises NotLuks or MalformedHeader if no copy is usable, Refused if the header needs repair and the device also has
    the signature of another format (as cryptsetup does), Unsupported if Python lacks the hash of the checksum.
    """
    _check_version(read, size)
    primary = _read_candidate(read, size, 0, "primary")
    secondary = (
        _scan(read, size) if primary.copy is None else _read_candidate(read, size, primary.copy.hdr_size, "secondary")
    )
    good, other = _better(primary, secondary)
    if good.copy is None or good.tree is None:
        raise _unusable(read, size, primary, secondary)
    _judge(good.name, good.copy, other)
    _check_extent(good.tree, good.copy.hdr_size, size)
    copies = _collect(read, size, good.copy, primary, secondary)
    notes = [
        f"Keyslot {number} has leftover members of an earlier key derivation; the next write removes them."
        for number in good.repaired
    ]
    return dataclasses.replace(copies, notes=(*copies.notes, *notes)), good.tree


def committed(on_disk: Copies, primary: Copy, secondary: Copy) -> Copies:
    """The copies after both have been written."""
    good = primary if on_disk.good.offset == 0 else secondary
    return Copies(
        good=good,
        primary=primary.block,
        secondary=secondary.block,
        salts=on_disk.salts,
        health={"primary": OK, "secondary": OK},
    )


def _check_version(read: Read, size: int) -> None:
    start = read(0, 8) if size >= 8 else b""
    version = int.from_bytes(start[6:8], "big")
    if start.startswith(binary.MAGIC_PRIMARY) and version != 2:
        raise MalformedHeader(
            f"it begins with a LUKS header of version {version}, not 2",
            why="cryptsetup would ignore a secondary copy after it, too",
            remedy=_REMEDY,
        )


def _read_candidate(read: Read, size: int, offset: int, name: str) -> _Candidate:
    copy = binary.read_copy(read, size, offset)
    if isinstance(copy, binary.Copy) and isinstance(read, TolerantRead) and read.lacks(offset, copy.hdr_size):
        copy = "a part of it cannot be read"  # nothing but zeros was there, or the checksum would be wrong
    if isinstance(copy, str):
        return _Candidate(name, reason=copy)
    try:
        tree = metadata.parse_area(copy.json_area)
        repaired = validate_metadata.repair(tree)
        validate_metadata.check(tree, copy.hdr_size)
    except MalformedHeader as problem:
        return _Candidate(name, copy=copy, problem=problem, word=INVALID, reason=problem.found)
    return _Candidate(name, copy=copy, tree=tree, word=OK, repaired=repaired)


def _scan(read: Read, size: int) -> _Candidate:
    result = _Candidate("secondary", reason=binary.NO_MAGIC)
    for offset in binary.HEADER_SIZES:
        found = _read_candidate(read, size, offset, "secondary")
        if found.copy is not None:
            return found
        if found.reason not in (binary.NO_MAGIC, binary.BEYOND):
            result = found
    return result


def _better(primary: _Candidate, secondary: _Candidate) -> t.Tuple[_Candidate, _Candidate]:
    if primary.tree is None or primary.copy is None:
        return secondary, primary
    if secondary.tree is not None and secondary.copy is not None and secondary.copy.seqid > primary.copy.seqid:
        return secondary, primary
    return primary, secondary


def _judge(name: str, good: Copy, other: _Candidate) -> None:
    """Set the word of ``other``; raise if ignoring it could undo a change."""
    if other.copy is None:
        return
    if other.problem is not None:
        newer = other.copy.seqid > good.seqid
        if newer or (isinstance(other.problem, metadata.StricterThanCryptsetup) and other.copy.seqid == good.seqid):
            raise metadata.StricterThanCryptsetup(
                f"the {other.name} copy of the header has a valid checksum and sequence id {other.copy.seqid}, but "
                f"invalid content: {other.problem.found}",
                why=f"the {name} copy has sequence id {good.seqid}, and using it could undo a change",
                remedy=_REMEDY,
            )
        return
    if other.copy.seqid != good.seqid:
        other.word, other.reason = STALE, f"its sequence id {other.copy.seqid} is lower than {good.seqid}"
    elif not good.same_content(other.copy):
        other.word, other.reason = DIFFERS, "it has the same sequence id, but other content"


def _collect(read: Read, size: int, good: Copy, primary: _Candidate, secondary: _Candidate) -> Copies:
    blocks: t.List[bytes] = []
    salts: t.List[bytes] = []
    for found, offset in ((primary, 0), (secondary, good.hdr_size)):
        fits = found.copy is not None and found.copy.offset == offset and found.copy.hdr_size == good.hdr_size
        blocks.append(found.copy.block if found.copy is not None and fits else bytes(read(offset, good.hdr_size)))
        salts.append(found.copy.salt if found.copy is not None and found.word == OK else os.urandom(binary.SALT_SIZE))
    hurt = [found for found in (primary, secondary) if found.word != OK]
    what = signatures.signature(read, size) if hurt else None
    if what and any(found.word != DIFFERS for found in hurt):
        raise Refused(
            f"the {hurt[0].name} copy of the LUKS2 header is {hurt[0].word} ({hurt[0].reason}), and the device also "
            f"contains {what}",
            why="the LUKS header may be left over from an earlier use of this device, or be partly overwritten",
            remedy="Find out what the device is; if it is the LUKS volume, run 'cryptsetup repair' on it first",
        )
    notes = [f"The {found.name} copy of the LUKS2 header is {found.word}: {found.reason}." for found in hurt]
    if primary.copy is not None and secondary.copy is not None and primary.copy.salt == secondary.copy.salt:
        notes.append("Both copies of the LUKS2 header have the same salt, which cryptsetup never writes.")
    return Copies(
        good=good,
        primary=blocks[0],
        secondary=blocks[1],
        salts=(salts[0], salts[1]),
        health={"primary": primary.word, "secondary": secondary.word},
        notes=tuple(notes),
        foreign=what,
    )


def _check_extent(tree: metadata.Tree, hdr_size: int, size: int) -> None:
    end = 2 * hdr_size + int(tree["config"]["keyslots_size"])
    if end > size:
        raise MalformedHeader(
            f"the LUKS2 header and its keyslots need {end} bytes, but there are only {size}",
            why="keyslots are missing",
            remedy="Give the complete device or file, or restore a header backup",
        )


def _unusable(read: Read, size: int, primary: _Candidate, secondary: _Candidate) -> LuksmithError:
    for found in (primary, secondary):
        if found.problem is not None:
            return found.problem
    if primary.reason in (binary.NO_MAGIC, binary.BEYOND) and secondary.reason == binary.NO_MAGIC:
        what = signatures.describe(read, size) or "something unknown"
        return NotLuks(
            f"there is no LUKS2 header; it begins with {what}",
            remedy="Check the path; this collection never formats a device",
        )
    return MalformedHeader(
        f"no copy of the LUKS2 header is usable: as for the primary, {primary.reason}; as for the secondary, "
        f"{secondary.reason}",
        why="without an intact copy the keyslots cannot be located",
        remedy="Restore a header backup with luksmith.luks.header_backup (state: restored)",
    )
