# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Protect the memory of a process that holds secrets: for modules on hosts and action plugins on the controller."""

from __future__ import annotations

import contextlib
import ctypes
import resource

# On Linux exactly 1 means no dump, not even to a helper in core_pattern (fs/coredump.c).
_NO_CORE_DUMP = 1
# include/uapi/linux/prctl.h
_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """Keep the memory of this process from disks and debuggers. Raises OSError if the limit cannot be set."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = _NO_CORE_DUMP if hard == resource.RLIM_INFINITY else min(_NO_CORE_DUMP, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    # It also keeps other processes of the same user from attaching a debugger or reading the memory.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
