# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules on the header as a whole: format, copies, other signatures on the device, comparison with an inventory."""

from __future__ import annotations

import hashlib
import typing as t

from ..header.luks2.recovery import OK
from ..header.model import Header
from .evidence import Evidence
from .policy import Policy
from .remedies import other_format, restore
from .rule import AREA, Hit, RuleSet

RULES = RuleSet()

_HEAL = (
    "Make a header backup, then run luksmith.luks.keyslots with a change, or 'cryptsetup repair': both rewrite the "
    "copies"
)
# LUKS2 On-Disk Format 1.1, figure "binary header": padding after hdr_offset, the checksum field, padding up to the
# JSON.
_SALT, _PADDING, _CHECKSUM, _REST = slice(104, 168), slice(264, 448), slice(448, 512), slice(512, 4096)
_ALGORITHM = slice(72, 104)
_TOP_LEVEL = {"keyslots", "tokens", "segments", "digests", "config"}
_MEMBERS = {
    "keyslots": {"type", "key_size", "af", "area", "kdf", "priority", "mode", "direction"},
    "segments": {"type", "offset", "size", "iv_tweak", "encryption", "sector_size", "integrity", "flags"}
    | {"opal_segment_number", "opal_key_size", "opal_segment_size"},
    "digests": {"type", "keyslots", "segments", "hash", "iterations", "salt", "digest"},
}
_CONFIG = {"json_size", "keyslots_size", "flags", "requirements"}


@RULES.rule("format", "high", "The header is of a format that the policy does not allow.", option="formats")
def _format(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if policy.formats and evidence.header.format not in policy.formats:
        yield Hit(
            f"the header is {evidence.header.format}; the policy allows {', '.join(policy.formats)}",
            other_format(evidence),
        )


@RULES.rule(
    "header-copy", "high", "One of the two copies of a LUKS2 header is damaged, stale, or differs from the other."
)
def _copies(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for name, word in evidence.header.health.items():
        if word != OK:
            yield Hit(f"the {name} copy of the header is {word}: the header has no valid second copy", _HEAL)


@RULES.rule("header-salt", "medium", "Both copies of a LUKS2 header have the same salt, which no known program writes.")
def _salts(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    copies = _luks2_copies(evidence)
    if (
        len(copies) == 2
        and all(word == OK for word in evidence.header.health.values())
        and copies[0][_SALT] == copies[1][_SALT]
    ):
        yield Hit("both copies of the header have the same salt, which cryptsetup never writes", _inspect(evidence))


@RULES.rule("header-checksum", "low", "The checksum of a LUKS2 header uses a hash other than sha256.")
def _checksum(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for copy in _luks2_copies(evidence)[:1]:
        algorithm = copy[_ALGORITHM].split(b"\0", 1)[0].decode("ascii", "replace")
        if algorithm != "sha256":
            yield Hit(f"the header checksum uses {algorithm}; cryptsetup itself writes only sha256", _inspect(evidence))


@RULES.rule(
    "header-padding",
    "low",
    "Unused bytes of the header are not zero: its padding, or the rest of the checksum field.",
)
def _header_padding(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    copies = _luks2_copies(evidence)
    if not copies and (any(evidence.raw[592:768]) or any(evidence.raw[832:1024])):
        yield Hit("the padding of the header, from byte 592 on, contains unknown bytes", _inspect(evidence))
    for name, copy in zip(evidence.header.health, copies):
        if evidence.header.health[name] != OK:
            continue
        algorithm = copy[_ALGORITHM].split(b"\0", 1)[0].decode("ascii", "replace")
        size = _digest_size(algorithm)
        if any(copy[_PADDING]) or any(copy[_REST]) or (size and any(copy[_CHECKSUM][size:])):
            yield Hit(f"the padding of the {name} copy of the header contains unknown bytes", _inspect(evidence))


@RULES.rule("metadata-unknown", "low", "The metadata of a LUKS2 header has members that are not in its specification.")
def _unknown_members(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    tree = evidence.metadata
    if not tree:
        return
    found = [name for name in tree if name not in _TOP_LEVEL]
    found += [f"config.{name}" for name in tree["config"] if name not in _CONFIG]
    for section, known in _MEMBERS.items():
        for number, item in tree[section].items():
            found += [f"{section}.{number}.{name}" for name in item if name not in known]
    if found:
        shown = ", ".join(repr(name) for name in found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        yield Hit(f"the metadata has members that are not in the specification: {shown}", _inspect(evidence))


@RULES.rule(
    "header-second",
    "high",
    "The header is detached, and the device has a LUKS header of its own, whose keyslots a change of the detached one "
    "leaves alone.",
)
def _second_header(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    begin = min((segment.offset for segment in evidence.header.segments), default=0)
    for row in evidence.chain:
        if row["role"] == "device":
            yield Hit(
                f"{row['path']} has a LUKS header of its own beside the given one; its keyslots are not in this audit",
                "Audit the device without 'header', and change or erase the keyslots there, too; write nothing there "
                f"unless the data of the given header begins behind that header (it begins at byte {begin})",
            )


@RULES.rule(
    "foreign-signature", "high", "The device also contains the signature of another format, at its proper place."
)
def _signature(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if evidence.signature:
        yield Hit(
            f"the device also contains {evidence.signature}: a program that finds it may use the device for that and "
            "overwrite the header",
            "Find out what the device is; if it is the LUKS volume, look for the offset of the other signature with "
            "'wipefs DEVICE', and remove that one alone: 'wipefs --offset OFFSET DEVICE'",
        )


@RULES.rule("boot-signature", "low", "The first sector of a LUKS1 header ends in 55 AA, as a boot sector does.")
def _boot_signature(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if evidence.header.format == "luks1" and evidence.raw[510:512] == b"\x55\xaa":
        yield Hit(
            "the first sector ends in 55 AA inside the salt of keyslot 6: partitioning tools may take it for a "
            "partition table",
            "Set a new secret for keyslot 6, which draws a new salt",
        )


@RULES.rule(
    "write-obstacle",
    "medium",
    "Something in the header makes every change of keyslots unsafe: a rotation would be refused.",
)
def _obstacle(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    obstacle = evidence.header.write_obstacle
    if obstacle is not None:
        yield Hit(
            f"no keyslot can be changed: {obstacle.found}",
            obstacle.remedy or "Make a header backup and inspect the header with 'cryptsetup luksDump'",
        )


@RULES.rule("interrupted-run", "high", "An interrupted run of this collection left unfinished work.")
def _interrupted(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    intent = evidence.header.intent
    if intent is not None:
        yield Hit(
            f"a run of luksmith.luks.keyslots was interrupted (kind {intent.kind}): a secret that it was to remove "
            "may still be on the medium",
            "Run the same task again; the next run that writes finishes it",
            keyslot=intent.keyslot,
        )


@RULES.rule(
    "inventory", "high", "uuid, label, subsystem or fingerprint is not what the policy expects.", option="expected"
)
def _inventory(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    header = evidence.header
    seen = {
        "uuid": header.uuid,
        "label": header.label,
        "subsystem": header.subsystem,
        "fingerprint": header_fingerprint(evidence.raw),
    }
    for key, wanted in policy.expected.items():
        if seen[key] != wanted:
            yield Hit(
                f"the {key} is {seen[key]!r}, but {wanted!r} is expected",
                "Find out whether the volume or the inventory is wrong; a header that changed without a rotation may "
                "have been replaced",
            )


@RULES.rule(
    "slot-remnant",
    "low",
    "An inactive LUKS1 keyslot still has its salt and iterations, so that its key material may still be there.",
    AREA,
)
def _remnant(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if evidence.header.format != "luks1":
        return
    for number in range(evidence.header.slot_count):
        start = 208 + 48 * number
        if number not in evidence.header.keyslots and any(evidence.raw[start + 4 : start + 40]):
            yield Hit(
                f"keyslot {number} is inactive, but its salt and iterations are still there: unless its key material "
                "is overwritten, it can be reactivated",
                f"Erase it properly: add any secret to keyslot {number} and remove it again with "
                "luksmith.luks.keyslots",
                keyslot=number,
            )


def _inspect(evidence: Evidence) -> str:
    return f"Find out which program wrote the header; if that is unknown, treat it as forged. {restore(evidence)}"


def header_fingerprint(raw: bytes) -> str:
    """SHA-256 over the bytes of the header without key material, in hex, for an inventory. Every write changes it."""
    return hashlib.sha256(raw).hexdigest()


def key_digest(header: Header) -> str:
    """SHA-256 over what the header stores to recognise its volume key, in hex: equal on a clone, also after a new uuid.

    It says nothing about the key that the header itself does not say.
    """
    parts = sorted(digest.salt + digest.value for digest in header.digests if 0 in digest.segments)
    return hashlib.sha256(b"".join(parts)).hexdigest() if parts else ""


def _luks2_copies(evidence: Evidence) -> t.List[bytes]:
    if evidence.header.format != "luks2":
        return []
    half = len(evidence.raw) // 2
    return [evidence.raw[:half], evidence.raw[half:]]


def _digest_size(algorithm: str) -> int:
    try:
        return hashlib.new(algorithm.replace("sha3-", "sha3_")).digest_size
    except ValueError:
        return 0
