# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test command: run the lanes of a size, or those that are named, and say at the end what passed, what failed, and
what was not shown and why.

Exit code 0 when nothing failed, 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
import typing as t

import closing
import long
import machine
import side_by_side
import suite
from lane import Lane, LaneSkipped, Result, scratch, stop_all
from lanes import ALIASES, LANES, SIZES, Description, files_of, lane_of, of_size
from needs import missing

TITLES = {
    "default": "lanes of the default size:",
    "full": "lanes that the full size has besides:",
    "long": "lanes that the long size has besides, with the long forms of others:",
    "by name": "lanes that only run by their name:",
}
# What judges our work, with --strict and in CI.
JUDGES = ("cryptsetup", "qemu-img")
NOT_IN = {
    "default": (
        ("what takes longer: see ./tests/run --help", "not of the default size", "./tests/run full, ./tests/run long"),
    ),
    "full": (("the long forms", "not of this size", "./tests/run long"),),
}


def _help() -> str:
    lines = ["sizes:", *(f"  {name:12} {says}" for name, says in SIZES.items())]
    for size, title in TITLES.items():
        lines += ["", title, *(f"  {name:12} {lane.says}" for name, lane in LANES.items() if lane.size == size)]
    lines += [
        "",
        "several lanes in one word:",
        *(f"  {name:12} {' '.join(members)}" for name, members in ALIASES.items()),
    ]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/run",
        usage="%(prog)s [--strict] [default | full | long | LANE ...] [-- ARGUMENTS]",
        description="Run the tests of luksmith.luks. ARGUMENTS are for pytest, or for the program of the lane.",
        epilog=_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="LANE",
        help="what to run; LANE@CORE is sanity, units, integration or guides with that ansible-core",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="without cryptsetup, qemu-img or a linter: fail (also: CI=true)",
    )
    own, passed_on = sys.argv[1:], []
    if "--" in own:
        passed_on = own[own.index("--") + 1 :]
        own = own[: own.index("--")]
    arguments = parser.parse_args(own)
    for name in arguments.names:
        lane, _at, part = name.partition("@")
        if (
            name not in SIZES
            and name not in ALIASES
            and (lane not in LANES or (part and part not in LANES[lane].parts))
        ):
            parser.error(f"no such lane: {name}")
    if "long" in arguments.names and arguments.names != ["long"]:
        parser.error("long runs alone")
    arguments.passed_on = passed_on
    return arguments


def _expanded(names: t.Sequence[str]) -> t.List[str]:
    """Sizes and names for several lanes as lanes, each once."""
    return list(
        dict.fromkeys(
            lane for name in names for lane in (of_size(name) if name in SIZES else ALIASES.get(name, (name,)))
        )
    )


def _stopped(number: int, frame: t.Any) -> t.NoReturn:
    raise KeyboardInterrupt


class Run:
    """One call of the command: which lanes, and what came of them."""

    def __init__(self, names: t.Sequence[str], arguments: t.Sequence[str], strict: bool) -> None:
        self._size = "full" if "full" in names else "default"
        self._arguments = arguments
        self._strict = strict
        # Arguments with a size are pytest's: other programs would not understand them.
        self._only_tests = bool(arguments) and any(name in SIZES for name in names)
        self._names = [name for name in _expanded(names) if not self._only_tests or LANES[name.partition("@")[0]].paths]
        self._done: t.List[Lane] = []

    @property
    def results(self) -> t.List[Result]:
        return [result for lane in self._done for result in lane.results]

    def _lane(self, name: str) -> Lane:
        lane, _at, part = name.partition("@")
        made = Lane(lane, self._arguments, self._size, part, self._strict)
        self._done.append(made)
        return made

    def _judge_is_there(self, name: str) -> bool:
        """Under --strict a lane without its judge fails instead of being skipped piece by piece."""
        lacking = (
            [need for need in map(missing, JUDGES) if need]
            if self._strict and LANES[name.partition("@")[0]].judged
            else []
        )
        for need in lacking:
            self._lane(name).note("its judge", "failed", why=str(need))
        return not lacking

    def tasks(self) -> t.List[side_by_side.Task]:
        names = [name for name in self._names if self._judge_is_there(name)]
        found = []
        tests = [name for name in names if name in LANES and self._has_tests(LANES[name])]
        if tests:
            found.append(side_by_side.Task(lambda: self._tests(tests), side_by_side.ALL))
        for name in names:
            lane, _at, part = name.partition("@")
            if (LANES[lane].run or part) and not self._only_tests:
                # An if without a default argument would see the last name only.
                found.append(side_by_side.Task(lambda name=name: self._program(name), LANES[lane].cores))  # type: ignore[misc]
        return sorted(found, key=lambda task: task.cores != 0)

    def _has_tests(self, lane: Description) -> bool:
        """Whether its tests belong into the one pytest of all lanes."""
        return (
            bool(lane.paths)
            and not lane.alone
            and not (lane.own_arguments and self._arguments and not self._only_tests)
        )

    def _tests(self, names: t.Sequence[str]) -> None:
        lane = self._lane("tests")
        paths = [path for name in names for path in files_of(name)]
        extra: t.Dict[str, str] = {}
        for own in (LANES[name].environment for name in names):
            extra.update(own(lane) if own else {})
        suite.run(lane, paths, lane_of, extra=extra)

    def _program(self, name: str) -> None:
        lane = self._lane(name)
        description = LANES[lane.name]
        lacking = [need for need in map(missing, description.needs) if need]
        for need in lacking:
            lane.note(lane.full_name, "skipped", why=str(need))
        if lacking:
            return
        run = description.run_part if lane.part else description.run
        try:
            if run:
                run(lane)
        except LaneSkipped as reason:
            lane.note(lane.full_name, "skipped", why=str(reason))
        except SystemExit as stopped:
            print(stopped, flush=True)
            lane.note(lane.full_name, "failed", why=str(stopped))

    def beyond(self, names: t.Sequence[str]) -> t.Sequence[t.Sequence[str]]:
        return NOT_IN[self._size] if not self._arguments and any(name in SIZES for name in names) else ()


def main() -> int:
    signal.signal(signal.SIGTERM, _stopped)
    arguments = _arguments()
    if arguments.names == ["long"]:
        return long.run(arguments.passed_on)
    names = arguments.names or ["default"]
    begin = time.monotonic()
    run = Run(names, arguments.passed_on, arguments.strict)
    try:
        side_by_side.run(run.tasks(), machine.processors())
    except KeyboardInterrupt:
        stop_all()
        shutil.rmtree(scratch(), ignore_errors=True)
        print("\nstopped", flush=True)
        return 130
    failed = any(result.outcome == "failed" for result in run.results) or not run.results
    if failed:
        print(f"\nwhat the tests left behind is in {scratch()}", flush=True)
    else:
        shutil.rmtree(scratch(), ignore_errors=True)
    closing.tell(run.results, run.beyond(names), time.monotonic() - begin, machine.processors())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
