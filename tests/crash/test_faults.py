# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault at every system call on the volume: a sentence, the truth, no lock and no descriptor left, and a state that a
rerun ends.

The short form takes every call that writes or makes durable, and every fourth one of those that look, shifted from
operation to operation; ``--size full`` takes them all, ``tests/run faults -- --thorough`` more operations and more
kinds of faults.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import pathlib
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import amend
from ansible_collections.luksmith.luks.plugins.module_utils._module import runner
from ansible_collections.luksmith.luks.tests.crash import checker
from ansible_collections.luksmith.luks.tests.crash.economy import the_same_noise
from ansible_collections.luksmith.luks.tests.crash.faults import LOST, THERE, TORN, Fault, injected
from ansible_collections.luksmith.luks.tests.crash.judge import SHORT, Form, Judge
from ansible_collections.luksmith.luks.tests.crash.operations import LONG, OPERATIONS, operation, peers_of

SHORT_FORM = (
    "luks1: rekey the only slot",
    "luks1: erase first without room",
    "luks2: rekey a named slot",
    "luks2: rekey without room",
    "qcow2: erase",
)
# call -> errors that a test of the short form injects, and those that only the long form adds
ERRORS: t.Dict[str, t.Tuple[t.Tuple[int, ...], t.Tuple[int, ...]]] = {
    "open": ((errno.EIO,), (errno.EACCES, errno.ENXIO)),
    "stat": ((errno.ENOENT,), (errno.EIO,)),
    "fstat": ((errno.EIO,), ()),
    "lseek": ((errno.EIO,), ()),
    "pread": ((errno.EIO,), (errno.ENODEV,)),
    "preadv": ((errno.EIO,), (errno.EINVAL,)),
    "pwrite": ((errno.EIO, errno.ENOSPC), (errno.EROFS, errno.EPERM, errno.EDQUOT)),
    "fcntl": ((errno.ENOLCK,), (errno.EIO,)),
    "flock": ((errno.ENOLCK,), (errno.EIO,)),
}
FATES = (LOST, THERE, TORN)
EVERY = [
    pytest.param(name, marks=[pytest.mark.needs(*peers_of(name)), *([] if name in SHORT_FORM else [pytest.mark.long])])
    for name in OPERATIONS
    if name not in LONG  # variants of other operations with the same calls
]


@dataclasses.dataclass
class Faults:
    """injected: faults that happened; failures: runs that ended with a sentence; interrupted: of these, after the first
    write.
    """

    injected: int = 0
    failures: int = 0
    interrupted: int = 0
    situations: int = 0


def faults_for(counts: t.Mapping[str, int], form: Form, name: str) -> t.Iterator[Fault]:
    def calls(call: str) -> range:
        return (
            range(list(OPERATIONS).index(name) % 4, counts.get(call, 0), 4)
            if form == SHORT and call != "pwrite"
            else range(counts.get(call, 0))
        )

    for call, (usual, more) in ERRORS.items():
        for index in calls(call):
            for error in usual + (more if form.thorough else ()):
                yield Fault(call, index, error)
    for index in range(counts["fsync"]):
        for fate in FATES:
            yield Fault("fsync", index, errno.EIO, fate=fate)
    for index in calls("pwrite"):
        yield Fault("pwrite", index, errno.EIO, lasting=True)
    for call in ("pread", "preadv"):
        for index in calls(call):
            yield Fault(call, index, end=True)
            if form.thorough:
                yield Fault(call, index, errno.ENODEV, lasting=True)
    for call in ("pread", "preadv", "pwrite"):
        yield Fault(call, 0, short=True)


def descriptors() -> t.Set[str]:
    return {link for link in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{link}")}


class Trial:
    """Faults in the runs of one operation."""

    def __init__(self, name: str, folder: pathlib.Path, form: Form) -> None:
        self.name = name
        self.judge = Judge(operation(name), folder, form)
        self.judge.everything_uncut()
        self.lab, self.start = self.judge.lab, self.judge.operation.start
        self.at = checker.embedded_at(self.start)
        self.goal = self._opened(self.lab.run(self.start)[1])
        self.before = self._opened(self.start)

    def _opened(self, image: bytes) -> t.Dict[int, t.FrozenSet[str]]:
        return checker.openers(image[self.at :], self.judge.secrets)

    def run(self, fault: t.Optional[Fault]) -> t.Tuple[t.Dict[str, t.Any], bytes, t.Any]:
        """Salts and noise are the same every time: only the fault makes a difference, and what was judged need not be
        judged again.
        """
        self.lab.put(self.start)
        task = parse_task({**self.lab.where, **self.lab.operation.task, "lock_timeout": 0})
        with injected(str(self.lab.volume), fault) as state, the_same_noise(self.name, salts=True):
            result = runner._outcome(lambda: amend(task, check=False), "")
            # What a thread was deriving when the run failed ends in vain, but ends.
            for thread in threading.enumerate():
                if thread is not threading.main_thread() and thread.daemon and thread.name == "luksmith derivation":
                    thread.join()
        return result, self.lab.volume.read_bytes(), state

    def inject_all(self, faults: t.Iterable[Fault], count: Faults) -> None:
        for fault in faults:
            try:
                self.inject(fault, count)
            except AssertionError as error:
                pytest.fail(f"{fault}: {error}")
        count.situations = len(self.judge.met)

    def inject(self, fault: Fault, count: Faults) -> None:
        before = descriptors()
        result, image, state = self.run(fault)
        assert descriptors() == before, "a descriptor stays open"
        assert not self._locks(), "a lock stays"
        count.injected += state.hit
        if state.hit and fault.call == "pwrite" and fault.fate:
            assert state.counts["pwrite"] == fault.index + 1, "it went on writing to a medium that lies"
            assert "loses writes" in result.get("msg", ""), (
                f"a lie was believed, or taken for something else: {result.get('msg')}"
            )
        if not result.get("failed"):
            assert self._opened(image) == self.goal
            return
        count.failures += 1
        said = result["msg"]
        assert "error in luksmith.luks" not in said, said
        assert said.startswith(str(self.lab.volume)) and said.endswith((".", "!")), said
        self._truth(result, image)
        count.interrupted += "actions_left" in result
        self.judge.check(image, str(fault))

    def _truth(self, result: t.Mapping[str, t.Any], image: bytes) -> None:
        said = result["msg"]
        if image != self.start:
            assert result.get("changed") and "actions_left" in result, f"it changed something and says: {said}"
        if "Nothing was changed" in said:
            assert image == self.start and not result.get("changed"), f"it changed something and says: {said}"
        if "actions_left" not in result:
            return
        opened = self._opened(image)
        left = {row["keyslot"] for row in result["actions_left"]}
        for row in result["actions_done"]:
            number = row["keyslot"]
            assert number in left or opened.get(number) == self.goal.get(number), f"{row} is not done: {opened}"
        begun = result["actions_left"][0]["keyslot"] if result["actions_left"] else None
        done = {row["keyslot"] for row in result["actions_done"]}
        for row in result["actions_left"][1:]:
            number = row["keyslot"]
            # A rekey keeps its new secret in a free keyslot meanwhile, and wipes it there when it has been moved.
            passing = number not in self.before and opened.get(number, frozenset()) <= self.goal.get(begun, frozenset())
            assert number in done | {begun} or passing or opened.get(number) == self.before.get(number), (
                f"{row} is said not to be begun: {opened}"
            )

    def _locks(self) -> t.List[str]:
        status = os.stat(self.lab.volume)
        return [
            row
            for row in pathlib.Path("/proc/locks").read_text().splitlines()
            if f":{status.st_ino} " in row and f" {os.getpid()} " in row
        ]


@contextlib.contextmanager
def faults_of(
    name: str, folder: pathlib.Path, form: Form, count: t.Callable[[str, t.Any], None]
) -> t.Iterator[t.Tuple[Trial, t.Mapping[str, int], Faults]]:
    """An operation that nothing has disturbed yet, its calls by name, and the numbers to fill, which are counted at the
    end.
    """
    numbers = Faults()
    trial = Trial(name, folder, form)
    result, image, state = trial.run(None)
    assert result["changed"] and trial._opened(image) == trial.goal
    yield trial, state.counts, numbers
    count(name, numbers)


@pytest.mark.parametrize("name", EVERY)
def test_a_medium_that_acknowledges_a_write_and_keeps_the_old_bytes(
    name: str, form: Form, scratch: pathlib.Path, count: t.Callable[[str, t.Any], None]
) -> None:
    with faults_of(name, scratch, form, count) as (trial, counts, numbers):
        trial.inject_all(
            (Fault("pwrite", index, fate=fate) for index in range(counts["pwrite"]) for fate in (LOST, TORN)), numbers
        )
        assert numbers.failures == numbers.injected


@pytest.mark.parametrize("name", EVERY)
def test_a_fault_at_any_call(
    name: str, form: Form, scratch: pathlib.Path, count: t.Callable[[str, t.Any], None]
) -> None:
    """Takes seconds: the task runs a hundred times, once for each fault, and after most of them once more."""
    with faults_of(name, scratch, form, count) as (trial, counts, numbers):
        trial.inject_all(faults_for(counts, form, name), numbers)
