# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules on reencryption, on forms of a header that known vulnerabilities need, and on old copies of the header."""

from __future__ import annotations

import typing as t

from ..header.luks2.validate_keyslots import REENCRYPT_CANDIDATE
from .evidence import Evidence
from .policy import Policy
from .rule import BACKUP, Hit, RuleSet

RULES = RuleSet()

_KNOWN = ("opal", "opal-v2", "inline-hw-tags")
_DESTROY = (
    "Destroy the backup, and make a new one with luksmith.luks.header_backup; "
    "a copy that somebody else may have can only be answered by encrypting the data anew"
)


@RULES.rule(
    "cve-2021-4122",
    "critical",
    "The header says that a reencryption is under way, in the old form that nothing protects: an attacker who forges it makes cryptsetup before 2.4.3 "
    "write parts of the data in clear at the next unlock.",
    references=("CVE-2021-4122",),
)
def _forged_reencryption(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if "online-reencrypt" in evidence.header.requirements:
        yield Hit(
            "the header has the requirement 'online-reencrypt' of cryptsetup before 2.4.3, whose metadata no digest protects (CVE-2021-4122)",
            "Do not open the volume with an old cryptsetup. If you started a reencryption yourself, finish it with 'cryptsetup repair' of 2.4.3 "
            "or later; else restore a header backup",
        )


@RULES.rule(
    "reencryption",
    "high",
    "A reencryption is under way or was interrupted; two volume keys are in use, and keyslots cannot be changed.",
)
def _reencryption(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    header = evidence.header
    flags = [
        flag
        for flag in header.requirements
        if flag == "offline-reencrypt" or (REENCRYPT_CANDIDATE.fullmatch(flag) and flag != "online-reencrypt")
    ]
    slots = [slot.number for slot in header.keyslots.values() if slot.kind == "reencrypt"]
    crashed = [segment.number for segment in header.segments if "in-reencryption" in segment.flags]
    if flags or (slots and "online-reencrypt" not in header.requirements):
        note = f"; segment {crashed[0]} was being written when it stopped" if crashed else ""
        yield Hit(
            f"a reencryption is under way (requirement {', '.join(map(repr, flags))}){note}",
            "Finish it with 'cryptsetup reencrypt --resume-only'",
            keyslot=slots[0] if slots else None,
        )


@RULES.rule(
    "requirement-unknown",
    "high",
    "The header demands a feature that is not known here, so that nobody may write to it.",
)
def _requirement(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for flag in evidence.header.requirements:
        if flag not in _KNOWN and flag != "offline-reencrypt" and not REENCRYPT_CANDIDATE.fullmatch(flag):
            yield Hit(
                f"the header demands the unknown feature {flag!r}",
                "Find out which program set it; a newer cryptsetup may know it",
            )


@RULES.rule("requirement", "info", "The volume uses a self-encrypting drive (OPAL) or integrity tags of the drive.")
def _feature(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for flag in evidence.header.requirements:
        if flag in _KNOWN:
            yield Hit(
                f"the header has the requirement {flag!r}",
                "Nothing to do; change its keyslots with cryptsetup 2.8 or later",
            )


@RULES.rule("backup-forbidden", "critical", "A header backup still opens with a forbidden secret.", BACKUP)
def _backup_forbidden(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for backup in evidence.backups:
        for number, labels in backup.opened.items():
            yield Hit(
                f"the header backup {backup.path} still opens with {', '.join(map(repr, labels))} (its keyslot {number})",
                _DESTROY,
            )
        for number, reason in backup.untried.items():
            yield Hit(
                f"nobody could tell whether a forbidden secret opens keyslot {number} of the header backup {backup.path}: {reason}",
                _DESTROY,
                unverified=True,
            )


@RULES.rule(
    "backup-outdated",
    "medium",
    "A header backup holds keyslots that the volume no longer has: whoever knows their secret and gets the backup opens the data.",
    BACKUP,
)
def _backup_outdated(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for backup in evidence.backups:
        if backup.gone and not backup.foreign:
            numbers = ", ".join(map(str, backup.gone))
            yield Hit(
                f"the header backup {backup.path} is older than the header: its keyslots {numbers} were removed or changed since",
                _DESTROY,
            )


@RULES.rule(
    "backup-foreign",
    "low",
    "A header backup has the uuid of the volume, but another volume key: restoring it would lose the data.",
    BACKUP,
)
def _backup_foreign(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for backup in evidence.backups:
        if backup.foreign:
            yield Hit(
                f"the header backup {backup.path} holds another volume key than the volume: restoring it would make the data unreadable",
                "Make a new backup and destroy this one",
            )


@RULES.rule(
    "backup-unreadable",
    "medium",
    "A header backup could not be read, so that nobody knows which volume it is of and who opens it.",
    BACKUP,
)
def _backup_unreadable(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for path, reason in evidence.unread_backups.items():
        yield Hit(
            f"nobody could tell what the header backup {path} holds: {reason}",
            "Check the path and the file",
            unverified=True,
        )
