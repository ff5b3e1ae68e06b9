# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Expensive jobs on all cores of the host, within a budget of memory, in threads of one process.

The libraries release the interpreter lock while they derive, so that threads do use all cores. Each job has a thread
of its own: the thread that waits for it stays free for signals, which the interpreter only handles between bytecodes.

There is no way to wait for ever: a job never waits for another one, one job is always let in when none runs, and what
is waited for is running, queued or done. A thread that dies outside its job (no memory for one more frame) cannot say so;
whoever waits looks for it now and then. The order of the queue is by ``rank``, then as submitted, and nobody overtakes.

The handler of a signal may raise in the thread that waits. A ``threading.Condition`` does not bear that: it can lose its lock
on the way, or keep it. What is used here is a lock that only ``with`` takes, and waiting for another one while it is free.
"""

from __future__ import annotations

import threading
import typing as t

from ..errors import end_of_run

T = t.TypeVar("T")

_QUEUED, _RUNNING, _DONE, _CANCELLED = range(4)

# Seconds after which whoever waits looks whether the threads are still alive. Nobody waits that long for one that ended well.
_LOOK_AGAIN = 0.2


class Stopped(BaseException):
    """The whole run is being given up; not an Exception, so that no error handling mistakes it for one."""


class Job(t.Generic[T]):
    """``work`` for later. ``lanes``: threads that it keeps busy; ``memory``: KiB; ``discard`` gets a result that nobody wants."""

    def __init__(
        self,
        work: t.Callable[[], T],
        *,
        lanes: int = 1,
        memory: int = 0,
        rank: int = 0,
        discard: t.Optional[t.Callable[[T], None]] = None,
    ) -> None:
        self.work = work
        self.lanes = lanes
        self.memory = memory
        self.rank = rank
        self._discard = discard
        self._abandoned = False
        self._value: t.Optional[T] = None
        self._error: t.Optional[BaseException] = None
        self._state = _QUEUED

    @property
    def done(self) -> bool:
        return self._state == _DONE

    @property
    def begun(self) -> bool:
        return self._state in (_RUNNING, _DONE)

    def result(self) -> T:
        """What ``work`` returned or raised; only when :attr:`done`."""
        if self._error is not None:
            raise self._error
        return t.cast(T, self._value)

    @property
    def pending(self) -> bool:
        """It will be done some day."""
        return self._state in (_QUEUED, _RUNNING)

    def begin(self) -> None:
        self._state = _RUNNING

    def run(self) -> None:
        try:
            self._value = self.work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._error = error

    def finish(self, error: t.Optional[BaseException] = None) -> None:
        self._error = error or self._error
        self._state = _DONE
        if self._abandoned:
            self.drop()

    def cancel(self) -> None:
        self._state = _CANCELLED

    def drop(self) -> None:
        """The result, now or later, goes to ``discard``."""
        self._abandoned = True
        if self._state == _DONE and self._error is None and self._discard is not None:
            self._discard(t.cast(T, self._value))
            self._discard = None


class Inline:
    """One job at a time, in the thread that waits for it and no sooner: what the others are compared with."""

    cores = 1

    def submit(self, job: Job[t.Any]) -> None:
        """Nothing happens until somebody waits."""

    def wait(self, jobs: t.Collection[Job[t.Any]]) -> None:
        """Until one of ``jobs`` is done."""
        if not any(job.done for job in jobs):
            job = next(iter(jobs))
            job.begin()
            job.run()
            job.finish()

    def idle(self) -> int:
        """Cores without work."""
        return 0

    def abandon(self, job: Job[t.Any]) -> bool:
        """Nobody wants its result any more. True when it had not begun and now never will."""
        cancelled = not job.begun
        if cancelled:
            job.cancel()
        job.drop()
        return cancelled

    def stop(self) -> None:
        """Nothing is under way."""


class Workers:
    """``cores`` and ``memory`` (KiB) that the jobs of this process may use together.

    A job is let in while a core is idle and its memory fits. One that needs more memory than there is at all is let in
    when no other one holds any.
    """

    def __init__(self, cores: int, memory: int) -> None:
        self.cores = max(1, cores)
        self.memory = memory
        self._lock = threading.RLock()
        self._bells: t.List[t.Any] = []  # a lock for each thread that waits, released when something changes
        self._queue: t.List[Job[t.Any]] = []
        self._running: t.Dict[Job[t.Any], threading.Thread] = {}
        self._stopped = False

    def submit(self, job: Job[t.Any]) -> None:
        """Queue ``job``; it starts now if there is room. Raises Stopped after :meth:`stop`."""
        with self._lock:
            self._check_stopped()
            self._queue.append(job)
            self._queue.sort(key=lambda queued: queued.rank)  # stable: the same rank stays in order
            self._let_in()

    def wait(self, jobs: t.Collection[Job[t.Any]]) -> None:
        """Until one of ``jobs`` is done; one whose thread died is done, with an error. Raises Stopped after :meth:`stop`."""
        while True:
            bell = threading.Lock()
            bell.acquire()
            with self._lock:
                # No generators: what a handler raises in one that is being closed is lost.
                if [job for job in jobs if job.done]:
                    return
                self._check_stopped()
                if not [job for job in jobs if job.pending]:
                    raise RuntimeError("a wait for jobs that were given up")
                self._bells.append(bell)
            if not bell.acquire(timeout=_LOOK_AGAIN):
                with self._lock:
                    if bell in self._bells:
                        self._bells.remove(bell)
                    self._reap()

    def idle(self) -> int:
        """Cores that neither run a job nor have one queued for them."""
        with self._lock:
            return max(0, self.cores - sum(min(job.lanes, self.cores) for job in (*self._running, *self._queue)))

    def abandon(self, job: Job[t.Any]) -> bool:
        """Nobody wants its result any more. True when it had not begun and now never will."""
        with self._lock:
            cancelled = job in self._queue
            if cancelled:
                self._queue.remove(job)
                job.cancel()
                self._let_in()  # it may have been what kept others from overtaking
            job.drop()
            return cancelled

    def stop(self) -> None:
        """Begin nothing more and release everybody who waits; what runs in a library cannot be interrupted and ends in vain."""
        with self._lock:
            self._stopped = True
            for job in (*self._queue, *self._running):
                job.drop()
            for job in self._queue:
                job.cancel()
            self._queue.clear()
            self._ring()

    def _check_stopped(self) -> None:
        if self._stopped:
            raise Stopped

    def _let_in(self) -> None:
        while self._queue and not self._stopped and self._fits(self._queue[0]):
            job = self._queue[0]
            # A daemon: a derivation of a minute must not keep a process alive that was told to end.
            thread = threading.Thread(target=self._work, args=(job,), name="luksmith derivation", daemon=True)
            # In one of the two places at every moment, so that a death on the way loses no job.
            self._running[job] = thread
            del self._queue[0]
            job.begin()
            try:
                thread.start()
            except RuntimeError as error:  # no more threads on this host
                ending = end_of_run(error)
                if ending is not None:
                    raise ending from None
                job.finish(error)
                del self._running[job]
                self._ring()

    def _ring(self) -> None:
        while self._bells:
            self._bells.pop().release()

    def _fits(self, job: Job[t.Any]) -> bool:
        held = sum(other.memory for other in self._running)
        if job.memory and held and held + job.memory > self.memory:
            return False
        return not self._running or sum(other.lanes for other in self._running) < self.cores

    def _work(self, job: Job[t.Any]) -> None:
        job.run()
        with self._lock:
            job.finish()
            del self._running[job]
            self._let_in()
            self._ring()

    def _reap(self) -> None:
        """A thread that ended well took its job off ``_running`` before. Whatever the dead did not come to is done here: letting in what is queued."""
        for job in [job for job, thread in self._running.items() if not thread.is_alive()]:
            if job in self._queue:
                self._queue.remove(job)
            if not job.done:
                job.finish(RuntimeError("the thread of a derivation died before it was done"))
            del self._running[job]
            self._ring()
        self._let_in()
