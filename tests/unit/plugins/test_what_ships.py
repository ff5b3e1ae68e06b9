# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module carries what it needs: Ansible's own finder says which files travel to a host, and each module has a budget.

Ansible follows every import that it reads, also one inside a function or for the type checker only. On the host the
files are compiled anew in each call, so what is not needed costs time there as well. This is not beside the other tests
of modules, because there ansible-test lets nothing but module_utils of Ansible be found.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import math
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.luksmith.luks.tests import kept
from ansible_collections.luksmith.luks.tests.tools import importable
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks import test_rooms

ROOT = pathlib.Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.xdist_group("what ships")  # one process asks, once

MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))

# KiB of this collection's sources, with the module's own. Raise a figure only for what the module cannot do without.
BUDGETS = {
    "audit": 737,
    "audit_host": 3,
    "audit_step": 777,
    "escrow_entry": 5,
    "fleet_report": 10,
    "header_backup": 643,
    "keyfile": 100,
    "keyslots": 901,
    "keyslots_info": 540,
    "reveal": 5,
    "role_options": 3,
    "rotate_host": 5,
    "rotation_entry": 11,
    "rotation_step": 1002,
    "test_volumes": 468,
    "vault_entry": 5,
    "verify_volume": 545,
    "volumes_info": 252,
}

# What a module must not carry, as patterns of paths below plugins/module_utils/.
READING = ("_luks/apply/*", "_luks/plan/*", "_luks/task/parse.py", "_luks/audit/*", "_luks/backup/*")
ENGINE = ("_luks/header/*", "_luks/unlock/*", "_luks/apply/*", "_luks/plan/*")
KEYS = ("_luks/unlock/*", "_luks/crypto/*", "_luks/task/*")
FORBIDDEN: t.Dict[str, t.Tuple[str, ...]] = {
    "keyslots_info": READING,
    "verify_volume": (*READING, "_luks/fixtures/*"),
    "volumes_info": (*READING, *KEYS, "_luks/header/*/codec.py", "_luks/files.py"),
    "keyfile": ENGINE,
    "audit": ("_luks/apply/*", "_luks/plan/*", "_luks/backup/restore*"),
    "audit_step": ("_luks/apply/*", "_luks/plan/*", "_luks/backup/restore*"),
    "header_backup": ("_luks/plan/planner.py", "_luks/audit/*"),
    "keyslots": ("_luks/audit/*", "_luks/backup/*", "_luks/fixtures/*"),
    "test_volumes": ("_luks/apply/*", "_luks/audit/*", "_luks/backup/*", "_luks/usecases/*"),
    "rotation_step": ("_luks/audit/*", "_luks/backup/restore*", "_luks/fixtures/*"),
}
# Values without an import of the engine, by which every module tells what was interrupted.
ALWAYS = ("_luks/plan/actions.py",)

# In a process of its own: Ansible's collection loader and the one of tests/tools/register.py cannot live together.
_FINDER = """
import datetime, inspect, io, json, pathlib, sys, zipfile
from ansible.executor import module_common
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader([sys.argv[1]])
PACKAGE = "ansible_collections/luksmith/luks/plugins/module_utils/"
shipped = {}
for path in map(pathlib.Path, sys.argv[2:]):
    source, payload = path.read_bytes(), zipfile.ZipFile(io.BytesIO(), "w")
    arguments = [path.stem, f"ansible_collections.luksmith.luks.plugins.modules.{path.stem}", source, payload]
    # ansible-core 2.19 and later
    if "extension_manager" in inspect.signature(module_common.recursive_finder).parameters:
        from ansible._internal._ansiballz import _builder
        arguments += [datetime.datetime(2026, 1, 1), _builder.ExtensionManager.create(task_vars={})]
    module_common.recursive_finder(*arguments)
    files = {item.filename: item.file_size for item in payload.infolist()}
    assert "ansible/module_utils/basic.py" in files
    ours = {name[len(PACKAGE):]: size for name, size in files.items() if name.startswith(PACKAGE)}
    shipped[path.stem] = {f"modules/{path.name}": len(source), **ours}
print(json.dumps(shipped))
"""

Files = t.Dict[str, int]


def found(*modules: pathlib.Path) -> t.Dict[str, Files]:
    """What Ansible ships with each module: paths below plugins/module_utils/ (and the module's own) -> bytes."""
    environment = {**os.environ, "ANSIBLE_HOME": str(ROOT / ".cache" / "ansible"), "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-c", _FINDER, str(importable.collections_path()), *map(str, modules)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return t.cast(t.Dict[str, Files], json.loads(done.stdout.splitlines()[-1]))


UTILS = "ansible_collections.luksmith.luks.plugins.module_utils"
PLANTED = {
    "alone": f"from {UTILS}._module.runner import run_module\n",
    "lazy": f"def late():\n    from {UTILS}._luks.usecases.amend import amend\n    return amend\n",
}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> t.Dict[str, Files]:
    version = importlib.metadata.version("ansible-core")
    recipe = ["what ships", version, kept.sources("plugins"), pathlib.Path(__file__).read_text()]
    made = kept.value(recipe, lambda: json.dumps(_all_shipped(tmp_path_factory.mktemp("modules"))).encode())
    return t.cast(t.Dict[str, Files], json.loads(made))


def _all_shipped(folder: pathlib.Path) -> t.Dict[str, Files]:
    for name, source in PLANTED.items():
        (folder / f"{name}.py").write_text(source)
    return found(*(ROOT / "plugins" / "modules" / f"{name}.py" for name in MODULES), *folder.glob("*.py"))


def over_budget(name: str, files: Files, budget: int) -> str:
    """A sentence with the largest files if they are more than ``budget`` KiB, else nothing."""
    kib = math.ceil(sum(files.values()) / 1024)
    if kib <= budget:
        return ""
    largest = sorted(files.items(), key=lambda item: -item[1])[:12]
    told = ", ".join(f"{path} {size / 1024:.1f}" for path, size in largest)
    return f"{name} ships {kib} KiB in {len(files)} files, and its budget is {budget} KiB. The largest ones: {told}"


def not_wanted(name: str, files: Files) -> t.List[str]:
    """A sentence for each file that the module must not carry, with the files that import it."""
    importers: t.Dict[str, t.Set[str]] = {}
    for one in test_rooms.imports_of(test_rooms.ENGINE):
        importers.setdefault(_path(one.imported), set()).add(_path(one.importer))
    sentences = []
    for path in sorted(files):
        forbidden = any(fnmatch.fnmatch(path, pattern) for pattern in FORBIDDEN.get(name, ()))
        if forbidden and _has_code(path) and path not in ALWAYS:
            through = ", ".join(sorted(importers.get(path, set()) & set(files))) or "the module"
            sentences.append(f"{name} ships {path}, imported by {through}")
    return sentences


def _has_code(path: str) -> bool:
    return not path.endswith("__init__.py")  # empty, and Ansible adds those of each folder


def _path(dotted: str) -> str:
    return f"_luks/{dotted.replace('.', '/')}.py"


@pytest.mark.parametrize("name", MODULES)
def test_within_the_budget(name: str, shipped: t.Dict[str, Files]) -> None:
    """The first one takes longer than 5 seconds: Ansible looks for the files of all modules, once for this file."""
    assert over_budget(name, shipped[name], BUDGETS[name]) == ""


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_only_what_it_needs(name: str, shipped: t.Dict[str, Files]) -> None:
    assert not_wanted(name, shipped[name]) == []


@pytest.mark.parametrize("pattern", sorted({pattern for patterns in FORBIDDEN.values() for pattern in patterns}))
def test_every_rule_is_about_something(pattern: str) -> None:
    """A pattern that fits no file, because that got another name, would forbid nothing."""
    assert list((ROOT / "plugins" / "module_utils").glob(pattern))


def test_every_budget_is_that_of_a_module() -> None:
    assert sorted(BUDGETS) == MODULES


def test_the_runner_does_not_pull_the_engine_in(shipped: t.Dict[str, Files]) -> None:
    """The edge to Ansible, which every module has: the archive's importer, errors, words and the values of actions."""
    files = [path for path in shipped["alone"] if _has_code(path) and not path.startswith("_module/")]
    assert sorted(files) == [
        "_luks/archive.py",
        "_luks/errors.py",
        "_luks/plan/actions.py",
        "_luks/result/actions.py",
        "_luks/word.py",
        "modules/alone.py",
    ]


def test_a_lazy_import_counts_and_is_told(shipped: t.Dict[str, Files]) -> None:
    sentences = not_wanted("keyslots_info", shipped["lazy"])
    assert "keyslots_info ships _luks/plan/planner.py, imported by _luks/usecases/planning.py" in sentences
    told = over_budget("keyslots_info", {"_luks/plan/planner.py": 6000}, 5)
    assert "keyslots_info ships 6 KiB" in told and "_luks/plan/planner.py 5.9" in told
