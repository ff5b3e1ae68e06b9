# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Runs expensive jobs on all cores of the host, within a budget of memory, in threads of one process.

The libraries release the interpreter lock while they derive, so that threads use all cores. Each job has a thread of
its own. The waiting thread stays free for signals, which the interpreter handles only between bytecodes.

No wait is endless: a job never waits for another one, a job is always started if none runs, and a job that is waited
for is running, queued or done. A thread that dies outside its job (no memory for one more frame) cannot report that, so
the waiting thread checks regularly. The queue is ordered by ``rank``, then by submission; no job overtakes another.

A signal handler may raise in the waiting thread. ``threading.Condition`` cannot cope with that: it may lose its lock or
keep it. So this module uses a lock that is only taken by ``with``, and waits for another one while that one is free.
"""

from __future__ import annotations

import threading
import typing as t

from ..errors import end_of_run

T = t.TypeVar("T")

_QUEUED, _RUNNING, _DONE, _CANCELLED = range(4)

# Seconds after which a waiting thread checks whether the others are alive. A job that ends normally is noticed at once.
_LOOK_AGAIN = 0.2


class Stopped(BaseException):
    """The whole run is being given up. Not an Exception, so that error handling does not catch it."""


class Job(t.Generic[T]):
    """``work`` for later.

    lanes: threads that it keeps busy; memory: KiB; discard: gets a result that is not needed any more.
    """

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
        """Whether it has ended, with a result or an error."""
        return self._state == _DONE

    @property
    def begun(self) -> bool:
        """Whether it runs or has ended."""
        return self._state in (_RUNNING, _DONE)

    def result(self) -> T:
        """What ``work`` returned; raises what it raised. Only valid if :attr:`done`."""
        if self._error is not None:
            raise self._error
        return t.cast(T, self._value)

    @property
    def pending(self) -> bool:
        """Whether it is queued or runs."""
        return self._state in (_QUEUED, _RUNNING)

    def begin(self) -> None:
        """Mark it as running."""
        self._state = _RUNNING

    def run(self) -> None:
        """Do the work and keep its result or error."""
        try:
            self._value = self.work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._error = error

    def finish(self, error: t.Optional[BaseException] = None) -> None:
        """Mark it as done, with ``error`` if it could not do its work."""
        self._error = error or self._error
        self._state = _DONE
        if self._abandoned:
            self.drop()

    def cancel(self) -> None:
        """Mark it as one that will not run."""
        self._state = _CANCELLED

    def drop(self) -> None:
        """Give the result to ``discard``, now or when it is there."""
        self._abandoned = True
        if self._state == _DONE and self._error is None and self._discard is not None:
            self._discard(t.cast(T, self._value))
            self._discard = None


class Inline:
    """One job at a time, in the thread that waits for it, not before. The tests compare :class:`Workers` with it."""

    cores = 1

    def submit(self, job: Job[t.Any]) -> None:
        """Does nothing: :meth:`wait` runs the job."""

    def wait(self, jobs: t.Collection[Job[t.Any]]) -> None:
        """Run the first of ``jobs`` unless one is done."""
        if not any(job.done for job in jobs):
            job = next(iter(jobs))
            job.run()
            job.finish()

    def idle(self) -> int:
        """The number of idle cores: always 0."""
        return 0

    def abandon(self, job: Job[t.Any]) -> bool:
        """Give up the result of ``job``. True if it had not begun, so that it never will."""
        cancelled = not job.begun
        if cancelled:
            job.cancel()
        job.drop()
        return cancelled

    def stop(self) -> None:
        """Does nothing: no job is running."""


class Workers:
    """``cores`` and ``memory`` (KiB) that the jobs of this process may use together.

    A job starts if a core is idle and its memory fits. A job that needs more than ``memory`` starts if no other one
    uses any.
    """

    def __init__(self, cores: int, memory: int) -> None:
        self.cores = max(1, cores)
        self.memory = memory
        self._lock = threading.RLock()
        self._bells: t.List[t.Any] = []  # a lock for each waiting thread, released if something changes
        self._queue: t.List[Job[t.Any]] = []
        self._running: t.Dict[Job[t.Any], threading.Thread] = {}
        self._stopped = False

    def submit(self, job: Job[t.Any]) -> None:
        """Queue ``job``; it starts at once if there is room. Raises Stopped after :meth:`stop`."""
        with self._lock:
            self._check_stopped()
            self._queue.append(job)
            self._queue.sort(key=lambda queued: queued.rank)  # stable: the same rank stays in order
            self._let_in()

    def wait(self, jobs: t.Collection[Job[t.Any]]) -> None:
        """Wait until one of ``jobs`` is done, with an error if its thread died. Raises Stopped after :meth:`stop`."""
        while True:
            bell = threading.Lock()
            bell.acquire()
            with self._lock:
                # No generators: an exception of a signal handler is lost in one that is being closed.
                if [job for job in jobs if job.done]:
                    return
                self._check_stopped()
                if not [job for job in jobs if job.pending]:
                    raise RuntimeError("wait for jobs that were abandoned")
                self._bells.append(bell)
            if not bell.acquire(timeout=_LOOK_AGAIN):
                with self._lock:
                    if bell in self._bells:
                        self._bells.remove(bell)
                    self._reap()

    def idle(self) -> int:
        """The number of cores without a job, running or queued."""
        with self._lock:
            return max(0, self.cores - sum(min(job.lanes, self.cores) for job in (*self._running, *self._queue)))

    def abandon(self, job: Job[t.Any]) -> bool:
        """Give up the result of ``job``. True if it had not begun, so that it never will."""
        with self._lock:
            cancelled = job in self._queue
            if cancelled:
                self._queue.remove(job)
                job.cancel()
                self._let_in()  # others may have waited behind it
            job.drop()
            return cancelled

    def stop(self) -> None:
        """Start no more jobs and wake all waiting threads. A running job cannot be stopped; its result is discarded."""
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
            # A daemon: a derivation that takes a minute must not keep alive a process that was told to end.
            thread = threading.Thread(target=self._work, args=(job,), name="luksmith derivation", daemon=True)
            # Always in one of the two, so that no job is lost if this thread dies in between.
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
        """Finish the jobs whose threads died, and start what is queued."""
        for job in [job for job, thread in self._running.items() if not thread.is_alive()]:
            if job in self._queue:
                self._queue.remove(job)
            if not job.done:
                job.finish(RuntimeError("the thread of a derivation died before it was done"))
            del self._running[job]
            self._ring()
        self._let_in()
