# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command makes of its words. Lanes are stand-ins here: nothing is run but them."""

from __future__ import annotations

import sys
import typing as t

import lanes
import main
import pytest
import side_by_side
import suite
from lane import Lane, LaneSkipped, Result
from lanes import Description
from needs import Need


class World:
    """Two lanes of tests, one of them with a program besides; a lane that is only a program; one whose tests run
    alone.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: t.List[t.Tuple[str, ...]] = []
        self.missing: t.Dict[str, Need] = {}
        table = {
            "unit": Description("", paths=("tests/unit",)),
            "fuzz": Description(
                "",
                paths=("tests/fuzz",),
                run=self._run,
                cores=0,
                needs=("cryptsetup",),
                judged=True,
                own_arguments=True,
            ),
            "lint": Description("", "full", run=self._run),
            "guides": Description(
                "",
                paths=("tests/guides",),
                judged=True,
                parts=("2.17",),
                run_part=self._run,
                environment=lambda _lane: {"PEER": "1"},
            ),
            "newcomer": Description("", "full", paths=("tests/newcomer",), run=self._run, alone=True),
            "mutants": Description("", "long", run=self._run),
        }
        for module in (main, lanes):
            monkeypatch.setattr(module, "LANES", table)
            monkeypatch.setattr(module, "ALIASES", {"oldest": ("guides@2.17",)})
        monkeypatch.setattr(main, "missing", self.missing.get)
        monkeypatch.setattr(suite, "run", self._tests)

    def _run(self, lane: Lane) -> None:
        self.calls.append((lane.full_name, lane.size, *lane.arguments))
        lane.note("it", "passed")

    def _tests(self, lane: Lane, paths: t.Sequence[str], _lane_of: t.Any, extra: t.Mapping[str, str]) -> None:
        self.calls.append((lane.full_name, lane.size, *paths, *extra, *lane.arguments))
        lane.note("it", "passed")

    def run(self, *names: str, arguments: t.Sequence[str] = (), strict: bool = False) -> t.List[Result]:
        run = main.Run(names, arguments, strict)
        side_by_side.run(run.tasks(), 1)
        return run.results


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_the_tests_of_all_lanes_are_one_run_of_pytest(world: World) -> None:
    world.run("default")
    assert sorted(world.calls) == [
        ("fuzz", "default"),
        ("tests", "default", "tests/unit", "tests/fuzz", "tests/guides", "PEER"),
    ]


def test_the_full_size_has_more_lanes_and_each_in_full(world: World) -> None:
    world.run("full", "lint")
    assert sorted(world.calls) == [
        ("fuzz", "full"),
        ("guides@2.17", "full"),
        ("lint", "full"),
        ("newcomer", "full"),
        ("tests", "full", "tests/unit", "tests/fuzz", "tests/guides", "PEER"),
    ]


def test_arguments_with_a_size_are_for_the_tests_alone(world: World) -> None:
    world.run("default", arguments=("--lf",))
    assert world.calls == [("tests", "default", "tests/unit", "tests/fuzz", "tests/guides", "PEER", "--lf")]


def test_arguments_of_a_lane_are_for_its_program_where_it_wants_them(world: World) -> None:
    world.run("fuzz", "unit", arguments=("--cases", "9"))
    assert sorted(world.calls) == [
        ("fuzz", "default", "--cases", "9"),
        ("tests", "default", "tests/unit", "--cases", "9"),
    ]


def test_without_its_judge_a_lane_fails_when_strict_and_the_others_run(world: World) -> None:
    world.missing["cryptsetup"] = Need("cryptsetup", "apt install cryptsetup-bin")
    results = world.run("unit", "guides", strict=True)
    assert world.calls == [("tests", "default", "tests/unit")]
    assert [(result.lane, result.outcome, result.why) for result in results] == [
        ("guides", "failed", "needs cryptsetup: apt install cryptsetup-bin"),
        ("tests", "passed", ""),
    ]


def test_without_what_its_program_needs_a_lane_is_skipped_and_that_is_told(world: World) -> None:
    world.missing["cryptsetup"] = Need("cryptsetup", "apt install cryptsetup-bin")
    results = world.run("fuzz")
    assert world.calls == [("tests", "default", "tests/fuzz")]
    assert ("fuzz", "skipped", "needs cryptsetup: apt install cryptsetup-bin") in [
        (result.lane, result.outcome, result.why) for result in results
    ]


def test_a_lane_that_skips_itself_or_cannot_be_prepared(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def skip(_lane: Lane) -> None:
        raise LaneSkipped(Need("a Python for ansible-core 2.17", "pyenv install 3.12"))

    monkeypatch.setitem(main.LANES, "lint", Description("", run=skip))
    monkeypatch.setitem(main.LANES, "mutants", Description("", run=lambda _lane: sys.exit("no network")))
    assert [(result.lane, result.outcome, result.why) for result in world.run("lint", "mutants")] == [
        ("lint", "skipped", "needs a Python for ansible-core 2.17: pyenv install 3.12"),
        ("mutants", "failed", "no network"),
    ]


@pytest.mark.parametrize("words", [["nothing"], ["unit@2.17"], ["guides@9"], ["long", "unit"]])
def test_words_that_mean_nothing_are_refused(world: World, monkeypatch: pytest.MonkeyPatch, words: t.List[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["tests/run", *words])
    with pytest.raises(SystemExit) as stopped:
        main._arguments()
    assert stopped.value.code == 2
