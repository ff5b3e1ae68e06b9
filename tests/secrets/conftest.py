# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of secrets share."""

from __future__ import annotations

import pathlib
import secrets

import pytest
from ansible_collections.luksmith.luks.tests.secrets.scene import Scene, build
from ansible_collections.luksmith.luks.tests.tools import playing


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What all plays share: archives of modules and their compiled sources."""
    return playing.shared_folder(tmp_path_factory)


@pytest.fixture
def scene(tmp_path: pathlib.Path, shared: pathlib.Path) -> Scene:
    seed = secrets.randbits(32)  # other secrets each time; the seed is in the report of a failure
    print(f"seed of the canaries: {seed}")
    return build(tmp_path, seed, shared)
