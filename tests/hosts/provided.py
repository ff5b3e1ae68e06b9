# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test does where no root file system can be made."""

from __future__ import annotations

import os
import typing as t

import pytest

from . import roots

Made = t.TypeVar("Made")


def provided(make: t.Callable[[], Made]) -> Made:
    """What ``make`` makes; where it cannot, the test is skipped, or fails under CI=true, where everything is meant to
    be there.
    """
    try:
        return make()
    except roots.Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no root file system: {reason}", pytrace=False)
        pytest.skip(str(reason))
