# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules on keyslots and tokens as such: bound or not, alive or wiped, named by whom."""

from __future__ import annotations

import typing as t

from ..header.model import PRIORITY_IGNORE
from .evidence import Evidence
from .policy import Policy
from .rule import AREA, Hit, RuleSet

RULES = RuleSet()

_HIGHEST = 31


@RULES.rule(
    "no-keyslot", "high", "No keyslot opens the data: only a header backup or whoever holds the volume key still can."
)
def _none(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if not evidence.bound:
        yield Hit(
            "no keyslot is active that opens the data",
            "Restore a header backup; if there is none and the volume is open, save the data now, before it is closed",
        )


@RULES.rule(
    "slot-unbound",
    "medium",
    "A keyslot opens a key that belongs to no data of the volume; such slots survive 'cryptsetup luksErase'.",
)
def _unbound(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in evidence.header.keyslots.values():
        if not slot.bound and slot.kind != "reencrypt":
            yield Hit(
                f"keyslot {slot.number} is unbound: it opens no data of this volume",
                f"Erase keyslot {slot.number} by its number if nobody needs its key",
                keyslot=slot.number,
            )


@RULES.rule(
    "slot-ignored",
    "low",
    "A keyslot has the priority ignore: it opens the volume, but only when it is named, so that it is easily forgotten.",
)
def _ignored(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in evidence.header.keyslots.values():
        if slot.priority == PRIORITY_IGNORE:
            yield Hit(
                f"keyslot {slot.number} has the priority ignore: its secret works whenever somebody names the slot",
                f"Erase keyslot {slot.number} if it is not kept on purpose; else let the policy say so (rules: slot-ignored)",
                keyslot=slot.number,
            )


@RULES.rule(
    "slot-zombie",
    "high",
    "A keyslot is active, and its key material was wiped: it opens nothing and takes a place, often the trace of an interrupted run.",
    AREA,
)
def _zombie(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for number, area in evidence.areas.items():
        if area.wiped:
            yield Hit(
                f"keyslot {number} is active, but its key material is blank: no secret opens it any more",
                f"Erase keyslot {number} by its number",
                keyslot=number,
            )


@RULES.rule(
    "slot-damaged",
    "high",
    "Parts of a keyslot's key material do not look random (chi-squared over 4096 bytes): it is damaged, and probably opens nothing.",
    AREA,
)
def _damaged(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for number, area in evidence.areas.items():
        if area.odd and not area.wiped and number not in evidence.opened_by:
            yield Hit(
                f"{area.odd} of {area.blocks} blocks of the key material of keyslot {number} do not look like key material",
                f"Try its secret; if it does not open, erase keyslot {number} and add the secret again",
                keyslot=number,
            )


@RULES.rule("slot-type", "medium", "A keyslot is of a type that only the program that wrote it can use.")
def _type(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for slot in evidence.header.keyslots.values():
        if slot.kind not in ("luks1", "luks2", "reencrypt"):
            yield Hit(
                f"keyslot {slot.number} is of the unknown type {slot.kind!r}",
                f"Find out which program uses it; erase keyslot {slot.number} if none does",
                keyslot=slot.number,
            )


@RULES.rule("number-range", "high", "A keyslot or token has a number beyond 31, on which cryptsetup fails or aborts.")
def _numbers(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for what, numbers in (
        ("keyslot", list(evidence.header.keyslots)),
        ("token", [token.number for token in evidence.header.tokens]),
    ):
        for number in numbers:
            if number > _HIGHEST:
                yield Hit(
                    f"the header has {what} {number}; the numbers end at {_HIGHEST}, and cryptsetup fails or aborts on this",
                    "Restore a header backup that you trust",
                )


@RULES.rule(
    "token-type",
    "medium",
    "A token is of a type that the policy does not list: it may open a keyslot without any person.",
    option="token_types",
)
def _token(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    if policy.token_types is None:
        return
    for token in evidence.header.tokens:
        if not token.ours and token.type not in policy.token_types:
            where = (
                f" for keyslot{'s' if len(token.keyslots) > 1 else ''} {', '.join(map(str, token.keyslots))}"
                if token.keyslots
                else ""
            )
            yield Hit(
                f"token {token.number} of the type {token.type!r}{where} is not one that the policy lists",
                "List its type in token_types if it is wanted; else remove it, and the keyslot that it opens, with the program that made it",
                keyslot=token.keyslots[0] if token.keyslots else None,
            )


@RULES.rule("token-orphan", "low", "A token refers to no keyslot: it can open nothing.")
def _orphan(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    for token in evidence.header.tokens:
        if not token.keyslots and not token.ours:
            yield Hit(
                f"token {token.number} of the type {token.type!r} refers to no keyslot",
                f"Remove it with 'cryptsetup token remove --token-id {token.number}' if nobody needs it",
            )


@RULES.rule("slots-full", "info", "No keyslot is free, so that a rotation has to erase before it can add.")
def _full(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    layout = evidence.header.layout
    if not any(layout.place(number) for number in layout.free_numbers()):
        yield Hit(
            "no keyslot is free, or its area has no room", "Erase a keyslot that nobody needs before the next rotation"
        )
