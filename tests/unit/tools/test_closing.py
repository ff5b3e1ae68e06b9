# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables at the end of a run."""

from __future__ import annotations

import closing
from lane import Result
from needs import Need

CRYPTSETUP = str(Need("cryptsetup", "apt install cryptsetup-bin"))


def test_what_was_not_shown_is_told_once_for_each_reason_with_the_command_that_brings_it() -> None:
    results = [
        Result("interop", "a", "skipped", why=CRYPTSETUP),
        Result("interop", "b", "skipped", why=CRYPTSETUP),
        Result("crash", "c", "skipped", why=CRYPTSETUP),
        Result("crash", "d", "skipped", why=f"{CRYPTSETUP}; needs strace: apt install strace"),
        Result("crash", "d", "skipped", why="no such kernel"),
        Result("crash", "e", "passed"),
    ]
    assert closing.not_shown(results, [("the rest", "not of this size", "./tests/run full")]) == [
        "not shown                  why                what brings it",
        "2 of interop, 2 of crash   needs cryptsetup   apt install cryptsetup-bin",
        "1 of crash                 needs strace       apt install strace",
        "1 of crash                 no such kernel     -",
        "the rest                   not of this size   ./tests/run full",
    ]


def test_nothing_is_told_where_everything_was_shown() -> None:
    assert closing.not_shown([Result("unit", "a", "passed")], []) == []
    assert closing.failed([Result("unit", "a", "passed")]) == []


def test_a_lane_has_the_sum_of_its_tests() -> None:
    results = [
        Result("unit", "a", "passed", 1.5),
        Result("lint", "ruff", "failed", 3.0),
        Result("unit", "b", "passed", 2.0),
        Result("unit", "c", "skipped"),
    ]
    assert closing.lanes(results) == [
        "lane   passed   failed   skipped   seconds",
        "unit   2        -        1         4",
        "lint   -        1        -         3",
    ]


def test_the_slowest_come_with_those_that_do_not_say_why() -> None:
    results = [Result("unit", f"t{number}", "passed", float(number), documented=number != 12) for number in range(20)]
    results.append(Result("unit", "silent", "passed", 6.0, documented=False))
    told = closing.slowest(results)
    assert told[1:4] == ["19.0      t19", "18.0      t18", "17.0      t17"]
    assert told[8] == "12.0      t12  (no docstring says why)"
    assert told[11:] == ["1 more take longer than 5 s, and no docstring says why:", "   6.0 silent"]


def test_the_last_line_is_what_programs_read() -> None:
    passed, failed, skipped = Result("a", "a", "passed"), Result("a", "b", "failed"), Result("a", "c", "skipped")
    assert closing.counts([passed, passed, failed]) == "2 passed, 1 failed"
    assert closing.counts([passed, skipped]) == "1 passed, 0 failed, 1 skipped"
