# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scheduler and the prover under random loads: no deadlock, never more memory than the budget, answers as from one
core.

``LUKSMITH_EXAMPLES=5000 tests/run property -- -k scheduler`` is the long form.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import os
import random
import threading
import time
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.workers import Inline, Job, Stopped, Workers
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BudgetExceeded
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Argon2, Extent, Keyslot
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import key_material
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.derivations import Derivations
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.prover import Prover
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.devices import _Shared, run_concurrently
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("LUKSMITH_EXAMPLES", "150"))
DEADLINE = 600.0 + 4 * EXAMPLES  # seconds; only a deadlock ever waits so long

# No clock of hypothesis decides: neither how long an example takes nor how long it takes to draw them.
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True)
def no_deadlock() -> t.Iterator[None]:
    faulthandler.dump_traceback_later(DEADLINE, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@dataclasses.dataclass(frozen=True)
class Load:
    """A job: threads, KiB, rank, whether it fails, and what becomes of it."""

    lanes: int
    memory: int
    rank: int
    fails: bool
    fate: str  # "waited", "abandoned", "late" (abandoned after others were waited for)


loads = st.builds(
    Load,
    lanes=st.integers(1, 6),
    memory=st.sampled_from([0, 0, 1, 10, 60, 100, 150]),
    rank=st.integers(0, 3),
    fails=st.booleans(),
    fate=st.sampled_from(["waited", "waited", "waited", "abandoned", "late"]),
)


class Meter:
    """What runs at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.running: t.List[Load] = []
        self.wrong: t.List[str] = []
        self.discarded: t.List[int] = []

    def work(self, load: Load, number: int, cores: int, budget: int) -> int:
        with self._lock:
            before = list(self.running)
            self.running.append(load)
            if (
                sum(other.memory for other in self.running) > budget
                and any(other.memory for other in before)
                and load.memory
            ):
                self.wrong.append(f"{load} beside {before}")
            if before and sum(other.lanes for other in before) >= cores:
                self.wrong.append(f"no core was idle for {load} beside {before}")
        time.sleep(0)
        with self._lock:
            self.running.remove(load)
        if load.fails:
            raise ValueError(number)
        return number


@often
@given(st.lists(loads, max_size=25), st.integers(1, 6), st.sampled_from([0, 50, 100, 1000]))
def test_every_job_ends_within_the_budget(graph: t.List[Load], cores: int, budget: int) -> None:
    workers, meter = Workers(cores, budget), Meter()
    jobs = []
    for number, load in enumerate(graph):
        job: Job[int] = Job(
            lambda load=load, number=number: meter.work(load, number, cores, budget),  # type: ignore[misc]
            lanes=load.lanes,
            memory=load.memory,
            rank=load.rank,
            discard=meter.discarded.append,
        )
        jobs.append(job)
        workers.submit(job)
        if load.fate == "abandoned":
            workers.abandon(job)
    for number, load in enumerate(graph):
        if load.fate == "waited":
            workers.wait([jobs[number]])
            if load.fails:
                with pytest.raises(ValueError, match=str(number)):
                    jobs[number].result()
            else:
                assert jobs[number].result() == number
    for number, load in enumerate(graph):
        if load.fate == "late":
            workers.abandon(jobs[number])
    workers.stop()
    while any(job.pending for job in jobs):
        time.sleep(0)
    workers.idle()  # waits for the lock under which a job that is done gives its result away
    assert not meter.wrong
    unwanted = {
        number for number, load in enumerate(graph) if load.fate != "waited" and jobs[number].done and not load.fails
    }
    assert unwanted <= set(meter.discarded)
    assert len(meter.discarded) == len(set(meter.discarded))


class World:
    """Slots and who opens them (a secret's number, or None for a stranger); a derivation may fail for want of
    memory.
    """

    def __init__(
        self, slots: t.Sequence[t.Tuple[t.Optional[int], int, bool]], unbound: t.Collection[int], secrets: int
    ) -> None:
        self.openers = {number: opener for number, (opener, _lanes, _fails) in enumerate(slots)}
        self.fails = {number for number, (_opener, _lanes, fails) in enumerate(slots) if fails}
        keyslots = {
            number: Keyslot(
                number=number,
                kind="luks2",
                key_size=1,
                kdf=Argon2("argon2id", 4, 100 * (number % 3 + 1), lanes, bytes([number]) * 32),
                af_hash="sha256",
                af_stripes=1,
                area=Extent(number * 512, 512),
                encryption="aes-xts-plain64",
                area_key_size=64,
                bound=number not in unbound,
            )
            for number, (_opener, lanes, _fails) in enumerate(slots)
        }
        self.header = types.SimpleNamespace(
            keyslots=keyslots,
            digests=[types.SimpleNamespace(number=0, key_size=1, segments=(0,))],
            slot_count=32,
            extent=1 << 20,
        )
        self.secrets = [types.SimpleNamespace(value=bytearray([65 + number])) for number in range(secrets)]
        self._lock = threading.Lock()
        self.held = self.peak = 0
        self.asked: t.List[t.Tuple[int, int]] = []
        self.keys: t.List[bytearray] = []

    def derive(self, parameters: t.Any, value: bytearray, length: int, *, budget: kdf.Budget) -> bytearray:
        number = parameters.salt[0]
        with self._lock:
            self.asked.append((value[0] - 65, number))
            self.held += parameters.memory
            self.peak = max(self.peak, self.held)
        time.sleep(random.choice([0, 0, 0.0005]))
        with self._lock:
            self.held -= parameters.memory
        if number in self.fails:
            raise BudgetExceeded("no memory")
        key = bytearray([value[0], number])
        self.keys.append(key)
        return key

    def unseal(self, slot: Keyslot, key: bytearray, _material: bytes) -> bytearray:
        opens = self.openers[slot.number] == key[0] - 65
        candidate = bytearray(b"volume key" if opens else b"noise")
        self.keys.append(candidate)
        return candidate

    def prover(self, workers: t.Any) -> Prover:
        derivations = Derivations(self.secrets, kdf.Budget(), workers)
        return Prover(t.cast(t.Any, self.header), lambda offset, length: b"", derivations, {})


@pytest.fixture(autouse=True)
def no_real_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def derive(*arguments: t.Any, **more: t.Any) -> bytearray:
        return WORLD[0].derive(*arguments, **more)

    def unseal(*arguments: t.Any) -> bytearray:
        return WORLD[0].unseal(*arguments)

    monkeypatch.setattr(kdf, "derive", derive)
    monkeypatch.setattr(key_material, "unseal", unseal)
    monkeypatch.setattr(key_material, "matches", lambda digest, candidate: bytes(candidate) == b"volume key")
    monkeypatch.setattr(key_material, "digests_of", lambda header, slot: header.digests)
    monkeypatch.setattr(key_material, "why_untriable", lambda slot, digests, budget: "")


WORLD: t.List[World] = []

slots_of_worlds = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(0, 4)), st.integers(1, 4), st.sampled_from([False] * 9 + [True])),
    min_size=1,
    max_size=8,
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 4), st.integers(0, 9)),
        st.tuples(st.just("expect"), st.integers(0, 4), st.integers(0, 9)),
        st.tuples(st.just("search"), st.integers(0, 4), st.integers(0, 1)),
    ),
    max_size=30,
)


def interview(
    world: World, workers: t.Any, script: t.Sequence[t.Tuple[str, int, int]], *, announce: bool
) -> t.Tuple[t.List[t.Any], t.Any, t.Any, Prover]:
    """Ask what ``script`` says, as the planner does: what is announced is asked afterwards, searches end with the first
    hit.
    """
    prover, answers = world.prover(workers), []
    numbers = list(world.header.keyslots)

    def ask(secret: int, keyslot: int) -> t.Any:
        try:
            answers.append(prover.verdict(secret, keyslot))
        except BudgetExceeded:
            answers.append("fault")
        return answers[-1]

    for what, secret, number in script:
        if what == "ask":
            ask(secret, number)
        elif what == "expect":
            questions = [(one, keyslot) for keyslot in numbers for one in (secret, (secret + 1) % 5)]
            if announce:
                prover.expect(questions)
            for question in questions:
                ask(*question)
        else:
            if announce:
                prover.expect_search(secret, numbers, in_vain=bool(number))
            for keyslot in numbers:
                if getattr(ask(secret, keyslot), "value", "") == "opens":
                    break
    return answers, prover.openers(), prover.tried(), prover


@often
@given(
    slots_of_worlds,
    st.sets(st.integers(0, 7), max_size=2),
    steps,
    st.integers(1, 5),
    st.sampled_from([100, 250, 10**6]),
)
def test_answers_do_not_depend_on_cores(
    slots: t.Any, unbound: t.Set[int], script: t.Any, cores: int, budget: int
) -> None:
    alone = World(slots, unbound, 5)
    WORLD[:] = [alone]
    *expected, first = interview(alone, Inline(), script, announce=False)
    together = World(slots, unbound, 5)
    WORLD[:] = [together]
    workers = Workers(cores, budget)
    *found, prover = interview(together, workers, script, announce=True)
    measured = prover.measured and prover.measured.kdf
    prover.close()
    prover.derivations.close()
    workers.stop()
    while together.held:
        time.sleep(0)
    assert found == expected
    assert measured == (first.measured and first.measured.kdf)
    assert len(together.asked) == len(set(together.asked)) == prover.derivations.evaluations
    assert together.peak <= max(budget, 300)
    if not any(what == "search" for what, _secret, _number in script):
        assert len(together.asked) <= len(alone.asked)


@often
@given(
    slots_of_worlds, st.integers(1, 4), st.integers(0, 12), st.sampled_from([KeyboardInterrupt, SystemExit, ValueError])
)
def test_an_interruption_leaves_no_key_behind(slots: t.Any, cores: int, when: int, kind: t.Type[BaseException]) -> None:
    """The waiting thread is interrupted at its ``when``-th wait, as a signal would do it."""
    world = World([(opener, lanes, False) for opener, lanes, _fails in slots], (), 5)
    WORLD[:] = [world]
    workers, waits = Workers(cores, 200), []
    wait = workers.wait

    def interrupted(jobs: t.Any) -> None:
        waits.append(1)
        if len(waits) > when:
            raise kind
        wait(jobs)

    workers.wait = interrupted  # type: ignore[method-assign]
    prover = world.prover(workers)
    try:
        prover.expect([(secret, keyslot) for keyslot in world.header.keyslots for secret in range(5)])
        for keyslot in world.header.keyslots:
            for secret in range(5):
                prover.verdict(secret, keyslot)
    except kind:
        pass
    finally:
        workers.stop()
        prover.close()
        prover.derivations.close()
    while any(thread.name == "luksmith derivation" for thread in threading.enumerate()):
        time.sleep(0)
    assert not any(any(key) for key in world.keys)


@often
@given(st.lists(st.sampled_from(["fine", "error", "slow"]), max_size=30), st.integers(1, 5))
def test_volumes_side_by_side_keep_their_order(kinds: t.List[str], crew: int) -> None:
    def work(number: int) -> int:
        time.sleep(0.001 if kinds[number] == "slow" else 0)
        if kinds[number] == "error":
            raise ValueError(number)
        return number

    works = [lambda number=number: work(number) for number in range(len(kinds))]  # type: ignore[misc]
    if "error" in kinds:
        with pytest.raises(ValueError, match=str(kinds.index("error"))):
            run_concurrently(works, crew, lambda: None)
    else:
        assert run_concurrently(works, crew, lambda: None) == list(range(len(kinds)))


def test_volumes_side_by_side_unwind_when_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    workers, unwound = Workers(1, 100), []
    never = threading.Event()
    running: Job[bool] = Job(lambda: never.wait(DEADLINE))
    workers.submit(running)

    def work() -> None:
        try:
            job: Job[None] = Job(lambda: None)
            workers.submit(job)
            workers.wait([job])
        finally:
            unwound.append(1)

    wait, waits = _Shared.wait, []

    def interrupted(self: _Shared[t.Any], patience: t.Optional[float] = None) -> None:
        waits.append(1)
        if len(waits) == 1:
            raise KeyboardInterrupt
        wait(self, patience)

    monkeypatch.setattr(_Shared, "wait", interrupted)
    with pytest.raises((KeyboardInterrupt, Stopped)):
        run_concurrently([work] * 8, 3, workers.stop)
    assert 0 < len(unwound) <= 3
    never.set()
