# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The memory of a process that holds secrets stays its own: for modules on hosts and for action plugins on the controller."""

from __future__ import annotations

import contextlib
import ctypes
import resource

# Linux takes exactly 1 to mean "no dump, not even to a helper that core_pattern pipes it to" (fs/coredump.c).
_NO_CORE_DUMP = 1
# include/uapi/linux/prctl.h
_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """A crash of this process must not put its memory on a disk."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = _NO_CORE_DUMP if hard == resource.RLIM_INFINITY else min(_NO_CORE_DUMP, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    # Also: no other process of the same user may attach a debugger or read our memory.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
