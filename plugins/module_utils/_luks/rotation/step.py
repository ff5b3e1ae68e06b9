# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""One step of a rotation on all volumes of a host: what is there and what would happen, or one part of the change.

The controller decides between the steps, because it alone asks the stores. Each volume is looked at and changed alone:
what one refuses does not stop the others.
"""

from __future__ import annotations

import os
import re
import typing as t

from ..errors import Interrupted, LuksmithError, Refused, expected_only
from ..files import KEPT
from ..result.actions import Result
from ..task.parse import parse_task
from ..task.volume_keys import is_volume_key
from ..unlock.verdict import Verdict
from ..usecases.amend import amend

Params = t.Mapping[str, t.Any]

LOOK, ADD, ERASE = STEPS = ("look", "add", "erase")

# The header names the file of its backup, and a header is not to be trusted.
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_OFFSET = re.compile(r"keyfile-offset=(\d+)")
_SIZE = re.compile(r"keyfile-size=(\d+)")
# What the controller needs of a header.
_TOLD = ("label", "cipher", "key_size", "slot_count", "free_keyslots", "record")
_OF_A_CHANGE = ("changed", "plan", "keyslots", "diff", "kdf_evaluations", "warnings", "chain")


def step(params: Params) -> Result:
    """One item for each volume under ``volumes``, in order; ``failed`` is set in that of a volume that was refused."""
    if params["step"] == LOOK:
        return _look(params)
    done = [_change(params, work) for work in params["volumes"]]
    return {"changed": any(one["changed"] for one in done), "volumes": done}


def _look(params: Params) -> Result:
    warnings: t.List[str] = []
    unmatched: t.List[str] = []
    found: t.Optional[t.List[Result]] = None
    chosen: t.Sequence[Params] = params["volumes"]
    if params["discover"] is not None:
        # As somebody wrote them. What this step names is asked for to the letter from then on.
        chosen = [{**one, **{name: _expanded(one[name]) for name in ("device", "header")}} for one in chosen]
    if params["discover"] is not None and chosen and not _has_keyfiles(params["discover"]["crypttab"]):
        found = []  # nothing would be asked of what a search finds
    elif params["discover"] is not None:
        from ..volume.discovery import discover

        wanted = params["discover"]
        paths = [*wanted["paths"], *(work["device"] for work in chosen)]
        facts = discover(paths=paths, block_devices=wanted["block_devices"], crypttab_path=wanted["crypttab"])
        found, warnings, unmatched = facts["volumes"], facts["warnings"], facts["unmatched"]
    if params["discover"] is not None and len(chosen) > 1:
        chosen, twice = _distinct(chosen)
        warnings += twice
    if found is not None and not chosen:
        exclude = params["discover"]["exclude"]
        chosen = [one for one in found if one["uuid"] not in exclude and one["device"] not in exclude]
    seen = [_look_at(params, volume, found) for volume in chosen]
    return {"changed": False, "volumes": seen, "unmatched": unmatched, "warnings": warnings}


def _expanded(path: t.Optional[str]) -> t.Optional[str]:
    """As Ansible does with an option that takes a path."""
    return path and os.path.expanduser(os.path.expandvars(path))


def _distinct(volumes: t.Sequence[Params]) -> t.Tuple[t.List[Params], t.List[str]]:
    """Each header once, however many paths lead to it, and a warning for each of the others."""
    from ..volume.storage import open_volume

    first: t.Dict[t.Any, str] = {}
    chosen, warnings = [], []
    for one in volumes:
        try:
            with expected_only(), open_volume(one["device"], one["header"], writable=False) as volume:
                identity: t.Any = volume.identity
        except LuksmithError:
            identity = (one["device"], one["header"])  # it is refused with the reason, once
        if identity in first:
            warnings.append(f"{one['device']} is the same volume as {first[identity]}, and is rotated as that")
        else:
            first[identity] = one["device"]
            chosen.append(one)
    return chosen, warnings


def _look_at(params: Params, volume: Params, found: t.Optional[t.Sequence[Result]]) -> Result:
    place = {"device": volume["device"], "header": volume["header"]}
    seen: Result = {**place, "phase": "look", "changed": False}
    from ..task.parse_info import parse_info
    from ..usecases.inspect import inspect
    from .unknown import unknown_keyslots

    try:
        with expected_only():
            _check_text(place["device"], place["header"])
            info = inspect(parse_info({**place, "lock_timeout": params["lock_timeout"]}))
            told = {name: info["header"][name] for name in _TOLD}
            seen.update({name: info[name] for name in ("uuid", "type", "container", "keyslots")}, **told)
            seen["chain"] = info.get("chain", [])
            seen["crypttab"] = _keyfiles(found, seen["uuid"]) if found is not None else volume.get("keyfiles") or []
            for keyfile in seen["crypttab"]:
                _check_text(keyfile["path"], what=f"the path of the keyfile of {keyfile['name']} in crypttab")
            work = _work_for(params, volume, seen["uuid"], seen["type"])
            if params["backup"] and _UUID.fullmatch(seen["uuid"]):
                seen["phase"] = "backup"
                seen["backup"] = _backup(params, place, seen["uuid"], check=True)
            if work is not None:
                seen["phase"] = "plan"
                nothing = {"changed": False, "plan": [], "keyslots": seen["keyslots"], "diff": None}
                seen["plan"] = _amend(params, place, work, seen["uuid"], check=True) if work["keyslots"] else nothing
                seen["chain"] = seen["plan"].get("chain", seen["chain"])  # now with what its secrets open
                seen["planned"] = work["uuid"] or ""
                if seen.get("backup") is False and seen["plan"]["changed"]:
                    seen["phase"] = "backup"
                    _check_backup(params, seen["uuid"])
                seen["phase"] = "keyfiles"
                seen["keyfiles"] = _follow(seen["crypttab"], work, check=True)
                seen["phase"] = "look"
                seen["unknown"] = unknown_keyslots(params, place, work, seen["plan"]["keyslots"], seen["record"])
    except LuksmithError as error:
        return {**seen, "failed": True, "msg": str(error.on(volume["device"]))}
    return seen


def _check_text(*paths: t.Optional[str], what: str = "its path") -> None:
    """Raises Refused for bytes that are no text: what a result has in their place would name another file."""
    for path in paths:
        try:
            (path or "").encode("utf-8")
        except UnicodeEncodeError:
            raise Refused(f"{what} is not UTF-8", why="Ansible cannot name such a file", remedy="Rename it") from None


def _work_for(params: Params, volume: Params, uuid: str, format: str) -> t.Optional[Params]:
    """What is wanted of the volume: what came with it, else what is wanted of its uuid, else of volumes in general.

    The latter is asked before anybody knows which volumes have room for a token.
    """
    if volume.get("keyslots"):
        return volume
    by_uuid = {work["uuid"] or "": work for work in params["orders"]}
    work = by_uuid.get(uuid.lower(), by_uuid.get(""))
    if work is None or format != "luks1":
        return work
    return {**work, "keyslots": [_without_token(entry) for entry in work["keyslots"]]}


def _without_token(entry: Params) -> Params:
    new = entry.get("new_secret")
    return {**entry, "new_secret": {**new, "token": None}} if new else entry


def _change(params: Params, work: Params) -> Result:
    place = {"device": work["device"], "header": work["header"]}
    done: Result = {**place, "phase": params["step"], "changed": False}
    uuid = work["uuid"] or ""
    try:
        with expected_only():
            if work["keyslots"]:
                done.update(_amend(params, place, work, uuid, check=False))
            if work["prove"] is not None:
                done["phase"] = "prove"
                _prove(params, place, uuid, work["prove"], done.get("plan", ()))
            done["phase"] = "keyfiles"
            done["keyfiles"] = []
            _follow(work["keyfiles"], work, check=False, followed=done["keyfiles"])
            done["changed"] = done["changed"] or any(one["changed"] for one in done["keyfiles"])
            if params["step"] == ERASE and params["backup"]:
                done["phase"] = "backup"
                done["backup"] = _backup(params, place, uuid, check=False)
                done["changed"] = done["changed"] or done["backup"]
            done["phase"] = params["step"]
    except LuksmithError as error:
        changed = done["changed"] or error.after_change or isinstance(error, Interrupted)
        done["changed"] = changed or any(one["changed"] for one in done.get("keyfiles", ()))
        return {**done, "failed": True, "msg": str(error.on(work["device"]))}
    return done


def _amend(params: Params, place: Params, work: Params, uuid: str, *, check: bool) -> Result:
    options = {name: params[name] for name in ("lock_timeout", "wipe", "backup_dir")}
    options["qmp"] = params["qmp"].get(place["device"])
    task = parse_task({**place, **options, "unlock": work["unlock"], "keyslots": work["keyslots"]})
    try:
        kept = [item for item in work["unlock"][: work["kept"] or 0] if not is_volume_key(item)]
        suggested = {hint["label"]: hint["keyslot"] for hint in work["hints"]}
        result = amend(task, check=check, first=len(kept), suggested=suggested, uuid=uuid, others=params["others"])
    finally:
        task.wipe_secrets()
    return {name: result[name] for name in _OF_A_CHANGE if name in result}


def _prove(params: Params, place: Params, uuid: str, secret: Params, actions: t.Sequence[Result]) -> None:
    """Raises Refused unless ``secret`` opens a keyslot, as the medium has it; those of ``actions`` are tried first."""
    from ..task.parse_info import parse_info
    from ..usecases.proving import proofs
    from ..volume.read_header import check_uuid

    task = parse_info({**place, "secrets": [secret], "lock_timeout": params["lock_timeout"]})
    try:
        with proofs(task, remembered=True) as (_session, _volume, header, prover):
            check_uuid(header, uuid)
            made = [action["keyslot"] for action in actions if action["keyslot"] in header.keyslots]
            if any(prover.verdict(0, keyslot) is Verdict.OPENS for keyslot in (*made, *header.keyslots)):
                return
    finally:
        task.wipe_secrets()
    raise Refused(
        "what the store gave back opens no keyslot after it was added",
        remedy="Find out what else writes to this volume",
        changed="The old secrets still open it",
    )


def _backup(params: Params, place: Params, uuid: str, *, check: bool) -> bool:
    from ..backup.backup_task import parse_backup
    from ..backup.create import create

    path = _backup_path(params, uuid)
    task = parse_backup({**place, "path": path, "lock_timeout": params["lock_timeout"]})
    try:
        return bool(create(task, check=check, uuid=uuid)["changed"])
    except LuksmithError as error:
        if not check and error.changed == KEPT:
            error.changed = "The backup of before stays, and opens the volume with the secrets of before"
        raise


def _check_backup(params: Params, uuid: str) -> None:
    """Raises the StorageFault of a backup that is good now and could not be made again after the change."""
    from ..volume import whole_file

    path = _backup_path(params, uuid)
    whole_file.check_replaceable(path, os.path.getsize(path))


def _backup_path(params: Params, uuid: str) -> str:
    return f"{params['backup']}/{uuid}.luks-header"


def _has_keyfiles(path: str) -> bool:
    """Whether crypttab names a keyfile, or has something of which a search warns."""
    from ..volume import crypttab

    try:
        with open(path, "rb") as stream:
            lines, odd = crypttab.parse(stream.read())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return bool(odd) or any((line.keyfile or "").startswith("/") for line in lines)


def _keyfiles(found: t.Sequence[Result], uuid: str) -> t.List[Result]:
    """The keyfiles that crypttab names for the volume."""
    lines = [line for volume in found if volume["uuid"] == uuid for line in volume["crypttab"]]
    return [
        {
            "name": line["name"],
            "path": line["keyfile"],
            "keyfile_offset": _number(_OFFSET, line["options"]),
            "keyfile_size": _number(_SIZE, line["options"]),
        }
        for line in lines
        if (line["keyfile"] or "").startswith("/")
    ]


def _number(form: t.Pattern[str], options: t.Sequence[str]) -> t.Optional[int]:
    numbers = [match.group(1) for match in map(form.fullmatch, options) if match]
    return int(numbers[0]) if numbers else None


def _follow(
    keyfiles: t.Sequence[Params], work: Params, *, check: bool, followed: t.Optional[t.List[Result]] = None
) -> t.List[Result]:
    """The new secret in the place of an old one in each keyfile, in check mode only whether that could be done."""
    followed = [] if followed is None else followed
    wanted = [entry["new_secret"] for entry in work["keyslots"] if entry.get("new_secret")] or [work["prove"]]
    if not keyfiles or wanted[0] is None:
        return followed
    from ..usecases.keyfile import update_keyfile

    old = work["replaced"]
    for keyfile in keyfiles:
        one = update_keyfile({**keyfile, "new_secret": wanted[0], "old_secrets": old}, check=check)
        followed.append({"name": keyfile["name"], "path": keyfile["path"], **one})
    return followed
