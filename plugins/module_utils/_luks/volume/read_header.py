# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Reads the header of an open volume from its medium."""

from __future__ import annotations

from ..errors import Refused
from ..header.model import Header
from ..header.parsing import parse_header
from . import locks
from .storage import Volume


def read_header(volume: Volume) -> Header:
    """The header, without taking a lock. Raises what :func:`.parsing.parse_header` raises."""
    # From the medium: the page cache of a loop device lacks what was written through its backing file.
    return parse_header(volume.region.reread, volume.region.size, embedded=volume.container == "qcow2")


def read_header_locked(volume: Volume, timeout: float) -> Header:
    """The header, read while no writer holds the locks; ``timeout`` in seconds. Raises Busy too."""
    with locks.shared(volume, timeout=timeout):
        return read_header(volume)


def check_uuid(header: Header, uuid: str) -> None:
    """Raises Refused if ``header`` is that of another volume than the one that a task has looked at; "" for any."""
    if uuid and header.uuid.lower() != uuid.lower():
        raise Refused(
            f"it has the UUID {header.uuid}, and a moment ago it had {uuid}: another volume is at this path now",
            remedy="Run this again; it looks at all volumes anew",
        )
