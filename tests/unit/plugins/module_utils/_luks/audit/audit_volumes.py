# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes for audit tests: those of tests/fixtures, which cryptsetup made, and what somebody then did to their
bytes.
"""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import hashlib
import json
import pathlib
import typing as t

from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import audit as audit_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import audit_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.backups import BackupFiles
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.collect import EvidenceCollector
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.evidence import Evidence
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header_locked
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume

FIXTURES = pathlib.Path(__file__).resolve().parents[5] / "fixtures"
WINTER, FIRE = "winter-2025", "in-case-of-fire"  # the secrets of keyslots 0 and 1
# Asks for nothing that the fixtures lack: cheap derivations, a key of 32 bytes.
LENIENT = {
    "extends": "legacy",
    "name": "lenient",
    "minimum_costs": {"pbkdf2": 1000, "argon2": {"time": 4, "memory": 32}},
}
Tree = t.Dict[str, t.Any]


def secret(passphrase: str, label: t.Optional[str] = None) -> t.Dict[str, str]:
    """Labelled by its passphrase in capitals; the very words would make the label a secret, which is not shown."""
    return {"label": label or passphrase.upper(), "passphrase": passphrase}


BOTH = [secret(WINTER), secret(FIRE)]


class Image:
    """A volume file; every change goes past the code under test."""

    def __init__(self, path: pathlib.Path, name: str) -> None:
        self.path = path
        path.write_bytes(gzip.decompress((FIXTURES / f"{name}.gz").read_bytes()))

    def patch(self, offset: int, data: bytes) -> Image:
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)
        return self

    def header(self) -> bytes:
        """A header backup: all that comes before the data."""
        if self.at(6, 2) == b"\0\1":
            return self.at(0, int.from_bytes(self.at(104, 4), "big") * 512)
        return self.at(0, min(int(one["offset"]) for one in self.tree()["segments"].values()))

    def at(self, offset: int, size: int) -> bytes:
        return self.path.read_bytes()[offset : offset + size]

    @property
    def hdr_size(self) -> int:
        return int.from_bytes(self.at(8, 8), "big")

    def tree(self) -> Tree:
        return t.cast(Tree, json.loads(self.at(4096, self.hdr_size - 4096).rstrip(b"\0")))

    def edit(self, change: t.Callable[[Tree], t.Any]) -> Image:
        """LUKS2: ``change`` the JSON of both copies."""
        tree = self.tree()
        change(tree)
        return self.store(json.dumps(tree, separators=(",", ":")).encode())

    def store(self, text: bytes) -> Image:
        for place in (0, self.hdr_size):
            self.patch(place + 4096, text.ljust(self.hdr_size - 4096, b"\0"))
            self.seal(place)
        return self

    def seal(self, place: int, **fields: t.Any) -> Image:
        """LUKS2: a right checksum for the copy at ``place``, after ``fields`` (name -> bytes) were set."""
        offsets = {"seqid": 16, "label": 24, "alg": 72, "salt": 104, "padding": 264}
        for name, value in fields.items():
            self.patch(place + offsets[name], value)
        algorithm = self.at(place + 72, 32).split(b"\0", 1)[0].decode()
        self.patch(place + 448, bytes(64))
        self.patch(place + 448, hashlib.new(algorithm, self.at(place, self.hdr_size)).digest())
        return self


def audit(*images: Image, policy: t.Any = None, now: t.Optional[datetime.datetime] = None, **options: t.Any) -> t.Any:
    """The result of an audit of one or several images."""
    where = {"device": str(images[0].path)} if len(images) == 1 else {"devices": [str(image.path) for image in images]}
    parsed = audit_task.parse_audit({**where, "policy": LENIENT if policy is None else policy, **options})
    try:
        return audit_audit.audit(parsed, now=now)
    finally:
        parsed.wipe_secrets()


def collected(image: Image, **options: t.Any) -> Evidence:
    """The evidence of the volume, whose secrets are not tried."""
    task = audit_task.parse_audit({"device": str(image.path), "policy": LENIENT, **options})
    now = datetime.datetime.now(datetime.timezone.utc)

    def unlock(_secrets: t.Any) -> t.Any:
        raise AssertionError("no secret is tried here")

    with open_volume(str(image.path), None, writable=False) as volume:
        header = read_header_locked(volume, 10)
        collector = EvidenceCollector(
            dataclasses.replace(task, secrets=()), volume, header, BackupFiles((), 10), unlock, now
        )
        return collector.evidence()


def extended(**keys: t.Any) -> Tree:
    return {**LENIENT, **keys}
