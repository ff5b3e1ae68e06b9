# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Who has an image open, and which node of a QEMU it is, by inode and device: names prove nothing.

A QEMU writes the whole header from its memory, and some versions abort at some nodes. So a node is used only if what
QEMU says of its keyslots is what the image holds, and nothing is known against it.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
import typing as t

from ..errors import Busy, Refused, StorageFault
from ..header.model import Header
from . import lock_holders, locks
from .lock_holders import Holder
from .lock_targets import targets_of
from .monitor import Denied, Json, Monitor, parsed
from .node import Node
from .storage import Volume

# Drivers of QEMU that show the bytes of their child "file" at the same places.
_FILTERS = ("throttle", "copy-on-read", "preallocate")
_FILES = ("file", "host_device")

# An amend job aborts QEMU from 8.2 on ("block: fix luks 'amend' when run in coroutine" is in 10.0.7 and 10.2). That was
# read and not tried: see docs/options.md.
_ABORTS = (((8, 2, 0), (10, 0, 7)), ((10, 1, 0), (10, 2, 0)))
_PAUSE = 0.2  # seconds
# What follows the prefix in the names of our objects.
SECRET = "secret-"
_MOVE = "move-"
_FREE = "or run the task when the image is free"


class LiveNode(t.NamedTuple):
    """The node of a QEMU whose keyslots a job can change. ``driver``: luks or qcow2."""

    name: str
    driver: str


class _Child(t.NamedTuple):
    name: str
    permissions: t.Tuple[str, ...]


_Graph = t.Dict[str, t.Dict[str, _Child]]  # name of a node -> name of an edge -> the child
_Nodes = t.Dict[str, t.Dict[str, Json]]


def users_of(volume: Volume) -> t.List[Holder]:
    """The processes that keep a writer out, by pid: they hold image locks, or have it open for writing without.

    Raises Busy if there is one that is not visible from here, and StorageFault.
    """
    targets = targets_of(volume)
    own = {target.node.fd for target in targets}
    found: t.Dict[int, Holder] = {}
    for target in targets:
        for holder in lock_holders.holders_of(target.node.inode, own=own):
            if any(lock.kind != lock_holders.FLOCK for lock in holder.locks):
                found.setdefault(holder.pid, holder)
        for writer in lock_holders.writers_of(target.node.stat):
            found.setdefault(writer.pid, writer)
    if not found and locks.image_locks_taken(volume):
        raise Busy(
            "it is in use by a process that is not visible from here (of another user, unless this runs as root; in a "
            "container; on another machine)",
            why="whether it is the one behind the monitor cannot be told",
            remedy="run the task as root on the host of that process",
            volume=volume.path,
        )
    return [found[pid] for pid in sorted(found)]


def held_by_qemu(volume: Volume) -> bool:
    """Whether a QEMU, or somebody who is not visible, keeps a writer out; others, such as a run of ours, will end.

    Raises StorageFault.
    """
    try:
        return any(user.program.startswith("qemu") for user in users_of(volume))
    except Busy:  # only a change needs to know more
        return True


def check_holder(volume: Volume, monitor: Monitor, *, timeout: float) -> None:
    """Raises Busy unless the process behind the monitor is the only one that has the image open.

    timeout: seconds to wait for the end of others.
    """
    deadline = time.monotonic() + timeout
    while True:
        users = users_of(volume)
        others = [user for user in users if user.pid != monitor.pid]
        if users and not others:
            return
        if not users or time.monotonic() >= deadline:
            break
        time.sleep(_PAUSE)
    who = " and ".join(map(str, others)) or "no process any more"
    raise Busy(
        f"it is in use by {who}, and the process behind the monitor {monitor.path} is pid {monitor.pid}",
        why="only the process that has the image open, and it alone, can change its keyslots",
        remedy="give the monitor of that process, stop the others, or run the task again if it has just ended",
        volume=volume.path,
    )


def node_of(volume: Volume, header: Header, monitor: Monitor) -> LiveNode:
    """The one node of the QEMU behind ``monitor`` that has the image open, safe to change.

    Raises Refused, which says what is in the way, and StorageFault if the monitor answers nonsense.
    """
    version = ".".join(map(str, monitor.version))
    if monitor.version < (5, 1, 0) or any(first <= monitor.version < fixed for first, fixed in _ABORTS):
        raise Refused(
            f"QEMU {version} of pid {monitor.pid} cannot change keyslots of an open image safely",
            why="it has no such command"
            if monitor.version < (5, 1, 0)
            else "this version is known to abort when it is asked to, and its VM with it (fixed in 10.0.7 and 10.2)",
            remedy=f"update QEMU, {_FREE}",
        )
    nodes = {
        node["node-name"]: node for node in monitor.objects("query-named-block-nodes", "node-name", {"flat": True})
    }
    graph = _graph(monitor)
    found = sorted(set(_candidates(volume, monitor, nodes, graph)))
    if len(found) != 1:
        raise Refused(
            f"QEMU (pid {monitor.pid}) has "
            + (
                f"{len(found)} nodes with LUKS of this image ({', '.join(found)})"
                if found
                else "no node with LUKS of this image"
            ),
            why="each has its own copy of the header, and would write it over what another one wrote"
            if found
            else "it has the image open as something else: a guest that decrypts its disk itself is one reason",
            remedy=f"detach the others, {_FREE}"
            if found
            else f"give as device what QEMU has open (not the file of a loop device), {_FREE}",
        )
    _check(volume, header, nodes[found[0]], graph.get(found[0], {}), monitor)
    return LiveNode(found[0], str(nodes[found[0]]["drv"]))


def prefix_of(volume: Volume) -> str:
    """Begins the names of our objects and jobs for this image: the run that holds our lock owns all that are there."""
    device, inode = (volume.node.stat.st_rdev, 0) if volume.node.is_block else volume.node.inode
    return f"luksmith-{device:x}-{inode:x}-"


def note_move(monitor: Monitor, prefix: str, keyslot: int, temporary_slot: int) -> None:
    """Note in QEMU that ``keyslot`` is being rekeyed through ``temporary_slot``: its name is the note.

    Nothing may be written to the image, and QEMU forgets it only when it ends. An older note is obsolete by now. Raises
    as :meth:`.Monitor.add_secret`.
    """
    forget_move(monitor, prefix)
    monitor.add_secret(f"{prefix}{_MOVE}{keyslot}-{temporary_slot}", bytearray(b"no secret"))


def move_noted(monitor: Monitor, prefix: str) -> t.Optional[t.Tuple[int, int]]:
    """What :func:`note_move` noted. Raises as :meth:`.Monitor.execute`."""
    for name in _objects(monitor, f"{prefix}{_MOVE}"):
        found = re.fullmatch(r"([0-7])-([0-7])", name[len(prefix) + len(_MOVE) :])
        if found and found.group(1) != found.group(2):
            return int(found.group(1)), int(found.group(2))
    return None


def forget_move(monitor: Monitor, prefix: str) -> None:
    """It is done. Raises as :meth:`.Monitor.execute`."""
    remove_objects(monitor, f"{prefix}{_MOVE}")


def remove_objects(monitor: Monitor, beginning: str) -> int:
    """How many were there. Raises StorageFault if the monitor is of no use."""
    names = _objects(monitor, beginning)
    for name in names:
        with contextlib.suppress(Denied):
            monitor.execute("object-del", {"id": name})
    return len(names)


def _objects(monitor: Monitor, beginning: str) -> t.List[str]:
    found = monitor.objects("qom-list", "name", {"path": "/objects"})
    return [str(one["name"]) for one in found if one["name"].startswith(beginning)]


def _candidates(volume: Volume, monitor: Monitor, nodes: _Nodes, graph: _Graph) -> t.Iterator[str]:
    """Names of nodes with LUKS above a node that has the file with the header open."""
    for name, node in nodes.items():
        if node.get("drv") in ("luks", "qcow2"):
            children = graph.get(name, {})
            below = _file_below(children.get("header", children.get("file")), nodes, graph)
            if below is not None and _is_open(monitor, below, volume.node):
                yield name


def _file_below(child: t.Optional[_Child], nodes: _Nodes, graph: _Graph) -> t.Optional[t.Dict[str, Json]]:
    """The node of a file under ``child``, through nodes that change no places."""
    for _step in range(len(nodes)):
        node = None if child is None else nodes.get(child.name)
        if child is None or node is None or node.get("drv") in _FILES:
            return node
        if node.get("drv") not in _FILTERS:
            return None
        child = graph.get(child.name, {}).get("file")
    return None


def _check(
    volume: Volume, header: Header, node: t.Mapping[str, Json], children: t.Mapping[str, _Child], monitor: Monitor
) -> None:
    name = node["node-name"]
    detached, qcow2 = "header" in children, node.get("drv") == "qcow2"
    if detached != (volume.payload is not None) or qcow2 != (volume.container == "qcow2"):
        raise Refused(
            f"the node {name} of QEMU has this image open as {node.get('drv')}"
            f"{' with a detached header' if detached else ''}, the task as {volume.container}"
            f"{' with a detached header' if volume.payload is not None else ''}",
            why="they mean different headers",
            remedy="correct device and header",
        )
    if detached and "write" not in children["header"].permissions:
        raise Refused(
            f"the node {name} of QEMU has the detached header open without permission to write",
            why="QEMU aborts when it is asked to change it, and its VM with it",
            remedy=f"attach the disk to something that writes, {_FREE}",
        )
    if node.get("ro") is not False or node.get("active") is False:
        raise Refused(
            f"the node {name} of QEMU is {'inactive' if node.get('active') is False else 'read-only'}",
            why="it cannot write the header",
            remedy=f"use the process that writes to it, {_FREE}",
        )
    said = _keyslots_said(node, qcow2=qcow2)
    if said is None:
        raise Refused(
            f"QEMU does not say which keyslots its node {name} has",
            why="it writes the header from its memory, which may differ from the image",
            remedy=f"update QEMU, {_FREE}",
        )
    fixed = header.layout.fixed or {}
    held = {
        number: getattr(header.keyslots[number].kdf, "iterations", None) if number in header.keyslots else 0
        for number in fixed
    }
    if said != (header.uuid, held, {number: extent.offset for number, extent in fixed.items()}):
        raise Refused(
            f"the header that QEMU (pid {monitor.pid}) has in memory is not the one in the image",
            why="another program changed the image behind its back, and QEMU would write its old header over that",
            remedy=f"restart that QEMU, {_FREE}",
        )


def _keyslots_said(
    node: t.Mapping[str, Json], *, qcow2: bool
) -> t.Optional[t.Tuple[str, t.Dict[int, Json], t.Dict[int, Json]]]:
    """The uuid, the iterations of each keyslot (0: inactive) and its place, as QEMU says, or None."""
    try:
        luks = node["image"]["format-specific"]["data"]
        luks = luks["encrypt"] if qcow2 else luks
        slots = dict(enumerate(luks["slots"]))
        return (
            luks["uuid"],
            {number: slot["iters"] if slot["active"] is True else 0 for number, slot in slots.items()},
            {number: slot["key-offset"] for number, slot in slots.items()},
        )
    except (KeyError, TypeError):
        return None


def _graph(monitor: Monitor) -> _Graph:
    found = monitor.execute("x-debug-query-block-graph")
    try:
        names = {node["id"]: str(node["name"]) for node in found["nodes"] if node["type"] == "block-driver"}
        graph: _Graph = {name: {} for name in names.values()}
        for edge in found["edges"]:
            if edge["parent"] in names and edge["child"] in names:
                graph[names[edge["parent"]]][str(edge["name"])] = _Child(
                    names[edge["child"]], tuple(map(str, edge["perm"]))
                )
        return graph
    except (KeyError, TypeError):
        raise StorageFault(
            f"the monitor {monitor.path} is of no use: it does not tell how its nodes are connected",
            remedy="Check which program listens there",
        ) from None


def _is_open(monitor: Monitor, node: t.Mapping[str, Json], image: Node) -> bool:
    """Whether a node of a file leads to ``image`` in the view of the process of QEMU."""
    name = node.get("file")
    if isinstance(name, str) and name.startswith("json:"):
        try:
            name = parsed(name[len("json:") :])["filename"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
    if not isinstance(name, str) or "\0" in name:
        return False
    return any(_same(path, image) for path in _paths(monitor, name))


def _paths(monitor: Monitor, name: str) -> t.List[str]:
    """Where the file ``name`` of the process is for us. libvirt hands over descriptors: ``/dev/fdset/2``."""
    process = f"{lock_holders.PROC}/{monitor.pid}"
    if name.startswith("/dev/fdset/"):
        try:
            sets = monitor.execute("query-fdsets")
            chosen = [one["fds"] for one in sets if str(one["fdset-id"]) == name.rpartition("/")[2]]
            return [f"{process}/fd/{int(fd['fd'])}" for fds in chosen for fd in fds]
        except (KeyError, TypeError, ValueError, OverflowError):
            return []
    return [f"{process}/root{name}" if name.startswith("/") else f"{process}/cwd/{name}"]


def _same(path: str, image: Node) -> bool:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return False
    if image.is_block:
        return stat.S_ISBLK(status.st_mode) and status.st_rdev == image.stat.st_rdev
    return (status.st_dev, status.st_ino) == image.inode
