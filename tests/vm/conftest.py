# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the collection importable the way the unit tests do, and the virtual machine's image; skip with the reason where it cannot be made."""

from __future__ import annotations

import collections
import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.vm import code as codes
from ansible_collections.luksmith.luks.tests.vm import image as images
from ansible_collections.luksmith.luks.tests.vm.volumes import Shelf


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cuts", type=int, default=4, help="how often the power fails in the middle of a rotation (the long form: 50)")
    parser.addoption("--cut-seed", type=int, default=1, help="decides which unflushed sectors a cut leaves")


@pytest.fixture(scope="session")
def image() -> images.Image:
    """Who is not root cannot make it, and skips; where root cannot either, that is a failure under CI=true, as a missing program is."""
    if os.geteuid() != 0:
        pytest.skip("no virtual machine: only root can make its root file system")
    try:
        return images.ensure()
    except images.Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no virtual machine: {reason}")
        pytest.skip(f"no virtual machine: {reason}")


@pytest.fixture(scope="session")
def code(image: images.Image, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return codes.make(image.tree, tmp_path_factory.mktemp("code") / "code.img")


@pytest.fixture
def shelf(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Shelf]:
    with Shelf() as shelf:
        yield shelf


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests noted by record_property, also those that ran in another process, and how often each state was found."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    noted = [(key, text) for report in reports if report.when == "call" for key, text in report.user_properties]
    if noted:
        terminalreporter.section("power cuts")
        for _key, text in noted:
            terminalreporter.line(text)
        counts = collections.Counter(key for key, _text in noted if key)
        for key, count in sorted(counts.items()):
            terminalreporter.line(f"{count:4} {key}")
        terminalreporter.line(f"{sum(counts.values()):4} power cuts")
