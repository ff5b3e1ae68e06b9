# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The rules for the ``segments`` of LUKS2 metadata, those of a reencryption included. See :mod:`.luks2_validate`."""

from __future__ import annotations

import typing as t

from . import luks2_members
from .luks2_json import Tree
from .model import SECTOR

DYNAMIC = "dynamic"
ONLINE_REENCRYPT = ("online-reencrypt", "online-reencrypt-v2", "online-reencrypt-v3")

_BACKUP_PREFIX = "backup-"


def is_backup(segment: t.Any) -> bool:
    return any(isinstance(flag, str) and flag.startswith(_BACKUP_PREFIX) for flag in segment.get("flags", ()))


def check_segments(tree: Tree, mandatory: t.Sequence[str]) -> None:
    segments = tree["segments"]
    if not segments:
        raise luks2_members.malformed("it has no segment")
    covered = {number for digest in tree["digests"].values() for number in digest["segments"]}
    for number, segment in segments.items():
        luks2_members.number_of(number, f"segment {number!r}")
        _segment(segment, f"segment {number}", number in covered)
    if set(segments) != {str(position) for position in range(len(segments))}:
        raise luks2_members.malformed("the numbers of the segments have gaps")
    ordered = [segments[str(position)] for position in range(len(segments))]
    regular = [segment for segment in ordered if not is_backup(segment)]
    if not regular:
        raise luks2_members.malformed("it has backup segments only")
    if ordered[: len(regular)] != regular:
        raise luks2_members.malformed("a backup segment stands before a regular one")
    _segment_ranges(regular)
    if any(flag in ONLINE_REENCRYPT for flag in mandatory):
        _reencrypted_segments(regular, ordered[len(regular) :])


def _segment(segment: t.Any, where: str, has_digest: bool) -> None:
    kind = luks2_members.text(segment, "type", where)
    offset = luks2_members.uint64(segment, "offset", where)
    dynamic = luks2_members.text(segment, "size", where) == DYNAMIC
    size = 0 if dynamic else luks2_members.uint64(segment, "size", where)
    if not dynamic and not size:
        raise luks2_members.malformed(f"{where} has size 0")
    if offset % SECTOR or size % SECTOR:
        raise luks2_members.malformed(f"{where} is not aligned to {SECTOR} bytes")
    if "flags" in segment:
        luks2_members.strings(segment, "flags", where)
    if kind == "crypt":
        _crypt_segment(segment, where, size, has_digest)
    elif kind.startswith("hw-opal"):
        with luks2_members.refused_since("2.7.0"):
            _opal_segment(segment, f"OPAL {where}", size, has_digest)


def _opal_segment(segment: t.Any, where: str, size: int, has_digest: bool) -> None:
    if segment["type"] == "hw-opal-crypt":
        _crypt_segment(segment, where, size, has_digest)
    if segment["size"] == DYNAMIC:
        raise luks2_members.malformed(f"{where} has no fixed size")
    luks2_members.member(segment, "opal_segment_number", int, where)
    luks2_members.member(segment, "opal_key_size", int, where)
    if size > luks2_members.uint64(segment, "opal_segment_size", where):
        raise luks2_members.malformed(f"{where} is larger than its range of the drive")


def _crypt_segment(segment: t.Any, where: str, size: int, has_digest: bool) -> None:
    luks2_members.uint64(segment, "iv_tweak", where)
    luks2_members.text(segment, "encryption", where)
    sector_size = luks2_members.uint32(segment, "sector_size", where)
    if not sector_size or sector_size % SECTOR:
        raise luks2_members.malformed(f"{where} has sector size {sector_size}")
    if size % sector_size:
        raise luks2_members.malformed(f"the size of {where} is no multiple of its sector size")
    if "integrity" in segment:
        integrity = luks2_members.member(segment, "integrity", dict, where)
        for name in ("type", "journal_encryption", "journal_integrity"):
            luks2_members.text(integrity, name, f"the integrity of {where}")
    if not has_digest:
        raise luks2_members.malformed(f"no digest covers {where}")


def _segment_ranges(regular: t.Sequence[t.Any]) -> None:
    ranges = []
    for position, segment in enumerate(regular):
        last = position == len(regular) - 1
        if segment["size"] == DYNAMIC and not last:
            raise luks2_members.malformed("a segment with dynamic size is not the last one")
        start = int(segment["offset"])
        end = luks2_members.UINT64 if segment["size"] == DYNAMIC else start + int(segment["size"])
        if end > luks2_members.UINT64 and len(regular) > 1:
            raise luks2_members.malformed("a segment ends behind 2^64 bytes")
        ranges.append((start, end))
    luks2_members.no_overlap(ranges, "segments")


def _reencrypted_segments(regular: t.Sequence[t.Any], backups: t.Sequence[t.Any]) -> None:
    found = {}
    for name in ("backup-final", "backup-previous"):
        flagged = [segment for segment in backups if name in segment["flags"]]
        if not flagged:
            raise luks2_members.malformed(f"it is being reencrypted, but has no segment {name}")
        found[name] = _likeness(flagged[-1])
    for segment in regular:
        allowed = {found["backup-final"]} if "in-reencryption" in segment.get("flags", ()) else set(found.values())
        if _likeness(segment) not in allowed:
            raise luks2_members.malformed("it is being reencrypted, and a segment looks neither like before nor like after")


def _likeness(segment: t.Any) -> t.Tuple[t.Any, ...]:
    return (segment["type"], segment["encryption"], segment["sector_size"]) if segment["type"] == "crypt" else (segment["type"],)
