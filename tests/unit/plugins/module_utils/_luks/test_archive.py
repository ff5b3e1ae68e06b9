# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Python compiles of an archive is told by its audit event ``compile``, in a process of its own."""

from __future__ import annotations

import importlib.machinery
import json
import pathlib
import subprocess
import sys
import types
import typing as t
import zipfile
import zipimport

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import archive

PROGRAM = """
import collections, json, sys
compiled = collections.Counter()
sys.addaudithook(lambda event, details: event == "compile" and compiled.update([str(details[1])]))
sys.path.insert(0, sys.argv[1])
import engine.room.desk
try:
    import engine.room.chair
except ModuleNotFoundError as error:
    missing = str(error)
files = [module.__file__ for name, module in sys.modules.items() if name.startswith("engine")]
print(json.dumps({"compiled": compiled, "files": files, "missing": missing, "made": engine.room.desk.made}))
"""
ASKS = "from .archive import compile_once\ncompile_once(__name__)\n"


def imported(tmp_path: pathlib.Path, engine: str) -> t.Tuple[str, t.Dict[str, t.Any]]:
    """From an archive whose package ``engine`` has this text."""
    place = tmp_path / "payload.zip"
    with zipfile.ZipFile(place, "w") as payload:
        payload.writestr("engine/__init__.py", engine)
        payload.writestr("engine/archive.py", pathlib.Path(archive.__file__).read_text(encoding="utf-8"))
        payload.writestr("engine/room/__init__.py", "")
        payload.writestr("engine/room/desk.py", "from . import drawer\nmade = drawer.made")
        payload.writestr("engine/room/drawer.py", "made = 'of wood'")
        payload.writestr("engine/room/stool.py", "")
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(place)], capture_output=True, text=True, check=True)
    return str(place), json.loads(done.stdout)


@pytest.mark.parametrize(("engine", "times"), [("", 2), (ASKS, 1)])
def test_what_an_archive_holds_is_compiled_once(tmp_path: pathlib.Path, engine: str, times: int) -> None:
    """Without the call Python does it twice; once it does so no longer, the room can go."""
    place, told = imported(tmp_path, engine)
    names = [f"{place}/engine/room/{name}.py" for name in ("__init__", "desk", "drawer")]
    assert [told["compiled"][name] for name in names] == [times] * 3
    assert set(names) <= set(told["files"]) and told["made"] == "of wood"
    assert "engine.room.chair" in told["missing"]


def test_a_room_that_something_was_imported_from_before(tmp_path: pathlib.Path) -> None:
    """As a module does whose first import is of a room below: only that file is compiled twice."""
    place, told = imported(tmp_path, f"from .room import stool\n{ASKS}")
    names = [f"{place}/engine/room/{name}.py" for name in ("stool", "desk", "drawer")]
    assert [told["compiled"][name] for name in names] == [2, 1, 1]


def test_only_the_archive_and_what_is_in_it_gets_the_importer(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "payload.zip")
    with zipfile.ZipFile(place, "w") as payload:
        payload.writestr("engine/__init__.py", "")
    package = types.ModuleType("engine")
    package.__spec__ = importlib.machinery.ModuleSpec("engine", zipimport.zipimporter(place))
    package.__path__ = [f"{place}/engine"]
    monkeypatch.setitem(sys.modules, "engine", package)
    monkeypatch.setattr(sys, "path_hooks", [])
    monkeypatch.setitem(sys.path_importer_cache, f"{place}/engine", None)
    archive.compile_once("engine")
    assert f"{place}/engine" not in sys.path_importer_cache
    importer = sys.path_hooks[0]
    for path in (place, f"{place}/engine"):
        assert isinstance(importer(path), archive.CompiledOnce)
    for path in (str(tmp_path), f"{place}.old", f"{place}.old/engine"):
        with pytest.raises(ImportError, match=path):
            importer(path)


def test_nothing_changes_without_an_archive() -> None:
    before = list(sys.path_hooks)
    archive.compile_once(str(archive.__package__))
    assert sys.path_hooks == before
