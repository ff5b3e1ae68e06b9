# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Values that are never None by construction, which the type checker cannot see."""

from __future__ import annotations

import typing as t

_Value = t.TypeVar("_Value")


def required(value: t.Optional[_Value]) -> _Value:
    """``value``, which this kind of entry, action or intent always has. Raises TypeError if it is None (a bug)."""
    if value is None:
        raise TypeError("a field is missing that this kind always has")
    return value
