# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pytest for the tests of all lanes, so that they share the processors, the collection and what fixtures of a
session make.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import typing as t

import machine
from lane import CACHE, NOTHING, Lane, Result, Variables

# Seconds after which a test counts as hung: it fails, and its stack is shown. Nothing is meant to come near.
HUNG = {"default": "900", "full": "3600"}
NOTHING_COLLECTED = 5


def run(
    lane: Lane,
    paths: t.Sequence[str],
    lane_of: t.Callable[[str], str],
    *,
    python: str = "",
    quiet: bool = False,
    workers: t.Optional[int] = None,
    extra: Variables = NOTHING,
) -> None:
    """The tests below ``paths``; ``lane_of`` says which lane each of them is counted for.

    quiet: its output is only of interest when it fails
    workers: processes beside this one that run tests (default: what the machine has room for)
    """
    python = python or lane.tool("python", "unit")
    kept = CACHE / "ledger" / f"{lane.full_name}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.unlink(missing_ok=True)
    side_by_side = (
        "-n",
        str(machine.budget() if workers is None else workers),
        "--dist",
        "loadgroup",
        "--no-loadscope-reorder",
    )
    color = "--color=yes" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else "--color=no"
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-rfE",
        color,
        *side_by_side,
        f"--ledger={kept}",
        f"--size={lane.size}",
        f"--timeout={HUNG[lane.size]}",
    ]
    command += [*paths, *lane.arguments]
    # Bytecode of the tests is kept where the checkout stays clean; tests/conftest.py keeps this from what the tests
    # start.
    own = {**extra, "PYTHONPYCACHEPREFIX": str(CACHE / "pycache"), "PYTHONDONTWRITEBYTECODE": None}
    code = lane.quietly("pytest", command, own).code if quiet else lane.show("pytest", command, own)
    found = _results(kept, lane_of)
    lane.results += found
    if code and not any(result.outcome == "failed" for result in found):
        lane.note(
            "pytest", "failed", why="no test is of that name" if code == NOTHING_COLLECTED else f"exit code {code}"
        )


def _results(kept: pathlib.Path, lane_of: t.Callable[[str], str]) -> t.List[Result]:
    rows = json.loads(kept.read_text()) if kept.exists() else []
    return [
        Result(lane_of(row["name"]), row["name"], row["outcome"], row["seconds"], row["why"], row["documented"])
        for row in rows
    ]
