# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order tests go to the processes: what takes long comes first, so that no core idles at the end.

Files stay together, because a fixture of a module lives only as long as tests of that module follow each other.
"""

from __future__ import annotations

import typing as t

# Where nothing is recorded yet: about how many seconds a test of this folder takes. Of any other folder: next to
# nothing.
USUAL: t.Mapping[str, float] = {
    "vm": 60.0,
    "hosts": 30.0,
    "rotation": 10.0,
    "secrets": 8.0,
    "guides": 6.0,
    "peers": 5.0,
    "browser": 4.0,
    "crash": 3.0,
    "interop": 2.0,
    "fuzz": 2.0,
    "property": 1.0,
}


class Piece(t.NamedTuple):
    """``group``: tests of one group run in one process, one after another; empty where there is none."""

    name: str
    group: str


def seconds_of(name: str, recorded: t.Mapping[str, float]) -> float:
    """What the test took the last time, else what is usual in its folder (``tests/FOLDER/...``)."""
    return recorded[name] if name in recorded else USUAL.get(name.split("/")[1] if name.count("/") > 1 else "", 0.01)


def slowest_first(tests: t.Sequence[Piece], recorded: t.Mapping[str, float]) -> t.List[int]:
    """The places of ``tests`` in their new order: files by the longest piece that cannot be divided, which is a group
    or a single test.
    """
    groups: t.Dict[str, float] = {}
    for test in tests:
        groups[test.group] = groups.get(test.group, 0.0) + seconds_of(test.name, recorded)
    longest: t.Dict[str, float] = {}
    for test in tests:
        piece = groups[test.group] if test.group else seconds_of(test.name, recorded)
        file = test.name.split("::")[0]
        longest[file] = max(longest.get(file, 0.0), piece)
    return sorted(range(len(tests)), key=lambda place: -longest[tests[place].name.split("::")[0]])
