# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make virtual environments inside the checkout and reuse them: ``python3 venvs.py NAME REQUIREMENTS [ANSIBLE-CORE]``
prints the folder.

An environment is made again when its requirement files or its Python change, so nobody has to remember to delete it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

import pythons

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"


def _requirement_text(path: pathlib.Path) -> str:
    """The file with every file that it includes by ``-r``."""
    text = path.read_text()
    included = [line.split(None, 1)[1] for line in text.splitlines() if line.startswith("-r ")]
    return text + "".join(_requirement_text(path.parent / name.strip()) for name in included)


def _run(command: t.Sequence[str]) -> None:
    inside = {**os.environ, "PIP_CACHE_DIR": str(CACHE / "pip")}
    done = subprocess.run(
        command, env=inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        sys.exit(f"failed: {' '.join(command)}")


def _succeeds(command: t.Sequence[str]) -> bool:
    return (
        subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False
        ).returncode
        == 0
    )


def _create(python: str, folder: pathlib.Path) -> t.List[str]:
    """Make an empty environment; return the command that is its pip."""
    inside = str(folder / "bin" / "python")
    if _succeeds([python, "-m", "venv", str(folder)]):
        return [inside, "-m", "pip"]
    # Debian and Ubuntu keep ensurepip in python3-venv: without it the machine's pip can still fill an environment from
    # outside.
    shutil.rmtree(folder, ignore_errors=True)
    for pip in ([python, "-m", "pip"], ["pip3"], ["pip"]):
        if shutil.which(pip[0]) and _succeeds([*pip, "--python", python, "--version"]):
            _run([python, "-m", "venv", "--without-pip", str(folder)])
            return [*pip, "--python", inside]
    sys.exit(
        f"{python} can make no virtual environment: it has neither ensurepip nor pip. On Debian or Ubuntu: apt "
        "install python3-venv"
    )


def ensure(name: str, requirements: pathlib.Path, python: str = "") -> pathlib.Path:
    """The folder of the environment ``name``, made or brought up to date when needed; ``python``: an interpreter other
    than the usual one.
    """
    python = python or pythons.controller()
    folder = CACHE / "venv" / name
    stamp = folder / "made-from"
    wanted = hashlib.sha256(f"{python}\n{folder}\n{_requirement_text(requirements)}".encode()).hexdigest()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(str(folder) + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            print(
                f"making the virtual environment {folder.relative_to(ROOT)} with {python}", file=sys.stderr, flush=True
            )
            shutil.rmtree(folder, ignore_errors=True)
            pip = _create(python, folder)
            _run([*pip, "install", "--quiet", "--disable-pip-version-check", "--requirement", str(requirements)])
            stamp.write_text(wanted)
    return folder


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: venvs.py NAME REQUIREMENTS [ANSIBLE-CORE]")
    name, requirements, *core = sys.argv[1:]
    python = pythons.controller_for(core[0]) if core else ""
    if python is None:
        sys.exit(
            f"no Python here runs ansible-core {core[0]}: it needs one of "
            f"{', '.join(map(pythons.named, pythons.CONTROLLERS[core[0]]))}"
        )
    print(ensure(name, pathlib.Path(requirements).resolve(), python))


if __name__ == "__main__":
    main()
