# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Several volumes at once, each in a thread of its own, with results in the order of the task.

No thread holds the locks of one volume while it waits for those of another, so two runs over the same volumes in
different orders cannot deadlock: they only wait for each other's writes.
"""

from __future__ import annotations

import queue
import threading
import time
import typing as t

from ..crypto.workers import Stopped
from ..errors import LuksmithError, counted, end_of_run, expected_only
from ..result.actions import Result
from ..volume.storage import open_volume

T = t.TypeVar("T")

# Seconds that threads have to finish a write in progress when the run is aborted.
_GRACE_PERIOD = 5.0

# Seconds between looks at signals while waiting for the threads.
_LOOK_AGAIN = 0.2


def run_concurrently(works: t.Sequence[t.Callable[[], T]], concurrency: int, stop: t.Callable[[], None]) -> t.List[T]:
    """The results of ``works``, which begin in order, at most ``concurrency`` of them at a time.

    Raises the exception of the first that failed once all have ended. If this thread is interrupted, ``stop`` is
    called, nothing more begins, and running works get a moment to unwind.
    """
    shared = _Shared(works)
    try:
        for number in range(min(concurrency, len(works))):
            try:
                shared.begin()
            except RuntimeError as error:  # the host allows no more threads: those that run do all the work
                if not number or end_of_run(error) is not None:
                    raise
                break
        shared.wait()
    except BaseException as error:  # noqa: BLE001 - it is raised again, or what it came up on the way of
        shared.give_up()
        stop()
        shared.wait(_GRACE_PERIOD)
        raise end_of_run(error) or error from None
    return shared.results()


class _Shared(t.Generic[T]):
    def __init__(self, works: t.Sequence[t.Callable[[], T]]) -> None:
        self._works = works
        self._lock = threading.RLock()
        self._next = 0
        self._results: t.Dict[int, T] = {}
        self._errors: t.Dict[int, Exception] = {}
        self._begun: t.List[threading.Thread] = []
        self._ended: t.List[int] = []
        # Thread.join mistakes a thread for ended if a signal arrives while it waits; a queue in C keeps waiting.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()

    def begin(self) -> None:
        """Start one more thread. Raises RuntimeError if the host allows no more."""
        thread = threading.Thread(target=self._work, daemon=True)
        self._begun.append(thread)
        thread.start()

    def wait(self, patience: t.Optional[float] = None) -> None:
        """Wait until all threads have ended, at most ``patience`` seconds."""
        deadline = None if patience is None else time.monotonic() + patience
        # One that could not be started has no number.
        while len(self._ended) < len([thread for thread in self._begun if thread.ident is not None]):
            left = _LOOK_AGAIN if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return
            # A signal right before the wait in C does not end the wait; its handler runs at the next look.
            try:
                self._bell.get(timeout=min(left, _LOOK_AGAIN))
            except queue.Empty:
                continue

    def _work(self) -> None:
        try:
            self._work_off()
        finally:
            self._ended.append(1)
            self._bell.put(None)

    def _work_off(self) -> None:
        while True:
            with self._lock:
                number = self._next
                self._next += 1
            if number >= len(self._works):
                return
            try:
                self._results[number] = self._works[number]()
            except Stopped:
                return
            except Exception as error:  # noqa: BLE001 - raised by results()
                self._errors[number] = error

    def give_up(self) -> None:
        with self._lock:
            self._next = len(self._works)

    def results(self) -> t.List[T]:
        for _number, error in sorted(self._errors.items(), key=lambda item: item[0]):
            raise error
        return [self._results[number] for number in range(len(self._works))]


def distinct_volumes(paths: t.Sequence[str]) -> t.List[t.Tuple[str, t.List[str]]]:
    """Each header once, with the other paths that lead to it (symlink, loop device and its file)."""
    found: t.Dict[t.Any, t.Tuple[str, t.List[str]]] = {}
    for path in paths:
        try:
            with expected_only(), open_volume(path, writable=False) as volume:
                identity: t.Any = volume.identity
        except LuksmithError:
            identity = ("unreadable", path)
        if identity in found:
            found[identity][1].append(path)
        else:
            found[identity] = (path, [])
    return list(found.values())


def combined(volumes: t.Sequence[Result]) -> Result:
    failed = [one for one in volumes if one.get("failed")]
    result: Result = {
        "changed": any(one["changed"] for one in volumes),
        "volumes": list(volumes),
        "kdf_evaluations": sum(one.get("kdf_evaluations", 0) for one in volumes),
        "warnings": list(
            dict.fromkeys(f"{one['device']}: {warning}" for one in volumes for warning in one.get("warnings", ()))
        ),
        "diff": [one["diff"] for one in volumes if "diff" in one],
    }
    if failed:
        result["failed"] = True
        counts = ", ".join(
            f"{sum(one['status'] == status for one in volumes)} {status}"
            for status in ("unchanged", "done", "refused", "partial")
        )
        result["msg"] = f"{len(failed)} of {counted(len(volumes), 'volume')} failed ({counts}). " + " ".join(
            one["msg"] for one in failed
        )
    return result
