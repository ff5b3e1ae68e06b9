# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What is to be said of image files beside their own headers: LUKS inside their partitions, and who has them open."""

from __future__ import annotations

import os
import stat
import typing as t

from ..errors import LuksmithError, shown
from ..header import partitions, summary
from ..header.magic import LUKS, QCOW2
from ..paths import unusable
from . import lock_holders
from .discovery import matches
from .node import Node, open_node
from .storage import Region

Row = t.Dict[str, t.Any]


def in_partitions(patterns: t.Sequence[str]) -> t.List[Row]:
    """A row for each partition of an image file that begins with a LUKS header; what cannot be read has none.

    patterns: as of :func:`.discovery.discover`.
    """
    found: t.List[Row] = []
    for path in dict.fromkeys(path for pattern in patterns for path in _files(pattern)):
        try:
            node = open_node(path, writable=False)
        except LuksmithError:
            continue
        try:
            found += _rows(path, node)
        except LuksmithError:
            continue
        finally:
            node.close()
    return found


def held_by(path: str) -> t.List[str]:
    """The processes that hold an image file, by a lock or as a virtual machine does: "pid 4711 (qemu-system-x86)"."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return []
    if not stat.S_ISREG(status.st_mode):
        return []
    holders = [*lock_holders.holders_of((status.st_dev, status.st_ino)), *lock_holders.writers_of(status)]
    return list(dict.fromkeys(shown(str(holder)) for holder in holders if holder.pid != os.getpid()))


def _files(pattern: str) -> t.List[str]:
    if unusable(pattern):
        return []
    return [path for path in matches(pattern)[1] if os.path.isfile(path)]


def _rows(path: str, node: Node) -> t.Iterator[Row]:
    medium = Region(node, 0, node.size)
    start = medium.reread(0, min(node.size, len(LUKS)))
    if start == LUKS or start.startswith(QCOW2):
        return
    for number, offset in partitions.with_luks(medium.reread, node.size):
        row: Row = {"image": path, "partition": number, "offset": offset, "uuid": None, "type": None, "problem": None}
        try:
            inside = Region(node, offset, node.size - offset)
            header = summary.summarize(inside.reread, inside.size)
            row.update(uuid=header.uuid or None, type=header.format)
        except LuksmithError as error:
            row["problem"] = shown(error.found)
        yield row
