# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The result of trying a secret on a keyslot."""

from __future__ import annotations

import enum


class Verdict(enum.Enum):
    """UNTRIED is not CLOSED: an untested keyslot may still accept the secret."""

    OPENS = "opens"
    CLOSED = "closed"
    UNTRIED = "untried"
