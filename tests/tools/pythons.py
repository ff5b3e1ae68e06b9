# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the Python interpreters of this machine."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
import typing as t

Version = t.Tuple[int, int]

# ansible-core 2.17 to 2.21 all have a release that runs on 3.12; the others are in the order of what they still cover.
CONTROLLER_PREFERENCE: t.Tuple[Version, ...] = ((3, 12), (3, 13), (3, 14), (3, 11))

# The Pythons on which each release of ansible-core runs as a controller, the best one first.
CONTROLLERS: t.Dict[str, t.Tuple[Version, ...]] = {
    "2.17": ((3, 12), (3, 11), (3, 10)),
    "2.18": ((3, 12), (3, 13), (3, 11)),
    "2.19": ((3, 12), (3, 13), (3, 11)),
    "2.20": ((3, 12), (3, 13), (3, 14)),
    "2.21": ((3, 12), (3, 13), (3, 14)),
}

QUESTION = """
import os, sys
path = getattr(sys, "_base_executable", None) or sys.executable
print(sys.version_info[0], sys.version_info[1], os.path.realpath(path))
"""


def _places() -> t.List[str]:
    """Folders to look in. pyenv's shims are left out: they answer by name and then refuse to run an inactive
    version.
    """
    folders = sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin")))
    folders += [
        folder
        for folder in os.environ.get("PATH", "").split(os.pathsep)
        if folder and not folder.rstrip("/").endswith("shims")
    ]
    folders += ["/usr/local/bin", "/usr/bin"]
    return list(dict.fromkeys(folders))


def _ask(executable: str) -> t.Optional[t.Tuple[Version, str]]:
    """Version and base executable (of a virtual environment: the interpreter below it), None if it does not run."""
    try:
        answer = subprocess.run(
            [executable, "-c", QUESTION], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    words = answer.stdout.decode().split(None, 2)
    return (int(words[0]), int(words[1])), words[2].strip()


def named(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def installed() -> t.Dict[Version, str]:
    """Every CPython 3 found, by (major, minor); the first one found of each version wins."""
    found: t.Dict[Version, str] = {}
    seen: t.Set[str] = set()
    for folder in _places():
        for path in sorted(
            glob.glob(os.path.join(folder, "python3.[0-9]*")) + glob.glob(os.path.join(folder, "python3"))
        ):
            real = os.path.realpath(path)
            if path.endswith("-config") or real in seen:
                continue
            seen.add(real)
            answer = _ask(path)
            if answer:
                found.setdefault(*answer)
    return dict(sorted(found.items()))


def controller() -> str:
    """The interpreter for Ansible and the test tools; exits with a sentence when there is none."""
    found = installed()
    for version in CONTROLLER_PREFERENCE:
        if version in found:
            return found[version]
    names = ", ".join(map(named, found)) or "none"
    sys.exit(
        f"Python 3.11, 3.12, 3.13 or 3.14 is needed, and this machine has: {names}. On Debian or Ubuntu: apt install "
        "python3 python3-venv"
    )


def controller_for(core: str) -> t.Optional[str]:
    """The interpreter for a release of ansible-core, None where no installed one will do."""
    found = installed()
    return next((found[version] for version in CONTROLLERS[core] if version in found), None)


if __name__ == "__main__":
    print(os.pathsep.join(os.path.dirname(path) for path in installed().values()))
