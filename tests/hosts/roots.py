# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root file systems of stock Debian releases, made once and kept in .cache/hosts.

debootstrap makes the smallest system with Python once for each release. Every other root is a copy of that, or of
another root, in which the release's own apt has installed more packages. The lanes hosts, newcomer and vm share them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import typing as t
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "hosts"

SUITES = ("bookworm", "trixie")
BASE = ("python3",)
Layer = t.Tuple[str, ...]

# Mounts that debootstrap makes, and would leave behind when it is killed, end with the process.
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")

# /proc and /dev end with the command, and no service starts. The disk is not waited for: what is half made is made
# again anyway.
_INSTALL = """
set -e
root=$1
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
inside() {
  chroot "$root" env -u LC_ALL LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive DPKG_FORCE=unsafe-io \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
inside apt-get -q update
inside apt-get -q install --yes --no-install-recommends "$@"
inside apt-get clean
rm "$root/usr/sbin/policy-rc.d"
"""


class Unavailable(Exception):
    """The root file systems cannot be made on this machine; the text says why."""


def _sources() -> t.Iterator[t.Tuple[str, t.Set[str]]]:
    """(URI, words of its line or stanza) of each place from which this machine's apt installs."""
    folder = pathlib.Path("/etc/apt")
    for path in sorted([*folder.glob("sources.list"), *folder.glob("sources.list.d/*")]):
        text = re.sub(r"(?m)^\s*#.*\n?", "", path.read_text(encoding="utf-8", errors="replace"))
        pieces = re.split(r"\n\s*\n", text) if path.suffix == ".sources" else text.splitlines()
        for piece in pieces:
            for uri in re.findall(r"(?:https?|file):/\S+", piece):
                yield uri, set(piece.split())


def mirror() -> t.List[str]:
    """The first Debian mirror in apt's configuration; nothing, and so debootstrap's own default, when there is none."""
    for uri, words in _sources():
        if "main" in words and urllib.parse.urlsplit(uri).path.rstrip("/").endswith("/debian"):
            return [uri]
    return []


def run_logged(log: pathlib.Path, *command: str) -> None:
    with log.open("ab") as output:
        # The folder for this run's scratch files does not exist inside a root.
        outside = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
        code = subprocess.run(
            command, env=outside, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        last = log.read_text(errors="replace").splitlines()[-3:]
        program = next(word for word in command if word not in (*OWN_MOUNTS, "env") and "=" not in word)
        raise Unavailable(f"{program} ended with {code}: {' / '.join(last)} (all of it: {log.relative_to(ROOT)})")


def ensure_folder(folder: pathlib.Path, make: t.Callable[[pathlib.Path, pathlib.Path], None]) -> pathlib.Path:
    """``folder``, filled by ``make`` under another name first, so that a cut run leaves nothing that looks whole."""
    if not folder.is_dir():
        begun = folder.with_name(folder.name + ".begun")
        shutil.rmtree(begun, ignore_errors=True)
        make(begun, folder.with_name(folder.name + ".log"))
        begun.rename(folder)
    return folder


def copy(root: pathlib.Path, target: pathlib.Path, log: pathlib.Path) -> None:
    run_logged(log, "cp", "-a", "--reflink=auto", str(root), str(target))


def _debootstrap(suite: str, target: pathlib.Path, log: pathlib.Path) -> None:
    what = ("--variant=minbase", f"--include={','.join(BASE)}", suite, str(target), *mirror())
    run_logged(log, *OWN_MOUNTS, "env", "DPKG_FORCE=unsafe-io", "debootstrap", *what)
    run_logged(log, "chroot", str(target), "apt-get", "clean")


def ensure(suite: str, *layers: Layer) -> pathlib.Path:
    """A root file system of ``suite`` with these packages, to be left as it is. Unavailable when it cannot be made.

    layers: packages on top of BASE. Each layer is kept, and the next one installed in a copy of it.
    """
    _check_means()
    CACHE.mkdir(parents=True, exist_ok=True)
    with _alone(suite):
        root = ensure_folder(_folder(suite, ()), lambda begun, log: _debootstrap(suite, begun, log))
        for count, packages in enumerate(layers, start=1):
            below = root

            def make(
                begun: pathlib.Path, log: pathlib.Path, below: pathlib.Path = below, packages: Layer = packages
            ) -> None:
                copy(below, begun, log)
                run_logged(log, *OWN_MOUNTS, "sh", "-c", _INSTALL, "install", str(begun), *packages)

            root = ensure_folder(_folder(suite, layers[:count]), make)
    return root


def _folder(suite: str, layers: t.Sequence[Layer]) -> pathlib.Path:
    made_from = "\n".join(" ".join(layer) for layer in (BASE, *layers))
    return CACHE / f"{suite}-{hashlib.sha256(made_from.encode()).hexdigest()[:8]}"


@contextlib.contextmanager
def _alone(suite: str) -> t.Iterator[None]:
    """No other process makes roots of this release meanwhile."""
    with (CACHE / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_means() -> None:
    if os.geteuid() != 0:
        raise Unavailable("only root can make root file systems and change into them")
    missing = [program for program in ("debootstrap", "unshare", "chroot") if not shutil.which(program)]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)} (Debian: apt install debootstrap)")
