# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/benchmarks.md and its drawings, from nothing but the results that were kept."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import platform
import re
import statistics
import typing as t

import drawing
import scenarios as cast
from paths import PLOTS, REPORT, RESULTS, run

# A `keyslots` task without a change on a cheap keyslot may cost as much processor time as so many pings.
MOST_PINGS = 1.6

Results = t.Sequence[t.Dict[str, t.Any]]


def machine() -> t.List[str]:
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return [
        f"- processor: {cpu.group(1) if cpu else 'unknown'}, {len(os.sched_getaffinity(0))} cores",
        f"- memory: {int(memory.group(1)) // 1024 if memory else 0} MiB; kernel {platform.release()}",
        f"- {run('cryptsetup', '--version').strip()}; {run('qemu-img', '--version').splitlines()[0]}",
    ]


def spread(values: t.Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f}, {len(values)})"


def table(head: t.Sequence[str], rows: t.Iterable[t.Sequence[str]]) -> t.List[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


class Report:
    def __init__(self, results: Results) -> None:
        self.results = results
        self.overheads = [line for line in results if line["kind"] == "overhead"]
        self.times: t.Dict[str, t.Dict[str, t.List[float]]] = collections.defaultdict(
            lambda: collections.defaultdict(list)
        )
        self.pairs: t.Dict[t.Tuple[str, str], t.List[float]] = collections.defaultdict(list)
        turns: t.Dict[t.Tuple[t.Any, str], t.Dict[str, float]] = collections.defaultdict(dict)
        for line in results:
            if line["kind"] == "time" and not line["failed"]:
                self.times[line["scenario"]][line["contestant"]].append(line["seconds"])
                turns[line["run"], line["scenario"]][line["contestant"]] = line["seconds"]
            if line["kind"] == "bare":
                self.times[line["scenario"]]["bare derivations"].append(line["seconds"])
                turns[line["run"], line["scenario"]]["bare derivations"] = line["seconds"]
        for (_run, scenario), found in turns.items():
            for contestant, seconds in found.items():
                if cast.OURS in found and contestant != cast.OURS:
                    self.pairs[scenario, contestant].append(seconds / found[cast.OURS])

    def median(self, scenario: str, contestant: str) -> t.Optional[float]:
        found = self.times[scenario].get(contestant)
        return statistics.median(found) if found else None

    def ratio(self, scenario: str, contestant: str) -> t.Optional[float]:
        """Median over the rounds of (its time / ours in the same round)."""
        found = self.pairs.get((scenario, contestant))
        return statistics.median(found) if found else None

    def text(self) -> str:
        costs = {
            format: found for line in self.results if line["kind"] == "costs" for format, found in line["costs"].items()
        }
        parts = [
            "# Benchmarks",
            "",
            (
                "`tests/benchmark/run` writes this page with all its figures. Compare figures only with each other: "
                "other work on the"
            ),
            (
                "machine changes times. Ratios are taken within one round, in which all contestants get the same "
                "volume, one after the"
            ),
            "other, in changing order.",
            "",
            "## The machine and the costs",
            "",
            *machine(),
            *(
                f"- {format.upper()}: {', '.join(f'{cost} {value}' for cost, value in found.items())}"
                for format, found in costs.items()
            ),
            "",
            *self._load(),
            (
                "Every contestant is one task of one play (local connection, pipelining on). The controller "
                "measures the time. A task of"
            ),
            (
                "each module runs before, untimed, so that what Ansible does once in a play (collecting the files of a "
                "module) is not"
            ),
            (
                "measured. `luks_device` gets the costs of the volume, so that its own benchmark of the key derivation "
                "does not run. The"
            ),
            (
                "script tests the new secret, adds it, tests it and removes the old one. `qemu-img amend` does not "
                "accept a number of"
            ),
            "iterations; what it chose is below.",
            "",
        ]
        return "\n".join(
            [
                *parts,
                *self._targets(),
                *self._times(),
                *self._counts(),
                *self._overhead(),
                *self._rotation(),
                *self._scaling(),
            ]
        )

    def _load(self) -> t.List[str]:
        """What else the machine did, for a figure that was taken beside others means less."""
        loads = [line["load"] for line in self.results if "load" in line]
        if not loads:
            return []
        cores = len(os.sched_getaffinity(0))
        busy = (
            "it was busy with other work, which inflates all that is not the derivation itself"
            if max(loads) > 2 * cores
            else "it was quiet"
        )
        return [f"Load average on {cores} cores while measuring: {min(loads):.1f} to {max(loads):.1f}; {busy}.", ""]

    def _targets(self) -> t.List[str]:
        rows = []
        for format in ("LUKS1", "LUKS2"):
            wanted = [
                (f"{format}, rotate, keyslot 1 of 1", cast.PEER, 6.0 if format == "LUKS1" else 3.0),
                (f"{format}, no change, keyslot 1 of 1", cast.PEER, 1.4 if format == "LUKS1" else 1.03),
                (f"{format}, rotate, keyslot 6 of 6", cast.PEER, 8.0),
                (f"{format}, no change, 6 of 6", cast.PEER, 5.0),
                (f"{format}, rotate, keyslot 1 of 1", cast.SCRIPT, 1.5),
                (f"{format}, rotate, keyslot 6 of 6", cast.SCRIPT, 1.5),
            ]
            if format == "LUKS1":
                wanted.append(("LUKS1, rotate, keyslot 1 of 1", cast.QEMU, 1.0))
            for scenario, contestant, target in wanted:
                ratio = self.ratio(scenario, contestant)
                if ratio is not None:
                    rows.append(
                        (
                            scenario,
                            contestant,
                            f"{target:g}",
                            f"{ratio:.1f}",
                            self._most(scenario, contestant),
                            "reached" if ratio >= target else "missed",
                        )
                    )
        rows += self._everyday()
        limits = []
        cheap = statistics.median(line["task"] for line in self.overheads) if self.overheads else None
        for scenario in sorted(self.times):
            ours, bare, ping = (self.median(scenario, name) for name in (cast.OURS, "bare derivations", "ping"))
            if ours is not None and bare and ping is not None:
                beside = (ours - ping) / bare
                factor = (ours - cheap) / bare if cheap else beside
                limits.append(
                    (
                        scenario,
                        f"{bare:.2f}",
                        f"{ours:.2f}",
                        f"{beside:.2f}",
                        f"{factor:.2f}",
                        "reached" if factor <= 1.25 else "missed",
                    )
                )
        return [
            "## Targets",
            "",
            "The time of the other contestant as a multiple of ours (median of the rounds):",
            "",
            *table(("scenario", "against", "target", "measured", "at most", ""), rows),
            "At most: what a module would reach that costs no more than a ping, and derives no more than it must with",
            "the fastest library. Rows in processor time are of Ansible and all processes of the module together, for",
            "each task: the median (minimum to maximum, number of runs). A second core, with which ours makes both",
            "keys of a rotation at once, gains nothing there.",
            "",
            (
                "Why a target is missed: Argon2 with as many lanes as cores uses all cores by itself, so that on LUKS2 "
                "the times follow"
            ),
            (
                "the numbers of derivations. `luks_device` needs 6 where 2 are the minimum (3 times), and 21 where "
                "6 are the minimum (3.5"
            ),
            "times), less what Ansible costs both. PBKDF2 uses one core, so ours runs two at once.",
            "",
            *self._trusted(),
            *self._cheap(),
            (
                "The limit is 1.25 times the necessary derivations in bare threads on all cores, plus the overhead. "
                "The overhead is the"
            ),
            (
                "time of the module on keyslots of 1,000 iterations (see Overhead; at most two pings). The column "
                "before subtracts one"
            ),
            "ping only:",
            "",
            *table(
                ("scenario", "bare (s)", "task (s)", "(task - ping) / bare", "(task - overhead) / bare", ""), limits
            ),
            (
                "The difference between the two columns is mostly the import of the module; it is the same for "
                "cheap and expensive"
            ),
            "keyslots. The rest are the syncs of the writes of a rotation.",
            "",
            "![Times as long as keyslots](benchmarks-ratios.svg)",
            "",
        ]

    def _everyday(self) -> t.List[t.Tuple[str, ...]]:
        """These rows are there whatever they say, and if they say nothing."""
        rows = []
        for scenario, target in cast.EVERYDAY.items():
            lines = [line["seconds"] for line in self.results if line["kind"] == "everyday"]
            names = [line["scenario"] for line in self.results if line["kind"] == "everyday"]
            found = [one[cast.PEER] / one[cast.OURS] for name, one in zip(names, lines) if name == scenario.name]
            ratio = statistics.median(found) if found else 0.0
            measured = spread(found) if found else "not measured"
            most = [one[cast.PEER] / one["floor"] for name, one in zip(names, lines) if name == scenario.name]
            verdict = ("reached" if ratio >= target else "missed") if found else ""
            at_most = f"{statistics.median(most):.2f}" if most else ""
            rows.append((f"{scenario.name}, processor time", cast.PEER, f"{target:g}", measured, at_most, verdict))
        return rows

    def _most(self, scenario: str, contestant: str) -> str:
        """What a module could reach that costs a ping and the bare derivations; empty: not measured."""
        other, ping, bare = (self.median(scenario, name) for name in (contestant, "ping", "bare derivations"))
        return "" if other is None or ping is None or bare is None else f"{other / (ping + bare):.1f}"

    def _cheap(self) -> t.List[str]:
        """What a call costs that finds nothing to do, on keyslots that cost nothing."""
        found = self.pings()
        if not found:
            return []
        reached = "reached" if statistics.median(found) <= MOST_PINGS else "missed"
        return [
            "A task without a change on a cheap keyslot, in processor time of Ansible and the module together (see",
            f"Overhead): at most {MOST_PINGS:g} pings; measured {spread(found)}, {reached}.",
            "",
        ]

    def _trusted(self) -> t.List[str]:
        """What the record is worth to those who trust it."""
        scenario = "LUKS2, no change, 6 of 6"
        peer, own = self.median(scenario, cast.PEER), self.median(scenario, cast.RECORD)
        if peer is None or own is None:
            return []
        return [
            (
                "With `verify: record` the module trusts the record in the header. It tries no secret, and the result "
                "says so. For six"
            ),
            (
                f"wanted secrets on LUKS2 that takes {own:.2f} s instead of the {peer:.0f} s of `luks_device`: "
                f"{peer / own:.0f} times as fast."
            ),
            "",
        ]

    def _times(self) -> t.List[str]:
        names = [*cast.CONTESTANTS, "bare derivations"]
        rows = [
            (scenario, *(spread(found[name]) if found.get(name) else "" for name in names))
            for scenario, found in sorted(self.times.items())
        ]
        made = sorted({line["iterations"] for line in self.results if line["kind"] == "qemu"})
        chosen = (
            [f"`qemu-img amend` made keyslots of {made[0]} to {made[-1]} iterations in these runs.", ""] if made else []
        )
        head = ("scenario", *(f"{name} (s)" for name in names))
        return [
            "## Times",
            "",
            (
                "Median (minimum to maximum, number of runs). Bare derivations: those of the keyslots, then that of "
                "the digest of the"
            ),
            "volume key.",
            "",
            *table(head, rows),
            *chosen,
        ]

    def _counts(self) -> t.List[str]:
        lines = [line for line in self.results if line["kind"] == "count"]
        newest = {(line["scenario"], line["contestant"]): line for line in lines}
        found = list(newest.values())
        rows = []
        for scenario in dict.fromkeys(line["scenario"] for line in found):
            cells = []
            for contestant in cast.CONTESTANTS:
                line = newest.get((scenario, contestant))
                own = line is not None and line["told"] is not None
                cells.append(
                    "" if line is None else f"{line['told']}" if own else f"{line['keyslots']} + {line['others']}"
                )
            rows.append((scenario, *cells))
        return [
            "## Key derivations",
            "",
            (
                "Keyslots + others (digests of volume keys, benchmarks). A library that is preloaded into the task and "
                "all its children"
            ),
            "counts them (`tests/benchmark/counting.c`), on volumes whose keyslots have costs of their own. Ours is",
            "`kdf_evaluations`; for LUKS1 the benchmark fails if the library counts a different number.",
            "",
            *table(("scenario", *cast.CONTESTANTS), rows),
        ]

    def _overhead(self) -> t.List[str]:
        lines = self.overheads
        if not lines:
            return []
        ratios = [line["task"] / line["ping"] for line in lines]
        processor = self.pings()
        parts = {name: [line["parts"][name] for line in lines if name in line["parts"]] for name in lines[-1]["parts"]}
        return [
            "## Overhead",
            "",
            (
                "A task on a LUKS1 volume of 1,000 iterations (one named keyslot, no change) compared with "
                "`ansible.builtin.ping` in the"
            ),
            "same play. Its parts are measured in a process of their own:",
            "",
            *table(
                ("", "median (minimum to maximum, number of runs)"),
                [
                    *(
                        [("task / ping, processor time with the module's process", spread(processor))]
                        if processor
                        else []
                    ),
                    ("task / ping, by the clock", spread(ratios)),
                    ("task (s)", spread([line["task"] for line in lines])),
                    ("ping (s)", spread([line["ping"] for line in lines])),
                    *((name, spread(values)) for name, values in parts.items()),
                ],
            ),
        ]

    def pings(self) -> t.List[float]:
        """Processor time of a task without a change, as a multiple of a ping's; one figure for each run."""
        found = [line["processor"] for line in self.overheads if "processor" in line]
        return [spent["task"] / spent["ping"] for spent in found]

    def _rotation(self) -> t.List[str]:
        lines = [line for line in self.results if line["kind"] == "rotation"]
        if not lines:
            return []
        hosts = ", ".join(map(str, sorted({line["hosts"] for line in lines})))
        return [
            "## A rotation, for each host",
            "",
            (
                "Processor time of the controller and of all modules together, as a multiple of "
                f"`ansible.builtin.ping`. {hosts} local"
            ),
            (
                "hosts with one LUKS2 volume each, whose keyslots cost nearly nothing to derive; a play without a task "
                "is subtracted"
            ),
            "(`tests/benchmark/run rotation`).",
            "",
            *table(
                ("play", "pings for each host: median (minimum to maximum, number of runs)"),
                [(name, spread([line["pings"][name] for line in lines])) for name in lines[0]["pings"]],
            ),
        ]

    def _scaling(self) -> t.List[str]:
        lines = [line for line in self.results if line["kind"] == "scaling"]
        if not lines:
            return []
        about = (
            "The engine alone, without Ansible, on LUKS1. Bare: the same number of derivations and nothing else, "
            "on the same cores."
        )
        parts = ["## Scaling", "", about, ""]
        parts += ["![Scaling curves](benchmarks-scaling.svg)", ""]
        for curve in dict.fromkeys(line["curve"] for line in lines):
            grouped: t.Dict[t.Tuple[str, int], t.List[t.Dict[str, t.Any]]] = collections.defaultdict(list)
            for line in lines:
                if line["curve"] == curve:
                    grouped[line["what"], line["x"]].append(line)
            rows = [
                (
                    what,
                    str(x),
                    str(found[0]["kdf_evaluations"]),
                    spread([line["seconds"] for line in found]),
                    f"{statistics.median(line['bare'] for line in found):.2f}",
                    f"{statistics.median(line['seconds'] / line['bare'] for line in found):.2f}",
                )
                for (what, x), found in sorted(grouped.items())
            ]
            parts += [
                f"### Against {curve}",
                "",
                *table(("", curve, "derivations", "seconds", "bare (s)", "factor"), rows),
                EXPLAINED[curve],
                "",
            ]
        return parts

    def draw(self) -> None:
        rows = []
        for scenario in sorted(self.times):
            values = [
                (name, ratio)
                for name in cast.CONTESTANTS
                if name != cast.RECORD and (ratio := self.ratio(scenario, name)) is not None
            ]
            if values:
                rows.append((scenario, values))
        PLOTS["ratios"].write_text(drawing.bars("Time of the task, as a multiple of ours with the keyslot named", rows))
        lines = [line for line in self.results if line["kind"] == "scaling"]
        panels = []
        for curve in dict.fromkeys(line["curve"] for line in lines):
            medians: t.Dict[str, t.List[t.Tuple[float, float]]] = {}
            for what in dict.fromkeys(line["what"] for line in lines if line["curve"] == curve):
                at = collections.defaultdict(list)
                for line in lines:
                    if (line["curve"], line["what"]) == (curve, what):
                        at[line["x"]].append(line["seconds"])
                medians[what] = [(x, statistics.median(found)) for x, found in sorted(at.items())]
            panels.append((f"Seconds against {curve}", curve, medians))
        if panels:
            PLOTS["scaling"].write_text(drawing.curves(panels))


EXPLAINED = {
    "slots": "With the keyslot named, the number of keyslots does not matter: one derivation. Without a name, the "
    "first keyslot is\n"
    "tried alone, and then as many at a time as there are cores. So the curve is a staircase: n keyslots on c cores "
    "take 1 +\n"
    "(n - 1) / c rounds, rounded up.",
    "secrets": "Each named secret is one derivation. They run side by side in secrets / cores rounds, rounded up, so "
    "that an odd number\n"
    "on two cores costs as much as the next even one.",
    "volumes": "Two derivations for each volume. With one volume, the new key is derived while the old secret is "
    "still being tried; with\n"
    "more volumes than cores, the other volumes fill the cores instead. Beyond that it is linear. Wiping and syncing "
    "of one\n"
    "volume run beside the derivations of others.",
    "cores": "PBKDF2 scales with the cores as long as there are as many independent derivations. Two virtual cores of "
    "one physical\n"
    "core share its arithmetic units, and a busy host gives neither in full. So two can be less than twice as fast as "
    "one;\n"
    "the bare derivations show the same.",
}


def write() -> None:
    results = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    report = Report(results)
    report.draw()
    REPORT.write_text(re.sub(r"\n{3,}", "\n\n", report.text()).rstrip() + "\n")
    print(f"written: {REPORT} and {', '.join(path.name for path in PLOTS.values())}")
