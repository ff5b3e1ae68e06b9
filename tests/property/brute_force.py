# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the planner's brute force over a world of any size and print counts and minimal counterexamples.

    python tests/property/brute_force.py                          the small world: 3 slots, 2 secrets, up to 2 entries
    python tests/property/brute_force.py --slots 4 --secrets 3 --entries 3 --jobs 2
    python tests/property/brute_force.py --slots 4 --secrets 3 --entries 3 --one-in 50 --start 7
    pypy3 tests/property/brute_force.py --slots 4 --secrets 3 --entries 3 --orders 1 --shards 400 --into DIR

``--one-in N`` keeps every N-th list of entries (all states, flags and unlock lists of it); ``--start`` says which.
``--shards N`` cuts a world into N such shares and runs those that have no result in DIR yet, so that a run may be
stopped and carried on, by several processes at once too; ``--shard I/N`` runs one of them. A result counts for the
planner and the harness that it was made with: a change of either makes it worthless. PyPy is about twice as fast as
CPython.
"""

from __future__ import annotations

import argparse
import collections
import functools
import hashlib
import json
import multiprocessing
import pathlib
import runpy
import sys
import time
import typing as t

runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "tools" / "register.py"))

from ansible_collections.luksmith.luks.tests.property.planner_cases import SIDES, World  # noqa: E402
from ansible_collections.luksmith.luks.tests.property.planner_judge import Finding, Planner, judge, readings_that_agree  # noqa: E402
from ansible_collections.luksmith.luks.tests.property.planner_world import Item  # noqa: E402

KEPT = 3
HARNESS = (
    "planner_cases.py",
    "planner_judge.py",
    "planner_oracle.py",
    "planner_readings.py",
    "planner_rules.py",
    "planner_world.py",
)
PLANNER = ("plan/*.py", "task/desired.py", "task/normalize.py", "task/validate.py", "unlock/verdict.py")


class Tally:
    """Counts, and the smallest findings of each kind."""

    def __init__(self) -> None:
        self.lists = 0
        self.cases = 0
        self.outcomes: t.Counter[str] = collections.Counter()
        self.kinds: t.Counter[str] = collections.Counter()
        self.smallest: t.Dict[str, t.List[t.Tuple[t.Tuple[int, ...], str]]] = {}
        self.asked = 0
        self.derived = 0
        self.longest = 0

    def add(self, finding: Finding) -> None:
        self.kinds[finding.kind] += 1
        task = finding.case.task
        weight = (
            len(task.items),
            task.purge + task.force + task.lockout + len(task.unlock),
            sum(1 for content in finding.case.state if content),
        )
        best = self.smallest.setdefault(finding.kind, [])
        # Numbers of contents differ between processes: only text leaves a worker.
        best.append((weight, f"{finding.case}\n        {finding.detail}"))
        best.sort(key=lambda pair: pair[0])
        del best[KEPT:]

    def merge(self, other: Tally) -> None:
        self.lists += other.lists
        self.cases += other.cases
        self.outcomes.update(other.outcomes)
        self.asked = max(self.asked, other.asked)
        self.derived = max(self.derived, other.derived)
        self.longest = max(self.longest, other.longest)
        self.kinds.update(other.kinds)
        for kind, found in other.smallest.items():
            best = self.smallest.setdefault(kind, [])
            best.extend(found)
            best.sort(key=lambda pair: pair[0])
            del best[KEPT:]


def load_planner() -> Planner:
    """The planner behind what a task goes through before it: entries that contradict each other never reach it."""
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.planner import make_plan
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.normalize import normalize
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.validate import check_entries

    def planner(situation: t.Any, desired: t.Any, proofs: t.Any) -> t.Any:
        check_entries(desired)
        return make_plan(situation, normalize(desired), proofs)

    return t.cast(Planner, planner)


def run_lists(world: World, orders: int, split: bool, batch: t.Sequence[t.Tuple[Item, ...]]) -> Tally:
    """One worker's share. With ``split`` each kind is divided by the readings of the design that would allow it."""
    planner = load_planner()
    tally = Tally()
    for items in batch:
        tally.lists += 1
        memo: t.Dict[t.Any, t.Any] = {}
        for case in world.cases_of(items):
            tally.cases += 1
            findings, outcome = judge(planner, case, orders=orders, memo=memo)
            planned = "plan with a copy" if outcome.copied else "plan"
            tally.outcomes[outcome.verdict or ("empty plan" if not outcome.moves else planned)] += 1
            tally.asked = max(tally.asked, outcome.asked)
            tally.derived = max(tally.derived, outcome.derived)
            tally.longest = max(tally.longest, len(outcome.moves))
            for finding in findings:
                if split:
                    agreeing = readings_that_agree(planner, finding)
                    if agreeing:
                        finding = Finding(
                            f"{finding.kind} [right if not: {', '.join(agreeing)}]", finding.case, finding.detail
                        )
                tally.add(finding)
    return tally


def run(
    world: World,
    *,
    jobs: int,
    one_in: int = 1,
    start: int = 0,
    orders: int = 1000,
    split: bool = True,
    progress: bool = False,
) -> Tally:
    chosen = [items for index, items in enumerate(world.entry_lists()) if index % one_in == start % one_in]
    batches = [chosen[index : index + 20] for index in range(0, len(chosen), 20)]
    tally = Tally()
    began = time.monotonic()
    work = functools.partial(run_lists, world, orders, split)
    if jobs == 1:
        results: t.Iterable[Tally] = map(work, batches)
        pool = None
    else:
        pool = multiprocessing.get_context("fork").Pool(jobs)
        results = pool.imap_unordered(work, batches)
    for done, part in enumerate(results, 1):
        tally.merge(part)
        if progress and done % 25 == 0:
            found = sum(tally.kinds.values())
            print(
                f"... {done}/{len(batches)} batches, {tally.cases} cases, {found} findings, "
                f"{time.monotonic() - began:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    if pool is not None:
        pool.close()
        pool.join()
    return tally


def made_with() -> str:
    """Digest of the planner's and the harness's source."""
    here = pathlib.Path(__file__).resolve()
    engine = here.parents[2] / "plugins" / "module_utils" / "_luks"
    digest = hashlib.sha256()
    for path in sorted(
        [*(here.parent / name for name in HARNESS), *(path for pattern in PLANNER for path in engine.glob(pattern))]
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def run_shard(world: World, orders: int, shard: int, shards: int, into: pathlib.Path) -> None:
    """One share of the world, noted in ``into`` when it is done; a share that another process has begun is left to that
    one.
    """
    code = made_with()
    result = into / f"{code}-{shard}-of-{shards}.json"
    claim = result.with_suffix(".begun")
    if result.exists():
        return
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        return
    try:
        began = time.process_time()
        tally = run(world, jobs=1, one_in=shards, start=shard, orders=orders)
        told = {
            "code": code,
            "world": repr(world),
            "orders": orders,
            "lists": tally.lists,
            "cases": tally.cases,
            "outcomes": tally.outcomes,
        }
        told.update(
            findings=tally.kinds,
            smallest={kind: [text for _weight, text in found] for kind, found in tally.smallest.items()},
        )
        told["cpu_seconds"] = round(time.process_time() - began, 1)
        unfinished = result.with_suffix(".part")
        unfinished.write_text(json.dumps(told))
        unfinished.rename(result)
    finally:
        claim.unlink(missing_ok=True)


def sum_up(into: pathlib.Path, shards: int) -> int:
    code = made_with()
    told = [json.loads(path.read_text()) for path in into.glob(f"{code}-*-of-{shards}.json")]
    outcomes: t.Counter[str] = collections.Counter()
    findings: t.Counter[str] = collections.Counter()
    for one in told:
        outcomes.update(one["outcomes"])
        findings.update(one["findings"])
    cases, lists, seconds = (sum(one[name] for one in told) for name in ("cases", "lists", "cpu_seconds"))
    print(
        f"code {code}: {len(told)} of {shards} shards, {lists} lists, {cases} cases, {seconds:.0f} s of processor "
        f"time; {dict(outcomes)}"
    )
    for kind, count in findings.most_common():
        print(f"{kind}: {count}")
        for text in [text for one in told for text in one["smallest"].get(kind, ())][:KEPT]:
            print(f"    {text}")
    return 1 if findings else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=3)
    parser.add_argument("--secrets", type=int, default=2)
    parser.add_argument("--entries", type=int, default=2, help="longest list of entries")
    parser.add_argument("--shortest", type=int, default=0, help="shortest list of entries")
    parser.add_argument("--side", default="", choices=("", *SIDES), help="a side world: slots that are more than plain")
    parser.add_argument("--thin", type=int, default=1, help="of the cases of each list keep every N-th")
    parser.add_argument("--backup-dir", action="store_true", help="all tasks have the option backup_dir")
    parser.add_argument("--one-in", type=int, default=1)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--orders", type=int, default=1000, help="how many other orders of each list are tried")
    parser.add_argument("--complete", action="store_true", help="no reduction by symmetry")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--shards",
        type=int,
        default=0,
        help="cut the world into so many shares and run those without a result in --into",
    )
    parser.add_argument("--shard", default="", metavar="I/N", help="run share I (from 0) of N")
    parser.add_argument(
        "--into", type=pathlib.Path, default=pathlib.Path("brute-force"), help="folder of the shards' results"
    )
    parser.add_argument("--count", action="store_true", help="only count the unreduced cases")
    options = parser.parse_args()
    world = World(
        options.slots,
        options.secrets,
        tuple(range(options.shortest, options.entries + 1)),
        options.side,
        not options.complete,
        options.thin,
        options.backup_dir,
    )
    if options.count:
        print(f"{world.size_unreduced()} cases before reduction")
        return 0
    if options.shards or options.shard:
        shards = options.shards or int(options.shard.split("/")[1])
        chosen = [int(options.shard.split("/")[0])] if options.shard else range(shards)
        options.into.mkdir(parents=True, exist_ok=True)
        for shard in chosen:
            run_shard(world, options.orders, shard, shards, options.into)
        return sum_up(options.into, shards)
    began = time.monotonic()
    tally = run(
        world, jobs=options.jobs, one_in=options.one_in, start=options.start, orders=options.orders, progress=True
    )
    print(
        f"{tally.lists} lists of entries, {tally.cases} cases in {time.monotonic() - began:.0f} s; world before "
        f"reduction: {world.size_unreduced()} cases"
    )
    print("outcomes: " + ", ".join(f"{name} {count}" for name, count in sorted(tally.outcomes.items())))
    print(f"longest plan {tally.longest}; most questions for one plan {tally.asked}, most derivations {tally.derived}")
    for kind, count in tally.kinds.most_common():
        print(f"\n{kind}: {count}")
        for _weight, text in tally.smallest[kind]:
            print(f"    {text}")
    return 1 if tally.kinds else 0


if __name__ == "__main__":
    sys.exit(main())
