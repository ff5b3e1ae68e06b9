# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test that forks a process with threads fails: the child may wait for ever for a lock that one of them held. xdist's
processes have threads.

Python's own DeprecationWarning cannot do that: what a filter makes an error of is dropped there.
tests/tools/module_server.py forks without threads.
"""

from __future__ import annotations

import os
import traceback
import typing as t

import pytest

_seen: t.List[str] = []


def _note() -> None:
    if len(os.listdir("/proc/self/task")) > 1:
        _seen.append("".join(traceback.format_stack()[-6:-1]))


os.register_at_fork(before=_note)


def _watched() -> t.Generator[None, t.Any, t.Any]:
    _seen.clear()
    result = yield
    if _seen:
        pytest.fail(f"fork in a process that has threads:\n{_seen[0]}", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> t.Generator[None, t.Any, t.Any]:
    return (yield from _watched())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> t.Generator[None, t.Any, t.Any]:
    return (yield from _watched())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> t.Generator[None, t.Any, t.Any]:
    return (yield from _watched())
