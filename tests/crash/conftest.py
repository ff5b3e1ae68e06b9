# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the collection importable the way the unit tests do; the long form's option; the sums at the end."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

import pytest

_COUNTED = "counted"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="the long form: every sector of every write, and the task again on a part of the states")
    parser.addoption("--everything", action="store_true", help="as --thorough, and the task again on every state (hours)")
    parser.addoption("--kills", type=int, default=64, help="how many processes are killed in all (500: the long form)")
    parser.addoption("--seed", type=int, default=1, help="of the instants of the kills")


@pytest.fixture
def thorough(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--thorough") or request.config.getoption("--everything"))


@pytest.fixture
def again_on_every(request: pytest.FixtureRequest) -> int:
    """The task runs again on the first state of each situation and on every so many-th of the others; 0: on none."""
    return 1 if request.config.getoption("--everything") else 40 if request.config.getoption("--thorough") else 0


@pytest.fixture
def count(record_property: t.Callable[[str, object], None]) -> t.Callable[[str, t.Any], None]:
    """Add a dataclass or a mapping of numbers to the sums that are printed at the end, under the first word of its name."""

    def add(name: str, numbers: t.Any) -> None:
        record_property(_COUNTED, (name, dict(numbers) if isinstance(numbers, t.Mapping) else dataclasses.asdict(numbers)))

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
