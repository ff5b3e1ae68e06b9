# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario of docs/testing_your_role.md with molecule, as somebody has it who copied the page into a role's folder.

A right role passes, twice in a row; each wrong one fails, in the step and with the words that say what is wrong.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.guides import your_role
from ansible_collections.luksmith.luks.tests.guides.guide import PATIENCE, collections
from ansible_collections.luksmith.luks.tests.tools import playing

MOLECULE = os.environ.get("LUKSMITH_MOLECULE", "")
pytestmark = [
    pytest.mark.skipif(not MOLECULE, reason="needs molecule: tests/run molecule"),
    pytest.mark.timeout(3 * PATIENCE),
]

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return playing.shared_folder(tmp_path_factory)


@pytest.fixture
def project(tmp_path: pathlib.Path, shared: pathlib.Path) -> t.Callable[..., t.Tuple[int, t.List[str], str]]:
    """``molecule test`` on the page with some changes: its exit code, the steps that succeeded, and what it said."""
    programs = pathlib.Path(MOLECULE).parent
    environment = {
        **playing.outside(),
        "ANSIBLE_COLLECTIONS_PATH": str(collections(shared)),
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{programs}:{os.environ['PATH']}",
    }

    def run(changes: t.Optional[t.Mapping[str, t.Tuple[str, str]]] = None) -> t.Tuple[int, t.List[str], str]:
        your_role.copied_to(tmp_path / "role" / "molecule" / "default", changes)
        done = subprocess.run(
            [MOLECULE, "test", "--no-command-borders"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path / "role",
            env=environment,
            timeout=PATIENCE,
        )
        said = _COLOURS.sub("", done.stdout + done.stderr)
        # As they end: its table at the end has a step that failed as successful (molecule 26.10, idempotence).
        steps = re.findall(r"^INFO +default ➜ (\w+): Executed: Successful", said, re.MULTILINE)
        return done.returncode, steps, " ".join(said.split())

    return run


def steps_of_the_page() -> t.List[str]:
    return re.findall(r"^    - (\w+)", your_role.files()["molecule.yml"].partition("test_sequence:")[2], re.MULTILINE)


def test_a_right_role_twice_in_a_row(project: t.Callable[..., t.Any]) -> None:
    """A whole run of molecule, twice: a minute each."""
    for _time in range(2):
        code, steps, said = project()
        assert code == 0 and steps == steps_of_the_page(), said


# Which steps are over when this one fails, in the sequence of the page; destroy comes after each failure.
BEFORE = {
    "prepare": ["destroy", "syntax"],
    "check": ["destroy", "syntax", "prepare"],
    "check_mode": ["destroy", "syntax", "prepare", "check"],
    "idempotence": ["destroy", "syntax", "prepare", "check", "verify", "converge"],
    "verify": ["destroy", "syntax", "prepare", "check", "verify", "converge", "idempotence"],
}


@pytest.mark.parametrize("case", your_role.WRONG)
def test_a_wrong_role_fails(case: str, project: t.Callable[..., t.Any]) -> None:
    """A whole run of molecule: up to a minute."""
    changes, step, told = your_role.WRONG[case]
    code, steps, said = project(changes)
    assert code != 0 and steps == [*BEFORE[step], "destroy"], said
    assert told in said, said
