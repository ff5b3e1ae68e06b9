# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Which secret of a store an operator is shown, and the note of it in the entry: who got it, when and why.

Pure.
"""

from __future__ import annotations

import copy
import typing as t

from ...module_utils._luks.errors import counted
from .entry import BadEntry, Entry, Secret, notes, read
from .groups import Group
from .stores import Stored

FIELDS = ("current", "next")


class Found(t.NamedTuple):
    """key: of the entry in the store; stored: what was there."""

    key: str
    entry: Entry
    stored: Stored


def wanted_entry(known: t.Mapping[str, Stored], start: str, host: str, volume: str, groups: t.Sequence[Group]) -> Found:
    """The entry of ``volume``, among those of ``host``, whose keys begin with ``start``.

    volume: UUID of a volume, its path when it was rotated last, name of a group, or "" for the only one.

    Raises BadEntry.
    """
    found, damaged = [], ""
    for key, stored in sorted(known.items()):
        try:
            device = stored.entry.get("device") if isinstance(stored.entry, dict) else ""
            entry = read(stored.entry, host, key[len(start) :], str(device or ""))
        except BadEntry as error:
            damaged = f"; {key}: {error}"
            continue
        found.append(Found(key, entry, stored))
    shared = {one.uuid: one for one in groups}
    chosen = [one for one in found if not volume or volume in _names(one.entry, shared)]
    if len(chosen) == 1:
        return chosen[0]
    if not found:
        raise BadEntry(
            f"the store has no volume of this host under {start}{damaged}. Compare the name of the host with the one "
            "that it had when it was rotated, and rotate_store with its path and rotate_store_prefix with those of the "
            "rotation"
        )
    told = ", ".join(f"{one.entry['uuid']} ({_place(one.entry, shared)})" for one in found)
    named = f"{counted(len(chosen), 'volume') if chosen else 'no volumes'} named {volume!r}"
    asked = named if volume else counted(len(found), "volume")
    raise BadEntry(f"the store has {asked} of this host. It has: {told}{damaged}. Name one of them by its UUID")


def given_out(entry: Entry, to: str, at: str, why: str) -> t.Tuple[Entry, t.List[Secret]]:
    """The entry with a note at each secret that may open the volume; and these, the current one first.

    Raises BadEntry.
    """
    changed = copy.deepcopy(entry)
    secrets = [changed[field] for field in FIELDS if changed[field]]
    if not secrets:
        raise BadEntry("the store has no secret of this volume that opens it")
    if any(not secret.get("passphrase") for secret in secrets):
        raise BadEntry(
            "the store keeps the secret sealed, and this run has nothing to open it with. Give "
            "rotate_escrow_private_key, or open the envelope with openssl as docs/stores.md says"
        )
    for secret in secrets:
        secret["given"] = [*notes(secret), {"to": to, "at": at, "why": why}]
    return changed, secrets


def _names(entry: Entry, shared: t.Mapping[str, Group]) -> t.Set[str]:
    group = shared.get(entry["uuid"])
    return {entry["uuid"], entry["uuid"].upper(), entry["device"], *([group.name, *group.members] if group else [])}


def _place(entry: Entry, shared: t.Mapping[str, Group]) -> str:
    group = shared.get(entry["uuid"])
    return f"group {group.name}" if group else entry["device"] or "its path is not known"
