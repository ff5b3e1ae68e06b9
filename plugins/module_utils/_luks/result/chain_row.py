# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A row of ``chain``, in words: a file beneath an image, or the header that a device has of its own."""

from __future__ import annotations

import typing as t

Row = t.Mapping[str, t.Any]


def place_of(row: Row) -> str:
    if row["role"] == "device":
        return f"the header that {row['path']} has of its own"
    return f"the {row['role']} file {row['path']}"


def what_opens(row: Row) -> str:
    """The place, as what a secret opens."""
    return place_of(row) if row["role"] == "device" else f"{place_of(row)}, which holds a part of its data"


def is_untried(row: Row) -> bool:
    """Whether it may open with more than was seen. What is not encrypted needs no secret."""
    return (
        row["role"] != "data"
        and row["encrypted"] is not False
        and (row["encrypted"] is None or bool(row.get("why_untried")))
    )
