# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a test fail when a check is taken out? Each check of the plugins, one at a time, in copies of this checkout.

    tests/run mutants                               all, judged by those quick tests that run the line
    tests/run mutants -- header_writer volume/      files whose path contains one of the words
    tests/run mutants -- --kind "never refused"     one kind: see mutations.py
    tests/run mutants -- --deep keyslots/           slow tests of its area judge what survives (minutes for each)

Quick are the unit and property tests and the short forms of a few others (QUICK).

A function is broken in the children of a process that has collected all tests (warm.py). Nothing is said to survive
there: it, and what cannot be broken in place, is put to a new pytest. Of what was caught there, each twentieth has to
be caught by a new pytest, too, and in the end every test that caught something has to pass with nothing broken.

What a test caught is kept in .cache/mutants/caught.jsonl and not tried again until its file changes; what survived is
tried again each time. A survivor that changes nothing anybody could see is listed in harmless.tsv with the reason. Any
other one is a failure.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import csv
import fcntl
import hashlib
import json
import os
import pathlib
import queue
import resource
import shutil
import subprocess
import sys
import typing as t

import warm
from mutations import KINDS, Mutation, mutations

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))

import kept  # noqa: E402  found by the line above
import ledger  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
WORK = ROOT / ".cache" / "mutants"
QUICK = (
    "tests/unit",
    "tests/property",
    "tests/crash/test_crashes.py",
    "tests/crash/test_restore_power_cuts.py",
    "tests/crash/test_way_back.py",
    "tests/crash/test_copies_that_are_none.py",
    "tests/interop/test_live.py",
)
ENGINE = (
    ("tests/crash/test_crashes.py", "tests/crash/test_system_calls.py"),
    ("tests/crash/test_replaced.py", "tests/crash/test_faults.py", "tests/crash/test_real_faults.py"),
    ("tests/interop",),
    ("tests/secrets/test_inside_the_module.py",),
)
ROTATION = (
    ("tests/rotation/test_stores.py", "tests/rotation/test_catching_up.py"),
    ("tests/rotation", "tests/secrets"),
)
REPORT = (("tests/browser",), ("tests/interop/test_audit_playbook.py",))
# The first part of the path that fits says which slow tests are asked, and in which order.
DEEP = {
    "plugins/action/fleet_report": REPORT,
    "plugins/plugin_utils/_report/": REPORT,
    "plugins/action/": ROTATION,
    "plugins/plugin_utils/": ROTATION,
    "plugins/module_utils/_luks/backup/": (
        ("tests/crash/test_restore_power_cuts.py",),
        ("tests/interop/test_header_backup.py",),
        ("tests/crash/test_faults.py", "tests/crash/test_replaced.py"),
        ("tests/secrets/test_inside_the_module.py",),
    ),
    "plugins/module_utils/_luks/audit/": (
        ("tests/interop/test_audit_corpus.py", "tests/interop/test_audit_playbook.py"),
    ),
    "plugins/": ENGINE,
}
# Seconds for slow tests.
LONGEST = 1800
# What share of that which is caught in a warm process has to be caught by a new one, too.
EACH = 20


class Mutant(t.NamedTuple):
    path: str  # from the root of the checkout
    source: str  # a name for the whole text of the file
    mutation: Mutation

    @property
    def key(self) -> t.Tuple[t.Any, ...]:
        """Stays the same until the file changes."""
        return (self.path, self.source, self.mutation.kind, self.mutation.begin, self.mutation.end)

    @property
    def told(self) -> str:
        return f"{self.path}:{self.mutation.line}: {self.mutation.kind}: {self.mutation.was[:100]}"


class Tree:
    """A copy of the checkout in which one file at a time is broken."""

    def __init__(self, name: str) -> None:
        self.root = WORK / name / ROOT.name
        shutil.rmtree(WORK / name, ignore_errors=True)
        self.root.parent.mkdir(parents=True)
        shutil.copytree(
            ROOT, self.root, ignore=shutil.ignore_patterns(".cache", ".git", ".venv", "__pycache__"), symlinks=True
        )
        if (ROOT.parent / "shared").exists():
            (self.root.parent / "shared").symlink_to(ROOT.parent / "shared")
        made = subprocess.run(
            [sys.executable, "tests/tools/importable.py"], cwd=self.root, capture_output=True, text=True, check=True
        )
        # Where Ansible looks for us, it must find the copy. That no bytecode is written, which would be found by second
        # and size of its source, is lane.py's.
        self._environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": made.stdout.strip()}

    def warm(self) -> warm.Warm:
        return warm.Warm(self.root, self._environment, QUICK)

    def pytest(self, *arguments: str, longest: t.Optional[float] = LONGEST) -> t.Tuple[int, str]:
        command = ["nice", "-n", "19", sys.executable, "-m", "pytest", "-q", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=self.root,
                env=self._environment,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                check=False,
                timeout=longest,
            )
        except subprocess.TimeoutExpired:
            return 1, f"FAILED no end after {longest:.0f} s"
        return done.returncode, done.stdout + done.stderr

    def quickly(self, tests: t.Mapping[str, float]) -> str:
        """The first of them that a new pytest sees fail, or nothing; with the seconds that each may take."""
        chosen = self.root / ".cache" / "chosen"
        chosen.parent.mkdir(exist_ok=True)
        chosen.write_text("\n".join(tests))
        if not tests:
            return ""
        limit = f"--timeout={max(tests.values()):.0f}"
        return _failed(*self.pytest("-x", limit, f"@{chosen}", longest=60 + sum(tests.values())))

    def slowly(self, rounds: t.Sequence[t.Tuple[str, ...]]) -> str:
        found = (_failed(*self.pytest("-x", "-n", "2", "--dist", "loadfile", *tests)) for tests in rounds)
        return next(filter(None, found), "")

    @contextlib.contextmanager
    def broken(self, mutant: Mutant) -> t.Iterator[t.Tuple[str, str, str]]:
        """For tests that start another process; yields what ``Warm.ask`` wants to know for the others."""
        file = self.root / mutant.path
        source = file.read_text(encoding="utf-8")
        file.write_text(mutant.mutation.applied(source), encoding="utf-8")
        try:
            yield mutant.path, source, mutant.mutation.applied(source)
        finally:
            file.write_text(source, encoding="utf-8")


def _failed(code: int, output: str) -> str:
    if not code:
        return ""
    lines = (line[:200] for line in output.splitlines() if line.startswith(("FAILED", "ERROR")))
    return next(lines, f"pytest: exit code {code}")


class Recorded(t.NamedTuple):
    """One run of all quick tests with nothing broken."""

    lines: t.Any  # coverage.CoverageData
    root: str
    seconds: t.Mapping[str, float]

    def tests_of(self, mutant: Mutant) -> t.List[str]:
        """Those that run the line; first those that are short and near, which are likely to notice. A line that no test
        is seen to run may run in a process that the tests of its file start.
        """
        by_line = self.lines.contexts_by_lineno(f"{self.root}/{mutant.path}")
        lines = range(mutant.mutation.line, mutant.mutation.last + 1)
        tests = {context.rpartition("|")[0] for line in lines for context in by_line.get(line, ())}
        tests &= self.seconds.keys()  # not what runs before a test, and none that was skipped
        folder, name = os.path.split(f"tests/unit/{mutant.path}")
        own = f"{folder}/test_{name[: -len('.py')].lstrip('_')}"

        def order(test: str) -> t.Tuple[float, str]:
            far = 1 if test.startswith(own) else 4 if test.startswith(f"{folder}/") else 16
            return far * (0.01 + self.seconds.get(test, 0)), test

        return sorted(tests or (test for test in self.seconds if test.startswith(own)), key=order)

    def limits(self, tests: t.Sequence[str]) -> t.Dict[str, float]:
        """Seconds after which each is not expected to end. Somebody who waits for ever notices, too."""
        return {test: 30 + 10 * self.seconds.get(test, 0) for test in tests}


def recorded(tree: Tree) -> Recorded:
    """From an earlier run, as long as neither the plugins nor the tests have changed."""
    import coverage

    def record(place: pathlib.Path) -> None:
        covering = ("--cov=plugins", "--cov-context=test", "--cov-report=")
        code, output = tree.pytest("-n", "auto", *covering, *QUICK, longest=None)  # however busy the machine is
        if code:
            sys.exit(f"{output}\nthe tests fail with nothing broken")
        (place / "root").write_text(str(tree.root))
        shutil.move(tree.root / ".coverage", place / "coverage")
        shutil.move(tree.root / ".cache" / "durations.json", place / "durations.json")

    place = kept.folder(["mutants", kept.sources("plugins", "tests", "roles", "playbooks")], record)
    data = coverage.CoverageData(str(place / "coverage"))
    data.read()
    return Recorded(data, (place / "root").read_text(), ledger.read(place / "durations.json"))


class Judge:
    """Says of mutants, side by side, which test notices them."""

    def __init__(self, trees: t.Sequence[Tree], asked: Recorded, *, deep: bool, fresh: bool) -> None:
        self._trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        self._warm = {} if fresh else {tree: tree.warm() for tree in trees}
        for tree in trees:
            if not fresh:
                self._warm[tree].ask({})  # nothing may be broken before it has imported everything
            self._trees.put(tree)
        self._recorded = asked
        self._deep = deep
        # What the warm processes saw fail, by the path of the broken file, whose next mutant it may notice as well.
        self._catchers: t.DefaultDict[str, t.Set[str]] = collections.defaultdict(set)
        self.counts: t.Counter[str] = collections.Counter()

    def noticed(self, mutant: Mutant) -> str:
        """The test that does, or nothing."""
        tree = self._trees.get()
        try:
            known = self._catchers[mutant.path]
            tests = sorted(self._recorded.tests_of(mutant), key=lambda test: test not in known)
            with tree.broken(mutant) as change:
                if tests and self._warm:
                    came, where = self._warm[tree].ask(self._recorded.limits(tests), *change)
                    self.counts[f"warm: {came}"] += 1
                    if came == warm.FAILED:
                        known.add(where)
                        if self.counts[f"warm: {came}"] % EACH:
                            return where
                    if where and came != warm.PASSED:
                        noticed = tree.quickly(self._recorded.limits([where]))
                        self.counts["fresh: the same" if noticed else "fresh: not the same"] += 1
                        if noticed:
                            return noticed
                noticed = tree.quickly(self._recorded.limits(tests))
                self.counts[f"fresh: {warm.FAILED if noticed else warm.PASSED}"] += 1
                if noticed or not self._deep:
                    return noticed
                rounds = next(tests for beginning, tests in DEEP.items() if mutant.path.startswith(beginning))
                return tree.slowly(rounds)
        finally:
            self._trees.put(tree)

    def close(self) -> str:
        """The catcher that a warm process sees fail with nothing broken, too; empty: none, as it must be."""
        tests = sorted(set().union(*self._catchers.values()))
        came, where = warm.PASSED, ""
        if tests:
            came, where = next(iter(self._warm.values())).ask(self._recorded.limits(tests))
        for process in self._warm.values():
            process.close()
        return "" if came == warm.PASSED else f"{where}: {came}"


def chosen_mutants(words: t.Sequence[str], kinds: t.Sequence[str]) -> t.List[Mutant]:
    found = []
    for file in sorted((ROOT / "plugins").rglob("*.py")):
        path = str(file.relative_to(ROOT))
        if not words or any(word in path for word in words):
            source = file.read_text(encoding="utf-8")
            name = hashlib.sha256(source.encode()).hexdigest()
            found += [Mutant(path, name, mutation) for mutation in mutations(source) if mutation.kind in kinds]
    return found


def harmless() -> t.Set[t.Tuple[str, str, str]]:
    """Path, kind and text of those that nobody can miss; the last column says why."""
    with (HERE / "harmless.tsv").open(encoding="utf-8", newline="") as stream:
        rows = csv.reader((line for line in stream if not line.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE)
        return {(path, kind, was) for path, kind, was, _why in rows}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/run mutants --", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="parts of paths below plugins/ (default: everything)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="default: all")
    parser.add_argument("--deep", action="store_true", help="ask the slow lanes about what survives the quick tests")
    parser.add_argument(
        "--fresh", action="store_true", help="a new pytest for each mutant, also for what was caught before"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="copies of the checkout (default: one for each processor)"
    )
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    caught_file = WORK / "caught.jsonl"
    WORK.mkdir(parents=True, exist_ok=True)
    lock = (WORK / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("another run of the mutants is under way in this checkout")
    caught = (
        {tuple(json.loads(line)[:5]) for line in caught_file.read_text().splitlines()}
        if caught_file.exists() and not arguments.fresh
        else set()
    )
    chosen, excused = chosen_mutants(arguments.words, arguments.kind or KINDS), harmless()
    mutants = [mutant for mutant in chosen if (mutant.path, mutant.mutation.kind, mutant.mutation.was) not in excused]
    wanted = [mutant for mutant in mutants if mutant.key not in caught]
    print(
        f"{len(mutants)} mutants, {len(mutants) - len(wanted)} of them caught before, {len(chosen) - len(mutants)} "
        "more are harmless",
        flush=True,
    )
    if not wanted:
        return 0
    trees = [Tree(str(number)) for number in range(arguments.jobs)]
    judge = Judge(trees, recorded(trees[0]), deep=arguments.deep, fresh=arguments.fresh)
    before = _processor_time()
    survivors = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool, caught_file.open(
        "a", encoding="utf-8"
    ) as known:
        asked = {pool.submit(judge.noticed, mutant): mutant for mutant in wanted}
        for count, ended in enumerate(concurrent.futures.as_completed(asked), 1):
            mutant, noticed = asked[ended], ended.result()
            if noticed:
                known.write(json.dumps([*mutant.key, noticed]) + "\n")
                known.flush()
            else:
                survivors += 1
                print(f"SURVIVED {mutant.told}", flush=True)
            if count % 50 == 0:
                print(f"   {count} of {len(wanted)}", flush=True)
    void = judge.close()
    print(*(f"{count:6} {what}" for what, count in sorted(judge.counts.items())), sep="\n")
    print(f"{_processor_time() - before:.0f} s of processor time for {len(wanted)} mutants")
    if void:
        sys.exit(f"a test that caught a mutant fails with nothing broken, too: {void}")
    print(f"{len(mutants) - survivors} mutants caught, {survivors} survived")
    return 1 if survivors else 0


def _processor_time() -> float:
    """Of all processes that were started here and have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


if __name__ == "__main__":
    sys.exit(main())
