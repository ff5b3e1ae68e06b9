# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails before, between and inside the writes of every operation, and again in the run that repairs it.

The short form takes all crashes of every operation and runs the task on each situation. Every fifth of these runs is
cut in its turn; on every fifth situation check mode, ``keyslots_info`` and cryptsetup or QEMU are asked as well.
``--size full`` does so for all of them, until no new situation turns up. The long form, ``tests/run crash --
--thorough``, tears each write at each sector and runs the task on each 40th state besides those that differ; with
``--everything`` on all of them, which takes hours.
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import storage
from ansible_collections.luksmith.luks.tests.crash.judge import FULL, Form, Judge
from ansible_collections.luksmith.luks.tests.crash.operations import LONG, OPERATIONS, operation, peers_of

EVERY = [
    pytest.param(name, marks=[pytest.mark.needs(*peers_of(name)), *([pytest.mark.long] if name in LONG else [])])
    for name in OPERATIONS
]


@pytest.mark.parametrize("name", EVERY)
def test_whatever_a_crash_leaves_opens_and_the_next_run_ends_it(
    name: str, form: Form, scratch: pathlib.Path, count: t.Callable[[str, t.Any], None]
) -> None:
    """Some take seconds: hundreds of disks are built, and the task runs on up to thirty of them."""
    count(name, Judge(operation(name), scratch, form).everything())


@pytest.mark.needs("cryptsetup")
@pytest.mark.parametrize("name", ["luks1: erase", "luks1: rekey the only slot", "luks2: rekey without room"])
def test_a_missing_barrier_is_found(name: str, scratch: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machinery can fail: without fsync the same checks meet a disk that breaks a promise."""
    monkeypatch.setattr(storage.Region, "barrier", lambda region: None)
    with pytest.raises(AssertionError, match="epoch 0"):
        Judge(operation(name), scratch, FULL).everything()
