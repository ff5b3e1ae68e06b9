# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module names what it imports in full: Mitogen takes only that for a sign of a module that speaks Ansible's
protocol.

What it does not recognise it starts as a script, which finds no module_utils on the host.
"""

from __future__ import annotations

import ast
import pathlib
import typing as t

import pytest

MODULES = pathlib.Path(__file__).resolve().parents[4] / "plugins" / "modules"
UTILS = "ansible_collections.luksmith.luks.plugins.module_utils."
OF_ANSIBLE = "ansible.module_utils."


def relative(source: str) -> t.List[str]:
    """A sentence for each import that begins with a dot."""
    imports = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.level)
    return [f"line {node.lineno}: from {'.' * node.level}{node.module or ''} import ..." for node in imports]


def others(source: str) -> t.List[str]:
    """What is imported of Ansible and of collections, but neither the helpers of this one nor those of Ansible."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names.append(f"{node.module}.")
        elif isinstance(node, ast.Import):
            names += [f"{alias.name}." for alias in node.names]
    return [name for name in names if name.startswith("ansible") and not name.startswith((UTILS, OF_ANSIBLE))]


@pytest.mark.parametrize("path", sorted(MODULES.glob("*.py")), ids=lambda path: path.stem)
def test_imports_are_absolute(path: pathlib.Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert relative(source) == []
    assert others(source) == []


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("from ..module_utils import _module\n", ["line 1: from ..module_utils import ..."]),
        ("def late():\n    from .. import module_utils\n", ["line 2: from .. import ..."]),
        (f"from {UTILS}_module.runner import run_module\n", []),
    ],
)
def test_what_is_planted_is_found(planted: str, found: t.List[str]) -> None:
    assert relative(planted) == found
