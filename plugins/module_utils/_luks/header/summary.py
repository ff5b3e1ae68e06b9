# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What a header says of its volume as a whole. All of it is checked, and keyslots and tokens do not become values.

A search reads many volumes, none of which it opens: it needs no codec.
"""

from __future__ import annotations

import typing as t

from . import detect
from .reading import Read


class Summary(t.NamedTuple):
    """The fields of :class:`.model.Header` with these names; ``image``: the bytes of the header."""

    format: str
    uuid: str
    label: str
    needs_heal: bool
    image: bytes


def summarize(read: Read, size: int) -> Summary:
    """The header at the start of ``size`` readable bytes. Raises what :func:`.parsing.parse_header` raises."""
    return detect.by_version(read, size, _luks1, _luks2)


def _luks1(read: Read, size: int) -> Summary:
    from .luks1 import fields

    raw = fields.read_raw(read, size)
    found = fields.decode(raw)
    fields.check_areas(found, size)
    return Summary("luks1", found.uuid, "", needs_heal=False, image=raw)


def _luks2(read: Read, size: int) -> Summary:
    from .luks2 import binary, recovery

    copies, _tree = recovery.choose(read, size)
    return Summary(
        "luks2",
        binary.shown_text(copies.good.uuid),
        binary.shown_text(copies.good.label),
        needs_heal=not copies.healthy,
        image=copies.primary + copies.secondary,
    )
