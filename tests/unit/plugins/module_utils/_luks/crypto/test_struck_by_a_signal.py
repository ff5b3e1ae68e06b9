# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handler of a signal raises in the thread that waits, wherever it is: what comes out is that, no lock stays taken,
and nothing is swallowed.

The interpreter runs handlers after a call and at the entry of a function. The tests raise at each of these moments, one
by one.
"""

from __future__ import annotations

import functools
import gc
import sys
import threading
import time
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import workers as scheduling
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.workers import Job, Workers
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import devices
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.devices import run_concurrently

DEADLINE = 30.0  # seconds; only a deadlock ever waits so long
MOMENTS = 80  # several rounds of waiting


class Struck(BaseException):
    """What the handler of a signal raises."""


def strike(moment: int, work: t.Callable[[], t.Any], enough: t.Callable[[], t.Any]) -> bool:
    """Do ``work``, and raise at the given moment of it; whether it came to that.

    ``enough`` is called after MOMENTS, so that the work ends.
    """
    passed = 0

    def look(_frame: t.Any, event: str, _argument: t.Any) -> None:
        nonlocal passed
        if event == "c_call":
            return
        passed += 1
        if passed == moment:
            sys.setprofile(None)
            raise Struck
        if passed == MOMENTS:
            enough()

    sys.setprofile(look)
    try:
        work()
    except Struck:
        return True
    finally:
        sys.setprofile(None)
    return False


@pytest.fixture(autouse=True)
def nothing_is_collected() -> t.Iterator[None]:
    """What the collector calls, at whichever moment it comes, swallows what is raised in it; other tests left threads
    to collect.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "_LOOK_AGAIN", 0.001)
    monkeypatch.setattr(devices, "_LOOK_AGAIN", 0.001)


def elsewhere(work: t.Callable[[], t.Any]) -> None:
    """In another thread, which a lock that stayed taken would keep for ever."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive(), "a lock stayed taken"


def test_while_it_waits() -> None:
    for moment in range(1, MOMENTS):
        workers, may_end = Workers(1, 100), threading.Event()
        job: Job[bool] = Job(lambda may_end=may_end: may_end.wait(DEADLINE))  # type: ignore[misc]
        workers.submit(job)
        struck = strike(moment, lambda workers=workers, job=job: workers.wait([job]), may_end.set)  # type: ignore[misc]
        assert struck, moment
        may_end.set()
        elsewhere(lambda workers=workers, job=job: workers.wait([job]))  # type: ignore[misc]
        elsewhere(workers.stop)


@pytest.mark.parametrize("call", ["submit", "idle", "abandon", "stop"])
def test_in_every_other_call(call: str) -> None:
    moment, struck = 0, True
    while struck and moment < MOMENTS:
        moment += 1
        workers, may_end = Workers(1, 100), threading.Event()
        running: Job[bool] = Job(lambda may_end=may_end: may_end.wait(DEADLINE))  # type: ignore[misc]
        queued: Job[None] = Job(lambda: None)
        calls: t.Dict[str, t.Callable[[], t.Any]] = {"idle": workers.idle, "stop": workers.stop}
        if call == "submit":
            calls[call] = lambda workers=workers, running=running: workers.submit(running)  # type: ignore[misc]
        else:
            workers.submit(running)
            workers.submit(queued)
            calls["abandon"] = lambda workers=workers, queued=queued: workers.abandon(queued)  # type: ignore[misc]
        struck = strike(moment, calls[call], lambda: None)
        may_end.set()
        elsewhere(workers.stop)
    assert moment > 1


def test_while_volumes_are_under_way() -> None:
    """They get a moment to unwind: what writes must not be cut by the end of the process.

    A run that no signal strikes any more ends by itself after a second: some releases of Python forget a profile
    function when threads come and go, and then nothing else would end it.
    """
    for moment in range(1, MOMENTS):
        begun: t.List[int] = []
        unwound: t.List[int] = []
        stopping = threading.Event()

        def volume(begun: t.List[int], unwound: t.List[int], stopping: threading.Event) -> None:
            begun.append(1)
            stopping.wait(1)
            for _step in range(100):
                time.sleep(0)
            unwound.append(1)

        volumes = [functools.partial(volume, begun, unwound, stopping)] * 4
        if not strike(moment, functools.partial(run_concurrently, volumes, 2, stopping.set), stopping.set):
            break
        assert stopping.is_set() or not begun, moment
        assert len(unwound) == len(begun) <= 2, moment
    assert moment > 20
