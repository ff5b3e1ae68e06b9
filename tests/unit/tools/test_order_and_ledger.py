# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which tests are handed out, and what is remembered of them."""

from __future__ import annotations

import json
import pathlib
import types
import typing as t

from ansible_collections.luksmith.luks.tests import ledger, needs
from ansible_collections.luksmith.luks.tests.ordering import Piece, slowest_first


def _order(recorded: t.Mapping[str, float], *tests: Piece) -> t.List[str]:
    return [tests[place].name for place in slowest_first(tests, recorded)]


def _tests(*names: str) -> t.List[Piece]:
    return [Piece(name, "") for name in names]


def test_the_file_with_the_longest_test_comes_first_and_files_stay_together() -> None:
    tests = _tests("tests/unit/a.py::x", "tests/unit/b.py::short", "tests/unit/b.py::long", "tests/unit/a.py::y")
    recorded = {"tests/unit/b.py::long": 9.0, "tests/unit/a.py::x": 5.0, "tests/unit/a.py::y": 5.0}
    assert _order(recorded, *tests) == [
        "tests/unit/b.py::short",
        "tests/unit/b.py::long",
        "tests/unit/a.py::x",
        "tests/unit/a.py::y",
    ]


def test_a_group_counts_as_one_test_because_one_process_runs_it() -> None:
    tests = [
        *_tests("tests/unit/a.py::x"),
        Piece("tests/unit/b.py::x", "device"),
        Piece("tests/unit/c.py::x", "device"),
    ]
    recorded = {"tests/unit/a.py::x": 5.0, "tests/unit/b.py::x": 3.0, "tests/unit/c.py::x": 3.0}
    assert _order(recorded, *tests) == ["tests/unit/b.py::x", "tests/unit/c.py::x", "tests/unit/a.py::x"]


def test_without_a_record_the_folder_says_what_is_usual() -> None:
    assert (
        _order({}, *_tests("tests/unit/a.py::x", "tests/rotation/a.py::x", "tests/elsewhere/a.py::x"))[0]
        == "tests/rotation/a.py::x"
    )


def _report(name: str, outcome: str, duration: float, **more: t.Any) -> t.Any:
    facts = {
        "nodeid": name,
        "duration": duration,
        "failed": outcome == "failed",
        "skipped": outcome == "skipped",
        "outcome": outcome,
        "longrepr": None,
    }
    return types.SimpleNamespace(**{**facts, **more})


def test_a_test_is_one_row_whatever_its_phases_and_its_group(tmp_path: pathlib.Path) -> None:
    book = ledger.Ledger(tmp_path / "kept.json", tmp_path / "durations.json")
    for duration, outcome in ((1.0, "passed"), (2.0, "passed"), (0.5, "failed")):
        book.pytest_runtest_logreport(_report("tests/a.py::x[a@b]@device", outcome, duration))
    book.pytest_runtest_logreport(_report("tests/a.py::y", "passed", 4.0, documented=True))
    book.pytest_runtest_logreport(
        _report("tests/a.py::z", "skipped", 0.1, longrepr=("a.py", 1, "Skipped: needs root: sudo"))
    )
    book.pytest_runtest_logreport(_report("tests/a.py::z", "passed", 0.1))
    book.pytest_sessionfinish()
    rows = {row["name"]: row for row in json.loads((tmp_path / "kept.json").read_text())}
    assert {name: (row["outcome"], row["seconds"], row["documented"]) for name, row in rows.items()} == {
        "tests/a.py::x[a@b]": ("failed", 3.5, False),
        "tests/a.py::y": ("passed", 4.0, True),
        "tests/a.py::z": ("skipped", 0.2, False),
    }
    assert rows["tests/a.py::z"]["why"] == "needs root: sudo"
    assert ledger.read(tmp_path / "durations.json") == {"tests/a.py::y": 4.0}


def test_a_module_that_skips_or_breaks_at_import_is_told(tmp_path: pathlib.Path) -> None:
    book = ledger.Ledger(tmp_path / "kept.json", tmp_path / "durations.json")
    book.pytest_collectreport(_report("tests/a.py", "skipped", 0.0, longrepr=("a.py", 1, "Skipped: no reason")))
    book.pytest_collectreport(_report("tests/b.py", "failed", 0.0))
    book.pytest_collectreport(_report("tests/c.py", "passed", 0.0))
    book.pytest_sessionfinish()
    assert [(row["name"], row["outcome"], row["why"]) for row in json.loads((tmp_path / "kept.json").read_text())] == [
        ("tests/a.py", "skipped", "no reason"),
        ("tests/b.py", "failed", ""),
    ]


def test_a_damaged_record_is_no_record(tmp_path: pathlib.Path) -> None:
    (tmp_path / "durations.json").write_text("[1, 2")
    assert ledger.read(tmp_path / "durations.json") == {}


def test_needs_come_back_out_of_the_sentence_that_a_test_was_skipped_with() -> None:
    several = (
        needs.Need("cryptsetup", "apt install cryptsetup-bin"),
        needs.Need("a loop device", "a kernel with them: this one; or another"),
    )
    assert needs.told_by(needs.sentence(several)) == [*several]
    assert needs.told_by("only in the long form: tests/run crash -- --thorough") == [
        needs.Need("only in the long form: tests/run crash -- --thorough", "")
    ]
