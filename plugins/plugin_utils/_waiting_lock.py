# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A lock between the processes of a controller, for which a process waits for a limited time."""

from __future__ import annotations

import fcntl
import time

_POLL = 0.02  # seconds


def lock_within(descriptor: int, seconds: float) -> bool:
    """Lock the open file exclusively, until it is closed. False if another process had it all the time.

    Raises OSError where the file system has no locks.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
