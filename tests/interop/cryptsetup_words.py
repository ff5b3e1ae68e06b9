# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of cryptsetup, carried out by our engine: its words become a task, the outcome its exit code.

What cryptsetup takes as consent is ``allow_lockout`` here: ``-q`` without a secret, and a secret that is to be removed.
Where a command has no word for what our task needs, the task goes without it and may be refused.
"""

from __future__ import annotations

import argparse
import base64
import pathlib
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.backup_task import parse_backup
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.create import create
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.restore import restore
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import amend
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.inspect import inspect

DONE, WRONG, NO_PERMISSION = range(3)
# What our sentences say where cryptsetup says that there is no key with this passphrase.
_NO_KEY = (
    "No secret of this task opens a keyslot of the volume, not even",
    "its digest is not the one in the header",
    "opens it.",
    "opens any keyslot",
    "is proven to open",
)

Arguments = t.Dict[str, t.Any]


class Answer(t.NamedTuple):
    """``code``: what cryptsetup would exit with; ``said``: our sentence."""

    code: int
    said: str = ""


def cryptsetup(words: t.Sequence[str], stdin: bytes = b"") -> Answer:
    try:
        given = _PARSER.parse_intermixed_args(words)
        _Command(given, stdin).run()
    except LuksmithError as error:
        said = str(error)
        return Answer(NO_PERMISSION if any(part in said for part in _NO_KEY) else WRONG, said)
    except _NoSuchWord as error:
        return Answer(WRONG, str(error))
    return Answer(DONE)


class _NoSuchWord(Exception):
    """Of what our modules have no option for."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> t.NoReturn:
        raise _NoSuchWord(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("action")
    parser.add_argument("device")
    parser.add_argument("rest", nargs="*")
    parser.add_argument("-q", "--batch-mode", action="store_true")
    for short, name in (("-d", "--key-file"), ("-l", "--keyfile-size"), ("-S", "--key-slot")):
        parser.add_argument(short, name, type=int if short in ("-l", "-S") else str)
    for name in ("--keyfile-offset", "--new-keyfile-size", "--new-keyfile-offset", "--new-key-slot"):
        parser.add_argument(name, type=int)
    for name in ("--new-keyfile", "--volume-key-file", "--priority", "--header", "--header-backup-file", "--pbkdf"):
        parser.add_argument(name)
    parser.add_argument("--pbkdf-force-iterations", type=int)
    return parser


_PARSER = _parser()


class _Command:
    def __init__(self, given: argparse.Namespace, stdin: bytes) -> None:
        self.given = given
        self.stdin = stdin
        self.lines = iter(stdin.split(b"\n")[: stdin.count(b"\n") + (not stdin.endswith(b"\n"))])
        self.where = {"device": given.device, "header": given.header, "lock_timeout": 0}

    def run(self) -> None:
        actions = {
            "luksAddKey": self._add,
            "luksChangeKey": self._change,
            "luksKillSlot": self._kill,
            "luksRemoveKey": self._remove,
            "luksErase": self._erase,
            "config": self._config,
            "luksHeaderBackup": self._backup,
            "luksHeaderRestore": self._restore,
        }
        if self.given.action not in actions:
            raise _NoSuchWord(self.given.action)
        actions[self.given.action]()

    def _add(self) -> None:
        given = self.given
        unlock = {"volume_key_file": given.volume_key_file} if given.volume_key_file else self._opening()
        keyslot = given.key_slot if given.new_key_slot is None else given.new_key_slot
        self._amend({"keyslot": keyslot, "new_secret": self._new(), "pbkdf": self._costs()}, unlock=[unlock])

    def _change(self) -> None:
        old = self._opening()
        entry = {"keyslot": self.given.key_slot, "old_secret": old, "new_secret": self._new(), "pbkdf": self._costs()}
        self._amend(entry)

    def _kill(self) -> None:
        secret = self._opening() if self.given.key_file or self.stdin else None
        entry = {"state": "absent", "keyslot": int(self.given.rest[0])}
        self._amend(entry, unlock=[secret] if secret else [], allow_lockout=secret is None and self.given.batch_mode)

    def _remove(self) -> None:
        named = self.given.rest[0] if self.given.rest else self.given.key_file
        secret = self._file(named, self.given.keyfile_size, self.given.keyfile_offset) if named else self._line()
        self._amend({"state": "absent", "old_secret": secret}, allow_lockout=True)

    def _erase(self) -> None:
        found = inspect(parse_info({**self.where, "secrets": []}))["keyslots"]
        active = [row["keyslot"] for row in found if row["state"] == "active" and row["bound"]]
        self._amend(*({"state": "absent", "keyslot": number} for number in active), allow_lockout=True)

    def _config(self) -> None:
        self._amend({"keyslot": self.given.key_slot, "priority": self.given.priority})

    def _backup(self) -> None:
        create(parse_backup({**self.where, "path": self.given.header_backup_file, "state": "present"}), check=False)

    def _restore(self) -> None:
        unlock = [self._line()] if self.stdin else []
        wanted = {"path": self.given.header_backup_file, "state": "restored", "force": self.given.batch_mode}
        restore(parse_backup({**self.where, **wanted, "unlock": unlock}), check=False)

    def _amend(self, *entries: Arguments, **options: t.Any) -> None:
        amend(parse_task({**self.where, "keyslots": list(entries), **options}), check=False)

    def _costs(self) -> Arguments:
        return {"iterations": self.given.pbkdf_force_iterations or 1000}

    def _opening(self) -> Arguments:
        given = self.given
        return self._file(given.key_file, given.keyfile_size, given.keyfile_offset) if given.key_file else self._line()

    def _new(self) -> Arguments:
        named = self.given.new_keyfile or (self.given.rest[0] if self.given.rest else None)
        if named is None:
            return self._line()
        return self._file(named, self.given.new_keyfile_size, self.given.new_keyfile_offset)

    def _line(self) -> Arguments:
        return _secret(next(self.lines, b""))

    def _file(self, name: str, size: t.Optional[int], offset: t.Optional[int]) -> Arguments:
        if name == "-":
            return _secret(self.stdin)
        return {"keyfile": str(pathlib.Path(name)), "keyfile_size": size, "keyfile_offset": offset or 0}


def _secret(value: bytes) -> Arguments:
    return {"passphrase_base64": base64.b64encode(value).decode()}
