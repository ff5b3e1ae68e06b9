# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of lanes: every test has one, and what the documentation says of lanes is so."""

from __future__ import annotations

import re
import typing as t

import lanes
import pytest
from lane import ROOT

EVERY_FILE = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "tests").rglob("test_*.py")
    if path.relative_to(ROOT).parts[1] != "integration"
)
DOCUMENTS = (
    "CONTRIBUTING.md",
    "README.md",
    "docs/security.md",
    "docs/transactions.md",
    "docs/rotation.md",
    "docs/virtual-machines.md",
    "docs/peers.md",
)
SIZES = ("default", "full", "long")


def test_every_file_with_tests_belongs_to_one_lane_that_runs_it() -> None:
    running = {name: lanes.files_of(name) for name, lane in lanes.LANES.items() if lane.paths}
    for file in EVERY_FILE:
        runs = [
            name
            for name, paths in running.items()
            if any(file == path or file.startswith(f"{path}/") for path in paths)
        ]
        assert runs == [lanes.lane_of(f"{file}::test_x")], file


def test_what_a_lane_names_is_there() -> None:
    assert [path for lane in lanes.LANES.values() for path in lane.paths if not (ROOT / path).exists()] == []


def test_the_full_size_has_all_that_is_not_longer_and_each_once() -> None:
    full = lanes.of_size("full")
    assert len(full) == len(set(full))
    assert set(lanes.of_size("default")) < set(full)
    assert set(lanes.LANES) - set(full) == {
        name for name, lane in lanes.LANES.items() if lane.size in ("long", "by name")
    }


def _rows() -> t.Dict[str, str]:
    """Lane and size, from the table of the README."""
    rows = [line.split("|") for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    return {
        name: cells[3].strip() for cells in rows if len(cells) == 6 for name in re.findall(r"`([a-z-]+)`", cells[1])
    }


def test_the_readme_says_which_lane_is_in_which_size() -> None:
    expected = {name: lane.size for name, lane in lanes.LANES.items()}
    assert _rows() == {**expected, "oldest": "full", "matrix": "long"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_of_the_documentation_name_lanes_that_there_are(document: str) -> None:
    for command in re.findall(r"tests/run((?: [a-z][a-z0-9.@-]*)*)", (ROOT / document).read_text()):
        for word in command.split():
            assert word.partition("@")[0] in {*lanes.LANES, *lanes.ALIASES, *SIZES}, (document, command)
