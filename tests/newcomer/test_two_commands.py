# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's two commands, typed by an ordinary user who has just cloned the repository, on Debian as debootstrap
makes it.

What is tested is what is committed.
"""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.hosts import roots
from ansible_collections.luksmith.luks.tests.hosts.provided import provided
from ansible_collections.luksmith.luks.tests.needs import PACKAGES, Need
from ansible_collections.luksmith.luks.tests.newcomer.fresh import USER, Fresh

pytestmark = [pytest.mark.needs("debootstrap", "root"), pytest.mark.timeout(6 * 3600)]

# What the README asks for, and the certificates that pip brings along itself and git does not.
WHAT_THE_README_ASKS_FOR = ("ca-certificates", "git", "python3-venv")
TOOLS = ("chromium", "cryptsetup", "qemu-img", "strace")
ALL_TOOLS = tuple(sorted({*(PACKAGES[tool] for tool in TOOLS), "qemu-system-common"}))


def commands(readme: pathlib.Path) -> t.List[str]:
    """The lines of the code block below the heading "Two commands", comments and all."""
    section = readme.read_text().split("## Two commands\n")[1].split("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


def type_both(fresh: Fresh) -> str:
    """Clone, type the two commands, and hand back what the second one said."""
    if not (roots.ROOT / ".git").exists():
        pytest.skip(str(Need("a checkout of git", "git clone")))
    source = fresh.publish(roots.ROOT)
    fresh.type(f"git clone --quiet {source} luksmith.luks", "clone")
    before = fresh.files(f"/home/{USER}/luksmith.luks")
    demo, tests = commands(roots.ROOT / "README.md")
    assert demo.split("#")[0].strip() == "./demo/run"
    assert tests.split("#")[0].strip() == "./tests/run"

    said = fresh.type(f"cd luksmith.luks && {demo}", "demo")
    assert "\nDone. The playbook is demo/rotate.yml" in said
    assert said.rstrip().endswith(
        "Remember: whoever kept an old copy of a header and knows 'leaked' can still open that copy."
    )

    said = fresh.type(f"cd luksmith.luks && {tests}", "tests")
    assert re.fullmatch(r"[1-9]\d* passed, 0 failed(, \d+ skipped)?", said.splitlines()[-1]), said.splitlines()[-1]
    left = fresh.type("cd luksmith.luks && git status --porcelain", "status")
    assert left == ""
    assert fresh.files(f"/home/{USER}/luksmith.luks") == before
    return said


def not_shown(said: str, tool: str) -> bool:
    """Whether the table at the end says that ``tool`` is missing, and the command that brings it."""
    return any(
        f"needs {tool} " in line and line.endswith(f"apt install {PACKAGES[tool]}") for line in said.splitlines()
    )


@pytest.mark.parametrize("suite", roots.SUITES)
def test_a_machine_with_git_and_python(suite: str) -> None:
    """It takes as long as the default size of the tests, which it runs."""
    with Fresh(provided(lambda: roots.ensure(suite, WHAT_THE_README_ASKS_FOR)), suite) as fresh:
        said = type_both(fresh)
    assert [tool for tool in TOOLS if not not_shown(said, tool)] == []


@pytest.mark.full
@pytest.mark.parametrize("suite", roots.SUITES)
def test_a_machine_with_all_tools(suite: str) -> None:
    """It takes as long as the default size of the tests, which it runs."""
    with Fresh(provided(lambda: roots.ensure(suite, WHAT_THE_README_ASKS_FOR, ALL_TOOLS)), f"{suite}-tools") as fresh:
        said = type_both(fresh)
    assert [tool for tool in TOOLS if not_shown(said, tool)] == []
