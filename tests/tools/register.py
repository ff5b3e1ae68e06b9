# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by path (``runpy.run_path``), make ``ansible_collections.luksmith.luks`` importable from a checkout in any
folder, with or without Ansible.
"""

from __future__ import annotations

import importlib.util
import pathlib
import sys
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _register(name: str, path: pathlib.Path) -> None:
    package = types.ModuleType(name)
    package.__path__ = [str(path)]
    sys.modules[name] = package
    parent, _dot, leaf = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], leaf, package)


def _already_importable() -> bool:
    if "ansible_collections.luksmith.luks" in sys.modules:
        return True
    try:
        return importlib.util.find_spec("ansible_collections.luksmith.luks") is not None
    except (ImportError, ValueError):
        return False


if not _already_importable():
    for _name, _path in (
        ("ansible_collections", ROOT / "tests" / "unit" / "_no_other_collections"),
        ("ansible_collections.luksmith", ROOT / "tests" / "unit" / "_no_other_collections"),
        ("ansible_collections.luksmith.luks", ROOT),
    ):
        _register(_name, _path)
