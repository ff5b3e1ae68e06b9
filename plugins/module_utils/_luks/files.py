# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Plain files, on hosts and on the controller. Knows no volumes, and imports nothing but the errors."""

from __future__ import annotations

import os
import sys

from .errors import BadTask

_UTF8 = "Run the task with PYTHONUTF8=1 or a UTF-8 locale (LC_ALL=C.UTF-8) in its environment"


def unusable(path: str) -> str:
    """Why no file can be asked for by this path, or ""."""
    if "\0" in path:
        return "contains a NUL character, and no file can have such a name"
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return f"has characters that Python on this host cannot spell, because its locale says {sys.getfilesystemencoding()} and not UTF-8"
    return ""


def remedy_for(path: str) -> str:
    """What to do about a path that is :func:`unusable`."""
    return "Check the path" if "\0" in path else _UTF8


def check_path(path: str, name: str) -> None:
    """Raises BadTask if the path that the task gives as ``name`` is :func:`unusable`."""
    reason = unusable(path)
    if reason:
        raise BadTask(f"{name} is {path!r}, which {reason}", remedy=remedy_for(path))
