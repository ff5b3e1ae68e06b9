# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark: measure, keep every figure in .cache/benchmark/results.jsonl, and write docs/benchmarks.md from them.

Figures of several calls add up, so that a busy machine can be asked in short pieces; --fresh forgets the earlier ones.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time
import typing as t

import limit
import overhead
import playing
import report
import scaling
import scenarios as cast
from paths import RESULTS, run
from volumes import COUNTED, SLOTS, default_costs, make

PARTS = ("counts", "times", "everyday", "overhead", "scaling", "report")
FORMATS = ("luks1", "luks2")


def keep(kind: str, **values: t.Any) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as results:
        results.write(json.dumps({"kind": kind, **values}) + "\n")


def counts(formats: t.Sequence[str], folder: pathlib.Path, *, short: bool) -> None:
    """Raises SystemExit where a count is not what it should be."""
    wrong = []
    for format in formats:
        scenarios = [
            one
            for one in cast.scenarios(format, full=SLOTS[format])
            if one.slots in ((1, 6) if short else (1, 6, SLOTS[format]))
        ]
        volumes = {(format, slots): make(format, slots, COUNTED[format]) for slots in {one.slots for one in scenarios}}
        by_name = {one.name: one for one in scenarios}
        for line in playing.count(scenarios, volumes, folder):
            keep("count", **line)
            found = line["told"] if line["told"] is not None else line["keyslots"]
            name = f"{line['scenario']}, {line['contestant']}"
            print(f"{name}: {found}", flush=True)
            due = expected(by_name[line["scenario"]], line["contestant"])
            if due is not None and found != due:
                wrong.append(f"{name}: {found} derivations instead of {due}")
            if format == "luks1" and line["told"] is not None and line["told"] != line["keyslots"]:
                wrong.append(f"{name}: it says {line['told']}, and {line['keyslots']} were seen")
    if wrong:
        raise SystemExit("\n".join(wrong))


def expected(scenario: cast.Scenario, contestant: str) -> t.Optional[int]:
    """What the documentation promises of ours, and what was measured of luks_device with cryptsetup 2.6 (n + 4u + 1,
    s).
    """
    slots, opener = scenario.slots, scenario.positions[0] + 1
    if contestant == cast.OURS:
        return len(scenario.positions) * (2 if scenario.wish == "rotate" else 1) + scenario.in_place
    if contestant == cast.RECORD:
        return 0
    if contestant == cast.OURS_UNNAMED and scenario.wish == "rotate" and not scenario.in_place:
        return 2 * slots
    if contestant == cast.PEER and run("cryptsetup", "--version").startswith("cryptsetup 2.6"):
        return (
            slots + 4 * opener + 1
            if scenario.wish == "rotate"
            else sum(position + 1 for position in scenario.positions)
        )
    return None


def times(formats: t.Sequence[str], folder: pathlib.Path, arguments: argparse.Namespace) -> None:
    for format in formats:
        costs = COUNTED[format] if arguments.short else default_costs(format, arguments.milliseconds)
        keep("costs", costs={format: costs})
        wanted = [one for one in cast.scenarios(format, full=SLOTS[format]) if one.slots in arguments.slots]
        wanted = [one for one in wanted if arguments.only in one.name]
        volumes = {(format, slots): make(format, slots, costs) for slots in {one.slots for one in wanted}}
        for turn in range(arguments.rounds):
            for scenario in wanted:
                start = time.monotonic()
                lines = playing.once([scenario], volumes, folder, turn + arguments.turn, contestants=cast.CONTESTANTS)
                identity = time.time_ns()
                for line in lines:
                    if line["contestant"] == "made by QEMU":
                        dump = (folder / "dump").read_text()
                        keep(
                            "qemu",
                            iterations=max(int(row.split()[1]) for row in dump.splitlines() if "Iterations:" in row),
                        )
                        continue
                    keep(
                        "time",
                        run=identity,
                        **{key: line[key] for key in ("scenario", "contestant", "seconds", "failed")},
                    )
                derivations = expected(scenario, cast.OURS)
                keep(
                    "bare",
                    run=identity,
                    scenario=scenario.name,
                    seconds=limit.bare(costs, derivations or 1, [volumes[format, scenario.slots].digest]),
                    load=os.getloadavg()[0],
                )
                print(f"{scenario.name}: {time.monotonic() - start:.0f} s", flush=True)


def everyday(formats: t.Sequence[str], folder: pathlib.Path, arguments: argparse.Namespace) -> None:
    for _turn in range(arguments.rounds):
        for scenario in cast.EVERYDAY:
            if scenario.format in formats and arguments.only in scenario.name:
                short = arguments.short
                costs = COUNTED[scenario.format] if short else default_costs(scenario.format, arguments.milliseconds)
                found = overhead.everyday(scenario, costs, expected(scenario, cast.OURS) or 1, folder)
                keep("everyday", scenario=scenario.name, seconds=found, costs=costs, load=os.getloadavg()[0])
                print(f"{scenario.name}: {found}", flush=True)


def curves(folder: pathlib.Path, arguments: argparse.Namespace) -> None:
    costs = {"iterations": 2000 if arguments.short else arguments.curve_iterations}
    volumes = {slots: make("luks1", slots, costs) for slots in ((1, 2) if arguments.short else range(1, 9))}
    cores = len(os.sched_getaffinity(0))
    for _turn in range(arguments.rounds):
        for point in scaling.points(volumes, cores):
            if point.get("volumes", 1) <= (2 if arguments.short else 24):
                keep("scaling", **scaling.measure(point, volumes, folder), load=os.getloadavg()[0])
        if not arguments.short:
            keep("scaling", **many_dear_volumes(folder, arguments.milliseconds), load=os.getloadavg()[0])
    print("scaling: measured", flush=True)


def many_dear_volumes(folder: pathlib.Path, milliseconds: int) -> t.Dict[str, t.Any]:
    """24 volumes whose keyslots cost what people have, beside the curve of cheap ones."""
    dear = make("luks1", 1, default_costs("luks1", milliseconds))
    point = {
        "curve": "volumes",
        "what": "rotate, costs as above",
        "x": 24,
        "slots": 1,
        "wanted": [0],
        "named": True,
        "rotate": True,
        "volumes": 24,
    }
    return scaling.measure(point, {1: dear}, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--short",
        action="store_true",
        help="cheap volumes, one round: does it run, and do the counts hold? writes no report",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", type=int, default=0, help="who begins in the first round")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this; may be repeated")
    parser.add_argument("--format", action="append", choices=FORMATS, help="only this; may be repeated")
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 6, 8, 32], help="volumes with so many keyslots")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument(
        "--milliseconds", type=int, default=1000, help="cost of a LUKS1 keyslot, as cryptsetup --iter-time"
    )
    parser.add_argument(
        "--curve-iterations", type=int, default=400_000, help="cost of a keyslot for the scaling curves"
    )
    parser.add_argument("--fresh", action="store_true", help="forget the figures of earlier calls")
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [program for program in ("cryptsetup", "qemu-img", "gcc", "losetup") if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        sys.exit(f"the benchmark needs root and {', '.join(missing) or 'nothing else'}")
    parts, formats = arguments.part or PARTS, arguments.format or FORMATS
    if arguments.short:
        arguments.rounds, arguments.slots = 1, [1]
    if arguments.fresh:
        RESULTS.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="luksmith-benchmark-") as temporary:
        folder = pathlib.Path(temporary)
        if "counts" in parts:
            counts(formats, folder, short=arguments.short)
        if "times" in parts:
            times(formats, folder, arguments)
        if "everyday" in parts:
            everyday(formats, folder, arguments)
        if "overhead" in parts:
            for _turn in range(arguments.rounds):
                keep("overhead", **overhead.measure(folder))
        if "scaling" in parts:
            curves(folder, arguments)
    if "report" in parts and not arguments.short:
        report.write()


if __name__ == "__main__":
    main()
