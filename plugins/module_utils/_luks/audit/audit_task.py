# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Parses the task of an audit: everything that can be checked before a volume is touched."""

from __future__ import annotations

import dataclasses
import typing as t

from ..crypto.kdf import Budget
from ..errors import BadTask
from ..task.options import PROOF, RECORD, choice_of, items_of, parse_budget, parse_path, parse_seconds, parse_volumes
from ..task.secret_list import SecretList
from ..task.secrets import Secret
from ..task.volume_keys import unlocking
from . import policy
from .policy import SEVERITIES, Policy
from .rules import IDS
from .stored import Stored, read_stored

NEVER = "never"
FAIL_ON = (NEVER, *SEVERITIES)
VERIFY = (PROOF, RECORD)


@dataclasses.dataclass(frozen=True)
class AuditTask:
    """A task of the ``audit`` module.

    labels[n]: the name of secrets[n] in messages; allowed, forbidden: numbers of the secrets that may and must not open
    a volume; older: of those of the store that must not. stored: what the store says of the volume, None without one.
    grub: /boot is on the volume, and GRUB boots from there. prints_key: of this run, for fingerprints, or nothing.
    """

    devices: t.Tuple[str, ...]
    single: bool
    header: t.Optional[str]
    policy: Policy
    secrets: t.Tuple[Secret, ...]
    labels: t.Tuple[str, ...]
    allowed: t.Tuple[int, ...]
    forbidden: t.Tuple[int, ...]
    backups: t.Tuple[str, ...]
    by_record: bool
    fail_on: str
    warnings: t.Tuple[str, ...]
    lock_timeout: float
    budget: Budget
    older: t.Tuple[int, ...] = ()
    stored: t.Optional[Stored] = None
    grub: bool = False
    prints_key: bytes = b""
    volume_keys: t.Tuple[Secret, ...] = ()

    def wipe_secrets(self) -> None:
        """Overwrite all secrets with zeros."""
        for secret in (*self.secrets, *self.volume_keys):
            secret.wipe()


def parse_audit(params: t.Mapping[str, t.Any]) -> AuditTask:
    """The task. Raises BadTask or BadSecret, after wiping the secrets read so far."""
    devices, single, header = parse_volumes(params)
    given = params.get("policy")
    asked = policy.parse("strict" if given is None else given, IDS)
    with SecretList() as secrets:
        allowed = unlocking(secrets, items_of(params, "secrets"), "secrets")
        forbidden = [
            secrets.number_of(item, f"forbidden_secrets[{index}]")
            for index, item in enumerate(items_of(params, "forbidden_secrets"))
        ]
        stored = read_stored(params.get("stored"), secrets)
        labels = secrets.labels()
        both = set(allowed).intersection(forbidden)
        if both:
            raise BadTask(
                f"the secret {labels[min(both)]!r} is in secrets and in forbidden_secrets",
                why="It cannot be both allowed and forbidden",
                remedy="Remove it from one of the lists",
            )
        return AuditTask(
            devices=devices,
            single=single,
            header=header,
            policy=asked,
            labels=labels,
            allowed=tuple(dict.fromkeys([*allowed, *(stored.allowed if stored else ())])),
            forbidden=tuple(dict.fromkeys(forbidden)),
            backups=tuple(
                parse_path(item, f"backups[{index}]") for index, item in enumerate(items_of(params, "backups"))
            ),
            by_record=choice_of(params, "verify", VERIFY) == RECORD,
            fail_on=choice_of(params, "fail_on", FAIL_ON),
            warnings=secrets.warnings(),
            lock_timeout=parse_seconds(params),
            budget=parse_budget(params),
            older=tuple(dict.fromkeys(stored.older if stored else ())),
            stored=stored.named(labels) if stored else None,
            grub=bool(params.get("grub")),
            prints_key=_prints_key(params.get("prints_key")),
            volume_keys=secrets.volume_keys_handed_over(),
            secrets=secrets.handed_over(),  # last: the caller wipes them from here on
        )


def _prints_key(value: t.Any) -> bytes:
    try:
        return bytes.fromhex(value or "")
    except (TypeError, ValueError):
        raise BadTask("prints_key is no hexadecimal text", remedy="Use the role audit, which draws it") from None
