# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a test fail when a check is taken out? Each check of the plugins, one at a time, in copies of this checkout.

    tests/run mutants                               all of plugins/, judged by those unit and property tests that run
    the line tests/run mutants -- apply/header_writer volume/      files whose path contains one of the words
    tests/run mutants -- --kind "never refused"     one kind: see mutations.py
    tests/run mutants -- --deep keyslots/           what survives is put to slow tests of its area, too (minutes for
    each)

What a test caught is kept in .cache/mutants/caught.jsonl and not tried again until its file changes; what survived is
tried again each time. A survivor that changes nothing anybody could see is listed in harmless.tsv with the reason. Any
other one is a failure.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import csv
import fcntl
import hashlib
import json
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import typing as t

from mutations import KINDS, Mutation, mutations

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
WORK = ROOT / ".cache" / "mutants"
QUICK = ("tests/unit", "tests/property")
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
# Seconds. Somebody who waits for ever notices, too.
LONGEST_QUICK, LONGEST = 400, 1800


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
        self._collections = made.stdout.strip()

    def pytest(self, *arguments: str, longest: int = LONGEST) -> t.Tuple[int, str]:
        # Where Ansible looks for us, it must find the copy. That no bytecode is written, which would be found by second
        # and size of its source, is lane.py's.
        environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": self._collections}
        command = ["nice", "-n", "19", sys.executable, "-m", "pytest", "-q", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=self.root,
                env=environment,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                check=False,
                timeout=longest,
            )
        except subprocess.TimeoutExpired:
            return 1, f"FAILED no end after {longest} s"
        return done.returncode, done.stdout + done.stderr

    def broken(self, mutant: Mutant, quick: t.Sequence[str], deep: t.Sequence[t.Tuple[str, ...]]) -> str:
        """The test that notices, or nothing."""
        file = self.root / mutant.path
        source = file.read_text(encoding="utf-8")
        file.write_text(mutant.mutation.applied(source), encoding="utf-8")
        try:
            return self._noticed(quick, deep)
        finally:
            file.write_text(source, encoding="utf-8")

    def _noticed(self, quick: t.Sequence[str], deep: t.Sequence[t.Tuple[str, ...]]) -> str:
        chosen = self.root / ".cache" / "chosen"
        chosen.parent.mkdir(exist_ok=True)
        chosen.write_text("\n".join(quick))
        rounds = [("-x", "-p", "no:xdist", f"@{chosen}")] if quick else []
        rounds += [("-x", "-n", "2", "--dist", "loadfile", *tests) for tests in deep]
        for arguments in rounds:
            code, output = self.pytest(*arguments, longest=LONGEST if "-n" in arguments else LONGEST_QUICK)
            if code:
                return next(
                    (line[:200] for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))),
                    f"pytest: exit code {code}",
                )
        return ""


def tests_by_line(tree: Tree) -> t.Dict[str, t.Dict[int, t.List[str]]]:
    """Which tests run which line of which file, from one run of them all with nothing broken."""
    import coverage

    code, output = tree.pytest("-n", "auto", "--cov=plugins", "--cov-context=test", "--cov-report=", *QUICK)
    if code:
        sys.exit(f"{output}\nthe tests fail with nothing broken")
    data = coverage.CoverageData(str(tree.root / ".coverage"))
    data.read()
    return {
        str(pathlib.Path(path).relative_to(tree.root)): {
            line: sorted({context.rpartition("|")[0] for context in contexts} - {""})
            for line, contexts in data.contexts_by_lineno(path).items()
        }
        for path in data.measured_files()
    }


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
    parser.add_argument(
        "--deep", action="store_true", help="ask the slow lanes about what survives the unit and property tests"
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
        {tuple(json.loads(line)) for line in caught_file.read_text().splitlines()} if caught_file.exists() else set()
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
    trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
    for number in range(arguments.jobs):
        trees.put(Tree(str(number)))
    tree = trees.get()
    lines = tests_by_line(tree)
    trees.put(tree)

    def run(mutant: Mutant) -> str:
        tree = trees.get()
        try:
            deep = (
                next(tests for beginning, tests in DEEP.items() if mutant.path.startswith(beginning))
                if arguments.deep
                else ()
            )
            return tree.broken(mutant, lines.get(mutant.path, {}).get(mutant.mutation.line, ()), deep)
        finally:
            trees.put(tree)

    survivors = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool, caught_file.open(
        "a", encoding="utf-8"
    ) as ledger:
        for count, (mutant, noticed) in enumerate(zip(wanted, pool.map(run, wanted)), 1):
            if noticed:
                ledger.write(json.dumps(mutant.key) + "\n")
                ledger.flush()
            else:
                survivors += 1
                print(f"SURVIVED {mutant.told}", flush=True)
            if count % 50 == 0:
                print(f"   {count} of {len(wanted)}", flush=True)
    print(f"{len(mutants) - survivors} mutants caught, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
