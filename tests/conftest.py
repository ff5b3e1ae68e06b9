# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For all tests: the collection is importable, the marks ``full`` and ``needs`` have their meaning, and tests run in
the order that ends first.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import runpy
import sys
import traceback
import typing as t

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SIZES = ("default", "full")

try:
    importlib.import_module("ansible_collections.luksmith.luks")
except ImportError:
    # Not so inside ansible-test, which has made it importable, and where runpy finds no script.
    runpy.run_path(str(ROOT / "tests" / "tools" / "register.py"))

# These need that the collection is importable.
from ansible_collections.luksmith.luks.tests import forks, ledger, needs, ordering  # noqa: E402

RUN_BY = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--size",
        choices=SIZES,
        default="default",
        help="default: the short form of every promise; full: the tests marked full as well",
    )
    parser.addoption("--ledger", type=pathlib.Path, help="a file for what came of each test")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: beyond the short form of a promise; only with --size full")
    config.addinivalue_line("markers", "needs(*names): skipped where the machine lacks one of them (tests/needs.py)")
    if hasattr(config, "workerinput"):
        # tests/run lets pytest itself keep bytecode, out of the checkout; what the tests start writes none, as
        # everywhere else.
        if os.environ.pop("PYTHONPYCACHEPREFIX", None):
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    else:
        config.pluginmanager.register(
            ledger.Ledger(config.getoption("--ledger"), _durations(config)), "luksmith-ledger"
        )
    config.pluginmanager.register(ledger, "luksmith-reports")
    config.pluginmanager.register(forks, "luksmith-forks")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: t.Any) -> None:
    # All processes of a run must come to the same order, also one that takes the place of another.
    node.workerinput["durations"] = ledger.read(_durations(node.config))


def _durations(config: pytest.Config) -> pathlib.Path:
    return config.rootpath / ".cache" / "durations.json"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: t.List[pytest.Item]) -> None:
    if config.getoption("--size") != "full":
        beyond = [item for item in items if item.get_closest_marker("full")]
        if beyond:
            config.hook.pytest_deselected(items=beyond)
            items[:] = [item for item in items if not item.get_closest_marker("full")]
    if hasattr(config, "workerinput"):
        _order(config, items)


def _order(config: pytest.Config, items: t.List[pytest.Item]) -> None:
    tests = []
    last_failed = config.pluginmanager.get_plugin("lfplugin")
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        name = ledger.without_group(item.nodeid)
        tests.append(ordering.Piece(name, str(mark.args[0]) if mark else ""))
        # xdist appends the group to the name here, and --lf compares names after that.
        if last_failed and name in last_failed.lastfailed:
            last_failed.lastfailed[item.nodeid] = True
    items[:] = [items[place] for place in ordering.slowest_first(tests, config.workerinput["durations"])]  # type: ignore[attr-defined]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[RUN_BY] = os.getpid()  # inside ansible-test that is a process of its own for each test
    names = [name for mark in item.iter_markers("needs") for name in mark.args]
    lacking = [need for need in map(needs.missing, dict.fromkeys(names)) if need]
    if lacking:
        pytest.skip(needs.sentence(lacking))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: t.Any) -> None:
    """A forked child that comes back out of its test ends here: it would run the other tests once more and confuse
    xdist to death.
    """
    if os.getpid() != item.stash[RUN_BY]:
        sys.stderr.write("a child process of a test came back into pytest:\n")
        if call.excinfo:
            traceback.print_exception(call.excinfo.value, limit=-5)
        sys.stderr.flush()
        os._exit(70)
