# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules on reencryption, on headers that exploit known vulnerabilities, and on old copies of the header."""

from __future__ import annotations

import typing as t

from ..header.luks2.validate_keyslots import means_reencryption
from .evidence import Evidence
from .policy import Policy
from .remedies import restore
from .rule import BACKUP, Hit, RuleSet

RULES = RuleSet()

_WITH_CRYPTSETUP = "No action needed; change its keyslots with cryptsetup {} or later"
_KNOWN = {
    "opal": _WITH_CRYPTSETUP.format("2.8"),
    "opal-v2": _WITH_CRYPTSETUP.format("2.9"),
    "inline-hw-tags": "No action needed",
}
_DESTROY = (
    "Destroy the backup and create a new one with luksmith.luks.header_backup; if others may have a copy of it, only "
    "encrypting the data anew helps"
)


@RULES.rule(
    "cve-2021-4122",
    "critical",
    "The header says that a reencryption is under way, in the old form without protection: with a forged one, "
    "cryptsetup before 2.4.3 writes parts of the data in plain text at the next unlock.",
    references=("CVE-2021-4122",),
)
def _forged_reencryption(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if "online-reencrypt" in evidence.header.requirements:
        yield Hit(
            "the header has the requirement 'online-reencrypt' of cryptsetup before 2.4.3, whose metadata is not "
            "protected by a digest (CVE-2021-4122)",
            "Do not open the volume with an old cryptsetup. If you started a reencryption yourself, finish it with "
            f"'cryptsetup repair' of 2.4.3 or later. Else: {restore(evidence)}",
        )


@RULES.rule(
    "reencryption",
    "high",
    "A reencryption is under way or was interrupted: two volume keys are in use, and keyslots cannot be changed.",
)
def _reencryption(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    header = evidence.header
    flags = [flag for flag in header.requirements if means_reencryption(flag) and flag != "online-reencrypt"]
    slots = [slot.number for slot in header.keyslots.values() if slot.kind == "reencrypt"]
    crashed = [segment.number for segment in header.segments if "in-reencryption" in segment.flags]
    if flags or (slots and "online-reencrypt" not in header.requirements):
        note = f"; segment {crashed[0]} was being written when it stopped" if crashed else ""
        yield Hit(
            f"a reencryption is under way (requirement {', '.join(map(repr, flags))}){note}",
            "Finish it with 'cryptsetup reencrypt --resume-only DEVICE' (an image file that is closed needs "
            "--force-offline-reencrypt)",
            keyslot=slots[0] if slots else None,
        )


@RULES.rule(
    "requirement-unknown",
    "high",
    "The header requires an unknown feature, so that it must not be written to.",
)
def _requirement(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for flag in evidence.header.requirements:
        if flag not in _KNOWN and not means_reencryption(flag):
            yield Hit(
                f"the header requires the unknown feature {flag!r}",
                "Find out which program set it; a newer cryptsetup may support it",
            )


@RULES.rule("requirement", "info", "The volume uses a self-encrypting drive (OPAL) or integrity tags of the drive.")
def _feature(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for flag in evidence.header.requirements:
        if flag in _KNOWN:
            yield Hit(f"the header has the requirement {flag!r}", _KNOWN[flag])


@RULES.rule("backup-forbidden", "critical", "A forbidden secret still opens a header backup.", BACKUP)
def _backup_forbidden(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for backup in evidence.backups:
        for number, labels in backup.opened.items():
            yield Hit(
                f"{', '.join(map(repr, labels))} still opens keyslot {number} of the header backup {backup.path}",
                _DESTROY,
            )
        asked = evidence.forbidden or (evidence.stored is not None and evidence.stored.older)
        for number, reason in backup.untried.items() if asked else ():
            yield Hit(
                f"it is unknown whether a forbidden secret opens keyslot {number} of the header backup {backup.path}: "
                f"{reason}",
                _DESTROY,
                unverified=True,
            )


@RULES.rule(
    "backup-missing",
    "medium",
    "No given header backup belongs to the volume and restores a keyslot of it.",
    BACKUP,
    option="require_backup",
)
def _backup_missing(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if not policy.require_backup or any(backup.usable and not backup.whole for backup in evidence.backups):
        return
    own = [backup for backup in evidence.backups if not backup.foreign and not backup.whole]
    whole = [f"{backup.path} {backup.whole}" for backup in evidence.backups if backup.whole]
    untried = [reason for backup in own for reason in backup.untried.values()]
    if untried:
        message = f"it is unknown whether a given header backup restores a keyslot of this volume: {untried[0]}"
    elif own:
        message = "none of the given header backups of this volume is proven to restore a keyslot of it"
    elif whole:
        message = f"none of the given header backups is one: {'; '.join(whole)}"
    else:
        message = "none of the given header backups belongs to this volume"
    yield Hit(
        message,
        "Create one with luksmith.luks.header_backup, keep it on another medium, and give its path in backups",
        unverified=bool(untried),
    )


@RULES.rule(
    "backup-damaged",
    "high",
    "A keyslot of a header backup has the salt of the volume's and other or no key material, and nothing opens it.",
    BACKUP,
)
def _backup_damaged(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for backup in evidence.backups:
        for number, blank in backup.damaged.items():
            doubt = backup.untried.get(number, "")
            why = "is blank" if blank else "is not that of the volume, which has the same salt: one of both is damaged"
            yield Hit(
                f"the key material of keyslot {number} of the header backup {backup.path} {why}"
                + (f" (not tried: {doubt})" if doubt and not blank else ""),
                "Create a new backup with luksmith.luks.header_backup once a secret is proven to open that keyslot of "
                "the volume, and destroy this one; until then it may be the good one",
                unverified=bool(doubt) and not blank,
            )


@RULES.rule(
    "backup-outdated",
    "medium",
    "A header backup has keyslots that the volume no longer has: with the backup, their old secrets still open the "
    "data.",
    BACKUP,
)
def _backup_outdated(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for backup in evidence.backups:
        if backup.gone and not backup.foreign:
            numbers = ", ".join(map(str, backup.gone))
            yield Hit(
                f"the header backup {backup.path} is older than the header: its keyslots {numbers} were removed or "
                "changed since",
                _DESTROY,
            )


@RULES.rule(
    "backup-older",
    "medium",
    "A header backup lacks keyslots that the volume has: to restore it would remove their secrets.",
    BACKUP,
)
def _backup_older(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for backup in evidence.backups:
        if backup.lacks and not backup.foreign:
            numbers = ", ".join(map(str, backup.lacks))
            yield Hit(
                f"the header backup {backup.path} is older than the header: it lacks keyslots {numbers}",
                "Create a new backup with luksmith.luks.header_backup, and destroy this one",
            )


@RULES.rule(
    "backup-foreign",
    "low",
    "A header backup has the uuid of the volume, but another volume key: to restore it would destroy the data.",
    BACKUP,
)
def _backup_foreign(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for backup in evidence.backups:
        if backup.foreign:
            yield Hit(
                f"the volume key in the header backup {backup.path} is not that of the volume: to restore it would "
                "make the data unreadable",
                "Create a new backup and destroy this one",
            )


@RULES.rule(
    "backup-unreadable",
    "medium",
    "A header backup could not be read, so that its volume and its secrets are unknown.",
    BACKUP,
)
def _backup_unreadable(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for path, reason in evidence.unread_backups.items():
        yield Hit(
            f"the header backup {path} could not be read: {reason}",
            "Check the path and the file",
            unverified=True,
        )
