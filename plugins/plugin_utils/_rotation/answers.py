# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What a host said of its volumes, checked: a host may lie, and then its answer is refused instead of believed.

A text of the host goes nowhere but into messages and reports, where it is data.
"""

from __future__ import annotations

import typing as t

from ...module_utils._luks.errors import shown
from .world import Answer, HostError

Row = t.Dict[str, t.Any]

_MOST_VOLUMES = 10_000
_MOST_ROWS = 1_000  # of a table, a plan or a record; LUKS2 has 32 keyslots
_MOST_LINES = 1_000  # of a diff
_MOST_FILES = 100  # beneath an image, and labels for each
_MOST_TEXT = 16_384  # characters; a path has 4096 at most


class Planned(t.NamedTuple):
    """What the module says that its plan does, in check mode. ``order``: the uuid of the order that it went by."""

    changed: bool
    actions: t.List[Row]
    table: t.List[Row]
    diff: t.Any
    order: str

    def opened(self, label: str) -> t.List[int]:
        """The keyslots that the secret ``label`` opens now, without those that the plan would give it."""
        made = {action.get("keyslot") for action in self.actions if action.get("action") == "add"}
        return [row["keyslot"] for row in self.table if label in row["opened_by"] and row["keyslot"] not in made]

    def hints(self) -> t.List[Row]:
        """Label of a secret -> a keyslot that it opened, for the next step on this host, which proves it anew."""
        rows = [(label, row["keyslot"]) for row in self.table for label in row["opened_by"]]
        gone = [(_text(one.get("label")), one.get("keyslot")) for one in self.actions if one.get("action") == "erase"]
        found = {label: keyslot for label, keyslot in [*rows, *gone] if label and isinstance(keyslot, int)}
        return [{"label": label, "keyslot": keyslot} for label, keyslot in found.items()]


class Seen(t.NamedTuple):
    """A volume as its host describes it. ``refused``: why it could not be looked at to the end, in ``phase``."""

    device: str
    header: t.Optional[str]
    uuid: str
    type: str
    container: str
    label: str
    cipher: str
    key_size: int
    slot_count: int
    free: int
    record: t.List[Row]
    table: t.List[Row]
    keyfiles: t.List[Row]
    follow: t.List[Row]
    backup: bool
    planned: t.Optional[Planned]
    unknown: t.List[Row]
    chain: t.List[Row]
    phase: str
    refused: str


class Done(t.NamedTuple):
    """What a step did on a volume."""

    device: str
    changed: bool
    actions: t.List[Row]
    table: t.Optional[t.List[Row]]
    diff: t.Any
    follow: t.List[Row]
    chain: t.Optional[t.List[Row]]
    phase: str
    refused: str


def seen(answer: Answer) -> t.List[Seen]:
    """Raises HostError."""
    return [_seen(volume) for volume in _volumes(answer)]


def done(answer: Answer, count: int) -> t.List[Done]:
    """Raises HostError."""
    volumes = _volumes(answer)
    if len(volumes) != count:
        raise HostError(f"the host was asked about {count} volumes and answered about {len(volumes)}")
    return [_done(volume) for volume in volumes]


def contradiction(keyslots: t.Sequence[Row], done: Done) -> str:
    """What the table of keyslots says otherwise than that all of ``keyslots`` is done; a sentence, or ""."""
    if not keyslots:
        return ""
    opened = {label: row["keyslot"] for row in done.table or () for label in row["opened_by"]}
    for entry in keyslots:
        new, old = (entry.get(name, {}).get("label") for name in ("new_secret", "old_secret"))
        if new and new not in opened:
            return f"the host says that it is done, and names no keyslot that {new} opens"
        if old in opened and entry.get("state") == "absent":
            return f"the host says that it is done, and that {old} still opens keyslot {opened[old]}"
    return ""


def _volumes(answer: Answer) -> t.List[Answer]:
    volumes = answer.get("volumes")
    if not isinstance(volumes, list) or len(volumes) > _MOST_VOLUMES:
        raise HostError("the host answered without its volumes")
    if not all(isinstance(volume, t.Mapping) for volume in volumes):
        raise HostError("the host answered with something else than volumes")
    if not all(_text(volume.get("device")) for volume in volumes):
        raise HostError("the host answered with a volume that is nowhere")
    return volumes


def _seen(volume: Answer) -> Seen:
    plan = volume.get("plan")
    refused = _text(volume.get("msg")) or "no reason was given" if volume.get("failed") else ""
    return Seen(
        device=_text(volume.get("device")),
        header=_text(volume.get("header")) or None,
        uuid=_text(volume.get("uuid")),
        type=_text(volume.get("type")),
        container=_text(volume.get("container")),
        label=_text(volume.get("label")),
        cipher=_text(volume.get("cipher")),
        key_size=_number(volume.get("key_size")),
        slot_count=_number(volume.get("slot_count")),
        free=_number(volume.get("free_keyslots")),
        record=[line for line in _rows(volume.get("record")) if "label" in line],
        table=_table(volume.get("keyslots")),
        keyfiles=_keyfiles(volume.get("crypttab")),
        follow=_follow(volume.get("keyfiles")),
        backup=volume.get("backup") is True,
        planned=_planned(plan, volume.get("planned")) if isinstance(plan, t.Mapping) else None,
        unknown=_unknown(volume.get("unknown")),
        chain=_chain(volume.get("chain")),
        phase=_text(volume.get("phase")),
        refused=refused,
    )


def _planned(plan: Answer, order: t.Any) -> Planned:
    return Planned(
        changed=plan.get("changed") is True,
        actions=_actions(plan.get("plan")),
        table=_table(plan.get("keyslots")),
        diff=_diff(plan.get("diff")),
        order=_text(order),
    )


def _done(volume: Answer) -> Done:
    return Done(
        device=_text(volume.get("device")),
        changed=volume.get("changed") is True,
        actions=_actions(volume.get("plan")),
        table=_table(volume.get("keyslots")) if isinstance(volume.get("keyslots"), list) else None,
        diff=_diff(volume.get("diff")),
        follow=_follow(volume.get("keyfiles")),
        chain=_chain(volume.get("chain")) if isinstance(volume.get("chain"), list) else None,
        phase=_text(volume.get("phase")),
        refused=_text(volume.get("msg")) or "no reason was given" if volume.get("failed") else "",
    )


def _diff(value: t.Any) -> t.Optional[Row]:
    """Ansible shows it on the terminal as it is."""
    if not isinstance(value, t.Mapping):
        return None
    lines = {
        side: _text(value.get(side)).split("\n")[:_MOST_LINES]
        for side in ("before", "after", "before_header", "after_header")
    }
    return {side: "\n".join(map(shown, found)) for side, found in lines.items()}


def _text(value: t.Any) -> str:
    return value[:_MOST_TEXT] if isinstance(value, str) else ""


def _number(value: t.Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _number_or_none(value: t.Any) -> t.Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _dictionaries(value: t.Any) -> t.List[Row]:
    found = [dict(one) for one in value if isinstance(one, t.Mapping)] if isinstance(value, list) else []
    return found[:_MOST_ROWS]


def _rows(value: t.Any) -> t.List[Row]:
    """Dictionaries about a keyslot."""
    return [one for one in _dictionaries(value) if isinstance(one.get("keyslot"), int)]


def _table(value: t.Any) -> t.List[Row]:
    rows = _rows(value)
    for row in rows:
        found = row.get("opened_by")
        row["opened_by"] = [_text(label) for label in found] if isinstance(found, list) else []
    return rows


def _actions(value: t.Any) -> t.List[Row]:
    """Ansible shows them with -v."""
    texts = ("action", "label", "reason")
    return [
        {**{name: shown(_text(one.get(name))) for name in texts}, "keyslot": _number_or_none(one.get("keyslot"))}
        for one in _dictionaries(value)
    ]


def _unknown(value: t.Any) -> t.List[Row]:
    return [
        {
            "keyslot": row["keyslot"],
            "label": _text(row.get("label")),
            "tried": row.get("tried") is True,
            "reason": _text(row.get("reason")),
        }
        for row in _rows(value)
    ]


def _chain(value: t.Any) -> t.List[Row]:
    """The files beneath. What is neither encrypted nor plain by the word of the host counts as not looked at."""
    return [
        {
            "path": shown(_text(one.get("path"))),
            "role": one["role"] if one.get("role") in ("data", "device") else "backing",
            "format": shown(_text(one.get("format")), 20),
            "encrypted": one["encrypted"] if isinstance(one.get("encrypted"), bool) else None,
            "opened_by": [shown(_text(label)) for label in _list(one.get("opened_by")) if _text(label)],
            "why_untried": shown(_text(one.get("why_untried"))),
        }
        for one in _dictionaries(value)[:_MOST_FILES]
    ]


def _list(value: t.Any) -> t.List[t.Any]:
    return value[:_MOST_FILES] if isinstance(value, list) else []


def _keyfiles(value: t.Any) -> t.List[Row]:
    """What goes back to the host, as it said it."""
    return [
        {
            "name": _text(line.get("name")),
            "path": _text(line.get("path")),
            **{name: line[name] for name in ("keyfile_offset", "keyfile_size") if isinstance(line.get(name), int)},
        }
        for line in _dictionaries(value)
        if _text(line.get("path")).startswith("/")
    ]


def _follow(value: t.Any) -> t.List[Row]:
    return [
        {
            "name": _text(one.get("name")),
            "path": _text(one.get("path")),
            "holds": _text(one.get("holds")),
            "changed": one.get("changed") is True,
        }
        for one in _dictionaries(value)
    ]
