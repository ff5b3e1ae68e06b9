# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The audit of all volumes of a host in one call: each alone, with a policy of its own."""

from __future__ import annotations

import os
import typing as t

from ..errors import LuksmithError, expected_only
from ..result.actions import Result
from ..volume.discovery import discover
from ..volume.mounts import mounts
from ..volume.read_header import read_header_locked
from ..volume.storage import open_volume
from .audit import FAILED, audit
from .audit_task import parse_audit

Params = t.Mapping[str, t.Any]

_SHARED = ("secrets", "forbidden_secrets", "backups", "verify", "kdf_limits", "lock_timeout")


# Where GRUB keeps its own files on a host that boots with it.
GRUB_FOLDERS = ("/boot/grub", "/boot/grub2")


def audit_host(params: Params) -> Result:
    """``volumes``: the result of the module ``audit`` for each, with the state ``failed`` and the reason where there is
    none. ``unreadable``: devices that may be volumes, and cannot be read. ``unmatched``: patterns without a volume.
    ``excluded``: what of the option left something out on this host.
    """
    named: t.Sequence[Params] = params["volumes"]
    found = discover(
        paths=[*params["paths"], *(volume["device"] for volume in named)],
        block_devices=params["block_devices"] and not named,
        crypttab_path=params["crypttab"],
    )
    exclude = params["exclude"]
    kept = [one for one in found["volumes"] if one["uuid"] not in exclude and one["device"] not in exclude]
    known = {one["device"]: one for one in found["volumes"]}
    warnings = list(found["warnings"])
    volumes = [_audited(params, volume, known.get(volume["device"], {}), warnings) for volume in named or kept]
    unreadable = [device for device in found["unreadable"] if device not in exclude]
    places = [] if named else [one[name] for one in found["volumes"] for name in ("uuid", "device")]
    return {
        "changed": False,
        "volumes": volumes,
        "excluded": [name for name in exclude if name in places or name in found["unreadable"]],
        "unreadable": unreadable,
        "unmatched": found["unmatched"],
        "warnings": list(dict.fromkeys(warnings)),
    }


def _audited(params: Params, volume: Params, known: Params, warnings: t.List[str]) -> Result:
    place = {"device": volume["device"], "header": volume.get("header")}
    policy = _policy_for(params, volume["device"], known)
    try:
        with expected_only():
            shared = {name: params[name] for name in _SHARED}
            stored = _stored_for(params, place, known) if params.get("stored") else None
            grub = bool(known) and holds_boot(known, [mount.target for mount in mounts()])
            task = parse_audit(
                {
                    **place,
                    **shared,
                    "policy": policy,
                    "stored": stored,
                    "grub": grub,
                    "prints_key": params.get("prints_key"),
                }
            )
            try:
                result = audit(task)
            finally:
                task.wipe_secrets()
    except LuksmithError as error:
        empty: Result = {"findings": [], "unverified": []}
        said = str(error.on(volume["device"]))
        return {**place, "uuid": known.get("uuid"), "state": FAILED, "msg": said, **empty}
    warnings += [f"{volume['device']}: {warning}" for warning in result.pop("warnings")]
    return result


def _stored_for(params: Params, place: Params, known: Params) -> Params:
    """What the store says of the volume at ``place``: the item with its path, else with its uuid, else with neither.

    Raises LuksmithError if its header cannot be read.
    """
    for item in params["stored"]:
        if item.get("device") == place["device"]:
            return t.cast(Params, item)
    uuid = known.get("uuid")
    if not uuid or place["header"]:
        with open_volume(place["device"], place["header"], writable=False) as volume:
            uuid = read_header_locked(volume, params["lock_timeout"]).uuid
    others: t.List[Params] = []
    for item in params["stored"]:
        if item.get("device"):
            continue
        if (item.get("uuid") or "").lower() == uuid.lower():
            return t.cast(Params, item)
        if not item.get("uuid"):
            others.append(item)
    return others[0] if others else {"problem": "the controller said nothing of this volume"}


def holds_boot(known: Params, mounted: t.Sequence[str]) -> bool:
    """Whether GRUB has to open the volume that was found as ``known``; ``mounted``: where the host mounts anything."""
    targets = {target for mapping in known.get("open") or () for target in mapping["mounts"]}
    on_it = "/boot" in targets or ("/" in targets and "/boot" not in mounted)
    return on_it and any(os.path.isdir(folder) for folder in GRUB_FOLDERS)


def _policy_for(params: Params, device: str, known: Params) -> t.Any:
    for name in (device, known.get("uuid"), known.get("label")):
        if name and name in params["policies"]:
            return params["policies"][name]
    return params["policy"]
