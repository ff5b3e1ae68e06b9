# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A program of the host whose answer is a secret: by pipes only, within a time limit, and ended with all it started."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import termios
import textwrap
import time
import typing as t

from ..crypto.memory import wipe
from ..errors import LuksmithError, Refused, shown

PATIENCE = 60.0  # seconds: a server that does not answer, a key that waits to be touched
LONGEST = 8192  # bytes of an answer
LONGEST_TOLD = 300  # characters of the program's own error
_MOST_TOLD = 65536  # bytes of what it says in all
_OF_A_LIBRARY = re.compile(r"(?:ERROR|WARNING|INFO|DEBUG|TRACE):[a-z0-9-]+:")
_WHY_LOCKED = "the TPM is locked, because of wrong PINs: it refuses all keys that it guards so, of other volumes, too"
_LOCKED = re.compile(r"DA lockout|0x0*921\b|dictionary attack lockout|TPM_RC_LOCKOUT", re.IGNORECASE)


class Words(t.NamedTuple):
    """What a message says of the program: its name, and what to do if it fails or does not end."""

    name: str
    remedy: str
    why_late: str
    remedy_late: str


def answer(
    command: t.Sequence[str],
    given: t.Union[bytes, bytearray],
    words: Words,
    *,
    patience: float = PATIENCE,
    longest: int = LONGEST,
    pass_fds: t.Sequence[int] = (),
) -> bytearray:
    """What ``command`` writes to its output when it gets ``given``, which fits into a pipe; the caller wipes both.

    Raises Refused, with the program's own words, if it fails, answers nothing or more than ``longest`` bytes, or takes
    longer than ``patience`` seconds.
    """
    told = os.memfd_create("told", os.MFD_CLOEXEC)
    try:
        with _running(command, pass_fds, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told) as process:
            return _answer(process, given, words, time.monotonic() + patience, longest, told)
    finally:
        os.close(told)


def typed(
    command: t.Sequence[str], line: t.Union[bytes, bytearray], words: Words, *, pass_fds: t.Sequence[int] = ()
) -> None:
    """Run ``command``, which asks for ``line`` twice at its terminal if that is not empty.

    Raises Refused, with the program's own words, if it fails or takes longer than :data:`PATIENCE` seconds.
    """
    told = os.memfd_create("told", os.MFD_CLOEXEC)
    outside, inside = os.openpty()
    twice = bytearray(2 * len(line) + 2)
    twice[: len(line)] = twice[len(line) + 1 : -1] = line
    twice[len(line)] = twice[-1] = ord("\n")
    try:
        _without_echo(inside)
        with _running(command, pass_fds, stdin=inside, stdout=told, stderr=told) as process:
            try:
                if line:
                    os.write(outside, twice)
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                raise _late(words) from None
        if process.returncode:
            raise _failed(words, process.returncode, _told(told))
    finally:
        wipe(twice)
        for descriptor in (told, outside, inside):
            os.close(descriptor)


@contextlib.contextmanager
def _running(
    command: t.Sequence[str], pass_fds: t.Sequence[int], *, stdin: int, stdout: int, stderr: int
) -> t.Iterator[t.Any]:
    """A session of its own, which ends with the block, also for what ``command`` started and left behind."""
    environment = {**os.environ, "LC_ALL": "C", "TSS2_LOG": "all+NONE"}  # each error is told again by what called it
    # run_command of Ansible keeps what the program says as text that nobody can wipe.
    with subprocess.Popen(  # pylint: disable=ansible-bad-function
        command,
        bufsize=0,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        pass_fds=pass_fds,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _late(words: Words) -> Refused:
    return Refused(f"{words.name} did not end in time", why=words.why_late, remedy=words.remedy_late)


def _without_echo(terminal: int) -> None:
    attributes = termios.tcgetattr(terminal)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


def _answer(
    process: t.Any, given: t.Union[bytes, bytearray], words: Words, deadline: float, longest: int, told: int
) -> bytearray:
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(given)
    found = bytearray(longest + 1)
    try:
        size = _read(process.stdout.fileno(), found, deadline)
        process.wait(max(deadline - time.monotonic(), 0.1))
        if process.returncode or not 0 < size <= longest:
            raise _failed(words, process.returncode, _told(told), why="the binding gave no passphrase")
        return found[:size]
    except (TimeoutError, subprocess.TimeoutExpired):
        raise _late(words) from None
    finally:
        wipe(found)


def _failed(words: Words, code: int, told: str, why: str = "") -> Refused:
    said = own_words(told)
    locked = bool(_LOCKED.search(told))
    return Refused(
        f"{words.name} {_end(code)}" + (f": {said}" if said else ""),
        why=_WHY_LOCKED if locked else why,
        remedy="wait until the TPM forgets them, or end it with 'tpm2_dictionarylockout --clear-lockout'; then give the"
        " right PIN"
        if locked
        else words.remedy,
    )


def is_of_a_locked_tpm(error: LuksmithError) -> bool:
    return error.why == _WHY_LOCKED


def own_words(told: str) -> str:
    """What a program says itself, on one line that ends at a word: what the TPM library says beside it goes, if that is
    not all there is.
    """
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    own = [line for line in lines if not _OF_A_LIBRARY.match(line)] or lines[-1:]
    return textwrap.shorten(shown(" ".join(own), len(told)), LONGEST_TOLD, placeholder=" ...")


def _end(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with {code}" if code else "yielded nothing that is a passphrase"


def _read(fd: int, found: bytearray, deadline: float) -> int:
    """Bytes read until the end of the output. Raises TimeoutError."""
    size = 0
    with memoryview(found) as view:
        while size < len(found):
            ready, _writable, _odd = select.select([fd], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            with view[size:] as rest:
                count = os.readv(fd, [rest])
            if not count:
                break
            size += count
    return size


def _told(fd: int) -> str:
    return os.pread(fd, _MOST_TOLD, 0).decode("utf-8", "replace")
