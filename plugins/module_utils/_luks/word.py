# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Enums whose members are words for people and other programs."""

from __future__ import annotations

import enum


class Word(str, enum.Enum):
    """A member equals its word in comparisons and dictionaries, and is that word in sentences, on every Python.

    In a value that leaves this package write ``str(member)``: serializers may know only the types of JSON.
    """

    # enum's own __str__ differs between versions of Python; format() follows __str__ since 3.8.
    def __str__(self) -> str:
        return str(self.value)
