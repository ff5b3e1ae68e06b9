# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What a value of a task is, for messages that must not show the value itself."""

from __future__ import annotations

import typing as t


def kind_of(value: t.Any) -> str:
    """What a value of a task is, in words."""
    if value is None or value == "":
        return "empty"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, t.Mapping):
        return "a dictionary"
    return "text" if isinstance(value, str) else f"of type {type(value).__name__}"
