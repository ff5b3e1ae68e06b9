# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual machine's image, and at the end what the power cuts left."""

from __future__ import annotations

import collections
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.hosts.provided import provided
from ansible_collections.luksmith.luks.tests.vm import code as codes
from ansible_collections.luksmith.luks.tests.vm import image as images
from ansible_collections.luksmith.luks.tests.vm.volumes import Shelf

POWER_CUT = "power cut"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cuts", type=int, default=4, help="how often the power fails in the full size (the long form: 50)"
    )
    parser.addoption("--cut-seed", type=int, default=1, help="decides which unflushed sectors a cut leaves")


@pytest.fixture(scope="session")
def image() -> images.Image:
    return provided(images.ensure)


@pytest.fixture(scope="session")
def code(image: images.Image, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return codes.make(image.tree, tmp_path_factory.mktemp("code") / "code.img")


@pytest.fixture
def shelf() -> t.Iterator[Shelf]:
    with Shelf() as shelf:
        yield shelf


@pytest.fixture
def note(record_property: t.Callable[[str, object], None]) -> t.Callable[[str, str], None]:
    """Notes for the end of the run what state a power cut left, which is counted, and a line on that cut."""
    return lambda state, text: record_property(POWER_CUT, [state, text])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests noted by ``note``, also those that ran in another process, and how often each state was found."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    noted = [
        value
        for report in reports
        if report.when == "call"
        for key, value in report.user_properties
        if key == POWER_CUT
    ]
    if noted:
        terminalreporter.section("power cuts")
        for _state, text in noted:
            terminalreporter.line(text)
        counts = collections.Counter(state for state, _text in noted)
        for key, count in sorted(counts.items()):
            terminalreporter.line(f"{count:4} {key}")
        terminalreporter.line(f"{sum(counts.values()):4} power cuts")
