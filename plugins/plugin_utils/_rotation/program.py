# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Somebody else's program on the controller, which gets its input from a pipe: it has no terminal, a limit of time and
one of output.

It has ended when its process has ended. What it left behind in the background, such as the connection that ssh keeps
for its next call, may hold the pipes open and is not waited for. Where the program is ended here, so are the processes
of its group.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
import typing as t

MOST = 16 * 2**20  # bytes of its output
_CHUNK = 65536
_LOOK_AGAIN = 0.02  # seconds
_MOST_COMPLAINT = 65536  # of what it says on its standard error, the end


class Late(Exception):
    """It did not end in time, and was ended."""


class TooMuch(Exception):
    """It said more than MOST bytes, and was ended."""


class Ended(t.NamedTuple):
    """returncode: as ``subprocess`` has it, below 0 for a signal."""

    returncode: int
    stdout: bytes
    stderr: bytes


def run(words: t.Sequence[str], content: bytes, timeout: float) -> Ended:
    """Raises Late, TooMuch, and OSError or ValueError where the program cannot be begun."""
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        return _talk(process, content, time.monotonic() + timeout)
    finally:
        if process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):  # what was not written any more
                t.cast(t.IO[bytes], pipe).close()


def _talk(process: subprocess.Popen[bytes], content: bytes, until: float) -> Ended:
    pipes = [t.cast(t.IO[bytes], pipe) for pipe in (process.stdin, process.stdout, process.stderr)]
    stdin, stdout, stderr = (pipe.fileno() for pipe in pipes)
    heard = {stdout: bytearray(), stderr: bytearray()}
    left = memoryview(content)
    with selectors.DefaultSelector() as selector:
        selector.register(stdin, selectors.EVENT_WRITE)
        for descriptor in (stdout, stderr):
            selector.register(descriptor, selectors.EVENT_READ)
        for pipe in pipes:
            os.set_blocking(pipe.fileno(), False)
        # Its end is looked for: no thread can wait for it where a report is delivered, at the end of the interpreter.
        while process.poll() is None:
            ready = [key.fd for key, _events in selector.select(_LOOK_AGAIN)]
            if time.monotonic() > until:
                raise Late
            if stdin in ready:
                left = left[_put(stdin, left) :]
                if not left:
                    selector.unregister(stdin)
                    pipes[0].close()
            for descriptor in {*heard} & {*ready}:
                if not _hear(descriptor, heard[descriptor]):
                    selector.unregister(descriptor)
                del heard[stderr][:-_MOST_COMPLAINT]
    # All that it wrote is in the pipes by now.
    for descriptor, kept in heard.items():
        while _hear(descriptor, kept):
            pass
    return Ended(process.wait(), bytes(heard[stdout]), bytes(heard[stderr][-_MOST_COMPLAINT:]))


def _put(descriptor: int, content: memoryview) -> int:
    try:
        return os.write(descriptor, content[:_CHUNK])
    except BlockingIOError:
        return 0
    except BrokenPipeError:  # it does not want to know
        return len(content)


def _hear(descriptor: int, kept: bytearray) -> int:
    """How much there was; 0 at the end, and where there is nothing now. Raises TooMuch."""
    try:
        more = os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return 0
    kept += more
    if len(kept) > MOST:
        raise TooMuch
    return len(more)
