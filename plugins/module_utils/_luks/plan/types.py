# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The input and output of planning. Pure values; secrets appear as numbers only (see :mod:`.task.desired`)."""

from __future__ import annotations

import typing as t

from ..header import model
from ..header.model import Header, Intent, Kdf, Layout
from ..unlock.verdict import Verdict
from ..word import Word
from .actions import Action, ActionKind

__all__ = ("Action", "ActionKind", "KdfChoice", "Plan", "Proofs", "Situation", "SlotView", "WayBack")


class WayBack(Word):
    """Whether a copy of the header outside of the volume may be what a crash leaves to open it (``backup_dir``)."""

    NONE = "none"
    ELSEWHERE = "elsewhere"  # an interrupted run had another folder, and its copy is not in the given one
    OFFERED = "offered"  # a plan may begin with one
    THERE = "there"  # an interrupted run left one, and a secret of this task opens it: this run has the volume key


class SlotView(t.NamedTuple):
    """What the planner may know of an active keyslot. ``protected_by``: types of foreign tokens that use it."""

    number: int
    kdf: Kdf
    bound: bool = True
    priority: str = "normal"
    protected_by: t.Tuple[str, ...] = ()


class Situation(t.NamedTuple):
    """The observed state as the planner sees it; ``slots`` has the active keyslots only."""

    format: str
    slot_count: int
    slots: t.Mapping[int, SlotView]
    layout: Layout
    intent: t.Optional[Intent] = None
    needs_heal: bool = False
    only_hash: str = ""  # LUKS1: the one hash that its keyslots can use
    # LUKS1: keyslots with an entry of luksmeta, and those of them whose entry cannot be removed with the keyslot: its
    # program would take a new key for its own.
    noted: t.FrozenSet[int] = frozenset()
    entries_that_stay: t.FrozenSet[int] = frozenset()
    # What is known of the copy that the intent notes: ``copy_fault`` is why it is no way back, in words, ``copy_name``
    # the name of its file.
    way_back: WayBack = WayBack.NONE
    copy_fault: str = ""
    copy_name: str = ""

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
                number: SlotView(
                    number=number,
                    kdf=slot.kdf,
                    bound=slot.bound,
                    priority=slot.priority,
                    protected_by=tuple(protectors.get(number, ())),
                )
                for number, slot in header.keyslots.items()
            },
            layout=header.layout,
            intent=header.intent,
            copy_name="" if header.intent is None else header.intent.copy_file(header.uuid),
            needs_heal=header.needs_heal,
            only_hash=header.digests[0].hash if header.format == "luks1" else "",
            noted=frozenset(protectors if header.format == "luks1" else ()),
            entries_that_stay=frozenset(
                number for number, types in protectors.items() if model.LUKSMETA_UNREADABLE in types
            ),
        )


class Proofs(t.Protocol):
    """Answers by derivation, remembered: each question is derived at most once."""

    def verdict(self, secret: int, keyslot: int) -> Verdict:
        """Does secret number ``secret`` open active keyslot ``keyslot``? CLOSED if the keyslot is not bound.

        Raises StorageFault if its key material cannot be read, and what :func:`.kdf.derive` raises.
        """

    def opens_unbound(self, secret: int, keyslot: int) -> bool:
        """Whether the secret opens an active keyslot that is not bound: to another key than the volume's.

        False if it cannot be tried. Raises as :meth:`verdict`.
        """

    def why_untried(self, keyslot: int) -> str:
        """Why ``keyslot`` cannot be tried at all ("unsupported cipher 'serpent'"); "" if it can. Derives nothing."""

    def given_key(self) -> t.Optional[int]:
        """The number of the volume key of the task that is the one of the volume, by its digest, or None."""

    def why_not_key(self, number: int) -> str:
        """Why volume key ``number`` of the task is not the one of the volume, or "" if it is."""

    def token_failures(self) -> t.List[str]:
        """Why tokens that were asked yielded no secret that opens a keyslot, in words."""

    def hint(self, secret: int) -> t.Optional[int]:
        """The keyslot to try first for this secret, if the record or a labelled salt suggests one."""

    def expect(self, questions: t.Iterable[t.Tuple[int, int]]) -> None:
        """Announce (secret, keyslot) that will be asked for in this order in any case; they may be tried together."""

    def expect_search(self, secret: int, keyslots: t.Sequence[int], *, in_vain: bool = False) -> None:
        """Announce a search: keyslots in this order until ``secret`` opens one; ``in_vain``: it likely opens none."""


class Plan(t.NamedTuple):
    """What to do, in execution order."""

    actions: t.Tuple[Action, ...]
    warnings: t.Tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.actions


class KdfChoice(t.NamedTuple):
    """``kdf`` of a new keyslot; ``measured`` names the fields that another run or host could choose differently."""

    kdf: Kdf
    measured: t.FrozenSet[str] = frozenset()
