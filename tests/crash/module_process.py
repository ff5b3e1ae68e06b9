# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module in a process of its own that ends itself by SIGKILL at exactly one of its calls on the volume."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

from ansible_collections.luksmith.luks.tests.crash.faults import Concerned
from ansible_collections.luksmith.luks.tests.tools.module_server import (
    ModuleFailed,
    be_the_module,
    run_module,
    start,
    start_module,
    told,
)

TOOLS = pathlib.Path(__file__).resolve().parents[1] / "tools"
_FRESH = """
import runpy, sys
runpy.run_path(sys.argv[1])
from ansible_collections.luksmith.luks.tests.tools import module_server
module_server.be_the_module("keyslots", sys.stdin.buffer.read(), [module_server.stay_dumpable])
"""

Arguments = t.Mapping[str, t.Any]
Result = t.Dict[str, t.Any]


class Points(t.NamedTuple):
    """What an uncut run came by: its points, the one at which it began to write, its processor time."""

    count: int
    writing: int
    seconds: float


def outcome(arguments: Arguments, module: str = "keyslots") -> Result:
    """What the module says, be it a failure."""
    try:
        return run_module(module, arguments)
    except ModuleFailed as failure:
        return failure.result


def outcome_under_strace(arguments: Arguments, *options: str) -> Result:
    """The same in a new interpreter below strace, which may look into its /proc: the path behind each descriptor is
    there.
    """
    command = ["strace", "-f", *options, sys.executable, "-c", _FRESH, str(TOOLS / "register.py")]
    done = subprocess.run(command, input=told(arguments), capture_output=True, check=False)
    assert done.stdout, done.stderr.decode()[-2000:]
    return t.cast(Result, json.loads(done.stdout))


def points_of(arguments: Arguments, volume: pathlib.Path) -> Points:
    running = start(_counted, told(arguments), str(volume))
    points = t.cast(Points, running.returned())
    result = running.result()
    assert result["changed"], result
    return points


def end_at(arguments: Arguments, volume: pathlib.Path, point: int) -> bool:
    """Run the module to its point of that number, counted from 0; False if it ends before.

    Points are each of its calls on the volume and, within each write, the moment when half of it is done.
    """
    status = start_module("keyslots", arguments, hooks=[functools.partial(_end_at, str(volume), point)]).wait()
    assert status in (0, -signal.SIGKILL), status
    return status != 0


def end_after(arguments: Arguments, seconds: float) -> bool:
    """Run the module for so much processor time; False if it ends before."""
    status = start_module("keyslots", arguments, hooks=[functools.partial(_end_after, seconds)]).wait()
    assert status in (0, -signal.SIGPROF), status
    return status != 0


def _counted(arguments: bytes, volume: str) -> Points:
    """In the child."""
    reached: t.List[str] = []
    begin = time.process_time()
    with contextlib.suppress(SystemExit):
        be_the_module("keyslots", arguments, [functools.partial(_watch, volume, reached.append)])
    return Points(len(reached), reached.index("pwrite"), time.process_time() - begin)


def _end_at(volume: str, point: int) -> None:
    """A hook."""
    numbers = itertools.count()

    def reached(_name: str) -> None:
        if next(numbers) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(volume, reached)


def _end_after(seconds: float) -> None:
    """A hook. What the alarm does is what SIGKILL does, as long as nobody handles it."""
    signal.setitimer(signal.ITIMER_PROF, max(seconds, 1e-6))


def _watch(volume: str, reached: t.Callable[[str], object]) -> None:
    """``reached`` is told the name of each call on the volume before it is made, and "half" within a write."""
    concerned = Concerned(volume)

    def call(name: str, *arguments: t.Any, **options: t.Any) -> t.Any:
        real = concerned.real[name]
        if not concerned.by(arguments[0], options):
            return real(*arguments, **options)
        reached(name)
        if name != "pwrite":
            return real(*arguments, **options)
        fd, data, offset = arguments
        half = len(data) // 2
        done = real(fd, data[:half], offset) if half else 0
        reached("half")
        return done + real(fd, data[done:], offset + done)

    concerned.replace(call)
