# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest that has collected everything and then runs tests for whoever asks, each time in a child process whose
functions were broken in place: what a fresh pytest spends on its start, hundreds of times what a test takes, is spent
once.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pathlib
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import typing as t

import pytest
import replacing

PASSED, FAILED = "passed", "failed"
# Answers that say nothing of the tests.
NO_PLACE, NO_END, NO_ANSWER = "the code or a test is not in the process", "no end", "the process died"
_END = "\n\n"


class Warm:
    """Asks such a process in the folder ``root``."""

    def __init__(self, root: pathlib.Path, environment: t.Mapping[str, str], tests: t.Sequence[str]) -> None:
        self._log = root.parent / "warm.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(pathlib.Path(__file__).resolve()), *tests],
                cwd=root,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, tests: t.Mapping[str, float], path: str = "", before: str = "", after: str = "") -> t.Tuple[str, str]:
        """What came of ``tests``, in this order, up to the first that fails, and at which test it was. One that takes
        longer than so many seconds fails.

        ``path``: the file, from the root, whose text ``before`` is to be ``after``; empty: nothing is broken.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([tests, path, before, after]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit(f"{self._log.read_text()}\nthe warm process ended")
        came, where = json.loads(answer)
        return came, where

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Server:
    """A plugin of pytest."""

    def __init__(self, requests: t.TextIO, answers: t.TextIO) -> None:
        self._requests = requests
        self._answers = answers
        self._failed = ""

    def pytest_runtest_logreport(self, report: t.Any) -> None:
        if report.failed:
            self._failed = report.nodeid

    def pytest_runtestloop(self, session: t.Any) -> bool:
        if session.testsfailed:
            return True  # a file that cannot be collected
        self._functions = replacing.functions_by_file()
        self._items = {item.nodeid: item for item in session.items}
        gc.freeze()
        for request in self._requests:
            self._answers.write(json.dumps(self._forked(session, *json.loads(request))) + "\n")
            self._answers.flush()
        return True

    def _forked(self, session: t.Any, tests: t.Dict[str, float], *change: str) -> t.Tuple[str, str]:
        # As tests/forks.py demands.
        assert len(os.listdir("/proc/self/task")) == 1, "a fork of a process with threads"
        with tempfile.TemporaryFile("w+") as told:
            child = os.fork()
            if not child:
                os.setsid()
                self._run(session, tests, told, *change)
                os._exit(0)
            watched = os.pidfd_open(child)
            ended = select.select([watched], [], [], 60 + sum(tests.values()))[0]
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # and what its tests left running
            os.waitpid(child, 0)
            os.close(watched)
            told.seek(0)
            begun, _end, came = told.read().partition(_END)
        if not came:
            came = NO_ANSWER if ended else NO_END
        return came, begun.rpartition("\n")[2]

    def _run(
        self,
        session: t.Any,
        tests: t.Dict[str, float],
        told: t.TextIO,
        path: str = "",
        before: str = "",
        after: str = "",
    ) -> None:
        """In the child. Each test is told when it begins, and at the end what came of them."""
        came = PASSED
        if not all(test in self._items for test in tests) or (
            path and not replacing.replace(self._functions, os.path.realpath(path), before, after)
        ):
            told.write(_END + NO_PLACE)
        else:
            items = [self._items[test] for test in tests]
            for item, following in zip(items, [*items[1:], None]):
                longest = tests[item.nodeid]
                item.add_marker(pytest.mark.timeout(longest))
                # What computes in C for ever hears no signal but this one, which ends it.
                most = int(time.process_time() + longest) + 2
                resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
                told.write(f"\n{item.nodeid}")
                told.flush()
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._failed:
                    session._setupstate.teardown_exact(None)
                    came = FAILED
                    break
            told.write(_END + came)
        told.flush()


def main() -> int:
    # What the tests and pytest print must not get among the answers.
    requests, answers = (os.fdopen(os.dup(number), mode) for number, mode in ((0, "r"), (1, "w")))
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return pytest.main(["-q", *sys.argv[1:]], [Server(requests, answers)])


if __name__ == "__main__":
    sys.exit(main())
