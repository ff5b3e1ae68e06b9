# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The keyslots of a volume as result rows, as found; :mod:`.prediction` says what a plan will leave of them.

A row is a plain dictionary for a module's result: ``keyslot``, ``state`` ("active" | "inactive"), ``bound``,
``priority``, ``kdf`` (``type`` and its costs, memory in KiB), ``opened_by`` (labels), ``tried`` (False: an empty
``opened_by`` says nothing), ``tokens`` (types of foreign tokens that use the keyslot). LUKS1 lists its eight keyslots,
LUKS2 the active ones.
"""

from __future__ import annotations

import typing as t

from ..header.model import PRIORITY_NORMAL, Argon2, Header, Kdf, Pbkdf2, Token

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
        elif lists_inactive(header):
            table.append(inactive(number))
    return table


def kdf_fields(kdf: Kdf) -> t.Dict[str, t.Any]:
    """Type and costs as results show them, without the salt."""
    if isinstance(kdf, Pbkdf2):
        return {"type": kdf.type, "hash": kdf.hash, "iterations": kdf.iterations}
    if isinstance(kdf, Argon2):
        return {"type": kdf.type, "time": kdf.time, "memory": kdf.memory, "parallel": kdf.parallel}
    return {"type": kdf.type}


def token_types(tokens: t.Iterable[Token], number: int) -> t.List[str]:
    return [token.type for token in tokens if number in token.keyslots and not token.ours]


def lists_inactive(header: Header) -> bool:
    """The table of such a header has a row for each keyslot, active or not."""
    return header.format == "luks1"


def inactive(number: int) -> Row:
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
