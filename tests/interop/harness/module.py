# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of the collection as processes: arguments in, the JSON that Ansible would see out."""

from __future__ import annotations

import atexit
import json
import pathlib
import subprocess
import sys
import tempfile
import typing as t
import zlib

from .programs import DEADLINE

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
CHILD = pathlib.Path(__file__).with_name("child.py")
FAST = {"iterations": 1000}

_folder = tempfile.TemporaryDirectory(prefix="luksmith-interop-")
atexit.register(_folder.cleanup)
COLLECTIONS = pathlib.Path(_folder.name)
(COLLECTIONS / "ansible_collections" / "luksmith").mkdir(parents=True)
(COLLECTIONS / "ansible_collections" / "luksmith" / "luks").symlink_to(CHECKOUT)

Json = t.Dict[str, t.Any]


class Outcome(t.Dict[str, t.Any]):
    """What the module printed. ``stderr`` beside it must be empty: an operator sees a traceback nowhere else."""

    @property
    def ok(self) -> bool:
        return not self.get("failed")

    @property
    def steps(self) -> t.List[t.Tuple[str, t.Optional[int]]]:
        return [(step["action"], step["keyslot"]) for step in self["plan"]]

    @property
    def msg(self) -> str:
        return str(self["msg"])

    @property
    def active(self) -> t.Set[int]:
        return {row["keyslot"] for row in self["keyslots"] if row["state"] == "active"}


def label_of(text: str) -> str:
    """A name that does not contain the secret, which Ansible would mask in every message."""
    return f"L{zlib.crc32(text.encode('utf-8', 'surrogateescape')):08x}"


def passphrase(text: str, label: str = "") -> Json:
    return {"passphrase": text, "label": label or label_of(text)}


def present(secret: str, keyslot: t.Optional[int] = None, *, old: t.Optional[str] = None, **more: t.Any) -> Json:
    entry: Json = {"new_secret": passphrase(secret), "pbkdf": FAST, **more}
    if keyslot is not None:
        entry["keyslot"] = keyslot
    if old is not None:
        entry["old_secret"] = passphrase(old)
    return entry


def absent(secret: t.Optional[str] = None, keyslot: t.Optional[int] = None) -> Json:
    entry: Json = {"state": "absent"}
    if secret is not None:
        entry["old_secret"] = passphrase(secret)
    if keyslot is not None:
        entry["keyslot"] = keyslot
    return entry


def arguments(device: t.Any, entries: t.Sequence[Json], *unlock: str, check: bool = False, **more: t.Any) -> Json:
    task: Json = {"keyslots": list(entries), "unlock": [passphrase(one) for one in unlock], "lock_timeout": 0, "_ansible_check_mode": check, **more}
    if device is not None:
        task["device"] = str(device)
    return task


def start(module: str, task: Json) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, str(CHILD), str(COLLECTIONS), module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": task}).encode())
    process.stdin.close()
    process.stdin = None
    return process


def finish(process: subprocess.Popen[bytes]) -> Outcome:
    output, errors = process.communicate(timeout=DEADLINE)
    assert not errors, errors.decode(errors="replace")
    outcome = Outcome(json.loads(output))
    assert (process.returncode != 0) == bool(outcome.get("failed")), f"exit code {process.returncode}: {outcome}"
    assert "did not expect" not in outcome.get("msg", ""), outcome
    return outcome


class Server:
    """``child.py serve``: a process that has done the imports and forks a process for every run."""

    def __init__(self, module: str) -> None:
        command = [sys.executable, str(CHILD), str(COLLECTIONS), module, "serve"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.folder = tempfile.TemporaryDirectory(prefix="luksmith-server-")
        self.result = pathlib.Path(self.folder.name) / "result"
        atexit.register(self.close)

    def begin(self, task: Json) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"arguments": task, "result": str(self.result)}).encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> Outcome:
        assert self.process.stdout is not None
        status = int(self.process.stdout.readline())
        outcome = Outcome(json.loads(self.result.read_bytes()))
        assert (status != 0) == bool(outcome.get("failed")), f"exit code {status}: {outcome}"
        assert "did not expect" not in outcome.get("msg", ""), outcome
        return outcome

    def close(self) -> None:
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(DEADLINE)
        self.folder.cleanup()


_servers: t.Dict[str, Server] = {}


def served(module: str, task: Json) -> Outcome:
    if module not in _servers:
        _servers[module] = Server(module)
    _servers[module].begin(task)
    return _servers[module].end()


def keyslots(device: t.Any, entries: t.Sequence[Json], *unlock: str, **more: t.Any) -> Outcome:
    """Run the module with the entries and the passphrases that may unlock."""
    return served("keyslots", arguments(device, entries, *unlock, **more))


def brought(device: t.Any, entries: t.Sequence[Json], *unlock: str, **more: t.Any) -> Outcome:
    """Check mode, the real run, and again: the prediction was right, and the second run changes nothing."""
    predicted = keyslots(device, entries, *unlock, check=True, **more)
    assert predicted.ok, predicted.msg
    done = keyslots(device, entries, *unlock, **more)
    assert done.ok, done.msg
    assert done.steps == predicted.steps
    assert done["diff"] == predicted["diff"]
    again = keyslots(device, entries, *unlock, **more)
    assert again.ok, again.msg
    assert (again["changed"], again.steps) == (False, [])
    return done


def refused(device: t.Any, entries: t.Sequence[Json], *unlock: str, **more: t.Any) -> Outcome:
    """Both modes refuse with the same words, and the file keeps every byte."""
    path = pathlib.Path(str(device))
    before = path.read_bytes()
    predicted = keyslots(device, entries, *unlock, check=True, **more)
    done = keyslots(device, entries, *unlock, **more)
    assert not predicted.ok
    assert not done.ok
    assert predicted.msg == done.msg
    assert not done.get("changed")
    assert path.read_bytes() == before
    return done


def keyslots_info(device: t.Any, *secrets: str, **more: t.Any) -> Outcome:
    return served("keyslots_info", {"device": str(device), "secrets": [passphrase(one) for one in secrets], "lock_timeout": 0, **more})
