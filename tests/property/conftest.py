# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of each world the planner's tests take."""

from __future__ import annotations

import pytest


@pytest.fixture
def sparing(request: pytest.FixtureRequest) -> int:
    """By what the share of a world is divided: 1 with ``--size full``."""
    return 1 if request.config.getoption("--size") == "full" else 2
