# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root file systems of stock Debian releases, made by debootstrap once and kept in .cache/hosts.

Two of each release: with python3-cryptography, and without it, so that the engine has only Python and cryptsetup's libraries.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import functools
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
STOCK = ("python3", "cryptsetup-bin")
# debootstrap does not follow virtual packages, which is how python3-cryptography asks for cffi's backend.
CRYPTOGRAPHY = ("python3-cryptography", "python3-cffi-backend")
BROUGHT_ALONG = ("python3-bcrypt",)
# The initramfs of the Red Hat family; Debian packages it, too, and a folder of modules is all of a kernel that it asks for.
DRACUT = ("dracut-core", "kmod")
KERNEL = "6.0.0-luksmith"

# Mounts that debootstrap makes, and would leave behind when it is killed, end with the process.
OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")


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
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        last = log.read_text(errors="replace").splitlines()[-3:]
        raise Unavailable(f"{' '.join(command[:2])}… ended with {code}: {' / '.join(last)} (all of it: {log.relative_to(ROOT)})")


def _folder(suite: str, packages: t.Sequence[str]) -> pathlib.Path:
    return CACHE / f"{suite}-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:8]}"


def ensure_folder(folder: pathlib.Path, make: t.Callable[[pathlib.Path, pathlib.Path], None]) -> pathlib.Path:
    """``folder``, filled by ``make`` under another name first, so that a cut run leaves nothing that looks whole."""
    if not folder.is_dir():
        begun = folder.with_name(folder.name + ".begun")
        shutil.rmtree(begun, ignore_errors=True)
        make(begun, folder.with_name(folder.name + ".log"))
        begun.rename(folder)
    return folder


def _debootstrap(suite: str, packages: t.Sequence[str], target: pathlib.Path, log: pathlib.Path) -> None:
    run_logged(log, *OWN_MOUNTS, "debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, str(target), *mirror())
    run_logged(log, "chroot", str(target), "apt-get", "clean")


def _make_release(suite: str) -> t.Tuple[pathlib.Path, pathlib.Path]:
    everything = (*STOCK, *CRYPTOGRAPHY)

    rich = ensure_folder(_folder(suite, everything), functools.partial(_debootstrap, suite, everything))

    def copy(target: pathlib.Path, log: pathlib.Path) -> None:
        run_logged(log, "cp", "-a", "--reflink=auto", str(rich), str(target))
        run_logged(log, "chroot", str(target), "dpkg", "--purge", *CRYPTOGRAPHY, *BROUGHT_ALONG)

    return ensure_folder(_folder(suite, STOCK), copy), rich


def _make_with_dracut() -> pathlib.Path:
    packages = (*STOCK, *DRACUT)

    def bootstrap(target: pathlib.Path, log: pathlib.Path) -> None:
        _debootstrap(SUITES[0], packages, target, log)
        (target / "lib" / "modules" / KERNEL).mkdir(parents=True)
        run_logged(log, "chroot", str(target), "depmod", KERNEL)

    return ensure_folder(_folder(SUITES[0], packages), bootstrap)


def ensure() -> t.Dict[str, pathlib.Path]:
    """Root file systems by name: "bookworm", "bookworm with cryptography" and so on. Unavailable when they cannot be made."""
    _check_means()
    with _alone(), concurrent.futures.ThreadPoolExecutor() as pool:
        made = dict(zip(SUITES, pool.map(_make_release, SUITES)))
    return {name: path for suite, (stock, rich) in made.items() for name, path in ((suite, stock), (f"{suite} with cryptography", rich))}


def ensure_dracut() -> pathlib.Path:
    """A root file system that makes its initramfs with dracut. Unavailable when it cannot be made."""
    _check_means()
    with _alone():
        return _make_with_dracut()


@contextlib.contextmanager
def _alone() -> t.Iterator[None]:
    """Nobody else makes root file systems meanwhile."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_means() -> None:
    if os.geteuid() != 0:
        raise Unavailable("only root can make root file systems and change into them")
    missing = [program for program in ("debootstrap", "unshare", "chroot") if not shutil.which(program)]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)} (Debian: apt install debootstrap)")
