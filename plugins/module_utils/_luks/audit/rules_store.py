# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Rules on the store of a rotation: what it holds must open the volume, and nothing that was replaced may."""

from __future__ import annotations

import typing as t

from ..header.model import PRIORITY_IGNORE
from ..result.chain_row import is_untried, place_of, what_opens
from .evidence import Evidence
from .policy import Policy
from .remedies import MAKE_IT_ANSWER, elsewhere, remove_beneath
from .rule import STORE, Hit, RuleSet

RULES = RuleSet()

OPENS, BY_RECORD, CLOSED, UNKNOWN, MISSING = ("yes", "by record", "no", "not verified", "no secret")

_AGAIN = "Run the rotation of this volume again"
_TRIABLE = "Audit on a host where it can be tried"
_SEALED = "Give rotate_escrow_private_key to this audit, or set audit_verify: record to go by the record in the header"


def answer(evidence: Evidence) -> t.Optional[t.Dict[str, t.Any]]:
    """Whether the store opens the volume, for the result; None if no store was asked."""
    stored = evidence.stored
    if stored is None:
        return None
    opened = _bound(evidence, stored.current)
    return {
        "opens": _opens(evidence),
        "secret": stored.current or None,
        "keyslots": opened,
        "older": [label for label in stored.older if _bound(evidence, label)],
        "kept": [label for label in stored.kept if _bound(evidence, label)],
    }


def _opens(evidence: Evidence) -> str:
    stored = evidence.stored
    if stored is None or stored.problem:
        return UNKNOWN
    if not stored.current:
        return MISSING
    opened = _bound(evidence, stored.current)
    if opened:
        return BY_RECORD if evidence.recorded.issuperset(opened) else OPENS
    return UNKNOWN if stored.current in stored.sealed or _untried(evidence) else CLOSED


def _bound(evidence: Evidence, label: str) -> t.List[int]:
    """The keyslots of the data that the secret opens."""
    return [slot.number for slot in evidence.bound if label and label in evidence.opened_by.get(slot.number, ())]


def _untried(evidence: Evidence) -> str:
    return ", ".join(str(slot.number) for slot in evidence.bound if slot.number in evidence.untried)


@RULES.rule(
    "store-missing",
    "high",
    "The store of rotations has no secret for the volume, so that it could not be opened from there.",
    STORE,
)
def _missing(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    stored = evidence.stored
    if stored is None:
        return
    if stored.problem:
        yield Hit(
            f"it is unknown what the store holds for the volume: {stored.problem}",
            "Make the store readable for this run, and audit again",
            unverified=True,
        )
    elif not stored.current:
        yield Hit(
            "the store has no secret for the volume",
            f"{_AGAIN}, and it has one of its own there; if the header remembers a rotation whose store is lost for "
            "good, with rotate_store_create: true and a secret that opens it in rotate_keeps or rotate_replaces",
        )


@RULES.rule(
    "store-closed",
    "high",
    "The current secret of the store does not open the volume, or only through a keyslot that is ignored at boot.",
    STORE,
)
def _closed(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    stored = evidence.stored
    if stored is None or stored.problem or not stored.current:
        return
    opened = _bound(evidence, stored.current)
    if any(evidence.header.keyslots[number].priority != PRIORITY_IGNORE for number in opened):
        return
    if opened:
        yield Hit(
            f"{stored.current!r} of the store opens only keyslots with priority ignore, which are not tried by default",
            "Set their priority to normal",
            keyslot=opened[0],
        )
    elif stored.current in stored.sealed:
        named = [slot.number for slot in evidence.bound if _recorded(evidence, slot.number) == stored.current]
        by = f"; the record says that it opens keyslot {named[0]}, which proves nothing" if named else ""
        yield Hit(
            f"the store holds {stored.current!r} sealed, so that it could not be tried{by}",
            _SEALED,
            keyslot=named[0] if named else None,
            unverified=True,
        )
    elif _untried(evidence):
        yield Hit(
            f"{stored.current!r} of the store opens none of the keyslots that could be tried; these could not: "
            f"{_untried(evidence)}",
            _TRIABLE,
            unverified=True,
        )
    else:
        yield Hit(
            f"{stored.current!r}, the current secret of the store, opens no keyslot of the volume",
            "Find out what came back: the volume from a backup, or an old copy of the store. Then run the rotation "
            "again, with a secret that opens the volume in rotate_keeps or rotate_replaces",
        )


@RULES.rule(
    "store-older",
    "critical",
    "A secret that rotations have replaced, or are to replace, still opens the volume, or a file beneath the image.",
    STORE,
)
def _older(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    stored = evidence.stored
    for label in stored.older if stored is not None else ():
        tried = stored is not None and label not in stored.sealed
        for number in evidence.header.keyslots:
            if label in evidence.opened_by.get(number, ()):
                yield Hit(
                    f"{label!r}, which rotations replace, opens keyslot {number}",
                    f"{_AGAIN}, which erases it; it still opens old copies of the header, so destroy or replace those",
                    keyslot=number,
                )
            elif tried and number in evidence.untried:
                yield Hit(
                    f"it is unknown whether {label!r}, which rotations replace, opens keyslot {number}: "
                    f"{evidence.untried[number]}",
                    # With the store in doubt, the keyslot may be that of its current secret.
                    _TRIABLE
                    if stored is not None and (stored.problem or stored.sealed)
                    else elsewhere(evidence, number),
                    keyslot=number,
                    unverified=True,
                )
        for row in evidence.chain:
            if label in row["opened_by"]:
                yield Hit(f"{label!r}, which rotations replace, opens {what_opens(row)}", remove_beneath(row))
            elif tried and is_untried(row):
                replaced = f"{label!r}, which rotations replace,"
                yield Hit(
                    f"it is unknown whether {replaced} opens {place_of(row)}: {row['why_untried']}",
                    _TRIABLE,
                    unverified=True,
                )


@RULES.rule(
    "store-given-out",
    "medium",
    "A secret of the volume was given out to a person, and no rotation has replaced it yet.",
    STORE,
)
def _given_out(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    stored = evidence.stored
    if stored is not None and stored.given:
        opened = _bound(evidence, stored.current) if stored.current else []
        yield Hit(
            f"the store notes that its secret was {stored.given}",
            f"{_AGAIN}: it replaces what was given out",
            keyslot=opened[0] if opened else None,
        )


@RULES.rule(
    "store-staged",
    "medium",
    "A rotation of the volume was interrupted: the store has a staged secret.",
    STORE,
)
def _staged(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    stored = evidence.stored
    if stored is not None and stored.staged:
        opened = _bound(evidence, stored.staged)
        where = f"opens keyslot {opened[0]}" if opened else "opens no keyslot that was tried"
        yield Hit(
            f"{stored.staged!r} was staged in the store and not promoted; it {where}",
            f"{_AGAIN}: it finishes what was begun",
            keyslot=opened[0] if opened else None,
        )


@RULES.rule(
    "store-kept",
    "high",
    "A secret that rotations keep, such as break-glass, does not open the volume.",
    STORE,
)
def _kept(evidence: Evidence, policy: Policy) -> t.Iterator[Hit]:
    stored = evidence.stored
    for label in stored.kept if stored is not None else ():
        if _bound(evidence, label):
            continue
        if label in evidence.asked.labels:
            yield Hit(
                f"it is unknown whether {label!r} of rotate_keeps opens the volume, because no token gave it: "
                f"{evidence.asked.labels[label]}",
                MAKE_IT_ANSWER,
                unverified=True,
            )
        elif _untried(evidence):
            yield Hit(
                f"{label!r} of rotate_keeps opens none of the keyslots that could be tried; these could not: "
                f"{_untried(evidence)}",
                _TRIABLE,
                unverified=True,
            )
        else:
            yield Hit(
                f"{label!r} of rotate_keeps must open the volume, but opens no keyslot",
                "Bind a keyslot to it again (binding in luksmith.luks.keyslots), or leave the token out of "
                "rotate_keeps for this host"
                if stored is not None and label in stored.tokens
                else "Add it with luksmith.luks.keyslots; check first that it is the right secret",
            )


def _recorded(evidence: Evidence, keyslot: int) -> str:
    return evidence.header.record[keyslot].label if evidence.is_current(keyslot) else ""
