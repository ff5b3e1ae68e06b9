# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guide as a program: its playbooks, in their order, run against small volumes in a folder.

Every YAML block is a playbook. Its variables hold what a reader replaces (paths, secrets), so that a test can give
other values on the command line, which take precedence over those of the play.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

from ansible_collections.luksmith.luks.tests.interop.module_process import keyslots
from ansible_collections.luksmith.luks.tests.tools import playing

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUIDES = ROOT / "docs" / "guides"
FIXTURES = ROOT / "tests" / "fixtures"
HOST = f"{{ansible_connection: local, ansible_python_interpreter: {sys.executable}}}"
PLAYBOOK = pathlib.Path(sys.executable).parent / "ansible-playbook"
# Seconds for one run, which takes half a minute of processor time at most.
PATIENCE = 1800
# The secrets of the fixtures, keyslots 0 and 1.
FIRST, SECOND = "winter-2025", "in-case-of-fire"
NEW, NEWER = "spring-2026-new", "summer-2026-newer"
CHEAP = {"type": "argon2id", "time": 4, "memory": 32, "parallel": 1}

_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^```yaml (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANY_BLOCK = re.compile(r"^(`{3,}|~{3,})(.*)$", re.MULTILINE)


def playbooks(guide: str) -> t.List[str]:
    return _BLOCK.findall((GUIDES / guide).read_text(encoding="utf-8"))


def ci_files(guide: str) -> t.Dict[str, str]:
    """Blocks with a name after "yaml": files of a continuous integration service."""
    return dict(_FILE.findall((GUIDES / guide).read_text(encoding="utf-8")))


def kinds_of_blocks(guide: str) -> t.Set[str]:
    return {info for _fence, info in _ANY_BLOCK.findall((GUIDES / guide).read_text(encoding="utf-8")) if info}


def unpack(folder: pathlib.Path, fixture: str, name: str = "") -> pathlib.Path:
    path = folder / (name or fixture)
    path.write_bytes(gzip.decompress((FIXTURES / f"{fixture}.gz").read_bytes()))
    return path


def cost_the_least(luks2: pathlib.Path) -> None:
    """Give keyslots 0 and 1 the minimum costs of a new keyslot, which added ones inherit instead of calibrating."""
    costs = ["--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "65536", "--pbkdf-parallel", "1"]
    for keyslot, secret in enumerate((FIRST, SECOND)):
        words = [
            "cryptsetup",
            "luksConvertKey",
            "--batch-mode",
            "--key-slot",
            str(keyslot),
            "--key-file",
            "-",
            *costs,
            str(luks2),
        ]
        subprocess.run(words, input=secret, text=True, check=True)


def write_both_keyslots(luks2: pathlib.Path) -> None:
    """Replace FIRST by NEW and SECOND by NEWER, with the module, which keeps a record of what it wrote."""
    entries = [
        {"old_secret": {"passphrase": old}, "new_secret": {"label": label, "passphrase": new}, "pbkdf": CHEAP}
        for old, label, new in ((FIRST, "team 2026", NEW), (SECOND, "break-glass", NEWER))
    ]
    assert keyslots(luks2, entries)["changed"]


@dataclasses.dataclass
class Outcome:
    code: int
    output: str

    @property
    def changed(self) -> int:
        return sum(map(int, re.findall(r" changed=(\d+)", self.output)))

    def plays(self) -> t.List[str]:
        """What each playbook said; a playbook of a guide is one play."""
        return re.split(r"^PLAY \[.*$", self.output, flags=re.MULTILINE)[1:]


class Reader:
    """Somebody who copies the playbooks of a guide into files and runs them."""

    def __init__(self, folder: pathlib.Path, shared: pathlib.Path, guide: str, **variables: t.Any) -> None:
        """``shared``: what all plays share, see playing.py."""
        self.folder = folder
        self.playbooks = playbooks(guide)
        self.variables = variables
        self.inventory = f"servers: {{hosts: {{server1: {HOST}}}}}\n"
        self.done: t.Set[int] = set()
        self._environment = {
            **os.environ,
            **playing.environment(shared, ROOT, PLAYBOOK),
            "ANSIBLE_COLLECTIONS_PATH": str(collections(shared)),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_CONFIG": str(folder / "none.cfg"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
        }

    def run(self, number: int, *options: str, ok: bool = True, **variables: t.Any) -> Outcome:
        """Playbook ``number``, from 0."""
        return self.run_in_a_row(number, options=options, ok=ok, **variables)

    def run_in_a_row(
        self, *numbers: int, options: t.Sequence[str] = (), ok: bool = True, **variables: t.Any
    ) -> Outcome:
        """Several, one after another, in one call of ansible-playbook."""
        self.done.update(numbers)
        for number in numbers:
            (self.folder / f"play{number}.yml").write_text(self.playbooks[number], encoding="utf-8")
        given = self.folder / "variables.json"
        given.write_text(json.dumps({**self.variables, **variables}), encoding="utf-8")
        given.chmod(0o600)
        inventory = self.folder / "inventory.yml"
        inventory.write_text(self.inventory, encoding="utf-8")
        password = self.folder / "password"
        password.write_text("password of the vault\n", encoding="utf-8")
        plays = [str(self.folder / f"play{number}.yml") for number in numbers]
        command = [
            str(PLAYBOOK),
            "-i",
            str(inventory),
            "-e",
            f"@{given}",
            "--vault-id",
            f"luks@{password}",
            *options,
            *plays,
        ]
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=self._environment,
            timeout=PATIENCE,
        )
        outcome = Outcome(ran.returncode, ran.stdout + ran.stderr)
        assert (outcome.code == 0) == ok, outcome.output
        return outcome

    def twice(self, number: int, **variables: t.Any) -> Outcome:
        """It does something, and then nothing more."""
        first = self.run(number, **variables)
        assert first.changed, first.output
        again = self.run(number, **variables)
        assert not again.changed, again.output
        return first


def collections(shared: pathlib.Path) -> pathlib.Path:
    """A folder in which Ansible finds this checkout; not in the checkout, which may be somebody else's."""
    folder = shared / "collections"
    link = folder / "ansible_collections" / "luksmith" / "luks"
    link.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        link.symlink_to(ROOT)
    return folder


def opens(volume: pathlib.Path, *secrets: str) -> t.Set[str]:
    """Those of ``secrets`` with which cryptsetup opens a raw volume."""
    found = set()
    for secret in secrets:
        done = subprocess.run(
            ["cryptsetup", "open", "--test-passphrase", "--key-file", "-", str(volume)],
            input=secret,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 2), done.stderr
        if not done.returncode:
            found.add(secret)
    return found
