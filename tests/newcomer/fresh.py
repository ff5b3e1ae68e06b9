# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fresh machine with an ordinary user: a copy of a stock root file system, thrown away afterwards, in which the user
types commands.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

from ansible_collections.luksmith.luks.tests.hosts import roots

CACHE = roots.ROOT / ".cache" / "newcomer"
LOGS = roots.ROOT / ".cache" / "logs"
USER = "newcomer"

# Its own processes as well, so that nothing of a cut run stays.
_ALONE = (*roots.OWN_MOUNTS, "--pid", "--fork", "--kill-child")
# The arguments: the root, folders of this machine that it has as well, "--", a command.
_ENTER = """
set -e
root=$1
shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
while [ "$1" != -- ]; do
  mkdir -p "$root$1"
  mount --bind "$1" "$root$1"
  mount -o remount,bind,ro "$root$1"
  shift
done
shift
exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""
_NETWORK = ("/etc/hosts", "/etc/resolv.conf")
_PROXIES = [
    spelled for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for spelled in (name, name.upper())
]
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


@t.final
class Fresh:
    """A context manager; ``root`` is a root file system that is copied and stays as it is."""

    def __init__(self, root: pathlib.Path, name: str) -> None:
        self._stock = root
        self._name = name
        self._root = CACHE / name
        self._folders: t.List[str] = []
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Fresh:
        CACHE.mkdir(parents=True, exist_ok=True)
        LOGS.mkdir(parents=True, exist_ok=True)
        lock = self._cleanup.enter_context((CACHE / f"{self._name}.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(self._root, ignore_errors=True)
        self._cleanup.callback(shutil.rmtree, self._root, ignore_errors=True)
        roots.copy(self._stock, self._root, LOGS / f"newcomer-{self._name}-copy.log")
        for path in _NETWORK:
            shutil.copy(path, self._place(path))
        self._configure_pip()
        self._enter("useradd", "--create-home", "--shell", "/bin/bash", USER)
        return self

    def __exit__(self, *_error: object) -> None:
        self._cleanup.close()

    def publish(self, repository: pathlib.Path) -> str:
        """A place from which the user can clone ``repository`` as it is committed."""
        place = f"/srv/{repository.name}.git"
        target = self._place(place)
        cloned = [
            "git",
            "clone",
            "--quiet",
            "--bare",
            "--no-hardlinks",
            "--single-branch",
            repository.as_uri(),
            str(target),
        ]
        subprocess.run(cloned, check=True, stdin=subprocess.DEVNULL)
        # git clones from nobody else's folder.
        self._enter("chown", "--recursive", f"{USER}:", place)
        return place

    def files(self, *without: str) -> t.Set[str]:
        """All files and folders of the user that lie on a disk, but for what is below these paths."""
        skip = [word for path in without for word in ("-path", path, "-prune", "-o")]
        return set(self._enter("find", "/", "-xdev", *skip, "-user", USER, "-print").splitlines())

    def type(self, line: str, log: str) -> str:
        """The user logs in and types ``line``: what it prints.

        AssertionError with the end of that when it ends with anything but 0.
        """
        path = LOGS / f"newcomer-{self._name}-{log}.log"
        with path.open("wb") as output:
            done = self._popen("su", "-", USER, "-c", line, stdout=output).wait()
        said = path.read_text(errors="replace")
        tail = "\n".join(said.splitlines()[-80:])
        assert done == 0, (
            f"{line!r} ended with {done}; all of it is in {path.relative_to(roots.ROOT)}, which ends with:\n{tail}"
        )
        return said

    def _enter(self, *command: str) -> str:
        process = self._popen(*command, stdout=subprocess.PIPE)
        said = t.cast(bytes, process.communicate()[0]).decode(errors="replace")
        assert process.returncode == 0, said
        return said

    def _popen(self, *command: str, stdout: t.Any) -> subprocess.Popen[bytes]:
        words = [*_ALONE, "sh", "-c", _ENTER, "enter", str(self._root), *self._folders, "--", *command]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT)

    def _place(self, path: str) -> pathlib.Path:
        return self._root / path.lstrip("/")

    def _configure_pip(self) -> None:
        """pip there finds its packages where pip finds them here: by the same settings, certificates, proxies and
        folders of packages.
        """
        settings = _pip_settings()
        _write(
            self._place("/etc/pip.conf"),
            "".join(["[global]\n", *(f"{name} = {value}\n" for name, value in settings.items())]),
        )
        environment = {name: os.environ[name] for name in (*_PROXIES, *_CERTIFICATES) if name in os.environ}
        _write(self._place("/etc/environment"), "".join(f"{name}={value}\n" for name, value in environment.items()))
        for name, value in {**settings, **environment}.items():
            for word in value.split():
                local = pathlib.Path(word[len("file://") :] if word.startswith("file://") else word)
                if local.is_absolute() and local.is_file():
                    self._place(str(local)).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(local, self._place(str(local)))
                elif local.is_absolute() and local.is_dir():
                    # The pages of an index point to files beside it.
                    self._folders.append(str(local.parent if name.endswith("index-url") else local))


def _write(path: pathlib.Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)


def _pip_settings() -> t.Dict[str, str]:
    """What pip has been told on this machine, in files and in the environment, by the name of the setting; nothing
    where there is no pip.
    """
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings = {}
    # The variables come first there, and win.
    for line in reversed(listed.splitlines()):
        key, _equals, value = line.partition("=")
        settings[key.rpartition(".")[2]] = " ".join(str(ast.literal_eval(value)).split())
    return settings
