# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""One volume whose keyslots the QEMU changes that has it open: the same plan, in other hands."""

from __future__ import annotations

import contextlib
import typing as t

from ..header.model import Header
from ..plan.live_limits import check_live
from ..plan.types import Plan
from ..task.desired import Desired
from ..task.secrets import why_qemu_cannot
from ..unlock.prover import Prover
from ..volume.live_image import LiveNode, check_holder, node_of, users_of
from ..volume.locked_write import Expected, Locked, locked_write
from ..volume.monitor import Denied, Monitor
from ..volume.storage import Volume


class Changing(t.NamedTuple):
    """removed: objects of an interrupted run that QEMU still had. prefix: of ours for this image."""

    locked: Locked[Header]
    monitor: Monitor
    node: LiveNode
    prefix: str
    removed: int


def held(volume: Volume) -> bool:
    """Whether a process keeps a writer out, so that QEMU has to make the change. Raises as :func:`users_of`."""
    return bool(users_of(volume))


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
        check_holder(volume, users_of(volume), monitor)
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
        removed: t.List[str] = []

        def read_when_quiet(volume: Volume) -> t.Tuple[Header, str, t.Any]:
            check_holder(volume, users_of(volume), monitor)
            removed.extend(_clean(monitor, _prefix(volume)))
            return read(volume)

        with locked_write(path, header_path, planned_for, read_when_quiet, timeout=timeout, by_qemu=True) as locked:
            node = node_of(locked.volume, locked.found, monitor)
            yield Changing(locked, monitor, node, _prefix(locked.volume), len(removed))


def _prefix(volume: Volume) -> str:
    """Begins the names of our objects and jobs for this image: the run that holds our lock owns all that are there."""
    device, inode = (volume.node.stat.st_rdev, 0) if volume.node.is_block else volume.node.inode
    return f"luksmith-{device:x}-{inode:x}-"


def _clean(monitor: Monitor, prefix: str) -> t.Iterator[str]:
    """Wait for the job of a run that was killed, and remove its objects; their names."""
    for job in monitor.jobs():
        if job["id"].startswith(prefix):
            monitor.end_of_job(job["id"])
    for item in monitor.objects("qom-list", "name", {"path": "/objects"}):
        if item["name"].startswith(prefix):
            with contextlib.suppress(Denied):
                monitor.execute("object-del", {"id": item["name"]})
                yield item["name"]
