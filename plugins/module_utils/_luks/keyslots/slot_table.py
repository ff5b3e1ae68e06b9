# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The slot table of a volume as result rows: what is there, and what a plan will leave.

A row is a plain dictionary, ready for a module's result: ``keyslot``, ``state`` ("active" | "inactive"), ``bound``,
``priority``, ``kdf`` (``type`` and its costs, memory in KiB), ``opened_by`` (labels), ``tried`` (False: that nothing
is in ``opened_by`` means nothing), ``tokens`` (types of other people's tokens that use the slot). LUKS1 lists its eight
slots, LUKS2 the active ones.
"""

from __future__ import annotations

import typing as t

from ..header.model import INTENT_REPLACE_FILL, INTENT_WIPE, PRIORITY_NORMAL, Argon2, Header, Kdf, Pbkdf2, Token
from .desired_costs import PBKDF2
from .vocabulary import ADD, ERASE, FINISH_ERASE, REKEY, SET_PRIORITY, Action, Costs, Desired, Plan

Row = t.Dict[str, t.Any]

ACTIVE = "active"
INACTIVE = "inactive"
SET_AT_APPLY = "set at apply"  # stands for a cost that only the real run decides


def rows(header: Header, opened_by: t.Mapping[int, t.Sequence[str]], unknown: t.Collection[int] = ()) -> t.List[Row]:
    """The table of ``header``. opened_by: slot -> labels that were proven; unknown: slots that nobody tried."""
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


def predict(before: t.Sequence[Row], plan: Plan, desired: Desired, header: Header) -> t.List[Row]:
    """The table that ``plan`` will leave of ``before``, the table of ``header``; needs no volume, so check mode has it too."""
    table = {row["keyslot"]: dict(row) for row in before}
    for action in plan.actions:
        if action.keyslot is None:
            continue
        if action.kind in (ADD, REKEY):
            table[action.keyslot] = _filled(table.get(action.keyslot), action, desired, header)
            if action.via is not None:
                _clear(table, action.via, header)
        elif action.kind == ERASE or (action.kind == FINISH_ERASE and not _slot_survives(header)):
            _clear(table, action.keyslot, header)
        elif action.kind == SET_PRIORITY:
            table[action.keyslot]["priority"] = action.priority
    return [table[number] for number in sorted(table)]


def kdf_fields(kdf: Kdf) -> t.Dict[str, t.Any]:
    """Type and costs as the result shows them; the salt is left out."""
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
    return {"keyslot": number, "state": INACTIVE, "bound": False, "priority": PRIORITY_NORMAL, "kdf": {}, "opened_by": [], "tried": False, "tokens": []}


def _clear(table: t.Dict[int, Row], number: int, header: Header) -> None:
    table.pop(number, None)
    if _lists_inactive(header):
        table[number] = _inactive(number)


def _slot_survives(header: Header) -> bool:
    """These two intents are about areas beside a slot; the slot itself, if active, is whole."""
    return header.intent is not None and header.intent.kind in (INTENT_WIPE, INTENT_REPLACE_FILL)


def _filled(old: t.Optional[Row], action: Action, desired: Desired, header: Header) -> Row:
    row = dict(old) if old is not None and old["state"] == ACTIVE else _inactive(action.keyslot or 0)
    costs = Costs() if action.entry is None else desired.entries[action.entry].costs
    replaced = row["kdf"] if row["opened_by"] else {}
    return {
        **row,
        "state": ACTIVE,
        "bound": True,
        "priority": action.priority or row["priority"],
        "kdf": _predicted_kdf(costs, replaced, header),
        "opened_by": [action.label],
        "tried": True,
    }


def _predicted_kdf(costs: Costs, replaced: t.Mapping[str, t.Any], header: Header) -> t.Dict[str, t.Any]:
    """Only what the entry, the format or the replaced slot pins; of given and replaced costs the larger one stays."""
    only_hash = header.digests[0].hash if header.format == "luks1" else None
    kind = PBKDF2 if only_hash else costs.type or replaced.get("type")
    if kind is None:
        return {"type": SET_AT_APPLY}
    stays = replaced if replaced.get("type") == kind else {}
    predicted: t.Dict[str, t.Any] = {"type": kind}
    if kind == PBKDF2:
        predicted["hash"] = only_hash or costs.hash or stays.get("hash", SET_AT_APPLY)
    for option in ("iterations",) if kind == PBKDF2 else ("time", "memory", "parallel"):
        given = getattr(costs, option)
        predicted[option] = SET_AT_APPLY if given is None else max(given, stays.get(option, 0))
    return predicted
