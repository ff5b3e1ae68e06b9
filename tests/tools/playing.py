# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plays of one test session share, so that they cost half: each module's archive, and the compiled sources in it.

Ansible puts an archive of a module and its module_utils together in each play, and a target compiles all of them at
each call. Both depend on nothing but the sources. The folder is one of the session, for all processes of pytest-xdist.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import sys
import typing as t

HERE = pathlib.Path(__file__).resolve().parent / "play_cache"


def shared_folder(factory: t.Any) -> pathlib.Path:
    """Of the whole test session. ``factory``: pytest's tmp_path_factory."""
    base = pathlib.Path(factory.getbasetemp())
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "plays"
    folder.mkdir(exist_ok=True)
    return folder


def environment(folder: pathlib.Path, collection: pathlib.Path, program: pathlib.Path) -> t.Dict[str, str]:
    """For the ansible-playbook ``program`` that finds ``collection``. ``folder``: of :func:`shared_folder`."""
    archives = folder / hashlib.sha256(f"{program} {collection.resolve()}".encode()).hexdigest()[:16]
    return {
        "PYTHONPATH": str(HERE / "site"),
        "LUKSMITH_PLAY_CACHE": str(folder),
        "LUKSMITH_PLAY_ARCHIVES": str(archives),
        "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callbacks"),
    }


def outside() -> t.Dict[str, str]:
    """This process's environment without what it says to Ansible and to Python: a play begins from there."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_") and name != "PYTHONPATH"
    }


def local_command(program: t.Union[str, pathlib.Path], *words: str) -> t.List[str]:
    """``ansible-playbook`` on this machine alone, whose modules run with the interpreter of this process."""
    here = ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]
    return [str(program), *here, *words]
