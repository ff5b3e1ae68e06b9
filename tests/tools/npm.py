# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs from npm, in a folder of .cache that is made from tests/requirements/NAME/, again when a file there
changes.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess

import venvs

REQUIREMENTS = venvs.ROOT / "tests" / "requirements"


class NotThere(Exception):
    """The programs could not be installed."""


@dataclasses.dataclass(frozen=True)
class Programs:
    """What was installed.

    folder: node_modules with a copy of the requirements beside it, where linters look for what their settings import
    path: a PATH with Node.js
    """

    folder: pathlib.Path
    path: str

    def named(self, name: str) -> str:
        return str(self.folder / "node_modules" / ".bin" / name)


def ensure(name: str) -> Programs:
    """The programs of tests/requirements/NAME/package-lock.json, on the Node.js of NAME.txt. Raises NotThere."""
    try:
        node = venvs.ensure(name, REQUIREMENTS / f"{name}.txt") / "bin"
    except SystemExit as error:
        raise NotThere(str(error)) from None
    source, folder = REQUIREMENTS / name, venvs.CACHE / "npm" / name
    stamp = folder / "made-from"
    files = sorted(source.iterdir())
    wanted = hashlib.sha256(
        b"".join(f"{node} {file.name}\n".encode() + file.read_bytes() for file in files)
    ).hexdigest()
    programs = Programs(folder, f"{node}:{os.environ.get('PATH', '')}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(source, folder)
            _install(folder, programs.path)
            stamp.write_text(wanted)
    return programs


def _install(folder: pathlib.Path, path: str) -> None:
    # No package has a script to run here; one that begins to have one does not get to run it.
    words = [
        "npm",
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--cache",
        str(folder.parent / "cache"),
    ]
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise NotThere(f"npm ci failed: {done.stdout.decode(errors='replace').strip()[-600:]}")
