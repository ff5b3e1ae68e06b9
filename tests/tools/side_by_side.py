# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run tasks side by side within a budget of processors."""

from __future__ import annotations

import collections
import contextlib
import threading
import typing as t

ALL = -1


class Task(t.NamedTuple):
    """``cores``: how many it keeps busy; ``ALL`` of them, or 0 for what may run beside anything."""

    run: t.Callable[[], None]
    cores: int = 1


class Cores:
    """Processors that are taken and given back, in the order in which they were asked for: a task that wants many of
    them is not starved by small ones.
    """

    def __init__(self, count: int) -> None:
        self._count = self._free = count
        self._waiting: t.Deque[object] = collections.deque()
        self._changed = threading.Condition()

    def queue(self) -> object:
        """A place in the row."""
        place = object()
        with self._changed:
            self._waiting.append(place)
        return place

    @contextlib.contextmanager
    def taken(self, place: object, wanted: int) -> t.Iterator[None]:
        wanted = self._count if wanted == ALL else min(wanted, self._count)
        with self._changed:
            self._changed.wait_for(lambda: not wanted or (self._waiting[0] is place and self._free >= wanted))
            self._waiting.remove(place)
            self._free -= wanted
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


def run(tasks: t.Sequence[Task], cores: int) -> None:
    """All of them, begun in their order. What a task raises is raised here, once the others are done."""
    budget = Cores(cores)
    raised: t.List[BaseException] = []

    def work(task: Task, place: object) -> None:
        try:
            with budget.taken(place, task.cores):
                task.run()
        except BaseException as error:  # noqa: BLE001  it belongs to the caller, not to this thread
            raised.append(error)

    threads = [threading.Thread(target=work, args=(task, budget.queue()), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
