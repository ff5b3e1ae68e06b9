# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The file of a header backup: for root only, whoever it belonged to before."""

from __future__ import annotations

import os
import stat
import typing as t

from .. import files

MODE = 0o600


def check_replaceable(path: str) -> None:
    """Raise what :func:`replace` would raise before it writes a byte: no such folder, no right to write in it."""
    files.check_replaceable(path)


def replace(path: str, data: bytes) -> None:
    """``path`` holds ``data`` with mode 0600, durably, when this returns. Raises as :func:`.files.replace` does."""
    files.replace(path, data, mode=MODE)


def restrict(path: str) -> None:
    """Mode 0600 for a file that has the right content."""
    try:
        os.chmod(path, MODE)
    except OSError as error:
        raise files.fault(path, "cannot set its mode to 0600", error) from None


def mode_of(path: str) -> t.Optional[int]:
    """Permission bits of a file, None where there is none."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return None
