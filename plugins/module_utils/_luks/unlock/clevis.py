# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The passphrase of a Clevis binding, by the program ``clevis decrypt`` of the host. Nothing is written anywhere."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
import typing as t

from ..crypto.memory import wipe
from ..errors import Refused, shown

PATIENCE = 60.0  # seconds: a server that does not answer, or a pin with several of them
LONGEST_JWE = 32768  # bytes; with several servers some thousands. All of it fits into the pipe
LONGEST = 8192  # bytes of a passphrase; Clevis makes 54
_LONGEST_TOLD = 300  # characters of the program's own error
_PARTS = ("protected", "encrypted_key", "iv", "ciphertext", "tag")


def compact(jwe: t.Any) -> bytes:
    """The ``jwe`` of a LUKS2 token in the form that ``clevis decrypt`` reads. Raises Refused if it is none."""
    parts = [jwe.get(name, "") if isinstance(jwe, dict) else None for name in _PARTS]
    if not all(isinstance(part, str) and part.isascii() for part in parts):
        raise Refused("its JWE is damaged", remedy="bind the keyslot to Clevis again")
    return ".".join(t.cast(t.List[str], parts)).encode()


def passphrase(jwe: bytes, patience: float = PATIENCE) -> bytearray:
    """What the binding yields; the caller wipes it. Raises Refused, with the program's words, if it yields nothing."""
    if len(jwe) > LONGEST_JWE:
        raise Refused(f"its JWE has {len(jwe)} bytes", remedy="bind the keyslot to Clevis again")
    program = shutil.which("clevis")
    if program is None:
        raise Refused("the program clevis is not installed", remedy="install it, with what its pin needs")
    told = os.memfd_create("clevis", os.MFD_CLOEXEC)
    try:
        with subprocess.Popen(
            [program, "decrypt"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            bufsize=0,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C"},
        ) as process:
            try:
                return _answer(process, jwe, time.monotonic() + patience, told)
            finally:
                with contextlib.suppress(ProcessLookupError):  # also what it started, which may wait for a server
                    os.killpg(process.pid, signal.SIGKILL)
    finally:
        os.close(told)


def _answer(process: t.Any, jwe: bytes, deadline: float, told: int) -> bytearray:
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(jwe)
    answer = bytearray(LONGEST + 1)
    try:
        size = _read(process.stdout.fileno(), answer, deadline)
        process.wait(max(deadline - time.monotonic(), 0.1))
        if process.returncode or not 0 < size <= LONGEST:
            words = shown(" ".join(_told(told).split()), _LONGEST_TOLD)
            ended = f"ended with {process.returncode}" if process.returncode else "yielded nothing that is a passphrase"
            raise Refused(
                f"clevis decrypt {ended}" + (f": {words}" if words else ""),
                why="the binding gave no passphrase",
                remedy="check that its server answers or its TPM is there",
            )
        return answer[:size]
    except (TimeoutError, subprocess.TimeoutExpired):
        raise Refused(
            "clevis decrypt did not end in time",
            why="its server may not answer",
            remedy="check the connection to it",
        ) from None
    finally:
        wipe(answer)


def _read(fd: int, answer: bytearray, deadline: float) -> int:
    """Bytes read until the end of the output. Raises TimeoutError."""
    size = 0
    with memoryview(answer) as view:
        while size < len(answer):
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
    return os.pread(fd, 4096, 0).decode("utf-8", "replace")
