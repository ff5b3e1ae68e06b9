# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a test makes of a plugin, no file stays open: modules may run in a process that goes on (Mitogen), and the
controller works on many hosts.
"""

from __future__ import annotations

import os
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors


@pytest.fixture(autouse=True)
def no_file_stays_open() -> t.Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    # Not at once the exact way, which takes long. What leads to a process that helps all tests is no file.
    if not set(os.listdir("/proc/self/fd")) <= before:
        left = [os.readlink(f"/proc/self/fd/{number}") for number in open_descriptors() - before]
        assert not [path for path in left if path.startswith("/")]
