# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The file of a header backup: only its owner may read it, whatever its mode was before."""

from __future__ import annotations

import os
import stat
import typing as t

from .. import files
from ..paths import fault

MODE = 0o600


def check_replaceable(path: str, size: int) -> None:
    """Raises the StorageFault that :func:`replace` of so many bytes would raise: no such directory, no permission, no
    room.
    """
    files.check_replaceable(path, size=size)


def replace(path: str, data: bytes) -> None:
    """Write ``data`` to ``path`` with mode 0600, durably. Raises what :func:`.files.replace` raises."""
    files.replace(path, data, mode=MODE)


def restrict(path: str) -> None:
    """Set mode 0600 on a file whose content is right already. Raises StorageFault if the system denies it."""
    try:
        os.chmod(path, MODE)
    except OSError as error:
        raise fault(path, "cannot set its mode to 0600", error) from None


def mode_of(path: str) -> t.Optional[int]:
    """The permission bits of a file; None if it does not exist."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return None
