# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For all tests: the collection is importable, and the marks ``full`` and ``needs`` have their meaning."""

from __future__ import annotations

import pathlib
import runpy

import pytest

SIZES = ("default", "full")

runpy.run_path(str(pathlib.Path(__file__).resolve().parent / "tools" / "register.py"))

from ansible_collections.luksmith.luks.tests import needs  # noqa: E402  the collection is importable only now


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--size", choices=SIZES, default="default", help="default: the short form of every promise; full: the tests marked full as well")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: beyond the short form of a promise; only with --size full")
    config.addinivalue_line("markers", "needs(*names): skipped where the machine lacks one of them (tests/needs.py)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--size") == "full":
        return
    beyond = [item for item in items if item.get_closest_marker("full")]
    if beyond:
        config.hook.pytest_deselected(items=beyond)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            lacking = needs.missing(name)
            if lacking:
                pytest.skip(str(lacking))
