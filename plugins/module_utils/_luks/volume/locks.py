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

from . import flocks, ofd
from .lock_targets import Conflict, Target, targets_of
from .node import fault
from .storage import Volume

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 0.5


class _Role(t.NamedTuple):
    """hold: bytes to lock, shared. free: bytes on which others may hold no lock at all. alone: nobody else writes."""

    exclusive: bool
    hold: t.Tuple[int, ...]
    free: t.Tuple[int, ...]
    alone: bool = False


# To deny "consistent read" keeps readers out. To deny "resize" keeps the end of a qcow2 file in place.
_WRITER = _Role(exclusive=True, hold=(100, 101, 200, 201, 203), free=(100, 101, 103, 200, 201), alone=True)
_READER = _Role(exclusive=False, hold=(100,), free=(200,))
# While a QEMU makes the change, the image locks are its own. It knows nothing of cryptsetup's lock.
_BESIDE = _Role(exclusive=True, hold=(), free=())


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


def beside_qemu(volume: Volume, *, timeout: float) -> t.ContextManager[None]:
    """The only lock that leaves room for a QEMU that changes the header: it keeps our other runs away.

    Raises what :func:`exclusive` raises.
    """
    return _held(volume, _BESIDE, timeout)


def image_locks_taken(volume: Volume) -> bool:
    """Whether another process holds a lock that :func:`exclusive` would need. Raises StorageFault."""
    return any(_taken(target, _WRITER) for target in targets_of(volume))


def writer_obstacles(volume: Volume) -> t.List[str]:
    """A sentence for each process that holds what :func:`exclusive` would need now. It takes no lock.

    Raises StorageFault.
    """
    from . import lock_obstacles

    targets = targets_of(volume)
    own = {target.node.fd for target in targets}
    sentences = []
    for target in targets:
        taken = _taken(target, _WRITER)
        if taken:
            sentences += lock_obstacles.holders_of_bytes(target, taken, own)
        if target.flock:
            path = flocks.device_lock_path(target.node.stat.st_rdev) if target.node.is_block else target.node.path
            sentences += lock_obstacles.holders_of_flock(path, skip=os.getpid())
    if not sentences:
        unlocked = _writers(targets)
        sentences = [] if unlocked is None else lock_obstacles.without_locks(unlocked)
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
            from .lock_obstacles import busy

            raise busy(volume, conflict, {target.node.fd for target in targets}, timeout)
        time.sleep(min(left, random.uniform(pause / 4, pause)))
        pause = min(pause * 2, _LONGEST_PAUSE)


def _take_all(targets: t.Sequence[Target], role: _Role, locks: contextlib.ExitStack) -> t.Optional[Conflict]:
    """Check before taking: a run of ours that waits must not make others fail that could proceed."""
    for target in targets:
        taken = _taken(target, role)
        if taken:
            return Conflict(target, taken=taken)
    for target in [target for target in targets if not target.shared]:
        conflict = _take_flock(target, role, locks) or _take_bytes(target, role, locks)
        if conflict is not None:
            return conflict
    return _writers(targets) if role.alone else None


def _writers(targets: t.Sequence[Target]) -> t.Optional[Conflict]:
    """Last, because it looks at every process."""
    from . import lock_holders

    for target in targets:
        found = lock_holders.writers_of(target.node.stat)
        if found:
            return Conflict(target, writers=tuple(map(str, found)))
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


def _take_flock(target: Target, role: _Role, locks: contextlib.ExitStack) -> t.Optional[Conflict]:
    if not target.flock:
        return None
    if not target.node.is_block:
        with _lock_faults(target):
            if not flocks.lock(target.node.fd, exclusive=role.exclusive):
                return Conflict(target, flock=target.node.path)
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
        return Conflict(target, flock=flocks.device_lock_path(rdev))
    locks.callback(held.release)
    return None


def _take_bytes(target: Target, role: _Role, locks: contextlib.ExitStack) -> t.Optional[Conflict]:
    with _lock_faults(target):
        for byte in role.hold:
            if not ofd.lock(target.node.fd, byte):
                return Conflict(target, taken=(byte,))
            locks.callback(_ignoring_faults, ofd.unlock, target.node.fd, byte)
    taken = _taken(target, role)
    return Conflict(target, taken=taken) if taken else None


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
