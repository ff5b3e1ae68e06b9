# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scheduler of derivations: what runs beside what, in which order, and how it ends."""

from __future__ import annotations

import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import argon2, kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import workers as scheduler
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.providers import NotProvided
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.workers import Inline, Job, Stopped, Workers
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Argon2

DEADLINE = 30.0  # seconds; only a deadlock ever waits so long


class Gated:
    """A job that tells when it runs and ends when the test says so."""

    def __init__(self, workers: Workers, value: t.Any = None, **options: t.Any) -> None:
        self.runs, self.may_end = threading.Event(), threading.Event()
        self.value = value
        self.job: Job[t.Any] = Job(self._work, **options)
        workers.submit(self.job)

    def _work(self) -> t.Any:
        self.runs.set()
        assert self.may_end.wait(DEADLINE)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    def end(self, workers: Workers) -> None:
        assert self.runs.wait(DEADLINE)
        self.may_end.set()
        workers.wait([self.job])


def test_as_many_as_there_are_cores_and_in_order() -> None:
    workers = Workers(2, 1000)
    first, second, third = (Gated(workers, number) for number in range(3))
    assert first.runs.wait(DEADLINE) and second.runs.wait(DEADLINE)
    assert [one.job.begun for one in (first, second, third)] == [True, True, False] and workers.idle() == 0
    second.end(workers)
    assert third.runs.wait(DEADLINE)
    first.end(workers)
    third.end(workers)
    assert [job.job.result() for job in (first, second, third)] == [0, 1, 2]


def test_a_job_of_several_lanes_fills_cores() -> None:
    workers = Workers(4, 1000)
    wide, second, third = Gated(workers, lanes=3), Gated(workers, lanes=4), Gated(workers)
    assert wide.runs.wait(DEADLINE) and second.runs.wait(DEADLINE)  # a core was idle, and stays so for nobody
    assert not third.job.begun
    for gated in (wide, second, third):
        gated.end(workers)


def test_memory_is_shared_and_nobody_overtakes() -> None:
    workers = Workers(8, 1000)
    first, large, small, none = (
        Gated(workers, memory=600),
        Gated(workers, memory=500),
        Gated(workers, memory=100),
        Gated(workers),
    )
    assert first.runs.wait(DEADLINE)
    assert not large.job.begun and not small.job.begun and not none.job.begun
    first.end(workers)
    for gated in (large, small, none):
        assert gated.runs.wait(DEADLINE)
    for gated in (large, small, none):
        gated.end(workers)


def test_what_needs_more_than_all_memory_runs_alone() -> None:
    workers = Workers(8, 1000)
    small, huge, other_huge = Gated(workers, memory=1), Gated(workers, memory=5000), Gated(workers, memory=5000)
    assert small.runs.wait(DEADLINE) and not huge.job.begun
    small.end(workers)
    assert huge.runs.wait(DEADLINE) and not other_huge.job.begun
    huge.end(workers)
    other_huge.end(workers)


def test_rank_goes_before_age() -> None:
    workers = Workers(1, 1000)
    running = Gated(workers)
    late, early = Gated(workers, rank=2), Gated(workers, rank=1)
    running.end(workers)
    assert early.runs.wait(DEADLINE) and not late.job.begun
    early.end(workers)
    late.end(workers)


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    workers = Workers(1, 1000)
    gated = Gated(workers, ValueError("of the job"))
    gated.end(workers)
    with pytest.raises(ValueError, match="of the job"):
        gated.job.result()


@pytest.mark.parametrize("workers", [Workers(1, 1000), Inline()], ids=["workers", "inline"])
def test_what_has_not_begun_never_does(workers: t.Any) -> None:
    ran: t.List[int] = []
    running = Gated(workers) if isinstance(workers, Workers) else None
    job: Job[None] = Job(lambda: ran.append(1))
    workers.submit(job)
    assert workers.abandon(job)
    if running:
        running.end(workers)
    assert not ran and not job.begun


def test_a_result_that_nobody_wants_is_discarded_when_it_comes_and_when_it_is_there() -> None:
    workers = Workers(2, 1000)
    discarded: t.List[str] = []
    coming = Gated(workers, "coming", discard=discarded.append)
    there = Gated(workers, "there", discard=discarded.append)
    there.end(workers)
    assert not workers.abandon(there.job) and discarded == ["there"]
    assert coming.runs.wait(DEADLINE) and not workers.abandon(coming.job)
    coming.end(workers)
    assert discarded == ["there", "coming"]


def test_what_waited_behind_a_job_that_is_given_up_begins_at_once() -> None:
    workers = Workers(8, 1000)
    running, large, small = (Gated(workers, memory=size) for size in (600, 500, 100))
    assert running.runs.wait(DEADLINE) and not small.job.begun
    assert workers.abandon(large.job) and small.job.begun
    for gated in (running, small):
        gated.end(workers)


def _waiting(workers: Workers) -> None:
    """Until some thread waits."""
    while not workers._bells:
        threading.Event().wait(0.001)


def test_who_waits_is_woken_for_a_job_that_gets_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """By who lets it in, and not only by its next look around."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(scheduler, "_LOOK_AGAIN", 10 * DEADLINE)
    workers = Workers(8, 1000)
    running, large, small = (Gated(workers, memory=size) for size in (600, 500, 100))
    waiter = threading.Thread(target=workers.wait, args=([small.job],), daemon=True)
    waiter.start()
    _waiting(workers)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        workers.abandon(large.job)
    waiter.join(DEADLINE)
    assert not waiter.is_alive() and not running.job.done
    with pytest.raises(RuntimeError, match="new thread"):
        small.job.result()
    running.end(workers)


def test_a_long_wait_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(1, 1000)
    gated, bells = Gated(workers), t.cast(t.List[int], [])
    reap = workers._reap

    def look() -> None:
        bells.append(len(workers._bells))
        if len(bells) == 5:
            gated.may_end.set()
        reap()

    monkeypatch.setattr(scheduler, "_LOOK_AGAIN", 0.001)
    monkeypatch.setattr(workers, "_reap", look)
    workers.wait([gated.job])
    assert set(bells) == {0}


def test_stop_releases_who_waits_and_discards_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_LOOK_AGAIN", 10 * DEADLINE)
    workers = Workers(1, 1000)
    discarded: t.List[bytes] = []
    running, queued = Gated(workers, b"key", discard=discarded.append), Gated(workers)
    released = threading.Event()

    def wait() -> None:
        with pytest.raises(Stopped):
            workers.wait([queued.job])
        released.set()

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    assert running.runs.wait(DEADLINE)
    _waiting(workers)
    workers.stop()
    waiter.join(DEADLINE)
    assert released.is_set() and not queued.job.begun and not queued.job.pending
    with pytest.raises(Stopped):
        workers.submit(Job(lambda: None))
    running.may_end.set()
    while workers._running:
        threading.Event().wait(0.001)
    assert discarded == [b"key"] and workers.idle() == 1, "nothing is queued any more"


def test_a_wait_for_what_was_given_up_is_an_error_and_no_deadlock() -> None:
    workers = Workers(1, 1000)
    running, queued = Gated(workers), Gated(workers)
    workers.abandon(queued.job)
    with pytest.raises(RuntimeError, match="abandoned"):
        workers.wait([queued.job])
    running.end(workers)


def test_no_thread_to_be_had_is_the_error_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    workers = Workers(1, 1000)
    job: Job[None] = Job(lambda: None)
    workers.submit(job)
    workers.wait([job])
    with pytest.raises(RuntimeError, match="new thread"):
        job.result()


class _EndOfRun(BaseException):
    """What a handler of signals raises."""


def test_the_end_of_the_run_is_no_error_of_a_job_although_no_thread_was_to_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def strike(self: threading.Thread) -> None:
        try:
            raise _EndOfRun
        finally:  # threading.py says so when it is struck in the middle of a start
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", strike)
    with pytest.raises(_EndOfRun):
        Workers(1, 1000).submit(Job(lambda: None))


def _dying_in(monkeypatch: pytest.MonkeyPatch, owner: t.Any, name: str) -> None:
    """``owner.name`` raises at its entry, once, in a thread of the workers; not even what it would have caught is safe
    from that.
    """
    whole, died = getattr(owner, name), threading.Event()

    def die(*arguments: t.Any) -> t.Any:
        if threading.current_thread().name == "luksmith derivation" and not died.is_set():
            died.set()
            raise MemoryError("no memory for a frame")
        return whole(*arguments)

    monkeypatch.setattr(owner, name, die)
    monkeypatch.setattr(threading, "excepthook", lambda _dead: None)


def _waits(workers: Workers, jobs: t.Sequence[Job[t.Any]]) -> None:
    """Wait for each job; an error if one of them never ends."""
    waiter = threading.Thread(target=lambda: [workers.wait([job]) for job in jobs], daemon=True)
    waiter.start()
    waiter.join(DEADLINE)
    assert not waiter.is_alive(), "it waits for ever"


@pytest.mark.parametrize(
    ("owner", "name", "told"),
    [(Workers, "_work", True), (Job, "run", True), (Job, "finish", True), (Workers, "_let_in", False)],
)
@pytest.mark.parametrize("others", [0, 2], ids=["nothing behind it", "jobs behind it"])
def test_a_thread_that_dies_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, owner: t.Any, name: str, told: bool, others: int
) -> None:
    """Whatever dies between the jobs: the first gets an error, or was done by then; those behind it run."""
    _dying_in(monkeypatch, owner, name)
    workers = Workers(1, 1000)
    jobs = [Job(lambda number=number: number) for number in range(1 + others)]  # type: ignore[misc]
    for job in jobs:
        workers.submit(job)
    _waits(workers, jobs)
    if told:
        with pytest.raises((MemoryError, RuntimeError)):
            jobs[0].result()
    assert [job.result() for job in jobs[told:]] == list(range(told, 1 + others))
    assert workers.idle() == 1


def test_a_result_that_cannot_be_discarded_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """``discard`` is not ours to trust."""
    monkeypatch.setattr(threading, "excepthook", lambda _dead: None)

    def fail(_value: t.Any) -> None:
        raise ValueError("of the discard")

    workers = Workers(1, 1000)
    unwanted = Gated(workers, discard=fail)
    behind: Job[int] = Job(lambda: 1)
    workers.submit(behind)
    assert unwanted.runs.wait(DEADLINE)
    workers.abandon(unwanted.job)
    unwanted.may_end.set()
    _waits(workers, [behind])
    assert behind.result() == 1


def test_the_provider_that_hangs_with_two_threads_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """cryptography 50.0 waits for ever when two threads derive Argon2 with several lanes: it is let in alone, and would
    be locked if not.
    """
    provider = argon2.Cryptography()
    try:
        provider.ability("argon2id")
    except NotProvided as reason:
        pytest.skip(str(reason))
    monkeypatch.setattr(argon2, "PROVIDERS", [provider])
    costs = Argon2("argon2id", 4, 4096, 2, bytes(32))
    workers = Workers(4, 10**6)
    jobs = [
        Job(
            lambda: kdf.derive(costs, b"secret", 64, budget=kdf.Budget()),
            lanes=kdf.lanes(costs),
            memory=kdf.memory(costs),
        )
        for _number in range(6)
    ]
    for job in jobs:
        workers.submit(job)
    assert workers.idle() == 0 and sum(job.begun and not job.done for job in jobs) <= 1
    for job in jobs:
        workers.wait([job])
    assert len({bytes(job.result()) for job in jobs}) == 1
    with_lock_only = [
        threading.Thread(target=kdf.derive, args=(costs, b"secret", 64), kwargs={"budget": kdf.Budget()}, daemon=True)
        for _number in range(4)
    ]
    for thread in with_lock_only:
        thread.start()
    for thread in with_lock_only:
        thread.join(DEADLINE)
        assert not thread.is_alive()
