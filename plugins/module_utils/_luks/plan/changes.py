# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What the entries of a task need of each keyslot, before :mod:`.ordering` puts it in order."""

from __future__ import annotations

import typing as t


class Add(t.NamedTuple):
    """``secret`` into ``keyslot``, or into a free one if None."""

    secret: int
    keyslot: t.Optional[int]
    entry: int
    priority: t.Optional[str]
    reason: str


class Rekey(t.NamedTuple):
    """An active keyslot gets ``secret``; ``replaced``: label of the old secret; ``costs_only``: they are the same.

    ``overwrites``: by force; ``own_key``: of an unbound keyslot; ``lost_token``: see :class:`.actions.Action`.
    """

    secret: int
    entry: int
    priority: t.Optional[str]
    reason: str
    replaced: str = ""
    costs_only: bool = False
    overwrites: bool = False
    own_key: bool = False
    lost_token: str = ""


class Changes:
    """The unordered content of a plan: what the entries need, per keyslot.

    erases:     keyslot -> (label, reason).
    never_fill: keyslots that must end inactive.
    never_hold: (keyslot, secret) that must not open it.
    """

    def __init__(self) -> None:
        self.adds: t.List[Add] = []
        self.rekeys: t.Dict[int, Rekey] = {}
        self.erases: t.Dict[int, t.Tuple[str, str]] = {}
        self.priorities: t.Dict[int, str] = {}
        self.never_fill: t.Set[int] = set()
        self.never_hold: t.Set[t.Tuple[int, int]] = set()

    @property
    def empty(self) -> bool:
        """Whether no keyslot changes."""
        return not (self.adds or self.rekeys or self.erases or self.priorities)
