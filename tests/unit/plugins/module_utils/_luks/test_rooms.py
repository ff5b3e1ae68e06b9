# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floors of the engine, measured from its imports: none runs upwards, and none is part of a circle.

Every import counts, wherever it stands: one inside a function or for the type checker only is a dependency too, and
Ansible ships what it names. docs/architecture.md says what each room is for.
"""

from __future__ import annotations

import ast
import pathlib
import typing as t

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[5]
ENGINE = ROOT / "plugins" / "module_utils" / "_luks"
PACKAGE = "ansible_collections.luksmith.luks.plugins.module_utils._luks"

# From the ground up: a room may import from the floors below its own, and from nothing else. Two rooms of one floor do
# not know each other.
FLOORS: t.Tuple[t.Tuple[str, ...], ...] = (
    ("archive",),
    ("errors", "required", "value_kinds", "word"),
    ("paths", "page_cache", "file_system"),
    ("files",),
    ("header",),
    ("crypto",),
    ("volume",),
    ("task",),
    ("unlock",),
    ("plan",),
    ("apply",),
    ("result",),
    ("usecases",),
    ("audit", "backup", "fixtures"),
    ("rotation",),
)
# Neither format knows the other one.
APART = (("header.luks1", "header.luks2"), ("header.luks2", "header.luks1"))


class Import(t.NamedTuple):
    importer: str
    imported: str
    place: str  # file:line

    @property
    def rooms(self) -> t.Tuple[str, str]:
        return self.importer.split(".")[0], self.imported.split(".")[0]


def imports_of(engine: pathlib.Path) -> t.List[Import]:
    """All imports between modules of the package, as dotted names from its root; what leaves it is called "..NAME"."""
    paths = {path: ".".join(path.relative_to(engine).with_suffix("").parts) for path in sorted(engine.rglob("*.py"))}
    files = {name.replace(".__init__", ""): path for path, name in paths.items()}
    found = []
    for name, path in files.items():
        shown, package = path.relative_to(engine.parents[2]), path.relative_to(engine).parent.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                targets = _targets(node, package)
            elif isinstance(node, ast.Import):
                targets = [f"..{alias.name}" for alias in node.names if alias.name.startswith("ansible")]
            else:
                continue
            for target in targets:
                module = target if target in files or target.startswith("..") else target.rpartition(".")[0]
                found.append(Import(name, module, f"{shown}:{node.lineno}"))
    return list(dict.fromkeys(found))


def _targets(node: ast.ImportFrom, package: t.Sequence[str]) -> t.List[str]:
    """Modules, or names in modules, of the package; the module alone where it is outside of it."""
    module = node.module or ""
    if node.level and node.level <= len(package) + 1:
        base = [*package[: len(package) - node.level + 1], *filter(None, module.split("."))]
    elif f"{module}.".startswith(f"{PACKAGE}."):
        base = list(filter(None, module[len(PACKAGE) :].split(".")))
    else:
        return [f"..{module}"] if node.level or module.startswith("ansible") else []
    return [".".join([*base, alias.name]) for alias in node.names]


def upward(imports: t.Iterable[Import]) -> t.Iterator[str]:
    """A sentence for each import that a floor forbids."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for one in imports:
        above, below = one.rooms
        if one.imported.startswith(".."):
            yield f"{one.place}: {one.importer} imports {one.imported[2:]}, which is outside of the engine"
        elif above not in floor or below not in floor:
            room = above if above not in floor else below
            yield f"{one.place}: {room} has no floor: FLOORS says which one a room is on"
        elif above != below and floor[below] >= floor[above]:
            where = "is above" if floor[below] > floor[above] else "is on the same floor as"
            yield f"{one.place}: {one.importer} imports {one.imported}, and {below} {where} {above}"
        elif (one.importer.rpartition(".")[0], one.imported.rpartition(".")[0]) in APART:
            yield f"{one.place}: {one.importer} imports {one.imported}: the formats do not know each other"


def circles(imports: t.Iterable[Import]) -> t.Iterator[str]:
    """A sentence for the first circle that is found from each module."""
    by_module: t.Dict[str, t.List[Import]] = {}
    for one in imports:
        by_module.setdefault(one.importer, []).append(one)
    done: t.Set[str] = set()
    for start in sorted(by_module):
        trail: t.List[Import] = []
        pending = [iter(by_module[start])]
        while pending:
            one = next(pending[-1], None)
            if one is None:
                done.add(trail[-1].imported if trail else start)
                pending.pop()
                if trail:
                    trail.pop()
                continue
            path = [start, *(step.imported for step in trail)]
            if one.imported in path:
                round_trip = [*trail, one][path.index(one.imported) :]
                steps = ", ".join(f"{step.importer} imports {step.imported}" for step in round_trip)
                yield f"{round_trip[0].place}: a circle: {steps}"
                return
            if one.imported not in done and one.imported in by_module:
                trail.append(one)
                pending.append(iter(by_module[one.imported]))


def test_no_import_runs_upwards() -> None:
    assert next(upward(imports_of(ENGINE)), None) is None


def test_no_imports_form_a_circle() -> None:
    assert next(circles(imports_of(ENGINE)), None) is None


def test_every_room_is_there() -> None:
    """A floor that names a room that is gone would let a new one of that name pass."""
    rooms = {path.stem for path in ENGINE.iterdir() if path.suffix == ".py" or any(path.glob("**/*.py"))} - {"__init__"}
    assert rooms == {room for rooms in FLOORS for room in rooms}


# What is planted (a file, and its text) -> the sentence about it
PLANTED: t.Dict[str, t.Tuple[t.Dict[str, str], str]] = {
    "upwards": (
        {"header/model.py": "\nfrom ..plan.types import Plan\n"},
        "header/model.py:2: header.model imports plan.types, and plan is above header",
    ),
    "beside": (
        {"audit/audit.py": "from ..backup import image\n"},
        "audit/audit.py:1: audit.audit imports backup.image, and backup is on the same floor as audit",
    ),
    "in a function": (
        {"crypto/kdf.py": "def late():\n    from ..task import secrets\n"},
        "crypto/kdf.py:2: crypto.kdf imports task.secrets, and task is above crypto",
    ),
    "of the other format": (
        {"header/luks1/codec.py": "from ..luks2 import binary\n"},
        "header/luks1/codec.py:1: header.luks1.codec imports header.luks2.binary: the formats do not know each other",
    ),
    "a room without a floor": (
        {"attic/box.py": "from ..errors import Refused\n"},
        "attic/box.py:1: attic has no floor",
    ),
    "out of the engine": (
        {"errors.py": "from .._module import runner\n"},
        "errors.py:1: errors imports _module, which is outside of the engine",
    ),
    "of Ansible": (
        {"errors.py": "import ansible.errors\n"},
        "errors.py:1: errors imports ansible.errors, which is outside of the engine",
    ),
    "by its full name": (
        {"errors.py": f"from {PACKAGE}.plan import types\n"},
        "errors.py:1: errors imports plan.types, and plan is above errors",
    ),
    "a circle": (
        {
            "plan/planner.py": "from . import claims\n",
            "plan/claims.py": "import re\nif True:\n    from .types import Plan\n",
            "plan/types.py": "from .planner import make_plan\n",
        },
        "plan/claims.py:3: a circle: plan.claims imports plan.types, plan.types imports plan.planner, plan.planner",
    ),
    "itself": (
        {"plan/planner.py": "from .planner import make_plan\n"},
        "plan/planner.py:1: a circle: plan.planner imports plan.planner",
    ),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_planted_is_found(case: str, tmp_path: pathlib.Path) -> None:
    files, sentence = PLANTED[case]
    engine = tmp_path / "plugins" / "module_utils" / "_luks"
    there = ("errors.py", "header/luks2/binary.py", "task/secrets.py", "plan/types.py", "backup/image.py")
    every = {**dict.fromkeys(there, ""), **files}
    for name, text in every.items():
        (engine / name).parent.mkdir(parents=True, exist_ok=True)
        (engine / name).write_text(text)
    imports = imports_of(engine)
    found = [*upward(imports), *circles(imports)]
    assert len(found) == 1 and found[0].startswith(f"plugins/module_utils/_luks/{sentence}"), found
