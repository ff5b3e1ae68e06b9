# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test lane may do: run commands, check one thing after another, skip itself, and be timed."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import subprocess
import time
import typing as t

import importable
import venvs

ROOT = venvs.ROOT
CACHE = venvs.CACHE

# One entry of Debian's packages for each program that a lane may need.
PACKAGES = {
    "cryptsetup": "cryptsetup-bin",
    "qemu-img": "qemu-utils",
    "strace": "strace",
    "chromium": "chromium",
    "qemu-system-x86_64": "qemu-system-x86",
    "debootstrap": "debootstrap",
    "mkfs.ext4": "e2fsprogs",
    "ssh": "openssh-client",
}


class LaneSkipped(Exception):
    """The lane has nothing to do here; the text says why."""


def environment() -> t.Dict[str, str]:
    """The caller's environment, with everything that the tools would write below $HOME moved into .cache."""
    own = {
        "ANSIBLE_COLLECTIONS_PATH": str(importable.collections_path()),
        "ANSIBLE_HOME": str(CACHE / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin",
        "PIP_QUIET": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_CACHE_HOME": str(CACHE / "xdg"),
    }
    return {**os.environ, **own}


def programs_missing(programs: t.Iterable[str]) -> t.List[str]:
    """Those that are not installed, each with the Debian package that has it."""
    path = environment()["PATH"]
    return [f"{name} (package {PACKAGES[name]})" for name in programs if not shutil.which(name, path=path)]


@dataclasses.dataclass
class Lane:
    """One run of one lane: the failures and skips that its checks leave behind."""

    name: str
    arguments: t.Sequence[str] = ()
    failures: t.List[str] = dataclasses.field(default_factory=list)
    skips: t.List[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0

    def tool(self, program: str, of: str = "qa") -> str:
        """Path of a program in the virtual environment ``of``, made from tests/requirements/<of>.txt."""
        return str(venvs.ensure(of, ROOT / "tests" / "requirements" / f"{of}.txt") / "bin" / program)

    def show(self, what: str, command: t.Sequence[str], *, cwd: pathlib.Path = ROOT, accept: t.Container[int] = (0,), **extra: str) -> None:
        """Run a command whose output the reader wants to see, such as pytest's."""
        code = subprocess.run(command, cwd=cwd, env={**environment(), **extra}, stdin=subprocess.DEVNULL, check=False).returncode
        if code not in accept:
            self.failures.append(f"{what}: exit code {code}")

    def check(self, what: str, command: t.Sequence[str], *, cwd: pathlib.Path = ROOT, **extra: str) -> None:
        """Run a command that is only of interest when it fails, or where it skips something; the rest goes to a log."""
        begin = time.monotonic()
        done = subprocess.run(
            command, cwd=cwd, env={**environment(), **extra}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        output = done.stdout.decode(errors="replace")
        log = CACHE / "logs" / f"{self.name}-{what.replace(' ', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(output)
        print(f"   {what}: {'ok' if done.returncode == 0 else 'FAILED'} ({time.monotonic() - begin:.0f} s)", flush=True)
        if done.returncode:
            self.failures.append(f"{what}: exit code {done.returncode}, see {log.relative_to(ROOT)}")
            print("\n".join(output.splitlines()[-60:]), flush=True)
        else:
            self._note_skips(what, output)

    def _note_skips(self, what: str, output: str) -> None:
        for line in output.splitlines():
            if line.startswith(("SKIPPED [", "WARNING: Skipping", "WARNING: Excluding", "WARNING: Skipped")):
                print(f"   {what}: {line}", flush=True)
                self.skips.append(f"{what}: {line}")
