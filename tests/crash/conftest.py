# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The long forms' options, a folder in memory, what thousands of runs in one process need not do, the sums at the
end.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import pathlib
import tempfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.crash import economy, judge

_COUNTED = "counted"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="the long form: every sector of every write, and the task again on a part of the states",
    )
    parser.addoption(
        "--everything", action="store_true", help="as --thorough, and the task again on every state (hours)"
    )
    parser.addoption("--kills", type=int, default=0, help="how many processes are killed in all (500: the long form)")
    parser.addoption("--seed", type=int, default=1, help="of the places of the kills")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: only with --thorough or --everything")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if form_of(config).thorough:
        return
    beyond = [item for item in items if item.get_closest_marker("long")]
    if beyond:
        config.hook.pytest_deselected(items=beyond)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


def form_of(config: pytest.Config) -> judge.Form:
    if config.getoption("--everything"):
        return judge.EVERYTHING
    if config.getoption("--thorough"):
        return judge.THOROUGH
    return judge.FULL if config.getoption("--size") == "full" else judge.SHORT


@pytest.fixture
def form(request: pytest.FixtureRequest) -> judge.Form:
    return form_of(request.config)


@pytest.fixture(autouse=True)
def economical() -> t.Iterator[None]:
    with economy.economical():
        yield


@pytest.fixture
def scratch(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """A folder in memory where there is such a file system: thousands of barriers cost nothing there."""
    memory = "/dev/shm"
    if not os.path.ismount(memory) or not os.access(memory, os.W_OK | os.X_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="luksmith-crash-", dir=memory) as folder:
        yield pathlib.Path(folder)


@pytest.fixture
def count(record_property: t.Callable[[str, object], None]) -> t.Callable[[str, t.Any], None]:
    """Add a dataclass or a mapping of numbers to the sums that are printed at the end, under the first word of its
    name.
    """

    def add(name: str, numbers: t.Any) -> None:
        record_property(
            _COUNTED, (name, dict(numbers) if isinstance(numbers, t.Mapping) else dataclasses.asdict(numbers))
        )

    return add


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    sums: t.Dict[str, t.Counter[str]] = collections.defaultdict(collections.Counter)
    for report in terminalreporter.getreports("passed"):
        for kind, value in report.user_properties:
            if kind == _COUNTED:
                sums[value[0].split(":")[0].split(",")[0]].update(value[1])
    for name, numbers in sorted(sums.items()):
        terminalreporter.write_line(f"{name}: " + ", ".join(f"{number} {what}" for what, number in numbers.items()))
    if sums:
        total = sum(sums.values(), collections.Counter())
        terminalreporter.write_line("in all: " + ", ".join(f"{number} {what}" for what, number in total.items()))
