# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The keyslots of a volume as result rows, as found and as a plan will leave them.

A row is a plain dictionary for a module's result: ``keyslot``, ``state`` ("active" | "inactive"), ``bound``,
``priority``, ``kdf`` (``type`` and its costs, memory in KiB), ``opened_by`` (labels), ``tried`` (False: an empty
``opened_by`` says nothing), ``tokens`` (types of foreign tokens that use the keyslot). LUKS1 lists its eight keyslots,
LUKS2 the active ones.
"""

from __future__ import annotations

import typing as t

from ..header.model import PRIORITY_NORMAL, Argon2, Header, IntentKind, Kdf, Pbkdf2, Token
from ..plan.types import Action, ActionKind, KdfChoice, Plan
from ..required import required

Row = t.Dict[str, t.Any]

ACTIVE = "active"
INACTIVE = "inactive"
SET_AT_APPLY = "set at apply"  # stands for a cost that only the real run decides


def rows(header: Header, opened_by: t.Mapping[int, t.Sequence[str]], unknown: t.Collection[int] = ()) -> t.List[Row]:
    """The table of ``header``. opened_by: keyslot -> proven labels; unknown: keyslots that were not tried."""
    table = []
    for number in range(header.slot_count):
        slot = header.keyslots.get(number)
        if slot is not None:
            found = list(opened_by.get(number, ()))
            table.append(
                {
                    "keyslot": number,
                    "state": ACTIVE,
                    "bound": slot.bound,
                    "priority": slot.priority,
                    "kdf": kdf_fields(slot.kdf),
                    "opened_by": found,
                    "tried": bool(found) or number not in unknown,
                    "tokens": token_types(header.tokens, number),
                }
            )
        elif _lists_inactive(header):
            table.append(_inactive(number))
    return table


def predict(before: t.Sequence[Row], plan: Plan, header: Header, choices: t.Mapping[int, KdfChoice]) -> t.List[Row]:
    """The table after ``plan``, made from ``before``, the table of ``header``; for check mode and the real run.

    choices: position in the plan -> key derivation of each add and rekey.
    """
    table = {row["keyslot"]: dict(row) for row in before}
    for position, action in enumerate(plan.actions):
        if action.keyslot is None:
            continue
        if action.kind in (ActionKind.ADD, ActionKind.REKEY):
            table[action.keyslot] = _filled(table.get(action.keyslot), action, choices[position])
            if action.temporary_slot is not None:
                _clear(table, action.temporary_slot, header)
        elif action.kind == ActionKind.ERASE or (action.kind == ActionKind.FINISH_ERASE and not _slot_survives(header)):
            _clear(table, action.keyslot, header)
        elif action.kind == ActionKind.SET_PRIORITY:
            table[action.keyslot]["priority"] = action.priority
    return [table[number] for number in sorted(table)]


def kdf_fields(kdf: Kdf) -> t.Dict[str, t.Any]:
    """Type and costs as results show them, without the salt."""
    if isinstance(kdf, Pbkdf2):
        return {"type": kdf.type, "hash": kdf.hash, "iterations": kdf.iterations}
    if isinstance(kdf, Argon2):
        return {"type": kdf.type, "time": kdf.time, "memory": kdf.memory, "parallel": kdf.parallel}
    return {"type": kdf.type}


def token_types(tokens: t.Iterable[Token], number: int) -> t.List[str]:
    return [token.type for token in tokens if number in token.keyslots and not token.ours]


def _lists_inactive(header: Header) -> bool:
    return header.format == "luks1"


def _inactive(number: int) -> Row:
    return {
        "keyslot": number,
        "state": INACTIVE,
        "bound": False,
        "priority": PRIORITY_NORMAL,
        "kdf": {},
        "opened_by": [],
        "tried": False,
        "tokens": [],
    }


def _clear(table: t.Dict[int, Row], number: int, header: Header) -> None:
    table.pop(number, None)
    if _lists_inactive(header):
        table[number] = _inactive(number)


def _slot_survives(header: Header) -> bool:
    """These two intents are about areas that no keyslot uses; the keyslot itself, if active, is intact."""
    return header.intent is not None and header.intent.kind in (IntentKind.WIPE, IntentKind.REPLACE_FILL)


def _filled(old: t.Optional[Row], action: Action, choice: KdfChoice) -> Row:
    row = dict(old) if old is not None and old["state"] == ACTIVE else _inactive(required(action.keyslot))
    return {
        **row,
        "state": ACTIVE,
        "bound": True,
        "priority": action.priority or row["priority"],
        "kdf": {**kdf_fields(choice.kdf), **dict.fromkeys(choice.measured, SET_AT_APPLY)},
        "opened_by": [action.label],
        "tried": True,
    }
