# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Opens a volume for writing: locked, and compared with what the plan was made for. All writers use this."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ..errors import Refused
from . import locks
from .storage import Volume, open_volume

T = t.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the plan was made for: uuid ("" if no header could be read), file or device, and the bytes of the header."""

    uuid: str
    identity: t.Any
    image: t.Any


@dataclasses.dataclass(frozen=True)
class Locked(t.Generic[T]):
    """The volume under its exclusive locks, what was read there, and why the plan no longer fits, or ""."""

    volume: Volume
    found: T
    outdated: str


@contextlib.contextmanager
def locked_write(
    path: str,
    header_path: t.Optional[str],
    expected: Expected,
    read: t.Callable[[Volume], t.Tuple[T, str, t.Any]],
    *,
    timeout: float,
    by_qemu: bool = False,
) -> t.Iterator[Locked[T]]:
    """Open the volume for writing and hold its exclusive locks.

    read: returns what is there, its uuid and its bytes; timeout: seconds to wait for the locks. by_qemu: a QEMU that
    has it open will write; it is opened for reading, and locked against our other runs.

    Raises what :func:`.storage.open_volume`, :func:`.locks.exclusive` and ``read`` raise, and Refused if the path leads
    to another file or device now, or to a volume with another uuid.
    """
    lock = locks.beside_qemu if by_qemu else locks.exclusive
    with open_volume(path, header_path, writable=not by_qemu) as volume, lock(volume, timeout=timeout):
        volume.check_still_there()
        found, uuid, image = read(volume)
        if uuid != expected.uuid:
            raise Refused(
                f"the path leads to another volume (uuid {uuid or 'unreadable'}) than when the plan was made (uuid "
                f"{expected.uuid or 'unreadable'})",
                why="it is ambiguous which of the two the task means",
                remedy="find out what replaced it, then run the task again",
            )
        if image != expected.image:
            outdated = "the header changed"
        elif volume.identity != expected.identity:
            outdated = "another file or device with the same header took the place of the volume"
        else:
            outdated = ""
        yield Locked(volume, found, outdated)
