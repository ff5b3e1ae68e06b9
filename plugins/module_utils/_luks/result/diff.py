# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Tables of keyslots before and after, as text. Check mode and the real run draw the same."""

from __future__ import annotations

import typing as t

from ..errors import shown
from ..plan.types import ActionKind, Plan
from .slot_table import ACTIVE, SET_AT_APPLY, Row

COLUMNS = ("keyslot", "opened by", "key derivation", "remarks")
GAP = "  "
# Characters of a name from a header; real names have about twenty at most.
LONGEST_NAME = 60


def diff(
    before: t.Sequence[Row], after: t.Sequence[Row], plan: Plan, *, path: str, uuid: str, format: str
) -> t.Dict[str, str]:
    """What Ansible's ``--diff`` prints for one volume.

    Both tables share their column widths, so that an unchanged slot is an unchanged line.
    """
    widths = _widths([*map(_cells, before), *map(_cells, after)])
    found, left = _header_lines(plan)
    return {
        "before_header": path,
        "after_header": path,
        "before": _text(before, widths, uuid, format, found),
        "after": _text(after, widths, uuid, format, left),
    }


def render(table: t.Sequence[Row], *, uuid: str, format: str) -> str:
    """The table of one volume, for people."""
    return _text(table, _widths([_cells(row) for row in table]), uuid, format, ())


def _header_lines(plan: Plan) -> t.Tuple[t.List[str], t.List[str]]:
    """What a plan repairs beside the keyslots, as lines before and after."""
    found, left = [], []
    for action in plan.actions:
        if action.kind == ActionKind.HEAL_HEADER:
            found.append("header copies differ")
            left.append("header copies agree")
        elif action.kind == ActionKind.COPY_HEADER:
            left.append(f"on the way: {action.reason}")
        elif action.kind == ActionKind.REMOVE_COPY and not any(
            other.kind == ActionKind.COPY_HEADER for other in plan.actions
        ):
            found.append(f"unfinished: {action.reason}")
            left.append("nothing unfinished")
        elif action.resume:
            found.append(f"unfinished: {action.reason}")
            if action.kind == ActionKind.FINISH_ERASE:
                left.append("nothing unfinished")
    return found, left


def _text(table: t.Sequence[Row], widths: t.Sequence[int], uuid: str, format: str, remarks: t.Sequence[str]) -> str:
    lines = [_line(cells, widths) for cells in (COLUMNS, *map(_cells, table))]
    return "\n".join(map(shown, [f"{format.upper()} {uuid}", *remarks, *lines])) + "\n"


def _widths(lines: t.Sequence[t.Sequence[str]]) -> t.List[int]:
    """A column with nothing but its title is left out: its width is 0."""
    columns = zip(*lines) if lines else ((),) * len(COLUMNS)
    return [max(map(len, (title, *cells))) if any(cells) else 0 for title, cells in zip(COLUMNS, columns)]


def _line(cells: t.Sequence[str], widths: t.Sequence[int]) -> str:
    return GAP.join(cell.ljust(width) for cell, width in zip(cells, widths) if width).rstrip()


def _cells(row: Row) -> t.Tuple[str, str, str, str]:
    if row["state"] != ACTIVE:
        return (str(row["keyslot"]), "(free)", "", "")
    return (str(row["keyslot"]), _openers(row), _derivation(row["kdf"]), _remarks(row))


def _openers(row: Row) -> str:
    return ", ".join(row["opened_by"]) or ("(not opened by any given secret)" if row["tried"] else "(not tried)")


def _derivation(kdf: t.Mapping[str, t.Any]) -> str:
    kind, hash_name = kdf["type"], kdf.get("hash")
    name = (
        f"{shown(kind, LONGEST_NAME)}-{shown(hash_name, LONGEST_NAME)}"
        if hash_name and hash_name != SET_AT_APPLY
        else shown(kind, LONGEST_NAME)
    )
    units = (
        ("iterations", "iterations"),
        ("time", "passes"),
        ("memory", "KiB"),
        ("parallel", "lane" if kdf.get("parallel") == 1 else "lanes"),
    )
    costs = [(kdf[option], unit) for option, unit in units if option in kdf]
    if costs and all(cost == SET_AT_APPLY for cost, _unit in costs):
        return f"{name}, costs {SET_AT_APPLY}"
    return ", ".join(
        [name, *(f"{cost} {unit}" if cost != SET_AT_APPLY else f"{unit} {SET_AT_APPLY}" for cost, unit in costs)]
    )


def _remarks(row: Row) -> str:
    remarks = [] if row["bound"] else ["not bound to the volume"]
    if row["priority"] != "normal":
        remarks.append(f"priority {row['priority']}")
    tokens = [f"token {shown(kind, LONGEST_NAME)}" for kind in row["tokens"]]
    return ", ".join([*remarks, *tokens, *row.get("remarks", ())])
