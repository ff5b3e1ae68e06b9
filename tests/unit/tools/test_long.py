# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The long forms go on where they were stopped."""

from __future__ import annotations

import pathlib
import sys

import long
import pytest

# Stands for tests/run: notes its arguments, and ends as the file of its first argument's name says.
STAND_IN = """
import pathlib, sys
here = pathlib.Path(sys.argv[1])
with (here / "calls").open("a") as file:
    file.write(" ".join(sys.argv[2:]) + "\\n")
sys.exit(int((here / sys.argv[2]).read_text()))
"""
PARTS = (
    long.Part("one", ("one", "--", "--cases", "9"), ("--again",)),
    long.Part("two", ("two",)),
    long.Part("three", ("three",)),
)


class Place:
    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        for part in PARTS:
            self.ends(part.name, 0)

    def ends(self, part: str, code: int) -> None:
        (self.folder / part).write_text(str(code))

    def run(self, *names: str) -> int:
        return long.run(names, PARTS, self.folder / "stamps", (sys.executable, "-c", STAND_IN, str(self.folder)))

    def calls(self) -> list[str]:
        file = self.folder / "calls"
        found = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return found


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    return Place(tmp_path)


def test_what_passed_is_not_run_again_and_what_failed_is(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    place.ends("two", 1)
    assert place.run() == 1
    assert place.calls() == ["one -- --cases 9 --again", "two", "three"]
    assert capfd.readouterr().out.splitlines()[-1] == "2 passed, 1 failed"
    place.ends("two", 0)
    assert place.run() == 0
    assert place.calls() == ["two"]
    assert capfd.readouterr().out.splitlines()[-1] == "3 passed, 0 failed"


def test_a_part_that_was_stopped_goes_on_with_what_it_has(place: Place) -> None:
    place.ends("one", 130)
    with pytest.raises(KeyboardInterrupt):
        place.run()
    assert place.calls() == ["one -- --cases 9 --again"]
    place.ends("one", 0)
    assert place.run("one") == 0
    assert place.calls() == ["one -- --cases 9"]


def test_a_part_that_is_not_there_is_refused(place: Place) -> None:
    with pytest.raises(SystemExit, match="no such part: four; there are one, two, three"):
        place.run("four")


def test_another_state_of_the_sources_has_another_name(tmp_path: pathlib.Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "a.py").write_text("1")
    first = long.state_of_sources(tmp_path)
    (tmp_path / "README.md").write_text("documentation")
    assert long.state_of_sources(tmp_path) == first
    (tmp_path / "plugins" / "a.py").write_text("2")
    assert long.state_of_sources(tmp_path) != first
