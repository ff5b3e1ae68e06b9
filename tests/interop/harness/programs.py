# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peers: found or skipped, run, and retried where one of them is known to fail before it does anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import typing as t

import pytest

STRICT = bool(os.environ.get("CI") or os.environ.get("LUKSMITH_STRICT"))
NEVER_MISSING = ("cryptsetup", "qemu-img", "qemu-io")
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
DEADLINE = 60.0  # seconds; for things that take milliseconds, so that a hang ends as a failure

# QEMU 7.2 cannot always time its own key derivation on a fast CPU; it says so before it writes.
CPU_FLAKE = "Unable to get accurate CPU usage"
CPU_FLAKE_ATTEMPTS = 60


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program, path=PATH) is None:
            if STRICT and program in NEVER_MISSING:
                pytest.fail(f"{program} is not installed, and this run is strict")
            pytest.skip(f"{program} is not installed")


def need_root(what: str) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"{what} needs root")


def run(*command: t.Any, stdin: bytes = b"", check: bool = True, timeout: float = DEADLINE) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    need(words[0])
    for _attempt in range(CPU_FLAKE_ATTEMPTS):
        done = subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=timeout, env={**os.environ, "PATH": PATH, "LC_ALL": "C"})
        text = subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        if CPU_FLAKE not in text.stderr:
            break
    assert not check or text.returncode == 0, f"{words}: {text.returncode} {text.stderr}"
    return text


def until(condition: t.Callable[[], t.Any], what: str, timeout: float = DEADLINE) -> t.Any:
    """Poll until ``condition()`` is true; its value. Fails the test at the deadline."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout:g} s in vain until {what}")
        time.sleep(0.005)
