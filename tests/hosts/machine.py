# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed host: a Debian root file system in which commands and Ansible's module payloads run."""

from __future__ import annotations

import base64
import dataclasses
import json
import pathlib
import subprocess
import sys
import threading
import typing as t

from .roots import OWN_MOUNTS, ROOT

# The root stays as debootstrap left it: read-only, with /run, /tmp and /mnt (the volumes) put on top for one command.
_ENTER = """
set -e
root=$1 volumes=$2 plugins=$3
shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$volumes" "$root/mnt"
mount --bind "$plugins" "$root/srv"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mount -t tmpfs tmpfs "$1"; else mount --bind /dev/null "$1"; fi
  shift
done
shift
exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"
"""
_QUESTIONS = pathlib.Path(__file__).with_name("questions.py")


class Payloads:
    """The controller's part: see payload.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).with_name("payload.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._one_at_a_time = threading.Lock()

    def __call__(self, module: str, arguments: t.Mapping[str, t.Any]) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            print(json.dumps({"module": module, "arguments": arguments}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        assert line, "payload.py ended; is ansible-core installed here?"
        return base64.b64decode(line)

    def close(self) -> None:
        self._process.communicate()


@dataclasses.dataclass(frozen=True)
class Host:
    """``root`` is its file system, ``volumes`` a folder of ours that it sees as /mnt."""

    name: str
    root: pathlib.Path
    volumes: pathlib.Path
    payloads: Payloads

    @property
    def suite(self) -> str:
        return self.name.split()[0]

    def run(self, *command: str, stdin: bytes = b"", hide: t.Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:
        """Run a command there; ``hide`` holds patterns of files and folders that the host shall not have for this
        once.
        """
        hidden = [str(path) for pattern in hide for path in self.root.glob(pattern)]
        assert len(hidden) >= len(hide), f"nothing to hide in {self.root}: {hide}"
        places = [str(self.root), str(self.volumes), str(ROOT / "plugins" / "module_utils"), *hidden, "--"]
        return subprocess.run(
            [*OWN_MOUNTS, "sh", "-c", _ENTER, "enter", *places, *command], input=stdin, capture_output=True, check=False
        )

    def module(self, name: str, arguments: t.Mapping[str, t.Any], *, hide: t.Sequence[str] = ()) -> t.Dict[str, t.Any]:
        """Run a module of the collection as Ansible does with pipelining; its result, failed or not."""
        arguments = {
            **arguments,
            "_ansible_diff": True,
            "_ansible_remote_tmp": "/tmp",
            "_ansible_keep_remote_files": False,
        }
        done = self.run("/usr/bin/python3", stdin=self.payloads(name, arguments), hide=hide)
        try:
            return t.cast(t.Dict[str, t.Any], json.loads(done.stdout))
        except ValueError:
            raise AssertionError(f"{name} on {self.name} printed no JSON: {done.stdout!r} {done.stderr!r}") from None

    def answers(self) -> t.Dict[str, t.Any]:
        """What questions.py finds out there."""
        done = self.run("/usr/bin/python3", "-", stdin=_QUESTIONS.read_bytes())
        assert done.returncode == 0, done.stderr.decode()
        return t.cast(t.Dict[str, t.Any], json.loads(done.stdout))

    def cryptsetup(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[bytes]:
        """The host's own cryptsetup; volumes are /mnt/NAME."""
        return self.run("cryptsetup", "--batch-mode", *arguments, stdin=stdin.encode())

    def opens(self, volume: str, secret: str) -> bool:
        """Whether ``secret`` opens ``volume``: the host's cryptsetup and this machine's must agree."""
        words = ("open", "--test-passphrase", "--key-file", "-")
        inside = self.cryptsetup(*words, f"/mnt/{volume}", stdin=secret)
        outside = subprocess.run(
            ["cryptsetup", *words, str(self.volumes / volume)], input=secret.encode(), capture_output=True, check=False
        )
        codes = {inside.returncode, outside.returncode}
        assert codes in ({0}, {2}), f"{volume}: inside {inside}, outside {outside}"
        return codes == {0}
