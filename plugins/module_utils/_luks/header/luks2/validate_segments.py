# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The rules for the ``segments`` of LUKS2 metadata, those of a reencryption included. See :mod:`.validate_metadata`."""

from __future__ import annotations

import typing as t

from ..model import SECTOR
from . import members
from .metadata import Tree

DYNAMIC = "dynamic"
ONLINE_REENCRYPT = ("online-reencrypt", "online-reencrypt-v2", "online-reencrypt-v3")

_BACKUP_PREFIX = "backup-"


def is_backup(segment: t.Any) -> bool:
    """Whether the segment only describes the data before or after a reencryption."""
    return any(isinstance(flag, str) and flag.startswith(_BACKUP_PREFIX) for flag in segment.get("flags", ()))


def check_segments(tree: Tree, mandatory: t.Sequence[str]) -> None:
    """``mandatory``: the requirements. Raises MalformedHeader if a segment breaks a rule."""
    segments = tree["segments"]
    if not segments:
        raise members.malformed("it has no segment")
    covered = {number for digest in tree["digests"].values() for number in digest["segments"]}
    if set(segments) != {str(position) for position in range(len(segments))}:
        raise members.malformed("the numbers of the segments have gaps")
    for number, segment in segments.items():
        _segment(segment, f"segment {number}", number in covered)
    ordered = [segments[str(position)] for position in range(len(segments))]
    regular = [segment for segment in ordered if not is_backup(segment)]
    if not regular:
        raise members.malformed("it has backup segments only")
    if ordered[: len(regular)] != regular:
        raise members.malformed("a backup segment comes before a regular one")
    _segment_ranges(regular)
    if any(flag in ONLINE_REENCRYPT for flag in mandatory):
        _reencrypted_segments(regular, ordered[len(regular) :])


def _segment(segment: t.Any, where: str, has_digest: bool) -> None:
    kind = members.text(segment, "type", where)
    offset = members.uint64(segment, "offset", where)
    dynamic = members.text(segment, "size", where) == DYNAMIC
    size = 0 if dynamic else members.uint64(segment, "size", where)
    if not dynamic and not size:
        raise members.malformed(f"{where} has size 0")
    if offset % SECTOR or size % SECTOR:
        raise members.malformed(f"{where} is not aligned to {SECTOR} bytes")
    if "flags" in segment:
        members.strings(segment, "flags", where)
    if kind == "crypt":
        _crypt_segment(segment, where, size, has_digest)
    elif kind.startswith("hw-opal"):
        with members.refused_since("2.7.0"):
            _opal_segment(segment, f"OPAL {where}", size, has_digest)


def _opal_segment(segment: t.Any, where: str, size: int, has_digest: bool) -> None:
    if segment["type"] == "hw-opal-crypt":
        _crypt_segment(segment, where, size, has_digest)
    if segment["size"] == DYNAMIC:
        raise members.malformed(f"{where} has no fixed size")
    members.member(segment, "opal_segment_number", int, where)
    members.member(segment, "opal_key_size", int, where)
    if size > members.uint64(segment, "opal_segment_size", where):
        raise members.malformed(f"{where} is larger than its range on the drive")


def _crypt_segment(segment: t.Any, where: str, size: int, has_digest: bool) -> None:
    members.uint64(segment, "iv_tweak", where)
    members.text(segment, "encryption", where)
    sector_size = members.uint32(segment, "sector_size", where)
    if not sector_size or sector_size % SECTOR:
        raise members.malformed(f"{where} has sector size {sector_size}")
    if size % sector_size:
        raise members.malformed(f"the size of {where} is not a multiple of its sector size")
    if "integrity" in segment:
        integrity = members.member(segment, "integrity", dict, where)
        for name in ("type", "journal_encryption", "journal_integrity"):
            members.text(integrity, name, f"the integrity of {where}")
    if not has_digest:
        raise members.malformed(f"no digest covers {where}")


def _segment_ranges(regular: t.Sequence[t.Any]) -> None:
    ranges = []
    for position, segment in enumerate(regular):
        last = position == len(regular) - 1
        if segment["size"] == DYNAMIC and not last:
            raise members.malformed("a segment with dynamic size is not the last one")
        start = int(segment["offset"])
        end = members.UINT64 if segment["size"] == DYNAMIC else start + int(segment["size"])
        if end > members.UINT64 and len(regular) > 1:
            raise members.malformed("a segment ends past 2^64 bytes")
        ranges.append((start, end))
    members.no_overlap(ranges, "segments")


def _reencrypted_segments(regular: t.Sequence[t.Any], backups: t.Sequence[t.Any]) -> None:
    found = {}
    for name in ("backup-final", "backup-previous"):
        flagged = [segment for segment in backups if name in segment["flags"]]
        if not flagged:
            raise members.malformed(f"it is being reencrypted, but has no segment {name}")
        found[name] = _likeness(flagged[-1])
    for segment in regular:
        allowed = {found["backup-final"]} if "in-reencryption" in segment.get("flags", ()) else set(found.values())
        if _likeness(segment) not in allowed:
            raise members.malformed(
                "it is being reencrypted, and a segment matches neither the old nor the new encryption"
            )


def _likeness(segment: t.Any) -> t.Tuple[t.Any, ...]:
    return (
        (segment["type"], segment["encryption"], segment["sector_size"])
        if segment["type"] == "crypt"
        else (segment["type"],)
    )
