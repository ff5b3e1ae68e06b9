# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What the result of one volume says: the keyslots before and after, the warnings, and what was done or would be."""

from __future__ import annotations

import typing as t

from ..errors import shown
from ..header.model import Header
from ..plan.types import Action, KdfChoice
from ..result.actions import Result, action_row
from ..result.diff import diff
from ..result.slot_table import Row, rows
from ..task.desired import Desired
from ..task.parse import Task
from ..unlock.derivations import Derivations
from ..unlock.prover import Prover, labels_by_keyslot, tokens_asked
from .planning import PlannedChange

if t.TYPE_CHECKING:
    from .chain import Chain

_MACHINE = (
    "{gone} no longer opens this image{when}: whoever starts a machine on it needs a secret that does, before its next"
    " start (libvirt: 'virsh secret-set-value', QEMU: '-object secret')"
)


def tables(
    planned: PlannedChange, choices: t.Mapping[Action, KdfChoice], tokens: t.Mapping[int, t.Mapping[str, t.Any]]
) -> t.Tuple[t.List[Row], t.List[Row]]:
    """The keyslots as found and as the plan will leave them, with the proofs so far. ``tokens``: of new secrets."""
    opened_by = labels_by_keyslot(planned.prover, planned.desired.labels)
    tried = planned.prover.tried()
    before = rows(planned.header, opened_by, [keyslot for keyslot in planned.header.keyslots if keyslot not in tried])
    if planned.plan.empty:
        return before, before
    from ..result.prediction import predict

    by_position = {
        position: choices[action] for position, action in enumerate(planned.plan.actions) if action in choices
    }
    made = {secret: str(token["type"]) for secret, token in tokens.items()}
    return before, predict(before, planned.plan, planned.header, by_position, made)


class Report:
    """What was seen of one volume so far. ``warnings``: in the order in which they came up."""

    def __init__(self, task: Task, path: str, derivations: Derivations, *, check: bool) -> None:
        self.task = task
        self.path = path
        self.derivations = derivations
        self.check = check
        self.warnings: t.List[str] = list(task.warnings)
        self.container = "raw"
        self.chain: t.Optional[Chain] = None

    def result(
        self, planned: PlannedChange, before: t.List[Row], predicted: t.List[Row], after: t.Optional[Header] = None
    ) -> Result:
        """``before`` and ``predicted``: of :func:`tables`. after: the header that was written."""
        keyslots = predicted
        if after is not None:
            labels = {row["keyslot"]: row["opened_by"] for row in predicted}
            untried = [row["keyslot"] for row in predicted if not row["tried"]]
            keyslots = rows(after, {keyslot: found for keyslot, found in labels.items() if found}, untried)
        self._warn_of(planned, before, predicted)
        return {
            **({"chain": self.chain.rows} if self.chain is not None else {}),
            **_asked(planned.prover, planned.desired),
            "changed": not planned.plan.empty,
            "plan": [action_row(action) for action in planned.plan.actions],
            "keyslots": keyslots,
            "diff": diff(
                before, predicted, planned.plan, path=self.path, uuid=planned.header.uuid, format=planned.header.format
            ),
            "uuid": planned.header.uuid,
            "type": planned.header.format,
            "container": self.container,
            **({"via": "qmp"} if planned.by_qemu and not planned.plan.empty else {}),
            "verified": planned.verified,
            "kdf_evaluations": self.derivations.evaluations
            + sum(self.chain.evaluations if self.chain else ())
            + planned.copy_evaluations,
            "warnings": list(dict.fromkeys(self.warnings)),
        }

    def _warn_of(self, planned: PlannedChange, before: t.List[Row], predicted: t.List[Row]) -> None:
        if not planned.verified:
            self.warnings.append(
                "verify: record: according to the record in the header nothing needs to change; "
                "no secret was tried, so nothing is proven"
            )
        self.warnings.extend(planned.plan.warnings)
        if self.container == "qcow2" or planned.by_qemu:
            self.warnings.extend(self._told_of_a_machine(before, predicted))
        self.warnings.extend(planned.binding_warnings)
        self.warnings.extend(planned.left_behind)
        self.warnings.extend(planned.header.warnings)
        if planned.plan.empty and planned.header.write_obstacle is not None:
            found = planned.header.write_obstacle.found
            self.warnings.append(f"nothing needs to change, and nothing could be: {shown(found)}")
        self.warnings.extend(planned.notes)
        if self.derivations.timed:
            self.warnings.append(
                "the volume key was given, so that no keyslot was opened whose time could be taken: one derivation "
                f"({', '.join(sorted(self.derivations.timed))}) was measured on this host for the costs of new keyslots"
            )
        if planned.header.format == "luks1":
            self.warnings.extend(self.task.qemu_warnings)
        self.warnings.extend(planned.prover.token_failures(but=planned.resealed))
        if self.chain is not None:
            self.warnings.extend(self.chain.warnings)

    def _told_of_a_machine(self, before: t.Sequence[Row], after: t.Sequence[Row]) -> t.List[str]:
        gone = _unopened(before, after)
        when = " once this is done" if self.check else ""
        return [_MACHINE.format(gone=", ".join(gone), when=when)] if gone else []


def _unopened(rows: t.Sequence[Row], others: t.Sequence[Row]) -> t.List[str]:
    """What opens a keyslot of ``rows`` and none of ``others``: labels, and numbers of keyslots of unknown secrets."""
    rows, others = ([row for row in side if row["state"] == "active"] for side in (rows, others))
    labels = {label for row in others for label in row["opened_by"]}
    numbers = {row["keyslot"] for row in others if not row["opened_by"]}
    gone = dict.fromkeys(label for row in rows for label in row["opened_by"] if label not in labels)
    unknown = [row["keyslot"] for row in rows if not row["opened_by"] and row["keyslot"] not in numbers]
    return [*map(shown, gone), *(f"what opened keyslot {number}" for number in unknown)]


def _asked(prover: Prover, desired: Desired) -> Result:
    return {"tokens_asked": tokens_asked(prover, desired.labels)} if desired.by_token else {}
