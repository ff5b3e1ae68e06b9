# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""From task to result, volume by volume: plan and, unless in check mode, carry out under the exclusive locks."""

from __future__ import annotations

import functools
import re
import typing as t

from ..crypto.kdf import Budget
from ..crypto.workers import Workers
from ..errors import Busy, Interrupted, LuksmithError, Refused, expected, expected_only
from ..header.model import Header
from ..plan.types import Action, ActionKind, KdfChoice, Plan
from ..result.actions import Result, interruption
from ..result.slot_table import Row
from ..task.parse import Task
from ..unlock.session import UnlockSession, all_cores
from ..volume import locks
from ..volume.read_header import read_header
from ..volume.storage import Volume, open_volume
from .planning import NO_TERMS, PlannedChange, Planning, Terms, image_of
from .preparing import Preparation
from .reporting import Report, tables

if t.TYPE_CHECKING:
    from ..apply.header_writer import HeaderWriter
    from ..apply.way_back import HeaderCopy

# Not one that has the whole disk of a partition: it has no node of the volume.
_WITH_MONITOR = re.compile(r"\(qemu-(?:system-|kvm|storage-daemon)(?!.* is a partition of)")
_GIVE_QMP = "A QEMU that has the image open makes the change itself if you give the path of its QMP monitor as qmp"
_ALL_DONE = "Everything was done before: nothing is left"


def amend(
    task: Task,
    *,
    check: bool,
    first: int = 0,
    suggested: t.Optional[t.Mapping[str, int]] = None,
    uuid: str = "",
    others: t.Sequence[str] = (),
) -> Result:
    """Bring each volume of the task to the desired state; in check mode, report what that would do.

    first: how many secrets of ``unlock`` are tried before all others on keyslots that nothing suggests a secret for.
    Where they open, no other secret needs a derivation. suggested: label of a secret -> the keyslot to try it on first,
    unless the header has a hint of its own. uuid: of the only volume that may be changed. others: labels; a volume with
    a keyslot that was made for a secret of such a label is refused. All only with ``device``.

    With ``device``, raises LuksmithError if the volume cannot be read or the change is refused, and Interrupted if it
    fails after the first write. With ``devices``, each volume is planned and applied alone, the result has one item for
    each, and ``failed`` is set if one of them failed.
    """
    with all_cores(task.budget) as (budget, workers):
        if task.single:
            with UnlockSession(task.secrets, budget, workers, volume_keys=task.volume_keys) as session:
                places = suggested or {}
                terms = Terms(
                    first=[secret for secret in task.desired.unlock[:first] if secret not in task.desired.by_token],
                    suggested={
                        secret: places[label] for secret, label in enumerate(task.desired.labels) if label in places
                    },
                    uuid=uuid,
                    others=others,
                    in_a_rotation=suggested is not None,
                )
                return _Amendment(task, task.devices[0], task.header, session, check=check, terms=terms).result()
        from .devices import combined, distinct_volumes, run_concurrently

        volumes = distinct_volumes(task.devices)
        concurrency = 1 + 2 * workers.cores  # while some write or wait for locks, others derive keys
        one = functools.partial(_one_of_several, task, budget, workers, check)
        works = [functools.partial(one, *volume, rank) for rank, volume in enumerate(volumes)]
        return combined(run_concurrently(works, concurrency, workers.stop))


def _one_of_several(
    task: Task, budget: Budget, workers: Workers, check: bool, path: str, names: t.List[str], rank: int
) -> Result:
    """The result of one of several volumes; ``names``: further paths to it, ``rank``: its place in the task."""
    with UnlockSession(task.secrets, budget, workers, rank, task.volume_keys) as session:
        try:
            one = _Amendment(task, path, None, session, check=check).result()
            one["status"] = "done" if one["changed"] else "unchanged"
        except Interrupted as error:
            one = {"status": "partial", "changed": True, "failed": True, "msg": str(error), **interruption(error)}
        except LuksmithError as error:
            one = {"status": "refused", "changed": False, "failed": True, "msg": str(error.on(path))}
        one.setdefault("kdf_evaluations", session.evaluations)
    return {"device": path, **({"also": names} if names else {}), **one}


class _Amendment:
    """The change of one volume. ``report`` has what came up on the way, however often it was planned again."""

    def __init__(
        self,
        task: Task,
        path: str,
        header_path: t.Optional[str],
        session: UnlockSession,
        *,
        check: bool,
        terms: Terms = NO_TERMS,
    ) -> None:
        self.task = task
        self.path = path
        self.header_path = header_path
        self.check = check
        self.session = session
        self.preparation = Preparation(task, session)
        self.report = Report(task, path, session.derivations, check=check)
        self.planning = Planning(
            task, session, terms, check=check, prefetch=self.preparation.begin, warn=self.report.warnings.append
        )
        self.identity: t.Any = None
        self.format = ""

    def result(self) -> Result:
        try:
            with expected_only():
                planned = self._plan_without_writing()
                self.preparation.seal(planned)
                if planned.plan.empty or self.check:
                    choices = self.preparation.choices(planned)
                    self.preparation.dry_run(planned, choices)
                    return self.report.result(planned, *tables(planned, choices, self.preparation.tokens))
                return self._write_by_qemu(planned) if planned.by_qemu else self._write(planned)
        except LuksmithError as error:
            if isinstance(error, Busy) and self._could_go_by_qemu(error.found):
                error.remedy += f". {_GIVE_QMP}"
            raise error.on(self.path) from None

    def _could_go_by_qemu(self, holders: str) -> bool:
        return not self.task.qmp and self.task.single and self.format == "luks1" and bool(_WITH_MONITOR.search(holders))

    def _plan_without_writing(self) -> PlannedChange:
        with open_volume(self.path, self.header_path, writable=False) as volume:
            self.report.container, self.identity = volume.container, volume.identity
            planned = self.planning.undisturbed(volume)
            self.format = planned.header.format
            self._check_folder(planned, volume)
            if volume.has_others:
                from .chain import chain_of

                self.report.chain = chain_of(volume, self.task.desired.labels, self.session.sibling)
            if planned.by_qemu and not planned.plan.empty:
                from . import live

                live.check_plan(planned.plan, planned.header, planned.desired, planned.prover)
                live.check_monitor(volume, planned.header, self.task.qmp)
            elif self.check and not planned.plan.empty:
                # Obstacles that would make the real run fail although the plan is good.
                volume.check_writable()
                obstacles = locks.writer_obstacles(volume)
                self.report.warnings.extend(obstacles)
                if self._could_go_by_qemu(" ".join(obstacles)):
                    self.report.warnings.append(f"{_GIVE_QMP}.")
            return planned

    def _check_folder(self, planned: PlannedChange, volume: Volume) -> None:
        """Before the first write, and in check mode. Raises Refused."""
        kinds = [action.kind for action in planned.plan.actions]
        if ActionKind.COPY_HEADER in kinds:
            from ..header.copied import backup_size
            from ..volume.copy_file import check_writable
            from ..volume.elsewhere import check_elsewhere

            self.report.warnings.extend(check_elsewhere(self.task.desired.backup_dir, volume))
            region = volume.region
            check_writable(self.task.desired.backup_dir, backup_size(planned.header, region.reread, region.size))

    def _write(self, planned: PlannedChange) -> Result:
        from ..apply.executor import apply_plan, import_steps
        from ..apply.header_writer import HeaderWriter
        from ..apply.keyslot_writer import KeyslotWriter
        from ..volume import snapshots
        from ..volume.locked_write import Expected, locked_write

        import_steps(planned.header.format)
        before, predicted, choices = self._prepare(planned)
        planned_for = Expected(planned.header.uuid, self.identity, image_of(planned.header))
        with locked_write(
            self.path, self.header_path, planned_for, _header_and_image, timeout=self.task.lock_timeout
        ) as locked:
            volume, header = locked.volume, locked.found
            current = self._current(planned, volume, header, locked.outdated)
            if current is not planned:
                planned = current
                before, predicted, choices = self._prepare(planned)
                self._check_folder(planned, volume)
            disk = HeaderWriter(volume, planned.header, wipe_passes=self._wipe_passes(volume))
            writer = KeyslotWriter(
                disk,
                planned.prover,
                planned.desired,
                self.preparation.memory_limit(),
                choices,
                self.task.record,
                self.preparation.tokens,
                self._copies(planned, disk, volume),
            )
            apply_plan(planned.plan, writer, record=self.task.record)
            planned.notes = disk.notes
            return self._done(volume, planned, (before, predicted, disk.header), snapshots.copies_elsewhere)

    def _write_by_qemu(self, planned: PlannedChange) -> Result:
        from ..apply.executor import carry_out
        from ..apply.live_steps import LiveImage, LiveSteps
        from ..volume import snapshots
        from ..volume.locked_write import Expected
        from . import live

        planned_for = Expected(planned.header.uuid, self.identity, image_of(planned.header))
        with live.changing(
            self.path,
            self.header_path,
            planned_for,
            _header_and_image,
            monitor_path=self.task.qmp,
            timeout=self.task.lock_timeout,
        ) as changing:
            volume, header = changing.locked.volume, changing.locked.found
            planned = self._current(planned, volume, header, changing.locked.outdated)
            live.check_plan(planned.plan, planned.header, planned.desired, planned.prover)
            choices = self.preparation.choices(planned)
            before, predicted = tables(planned, choices, self.preparation.tokens)
            image = LiveImage(volume, planned.header, changing.monitor, changing.node, changing.prefix)
            steps = LiveSteps(image, planned.prover, planned.desired, choices)
            carry_out(planned.plan, image, steps.perform(), steps.check_proofs)
            return self._done(volume, planned, (before, predicted, image.header), snapshots.copies_elsewhere)

    def _current(self, planned: PlannedChange, volume: Volume, header: Header, outdated: str) -> PlannedChange:
        """The plan, or another one if what it was made for has changed."""
        outdated = outdated or ("key material changed" if planned.prover.stale(header, volume.region.reread) else "")
        if not outdated:
            return planned
        self.report.warnings.append(f"{outdated} between planning and locking; a new plan was made under the lock")
        fresh = self.planning.plan(volume, header)
        self.preparation.seal(fresh)
        return fresh

    def _prepare(self, planned: PlannedChange) -> t.Tuple[t.List[Row], t.List[Row], t.Dict[Action, KdfChoice]]:
        """The tables and the key derivation of new keyslots, whose keys are derived when this returns."""
        choices = self.preparation.derive(planned)
        return (*tables(planned, choices, self.preparation.tokens), choices)

    def _copies(self, planned: PlannedChange, disk: HeaderWriter, volume: Volume) -> t.Optional[HeaderCopy]:
        if not self.task.desired.backup_dir:
            return None
        from ..apply.way_back import HeaderCopy

        return HeaderCopy(self.task.desired.backup_dir, disk, volume.region.size, planned.prover)

    def _wipe_passes(self, volume: Volume) -> int:
        from ..apply.header_writer import PASSES_MULTIPLE, PASSES_SINGLE

        if self.task.wipe == "auto":
            return PASSES_MULTIPLE if volume.rotational else PASSES_SINGLE
        return PASSES_MULTIPLE if self.task.wipe == "multiple" else PASSES_SINGLE

    def _done(
        self,
        volume: Volume,
        planned: PlannedChange,
        before_and_after: t.Tuple[t.List[Row], t.List[Row], Header],
        copies_elsewhere: t.Callable[..., t.Optional[str]],
    ) -> Result:
        self._check_kept_its_place(volume, planned.plan)
        try:
            erases = any(action.kind != ActionKind.ADD for action in planned.plan.actions)
            copies = copies_elsewhere(volume.node.fd, volume.places) if erases else None
            if copies:
                self.report.warnings.append(f"erased data may survive in older copies: {copies}")
            return self.report.result(planned, *before_and_after)
        except Exception as error:  # noqa: BLE001 - whatever it is, the volume was changed before
            raise Interrupted.by(
                expected(error), volume.node.path, changed=_ALL_DONE, actions_done=planned.plan.actions
            ) from None

    def _check_kept_its_place(self, volume: Volume, plan: Plan) -> None:
        try:
            volume.check_still_there()
        except Refused as error:
            raise Interrupted.by(
                error,
                volume.node.path,
                why="the change was made in the file or device that was open, and the path leads to another one now",
                remedy="find out what took its place, and run the task again if that is the volume",
                changed=_ALL_DONE,
                actions_done=plan.actions,
            ) from None


def _header_and_image(volume: Volume) -> t.Tuple[Header, str, t.Any]:
    header = read_header(volume)
    return header, header.uuid, image_of(header)
