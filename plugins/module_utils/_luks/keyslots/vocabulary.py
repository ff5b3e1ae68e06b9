# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The words that planner, prover, apply and result share. Pure values; secrets appear as numbers only.

A *secret number* is the position of a secret in :attr:`Desired.labels` (and in the list of secrets that
``desired.py`` built beside it); two secrets with the same bytes have one number.
"""

from __future__ import annotations

import dataclasses
import enum
import typing as t

from ..header.model import Header, Intent, Kdf, Layout

_Value = t.TypeVar("_Value")

PRESENT = "present"
ABSENT = "absent"

ADD = "add"
REKEY = "rekey"
ERASE = "erase"
FINISH_ERASE = "finish-erase"
SET_PRIORITY = "set-priority"
HEAL_HEADER = "heal-header"


@dataclasses.dataclass(frozen=True)
class Costs:
    """Explicit key derivation costs of an entry; None is "not given". ``memory`` in KiB. All None: no drift ever."""

    type: t.Optional[str] = None
    hash: t.Optional[str] = None
    iterations: t.Optional[int] = None
    time: t.Optional[int] = None
    memory: t.Optional[int] = None
    parallel: t.Optional[int] = None

    @property
    def given(self) -> bool:
        return any(value is not None for value in dataclasses.astuple(self))


@dataclasses.dataclass(frozen=True)
class Entry:
    """One item of the task's ``keyslots``; ``iter_time`` in milliseconds."""

    position: int
    state: str
    keyslot: t.Optional[int] = None
    new_secret: t.Optional[int] = None
    old_secret: t.Optional[int] = None
    costs: Costs = Costs()
    iter_time: t.Optional[int] = None
    priority: t.Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Desired:
    """The final state that a task describes. ``labels[n]`` is how messages call secret ``n``."""

    entries: t.Tuple[Entry, ...]
    unlock: t.Tuple[int, ...]
    labels: t.Tuple[str, ...]
    purge: bool = False
    force: bool = False
    allow_lockout: bool = False


@dataclasses.dataclass(frozen=True)
class SlotView:
    """What the planner may know of an active slot. ``protected_by``: types of other people's tokens that use it."""

    number: int
    kdf: Kdf
    bound: bool = True
    priority: str = "normal"
    protected_by: t.Tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Situation:
    """The observed state as the planner sees it; ``slots`` holds the active ones only."""

    format: str
    slot_count: int
    slots: t.Mapping[int, SlotView]
    layout: Layout
    intent: t.Optional[Intent] = None
    needs_heal: bool = False
    only_hash: str = ""  # LUKS1: the one hash that its keyslots can use

    @classmethod
    def of(cls, header: Header) -> Situation:
        protectors: t.Dict[int, t.List[str]] = {}
        for token in header.tokens:
            if not token.ours:
                for number in token.keyslots:
                    protectors.setdefault(number, []).append(token.type)
        return cls(
            format=header.format,
            slot_count=header.slot_count,
            slots={
                number: SlotView(number=number, kdf=slot.kdf, bound=slot.bound, priority=slot.priority, protected_by=tuple(protectors.get(number, ())))
                for number, slot in header.keyslots.items()
            },
            layout=header.layout,
            intent=header.intent,
            needs_heal=header.needs_heal,
            only_hash=header.digests[0].hash if header.format == "luks1" else "",
        )


class Verdict(enum.Enum):
    """Outcome of trying a secret on a slot. UNTRIED is not CLOSED: nobody knows."""

    OPENS = "opens"
    CLOSED = "closed"
    UNTRIED = "untried"


class Proofs(t.Protocol):
    """Answers by derivation, remembered: the same question never costs twice."""

    def verdict(self, secret: int, keyslot: int) -> Verdict:
        """Does secret number ``secret`` open active slot ``keyslot``? Slots that are not volume-bound: CLOSED."""

    def why_untried(self, keyslot: int) -> str:
        """Why slot ``keyslot`` cannot be tried at all ("unsupported cipher 'serpent'"); "" when it can. Costs nothing."""

    def hint(self, secret: int) -> t.Optional[int]:
        """The slot to try first for this secret, if anything (the record) suggests one."""

    def expect(self, questions: t.Iterable[t.Tuple[int, int]]) -> None:
        """These (secret, keyslot) will be asked for whatever comes out, in this order: they may be worked on together."""

    def expect_search(self, secret: int, keyslots: t.Sequence[int], *, in_vain: bool = False) -> None:
        """These slots will be asked for one by one until ``secret`` opens one; ``in_vain``: most likely it opens none."""


@dataclasses.dataclass(frozen=True)
class Action:
    """One step of a plan.

    secret:   number of the secret that the slot opens with afterwards (add, rekey), else None.
    entry:    position of the entry whose costs apply (add, rekey), None for the end of an interrupted rekey.
    label:    of ``secret``, or of the proven secret that goes away; for people.
    reason:   a sentence for people; never decides anything.
    in_place: rekey with no room beside: erase durably, then add, under an intent.
    resume:   the intent of an interrupted run is carried on from where it stopped.
    via:      the other slot of an interrupted LUKS1 rekey.
    priority: the one to set (add, set-priority), else None.
    """

    kind: str
    keyslot: t.Optional[int]
    reason: str
    label: str = ""
    secret: t.Optional[int] = None
    entry: t.Optional[int] = None
    in_place: bool = False
    resume: bool = False
    via: t.Optional[int] = None
    priority: t.Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do, in execution order."""

    actions: t.Tuple[Action, ...]
    warnings: t.Tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.actions


def given(value: t.Optional[_Value]) -> _Value:
    """``value``, where the kind of entry, action or intent guarantees that there is one."""
    if value is None:
        raise TypeError("a field is missing that this kind always has")
    return value
