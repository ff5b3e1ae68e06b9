# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The long forms, one after another: hours.

A part that passed is remembered for this state of the sources, and the same command goes on behind it.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import sys
import time
import typing as t

import closing
from lane import CACHE, ROOT
from lanes import ALIASES

# What an answer may depend on; documentation is not among it.
SOURCES = ("demo", "extensions", "galaxy.yml", "meta", "playbooks", "plugins", "pyproject.toml", "roles", "tests")


class Part(t.NamedTuple):
    """``anew``: arguments for the first time in this state of the sources; without them it goes on with what it has."""

    name: str
    command: t.Tuple[str, ...]
    anew: t.Tuple[str, ...] = ()
    environment: t.Mapping[str, str] = {}


PARTS: t.Tuple[Part, ...] = (
    Part("fuzz", ("fuzz", "--", "--cases", "1000000"), ("--again",)),
    Part("crash", ("crash", "--", "--size", "full", "--thorough")),
    Part("faults", ("faults", "--", "--size", "full", "--thorough")),
    Part("kills", ("kills", "--", "--size", "full", "--kills", "500")),
    Part("rotation", ("rotation", "--", "--size", "full"), environment={"LUKSMITH_LONG": "1"}),
    Part("vm", ("vm", "--", "--size", "full", "--cuts", "50")),
    Part("molecule-vm", ("molecule-vm",)),
    Part("scale", ("scale", "--", "1000")),
    *(Part(name, (name,)) for name in ALIASES["matrix"]),
    Part("mutants", ("mutants", "--", "--deep")),
)


def state_of_sources(root: pathlib.Path = ROOT) -> str:
    """A name that changes with the content of any file that an answer may depend on."""
    found = hashlib.sha256()
    for source in SOURCES:
        top = root / source
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(f"{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()[:16]


def run(
    names: t.Sequence[str],
    parts: t.Sequence[Part] = PARTS,
    stamps: t.Optional[pathlib.Path] = None,
    command: t.Sequence[str] = (),
) -> int:
    """The parts with these names, or all; ``stamps``: where it is remembered what passed."""
    unknown = [name for name in names if name not in {part.name for part in parts}]
    if unknown:
        sys.exit(f"no such part: {', '.join(unknown)}; there are {', '.join(part.name for part in parts)}")
    stamps = stamps or CACHE / "long" / state_of_sources()
    stamps.mkdir(parents=True, exist_ok=True)
    command = command or (sys.executable, str(ROOT / "tests" / "tools" / "main.py"))
    rows = [_outcome(part, stamps, command) for part in parts if not names or part.name in names]
    print(
        "",
        *closing.table(("part", "outcome", "seconds"), rows),
        "",
        f"this state of the sources is {stamps.name}",
        sep="\n",
    )
    count = [row[1] for row in rows]
    print(f"{count.count('passed') + count.count('passed before')} passed, {count.count('failed')} failed", flush=True)
    return 1 if "failed" in count else 0


def _outcome(part: Part, stamps: pathlib.Path, command: t.Sequence[str]) -> t.Tuple[str, str, str]:
    passed, begun = stamps / f"{part.name}.passed", stamps / f"{part.name}.begun"
    if passed.exists():
        return part.name, "passed before", passed.read_text().strip()
    print(f"\n== {part.name}: tests/run {' '.join(part.command)}", flush=True)
    anew = () if begun.exists() else part.anew
    begun.touch()
    begin = time.monotonic()
    code = _run([*command, *part.command, *anew], {**os.environ, **part.environment})
    seconds = f"{time.monotonic() - begin:.0f}"
    if code == 130:
        raise KeyboardInterrupt
    if code == 0:
        passed.write_text(f"{seconds}\n")
    return part.name, "failed" if code else "passed", seconds


def _run(command: t.Sequence[str], environment: t.Mapping[str, str]) -> int:
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            raise
