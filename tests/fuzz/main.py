# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fuzzer: hostile LUKS1, LUKS2 and qcow2 headers by number, in several processes, resumable.

    tests/run fuzz -- --cases 1000000                       the long form; stop it when you like, the same command goes
    on tests/run fuzz -- --seed night-2 --cases 1000000        other cases
    tests/run fuzz -- --seed luksmith --only 4711           one case again, with everything it says

Counts, the slowest case and every finding are printed and kept in .cache/fuzz/SEED.jsonl, one line for each block of
cases.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import os
import pathlib
import runpy
import sys
import time
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
REGISTER = str(ROOT / "tests" / "tools" / "register.py")
BLOCK = 500
Line = t.Dict[str, t.Any]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/run fuzz --", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", default="luksmith", help="the name of an endless row of cases (default: %(default)s)")
    parser.add_argument(
        "--cases", type=int, default=20_000, help="how many of them, from the first (default: %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each processor)"
    )
    parser.add_argument("--seconds", type=float, default=0, help="stop after this time; the same command goes on later")
    parser.add_argument(
        "--nice", type=int, default=19, help="by how much the processes stand back for others (default: %(default)s)"
    )
    parser.add_argument("--only", type=int, help="run this one case")
    parser.add_argument("--again", action="store_true", help="forget what was done before under this seed")
    return parser.parse_args()


def block(work: t.Tuple[str, int]) -> Line:
    """Seed and number of a block -> what came out of its cases."""
    from ansible_collections.luksmith.luks.tests.fuzz import case

    seed, number = work
    counts: t.Counter[str] = collections.Counter()
    slowest, findings, used = (0.0, -1, ""), [], 0.0
    for index in range(number * BLOCK, (number + 1) * BLOCK):
        outcome = case.run(seed, index)
        counts[f"{outcome.kind}: {'FINDING' if outcome.finding else outcome.word}"] += 1
        used += outcome.seconds
        slowest = max(slowest, (outcome.seconds, index, outcome.kind))
        if outcome.finding:
            findings.append([index, outcome.kind, outcome.finding])
    return {"block": number, "counts": counts, "slowest": slowest, "findings": findings, "seconds": used}


def start(nice: int) -> None:
    """At the beginning of a process that runs blocks."""
    runpy.run_path(REGISTER)
    from ansible_collections.luksmith.luks.tests.fuzz import case

    os.nice(nice)
    case.bound_memory()


def _fuzz(arguments: argparse.Namespace, kept: pathlib.Path) -> t.List[Line]:
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    had = {line["block"] for line in done}
    wanted = [(arguments.seed, number) for number in range(-(-arguments.cases // BLOCK)) if number not in had]
    done = [line for line in done if line["block"] < -(-arguments.cases // BLOCK)]
    if done:
        print(f"{len(done) * BLOCK} cases were done before", flush=True)
    began = time.monotonic()
    # A pool has threads when it replaces a process, so that this one must not fork.
    processes = multiprocessing.get_context("forkserver")
    with processes.Pool(arguments.jobs, start, (arguments.nice,), maxtasksperchild=20) as pool, kept.open("a") as file:
        for count, line in enumerate(pool.imap_unordered(block, wanted), 1):
            file.write(json.dumps(line) + "\n")
            file.flush()
            done.append(line)
            for index, kind, finding in line["findings"]:
                print(f"FINDING in {kind} case {index}: {finding}", flush=True)
            if count % 40 == 0:
                print(f"   {len(done) * BLOCK} cases", flush=True)
            if arguments.seconds and time.monotonic() - began > arguments.seconds:
                pool.terminate()
                print("stopped: the time is over; the same command goes on", flush=True)
                break
    return done


def _report(done: t.Sequence[Line]) -> int:
    counts: t.Counter[str] = collections.Counter()
    for line in done:
        counts.update(line["counts"])
    findings = [finding for line in done for finding in line["findings"]]
    for word, count in sorted(counts.items()):
        print(f"   {count:8} {word}")
    seconds, index, kind = max(tuple(line["slowest"]) for line in done) if done else (0, -1, "")
    used = sum(line["seconds"] for line in done)
    print(
        f"{len(done) * BLOCK} cases in {used:.0f} s of processor time; the slowest is {kind} case {index} with "
        f"{seconds:.1f} s"
    )
    asked = sum(count for word, count in counts.items() if word.endswith("cryptsetup agrees"))
    print(f"{asked} of them went to cryptsetup too; {len(findings)} findings")
    return 1 if findings else 0


def main() -> int:
    runpy.run_path(REGISTER)
    arguments = _arguments()
    from ansible_collections.luksmith.luks.tests.fuzz import case, judge

    if judge.CRYPTSETUP is None:
        sys.exit("cryptsetup is missing: nobody judges what we read and write")
    if arguments.only is not None:
        outcome = case.run(arguments.seed, arguments.only)
        print(outcome.finding or outcome.word, f"({outcome.kind}, {outcome.seconds:.3f} s)")
        return 1 if outcome.finding else 0
    kept = ROOT / ".cache" / "fuzz" / f"{arguments.seed}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if arguments.again:
        kept.unlink(missing_ok=True)
    return _report(_fuzz(arguments, kept))


if __name__ == "__main__":
    sys.exit(main())
