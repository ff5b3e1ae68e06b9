# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables at the end of a run: how long each lane took, the slowest tests, what failed, and what was not shown."""

from __future__ import annotations

import collections
import typing as t

from lane import Result
from needs import Need, told_by

SLOWEST = 10
# Seconds. A test that takes longer says in its docstring why it may.
LONG = 5.0
WIDEST = 90

Rows = t.Sequence[t.Sequence[str]]


def table(head: t.Sequence[str], rows: Rows) -> t.List[str]:
    """Columns under their names; the last one is as wide as it is."""
    everything = [head, *rows]
    widths = [min(WIDEST, max(len(row[place]) for row in everything)) for place in range(len(head) - 1)]
    return [
        "   ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]).rstrip() for row in everything
    ]


def lanes(results: t.Sequence[Result]) -> t.List[str]:
    """One row for each lane; its seconds are the sum of its tests', which run side by side."""
    names = list(dict.fromkeys(result.lane for result in results))
    rows = []
    for name in names:
        own = [result for result in results if result.lane == name]
        counts = collections.Counter(result.outcome for result in own)
        rows.append(
            (
                name,
                *(str(counts[outcome] or "-") for outcome in ("passed", "failed", "skipped")),
                f"{sum(result.seconds for result in own):.0f}",
            )
        )
    return table(("lane", "passed", "failed", "skipped", "seconds"), rows)


def slowest(results: t.Sequence[Result]) -> t.List[str]:
    """The ten that took longest, and how many more take too long without a word."""
    ordered = sorted(results, key=lambda result: -result.seconds)
    silent = [result for result in ordered if result.seconds > LONG and not result.documented]
    rows = [
        (f"{result.seconds:.1f}", f"{result.what}{'  (no docstring says why)' if result in silent else ''}")
        for result in ordered[:SLOWEST]
    ]
    told = table(("seconds", "the slowest"), rows)
    others = [result for result in silent if result not in ordered[:SLOWEST]]
    if others:
        told.append(f"{len(others)} more take longer than {LONG:.0f} s, and no docstring says why:")
        told += [f"   {result.seconds:.1f} {result.what}" for result in others]
    return told


def failed(results: t.Sequence[Result]) -> t.List[str]:
    rows = [
        (result.lane, f"{result.what}{f': {result.why}' if result.why else ''}")
        for result in results
        if result.outcome == "failed"
    ]
    return table(("lane", "failed"), rows) if rows else []


def not_shown(results: t.Sequence[Result], beyond: t.Sequence[t.Sequence[str]]) -> t.List[str]:
    """What was not shown, why, and the command that brings it. ``beyond``: rows on what was not even tried."""
    by_need: t.Dict[Need, t.Counter[str]] = {}
    for result in results:
        if result.outcome == "skipped":
            for need in told_by(result.why):
                by_need.setdefault(need, collections.Counter())[result.lane] += 1
    rows = [
        (", ".join(f"{count} of {lane}" for lane, count in counts.items()), need.told, need.remedy or "-")
        for need, counts in by_need.items()
    ]
    return table(("not shown", "why", "what brings it"), [*rows, *beyond]) if rows or beyond else []


def counts(results: t.Sequence[Result]) -> str:
    """The last line, which programs read."""
    number = collections.Counter(result.outcome for result in results)
    return f"{number['passed']} passed, {number['failed']} failed" + (
        f", {number['skipped']} skipped" if number["skipped"] else ""
    )


def tell(results: t.Sequence[Result], beyond: t.Sequence[t.Sequence[str]], seconds: float, processors: int) -> None:
    for part in (lanes(results), slowest(results), failed(results), not_shown(results, beyond)):
        if part:
            print("", *part, sep="\n")
    print(
        f"\n{seconds:.0f} s in all, on {processors} processor{'' if processors == 1 else 's'}\n{counts(results)}",
        flush=True,
    )
