# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""From task to result, volume by volume: read, plan and, unless in check mode, apply under the exclusive locks."""

from __future__ import annotations

import contextlib
import functools
import re
import typing as t

from ..crypto.kdf import Budget
from ..crypto.workers import Workers
from ..errors import Busy, Interrupted, LuksmithError, Refused, expected, expected_only, shown
from ..header.foreign_tokens import RECOVERY, is_recovery_key
from ..header.model import Header, Intent, IntentKind
from ..plan.planner import make_plan
from ..plan.types import Action, ActionKind, KdfChoice, Plan, Situation, WayBack
from ..result.actions import Result, action_row, interruption
from ..result.diff import diff
from ..result.slot_table import Row, rows
from ..task.desired import Desired
from ..task.parse import Task
from ..task.secrets import Secret
from ..unlock.hints import hints, made_for, recorded, remembered
from ..unlock.prover import Prover, labels_by_keyslot, tokens_asked
from ..unlock.session import UnlockSession, all_cores
from ..unlock.verdict import Verdict
from ..volume import locks
from ..volume.read_header import check_uuid, read_header, read_header_locked
from ..volume.storage import Volume, open_volume

if t.TYPE_CHECKING:
    from ..apply.header_writer import HeaderWriter
    from ..apply.prefetch import Prefetch
    from ..apply.seal import Sealed
    from ..apply.way_back import HeaderCopy
    from ..unlock.derivations import Measurement
    from .chain import Chain

UNLOCKED_ATTEMPTS = 3
# Not one that has the whole disk of a partition: it has no node of the volume.
_WITH_MONITOR = re.compile(r"\(qemu-(?:system-|kvm|storage-daemon)(?!.* is a partition of)")
_GIVE_QMP = "A QEMU that has the image open makes the change itself if you give the path of its QMP monitor as qmp"
_COPY_OF_NOBODY = (
    "{path} has the name of a copy of the header of this volume, which the header does not name: it may still open the"
    " volume with secrets of before. Destroy it ('shred -u'), unless a clone with the same UUID names it: then run the"
    " task for that clone"
)
_MACHINE = (
    "{gone} no longer opens this image{when}: whoever starts a machine on it needs a secret that does, before its next"
    " start (libvirt: 'virsh secret-set-value', QEMU: '-object secret')"
)
_ALL_DONE = "Everything was done before: nothing is left"
_PLACE_IN_THE_TASK = re.compile(r"(?:keyslots|unlock)\[[0-9]+\]")


class PlannedChange:
    """A header, the proofs about it, and the plan made from both. ``notes``: warnings from carrying out the plan."""

    def __init__(self, header: Header, prover: Prover, plan: Plan, *, verified: bool = True) -> None:
        self.header = header
        self.prover = prover
        self.plan = plan
        self.verified = verified
        self.notes: t.Sequence[str] = ()


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
                change = _Amendment(task, task.devices[0], task.header, session, check=check, first=first)
                places = suggested or {}
                labels = enumerate(task.desired.labels)
                change.in_a_rotation = suggested is not None
                change.uuid, change.others = uuid, others
                change.suggested = {secret: places[label] for secret, label in labels if label in places}
                return change.result()
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
    def __init__(
        self,
        task: Task,
        path: str,
        header_path: t.Optional[str],
        session: UnlockSession,
        *,
        check: bool,
        first: int = 0,
    ) -> None:
        self.task = task
        self.first = [secret for secret in task.desired.unlock[:first] if secret not in task.desired.by_token]
        self.suggested: t.Mapping[int, int] = {}
        self.uuid = ""
        self.others: t.Sequence[str] = ()
        self.in_a_rotation = False  # which names the keyslots that nothing known opens, at its end
        self.path = path
        self.header_path = header_path
        self.check = check
        self.session = session
        self.derivations = session.derivations
        self.warnings: t.List[str] = list(task.warnings)
        self.container = "raw"
        self.identity: t.Any = None
        self.chain: t.Optional[Chain] = None
        self.wanted = task.desired
        self.desired = task.desired
        self.copy_evaluations = 0
        self.binding_warnings: t.Sequence[str] = ()
        self.resealed: t.Sequence[int] = ()
        self.left_behind: t.Sequence[str] = ()
        # secret -> the token that each new keyslot for it gets
        self.tokens: t.Dict[int, t.Mapping[str, t.Any]] = {
            entry.new_secret: {"type": entry.token}
            for entry in task.desired.entries
            if entry.token and entry.new_secret is not None
        }
        self.made: t.Dict[int, Sealed] = {}  # those of bindings among these, and their keys
        self.by_qemu = False
        self.move: t.Optional[t.Tuple[int, int]] = None  # of an interrupted run, as noted in QEMU
        self.format = ""

    @functools.cached_property
    def prefetch(self) -> Prefetch:
        from ..apply.prefetch import Prefetch

        return Prefetch(self.derivations, self.task.desired, self._memory_limit(), record=self.task.record)

    def result(self) -> Result:
        try:
            with expected_only():
                planned = self._plan_without_writing()
                self._seal(planned)
                if planned.plan.empty or self.check:
                    choices = self._choices(planned)
                    self._dry_run(planned, choices)
                    return self._report(planned, *self._tables(planned, choices))
                return self._write_by_qemu(planned) if self.by_qemu else self._write(planned)
        except LuksmithError as error:
            if isinstance(error, Busy) and self._could_go_by_qemu(error.found):
                error.remedy += f". {_GIVE_QMP}"
            raise error.on(self.path) from None

    def _could_go_by_qemu(self, holders: str) -> bool:
        return not self.task.qmp and self.task.single and self.format == "luks1" and bool(_WITH_MONITOR.search(holders))

    def _plan_without_writing(self) -> PlannedChange:
        with open_volume(self.path, self.header_path, writable=False) as volume:
            self.container, self.identity = volume.container, volume.identity
            if self.task.qmp:
                from ..volume.live_image import held_by_qemu
                from . import live

                self.by_qemu = held_by_qemu(volume)
                if self.by_qemu:
                    left = live.settle(volume, self.task.qmp, check=self.check, timeout=self.task.lock_timeout)
                    self.move = left.move
                    if left.removed:
                        self.warnings.append(f"QEMU still had {left.removed} secrets of an interrupted run; removed")
            planned = self._plan_undisturbed(volume)
            self.format = planned.header.format
            self._check_folder(planned, volume)
            if volume.has_others:
                from .chain import chain_of

                self.chain = chain_of(volume, self.task.desired.labels, self.session.sibling)
            if self.by_qemu and not planned.plan.empty:
                live.check_plan(planned.plan, planned.header, self.desired, planned.prover)
                live.check_monitor(volume, planned.header, self.task.qmp)
            elif self.check and not planned.plan.empty:
                # Obstacles that would make the real run fail although the plan is good.
                volume.check_writable()
                obstacles = locks.writer_obstacles(volume)
                self.warnings.extend(obstacles)
                if self._could_go_by_qemu(" ".join(obstacles)):
                    self.warnings.append(f"{_GIVE_QMP}.")
            return planned

    def _plan_undisturbed(self, volume: Volume) -> PlannedChange:
        """A plan for a header that did not change meanwhile, made without holding a lock during long derivations.

        A plan that will be executed may be outdated here: the header is compared again under the exclusive lock. If
        other programs keep writing, the last plan is made under the shared lock, which makes them wait.
        """
        for _attempt in range(UNLOCKED_ATTEMPTS):
            header = self._read(volume)
            try:
                planned = self._plan(volume, header)
            except LuksmithError:
                if _image(self._read(volume)) == _image(header):
                    raise
                continue
            if not (self.check or planned.plan.empty) or _image(self._read(volume)) == _image(header):
                return planned
        lock = locks.beside_qemu if self.by_qemu else locks.shared
        with lock(volume, timeout=self.task.lock_timeout):
            return self._plan(volume, read_header(volume))

    def _read(self, volume: Volume) -> Header:
        """Not locked if a QEMU is to write: its job holds the locks of a writer until somebody dismisses it."""
        return read_header(volume) if self.by_qemu else read_header_locked(volume, self.task.lock_timeout)

    def _plan(self, volume: Volume, header: Header) -> PlannedChange:
        check_uuid(header, self.uuid)
        self._check_of_no_other(header)
        # An earlier plan may have asked tokens that are gone, or made a binding that another run has made since.
        for secret in self.task.desired.by_token:
            self.derivations.replace(secret, self.task.secrets[secret])
        self.left_behind = ()
        if self.task.verify == "record" and self._asks_the_record_only(header):
            prover: Prover = self.session.record_prover(header, remembered(header, self._labels_of_people()))
            # A refusal based on the record alone proves nothing: the secrets decide.
            with contextlib.suppress(LuksmithError):
                plan = make_plan(self._situation(header, prover), self._resolved(header, prover), prover)
                if plan.empty:
                    return PlannedChange(header, prover, plan, verified=False)
        own = hints(header, self.task.desired.labels)
        given = {secret: keyslot for secret, keyslot in self.suggested.items() if keyslot in header.keyslots}
        suggested = {**given, **own}
        way_back, copy_fault, measured = self._way_back(header)
        prover = self.session.prover(header, volume.region.reread, suggested)
        prover.measured = measured
        if not header.key_size and prover.given_key() is not None:
            header = header.for_key_of(len(prover.need_volume_key()))
        for keyslot in self._for_the_first(header, prover, own, given):
            any(prover.verdict(secret, keyslot) is Verdict.OPENS for secret in self.first)
        try:
            replaces = any(entry.old_secret is not None for entry in self.task.desired.entries)
            if (
                replaces
                and not self.check
                and not self.by_qemu
                and len(self.task.devices) < self.derivations.workers.cores
            ):
                self.prefetch.begin(header, suggested)
            situation = self._situation(header, prover)._replace(way_back=way_back, copy_fault=copy_fault)
            plan = make_plan(situation, self._resolved(header, prover), prover)
            if not plan.empty and header.write_obstacle is not None:
                raise header.write_obstacle
        except Refused:
            # An obstacle to every change matters more than the reason against this one.
            if header.write_obstacle is not None:
                raise header.write_obstacle from None
            raise
        removes = any(entry.old_secret is not None for entry in self.desired.entries)
        if not self.in_a_rotation and (removes or not plan.empty):
            from . import left_behind

            self.left_behind = left_behind.warnings(header, prover, plan, self.desired, self.task.secrets)
        return PlannedChange(header, prover, plan)

    def _check_of_no_other(self, header: Header) -> None:
        """Asked again under the lock, because another run may have got there first."""
        for keyslot, label in made_for(header, self.others).items():
            raise Refused(
                f"keyslot {keyslot} was made for {label}, which is the secret of another host",
                why="two hosts have one volume, and each of them would get a secret for it",
                remedy="leave it to one of them, and take it out of the volumes of the other one",
            )

    def _asks_the_record_only(self, header: Header) -> bool:
        """Whether the record answers for each keyslot in which an old secret would be a change.

        A token is no answer: a passphrase can have taken the place of the key that it keeps. What ``purge`` erases
        because nothing is known of it is a change by itself.
        """
        known = recorded(header)
        asked: t.Set[int] = set()
        for entry in self.task.desired.entries:
            if entry.old_secret is not None and entry.keyslot is not None:
                asked.add(entry.keyslot)
            elif entry.old_secret is not None:
                asked.update(number for number, slot in header.keyslots.items() if slot.bound)
        return all(number in known for number in asked if number in header.keyslots)

    def _labels_of_people(self) -> t.List[str]:
        """The labels, each with nothing in place of one that is a place in the task: another secret is there next time.

        What a token keeps is compared with the token.
        """
        desired = self.task.desired
        return [
            "" if _PLACE_IN_THE_TASK.match(label) and secret not in desired.by_token else label
            for secret, label in enumerate(desired.labels)
        ]

    def _for_the_first(
        self, header: Header, prover: Prover, own: t.Mapping[int, int], given: t.Mapping[int, int]
    ) -> t.List[int]:
        """The keyslots on which each of ``first`` is tried, once those that are suggested for it were. own: what the
        header suggests. Where what is given is wrong for one of them, nothing of it counts.
        """
        if not self.first:
            return []
        there = [secret for secret in self.first if secret in given]
        right = all(prover.verdict(secret, given[secret]) is Verdict.OPENS for secret in there)
        taken = {*own.values(), *(given.values() if right else ())}
        return [keyslot for keyslot in header.keyslots if keyslot not in taken]

    def _situation(self, header: Header, prover: Prover) -> Situation:
        """With the note in QEMU as an intent. It is believed only if the temporary slot has a secret that is wanted, so
        that a note that is wrong can erase no other one.
        """
        found = Situation.of(header)
        if self.move is None or found.intent is not None or self.move[1] not in found.slots:
            return found
        wanted = {entry.new_secret for entry in self.task.desired.entries if entry.new_secret is not None}
        if not any(prover.verdict(secret, self.move[1]) is Verdict.OPENS for secret in sorted(wanted)):
            return found
        kind = IntentKind.MOVE_ADD if self.move[0] in found.slots else IntentKind.MOVE_FILL
        return found._replace(intent=Intent(kind, *self.move))

    def _way_back(self, header: Header) -> t.Tuple[WayBack, str, t.Optional[Measurement]]:
        """What ``backup_dir`` has of this volume: whether it opens it, why not, and the cost of the key that did."""
        folder, intent = self.task.desired.backup_dir, header.intent
        if not folder:
            return WayBack.NONE, "", None
        from ..volume.copy_file import others

        self.warnings.extend(_COPY_OF_NOBODY.format(path=shown(path)) for path in others(folder, header))
        if intent is None or not intent.copy:
            return WayBack.OFFERED, "", None
        from .way_back import look

        with self.session.sibling() as session:
            found = look(folder, header, intent, self.task.desired, session)
            self.copy_evaluations += session.evaluations
        if found.fault:
            return WayBack.ELSEWHERE if found.elsewhere else WayBack.OFFERED, found.fault, None
        self.session.lend(found.key)
        lent = (*self.task.desired.volume_keys, f"the copy of the header in {folder}")
        self.wanted = self.task.desired._replace(volume_keys=lent)
        return WayBack.THERE, "", found.measured

    def _check_folder(self, planned: PlannedChange, volume: Volume) -> None:
        """Before the first write, and in check mode. Raises Refused."""
        kinds = [action.kind for action in planned.plan.actions]
        if ActionKind.COPY_HEADER in kinds:
            from ..header.copied import backup_size
            from ..volume.copy_file import check_writable
            from ..volume.elsewhere import check_elsewhere

            self.warnings.extend(check_elsewhere(self.task.desired.backup_dir, volume))
            region = volume.region
            check_writable(self.task.desired.backup_dir, backup_size(planned.header, region.reread, region.size))

    def _resolved(self, header: Header, prover: Prover) -> Desired:
        """What is desired of this header: with the keyslots of bindings that have to go."""
        wanted = self.wanted
        if any(token.type == RECOVERY for token in header.tokens):
            forms = {number for number, secret in enumerate(self.task.secrets) if is_recovery_key(secret.value)}
            wanted = wanted._replace(recovery_keys=tuple(forms))
        if any(entry.binding is not None or entry.token for entry in self.task.desired.entries):
            from .bindings import resolved

            self.desired, self.binding_warnings, self.resealed = resolved(wanted, header, prover)
            return self.desired
        self.desired = wanted
        return self.desired

    def _seal(self, planned: PlannedChange) -> None:
        """The keys and tokens of bindings that the plan adds; in check mode, too, which shows that they can be made."""
        for action in planned.plan.actions:
            entry = None if action.entry is None else self.desired.entries[action.entry]
            if entry is None or entry.binding is None or action.secret is None:
                continue
            from ..apply.seal import sealed

            request = self.task.secrets[action.secret].token
            if action.secret not in self.made:
                self.made[action.secret] = sealed(entry.binding, request.pin if request else bytearray())
            made = self.made[action.secret]
            self.derivations.replace(action.secret, Secret(made.secret, ()))
            self.tokens[action.secret] = made.token

    def _write(self, planned: PlannedChange) -> Result:
        from ..apply.executor import apply_plan, import_steps
        from ..apply.header_writer import HeaderWriter
        from ..apply.keyslot_writer import KeyslotWriter
        from ..volume import snapshots
        from ..volume.locked_write import Expected, locked_write

        import_steps(planned.header.format)
        before, predicted, choices = self._prepare(planned)
        planned_for = Expected(planned.header.uuid, self.identity, _image(planned.header))
        with locked_write(
            self.path, self.header_path, planned_for, _header_and_image, timeout=self.task.lock_timeout
        ) as locked:
            volume, header = locked.volume, locked.found
            if self._planned_again(planned, volume, header, locked.outdated):
                before, predicted, choices = self._prepare(planned)
                self._check_folder(planned, volume)
            disk = HeaderWriter(volume, planned.header, wipe_passes=self._wipe_passes(volume))
            writer = KeyslotWriter(
                disk,
                planned.prover,
                self.desired,
                self._memory_limit(),
                choices,
                self.task.record,
                self.tokens,
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

        planned_for = Expected(planned.header.uuid, self.identity, _image(planned.header))
        with live.changing(
            self.path,
            self.header_path,
            planned_for,
            _header_and_image,
            monitor_path=self.task.qmp,
            timeout=self.task.lock_timeout,
        ) as changing:
            volume, header = changing.locked.volume, changing.locked.found
            self._planned_again(planned, volume, header, changing.locked.outdated)
            live.check_plan(planned.plan, planned.header, self.desired, planned.prover)
            choices = self._choices(planned)
            before, predicted = self._tables(planned, choices)
            image = LiveImage(volume, planned.header, changing.monitor, changing.node, changing.prefix)
            steps = LiveSteps(image, planned.prover, self.desired, choices)
            carry_out(planned.plan, image, steps.perform(), steps.check_proofs)
            return self._done(volume, planned, (before, predicted, image.header), snapshots.copies_elsewhere)

    def _planned_again(self, planned: PlannedChange, volume: Volume, header: Header, outdated: str) -> bool:
        """Whether what the plan was made for has changed; the plan is another one then."""
        outdated = outdated or ("key material changed" if planned.prover.stale(header, volume.region.reread) else "")
        if not outdated:
            return False
        self.warnings.append(f"{outdated} between planning and locking; a new plan was made under the lock")
        fresh = self._plan(volume, header)
        planned.header, planned.prover, planned.plan = fresh.header, fresh.prover, fresh.plan
        self._seal(planned)
        return True

    def _done(
        self,
        volume: Volume,
        planned: PlannedChange,
        tables: t.Tuple[t.List[Row], t.List[Row], Header],
        copies_elsewhere: t.Callable[..., t.Optional[str]],
    ) -> Result:
        self._check_kept_its_place(volume, planned.plan)
        try:
            erases = any(action.kind != ActionKind.ADD for action in planned.plan.actions)
            copies = copies_elsewhere(volume.node.fd, volume.places) if erases else None
            if copies:
                self.warnings.append(f"erased data may survive in older copies: {copies}")
            return self._report(planned, *tables)
        except Exception as error:  # noqa: BLE001 - whatever it is, the volume was changed before
            raise Interrupted.by(
                expected(error), volume.node.path, changed=_ALL_DONE, actions_done=planned.plan.actions
            ) from None

    def _copies(self, planned: PlannedChange, disk: HeaderWriter, volume: Volume) -> t.Optional[HeaderCopy]:
        if not self.task.desired.backup_dir:
            return None
        from ..apply.way_back import HeaderCopy

        return HeaderCopy(self.task.desired.backup_dir, disk, volume.region.size, planned.prover)

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

    def _prepare(self, planned: PlannedChange) -> t.Tuple[t.List[Row], t.List[Row], t.Dict[Action, KdfChoice]]:
        """The tables and the key derivation of new keyslots, whose keys are derived when this returns."""
        choices, questions = self.prefetch.settle(planned.header, self._choices(planned))
        if any(not action.own_key for action in choices):
            planned.prover.need_volume_key()
        self.derivations.finish(questions)
        if self.task.rederive:
            self.derivations.confirm(questions)
        self._dry_run(planned, choices)
        return (*self._tables(planned, choices), choices)

    def _dry_run(self, planned: PlannedChange, choices: t.Mapping[Action, KdfChoice]) -> None:
        if planned.plan.empty:
            return
        from ..apply.dry_run import dry_run

        planned.notes = dry_run(planned.header, planned.plan, choices, record=self.task.record, tokens=self.tokens)

    def _wipe_passes(self, volume: Volume) -> int:
        from ..apply.header_writer import PASSES_MULTIPLE, PASSES_SINGLE

        if self.task.wipe == "auto":
            return PASSES_MULTIPLE if volume.rotational else PASSES_SINGLE
        return PASSES_MULTIPLE if self.task.wipe == "multiple" else PASSES_SINGLE

    def _choices(self, planned: PlannedChange) -> t.Dict[Action, KdfChoice]:
        made = [action for action in planned.plan.actions if action.kind in (ActionKind.ADD, ActionKind.REKEY)]
        if not made:
            return {}
        from ..apply.keyslot_writer import choice_for

        choices = {
            action: choice_for(
                action, planned.header, planned.prover, self.desired, self._memory_limit(), record=self.task.record
            )
            for action in made
        }
        if self.by_qemu:  # which measures them
            return {action: choice._replace(measured=frozenset({"iterations"})) for action, choice in choices.items()}
        return choices

    def _tables(
        self, planned: PlannedChange, choices: t.Mapping[Action, KdfChoice]
    ) -> t.Tuple[t.List[Row], t.List[Row]]:
        """The keyslots as found and as the plan will leave them, with the proofs so far."""
        opened_by = labels_by_keyslot(planned.prover, self.task.desired.labels)
        tried = planned.prover.tried()
        before = rows(
            planned.header, opened_by, [keyslot for keyslot in planned.header.keyslots if keyslot not in tried]
        )
        if planned.plan.empty:
            return before, before
        from ..result.prediction import predict

        by_position = {
            position: choices[action] for position, action in enumerate(planned.plan.actions) if action in choices
        }
        made = {secret: str(token["type"]) for secret, token in self.tokens.items()}
        return before, predict(before, planned.plan, planned.header, by_position, made)

    def _memory_limit(self) -> int:
        """KiB: half of the host's free memory, the limit that cryptsetup's benchmark has on small machines."""
        budget = self.derivations.budget
        return budget.max_memory if budget.available is None else min(budget.max_memory, budget.available // 2)

    def _told_of_a_machine(self, before: t.Sequence[Row], after: t.Sequence[Row]) -> t.List[str]:
        gone = _unopened(before, after)
        when = " once this is done" if self.check else ""
        return [_MACHINE.format(gone=", ".join(gone), when=when)] if gone else []

    def _report(
        self, planned: PlannedChange, before: t.List[Row], predicted: t.List[Row], after: t.Optional[Header] = None
    ) -> Result:
        keyslots = predicted
        if after is not None:
            labels = {row["keyslot"]: row["opened_by"] for row in predicted}
            untried = [row["keyslot"] for row in predicted if not row["tried"]]
            keyslots = rows(after, {keyslot: found for keyslot, found in labels.items() if found}, untried)
        if not planned.verified:
            self.warnings.append(
                "verify: record: according to the record in the header nothing needs to change; "
                "no secret was tried, so nothing is proven"
            )
        self.warnings.extend(planned.plan.warnings)
        if self.container == "qcow2" or self.by_qemu:
            self.warnings.extend(self._told_of_a_machine(before, predicted))
        self.warnings.extend(self.binding_warnings)
        self.warnings.extend(self.left_behind)
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
        self.warnings.extend(planned.prover.token_failures(but=self.resealed))
        if self.chain is not None:
            self.warnings.extend(self.chain.warnings)
        return {
            **({"chain": self.chain.rows} if self.chain is not None else {}),
            **_asked(planned.prover, self.task.desired),
            "changed": not planned.plan.empty,
            "plan": [action_row(action) for action in planned.plan.actions],
            "keyslots": keyslots,
            "diff": diff(
                before, predicted, planned.plan, path=self.path, uuid=planned.header.uuid, format=planned.header.format
            ),
            "uuid": planned.header.uuid,
            "type": planned.header.format,
            "container": self.container,
            **({"via": "qmp"} if self.by_qemu and not planned.plan.empty else {}),
            "verified": planned.verified,
            "kdf_evaluations": self.derivations.evaluations
            + sum(self.chain.evaluations if self.chain else ())
            + self.copy_evaluations,
            "warnings": list(dict.fromkeys(self.warnings)),
        }


def _unopened(rows: t.Sequence[Row], others: t.Sequence[Row]) -> t.List[str]:
    """What opens a keyslot of ``rows`` and none of ``others``: labels, and numbers of keyslots of unknown secrets."""
    labels = {label for row in others for label in row["opened_by"]}
    numbers = {row["keyslot"] for row in others if not row["opened_by"]}
    gone = dict.fromkeys(label for row in rows for label in row["opened_by"] if label not in labels)
    unknown = [row["keyslot"] for row in rows if not row["opened_by"] and row["keyslot"] not in numbers]
    return [*map(shown, gone), *(f"what opened keyslot {number}" for number in unknown)]


def _asked(prover: Prover, desired: Desired) -> Result:
    return {"tokens_asked": tokens_asked(prover, desired.labels)} if desired.by_token else {}


def _image(header: Header) -> t.Tuple[t.Any, ...]:
    return (header.fingerprint_ranges(), header.image())


def _header_and_image(volume: Volume) -> t.Tuple[Header, str, t.Any]:
    header = read_header(volume)
    return header, header.uuid, _image(header)
