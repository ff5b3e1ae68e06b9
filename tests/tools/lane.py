# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test lane may do: run commands, check one thing after another, skip itself; and what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
import typing as t

import importable
import venvs

ROOT = venvs.ROOT
CACHE = venvs.CACHE
sys.path.append(str(ROOT / "tests"))

from needs import Need  # noqa: E402  found by the line above

# Seconds that a program has to put its things in order when the run is stopped.
TO_END = 30

Variables = t.Mapping[str, t.Optional[str]]
NOTHING: Variables = types.MappingProxyType({})

_running: t.Set[subprocess.Popen[bytes]] = set()
_guard = threading.Lock()


class Result(t.NamedTuple):
    """One test or check.

    ``outcome``: passed, failed or skipped; ``documented``: whether its docstring can say why it takes so long.
    """

    lane: str
    what: str
    outcome: str
    seconds: float = 0.0
    why: str = ""
    documented: bool = True


class Ended(t.NamedTuple):
    """A command that was run."""

    code: int
    seconds: float
    log: pathlib.Path
    lines: t.Sequence[str]


class LaneSkipped(Exception):
    """The lane has nothing to do here."""

    def __init__(self, need: Need) -> None:
        super().__init__(str(need))


@functools.lru_cache(maxsize=None)
def scratch() -> pathlib.Path:
    """A folder of this run for whatever it leaves; below the usual one, because the paths of sockets must be short."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="luksmith-"))
    folder.chmod(0o711)  # a test that becomes another user leads it to a file in here
    return folder


def environment() -> t.Dict[str, str]:
    """The caller's environment, with everything that the tools would write below $HOME moved into .cache, and scratch
    files to one place.
    """
    own = {
        "ANSIBLE_COLLECTIONS_PATH": str(importable.collections_path()),
        "ANSIBLE_HOME": str(CACHE / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_REMOTE_TEMP": str(scratch() / "ansible"),
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
        "PIP_QUIET": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(scratch()),
        "XDG_CACHE_HOME": str(CACHE / "xdg"),
    }
    # An interpreter that inherits it reads a program that comes on its standard input, as every pipelined module does,
    # with one system call for each byte.
    given = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**given, **own}


def stop_all() -> None:
    """What is still running ends as if its user had pressed Ctrl-C; what does not heed that is killed."""
    with _guard:
        stopped = [*_running]
    for process in stopped:
        _signal(process, signal.SIGINT)
    for process in stopped:
        try:
            process.wait(TO_END)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
        os.killpg(process.pid, number)


@dataclasses.dataclass
class Lane:
    """One run of one lane. ``part``: what followed the @ of its name; ``strict``: what cannot be run has failed."""

    name: str
    arguments: t.Sequence[str] = ()
    size: str = "default"
    part: str = ""
    strict: bool = False
    results: t.List[Result] = dataclasses.field(default_factory=list)

    @property
    def full_name(self) -> str:
        return f"{self.name}@{self.part}" if self.part else self.name

    def tool(self, program: str, of: str = "qa") -> str:
        """Path of a program in the virtual environment ``of``, made from tests/requirements/<of>.txt."""
        return str(venvs.ensure(of, ROOT / "tests" / "requirements" / f"{of}.txt") / "bin" / program)

    def note(self, what: str, outcome: str, seconds: float = 0.0, why: str = "") -> None:
        self.results.append(Result(self.full_name, what, outcome, seconds, why))

    def show(self, what: str, command: t.Sequence[str], extra: Variables = NOTHING) -> int:
        """Run a command whose output the reader wants to see line by line.

        ``extra`` is added to the environment, or taken out of it (None).
        """
        return self._run(what, command, ROOT, extra, functools.partial(print, flush=True))[0]

    def quietly(
        self, what: str, command: t.Sequence[str], extra: Variables = NOTHING, cwd: pathlib.Path = ROOT
    ) -> Ended:
        """Run a command that is only of interest when it fails: one line, and the end of its output then."""
        begin = time.monotonic()
        lines: t.List[str] = []
        code, log = self._run(what, command, cwd, extra, lines.append)
        ended = Ended(code, time.monotonic() - begin, log, lines)
        print(f"{self.full_name}: {what}: {'FAILED' if code else 'ok'} ({ended.seconds:.0f} s)", flush=True)
        if code:
            print("\n".join(f"   {line}" for line in lines[-60:]), flush=True)
        return ended

    def check(self, what: str, command: t.Sequence[str], *, cwd: pathlib.Path = ROOT, **extra: t.Optional[str]) -> None:
        """A command that passes or fails as a whole. What it says that it skipped is told."""
        ended = self.quietly(what, command, extra, cwd)
        self.note(
            what,
            "failed" if ended.code else "passed",
            ended.seconds,
            f"exit code {ended.code}, see {ended.log.relative_to(ROOT)}" if ended.code else "",
        )
        for line in ended.lines:
            if line.startswith(("WARNING: Skipping", "WARNING: Excluding", "WARNING: Skipped")):
                self.note(f"{what}, in part", "skipped", why=line)

    def _run(
        self, what: str, command: t.Sequence[str], cwd: pathlib.Path, extra: Variables, tell: t.Callable[[str], object]
    ) -> t.Tuple[int, pathlib.Path]:
        log = CACHE / "logs" / f"{self.full_name}-{what.replace(' ', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        wanted = {name: value for name, value in {**environment(), **extra}.items() if value is not None}
        with log.open("w") as file:
            # A session of its own, so that what the program starts can be stopped with it.
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=wanted,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            with _guard:
                _running.add(process)
            try:
                for raw in process.stdout or ():
                    line = raw.decode(errors="replace").rstrip("\n")
                    file.write(f"{line}\n")
                    tell(line)
            finally:
                code = process.wait()
                with _guard:
                    _running.discard(process)
        return code, log
