# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Parses the task of a header backup: everything that can be checked before a volume is touched."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..crypto.kdf import Budget
from ..errors import BadTask
from ..task.options import choice_of, items_of, parse_budget, parse_header_path, parse_path, parse_seconds
from ..task.secret_list import SecretList
from ..task.secrets import Secret
from ..task.volume_keys import unlocking

PRESENT = "present"
RESTORED = "restored"
STATES = (PRESENT, RESTORED)


@dataclasses.dataclass(frozen=True)
class BackupTask:
    """A task of the ``header_backup`` module; ``labels[n]``: the name of secret ``n`` of ``unlock`` in messages."""

    device: str
    header: t.Optional[str]
    path: str
    state: str
    force: bool
    secrets: t.Tuple[Secret, ...]
    labels: t.Tuple[str, ...]
    warnings: t.Tuple[str, ...]
    lock_timeout: float
    budget: Budget
    volume_keys: t.Tuple[Secret, ...] = ()

    def wipe_secrets(self) -> None:
        """Overwrite all secrets with zeros."""
        for secret in (*self.secrets, *self.volume_keys):
            secret.wipe()


def parse_backup(params: t.Mapping[str, t.Any]) -> BackupTask:
    """The task. Raises BadTask or BadSecret, after wiping the secrets read so far."""
    device, path = parse_path(params.get("device"), "device"), parse_path(params.get("path"), "path")
    if not path.startswith("/"):
        raise BadTask(
            f"path is {path!r}, which is no absolute path",
            why="It would lead to whatever folder the module runs in on the managed host",
            remedy=f"Give the whole path, such as /var/backups/{path.rpartition('/')[2] or 'NAME'}",
        )
    header = parse_header_path(params)
    state = choice_of(params, "state", STATES)
    for name, other in (("device", device), ("header", header)):
        if other is not None and _same(path, other):
            raise same_file(name)
    with SecretList() as secrets:
        unlocking(secrets, items_of(params, "unlock"), "unlock")
        if state == RESTORED and not secrets.members:
            raise BadTask(
                "unlock has a volume key only" if secrets.volume_keys else "unlock is empty",
                why="Before a backup replaces a header, a secret has to prove that the backup can be opened",
                remedy="Give a secret under unlock that was valid when the backup was made",
            )
        return BackupTask(
            device=device,
            header=header,
            path=path,
            state=state,
            force=bool(params.get("force")),
            labels=secrets.labels(),
            warnings=secrets.warnings(),
            lock_timeout=parse_seconds(params),
            budget=parse_budget(params),
            volume_keys=secrets.volume_keys_handed_over(),
            secrets=secrets.handed_over(),  # last: the caller wipes them from here on
        )


def same_file(name: str) -> BadTask:
    """``name``: of the option that leads to the same bytes as ``path``."""
    return BadTask(
        f"path and {name} are the same file",
        why="The backup would overwrite what it is to save",
        remedy="Give another path",
    )


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return os.path.abspath(one) == os.path.abspath(other)
