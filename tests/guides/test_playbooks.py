# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks luksmith.luks.audit and luksmith.luks.rotate are not green where they had nothing to do."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils.test_volumes import make_test_volume
from ansible_collections.luksmith.luks.tests.guides.guide import HOST, PATIENCE, PLAYBOOK, ROOT, collections
from ansible_collections.luksmith.luks.tests.tools import playing

pytestmark = pytest.mark.needs("ansible-playbook")

BOTH = ("audit", "rotate")
ALL = f"all: {{children: {{images: {{hosts: {{one: {HOST}, two: {HOST}}}}}, empty: {{hosts: {{}}}}}}}}"
# The hosts of the inventory, the value of audit_hosts and the like, --limit, and which hosts that asks, or why none.
NONE: t.Dict[str, t.Tuple[str, t.Any, str, str]] = {
    "no host": ("all: {hosts: {}}", None, "", "No host of the inventory matches all. Nothing was changed."),
    "a mistyped pattern": (ALL, "imgaes", "", "No host of the inventory matches imgaes. Nothing"),
    "an empty group": (ALL, "empty", "", "No host of the inventory matches empty. Nothing"),
    "a list": (ALL, ["empty", "imgaes"], "", "No host of the inventory matches empty,imgaes. Nothing"),
    "a limit beside it": (ALL, "one", "two", "No host of the inventory matches one with --limit two. Nothing"),
    "a limit by patterns": (ALL, "images", "all:!images,empty", "pattern and/or --limit leaves us with no hosts"),
    "a mistyped limit": (ALL, None, "thre", "pattern and/or --limit leaves us with no hosts"),
}
SOME: t.Dict[str, t.Tuple[str, t.Any, str, t.Sequence[str]]] = {
    "all": (ALL, None, "", ["one", "two"]),
    "a list": (ALL, ["empty", "two"], "", ["two"]),
    "exclusion": (ALL, "all:!one", "", ["two"]),
    "a limit": (ALL, None, "one,thre", ["one"]),
    "a limit from a file": (ALL, "images", "@limit", ["two"]),
    "this machine": (f"all: {{vars: {HOST}}}", "localhost", "", ["localhost"]),
    "this machine and a limit": (f"all: {{vars: {HOST}}}", "localhost", "localhost", ["localhost"]),
}


class Fleet:
    def __init__(self, folder: pathlib.Path, shared: pathlib.Path) -> None:
        self.folder = folder
        self.environment = {
            **playing.outside(),
            **playing.environment(shared, ROOT, PLAYBOOK),
            "ANSIBLE_COLLECTIONS_PATH": str(collections(shared)),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        }

    def play(
        self, role: str, inventory: str, hosts: t.Any, limit: str, *flags: str, **options: t.Any
    ) -> t.Tuple[int, str]:
        (self.folder / "inventory.yml").write_text(inventory)
        (self.folder / "limit").write_text("two\n")
        (self.folder / "password").write_text("of the vault\n")
        given: t.Dict[str, t.Any] = {
            "block_devices": False,
            "crypttab": str(self.folder / "crypttab"),
            **({} if hosts is None else {"hosts": hosts}),
            **({"generation": "2026-11", "vault_file": str(self.folder / "store.yml")} if role == "rotate" else {}),
            **options,
        }
        command = [
            *(str(PLAYBOOK), "-i", "inventory.yml", f"luksmith.luks.{role}"),
            *([] if "serial" in options else ["--check"]),  # a dry run has one batch
            *("-e", json.dumps({f"{role}_{name}": value for name, value in given.items()})),
            *("--vault-password-file", "password"),
            *(("--limit", limit) if limit else ()),
            *flags,
        ]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=self.environment,
            timeout=PATIENCE,
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def fleet(tmp_path: pathlib.Path, shared: pathlib.Path) -> Fleet:
    return Fleet(tmp_path, shared)


def short(cases: t.Iterable[str], role: str, case: str) -> t.List[t.Any]:
    """All of them for both roles in full, one of them otherwise."""
    return [
        pytest.param(one, name, marks=() if (one, name) == (role, case) else pytest.mark.full)
        for one in BOTH
        for name in cases
    ]


@pytest.mark.parametrize(("role", "case"), short(NONE, "rotate", "a limit beside it"))
def test_no_host(role: str, case: str, fleet: Fleet) -> None:
    """Ansible ends at once: a second."""
    inventory, hosts, limit, told = NONE[case]
    code, said = fleet.play(role, inventory, hosts, limit)
    assert code != 0 and told in said, said


@pytest.mark.full
@pytest.mark.parametrize("role", BOTH)
def test_a_syntax_check_needs_no_host(role: str, fleet: Fleet) -> None:
    """Ansible ends at once: a second."""
    code, said = fleet.play(role, "all: {hosts: {}}", "servers", "", "--syntax-check")
    assert code == 0, said


@pytest.mark.full
@pytest.mark.parametrize(("role", "case"), [(role, case) for role in BOTH for case in SOME])
def test_the_hosts_that_are_chosen(role: str, case: str, fleet: Fleet) -> None:
    """They have no volume, and that is expected."""
    inventory, hosts, limit, asked = SOME[case]
    code, said = fleet.play(role, inventory, hosts, limit, allow_empty=True)
    assert code == 0, said
    recap = said.rpartition("PLAY RECAP")[2]
    assert [host for host in ("localhost", "one", "two") if f"{host} : ok=" in recap] == sorted(asked)


NOTHING = "No LUKS volume was found on any host of the play, so that nothing was"
# For each host, patterns as the role has them; then what it says, or nothing.
FOUND: t.Dict[str, t.Tuple[t.Sequence[str], t.Sequence[str], str]] = {
    "no host has one": ([], [], NOTHING),
    "no pattern matches": (["imgaes/*"], ["imgaes/*"], NOTHING),
    "one host has none": (["one/*.img"], [], ""),
    "a pattern that only one host has": (["*/*.img"], ["one/*.img", "*/*.img"], ""),
    "one of the patterns matches nowhere": (
        ["one/*.img", "imgaes/*"],
        ["*/*.img"],
        "of {role}_paths: {folder}/imgaes/* (of one). ",
    ),
}


def found(role: str, case: str, fleet: Fleet, allow_empty: bool, serial: t.Any = None) -> t.Tuple[int, str]:
    secret = {"label": "admin", "passphrase": "x"}
    (fleet.folder / "one").mkdir()
    make_test_volume(fleet.folder / "one" / "data.img", secrets=[secret])
    hosts = {
        name: {f"{role}_paths": [f"{fleet.folder}/{pattern}" for pattern in patterns]}
        for name, patterns in zip(("one", "two"), FOUND[case])
    }
    local = {"ansible_connection": "local", "ansible_python_interpreter": json.loads(json.dumps(PYTHON))}
    inventory = json.dumps({"all": {"hosts": hosts, "vars": local}})
    options = {"replaces": [secret], "store_create": True} if role == "rotate" else {}
    if serial:
        options["serial"] = serial
    return fleet.play(role, inventory, None, "", allow_empty=allow_empty, **options)


PYTHON = HOST.partition("ansible_python_interpreter: ")[2].rstrip("}")


@pytest.mark.parametrize(("role", "case"), short(FOUND, "audit", "one of the patterns matches nowhere"))
def test_nothing_was_found(role: str, case: str, fleet: Fleet) -> None:
    """One playbook for two hosts: some seconds."""
    told = FOUND[case][2].format(role=role, folder=fleet.folder)
    code, said = found(role, case, fleet, allow_empty=False)
    assert (code != 0, told in said) == (bool(told), True), said
    assert (NOTHING in said) == (told == NOTHING)


@pytest.mark.full
def test_nothing_was_found_in_any_batch(fleet: Fleet) -> None:
    """One playbook for two hosts, one after the other: some seconds."""
    code, said = found("rotate", "no host has one", fleet, allow_empty=False, serial=1)
    before, _play, last = said.rpartition("PLAY [Rotate the secrets")
    assert code != 0 and "two : ok=" in last and NOTHING in last, said
    assert "PLAY [Rotate the secrets" in before and NOTHING not in before, "judged after the last batch only"


@pytest.mark.full
@pytest.mark.parametrize(
    ("role", "serial", "case"),
    [
        ("rotate", 1, "no host has one"),
        *((role, None, case) for role in BOTH for case in ("no host has one", "one of the patterns matches nowhere")),
    ],
)
def test_nothing_is_what_was_expected(role: str, serial: t.Any, case: str, fleet: Fleet) -> None:
    """One playbook for two hosts, with ``serial`` one after the other: some seconds."""
    code, said = found(role, case, fleet, allow_empty=True, serial=serial)
    assert code == 0, said
    recap = said.rpartition("PLAY RECAP")[2]
    assert all(f"{host} : ok=" in recap for host in ("one", "two")), said
