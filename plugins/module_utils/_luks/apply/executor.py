# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Execute a plan. The plan decides what to do, the steps of each format how to do it safely."""

from __future__ import annotations

import typing as t

from ..errors import HeaderChanged, Interrupted, LuksmithError, expected, shown
from ..header.model import Header
from ..plan.types import Action, ActionKind, Plan
from .keyslot_writer import KeyslotWriter

if t.TYPE_CHECKING:
    from .luks1_steps import Luks1Steps
    from .luks2_steps import KeyslotBuilder, Luks2Steps

_DESTROYING = (ActionKind.ERASE, ActionKind.REKEY, ActionKind.FINISH_ERASE, ActionKind.REMOVE_COPY)


def apply_plan(plan: Plan, writer: KeyslotWriter, *, record: bool) -> None:
    """Execute ``plan`` on ``writer.disk``, whose header afterwards is the one on disk.

    The caller holds the exclusive locks and has read the header under them. Raises the error of a step (Refused,
    HeaderChanged, StorageFault and what a derivation raises) before the first write, and Interrupted, with the actions
    done and left, after it.
    """
    disk = writer.disk
    if not plan.empty and disk.header.write_obstacle is not None:
        raise disk.header.write_obstacle
    if any(action.kind == ActionKind.COPY_HEADER for action in plan.actions):
        writer.way_back.check_room()
    carry_out(
        plan,
        disk,
        steps_for(disk.header, writer, record=record),
        writer.check_proofs,
        lambda: "" if writer.copies is None else writer.way_back.path,
    )


class Written(t.Protocol):
    """What a plan is carried out on. ``written``: whether a write has begun."""

    written: bool

    @property
    def path(self) -> str:
        """For messages."""


def carry_out(
    plan: Plan,
    disk: Written,
    perform: t.Mapping[ActionKind, t.Callable[[Action], None]],
    check_proofs: t.Callable[[], None],
    copy_kept: t.Callable[[], str] = str,
) -> None:
    """Perform the actions in order. Raises the error of a step before the first write, and Interrupted after it.

    copy_kept: the path of a copy of the header that an interruption leaves, or "".
    """
    for position, action in enumerate(plan.actions):
        try:
            if action.kind in _DESTROYING:
                check_proofs()
            perform[action.kind](action)
        except Exception as error:
            if not disk.written:
                raise
            known = error if isinstance(error, OSError) else expected(error)
            done, left = plan.actions[:position], plan.actions[position:]
            raise _interrupted(known, disk.path, done, left, copy_kept()) from None


def import_steps(format: str) -> t.Callable[[t.Any, bool], t.Union[Luks1Steps, Luks2Steps]]:
    """How steps are made. Ask for it before a lock is taken, because it imports only what the format needs."""
    if format == "luks1":
        from .luks1_steps import Luks1Steps

        return lambda writer, record: Luks1Steps(writer)
    from .luks2_steps import Luks2Steps

    return lambda writer, record: Luks2Steps(writer, record=record)


def steps_for(
    header: Header, writer: KeyslotBuilder, *, record: bool
) -> t.Dict[ActionKind, t.Callable[[Action], None]]:
    """For each kind of action, the step that does it on a header of this format."""
    steps: t.Union[Luks1Steps, Luks2Steps] = import_steps(header.format)(writer, record)
    return {
        ActionKind.ADD: steps.add,
        ActionKind.REKEY: steps.rekey,
        ActionKind.ERASE: steps.erase,
        ActionKind.FINISH_ERASE: steps.finish,
        ActionKind.SET_PRIORITY: steps.set_priority,
        ActionKind.HEAL_HEADER: steps.heal,
        ActionKind.COPY_HEADER: steps.copy_header,
        ActionKind.REMOVE_COPY: steps.remove_copy,
    }


def _interrupted(
    error: t.Union[LuksmithError, OSError], path: str, done: t.Sequence[Action], left: t.Sequence[Action], copy: str
) -> Interrupted:
    changed = (
        f"Done before: {_listed(done)}. Begun and not completed: {describe_action(left[0])}. "
        f"Not begun: {_listed(left[1:])}."
    )
    if copy:
        changed += (
            f" A copy of the header is in {shown(copy)} and opens with the secrets of before: keep it until then."
        )
    remedy = "fix the cause and run the same task again: it finishes what was begun"
    if isinstance(error, HeaderChanged):
        remedy = error.remedy
    return Interrupted.by(error, path, remedy=remedy, changed=changed, actions_done=done, actions_left=left)


def _listed(actions: t.Sequence[Action]) -> str:
    return "; ".join(describe_action(action) for action in actions) or "nothing"


def describe_action(action: Action) -> str:
    """``"rekey keyslot 3 (primary)"``."""
    where = "" if action.keyslot is None else f" keyslot {action.keyslot}"
    return f"{action.kind}{where}" + (f" ({action.label})" if action.label else "")
