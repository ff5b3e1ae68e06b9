# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What the result of the module says about backups: names of keyslots, comparisons, tables. Decides nothing."""

from __future__ import annotations

import dataclasses
import typing as t

from ..result.actions import Result
from ..result.diff import render
from ..result.slot_table import rows
from ..unlock.hints import recorded
from .image import Image, only_in, relation


@dataclasses.dataclass(frozen=True)
class Opened:
    """What derivations showed: keyslot -> labels; keyslots without a trial; number of derivations; warnings.

    volume_keys: label of each given volume key -> why it is not the one of this header, or "".
    """

    by_slot: t.Mapping[int, t.Sequence[str]] = dataclasses.field(default_factory=dict)
    untried: t.Tuple[int, ...] = ()
    evaluations: int = 0
    warnings: t.Tuple[str, ...] = ()
    volume_keys: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def with_those_of(self, other: Opened, keyslots: t.Collection[int]) -> Opened:
        """With what ``other`` says of ``keyslots``."""
        by_slot = {number: labels for number, labels in self.by_slot.items() if number not in keyslots}
        by_slot.update({number: other.by_slot[number] for number in keyslots if number in other.by_slot})
        untried = {*self.untried}.difference(keyslots).union({*other.untried}.intersection(keyslots))
        return dataclasses.replace(self, by_slot=by_slot, untried=tuple(sorted(untried)))


def describe_backup(image: Image, opened: Opened) -> Result:
    """A backup as it appears in the result."""
    return {
        "uuid": image.header.uuid,
        "type": image.header.format,
        "size": len(image.data),
        "seqid": image.seqid,
        "keyslots": list(image.header.keyslots),
        "opened_by": {keyslot: list(labels) for keyslot, labels in opened.by_slot.items()},
    }


def compared(backup: Image, now: Image, opened: Opened, current: t.Optional[Opened] = None) -> Result:
    """The ``relation`` of a backup to the header, and the keyslots that only one of them has."""
    foreign = backup.header.uuid != now.header.uuid
    return {
        "relation": relation(backup, now),
        "only_in_backup": [] if foreign else [named(backup, number, opened) for number in only_in(backup, now)],
        "only_in_header": []
        if foreign
        else [named(now, number, current or Opened()) for number in only_in(now, backup)],
    }


def named(image: Image, number: int, opened: Opened) -> Result:
    """A keyslot with its label: from the record of its header, else of a secret that opens it, else ""."""
    labels = list(opened.by_slot.get(number, ()))
    label = recorded(image.header).get(number) or next(iter(labels), "")
    return {"keyslot": number, "label": label, "opened_by": labels}


def names_of(slots: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """``"keyslot 3 (admin 2025) and keyslot 5"``."""
    names = [f"keyslot {slot['keyslot']}" + (f" ({slot['label']})" if slot["label"] else "") for slot in slots]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of a diff; ``mode``: of the file, None if there is none or it does not matter."""

    image: t.Optional[Image]
    opened: Opened = Opened()
    mode: t.Optional[int] = None


def diff_of(path: str, before: Side, after: Side, changed: t.Collection[int]) -> t.Dict[str, str]:
    """The diff as Ansible shows it. changed: keyslots of ``after`` that had, or may have had, another key before."""
    there = () if before.image is None else before.image.header.keyslots
    return {
        "before_header": path,
        "after_header": path,
        "before": _drawn(before, ()),
        "after": _drawn(after, [number for number in changed if number in there]),
    }


def _drawn(side: Side, changed: t.Collection[int]) -> str:
    """With the label of the record where no secret shows who opens a keyslot."""
    image = side.image
    lines = [] if side.mode is None else [f"mode {side.mode:04o}"]
    if image is None:
        return "\n".join([*lines, "no header"]) + "\n"
    untried = [
        number for number in image.header.keyslots if number in side.opened.untried or not side.opened.evaluations
    ]
    table, labels = rows(image.shown, side.opened.by_slot, untried), recorded(image.header)
    for row in table:
        label = "" if row["opened_by"] else labels.get(row["keyslot"], "")
        row["remarks"] = [f"recorded as {label}"] if label else []
        row["remarks"] += ["another key than before"] if row["keyslot"] in changed else []
    lines.append(render(table, uuid=image.header.uuid, format=image.header.format))
    return "\n".join(lines)
