# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""One volume whose keyslots the QEMU changes that has it open: the same plan, in other hands."""

from __future__ import annotations

import contextlib
import typing as t

from ..errors import LuksmithError
from ..header.model import Header
from ..plan.live_limits import check_live
from ..plan.types import Plan
from ..task.desired import Desired
from ..task.secrets import why_qemu_cannot
from ..unlock.prover import Prover
from ..volume import locks
from ..volume.live_image import (
    SECRET,
    LiveNode,
    check_holder,
    forget_move,
    move_noted,
    node_of,
    prefix_of,
    remove_objects,
)
from ..volume.locked_write import Expected, Locked, locked_write
from ..volume.monitor import Monitor
from ..volume.read_header import read_header
from ..volume.storage import Volume


class Left(t.NamedTuple):
    """Of a killed run: the number of secrets ``removed`` from QEMU; the keyslot that it was moving, and to where."""

    removed: int
    move: t.Optional[t.Tuple[int, int]]


class Changing(t.NamedTuple):
    """``prefix``: of the names of our objects and jobs for this image."""

    locked: Locked[Header]
    monitor: Monitor
    node: LiveNode
    prefix: str


def settle(volume: Volume, path: str, *, check: bool, timeout: float) -> Left:
    """What a killed run left in the QEMU behind the monitor at ``path``; not cleared up in check mode.

    An amend job keeps the locks of a writer until it is dismissed. If this fails, the change that follows says why.
    """
    removed, move = 0, None
    with contextlib.suppress(LuksmithError), contextlib.ExitStack() as stack:
        if not check:
            stack.enter_context(locks.beside_qemu(volume, timeout=timeout))
        monitor = stack.enter_context(Monitor(path))
        check_holder(volume, monitor, timeout=0)
        if not check:
            removed = _clean(monitor, prefix_of(volume))
        move = move_noted(monitor, prefix_of(volume))
        if move is not None and move[1] not in read_header(volume).keyslots:
            move = None
        if move is None and not check:
            forget_move(monitor, prefix_of(volume))
    return Left(removed, move)


def check_plan(plan: Plan, header: Header, desired: Desired, prover: Prover) -> None:
    """Raises Refused if QEMU cannot do all of it."""
    obstacles = {
        number: why
        for number, secret in enumerate(prover.derivations.secrets)
        for why in [why_qemu_cannot(secret.value)]
        if why
    }
    openers = {secret for secrets in prover.openers().values() for secret in secrets}
    check_live(plan, header, desired, obstacles, openers)


def check_monitor(volume: Volume, header: Header, path: str) -> None:
    """Whether the process behind the monitor at ``path`` could change ``header``; it is asked for nothing else.

    Raises as :func:`changing`.
    """
    with Monitor(path) as monitor:
        check_holder(volume, monitor, timeout=0)
        node_of(volume, header, monitor)


@contextlib.contextmanager
def changing(
    path: str,
    header_path: t.Optional[str],
    planned_for: Expected,
    read: t.Callable[[Volume], t.Tuple[Header, str, t.Any]],
    *,
    monitor_path: str,
    timeout: float,
) -> t.Iterator[Changing]:
    """The volume, open for reading, and the node of the QEMU that has it open; our other runs are kept away.

    Raises what :func:`.locked_write` raises, StorageFault if the monitor is of no use, Busy if its process is not the
    only one that has the image open, and Refused if no node of it can be changed safely.
    """
    with Monitor(monitor_path) as monitor:

        def read_when_quiet(volume: Volume) -> t.Tuple[Header, str, t.Any]:
            check_holder(volume, monitor, timeout=timeout)
            _clean(monitor, prefix_of(volume))
            return read(volume)

        with locked_write(path, header_path, planned_for, read_when_quiet, timeout=timeout, by_qemu=True) as locked:
            node = node_of(locked.volume, locked.found, monitor)
            yield Changing(locked, monitor, node, prefix_of(locked.volume))


def _clean(monitor: Monitor, prefix: str) -> int:
    """Wait for the job of a run that was killed, and remove its secrets; how many these were."""
    for job in monitor.jobs():
        if job["id"].startswith(prefix):
            monitor.end_of_job(job["id"])
    return remove_objects(monitor, f"{prefix}{SECRET}")
