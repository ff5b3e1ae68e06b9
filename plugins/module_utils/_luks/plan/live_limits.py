# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What a plan may not contain if the QEMU that has the image open is to carry it out. Pure, as all of planning.

QEMU sets and clears keyslots of LUKS1 for the time that a derivation is to take. What else the format can hold needs
the image free.
"""

from __future__ import annotations

import typing as t

from ..errors import Refused
from ..header.model import Header
from ..task.desired import Desired
from .types import Action, ActionKind, Plan


def check_live(
    plan: Plan, header: Header, desired: Desired, unusable: t.Mapping[int, str], openers: t.Collection[int]
) -> None:
    """Raises Refused, before anything is written, if QEMU cannot do a part of ``plan``; names that part.

    unusable: secret -> why QEMU cannot take it ("contains a NUL byte"). openers: secrets that open a keyslot now.
    """
    if header.format != "luks1":
        raise _needs_it_free("a change of a LUKS2 volume", "QEMU knows LUKS1 only")
    if header.intent is not None:
        raise _needs_it_free(
            "the end of what an interrupted run began",
            "it is noted in the header, of which QEMU writes only its own part",
        )
    noted = {number for token in header.tokens for number in token.keyslots}
    for action in plan.actions:
        if action.kind == ActionKind.COPY_HEADER:
            raise _needs_it_free(
                "a copy of the header in backup_dir",
                "the header has to name that copy, and QEMU writes only its own part of it",
            )
        if action.kind not in (ActionKind.ADD, ActionKind.REKEY, ActionKind.ERASE, ActionKind.FINISH_ERASE):
            raise _needs_it_free(f"{action.kind} of keyslot {action.keyslot}", "QEMU has no command for it")
        if action.in_place:
            raise _needs_it_free(
                f"a new secret in keyslot {action.keyslot}",
                "no keyslot is free for a copy meanwhile, and what a crash would leave cannot be noted",
                "erase another keyslot first (state: absent with its number), or run the task when the image is free",
            )
        if action.keyslot in noted and (action.kind == ActionKind.ERASE or action.overwrites):
            raise _needs_it_free(f"the entry of luksmeta for keyslot {action.keyslot}", "QEMU does not know luksmeta")
        _check_entry(action, desired)
        if action.secret is not None and action.secret in unusable:
            raise _needs_it_free(
                f"a keyslot for {desired.labels[action.secret]}",
                f"it {unusable[action.secret]}, and QEMU cannot take it",
            )
    adds = any(action.secret is not None for action in plan.actions)
    if adds and not any(secret not in unusable for secret in openers):
        known = " and ".join(f"{desired.labels[secret]} {unusable[secret]}" for secret in sorted(set(openers)))
        raise _needs_it_free(
            "a new keyslot",
            f"QEMU opens the volume with a passphrase only, and {known or 'the task has none that opens it'}",
            "give one under unlock, or run the task when the image is free",
        )


def _check_entry(action: Action, desired: Desired) -> None:
    if action.entry is None:
        return
    entry = desired.entries[action.entry]
    if entry.binding is not None and action.secret is not None:
        raise _needs_it_free(
            f"a binding (keyslots[{action.entry}])", "QEMU makes the keyslot alone, and nothing would unlock it"
        )
    if entry.costs.iterations is not None:
        raise _needs_it_free(
            f"pbkdf.iterations of keyslots[{action.entry}]",
            "QEMU chooses the iterations itself, by the time that they take",
            "give iter_time in its place, or run the task when the image is free",
        )


def _needs_it_free(part: str, why: str, remedy: str = "run the task when the image is free") -> Refused:
    return Refused(f"{part} cannot be made while QEMU has the image open", why=why, remedy=remedy)
