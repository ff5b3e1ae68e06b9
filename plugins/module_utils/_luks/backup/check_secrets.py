# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Tries every secret of a task on every keyslot of a header, which also yields the volume key."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ..unlock.prover import Prover
from ..unlock.session import unlock_session
from .backup_result import Opened
from .backup_task import BackupTask
from .image import Image


@dataclasses.dataclass(frozen=True)
class SecretCheck:
    """``volume_key``: wiped at the end of the check; None if no secret opens a keyslot of the data."""

    opened: Opened
    volume_key: t.Optional[bytearray]


@contextlib.contextmanager
def check_secrets(task: BackupTask, image: Image) -> t.Iterator[SecretCheck]:
    """Try every secret of the task on every keyslot of ``image``. Raises what :meth:`.Prover.try_slot` raises."""
    with unlock_session(task.secrets, task.budget, task.volume_keys) as session:
        prover = session.prover(image.header, image.read)
        opened = _try_all(task, prover)
        keys = {key.labels[0]: prover.why_not_key(number) for number, key in enumerate(task.volume_keys)}
        opened = dataclasses.replace(opened, evaluations=session.evaluations, volume_keys=keys)
        yield SecretCheck(opened, prover.volume_key)


def _try_all(task: BackupTask, prover: Prover) -> Opened:
    keyslots = prover.header.keyslots
    if not task.secrets:
        return Opened(untried=tuple(keyslots))
    prover.expect(((secret, keyslot) for keyslot in keyslots for secret in range(len(task.secrets))), unbound=True)
    warnings = []
    for keyslot in keyslots:
        for secret in range(len(task.secrets)):
            prover.try_slot(secret, keyslot)
        reason = prover.why_untried(keyslot)
        if reason:
            warnings.append(f"keyslot {keyslot} could not be tried: {reason}")
    warnings.extend(prover.token_failures())
    by_slot = {
        keyslot: tuple(task.labels[secret] for secret in secrets) for keyslot, secrets in prover.openers().items()
    }
    return Opened(
        by_slot, tuple(keyslot for keyslot in keyslots if keyslot not in prover.tried()), warnings=tuple(warnings)
    )
