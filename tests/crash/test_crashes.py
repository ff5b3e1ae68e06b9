# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails before, between and inside the writes of every operation, and again in the run that repairs it.

The long form, ``tests/run crash -- --thorough``, tears each write at each sector and runs the task on each 40th state besides
those that differ; with ``--everything`` on all of them, which takes hours.
"""

from __future__ import annotations

import pathlib
import tempfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import storage
from ansible_collections.luksmith.luks.tests.crash.judge import Judge
from ansible_collections.luksmith.luks.tests.crash.operations import LONG, OPERATIONS, operation


@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_a_crash_leaves_opens_and_the_next_run_ends_it(name: str, thorough: bool, again_on_every: int, count: t.Callable[[str, t.Any], None]) -> None:
    if name in LONG and not thorough:
        pytest.skip("only in the long form: tests/run crash -- --thorough")
    with tempfile.TemporaryDirectory(prefix="luksmith-crash-", dir="/dev/shm") as folder:
        count(name, Judge(operation(name), pathlib.Path(folder), thorough=thorough, again_on_every=again_on_every).everything())


@pytest.mark.parametrize("name", ["luks1: erase", "luks1: rekey the only slot", "luks2: rekey without room"])
def test_a_missing_barrier_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machinery can fail: without fsync the same checks meet a disk that breaks a promise."""
    monkeypatch.setattr(storage.Region, "barrier", lambda region: None)
    with tempfile.TemporaryDirectory(prefix="luksmith-crash-", dir="/dev/shm") as folder, pytest.raises(AssertionError, match="epoch 0"):
        Judge(operation(name), pathlib.Path(folder), thorough=False).everything()
