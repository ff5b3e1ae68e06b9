# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""One step of a plan.

Apart from :mod:`.types`: modules without a plan import it to tell what an interrupted run did.
"""

from __future__ import annotations

import typing as t

from ..word import Word


class ActionKind(Word):
    """The kinds of actions, by their words in results."""

    ADD = "add"
    REKEY = "rekey"
    ERASE = "erase"
    FINISH_ERASE = "finish-erase"
    SET_PRIORITY = "set-priority"
    HEAL_HEADER = "heal-header"
    COPY_HEADER = "copy-header"
    REMOVE_COPY = "remove-copy"
    # Of header backups
    WRITE_BACKUP = "write-backup"
    RESTRICT_MODE = "restrict-mode"
    RESTORE = "restore"
    RESTORE_HEADER = "restore-header"


class Action(t.NamedTuple):
    """One step of a plan.

    secret:   number of the secret that opens the keyslot afterwards (add, rekey), else None.
    entry:    position of the entry whose costs apply (add, rekey), None for the end of an interrupted rekey.
    label:    of ``secret``, or of the proven secret that is removed; for people.
    reason:   a sentence for people; it decides nothing.
    in_place: rekey without room for a second area: erase durably, then add, under an intent.
    resume:   continues the intent of an interrupted run where it stopped.
    temporary_slot: the other keyslot of an interrupted LUKS1 rekey.
    priority: the priority to set (add, set-priority), else None.
    overwrites: rekey by ``force``; tokens of others that name the keyslot lose it, since they hold its old secret.
    own_key: rekey of an unbound keyslot, which keeps the key that it has.
    lost_token: type of a token that is not true of the new secret and loses the keyslot (rekey), else "".
    """

    kind: ActionKind
    keyslot: t.Optional[int]
    reason: str
    label: str = ""
    secret: t.Optional[int] = None
    entry: t.Optional[int] = None
    in_place: bool = False
    resume: bool = False
    temporary_slot: t.Optional[int] = None
    priority: t.Optional[str] = None
    overwrites: bool = False
    own_key: bool = False
    lost_token: str = ""
