# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The store of a rotation as evidence for an audit: read for each volume, never written.

The secrets of an entry go to the host whose name the key of the entry has, and to no other.
"""

from __future__ import annotations

import typing as t

from ..module_utils._luks.errors import shown
from ..module_utils._luks.task.volume_keys import KEY_SOURCES
from ._rotation.entry import LABEL, BadEntry, Entry, check_uuid, held, notes, read, told
from ._rotation.groups import groups
from ._rotation.role_variables import SPEC
from ._rotation.stores import UNCHANGED, Stored, StoreError, known

Option = t.Dict[str, t.Any]

# Variables of the role rotate that say which store it is, which secrets it keeps, and which volumes share one.
STORE_SPEC = {
    name: SPEC[name]
    for name in (
        "rotate_keeps",
        "rotate_replaces",
        "rotate_store_prefix",
        "rotate_store_previous",
        "rotate_store_options",
        "rotate_vault_file",
        "rotate_vault_id",
        "rotate_command",
        "rotate_ceph",
        "rotate_hashi_vault",
        "rotate_hashi_vault_mount",
        "rotate_hashi_vault_path",
        "rotate_groups",
        "rotate_escrow_folder",
        "rotate_escrow_certificates",
        "rotate_escrow_private_key",
        "rotate_escrow_signers",
        "rotate_escrow_accept_unsigned",
    )
}


def variables_of(given: t.Mapping[str, t.Any]) -> Option:
    """What the store is made with; it must be there."""
    return {**given, "rotate_store_create": False}


class Entries:
    """What the store holds for the volumes of one host, as the option ``stored`` of the module.

    store: one of :mod:`._rotation.stores`; given: variables of :data:`STORE_SPEC`. Raises ValueError.
    """

    def __init__(self, store: t.Any, host: str, given: t.Mapping[str, t.Any]) -> None:
        self._store = store
        self._host = host
        self._start = f"{given['rotate_store_prefix']}{host}/"
        # UUID or path of a volume -> the entry of its group. What a path names is found out on the host only.
        self._shared = {member: one.uuid for one in groups(given["rotate_groups"]) for member in one.members}
        kept, gone = (_named(given, name) for name in ("rotate_keeps", "rotate_replaces"))
        self._always: Option = {
            "kept": [secret["label"] for secret in kept],
            "older": [secret["label"] for secret in gone],
            "secrets": [*kept, *gone],
        }

    def listed(self) -> t.Optional[t.List[Option]]:
        """All of them, and one for volumes that it does not know; None if the store cannot list what it holds."""
        try:
            found = known(self._store, self._start)
        except StoreError as error:
            return [{**self._always, "problem": _said(error)}]
        if found is None:
            return None
        items = []
        for key, stored in found.items():
            try:
                uuid = check_uuid(key[len(self._start) :])
            except BadEntry:
                continue  # the key of no volume
            items.append(self._item(uuid, stored))
        for member, uuid in self._shared.items():
            stored = found.get(self._start + uuid)
            if stored is not None:
                name = {"uuid": None, "device": member} if "/" in member else {"uuid": member}
                items.append({**self._item(uuid, stored), **name})
        return [*items, dict(self._always)]

    def of(self, volumes: t.Iterable[t.Tuple[t.Any, str]]) -> t.List[Option]:
        """Those of these volumes, device and UUID, which the host named."""
        items: t.List[Option] = []
        for device, uuid in dict.fromkeys(volumes):
            try:
                name = check_uuid(uuid)
            except BadEntry:
                continue  # the store could not tell it from others, so that it is one that the store does not know
            by_path = self._shared.get(device)
            shared = by_path or self._shared.get(name)
            place = {"uuid": name, **({"device": device} if by_path else {})}
            try:
                stored = self._store.read(f"{self._start}{shared or uuid}")
                items.append({**self._item(shared or name, stored), **place})
            except StoreError as error:
                items.append({**place, **self._always, "problem": _said(error)})
        return [*items, dict(self._always)]

    def _item(self, uuid: str, stored: Stored) -> Option:
        try:
            entry = read(stored.entry, self._host, uuid, "")
        except BadEntry as error:
            return {"uuid": uuid, **self._always, "problem": str(error)}
        if entry.get("behind"):
            return {"uuid": uuid, **self._always, "problem": _differ(entry)}
        current, staged = entry["current"], entry["next"]
        secrets = {
            LABEL + secret["id"]: {"label": LABEL + secret["id"], "passphrase": secret["passphrase"]}
            for secret in held(entry)
            if secret.get("passphrase")
        }
        return {
            "uuid": uuid,
            "current": LABEL + current["id"] if current else None,
            "created": str(current.get("created") or "") if current else None,
            "given": "; ".join(told(notes(one)[-1]) for one in (current, staged) if notes(one)) or None,
            "staged": LABEL + staged["id"] if staged else None,
            "older": [*(LABEL + secret["id"] for secret in entry["older"]), *self._always["older"]],
            "kept": self._always["kept"],
            "secrets": [*self._always["secrets"], *secrets.values()],
        }


def _named(given: t.Mapping[str, t.Any], name: str) -> t.List[Option]:
    """The secrets of a variable, each with a label; the host asks a token for its own. A volume key is no secret."""
    return [
        {**one, "label": one.get("label") or f"{name}[{number}]"}
        for number, one in enumerate(given[name])
        if all(one.get(source) is None for source in KEY_SOURCES)
    ]


def _differ(entry: Entry) -> str:
    """Of several stores, which no run of the rotation has brought together since one of them was changed."""
    where = (entry["next"] or {}).get("where")
    told = f"secret {shown(entry['next']['id'])} is {where}" if where else f"{' and '.join(entry['behind'])} is behind"
    return f"the stores differ: {told}. Run the rotation of this volume, which brings them together"


def _said(error: StoreError) -> str:
    """Without the sentence that it was not changed: an audit never writes to it."""
    return str(error).replace(UNCHANGED, "").strip().rstrip(".")
