# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The files and devices that must be locked for exclusive access to a header, besides the one that was opened.

The locks of a loop device and of its backing file are independent. A run on the device also locks the file beneath. A
run on the file also locks the devices above, as far as its permissions allow: that is for cryptsetup, because our own
runs always meet at the file. A run on a partition does not lock the disk, whose other partitions have nothing to do
with it, but nobody may use the whole of it.
"""

from __future__ import annotations

import typing as t

from ..errors import StorageFault
from . import blockdev
from .node import Node, open_node
from .storage import Volume


class Target(t.NamedTuple):
    """A file or device to lock.

    flock:    take cryptsetup's lock too; not for a payload with a detached header.
    optional: only for other programs; without permission for it the run continues.
    what:     its name in messages.
    shared:   other volumes have their bytes there, too: nobody else may hold it, and no lock is taken.
    """

    node: Node
    what: str
    flock: bool = True
    optional: bool = False
    shared: bool = False


class Conflict(t.NamedTuple):
    """What another process holds: the bytes ``taken`` of the target, or cryptsetup's lock at the path ``flock``.

    writers: processes that have the target open for writing and take no lock, in words.
    """

    target: Target
    taken: t.Tuple[int, ...] = ()
    flock: str = ""
    writers: t.Tuple[str, ...] = ()


def targets_of(volume: Volume) -> t.List[Target]:
    """The targets, the file with the header first; determined anew for every attempt, because devices come and go.

    Raises StorageFault if the backing file of a loop device cannot be opened.
    """
    header = volume.node
    targets = [Target(header, header.path)]
    if volume.payload is not None:
        targets.append(Target(volume.payload, f"{volume.payload.path}, the payload", flock=False))
    places = blockdev.stack(header.stat, header.path, volume.start)
    for place in places[1:]:
        if place.how == blockdev.LOOP_OF:
            node = _related_node(volume, place, optional=False)
            if node is not None:
                targets.append(Target(node, f"{place.path}, the backing file of the loop device"))
        elif place.how == blockdev.PARTITION_OF:
            node = _related_node(volume, place, optional=True)
            if node is not None:
                what = f"{place.path}, the disk that it is a partition of"
                targets.append(Target(node, what, flock=False, optional=True, shared=True))
    seen = {place.numbers for place in places}
    for place in places:
        for alias in blockdev.above(place.numbers, {place.offset, place.offset - volume.start}):
            node = None if alias.numbers in seen else _related_node(volume, alias, optional=True)
            seen.add(alias.numbers)
            if node is not None:
                targets.append(Target(node, f"{alias.path}, a loop device that shows the same bytes", optional=True))
    unique: t.Dict[t.Tuple[int, int], Target] = {}
    for target in targets:
        unique.setdefault(target.node.inode, target)
    return list(unique.values())


def _related_node(volume: Volume, place: blockdev.Place, *, optional: bool) -> t.Optional[Node]:
    """Opened once per volume: locks of a second descriptor of the same file would conflict with those of the first."""
    if place.numbers in volume.related_nodes:
        return volume.related_nodes[place.numbers]
    try:
        node = open_node(place.path, writable=False)
    except StorageFault:
        if optional:
            return None
        raise
    if blockdev.numbers_of(node.stat) != place.numbers:
        node.close()
        return None
    volume.related_nodes[place.numbers] = node
    return node
