# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the collection importable the way the unit tests do, and the virtual machine's image; skip with the reason where it cannot be made."""

from __future__ import annotations

import os
import pathlib
import runpy
import typing as t

import pytest

runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "unit" / "conftest.py"))

from ansible_collections.luksmith.luks.tests.hosts.machine import Payloads  # noqa: E402
from ansible_collections.luksmith.luks.tests.vm import image as images  # noqa: E402
from ansible_collections.luksmith.luks.tests.vm.volumes import Shelf  # noqa: E402

TABLE = pytest.StashKey[t.List[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cuts", type=int, default=4, help="how often the power fails in the middle of a rotation (the long form: 50)")
    parser.addoption("--cut-seed", type=int, default=1, help="decides which unflushed sectors a cut leaves")
    parser.addoption("--cuts-from", type=int, default=0, help="with --cuts-to: only these of the cuts, to do a long form in parts")
    parser.addoption("--cuts-to", type=int, default=None)


@pytest.fixture(scope="session")
def image() -> images.Image:
    try:
        return images.ensure()
    except images.Unavailable as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no virtual machine: {reason}")
        pytest.skip(f"no virtual machine: {reason}")


@pytest.fixture(scope="session")
def payloads() -> t.Iterator[Payloads]:
    payloads = Payloads()
    yield payloads
    payloads.close()


@pytest.fixture
def shelf(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Shelf]:
    with Shelf() as shelf:
        yield shelf


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> t.List[str]:
    """Lines for the end of the run."""
    return pytestconfig.stash.setdefault(TABLE, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(TABLE, [])
    if lines:
        terminalreporter.section("power cuts")
        for line in lines:
            terminalreporter.line(line)
