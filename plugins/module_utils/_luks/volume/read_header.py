# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The header of an open volume, as its medium has it now."""

from __future__ import annotations

from ..header.detect import parse_header
from ..header.model import Header
from . import locks
from .storage import Volume


def read_header(volume: Volume) -> Header:
    """For a caller that holds a lock or does without. Raises what the parser raises, and StorageFault."""
    # From the medium: the page cache of a loop device does not see what was written through its backing file.
    return parse_header(volume.region.reread, volume.region.size, embedded=volume.container == "qcow2")


def read_header_locked(volume: Volume, timeout: float) -> Header:
    """Read beside no writer who takes locks; ``timeout`` in seconds. Raises Busy too."""
    with locks.shared(volume, timeout=timeout):
        return read_header(volume)
