# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks within a budget of processors."""

from __future__ import annotations

import threading
import typing as t

import machine
import pytest
import side_by_side
from side_by_side import ALL, Task

# Only a task that never gets its processors comes near it.
LONGEST = 60


def test_two_small_tasks_run_at_once_and_a_third_beside_them_takes_nothing() -> None:
    together = threading.Barrier(3)
    task = Task(lambda: t.cast(None, together.wait(LONGEST)))
    side_by_side.run([task, task, Task(task.run, 0)], 2)


def test_a_task_for_all_processors_runs_alone() -> None:
    busy: t.List[int] = []
    seen: t.List[t.List[int]] = []

    def work(name: int) -> None:
        busy.append(name)
        seen.append([*busy])
        busy.remove(name)

    side_by_side.run([Task(lambda name=name: work(name), ALL) for name in range(5)], 2)  # type: ignore[misc]
    assert seen == [[0], [1], [2], [3], [4]]


def test_a_task_for_all_processors_is_not_overtaken() -> None:
    order: t.List[str] = []
    begun, asked = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        assert asked.wait(LONGEST)
        order.append("first")

    cores = side_by_side.Cores(2)
    places = [cores.queue() for _task in range(3)]

    def take(place: object, wanted: int, work: t.Callable[[], None]) -> threading.Thread:
        def run() -> None:
            with cores.taken(place, wanted):
                work()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    threads = [take(places[0], 1, first)]
    assert begun.wait(LONGEST)
    threads += [take(places[2], 1, lambda: order.append("small")), take(places[1], ALL, lambda: order.append("all"))]
    asked.set()
    for thread in threads:
        thread.join(LONGEST)
    assert order == ["first", "all", "small"]


def test_what_a_task_raises_comes_out_when_the_others_are_done() -> None:
    done: t.List[str] = []

    def fail() -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        side_by_side.run([Task(fail), Task(lambda: done.append("other"))], 1)
    assert done == ["other"]


def test_memory_and_quotas_bound_the_budget(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "outer" / "inner"
    group.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/outer/inner\n")
    (tmp_path / "meminfo").write_text("MemTotal: 99999999 kB\nMemAvailable: 67108864 kB\n")
    (tmp_path / "outer" / "cpu.max").write_text("350000 100000\n")
    (group / "cpu.max").write_text("max 100000\n")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _process: set(range(8)))
    assert (machine.processors(), machine.budget()) == (3, 3)
    (group / "memory.max").write_text(f"{5 * machine.FOR_EACH}\n")
    (group / "memory.current").write_text(f"{3 * machine.FOR_EACH}\n")
    assert machine.budget() == 2
    (group / "memory.current").write_text(f"{5 * machine.FOR_EACH}\n")
    assert machine.budget() == 1
