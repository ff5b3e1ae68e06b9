# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The state that a task describes. Pure values; secrets appear as numbers only.

A *secret number* is the position of a secret in :attr:`Desired.labels`, and in the list of secrets that :mod:`.parse`
builds beside it. Two secrets with the same bytes share one number.
"""

from __future__ import annotations

import typing as t

PRESENT = "present"
ABSENT = "absent"


class Costs(t.NamedTuple):
    """Explicit key derivation costs of an entry; None: not given. ``memory`` in KiB. All None: costs never drift."""

    type: t.Optional[str] = None
    hash: t.Optional[str] = None
    iterations: t.Optional[int] = None
    time: t.Optional[int] = None
    memory: t.Optional[int] = None
    parallel: t.Optional[int] = None

    @property
    def given(self) -> bool:
        return any(value is not None for value in self)


class Binding(t.NamedTuple):
    """A keyslot whose key a TPM or a server keeps. ``config``: of a Clevis pin, as JSON with sorted members.

    None or "" of an entry that is absent: whatever the binding has.
    """

    type: str
    pcrs: t.Optional[t.Tuple[int, ...]] = None
    with_pin: bool = False
    device: str = ""
    pin: str = ""  # name of the Clevis pin
    config: str = ""

    def same_kind(self, other: Binding) -> bool:
        """Whether one of both replaces the other: of a TPM, or of the same pin of Clevis."""
        return self.type == other.type and (self.pin == other.pin or not self.pin or not other.pin)


class Entry(t.NamedTuple):
    """One item of the task's ``keyslots``; ``iter_time`` in milliseconds.

    One that is present and has no ``new_secret`` gives ``keyslot`` its ``priority``, whatever opens it.
    """

    position: int
    state: str
    keyslot: t.Optional[int] = None
    new_secret: t.Optional[int] = None
    old_secret: t.Optional[int] = None
    costs: Costs = Costs()
    iter_time: t.Optional[int] = None
    priority: t.Optional[str] = None
    binding: t.Optional[Binding] = None
    token: str = ""  # type of a token that a new keyslot for the secret gets (systemd-recovery)
    because: str = ""  # what asks for it, where no entry of the task names the keyslot


class Desired(t.NamedTuple):
    """The final state that a task describes. ``labels[n]`` names secret ``n`` in messages, ``volume_keys`` those of
    ``unlock``, which open no keyslot."""

    entries: t.Tuple[Entry, ...]
    unlock: t.Tuple[int, ...]
    labels: t.Tuple[str, ...]
    purge: bool = False
    force: bool = False
    allow_lockout: bool = False
    volume_keys: t.Tuple[str, ...] = ()
    backup_dir: str = ""
    by_token: t.Tuple[int, ...] = ()  # secrets that tokens yield, those of bindings included
    recovery_keys: t.Tuple[int, ...] = ()  # secrets of that form, where a header has a token that calls one so
