# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The table that a plan will leave. Apart from :mod:`.slot_table`, which modules without a plan have as well."""

from __future__ import annotations

import typing as t

from ..header.model import LUKSMETA_UNREADABLE, Header, IntentKind
from ..plan.types import Action, ActionKind, KdfChoice, Plan
from ..required import required
from .slot_table import ACTIVE, SET_AT_APPLY, Row, inactive, kdf_fields, lists_inactive


def predict(
    before: t.Sequence[Row],
    plan: Plan,
    header: Header,
    choices: t.Mapping[int, KdfChoice],
    tokens: t.Optional[t.Mapping[int, str]] = None,
) -> t.List[Row]:
    """The table after ``plan``, made from ``before``, the table of ``header``; for check mode and the real run.

    choices: position in the plan -> key derivation of each add and rekey; tokens: secret -> type of the token that its
    new keyslot gets.
    """
    table = {row["keyslot"]: dict(row) for row in before}
    for position, action in enumerate(plan.actions):
        if action.keyslot is None:
            continue
        if action.kind in (ActionKind.ADD, ActionKind.REKEY):
            table[action.keyslot] = _filled(table.get(action.keyslot), action, choices[position], tokens or {})
            if action.temporary_slot is not None:
                _clear(table, action.temporary_slot, header)
        elif action.kind == ActionKind.ERASE or (action.kind == ActionKind.FINISH_ERASE and not _slot_survives(header)):
            _clear(table, action.keyslot, header)
        elif action.kind == ActionKind.SET_PRIORITY:
            table[action.keyslot]["priority"] = action.priority
    return [table[number] for number in sorted(table)]


def _clear(table: t.Dict[int, Row], number: int, header: Header) -> None:
    table.pop(number, None)
    if lists_inactive(header):
        table[number] = inactive(number)


def _slot_survives(header: Header) -> bool:
    """These two intents are about areas that no keyslot uses; the keyslot itself, if active, is intact."""
    return header.intent is not None and header.intent.kind in (IntentKind.WIPE, IntentKind.REPLACE_FILL)


def _filled(old: t.Optional[Row], action: Action, choice: KdfChoice, tokens: t.Mapping[int, str]) -> Row:
    row = dict(old) if old is not None and old["state"] == ACTIVE else inactive(required(action.keyslot))
    return {
        **row,
        "state": ACTIVE,
        "bound": not action.own_key,
        "priority": action.priority or row["priority"],
        "kdf": {**kdf_fields(choice.kdf), **dict.fromkeys(choice.measured, SET_AT_APPLY)},
        "opened_by": [action.label],
        "tried": True,
        "tokens": _tokens_left(row["tokens"], action, "" if action.secret is None else tokens.get(action.secret, "")),
    }


def _tokens_left(found: t.Sequence[str], action: Action, made: str) -> t.List[str]:
    """An entry of luksmeta that nobody can read stays whatever happens to its keyslot."""
    gone = {kind for kind in found if kind != LUKSMETA_UNREADABLE} if action.overwrites else {action.lost_token}
    left = [kind for kind in found if kind not in gone]
    return left if not made or made in left else [*left, made]
