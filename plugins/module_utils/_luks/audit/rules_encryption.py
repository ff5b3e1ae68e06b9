# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules on the encryption of data and key material, and on the layout of the payload."""

from __future__ import annotations

import re
import typing as t

from ..header.luks2.obstacles import is_null_cipher
from ..header.luks2.validate_segments import is_backup
from ..header.luks2.view import AREA_UNIT, STRIPES
from ..header.model import Keyslot, Segment
from ..result.chain_row import place_of
from .evidence import Evidence
from .policy import Policy
from .remedies import but_first, encrypt_anew, kill_slot, new_slot, restore
from .rule import SECRETS, Hit, RuleSet

RULES = RuleSet()

# A random key ends in as many zero bytes once in 2^64 times.
_TOO_MANY_ZEROS = 8

# ECB repeats; with plain IVs, CBC shows equal beginnings; 32-bit IVs repeat after 2 TiB.
_WEAK = re.compile(r"(^|[-(])ecb([-)]|$)|-cbc-plain(64)?($|:)|^(arc4|des|des3_ede|blowfish|cast5)\b|-plain$")
_XTS_BYTES = 16 << 36
_SECTORS = (512, 1024, 2048, 4096)


@RULES.rule(
    "null-cipher",
    "critical",
    "The data or a keyslot is not encrypted at all (null cipher). An attacker plants that to make a host write its "
    "data or key in plain text.",
    references=("CVE-2025-59054", "CVE-2025-58356"),
)
def _null(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for segment in evidence.header.segments:
        if is_null_cipher(segment.encryption):
            yield Hit(
                f"segment {segment.number} is not encrypted at all (cipher {segment.encryption!r})",
                "Do not open the volume before you know who wrote this header; if it is yours, encrypt the data with "
                f"a real cipher on a new volume; if not: {restore(evidence)}",
            )
    for slot in evidence.header.keyslots.values():
        if is_null_cipher(slot.encryption):
            yield Hit(
                f"keyslot {slot.number} stores its key unencrypted (cipher {slot.encryption!r}): anyone who can write "
                "to the device can choose the volume key",
                f"Find out who wrote it; if it is not wanted, remove it: {kill_slot(evidence, slot.number)}"
                f"{but_first(evidence, slot.number)}",
                keyslot=slot.number,
            )


@RULES.rule(
    "backing-plain",
    "high",
    "A backing file of the image is not encrypted, so that a part of the data is read without any secret.",
)
def _plain_backing(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for row in evidence.chain:
        place = place_of(row)
        remedy = "Write the whole image anew into one encrypted file with 'qemu-img convert'"
        if row["encrypted"] is False:
            yield Hit(f"{place} is not encrypted: what it holds is read without any secret", remedy)
        elif row["encrypted"] is None:
            found = f"it is unknown whether {place} is encrypted: {row.get('why_untried', '')}"
            yield Hit(found, f"Make it readable on this host and audit again. {remedy}", unverified=True)


@RULES.rule(
    "cipher-weak",
    "high",
    "The data or a keyslot uses a mode that leaks information (ECB, CBC with plain IVs, 32-bit IVs) or a broken "
    "cipher.",
)
def _weak(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for place, encryption, slot in _encryptions(evidence):
        if _WEAK.search(encryption.lower()):
            yield Hit(
                f"{place} is encrypted with {encryption}, which leaks information",
                encrypt_anew(evidence) if slot is None else new_slot(evidence, slot),
                keyslot=slot,
            )


@RULES.rule(
    "xts-limit",
    "medium",
    "One key in XTS mode encrypts more than 2^36 blocks (1 TiB), the bound that IEEE 1619 recommends.",
)
def _xts_limit(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    size = evidence.data_size or 0
    if size > _XTS_BYTES and any("-xts-" in segment.encryption for segment in _data(evidence)):
        yield Hit(
            f"one XTS key encrypts {size / (1 << 40):.1f} TiB; IEEE 1619 recommends at most 1 TiB, and allows 256 TiB",
            "Divide the data among volumes with a key each, or accept it in the policy (rules, accepted: xts-limit)",
        )


@RULES.rule(
    "cipher-driver",
    "high",
    "A cipher is named through the crypto API of the kernel (capi:), which can select a driver, not only a cipher.",
)
def _driver(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for place, encryption, slot in _encryptions(evidence):
        if encryption.startswith("capi:"):
            yield Hit(
                f"{place} names its cipher as {encryption!r}; such a name can select a driver of the kernel, which "
                "cryptsetup 2.7 and later refuses",
                new_slot(evidence, slot)
                if slot is not None
                else "Find out who wrote it; unless an HSM needs it, encrypt the data anew with a plain cipher name",
                keyslot=slot,
            )


@RULES.rule("cipher", "high", "The data is encrypted with a cipher that the policy does not list.", option="ciphers")
def _cipher(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for segment in _data(evidence):
        if policy.ciphers and segment.encryption not in policy.ciphers:
            yield Hit(
                f"the data is encrypted with {segment.encryption or 'an unknown cipher'}; the policy allows "
                f"{', '.join(policy.ciphers)}",
                encrypt_anew(evidence),
            )


@RULES.rule(
    "keyslot-cipher",
    "medium",
    "A keyslot is encrypted with a cipher that the policy does not list.",
    option="keyslot_ciphers",
)
def _keyslot_cipher(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in _real(evidence):
        if policy.keyslot_ciphers and slot.encryption not in policy.keyslot_ciphers:
            found = (
                f"keyslot {slot.number} is encrypted with {slot.encryption}; the policy allows "
                f"{', '.join(policy.keyslot_ciphers)}"
            )
            yield Hit(found, new_slot(evidence, slot.number), keyslot=slot.number)


@RULES.rule(
    "key-size",
    "high",
    "The volume key is shorter than the policy requires (XTS uses half of it for the tweak).",
    option="minimum_key_size",
)
def _key_size(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    size = evidence.header.key_size
    if size < policy.minimum_key_size:
        yield Hit(
            f"the volume key has {size} bytes; the policy requires {policy.minimum_key_size}",
            encrypt_anew(evidence),
        )


@RULES.rule(
    "keyslot-key-size",
    "medium",
    "A keyslot is encrypted with a shorter key than the policy requires.",
    option="minimum_keyslot_key_size",
)
def _area_key_size(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in _real(evidence):
        if slot.area_key_size < policy.minimum_keyslot_key_size:
            found = (
                f"keyslot {slot.number} is encrypted with a key of {slot.area_key_size} bytes; the policy requires "
                f"{policy.minimum_keyslot_key_size}"
            )
            yield Hit(found, new_slot(evidence, slot.number), keyslot=slot.number)


@RULES.rule(
    "key-size-mismatch",
    "high",
    "The keyslots of one digest contain keys of different sizes, so that some of them are wrong.",
)
def _mismatch(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    slots = evidence.header.keyslots
    for digest in evidence.header.digests:
        sizes = sorted(
            {slots[number].key_size for number in digest.keyslots if number in slots and slots[number].kind == "luks2"}
        )
        if len(sizes) > 1:
            yield Hit(
                f"the keyslots of digest {digest.number} contain keys of {', '.join(map(str, sizes))} bytes",
                f"Find out which keyslot has the wrong size, or: {restore(evidence)}",
            )


@RULES.rule(
    "segment-layout",
    "medium",
    "The layout of the payload is not that of cryptsetup: several segments, an unknown type or sector size, an "
    "unusual offset, false integrity.",
)
def _segments(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if evidence.header.format != "luks2":
        return
    look = f"Unless a reencryption is under way, treat the header as forged. {restore(evidence)}"
    data = _data(evidence)
    if len(data) > 1:
        yield Hit(f"the payload has {len(data)} segments", look)
    for segment in data:
        raw = evidence.metadata["segments"][str(segment.number)]
        if segment.type != "crypt" and not segment.type.startswith("hw-opal"):
            yield Hit(f"segment {segment.number} is of unknown type {segment.type!r}: no known program opens it", look)
        if segment.sector_size not in _SECTORS:
            yield Hit(
                f"segment {segment.number} has sectors of {segment.sector_size} bytes, which the kernel does not "
                "support",
                look,
            )
        if (
            isinstance(raw.get("integrity"), dict)
            and str(raw["integrity"].get("type")) in ("none", "aead")
            and "aead" not in segment.encryption
            and "gcm" not in segment.encryption
        ):
            yield Hit(
                f"segment {segment.number} claims integrity protection of type {raw['integrity'].get('type')!r}, "
                "which protects nothing",
                look,
            )
    if data and 0 < data[0].offset < evidence.header.extent:
        yield Hit(
            f"the payload begins at byte {data[0].offset}, before the end of the header at {evidence.header.extent}",
            look,
        )


@RULES.rule(
    "area-size",
    "high",
    "The area of a keyslot is smaller than its key material, which extends into space that seems free.",
)
def _area_size(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in _real(evidence):
        needed = slot.key_size * STRIPES
        if slot.kind == "luks2" and needed > slot.area.size:
            yield Hit(
                f"the area of keyslot {slot.number} has {slot.area.size} bytes, but its key material needs {needed}: "
                "the next new keyslot may overwrite it",
                f"Remove it while another one opens the volume: {kill_slot(evidence, slot.number)}. Or: "
                f"{restore(evidence)}",
                keyslot=slot.number,
            )


@RULES.rule(
    "area-alignment",
    "low",
    "The area of a LUKS2 keyslot is not aligned to 4096 bytes, as after a conversion from LUKS1 or an attack.",
)
def _alignment(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in _real(evidence):
        if slot.kind == "luks2" and slot.area.offset % AREA_UNIT:
            yield Hit(
                f"the area of keyslot {slot.number} begins at byte {slot.area.offset}, not at a multiple of "
                f"{AREA_UNIT}",
                new_slot(evidence, slot.number),
                keyslot=slot.number,
            )


@RULES.rule(
    "stripes", "low", "A keyslot claims a number of anti-forensic stripes other than 4000, which cryptsetup ignores."
)
def _stripes(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for number, slot in (evidence.metadata.get("keyslots") or {}).items():
        stripes = slot.get("af", {}).get("stripes") if slot["type"] == "luks2" else STRIPES
        if stripes != STRIPES:
            yield Hit(
                f"keyslot {number} claims {stripes} anti-forensic stripes; cryptsetup ignores that and uses {STRIPES}",
                new_slot(evidence, int(number)),
                keyslot=int(number),
            )


def _data(evidence: Evidence) -> t.List[Segment]:
    """The segments with present data, without the backup segments of a reencryption."""
    raw = evidence.metadata.get("segments", {})
    return [segment for segment in evidence.header.segments if not is_backup(raw.get(str(segment.number), {}))]


def _real(evidence: Evidence) -> t.List[Keyslot]:
    return [slot for slot in evidence.header.keyslots.values() if slot.kind in ("luks1", "luks2")]


def _encryptions(evidence: Evidence) -> t.Iterator[t.Tuple[str, str, t.Optional[int]]]:
    for segment in _data(evidence):
        yield f"segment {segment.number}", segment.encryption, None
    if evidence.header.format == "luks2":  # LUKS1 has one cipher for both
        for slot in _real(evidence):
            yield f"keyslot {slot.number}", slot.encryption, slot.number


@RULES.rule(
    "volume-key-padded",
    "high",
    "The volume key ends with zero bytes, so that its digest accepts a shorter key, too: it was not drawn at random.",
    SECRETS,
)
def _padded(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    zeros = evidence.key_padding
    if zeros is not None and zeros >= _TOO_MANY_ZEROS:
        yield Hit(
            f"the volume key of {evidence.header.key_size} bytes ends with {zeros} zero bytes, and its digest is the "
            "same without them",
            f"{encrypt_anew(evidence)}. Find out which program made the key",
        )
