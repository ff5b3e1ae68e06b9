# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""From the header of a volume to a plan, again for each header that it turns out to have: what is tried first, how far
the record is enough, what of an interrupted run helps, and what the task means for this header.
"""

from __future__ import annotations

import contextlib
import re
import typing as t

from ..errors import LuksmithError, Refused, counted, shown
from ..header.foreign_tokens import RECOVERY, is_recovery_key
from ..header.model import Header, Intent, IntentKind
from ..plan.planner import make_plan
from ..plan.types import Plan, Situation, WayBack
from ..task.desired import Desired
from ..task.parse import Task
from ..unlock.hints import hints, made_for, recorded, remembered
from ..unlock.prover import Prover
from ..unlock.session import UnlockSession
from ..unlock.verdict import Verdict
from ..volume import locks
from ..volume.read_header import check_uuid, read_header, read_header_locked
from ..volume.storage import Volume

if t.TYPE_CHECKING:
    from ..unlock.derivations import Measurement

UNLOCKED_ATTEMPTS = 3
_COPY_OF_NOBODY = (
    "{path} has the name of a copy of the header of this volume, which the header does not name: it may still open the"
    " volume with secrets of before. Destroy it ('shred -u'), unless a clone with the same UUID names it: then run the"
    " task for that clone"
)
_PLACE_IN_THE_TASK = re.compile(r"(?:keyslots|unlock)\[[0-9]+\]")

# What is desired of one header, warnings of its bindings, and numbers of tokens of which one of these warnings tells.
_Resolved = t.Tuple[Desired, t.Sequence[str], t.Sequence[int]]


class Terms(t.NamedTuple):
    """What a rotation says of the volume of its task, as :func:`.amend.amend` has it, with secrets by number.

    in_a_rotation: which names the keyslots that nothing known opens, at its end.
    """

    first: t.Sequence[int]
    suggested: t.Mapping[int, int]
    uuid: str
    others: t.Sequence[str]
    in_a_rotation: bool


NO_TERMS = Terms((), {}, "", (), False)


class PlannedChange:
    """A header, the proofs about it, and the plan made from both.

    desired: of this header. by_qemu: whether the plan is for the QEMU that has the image open. verified: whether proofs
    came from secrets, not from the record. copy_evaluations: derivations for copies of the header, up to this plan.
    ``notes``: warnings from carrying out the plan.
    """

    def __init__(
        self,
        header: Header,
        prover: Prover,
        plan: Plan,
        resolved: _Resolved,
        *,
        by_qemu: bool,
        copy_evaluations: int,
        left_behind: t.Sequence[str] = (),
        verified: bool = True,
    ) -> None:
        self.header = header
        self.prover = prover
        self.plan = plan
        self.desired, self.binding_warnings, self.resealed = resolved
        self.by_qemu = by_qemu
        self.copy_evaluations = copy_evaluations
        self.left_behind = left_behind
        self.verified = verified
        self.notes: t.Sequence[str] = ()


class Planning:
    """Plans for one volume, of which the last one counts.

    ``prefetch`` begins the new keys of likely rekeys; it gets the header and, by secret, the keyslots that are
    suggested. ``warn`` gets what the result has to say beside the plan.
    """

    def __init__(
        self,
        task: Task,
        session: UnlockSession,
        terms: Terms,
        *,
        check: bool,
        prefetch: t.Callable[[Header, t.Mapping[int, int]], None],
        warn: t.Callable[[str], None],
    ) -> None:
        self._task = task
        self._session = session
        self._derivations = session.derivations
        self._terms = terms
        self._check = check
        self._prefetch = prefetch
        self._warn = warn
        self._wanted = task.desired  # once a copy of the header lent its key, with that
        self._copy_evaluations = 0
        self._by_qemu = False
        self._move: t.Optional[t.Tuple[int, int]] = None  # of an interrupted run, as noted in QEMU

    def undisturbed(self, volume: Volume) -> PlannedChange:
        """A plan for a header that did not change meanwhile, made without holding a lock during long derivations.

        A plan that will be executed may be outdated here: the header is compared again under the exclusive lock. If
        other programs keep writing, the last plan is made under the shared lock, which makes them wait.
        """
        if self._task.qmp:
            self._settle(volume)
        for _attempt in range(UNLOCKED_ATTEMPTS):
            header = self._read(volume)
            try:
                planned = self.plan(volume, header)
            except LuksmithError:
                if image_of(self._read(volume)) == image_of(header):
                    raise
                continue
            if not (self._check or planned.plan.empty) or image_of(self._read(volume)) == image_of(header):
                return planned
        lock = locks.beside_qemu if self._by_qemu else locks.shared
        with lock(volume, timeout=self._task.lock_timeout):
            return self.plan(volume, read_header(volume))

    def _settle(self, volume: Volume) -> None:
        """Whether a QEMU is to make the change, and what a killed run left in it."""
        from ..volume.live_image import held_by_qemu
        from . import live

        self._by_qemu = held_by_qemu(volume)
        if self._by_qemu:
            left = live.settle(volume, self._task.qmp, check=self._check, timeout=self._task.lock_timeout)
            self._move = left.move
            if left.removed:
                self._warn(f"QEMU still had {counted(left.removed, 'secret')} of an interrupted run; removed")

    def _read(self, volume: Volume) -> Header:
        """Not locked if a QEMU is to write: its job holds the locks of a writer until somebody dismisses it."""
        return read_header(volume) if self._by_qemu else read_header_locked(volume, self._task.lock_timeout)

    def plan(self, volume: Volume, header: Header) -> PlannedChange:
        """Raises Refused, and what :meth:`.Prover.verdict` raises."""
        check_uuid(header, self._terms.uuid)
        self._check_of_no_other(header)
        # An earlier plan may have asked tokens that are gone, or made a binding that another run has made since.
        for secret in self._task.desired.by_token:
            self._derivations.replace(secret, self._task.secrets[secret])
        if self._task.verify == "record" and self._asks_the_record_only(header):
            by_record = self._nothing_to_do_by_the_record(header)
            if by_record is not None:
                return by_record
        own = hints(header, self._task.desired.labels)
        given = {secret: keyslot for secret, keyslot in self._terms.suggested.items() if keyslot in header.keyslots}
        suggested = {**given, **own}
        way_back, copy_fault, measured = self._way_back(header)
        prover = self._session.prover(header, volume.region.reread, suggested)
        prover.measured = measured
        if not header.key_size and prover.given_key() is not None:
            header = header.for_key_of(len(prover.need_volume_key()))
        for keyslot in self._for_the_first(header, prover, own, given):
            any(prover.verdict(secret, keyslot) is Verdict.OPENS for secret in self._terms.first)
        try:
            replaces = any(entry.old_secret is not None for entry in self._task.desired.entries)
            if (
                replaces
                and not self._check
                and not self._by_qemu
                and len(self._task.devices) < self._derivations.workers.cores
            ):
                self._prefetch(header, suggested)
            situation = self._situation(header, prover)._replace(way_back=way_back, copy_fault=copy_fault)
            resolved = self._resolved(header, prover)
            plan = make_plan(situation, resolved[0], prover)
            if not plan.empty and header.write_obstacle is not None:
                raise header.write_obstacle
        except Refused:
            # An obstacle to every change matters more than the reason against this one.
            if header.write_obstacle is not None:
                raise header.write_obstacle from None
            raise
        return PlannedChange(
            header,
            prover,
            plan,
            resolved,
            by_qemu=self._by_qemu,
            copy_evaluations=self._copy_evaluations,
            left_behind=self._left_behind(header, prover, plan, resolved[0]),
        )

    def _check_of_no_other(self, header: Header) -> None:
        """Asked again under the lock, because another run may have got there first."""
        for keyslot, label in made_for(header, self._terms.others).items():
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
        for entry in self._task.desired.entries:
            if entry.old_secret is not None and entry.keyslot is not None:
                asked.add(entry.keyslot)
            elif entry.old_secret is not None:
                asked.update(number for number, slot in header.keyslots.items() if slot.bound)
        return all(number in known for number in asked if number in header.keyslots)

    def _nothing_to_do_by_the_record(self, header: Header) -> t.Optional[PlannedChange]:
        """The empty plan if the record asks for no other one."""
        prover = self._session.record_prover(header, remembered(header, self._labels_of_people()))
        # A refusal based on the record alone proves nothing: the secrets decide.
        with contextlib.suppress(LuksmithError):
            situation, resolved = self._situation(header, prover), self._resolved(header, prover)
            plan = make_plan(situation, resolved[0], prover)
            if plan.empty:
                evaluations = self._copy_evaluations
                return PlannedChange(
                    header, prover, plan, resolved, by_qemu=self._by_qemu, copy_evaluations=evaluations, verified=False
                )
        return None

    def _labels_of_people(self) -> t.List[str]:
        """The labels, each with nothing in place of one that is a place in the task: another secret is there next time.

        What a token keeps is compared with the token.
        """
        desired = self._task.desired
        return [
            "" if _PLACE_IN_THE_TASK.match(label) and secret not in desired.by_token else label
            for secret, label in enumerate(desired.labels)
        ]

    def _way_back(self, header: Header) -> t.Tuple[WayBack, str, t.Optional[Measurement]]:
        """What ``backup_dir`` has of this volume: whether it opens it, why not, and the cost of the key that did."""
        folder, intent = self._task.desired.backup_dir, header.intent
        if not folder:
            return WayBack.NONE, "", None
        from ..volume.copy_file import others

        for path in others(folder, header):
            self._warn(_COPY_OF_NOBODY.format(path=shown(path)))
        if intent is None or not intent.copy:
            return WayBack.OFFERED, "", None
        from .way_back import look

        with self._session.sibling() as session:
            found = look(folder, header, intent, self._task.desired, session)
            self._copy_evaluations += session.evaluations
        if found.fault:
            return WayBack.ELSEWHERE if found.elsewhere else WayBack.OFFERED, found.fault, None
        self._session.lend(found.key)
        lent = (*self._task.desired.volume_keys, f"the copy of the header in {folder}")
        self._wanted = self._task.desired._replace(volume_keys=lent)
        return WayBack.THERE, "", found.measured

    def _for_the_first(
        self, header: Header, prover: Prover, own: t.Mapping[int, int], given: t.Mapping[int, int]
    ) -> t.List[int]:
        """The keyslots on which each of ``first`` is tried, once those that are suggested for it were. own: what the
        header suggests. Where what is given is wrong for one of them, nothing of it counts.
        """
        if not self._terms.first:
            return []
        there = [secret for secret in self._terms.first if secret in given]
        right = all(prover.verdict(secret, given[secret]) is Verdict.OPENS for secret in there)
        taken = {*own.values(), *(given.values() if right else ())}
        return [keyslot for keyslot in header.keyslots if keyslot not in taken]

    def _situation(self, header: Header, prover: Prover) -> Situation:
        """With the note in QEMU as an intent. It is believed only if the temporary slot has a secret that is wanted, so
        that a note that is wrong can erase no other one.
        """
        found = Situation.of(header)
        if self._move is None or found.intent is not None or self._move[1] not in found.slots:
            return found
        wanted = {entry.new_secret for entry in self._task.desired.entries if entry.new_secret is not None}
        if not any(prover.verdict(secret, self._move[1]) is Verdict.OPENS for secret in sorted(wanted)):
            return found
        kind = IntentKind.MOVE_ADD if self._move[0] in found.slots else IntentKind.MOVE_FILL
        return found._replace(intent=Intent(kind, *self._move))

    def _resolved(self, header: Header, prover: Prover) -> _Resolved:
        """What is desired of this header: with the keyslots of bindings that have to go."""
        wanted = self._wanted
        if any(token.type == RECOVERY for token in header.tokens):
            forms = {number for number, secret in enumerate(self._task.secrets) if is_recovery_key(secret.value)}
            wanted = wanted._replace(recovery_keys=tuple(forms))
        if any(entry.binding is not None or entry.token for entry in self._task.desired.entries):
            from .bindings import resolved

            return resolved(wanted, header, prover)
        return wanted, (), ()

    def _left_behind(self, header: Header, prover: Prover, plan: Plan, desired: Desired) -> t.Sequence[str]:
        removes = any(entry.old_secret is not None for entry in desired.entries)
        if self._terms.in_a_rotation or not (removes or not plan.empty):
            return ()
        from . import left_behind

        return left_behind.warnings(header, prover, plan, desired, self._task.secrets)


def image_of(header: Header) -> t.Tuple[t.Any, ...]:
    """What of a header is compared to see whether it changed."""
    return (header.fingerprint_ranges(), header.image())
