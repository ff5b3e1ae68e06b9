# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules on keyslots and tokens: unbound, ignored, wiped or damaged keyslots, unexpected tokens."""

from __future__ import annotations

import typing as t

from ..errors import numbered
from ..header.model import PRIORITY_IGNORE, Keyslot, Pbkdf2
from .evidence import Evidence
from .policy import Policy
from .remedies import but_first, new_slot, remove_token, restore
from .rule import AREA, Hit, RuleSet

RULES = RuleSet()

_HIGHEST = 31
# What the modules of GRUB 2.06 to 2.12 know, as they come from Libgcrypt and from its cryptodisk.
_GRUB_HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", "rmd160", "whirlpool")
_GRUB_CIPHERS = ("aes", "serpent", "twofish", "camellia", "cast5", "blowfish", "seed", "des")
_GRUB_MODES = ("xts", "lrw", "cbc", "pcbc", "ecb")
_FOR_GRUB = "Set its secret again with luksmith.luks.keyslots and pbkdf: {type: pbkdf2, hash: sha256}"


@RULES.rule("no-keyslot", "high", "No keyslot opens the data: only a header backup or the volume key does.")
def _none(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if not evidence.bound:
        yield Hit(
            "no active keyslot opens the data",
            "Restore a header backup with luksmith.luks.header_backup (state: restored); if there is none and the "
            "volume is open, save the data before it is closed",
        )


@RULES.rule(
    "slot-unbound",
    "medium",
    "A keyslot contains a key for no data of the volume; 'cryptsetup luksErase' leaves such a keyslot.",
)
def _unbound(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in evidence.header.keyslots.values():
        if not slot.bound and slot.kind != "reencrypt":
            yield Hit(
                f"keyslot {slot.number} is unbound: it opens no data of this volume",
                f"Erase keyslot {slot.number} by its number if its key is not needed",
                keyslot=slot.number,
            )


@RULES.rule(
    "slot-ignored",
    "low",
    "A keyslot has priority ignore: it opens the volume only if it is named, so that it is easily forgotten.",
)
def _ignored(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in evidence.header.keyslots.values():
        if slot.priority == PRIORITY_IGNORE:
            yield Hit(
                f"keyslot {slot.number} has priority ignore: its secret opens the volume only if the keyslot is named",
                "Allow it in the policy if it is intended (rules: slot-ignored), else set its priority to normal, or "
                f"erase keyslot {slot.number} by its number{but_first(evidence, slot.number)}",
                keyslot=slot.number,
            )


@RULES.rule(
    "slot-zombie",
    "high",
    "A keyslot is active, but its key material is wiped: no secret opens it. Often left by an interrupted run.",
    AREA,
)
def _zombie(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for number, area in evidence.areas.items():
        if area.wiped:
            yield Hit(
                f"keyslot {number} is active, but its key material is blank: no secret opens it",
                f"Erase keyslot {number} by its number",
                keyslot=number,
            )


@RULES.rule(
    "slot-damaged",
    "high",
    "Parts of the key material of a keyslot do not look random (chi-squared over 4096 bytes): it is damaged, and "
    "probably no secret opens it.",
    AREA,
)
def _damaged(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for number, area in evidence.areas.items():
        if area.odd and not area.wiped and number not in evidence.opened_by:
            yield Hit(
                f"{area.odd} of {area.blocks} blocks of the key material of keyslot {number} do not look random",
                f"Try its secret; if it does not open keyslot {number}, erase the keyslot and add the secret again"
                f"{but_first(evidence, number)}",
                keyslot=number,
            )


@RULES.rule("slot-type", "medium", "A keyslot is of a type that only the program that wrote it can use.")
def _type(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in evidence.header.keyslots.values():
        if slot.kind not in ("luks1", "luks2", "reencrypt"):
            yield Hit(
                f"keyslot {slot.number} is of unknown type {slot.kind!r}",
                f"Find out which program uses it; if none does, erase keyslot {slot.number} by its number"
                f"{but_first(evidence, slot.number)}",
                keyslot=slot.number,
            )


@RULES.rule("number-range", "high", "A keyslot or token has a number above 31, on which cryptsetup fails or aborts.")
def _numbers(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for what, numbers in (
        ("keyslot", list(evidence.header.keyslots)),
        ("token", [token.number for token in evidence.header.tokens]),
    ):
        for number in numbers:
            if number > _HIGHEST:
                yield Hit(
                    f"the header has {what} {number}; the highest number is {_HIGHEST}, and cryptsetup fails or "
                    "aborts on it",
                    restore(evidence),
                )


@RULES.rule(
    "token-type",
    "medium",
    "A token is of a type that the policy does not list: it may unlock a keyslot unattended.",
    option="token_types",
)
def _token(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if policy.token_types is None:
        return
    for token in evidence.header.tokens:
        if not token.ours and token.type not in policy.token_types:
            where = f" for {numbered(token.keyslots)}" if token.keyslots else ""
            yield Hit(
                f"token {token.number} of type {token.type!r}{where} is not in the policy",
                "List its type in token_types if it is wanted; else, while another keyslot opens the volume, remove it "
                "and the keyslot that it opens with the program that made it",
                keyslot=token.keyslots[0] if token.keyslots else None,
            )


@RULES.rule("token-orphan", "low", "A token refers to no keyslot: it unlocks nothing.")
def _orphan(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for token in evidence.header.tokens:
        if not token.keyslots and not token.ours:
            yield Hit(
                f"token {token.number} of type {token.type!r} refers to no keyslot",
                f"If it is not needed, remove it: {remove_token(evidence, token.number, 0)}",
            )


@RULES.rule("slots-full", "info", "No keyslot is free: a rotation has to erase one before it can add one.")
def _full(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    layout = evidence.header.layout
    if not any(layout.place(number) for number in layout.free_numbers()):
        yield Hit(
            "no keyslot is free, or there is no room for its area", "Erase an unneeded keyslot before the next rotation"
        )


@RULES.rule(
    "grub-closed",
    "medium",
    "GRUB must open the volume, because it contains /boot, and does not know what a keyslot needs.",
)
def _grub(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if not (evidence.grub or policy.opened_by_grub):
        return
    held = {number for token in evidence.header.tokens if not token.ours for number in token.keyslots}
    asked = [slot for slot in evidence.bound if slot.number not in held]
    wanting = {slot.number: missing for slot in asked for missing in [_unknown_to_grub(evidence, slot)] if missing}
    rest = "" if len(wanting) < len(asked) else ", and no other one either"
    for number, (missing, remedy) in wanting.items():
        yield Hit(
            f"GRUB cannot open keyslot {number} of this boot volume: {missing}{rest}",
            f"{remedy}, or move /boot to a partition of its own" if remedy else "Move /boot to a partition of its own",
            keyslot=number,
        )


def _unknown_to_grub(evidence: Evidence, slot: Keyslot) -> t.Optional[t.Tuple[str, str]]:
    """What GRUB up to 2.12 does not know, and what gives the keyslot something that it knows ("": nothing does)."""
    if evidence.detached or evidence.header.requirements:
        return "its header is detached" if evidence.detached else "the header requires features", ""
    if not isinstance(slot.kdf, Pbkdf2):
        return f"it has {slot.kdf.type}, and GRUB up to 2.12 only pbkdf2", _FOR_GRUB
    if slot.priority == PRIORITY_IGNORE:
        return "it has priority ignore", f"Set the priority of keyslot {slot.number} to normal"
    unknown = [name for name in (slot.kdf.hash, slot.af_hash) if name.lower() not in _GRUB_HASHES]
    if unknown:
        return f"it uses the hash {unknown[0]}", "" if evidence.header.format == "luks1" else _FOR_GRUB
    for encryption, remedy in (
        *((segment.encryption, "") for segment in evidence.header.segments),
        (slot.encryption, new_slot(evidence, slot.number)),
    ):
        cipher, _dash, rest = encryption.partition("-")
        if cipher not in _GRUB_CIPHERS or rest.partition("-")[0] not in _GRUB_MODES:
            return f"it uses {encryption}", remedy
    return None
