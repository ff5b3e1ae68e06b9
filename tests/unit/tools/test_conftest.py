# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests/conftest.py does for all tests, seen from outside: a pytest of its own, in two processes, on a few tests
that end as they say.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import importable
import pytest

TESTS = """
import os
import pathlib

import pytest

HERE = pathlib.Path(__file__).parent

def note(what):
    with (HERE / "notes").open("a") as file:
        file.write(f"{what} {os.environ.get('PYTEST_XDIST_WORKER')}\\n")

@pytest.mark.xdist_group("device")
@pytest.mark.parametrize("number", range(6))
def test_of_a_group(number):
    note("group")
    assert number != 5 or (HERE / "mended").exists()

@pytest.mark.parametrize("number", range(6))
def test_alone(number):
    "With a docstring."
    note("alone")
    assert number != 5 or (HERE / "mended").exists()

def test_that_forks():
    note("forks")
    if (HERE / "mended").exists():
        return
    child = os.fork()
    if not child:
        raise RuntimeError("the child does not leave")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 70, "the child ended otherwise"

@pytest.mark.needs("ceph-mon", "stress-ng")
def test_with_needs():
    pass

@pytest.mark.full
def test_beyond_the_short_form():
    note("full")
"""


class Place:
    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / "test_it.py").write_text(TESTS)
        (folder / "pytest.ini").write_text("[pytest]\n")

    def run(self, *arguments: str) -> t.Dict[str, t.Dict[str, t.Any]]:
        """What the ledger says of each test, by the name of the test."""
        plugin = "ansible_collections.luksmith.luks.tests.conftest"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "2",
            "--dist",
            "loadgroup",
            "-p",
            plugin,
            "--ledger",
            "ledger.json",
            *arguments,
        ]
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        own.update(PATH="/nowhere", PYTHONPATH=str(importable.collections_path()), PYTHONDONTWRITEBYTECODE="1")
        (self.folder / "notes").unlink(missing_ok=True)
        self.told = subprocess.run(
            command, cwd=self.folder, env=own, capture_output=True, text=True, check=False
        ).stdout
        return {row["name"].partition("::")[2]: row for row in json.loads((self.folder / "ledger.json").read_text())}

    def notes(self) -> t.List[str]:
        return (self.folder / "notes").read_text().splitlines()


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    return Place(tmp_path)


def test_needs_groups_and_children_that_come_back(place: Place) -> None:
    """It may take some seconds: two processes import pytest and the collection for it."""
    rows = place.run()
    # A child that comes back would run tests again.
    assert sorted(note.split()[0] for note in place.notes()) == ["alone"] * 6 + ["forks"] + ["group"] * 6, place.told
    assert rows["test_that_forks"]["outcome"] == "failed"
    assert "fork in a process that has threads:" in place.told and "the child ended otherwise" not in place.told
    assert (rows["test_alone[0]"]["documented"], rows["test_of_a_group[0]"]["documented"]) == (True, False)
    assert (rows["test_with_needs"]["outcome"], rows["test_with_needs"]["why"]) == (
        "skipped",
        "needs ceph-mon: apt install ceph-mon; needs stress-ng: apt install stress-ng",
    )
    assert "test_beyond_the_short_form" not in rows
    if pytest.version_tuple < (9, 2):  # newer ones lose groups (pytest-xdist issue 1386), and ansible-test has one
        assert len({note for note in place.notes() if note.startswith("group ")}) == 1


@pytest.mark.full
def test_the_full_size_has_more(place: Place) -> None:
    assert place.run("--size=full", "-k", "beyond")["test_beyond_the_short_form"]["outcome"] == "passed"


@pytest.mark.full
def test_what_failed_can_be_run_again_whether_it_is_of_a_group_or_not(place: Place) -> None:
    """It may take some seconds: three times two processes import pytest and the collection for it."""
    failed = {"test_of_a_group[5]", "test_alone[5]", "test_that_forks"}
    assert {name for name, row in place.run().items() if row["outcome"] == "failed"} == failed
    (place.folder / "mended").touch()
    assert {name: row["outcome"] for name, row in place.run("--lf").items()} == dict.fromkeys(failed, "passed")
    assert len(place.run("--lf")) > len(failed)
