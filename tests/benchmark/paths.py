# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are, and the programs that the benchmark calls."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "benchmark"
RESULTS = CACHE / "results.jsonl"
REPORT = ROOT / "docs" / "benchmarks.md"
PLOTS = {name: ROOT / "docs" / f"benchmarks-{name}.svg" for name in ("ratios", "scaling")}

sys.path.insert(0, str(ROOT / "tests" / "tools"))

import venvs  # noqa: E402


def usual_environment() -> t.Dict[str, str]:
    """This process's environment without what no managed host has: with PYTHONUNBUFFERED an interpreter reads a module
    that comes on its standard input by one system call for each byte, a third of what the module costs.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def peer_environment() -> pathlib.Path:
    """The virtual environment with ansible-core and community.crypto."""
    return venvs.ensure("peer", ROOT / "tests" / "requirements" / "peer.txt")


def run(*command: t.Union[str, pathlib.Path], **options: t.Any) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def cryptsetup(*words: t.Union[str, pathlib.Path]) -> str:
    return run("cryptsetup", *words)


def counting_library() -> pathlib.Path:
    source, library = pathlib.Path(__file__).with_name("counting.c"), CACHE / "counting.so"
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        run("gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, source, "-ldl")
    return library
