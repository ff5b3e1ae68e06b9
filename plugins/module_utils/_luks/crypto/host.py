# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The processor cores and the memory of the host that this process may use, within the limits of its control groups,
and the kernel's FIPS mode.

Sources: proc(5) for MemAvailable, cgroups(7) and the kernel's cgroup-v1 and cgroup-v2 documents for the limits.
"""

from __future__ import annotations

import os
import pathlib
import typing as t

PROC = "/proc"
CGROUPS = "/sys/fs/cgroup"

_KIB = 1024


def available_memory() -> t.Optional[int]:
    """KiB that can be used without swapping (MemAvailable or the rest of a control group's limit); None if unknown."""
    known = [amount for amount in (_meminfo(), *(_left(group) for group in _groups("memory"))) if amount is not None]
    return min(known) if known else None


def cores() -> int:
    """Processor cores that this process may use (affinity mask, CPU quotas of its control groups); at least 1."""
    quotas = [quota for quota in map(_quota, _groups("cpu")) if quota is not None]
    return max(1, min([len(os.sched_getaffinity(0)), *quotas]))


def fips_mode() -> bool:
    """Whether the kernel is in FIPS mode, in which only validated libraries may be used."""
    return _text(pathlib.Path(PROC, "sys/crypto/fips_enabled")).strip() == "1"


def _meminfo() -> t.Optional[int]:
    for line in _text(pathlib.Path(PROC, "meminfo")).splitlines():
        words = line.split()
        if words[:1] == ["MemAvailable:"] and len(words) > 1 and words[1].isdigit():
            return int(words[1])
    return None


def _groups(controller: str) -> t.List[pathlib.Path]:
    """The directories of this process's control groups for ``controller``, and of all their parents."""
    found: t.List[pathlib.Path] = []
    for line in _text(pathlib.Path(PROC, "self/cgroup")).splitlines():
        _number, _colon, rest = line.partition(":")
        controllers, _colon, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        # In a container the path is the host's and may not exist here; our group is the root of the mount then.
        for root in [CGROUPS] if not controllers else [f"{CGROUPS}/{controllers}", f"{CGROUPS}/{controller}"]:
            group = pathlib.PurePosixPath(path.lstrip("/"))
            found.extend(pathlib.Path(root) / part for part in (group, *group.parents))
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def _left(group: pathlib.Path) -> t.Optional[int]:
    """KiB up to the limit of the group. Cached file pages can be reclaimed and do not count as used."""
    for limit_file, used_file, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = _number(group / limit_file), _number(group / used_file)
        if limit is not None and used is not None:
            given_up = [
                line.split()[1] for line in _text(group / "memory.stat").splitlines() if line.split()[:1] == [cached]
            ]
            return max(0, limit - used + int(given_up[0] if given_up else 0)) // _KIB
    return None


def _quota(group: pathlib.Path) -> t.Optional[int]:
    """The CPU quota of the group in whole cores, at least 1."""
    quota, _space, period = _text(group / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = _text(group / "cpu.cfs_quota_us").strip(), _text(group / "cpu.cfs_period_us").strip()
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return max(1, int(quota) // int(period))


def _number(path: pathlib.Path) -> t.Optional[int]:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None  # "max" is not a number


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
