# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the guides share."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.luksmith.luks.tests.tools import playing


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What all plays share: archives of modules and their compiled sources."""
    return playing.shared_folder(tmp_path_factory)
