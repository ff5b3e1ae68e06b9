# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Sentences about who holds the locks that are needed. Apart from :mod:`.locks`, because few runs meet anyone."""

from __future__ import annotations

import os
import typing as t

from ..errors import Busy
from . import lock_holders
from .lock_targets import Conflict, Target
from .storage import Volume

# The names of the permissions in messages of QEMU.
_PERMISSIONS = ("consistent read", "write", "write unchanged", "resize", "graph modification")
_USES = 100
_FORBIDS = 200


def busy(volume: Volume, conflict: Conflict, own: t.Collection[int], timeout: float) -> Busy:
    """The error after ``timeout`` seconds of waiting for the end of ``conflict``; returned, not raised."""
    return Busy(
        "it is in use: " + "; ".join(_holders(conflict, own)),
        why=f"two writers at the same time could destroy keyslots (waited {timeout:g} s)",
        remedy="Stop that program or detach the volume from it and run the task again, or increase lock_timeout",
        volume=volume.path,
    )


def _holders(conflict: Conflict, own: t.Collection[int]) -> t.List[str]:
    if conflict.writers:
        return without_locks(conflict)
    if conflict.flock:
        return holders_of_flock(conflict.flock) or [
            f"a process that is not visible from here, or has ended, held cryptsetup's lock {conflict.flock}"
        ]
    return holders_of_bytes(conflict.target, conflict.taken, own)


def without_locks(conflict: Conflict) -> t.List[str]:
    what = conflict.target.what
    what += "," if ", " in what else ""
    return [f"{writer} has {what} open for writing without a lock" for writer in conflict.writers]


def holders_of_bytes(target: Target, taken: t.Sequence[int], own: t.Collection[int]) -> t.List[str]:
    """A sentence for each process with a lock on one of the bytes ``taken``, except by the descriptors ``own``."""
    found = []
    for holder in lock_holders.holders_of(target.node.inode, own=own):
        locks = [lock for lock in holder.locks if lock.kind != lock_holders.FLOCK]
        if any(lock.covers(byte) for lock in locks for byte in taken):
            found.append(f"{holder} {_bytes_held(locks)} of {target.what}")
    if found:
        return found
    unseen = (
        "a process that is not visible from here (of another user, unless this runs as root; in a container; on "
        "another machine) or has ended"
    )
    return [f"{unseen} held {_names(taken)} of {target.what}"]


def _bytes_held(locks: t.Sequence[lock_holders.Lock]) -> str:
    alone = [lock for lock in locks if lock.exclusive]
    if alone:
        end = "the end" if alone[0].last is None else f"{alone[0].last}"
        return f"holds an exclusive lock on bytes {alone[0].first} to {end}"
    known = [base + number for base in (_USES, _FORBIDS) for number in range(len(_PERMISSIONS))]
    return f"holds {_names([byte for byte in known if any(lock.covers(byte) for lock in locks)])}"


def _names(taken: t.Sequence[int]) -> str:
    """``the image locks "consistent read" (byte 100), deny "write" (byte 201)``."""
    names = [
        f'"{_PERMISSIONS[byte - _USES]}" (byte {byte})'
        if byte < _FORBIDS
        else f'deny "{_PERMISSIONS[byte - _FORBIDS]}" (byte {byte})'
        for byte in taken
    ]
    return f"the image lock{'s' if len(names) > 1 else ''} {', '.join(names)}"


def holders_of_flock(path: str, *, skip: int = 0) -> t.List[str]:
    """A sentence for each process that holds cryptsetup's lock at ``path``, except process ``skip``."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [
        f"{holder} holds cryptsetup's lock {path}"
        for holder in lock_holders.holders_of((status.st_dev, status.st_ino))
        if holder.pid != skip and any(lock.kind == lock_holders.FLOCK for lock in holder.locks)
    ]
