# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One operation, every crash of it, every crash of the run that repairs it, and what must be true of each.

On every state: whatever opened before and is to open afterwards opens now, and something does.
On every situation (see below): the next run ends where the uncut run ended, leaves no note, no damaged copy and no
zombie; none of the headers that were ever on the disk brings an erased secret back. And, in the short form on a part of
them: ``keyslots_info`` names what was interrupted; cryptsetup or QEMU agree on what opens; check mode predicts the very
plan that the next run then carries out; a further run changes nothing.

States of one situation differ only in bytes that no program can tell apart: those of a closed key area (see states.py)
and of salts. A situation is the header without salts, what opens which slot, and what the oldest header would open. The
task runs on the first state of each situation. A :class:`Form` says what is done beyond that, and what only for a part
of the situations.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import amend
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.inspect import inspect
from ansible_collections.luksmith.luks.tests.crash import checker
from ansible_collections.luksmith.luks.tests.crash.blocklog import Call, recorded
from ansible_collections.luksmith.luks.tests.crash.economy import the_same_noise
from ansible_collections.luksmith.luks.tests.crash.peers import opened_by_peer
from ansible_collections.luksmith.luks.tests.crash.states import SPARSE, crashes
from ansible_collections.luksmith.luks.tests.crash.volumes import SECRETS

Opened = t.Dict[int, t.FrozenSet[str]]
Situation = t.Tuple[t.Any, ...]


@dataclasses.dataclass(frozen=True)
class Operation:
    """``task``: arguments of the module without the volume.

    ``fewer_slots``: see docs/transactions.md on a cut rekey of several slots. unbound: keyslots with another key than
    that of the volume, which a secret opens at every instant.
    """

    start: bytes
    task: t.Mapping[str, t.Any]
    detached: bool = False
    fewer_slots: bool = False
    lockout: bool = False
    unbound: t.Tuple[int, ...] = ()


class Form(t.NamedTuple):
    """How much of an operation is tried; the first situation is always among every so-many-th.

    thorough: a write into a key area may stop at any of its sectors, not at three of them. again_on_every: the task
    runs again on every so-many-th of the states whose situation was met before; 0: on none. whole_every: on how many of
    the situations everything is asked. recut_every: how many of the repairing runs are cut in their turn. recut_shapes:
    as
    :func:`.states.crashes` has it.
    """

    thorough: bool = False
    again_on_every: int = 0
    whole_every: int = 1
    recut_every: int = 1
    recut_shapes: int = SPARSE


SHORT = Form(whole_every=5, recut_every=5, recut_shapes=1)
FULL = Form()
THOROUGH = Form(thorough=True, again_on_every=40)
EVERYTHING = Form(thorough=True, again_on_every=1)


@dataclasses.dataclass
class Count:
    """states: distinct disks, tried by the checker; situations: distinct to any program; runs: states on which the task
    ran again.
    """

    states: int = 0
    situations: int = 0
    runs: int = 0
    peer: int = 0

    def __str__(self) -> str:
        return (
            f"{self.states} states, {self.situations} situations, {self.runs} reruns, {self.peer} judged by "
            "cryptsetup or QEMU"
        )


class Lab:
    """The files of one operation, and the module on them."""

    def __init__(self, operation: Operation, folder: pathlib.Path) -> None:
        self.operation = operation
        self.volume = folder / "volume"
        self.where: t.Dict[str, t.Any] = {"device": str(self.volume)}
        if operation.detached:
            payload = folder / "payload"
            payload.write_bytes(bytes(65536))
            self.where = {"device": str(payload), "header": str(self.volume)}

    def run(
        self, image: bytes, *, check: bool = False, depth: int = 0
    ) -> t.Tuple[t.Dict[str, t.Any], bytes, t.List[Call]]:
        """``depth``: how many runs on the same volume were cut before this one."""
        self.volume.write_bytes(image)
        task = parse_task({**self.where, **self.operation.task, "lock_timeout": 0})
        with recorded(self.volume) as calls, the_same_noise(f"depth {depth}"):
            result = amend(task, check=check)
        assert not check or not calls, "check mode wrote"
        return result, self.volume.read_bytes(), calls

    def put(self, image: bytes) -> str:
        self.volume.write_bytes(image)
        return str(self.volume)

    def info(self, image: bytes, known: t.Mapping[str, bytes]) -> t.Dict[str, t.Any]:
        self.volume.write_bytes(image)
        secrets = [{"label": name, "passphrase": secret.decode()} for name, secret in known.items()]
        return inspect(parse_info({**self.where, "secrets": secrets, "lock_timeout": 0}))


class Judge:
    def __init__(self, operation: Operation, folder: pathlib.Path, form: Form = FULL) -> None:
        self.operation = operation
        self.lab = Lab(operation, folder)
        self.form = form
        self.count = Count()
        self._passed = 0
        self._at = checker.embedded_at(operation.start)
        there = set().union(*checker.openers(operation.start[self._at :], SECRETS).values())
        self.secrets = {
            name: secret for name, secret in SECRETS.items() if name in there or name in str(operation.task)
        }
        self._disks: t.Set[int] = set()
        self.met: t.Set[Situation] = set()

    def everything_uncut(self) -> t.List[Call]:
        """The run that nothing disturbs: the goal of all others. Returns its calls."""
        result, final, calls = self.lab.run(self.operation.start)
        assert result["plan"], "the operation must change something"
        self._oldest = checker.read(self.operation.start[self._at :])
        self._before, self._goal = self._names(self.operation.start), self._opened(final)
        self._after = self._names(final)
        assert self._after or self.operation.lockout, "the task must leave an opener"
        self._healed(final, "the uncut run", whole=True)
        return calls

    def everything(self) -> Count:
        todo = [("", 0, self.operation.start, self.everything_uncut())]
        reruns = 0
        while todo:
            path, depth, start, calls = todo.pop()
            shapes = self.form.recut_shapes if depth else None if self.form.thorough else SPARSE
            for state in crashes(start, calls, range(self._at + self._header_size()), shapes=shapes):
                name = state.name
                if name in self._disks:
                    continue
                self._disks.add(name)
                image = state.image()
                where = f"{path}{state.where}"
                rerun = self.check(image, where, depth + 1)
                if rerun is not None:
                    reruns += 1
                    if reruns % self.form.recut_every == 1 % self.form.recut_every:
                        todo.append((f"{where}; then in the rerun: ", depth + 1, image, rerun))
        self.count.states = len(self._disks)
        self.count.situations = len(self.met)
        return self.count

    def check(self, image: bytes, where: str, depth: int = 1) -> t.Optional[t.List[Call]]:
        """The calls of the rerun, when its crashes are still to be looked at. ``depth``: how many runs were cut."""
        header = checker.read(image[self._at :])
        opened = self._opened(image)
        now = frozenset().union(*opened.values())
        assert self._before & self._after <= now, f"{where}: {set(self._before & self._after - now)} stopped working"
        assert now or self.operation.lockout, f"{where}: nothing opens"
        lost = [number for number in self.operation.unbound if not opened.get(number)]
        assert not lost, f"{where}: the key of keyslots {lost}, which are not bound, is lost"
        situation = self._situation(image, header, opened)
        met = situation in self.met
        self.met.add(situation)
        self._passed += met
        every = self.form.again_on_every
        if met and not (every and self._passed % every == 0):
            return None
        whole = self.count.runs % self.form.whole_every == 0
        if whole:
            self.count.peer += 1
            said = opened_by_peer(self.lab.put(image), image, self.secrets, self.operation.unbound)
            assert said == now, f"{where}: the peer opens it with {said}, the checker says {set(now)}"
            self._told(image, header, opened, where)
        calls = self._rerun(image, where, depth, whole=whole)
        return None if met else calls

    def _rerun(self, image: bytes, where: str, depth: int, *, whole: bool) -> t.List[Call]:
        self.count.runs += 1
        predicted = self.lab.run(image, check=True)[0]["plan"] if whole else None
        result, final, calls = self.lab.run(image, depth=depth)
        assert predicted is None or result["plan"] == predicted, f"{where}: check mode predicted another plan"
        ended = self._opened(final)
        assert frozenset().union(*ended.values()) == self._after, f"{where}: the rerun ends with other secrets: {ended}"
        assert self.operation.fewer_slots or ended == self._goal, (
            f"{where}: the rerun ends in other slots: {ended} instead of {self._goal}"
        )
        zombies = [number for number, names in ended.items() if not names and self._goal.get(number) != names]
        assert not zombies, f"{where}: zombies in {zombies}"
        self._healed(final, where, whole=whole)
        gone = self._before - self._after
        for old in (self._oldest, checker.read(image[self._at :])):
            revived = frozenset().union(*checker.openers(final[self._at :], self.secrets, old).values())
            assert not gone & revived, f"{where}: an old header brings {set(gone & revived)} back"
        return calls

    def _healed(self, image: bytes, where: str, *, whole: bool) -> None:
        header = checker.read(image[self._at :])
        assert header.note is None, f"{where}: a note stays"
        assert len(set(header.copies)) <= 1 and None not in header.copies, (
            f"{where}: the copies differ: {header.copies}"
        )
        if whole:
            result, same, calls = self.lab.run(image)
            assert (result["changed"], result["plan"], calls) == (False, [], []) and same == image, (
                f"{where}: a further run would change something"
            )

    def _told(self, image: bytes, header: checker.Header, opened: Opened, where: str) -> None:
        """What keyslots_info says of the state."""
        info = self.lab.info(image, self.secrets)
        unfinished = info["header"]["unfinished"]
        found = None if unfinished is None else (unfinished["kind"], unfinished["keyslot"])
        assert found == header.note, f"{where}: keyslots_info says {unfinished}, the header {header.note}"
        if unfinished is not None:
            assert unfinished["says"] in info["warnings"], f"{where}: the interrupted run is no warning"
        if header.copies:
            healthy = len(set(header.copies)) == 1 and header.copies[0] is not None
            said = set(info["header"]["copies"].values()) == {"ok"}
            assert said == healthy, (
                f"{where}: keyslots_info says {info['header']['copies']}, the sequence ids are {header.copies}"
            )
        told = {row["keyslot"]: frozenset(row["opened_by"]) for row in info["keyslots"] if row["state"] == "active"}
        assert told == opened, f"{where}: keyslots_info says {told}, the checker {opened}"
        dead = [
            number
            for number, names in opened.items()
            if not names and self._opened(self.operation.start).get(number) != names
        ]
        assert not dead or unfinished is not None, f"{where}: keyslots {dead} are dead, and nothing says why"

    def _situation(self, image: bytes, header: checker.Header, opened: Opened) -> Situation:
        slots = tuple(
            (number, slot.offset, slot.iterations, slot.priority, opened[number])
            for number, slot in sorted(header.slots.items())
        )
        newest = max((seqid for seqid in header.copies if seqid is not None), default=0)
        copies = tuple(None if seqid is None else newest - seqid for seqid in header.copies)
        residue = tuple(sorted(checker.openers(image[self._at :], self.secrets, self._oldest).items()))
        return (slots, header.note, copies, residue)

    def _opened(self, image: bytes) -> Opened:
        return checker.openers(image[self._at :], self.secrets)

    def _names(self, image: bytes) -> t.FrozenSet[str]:
        return frozenset().union(*self._opened(image).values())

    def _header_size(self) -> int:
        """Bytes before the first key area."""
        return 4096 if checker.read(self.operation.start[self._at :]).size == 1024 else 32768
