# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/testing_your_role.md is the scenario that it shows, and its playbooks run. The lane molecule runs molecule."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
import yaml
from ansible_collections.luksmith.luks.plugins.module_utils._luks.fixtures import recipe
from ansible_collections.luksmith.luks.tests.guides import your_role
from ansible_collections.luksmith.luks.tests.guides.guide import PATIENCE, PLAYBOOK, ROOT, collections
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume
from ansible_collections.luksmith.luks.tests.tools import playing

INSTALLER, ADMIN, BREAK_GLASS = "winter-2025", "correct horse battery staple", "in-case-of-fire"
LICENCE = 3  # lines


def test_the_page_shows_all_files_of_the_scenario() -> None:
    there = {}
    for path in sorted(your_role.SCENARIO.rglob("*.yml")):
        first, *rest = path.read_text(encoding="utf-8").splitlines(keepends=True)
        there[str(path.relative_to(your_role.SCENARIO))] = "".join([first, *rest[LICENCE:]])
    assert your_role.files() == there
    assert not [path for path in your_role.SCENARIO.rglob("*") if path.is_file() and path.suffix != ".yml"]


def test_the_page_names_every_option_of_a_volume_and_of_a_keyslot() -> None:
    text = your_role.PAGE.read_text(encoding="utf-8")
    unsaid = {"state", "label", "key_size", "keyslot"}
    for option in {*recipe.VOLUME_OPTIONS, *recipe.KEYSLOT_OPTIONS} - unsaid:
        assert f"`{option}" in text or f"{option}: " in text, option
    for word in (*recipe.TOKENS, *recipe.INTERRUPTED, *recipe.COPIES):
        assert word in text


def test_the_sequence_has_every_step() -> None:
    steps = yaml.safe_load(your_role.files()["molecule.yml"])["scenario"]["test_sequence"]
    names = [step.split()[0] for step in steps]
    assert steps[0] == steps[-1] == "destroy"
    assert names.index("check") < names.index("converge") < names.index("idempotence") < names.index("verify", 6)
    playbooks = [step.split()[1] for step in steps if " " in step]
    assert set(playbooks) == {"check_mode.yml", "verify.yml"} <= set(your_role.files())


@pytest.fixture
def scenario(tmp_path: pathlib.Path, shared: pathlib.Path) -> t.Callable[..., t.Any]:
    """Runs playbooks of the page in one call. It returns the exit code, the output, and what each playbook changed."""
    folder = your_role.copied_to(tmp_path / "scenario")
    environment = {
        **playing.outside(),
        **playing.environment(shared, ROOT, PLAYBOOK),
        "ANSIBLE_COLLECTIONS_PATH": str(collections(shared)),
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "true",
        "LC_ALL": "C.UTF-8",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path),
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
    }

    def run(*names: str) -> t.Tuple[int, str, t.List[int]]:
        command = [str(PLAYBOOK), "-i", "inventory/hosts.yml", *(f"{name}.yml" for name in names)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env=environment,
            timeout=PATIENCE,
        )
        output = done.stdout + done.stderr
        recaps = output.split("PLAY RECAP")[1:]
        totals = [sum(map(int, re.findall(r" changed=(\d+) ", recap))) for recap in recaps]
        return done.returncode, output, [total - before for before, total in zip([0, *totals], totals)]

    return run


@pytest.mark.needs("ansible-playbook", "cryptsetup")
def test_the_role_of_the_page(scenario: t.Callable[..., t.Any], tmp_path: pathlib.Path) -> None:
    """It may take 15 s: six playbooks, and two more in check mode."""
    code, output, changed = scenario("prepare", "check_mode", "converge", "converge", "verify")
    assert code == 0, output
    assert [bool(number) for number in changed] == [True, False, True, False, False], output
    for name in ("data.img", "old.img"):
        volume = Luks2Volume(tmp_path / "volumes" / name, tmp_path)
        assert [volume.opens(text) for text in (INSTALLER, ADMIN, BREAK_GLASS)] == [False, True, True]
    code, output, changed = scenario("destroy")
    assert code == 0 and changed == [1] and not (tmp_path / "volumes").exists(), output


MORE = """

def test_it_is_a_volume(tmp_path):
    path = tmp_path / "volume"
    for _time in range(2):
        make_test_volume(path, secrets=[{"passphrase": "x"}])
        assert path.read_bytes()[:4] == b"LUKS"
        assert remove_test_volume(path) and not remove_test_volume(path)


def test_what_is_wrong_is_told(tmp_path):
    with pytest.raises(Exception, match="Format is 'luks3'. Use one of luks2, luks1, qcow2"):
        make_test_volume(tmp_path / "volume", format="luks3")


def test_that_fails(tmp_path):
    assert make_test_volume(tmp_path / "volume")["keyslots"] == [0]
"""


def test_the_example_for_pytest_in_a_project_of_somebody_else(tmp_path: pathlib.Path) -> None:
    """With what the page says and nothing else: no plugin, no configuration, no Ansible. A second or two."""
    blocks = re.findall(r"^```python\n(.*?)^```$", your_role.PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "ansible.py").write_text("raise ImportError('there is no Ansible here')\n")
    place = collections(tmp_path / "lib")
    project = tmp_path / "project"
    project.mkdir()
    imports = "import pytest\n\n" + blocks[0].replace(
        "import make_test_volume", "import make_test_volume, remove_test_volume"
    )
    (project / "test_mine.py").write_text(imports + MORE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'scratch'}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=project,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{place}:{tmp_path / 'lib'}",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        timeout=PATIENCE,
    )
    assert done.returncode == 1 and "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    assert "FAILED test_mine.py::test_that_fails - assert [0, 1] == [0]" in done.stdout
