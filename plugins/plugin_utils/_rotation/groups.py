# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""Groups: volumes of a host that share one secret, such as block, db and wal of a Ceph OSD, or the members of a RAID.

Pure.
"""

from __future__ import annotations

import typing as t
import uuid

from .answers import Seen, seen
from .entry import BadEntry, check_uuid

# The uuids of groups whose name is none.
_NAMES = uuid.UUID("6f0d8f0e-6b6c-4d52-9c0b-0d4e5f0a7a41")


class Group(t.NamedTuple):
    """uuid: under which the store has its entry. members: UUIDs in lower case, and paths of devices."""

    name: str
    uuid: str
    members: t.Tuple[str, ...]


def group(name: str, members: t.Sequence[str]) -> Group:
    """A name that is a UUID (such as that of an OSD) is that of the entry, too. Raises ValueError."""
    if not name or not members:
        raise ValueError(f"group {name!r} of rotate_groups needs a name and volumes")
    try:
        identity = check_uuid(name)
    except BadEntry:
        identity = str(uuid.uuid5(_NAMES, name))
    found = tuple(dict.fromkeys(one if "/" in one else one.lower() for one in members))
    return Group(name, identity, found)


def groups(given: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[Group]:
    """The groups of ``rotate_groups``. Raises ValueError."""
    found = [group(one["name"], one["volumes"]) for one in given]
    for number, one in enumerate(found):
        for other in found[:number]:
            if one.uuid == other.uuid:
                raise ValueError(f"rotate_groups has the group {one.name!r} twice")
            both = set(one.members) & set(other.members)
            if both:
                raise ValueError(f"{min(both)} is in the groups {other.name!r} and {one.name!r} of rotate_groups")
    return found


def groups_of(groups: t.Sequence[Group], volumes: t.Sequence[Seen]) -> t.Tuple[t.List[t.Optional[Group]], t.List[Seen]]:
    """The group of each volume, then of each that was missed; and those, as volumes that are refused."""
    found = [_group_of(groups, volume) for volume in volumes]
    away = []
    for one in groups:
        own = [volume for volume, its in zip(volumes, found) if its == one]
        there = {name for volume in own for name in (volume.device, volume.uuid.lower())}
        for member in one.members:
            if member not in there:
                away.append(_away(one, member))
                found.append(one)
    return found, away


def _group_of(groups: t.Sequence[Group], volume: Seen) -> t.Optional[Group]:
    """A volume that is in one group by its UUID and in another one by its device is in the first of them, and then the
    other one misses it.
    """
    names = {volume.device, volume.uuid.lower()}
    return next((one for one in groups if names & set(one.members)), None)


def _away(group: Group, member: str) -> Seen:
    msg = (
        f"it belongs to the group {group.name!r} of rotate_groups, and is not among the volumes of this host that were "
        "looked at. Nothing was changed."
    )
    answer = {"device": member, "phase": "look", "failed": True, "msg": msg}
    return seen({"volumes": [answer]})[0]
