# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Which file system a file is on, and those of the kernel in which nobody can create a file with a content."""

from __future__ import annotations

import os
import typing as t

_VIEWS = frozenset(
    (
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "cpuset",
        "debugfs",
        "devpts",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nfsd",
        "proc",
        "pstore",
        "resctrl",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "smackfs",
        "sysfs",
        "tracefs",
    )
)


def mount_of(fd: int) -> t.Optional[t.Tuple[int, str]]:
    """(device number, type) of the file system, by mount id: st_dev of a btrfs subvolume is in no table."""
    try:
        # In bytes: a process that has given up its rights may find no codec any more.
        with open(f"/proc/self/fdinfo/{fd}", "rb") as stream:
            mount_id = next((os.fsdecode(line.split()[1]) for line in stream if line.startswith(b"mnt_id:")), "")
        with open("/proc/self/mountinfo", "rb") as table:
            rows = [os.fsdecode(row).split(" ") for row in table]
    except OSError:
        return None
    for row in rows:
        if row[0] == mount_id:
            major, _colon, minor = row[2].partition(":")
            return os.makedev(int(major), int(minor)), row[row.index("-") + 1]
    return None


def view_of_the_kernel(folder: str) -> str:
    """The type of the file system of the folder if it keeps no files of programs, else "". Root may write to some of
    these folders as far as ``access`` says, and yet cannot create a file there. Raises OSError.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mount = mount_of(descriptor)
    finally:
        os.close(descriptor)
    return mount[1] if mount is not None and mount[1] in _VIEWS else ""
