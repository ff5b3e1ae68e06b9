# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What a plan needs before a lock is taken: the keys and tokens of bindings, the costs and keys of new keyslots, and
whether all of it fits.
"""

from __future__ import annotations

import functools
import typing as t

from ..header.model import Header
from ..plan.types import Action, ActionKind, KdfChoice
from ..task.parse import Task
from ..task.secrets import Secret
from ..unlock.session import UnlockSession
from .planning import PlannedChange

if t.TYPE_CHECKING:
    from ..apply.prefetch import Prefetch
    from ..apply.seal import Sealed


class Preparation:
    """For one volume: what was derived or sealed for one plan of it is there for the next one.

    ``tokens``: secret -> the token that each new keyslot for it gets.
    """

    def __init__(self, task: Task, session: UnlockSession) -> None:
        self._task = task
        self._derivations = session.derivations
        self.tokens: t.Dict[int, t.Mapping[str, t.Any]] = {
            entry.new_secret: {"type": entry.token}
            for entry in task.desired.entries
            if entry.token and entry.new_secret is not None
        }
        self._sealed: t.Dict[int, Sealed] = {}  # those of bindings among these, and their keys

    @functools.cached_property
    def _prefetch(self) -> Prefetch:
        from ..apply.prefetch import Prefetch

        return Prefetch(self._derivations, self._task.desired, self.memory_limit(), record=self._task.record)

    def begin(self, header: Header, hints: t.Mapping[int, int]) -> None:
        """See :meth:`.Prefetch.begin`: while secrets are still being tried for the plan."""
        self._prefetch.begin(header, hints)

    def seal(self, planned: PlannedChange) -> None:
        """The keys and tokens of bindings that the plan adds; in check mode, too, which shows that they can be made."""
        for action in planned.plan.actions:
            entry = None if action.entry is None else planned.desired.entries[action.entry]
            if entry is None or entry.binding is None or action.secret is None:
                continue
            from ..apply.seal import sealed

            request = self._task.secrets[action.secret].token
            if action.secret not in self._sealed:
                self._sealed[action.secret] = sealed(entry.binding, request.pin if request else bytearray())
            made = self._sealed[action.secret]
            self._derivations.replace(action.secret, Secret(made.secret, ()))
            self.tokens[action.secret] = made.token

    def choices(self, planned: PlannedChange) -> t.Dict[Action, KdfChoice]:
        """The key derivation of each new keyslot."""
        made = [action for action in planned.plan.actions if action.kind in (ActionKind.ADD, ActionKind.REKEY)]
        if not made:
            return {}
        from ..apply.keyslot_writer import choice_for

        choices = {
            action: choice_for(
                action,
                planned.header,
                planned.prover,
                planned.desired,
                self.memory_limit(),
                record=self._task.record,
            )
            for action in made
        }
        if planned.by_qemu:  # which measures them
            return {action: choice._replace(measured=frozenset({"iterations"})) for action, choice in choices.items()}
        return choices

    def derive(self, planned: PlannedChange) -> t.Dict[Action, KdfChoice]:
        """:meth:`choices`; the keys of the new keyslots are derived when this returns, and all of it fits."""
        choices, questions = self._prefetch.settle(planned.header, self.choices(planned))
        if any(not action.own_key for action in choices):
            planned.prover.need_volume_key()
        self._derivations.finish(questions)
        if self._task.rederive:
            self._derivations.confirm(questions)
        self.dry_run(planned, choices)
        return choices

    def dry_run(self, planned: PlannedChange, choices: t.Mapping[Action, KdfChoice]) -> None:
        """Raises Refused if the header cannot hold what the plan makes; the plan notes what has to give way."""
        if planned.plan.empty:
            return
        from ..apply.dry_run import dry_run

        planned.notes = dry_run(planned.header, planned.plan, choices, record=self._task.record, tokens=self.tokens)

    def memory_limit(self) -> int:
        """KiB: half of the host's free memory, the limit that cryptsetup's benchmark has on small machines."""
        budget = self._derivations.budget
        return budget.max_memory if budget.available is None else min(budget.max_memory, budget.available // 2)
