# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Either one writer or many readers: QEMU's image locks, cryptsetup's flock, and exclusion between our own runs.

The locked bytes are those of QEMU's file-posix driver (block/file-posix.c) while "qemu-img amend" changes keyslots
(observed with 7.2): shared locks on byte 100 + i for "I use permission i" and on byte 200 + i for "others must not use
i", then a check that no other process holds the opposite bytes. Nothing here waits inside the kernel: every attempt
takes all locks or none, and two that collide retry after a random pause.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
import typing as t

from ..errors import Busy
from . import flocks, ofd
from .lock_targets import Target, targets_of
from .node import fault
from .storage import Volume

if t.TYPE_CHECKING:
    from . import lock_holders

# The names of the permissions in messages of QEMU.
_PERMISSIONS = ("consistent read", "write", "write unchanged", "resize", "graph modification")
_USES = 100
_FORBIDS = 200
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5


class _Role(t.NamedTuple):
    """hold: bytes to lock, shared. free: bytes on which others may hold no lock at all."""

    exclusive: bool
    hold: t.Tuple[int, ...]
    free: t.Tuple[int, ...]


# To deny "consistent read" keeps readers out. To deny "resize" keeps the end of a qcow2 file in place.
_WRITER = _Role(exclusive=True, hold=(100, 101, 200, 201, 203), free=(100, 101, 103, 200, 201))
_READER = _Role(exclusive=False, hold=(100,), free=(200,))


class _Conflict(t.NamedTuple):
    """What another process holds: the bytes ``taken`` of the target, or cryptsetup's lock at the path ``flock``."""

    target: Target
    taken: t.Tuple[int, ...] = ()
    flock: str = ""


def exclusive(volume: Volume, *, timeout: float) -> t.ContextManager[None]:
    """The locks of a writer: while they are held, no program that respects them reads or writes.

    timeout: seconds to keep trying; 0 tries once. Once inside, the caller reads the header again and calls
    :meth:`Volume.check_still_there`. Do not nest it with another lock on the same volume object.

    Raises, when it is entered, Busy, which names the holders, if the locks are not free in time; StorageFault if the
    system does not support them or denies them.
    """
    return _held(volume, _WRITER, timeout)


def shared(volume: Volume, *, timeout: float) -> t.ContextManager[None]:
    """The locks of a reader: they prevent changes of keyslots, but do not disturb running guests.

    Raises what :func:`exclusive` raises.
    """
    return _held(volume, _READER, timeout)


def writer_obstacles(volume: Volume) -> t.List[str]:
    """A sentence for each process that holds what :func:`exclusive` would need now. It takes no lock.

    Raises StorageFault.
    """
    targets = targets_of(volume)
    own = {target.node.fd for target in targets}
    sentences = []
    for target in targets:
        taken = _taken(target, _WRITER)
        if taken:
            sentences += _holders(_Conflict(target, taken=taken), own)
        if target.flock:
            path = flocks.device_lock_path(target.node.stat.st_rdev) if target.node.is_block else target.node.path
            sentences += _flock_holders(path, skip=os.getpid())
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences]


@contextlib.contextmanager
def _held(volume: Volume, role: _Role, timeout: float) -> t.Iterator[None]:
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        with contextlib.ExitStack() as locks:
            targets = targets_of(volume)
            conflict = _take_all(targets, role, locks)
            if conflict is None:
                yield
                return
        left = deadline - time.monotonic()
        if left <= 0:
            # Only now, because it reads all of /proc; the holder may be gone by then.
            raise _busy(volume, conflict, {target.node.fd for target in targets}, timeout)
        time.sleep(min(left, random.uniform(pause / 4, pause)))
        pause = min(pause * 2, _LONGEST_PAUSE)


def _take_all(targets: t.Sequence[Target], role: _Role, locks: contextlib.ExitStack) -> t.Optional[_Conflict]:
    """Check before taking: a run of ours that waits must not make others fail that could proceed."""
    for target in targets:
        taken = _taken(target, role)
        if taken:
            return _Conflict(target, taken=taken)
    for target in targets:
        conflict = _take_flock(target, role, locks) or _take_bytes(target, role, locks)
        if conflict is not None:
            return conflict
    return None


def _taken(target: Target, role: _Role) -> t.Tuple[int, ...]:
    """The bytes in conflict: any lock on a byte that must be free, an exclusive one on a byte that is to be held."""
    with _lock_faults(target):
        fd = target.node.fd
        return tuple(
            byte
            for byte in sorted({*role.hold, *role.free})
            if ofd.held_by_others(fd, byte, only_exclusive=byte not in role.free)
        )


def _take_flock(target: Target, role: _Role, locks: contextlib.ExitStack) -> t.Optional[_Conflict]:
    if not target.flock:
        return None
    if not target.node.is_block:
        with _lock_faults(target):
            if not flocks.lock(target.node.fd, exclusive=role.exclusive):
                return _Conflict(target, flock=target.node.path)
        locks.callback(_ignoring_faults, flocks.unlock, target.node.fd)
        return None
    rdev = target.node.stat.st_rdev
    try:
        held = flocks.lock_device(rdev, exclusive=role.exclusive)
    except OSError as error:
        if target.optional:
            return None
        raise flocks.no_folder(target.node.path, error) from None
    if held is None:
        return _Conflict(target, flock=flocks.device_lock_path(rdev))
    locks.callback(held.release)
    return None


def _take_bytes(target: Target, role: _Role, locks: contextlib.ExitStack) -> t.Optional[_Conflict]:
    with _lock_faults(target):
        for byte in role.hold:
            if not ofd.lock(target.node.fd, byte):
                return _Conflict(target, taken=(byte,))
            locks.callback(_ignoring_faults, ofd.unlock, target.node.fd, byte)
    taken = _taken(target, role)
    return _Conflict(target, taken=taken) if taken else None


def _ignoring_faults(unlock: t.Callable[..., None], *arguments: int) -> None:
    """Ignore an unlock that fails: closing the volume releases the lock too, and the work is done."""
    with contextlib.suppress(OSError):
        unlock(*arguments)


@contextlib.contextmanager
def _lock_faults(target: Target) -> t.Iterator[None]:
    try:
        yield
    except OSError as error:
        raise fault(
            target.node.path,
            "the file system does not support locks",
            error,
            why="without locks, QEMU, cryptsetup or another run could change the header at the same time",
            remedy="Move the volume to a file system with working locks (for NFS: version 4, or version 3 with its "
            "lock service)",
        ) from None


def _busy(volume: Volume, conflict: _Conflict, own: t.Collection[int], timeout: float) -> Busy:
    return Busy(
        "it is in use: " + "; ".join(_holders(conflict, own)),
        why=f"two writers at the same time could destroy keyslots (waited {timeout:g} s)",
        remedy="Stop that program or detach the volume from it and run the task again, or increase lock_timeout",
        volume=volume.path,
    )


def _holders(conflict: _Conflict, own: t.Collection[int]) -> t.List[str]:
    if conflict.flock:
        return _flock_holders(conflict.flock) or [
            f"a process that is not visible from here, or has ended, held cryptsetup's lock {conflict.flock}"
        ]
    from . import lock_holders  # only where somebody is in the way, as below

    found = []
    for holder in lock_holders.holders_of(conflict.target.node.inode, own=own):
        locks = [lock for lock in holder.locks if lock.kind != lock_holders.FLOCK]
        if any(lock.covers(byte) for lock in locks for byte in conflict.taken):
            found.append(f"{holder} {_bytes_held(locks)} of {conflict.target.what}")
    if found:
        return found
    unseen = (
        "a process that is not visible from here (of another user, unless this runs as root; in a container; on "
        "another machine) or has ended"
    )
    return [f"{unseen} held {_names(conflict.taken)} of {conflict.target.what}"]


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


def _flock_holders(path: str, *, skip: int = 0) -> t.List[str]:
    try:
        status = os.stat(path)
    except OSError:
        return []
    from . import lock_holders

    return [
        f"{holder} holds cryptsetup's lock {path}"
        for holder in lock_holders.holders_of((status.st_dev, status.st_ino))
        if holder.pid != skip and any(lock.kind == lock_holders.FLOCK for lock in holder.locks)
    ]
