# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Keyslots that no known secret opens, and what becomes of a volume that has some: the policy rotate_unknown."""

from __future__ import annotations

import typing as t

from .asking import FAIL, REPORT
from .entry import LABEL
from .volume import Refused, Volume


def to_erase(volume: Volume, policy: str) -> t.Tuple[int, ...]:
    """The keyslots that ``policy`` has erased; notes on ``volume`` which are unknown. Raises Refused, also where nobody
    can tell a stranger's keyslot from that of a secret that this run could not try.
    """
    volume.unknown, volume.sealed = volume.seen.unknown, not volume.order["label"]
    own = [row for row in volume.unknown if row["label"] == LABEL + volume.new["id"]]
    by_record = volume.sealed and bool(own)
    if volume.sealed and len(own) == 1:
        volume.unknown = [row for row in volume.unknown if row not in own]
    strangers = [row for row in volume.unknown if not row["label"]]
    untried = [row for row in strangers if not row["tried"]]
    if not strangers or policy == REPORT:
        return ()
    if untried:
        raise Refused(
            f"keyslot {untried[0]['keyslot']} could not be tried ({untried[0]['reason']}), so that nobody knows whose "
            f"it is, and rotate_unknown is {policy}. Find out who wrote it; to erase it, use luksmith.luks.keyslots "
            "with state: absent and its number"
        )
    slots = tuple(row["keyslot"] for row in strangers)
    if volume.sealed:
        _check_beside_sealed(slots, by_record, policy)
        return ()
    if policy == FAIL:
        raise Refused(
            f"{_open(slots)} with no secret of the store, of rotate_keeps or of rotate_replaces, and rotate_unknown is "
            "fail. Find out whose it is, and name its secret in one of them"
        )
    if volume.seen.type == "luks1" and volume.entry["current"] is None and not volume.outlaws:
        raise Refused(
            f"{_open(slots)} with no known secret, rotate_unknown is erase, and the store has no secret of this volume "
            "yet. LUKS1 keeps no record of a rotation: the store of an earlier one, under another path or another name "
            "of the host, may have a secret for that. Run once with rotate_unknown: report; when you know whose "
            "keyslots are to go, run with erase"
        )
    return slots


def _check_beside_sealed(slots: t.Sequence[int], by_record: bool, policy: str) -> None:
    """Of keyslots that nothing opened which could be tried, one is that of the secret of the store, unless the record
    names that one; and nothing is erased by the word of a record.
    """
    if len(slots) > 1 or by_record:
        raise Refused(
            f"{_open(slots)} with no secret that this run could try, and rotate_unknown is {policy}. The secret of the "
            "store is sealed, so that its keyslot cannot be told from a stranger's. Give the private key for this run "
            "(rotate_escrow_private_key)"
        )


def _open(numbers: t.Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"keyslot {numbers[0]} opens"
    return f"keyslots {', '.join(map(str, numbers[:-1]))} and {numbers[-1]} open"
