# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine has for tests: processors, and memory for what runs on them."""

from __future__ import annotations

import os
import pathlib
import typing as t

# Bytes that a process of tests may come to need: Argon2, a fuzzer within its bounds, or the disks of a virtual machine.
FOR_EACH = 1536 << 20

CGROUPS = pathlib.Path("/sys/fs/cgroup")
MEMBERSHIP = pathlib.Path("/proc/self/cgroup")
MEMINFO = pathlib.Path("/proc/meminfo")


def _groups() -> t.Iterator[pathlib.Path]:
    """The folders of this process's control group and of those around it (version 2), as far as they can be seen."""
    try:
        own = next(
            line.split(":", 2)[2].strip() for line in MEMBERSHIP.read_text().splitlines() if line.startswith("0::")
        )
    except (OSError, StopIteration):
        return
    folder = CGROUPS / own.lstrip("/")
    yield from (place for place in (folder, *folder.parents) if place == CGROUPS or CGROUPS in place.parents)


def _words(path: pathlib.Path) -> t.List[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def processors() -> int:
    """Those that this process may use; a quota of its control group counts, rounded down, but never below one."""
    found = len(os.sched_getaffinity(0))
    for group in _groups():
        words = _words(group / "cpu.max")
        if len(words) == 2 and words[0].isdigit():
            found = min(found, int(words[0]) // int(words[1]))
    return max(1, found)


def memory() -> int:
    """Bytes that can be had without swapping."""
    lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
    found = int(lines["MemAvailable"].split()[0]) * 1024
    for group in _groups():
        most, used = _words(group / "memory.max"), _words(group / "memory.current")
        if most and used and most[0].isdigit():
            found = min(found, int(most[0]) - int(used[0]))
    return max(0, found)


def budget() -> int:
    """How many processes of tests may run at once: one for each processor, fewer where memory is short."""
    return max(1, min(processors(), memory() // FOR_EACH))
