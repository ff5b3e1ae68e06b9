# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The findings for a header that cannot be read: the reason, and whether it has the form of a known attack."""

from __future__ import annotations

import contextlib
import typing as t

from ..errors import LuksmithError
from ..header.luks2 import binary as luks2_binary
from ..header.luks2 import metadata as luks2_metadata
from ..header.luks2.validate_segments import is_backup
from ..header.reading import Read
from .policy import Policy
from .rule import Rule, severity_of
from .rules import SEGMENT_GAP, UNREADABLE, Finding, finding


def judge_unreadable(error: LuksmithError, read: Read, size: int, policy: Policy) -> t.List[Finding]:
    """``error``: why parsing failed; ``size``: readable bytes.

    Findings of the rules that the policy has not switched off.
    """
    found = [
        (
            UNREADABLE,
            f"the header cannot be used: {error.found}",
            error.remedy or luks2_metadata.RESTORE,
        )
    ]
    with contextlib.suppress(LuksmithError):
        if _has_segment_gap(read, size):
            remedy = "Do not attach this device to a host with cryptsetup before 2.3.4; find out who wrote the header"
            found.insert(
                0,
                (
                    SEGMENT_GAP,
                    "the numbers of the segments have a gap before the backup segments (CVE-2020-14382)",
                    remedy,
                ),
            )
    return [
        finding(rule.id, severity, message, remedy)
        for rule, message, remedy in found
        for severity in _severities(rule, policy)
    ]


def _severities(rule: Rule, policy: Policy) -> t.List[str]:
    severity = severity_of(rule, policy)
    return [] if severity is None else [severity]


def _has_segment_gap(read: Read, size: int) -> bool:
    copy = luks2_binary.read_copy(read, size, 0)
    if isinstance(copy, str):
        return False
    segments: t.Any = luks2_metadata.parse_area(copy.json_area).get("segments")
    if not isinstance(segments, dict) or not all(isinstance(segment, dict) for segment in segments.values()):
        return False
    backups = [
        int(name) for name, segment in segments.items() if is_backup(segment) and name.isdigit() and len(name) < 20
    ]
    return bool(backups) and min(backups) > len(segments) - len(backups)
