# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The one way to a volume that is written to: locked, and compared with what the plan was made for."""

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
    """What the plan was made for: the uuid ("" where no header could be read), the file or device, and the bytes of the header."""

    uuid: str
    identity: t.Any
    image: t.Any


@dataclasses.dataclass(frozen=True)
class Locked(t.Generic[T]):
    """The volume under its exclusive locks, what is read there now, and why the plan does not fit it any more, or ""."""

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
) -> t.Iterator[Locked[T]]:
    """Open the volume for writing and hold its exclusive locks; ``read`` returns what is there, its uuid and its bytes.

    ``timeout``: seconds. Raises LuksmithError when the volume cannot be opened or locked or left its path, and Refused when
    the path leads to a volume with another uuid.
    """
    with open_volume(path, header_path, writable=True) as volume, locks.exclusive(volume, timeout=timeout):
        volume.check_still_there()
        found, uuid, image = read(volume)
        if uuid != expected.uuid:
            raise Refused(
                f"the path leads to another volume (uuid {uuid or 'unreadable'}) than when the plan was made (uuid {expected.uuid or 'unreadable'})",
                why="which of the two the task means is not for this run to guess",
                remedy="find out what replaced it, then run the task again",
            )
        if image != expected.image:
            outdated = "the header changed"
        elif volume.identity != expected.identity:
            outdated = "another file or device with the same header took the place of the volume"
        else:
            outdated = ""
        yield Locked(volume, found, outdated)
