# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of each test and how long it took: written to the file of ``--ledger`` for tests/run, and remembered for
the order of the next run.
"""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest

DOCUMENTED = "documented"


def read(path: pathlib.Path) -> t.Dict[str, float]:
    """How many seconds each test took; nothing where nothing is recorded or the file is damaged."""
    try:
        return {str(name): float(seconds) for name, seconds in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def write(path: pathlib.Path, content: t.Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(json.dumps(content, indent=0))
    new.replace(path)


def reason(report: t.Any) -> str:
    """Why a test was skipped, without the place where that was said."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(text)[len("Skipped: ") :] if str(text).startswith("Skipped: ") else str(text)


def without_group(name: str) -> str:
    """The name of a test to which xdist has appended ``@GROUP``: whichever group it runs in, it is shown, remembered
    and found by --lf by one name.
    """
    own, at, group = name.rpartition("@")
    return own if at and "]" not in group and "/" not in group else name


class Ledger:
    """A plugin of the process that hears of all tests; with xdist that is not one that runs them."""

    def __init__(self, kept: t.Optional[pathlib.Path], durations: pathlib.Path) -> None:
        self._kept = kept
        self._durations = durations
        self._tests: t.Dict[str, t.Dict[str, t.Any]] = {}

    def _row(self, name: str) -> t.Dict[str, t.Any]:
        return self._tests.setdefault(
            name, {"name": name, "outcome": "passed", "seconds": 0.0, "why": "", DOCUMENTED: False}
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: t.Any) -> None:
        report.nodeid = without_group(report.nodeid)
        row = self._row(report.nodeid)
        row["seconds"] += report.duration
        row[DOCUMENTED] = row[DOCUMENTED] or getattr(report, DOCUMENTED, False)
        if report.failed:
            row["outcome"] = "failed"
        elif report.skipped and row["outcome"] == "passed" and not hasattr(report, "wasxfail"):
            row.update(outcome="skipped", why=reason(report))

    def pytest_collectreport(self, report: t.Any) -> None:
        if report.failed or report.skipped:
            self._row(report.nodeid).update(outcome=report.outcome, why=reason(report) if report.skipped else "")

    def pytest_sessionfinish(self) -> None:
        if self._kept:
            write(self._kept, list(self._tests.values()))
        # A test that failed or was skipped says nothing of how long it takes.
        took = {name: round(row["seconds"], 3) for name, row in self._tests.items() if row["outcome"] == "passed"}
        if took:
            write(self._durations, {**read(self._durations), **took})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> t.Generator[None, t.Any, t.Any]:
    """Where the test runs: whether it says what it is about.

    An attribute of a report reaches the ledger through xdist, too.
    """
    report = yield
    setattr(report, DOCUMENTED, bool(getattr(getattr(item, "obj", None), "__doc__", None)))
    return report
