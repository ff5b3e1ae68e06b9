# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which descriptors this process has open, for tests that none stays open."""

from __future__ import annotations

import gc
import os
import typing as t


def open_descriptors() -> t.Set[str]:
    """Their numbers, without those that only garbage of earlier tests holds: Python would close these at any time."""
    gc.collect()
    # The descriptor that lists them is gone when they are looked at.
    return {number for number in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{number}")}
