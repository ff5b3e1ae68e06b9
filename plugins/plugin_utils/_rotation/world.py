# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What the machine of a rotation needs of the world: a host, a store, chance, and somebody who is told what happens.

Whoever carries a rotation out gives one of each. None of them is Ansible's here, so that tests can give their own.
"""

from __future__ import annotations

import datetime
import enum
import secrets
import typing as t

from . import passphrase
from .decision import TIMES, Wanted
from .entry import Secret
from .stores import Stored

Answer = t.Mapping[str, t.Any]


class Phase(enum.Enum):
    """Where a volume is. Between two of them the rotation may be killed; docs/rotation.md says what that leaves."""

    LOOK = "look"
    DECIDE = "decide"
    STAGE = "stage"
    ADD = "add"
    INITRAMFS = "initramfs"
    PROMOTE = "promote"
    ERASE = "erase"
    FORGET = "forget"
    END = "end"


class HostError(Exception):
    """The host did not do what it was asked for: a sentence for an operator, without a secret."""


class Host(t.Protocol):
    """Each method raises HostError, and lets through what means that the host is gone."""

    def step(self, options: t.Mapping[str, t.Any]) -> Answer:
        """What the module ``rotation_step`` returns for these options. It was not checked: the host may lie."""

    def holds_keyfile(self, name: str, path: str) -> bool:
        """Whether an initramfs holds this keyfile of crypttab, or cannot be looked into."""

    def build_initramfs(self) -> None:
        """Build every initramfs anew."""


class Asked(t.Protocol):
    """A store (:class:`.stores.Store`) to the machine."""

    def check(self) -> None:
        """As :meth:`.stores.Store.check`."""

    def known(self, prefix: str) -> t.Optional[t.Mapping[str, Stored]]:
        """All that the store holds under keys that begin so, or None if it cannot list that."""

    def read(self, key: str) -> Stored:
        """As :meth:`.stores.Store.read`."""

    def write(self, key: str, entry: t.Dict[str, t.Any], version: t.Any) -> Stored:
        """As :meth:`.stores.Store.write`."""


class Progress(t.Protocol):
    def phase(self, volume: str, number: int, count: int, phase: Phase, says: str, loud: bool) -> None:
        """``phase`` of the volume at path ``volume``, ``number`` of ``count``, begins. ``says``: a sentence or "".

        loud: something is going to change, or was refused.
        """


class Chance:
    """The clock and the random numbers of the system."""

    def secret(self, identity: str, wanted: Wanted, form: str, entropy: int) -> Secret:
        """A new secret: the passphrase that is ``wanted``, else one of this form and entropy. Raises ValueError."""
        given = wanted.passphrase
        return {
            "id": identity,
            "passphrase": self.passphrase(form, entropy) if given is None else given,
            "generation": wanted.generation,
            "created": self.now().strftime(TIMES),
            "entropy": passphrase.bits(form, entropy) if given is None else None,
        }

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.timezone.utc)

    def identity(self) -> str:
        return secrets.token_hex(4)

    def passphrase(self, form: str, entropy: int) -> str:
        return passphrase.make(form, entropy)
