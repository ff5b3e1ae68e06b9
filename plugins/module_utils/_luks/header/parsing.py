# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A header with all that it says, for whoever opens keyslots or writes."""

from __future__ import annotations

from . import detect
from .model import Header
from .reading import Read


def parse_header(read: Read, size: int, *, embedded: bool = False) -> Header:
    """The checked header at the start of ``size`` readable bytes.

    ``embedded``: the header lies in a container that keeps the payload elsewhere (qcow2), or is a copy. A payload
    offset at the end of the region is normal then.

    Raises what :func:`.detect.by_version` raises, MalformedHeader, and for LUKS2 Refused and Unsupported.
    """

    # Each format is imported on demand: a module arrives as source on a managed host and leaves no compiled cache, so
    # each run would compile the format that it does not need.
    def luks1(read: Read, size: int) -> Header:
        from .luks1 import codec

        return codec.parse(read, size, embedded=embedded)

    def luks2(read: Read, size: int) -> Header:
        from .luks2 import codec

        return codec.parse(read, size, embedded=embedded)

    return detect.by_version(read, size, luks1, luks2)
