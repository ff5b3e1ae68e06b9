# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""From the arguments of ``keyslots_info`` to a task, as :mod:`.parse` does for ``keyslots``."""

from __future__ import annotations

import dataclasses
import typing as t

from ..crypto.kdf import Budget
from .options import items_of, parse_budget, parse_header_path, parse_path, parse_seconds
from .secret_list import SecretList
from .secrets import Secret
from .volume_keys import unlocking


@dataclasses.dataclass(frozen=True)
class InfoTask:
    """A whole task of the ``keyslots_info`` module; ``labels[n]`` names secret ``n`` in messages."""

    device: str
    header: t.Optional[str]
    secrets: t.Tuple[Secret, ...]
    labels: t.Tuple[str, ...]
    warnings: t.Tuple[str, ...]
    lock_timeout: float
    budget: Budget
    volume_keys: t.Tuple[Secret, ...] = ()

    def wipe_secrets(self) -> None:
        for secret in (*self.secrets, *self.volume_keys):
            secret.wipe()


def parse_info(params: t.Mapping[str, t.Any]) -> InfoTask:
    """The task that ``params`` describe. Raises what :func:`parse_task` raises."""
    device = parse_path(params.get("device"), "device")
    header = parse_header_path(params)
    with SecretList() as secrets:
        unlocking(secrets, items_of(params, "secrets"), "secrets")
        return InfoTask(
            device=device,
            header=header,
            labels=secrets.labels(),
            warnings=secrets.warnings(),
            lock_timeout=parse_seconds(params),
            budget=parse_budget(params),
            volume_keys=secrets.volume_keys_handed_over(),
            secrets=secrets.handed_over(),  # last: from here on the caller wipes them
        )
