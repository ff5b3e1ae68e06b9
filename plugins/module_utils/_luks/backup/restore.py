# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""State ``restored``: the keyslots of a backup become those of the volume again.

Before anything is written, a secret must have opened the backup by derivation. If the header of the volume can be read,
the volume key in the backup must also be the one that the volume uses now. :mod:`.restore_steps` orders the writes.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..apply.header_writer import PASSES_MULTIPLE, PASSES_SINGLE
from ..crypto import kdf
from ..errors import (
    HeaderChanged,
    Interrupted,
    LuksmithError,
    MalformedHeader,
    NotLuks,
    Refused,
    StorageFault,
    expected,
)
from ..header import signatures
from ..header.copied import image_size
from ..header.luks2.binary import Copy, read_copy
from ..header.model import Header, IntentKind, Pbkdf2
from ..plan.actions import ActionKind
from ..required import required
from ..result.actions import Result, action_row
from ..result.slot_table import rows
from ..unlock import key_material
from ..volume import locks, snapshots
from ..volume.inventory import read_inventory
from ..volume.locked_write import Expected, locked_write
from ..volume.storage import Volume, open_volume
from .backup_file import BackupFile, check_is_another, read_backup_file
from .backup_result import Opened, Side, compared, describe_backup, diff_of, named, names_of
from .backup_task import BackupTask
from .check_secrets import SecretCheck, check_secrets
from .create import read_image
from .image import Image, only_in, same_salt
from .restore_steps import Restore, make_restore

_UUID_FIELD = (168, 40)
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_WIPES_AN_ACTIVE_ONE = (IntentKind.ERASE, IntentKind.MOVE_ERASE, IntentKind.REPLACE_ERASE)
_OTHER_BACKUP = "Give a backup of this volume"


@dataclasses.dataclass(frozen=True)
class _VolumeState:
    """What is on the volume. ``now``: None if no header can be read, ``damage`` says why then; ``raw``: its bytes."""

    now: t.Optional[Image]
    damage: str
    raw: bytes

    @property
    def uuid(self) -> str:
        """The UUID of the volume; "" if no header can be read."""
        return "" if self.now is None else self.now.header.uuid


def restore(task: BackupTask, *, check: bool) -> Result:
    """Restore the keyslots of the backup at ``task.path``.

    Raises LuksmithError (most often Refused) if nothing was written, Interrupted once a write has begun.
    """
    file = read_backup_file(task.path)
    backup = _backup(task, file)
    with check_secrets(task, backup) as secret_check:
        key = _checked_key(task, secret_check)
        try:
            with open_volume(task.device, task.header, writable=False) as volume:
                identity = volume.identity
                check_is_another(file, volume)
                with locks.shared(volume, timeout=task.lock_timeout):
                    state = _read_state(volume, backup)
                if state.now is not None:
                    _check_same_volume(task, state.now.header, backup.header, key)
                else:
                    _check_damaged(state, backup, volume)
                current = _openers_of(task, state)
                kept = _kept(state, backup, secret_check.opened, current)
                proven, proven_now = _bound(backup, secret_check.opened), _bound(state.now, current)
                work = make_restore(state.now, backup, proven, proven_now, state.damage, kept)
                _check_consent(task, work, state, backup, (secret_check.opened, current), kept)
                result = _result(task, volume, state, backup, (secret_check.opened, current), work, kept)
                if check and work.steps:
                    volume.check_writable()
                    result["warnings"] += locks.writer_obstacles(volume)
            if work.steps and not check:
                result["warnings"] += _write(task, state, identity, backup, work, kept)
        except LuksmithError as error:
            raise error.on(task.device) from None
        return result


def _backup(task: BackupTask, existing: t.Optional[BackupFile]) -> Image:
    if existing is None:
        raise StorageFault("there is no such file", remedy="Check the path of the backup", volume=task.path)
    if existing.image is None:
        raise (existing.problem or NotLuks("it is not a header backup")).on(task.path)
    obstacle = existing.image.header.write_obstacle
    if obstacle is not None:
        raise Refused(
            f"the backup cannot be restored: {obstacle.found}",
            why=obstacle.why,
            remedy=obstacle.remedy,
            volume=task.path,
        )
    return existing.image


def _checked_key(task: BackupTask, secret_check: SecretCheck) -> bytearray:
    if secret_check.volume_key is None:
        untried = f" ({'; '.join(secret_check.opened.warnings)})" if secret_check.opened.warnings else ""
        raise Refused(
            f"no secret under unlock opens a keyslot of the backup{untried}",
            why="it would replace a header that may be needed by one that may not open",
            remedy="Give a secret that was valid when the backup was made",
            volume=task.path,
        )
    for label, reason in secret_check.opened.volume_keys.items():
        if reason:
            raise Refused(
                f"the volume key {label} is not that of the backup: {reason}",
                why="the data is encrypted with the key that was given, and a header for another one would not open it",
                remedy="Give a backup of the header that the data has now, or correct the volume key",
                volume=task.path,
            )
    return secret_check.volume_key


def _read_state(volume: Volume, backup: Image) -> _VolumeState:
    try:
        now = read_image(volume)
        return _VolumeState(now, "", now.data)
    except (NotLuks, MalformedHeader) as error:
        _check_not_misunderstood(volume, error)
        size = min(image_size(backup.header), volume.region.size)
        return _VolumeState(None, error.found, volume.region.reread(0, size))


def _check_not_misunderstood(volume: Volume, error: LuksmithError) -> None:
    """A header whose checksum matches is intact, even if this collection cannot use it. Raises Refused."""
    size = volume.region.size
    start = volume.region.reread(0, min(size, 8))
    version = int.from_bytes(start[6:8], "big") if start.startswith(b"LUKS\xba\xbe") else 0
    if version > 2 or (version == 2 and isinstance(read_copy(volume.region.reread, size, 0), Copy)):
        raise Refused(
            f"the volume has an intact header that this collection cannot use: {error.found}",
            why="an intact header must not be overwritten",
            remedy="Use the program that wrote it; to replace it anyway, use 'cryptsetup luksHeaderRestore'",
        )


def _check_same_volume(task: BackupTask, now: Header, backup: Header, key: bytearray) -> None:
    if now.uuid != backup.uuid:
        raise Refused(
            f"the volume has UUID {now.uuid}, but the backup is of {backup.uuid}",
            why="it is a backup of another volume",
            remedy=_OTHER_BACKUP,
        )
    if now.format != backup.format:
        raise Refused(
            f"the volume is {now.format}, but the backup is of a {backup.format} header",
            why="the volume was converted after the backup",
            remedy=_OTHER_BACKUP,
        )
    if now.write_obstacle is not None:
        raise now.write_obstacle
    for what, mine, theirs in (
        ("the offset of the data", _data_of(now), _data_of(backup)),
        ("the size of the header", now.fingerprint_ranges(), backup.fingerprint_ranges()),
        ("the size of the keyslots area", now.extent, backup.extent),
        ("the offsets of the keyslots", now.layout.fixed, backup.layout.fixed),
        ("the size of the volume key", now.key_size or backup.key_size, backup.key_size or now.key_size),
    ):
        if mine != theirs:
            raise Refused(
                f"{what} differs between the backup and the volume",
                why="the backup does not describe the present data",
                remedy="It may be older than a reencryption or new format of the volume; give a newer backup",
            )
    digests = [digest for digest in now.digests if 0 in digest.segments]
    for digest in digests:
        kdf.check(Pbkdf2(digest.hash, digest.iterations, digest.salt), budget=task.budget)
    if not any(key_material.matches(digest, key) for digest in digests):
        raise Refused(
            "the volume key in the backup is not the one that the volume uses now",
            why="the volume was reencrypted or formatted anew, and with the old key its data would be lost",
            remedy="Give a newer backup; this one is useless now and should be destroyed",
        )


def _data_of(header: Header) -> t.List[t.Tuple[t.Any, ...]]:
    return [
        (segment.type, segment.offset, segment.size, segment.encryption, segment.sector_size)
        for segment in header.segments
    ]


def _check_damaged(state: _VolumeState, backup: Image, volume: Volume) -> None:
    """Raises Refused if no header can be read and this cannot be the volume of the backup."""
    start, length = _UUID_FIELD
    uuid = state.raw[start : start + length].partition(b"\0")[0].decode("ascii", "replace")
    if state.raw.startswith(b"LUKS") and _UUID.fullmatch(uuid) and uuid != backup.header.uuid:
        raise Refused(
            f"the damaged header has UUID {uuid}, but the backup is of {backup.header.uuid}",
            why="it is a backup of another volume",
            remedy=_OTHER_BACKUP,
        )
    what = signatures.signature(volume.region.reread, volume.region.size)
    if what is not None:
        raise Refused(
            f"it contains {what} instead of a LUKS header",
            why="the device may be in use for that now, and it would be damaged",
            remedy="Check the path. If this is the volume, overwritten by mistake, remove the signature (wipefs), "
            "then run the task again",
        )
    size = volume.region.size
    offset = 0 if volume.payload is not None or volume.container != "raw" else backup.header.segments[0].offset
    if size < max(image_size(backup.header), offset):
        raise Refused(
            f"it has only {size} bytes, but the volume of the backup has more than "
            f"{max(image_size(backup.header), offset)}",
            why="it is not the volume of the backup",
            remedy="Check the path",
        )
    _check_mappings(backup, volume)


def _check_mappings(backup: Image, volume: Volume) -> None:
    """An open mapping has the UUID of the volume, whatever happened to its header. Raises Refused if it is another."""
    inventory = read_inventory()
    block = inventory.at(volume.path)
    for mapping in inventory.mappings():
        if block is not None and block in inventory.beneath_mapping(mapping) and mapping.luks[1] != backup.header.uuid:
            raise Refused(
                f"it is open as {mapping.dm_name} with UUID {mapping.luks[1]}, but the backup is of "
                f"{backup.header.uuid}",
                why="it is a backup of another volume",
                remedy=_OTHER_BACKUP,
            )


def _openers_of(task: BackupTask, state: _VolumeState) -> Opened:
    if state.now is None:
        return Opened()
    with check_secrets(task, state.now) as secret_check:
        return secret_check.opened


def _bound(image: t.Optional[Image], opened: Opened) -> t.List[int]:
    return [] if image is None else [number for number in opened.by_slot if image.header.keyslots[number].bound]


def _kept(state: _VolumeState, backup: Image, opened: Opened, current: Opened) -> t.List[int]:
    """The keyslots of which one copy is damaged, and nothing shows that it is that of the volume, which stays.

    One that an interrupted run was wiping is the damaged one in the volume.
    """
    if state.now is None:
        return []
    intent = state.now.header.intent
    wiped = intent.keyslot if intent is not None and intent.kind in _WIPES_AN_ACTIVE_ONE else None
    return [
        number
        for number in same_salt(backup, state.now)
        if number != wiped and not (opened.by_slot.get(number) and not current.by_slot.get(number))
    ]


def _about_the_kept(state: _VolumeState, backup: Image, opened: Opened, current: Opened, number: int) -> str:
    slot = named(required(state.now), number, current)
    name = names_of([slot])
    if slot["opened_by"]:
        here = f"{name} stays as the volume has it, where {slot['opened_by'][0]} opens it"
        return f"{here}." if opened.by_slot.get(number) else f"{here}: the copy in the backup is damaged."
    return (
        f"{name or names_of([named(backup, number, opened)])} has the same salt in the volume and in the backup, but"
        " other key material: one of both is damaged, and no given secret opens either. It stays as the volume has it."
        " If the copy in the backup may be the good one, give its secret under unlock."
    )


def _check_consent(
    task: BackupTask,
    work: Restore,
    state: _VolumeState,
    backup: Image,
    openers: t.Tuple[Opened, Opened],
    kept: t.Collection[int],
) -> None:
    if not work.steps or task.force:
        return
    back, gone = _revived(state, backup, openers[0], kept), _dropped(state, backup, openers[1], kept)
    effects = [f"{words} again for anyone who has the secret" for words in _open(back, "would open", "may open")]
    effects += [f"{names_of(gone)} of the volume would be erased"] if gone else []
    if state.now is not None and backup.luksmeta not in (b"", state.now.luksmeta):
        effects.append("what luksmeta keeps for the keyslots (Clevis) would be that of the backup")
    if state.now is None:
        effects.insert(0, f"the header of the volume cannot be read ({state.damage})")
    raise Refused(
        "; ".join(effects) or "the backup differs from the header of the volume",
        why="A restore undoes every change of keyslots since the backup was made"
        if state.now is not None
        else "It cannot be verified that the backup is of this volume",
        remedy="If you want that, set force: true",
    )


def _revived(state: _VolumeState, backup: Image, opened: Opened, kept: t.Collection[int]) -> t.List[Result]:
    numbers = list(backup.header.keyslots) if state.now is None else only_in(backup, state.now)
    return [named(backup, number, opened) for number in numbers if number not in kept]


def _dropped(state: _VolumeState, backup: Image, current: Opened, kept: t.Collection[int]) -> t.List[Result]:
    numbers = [] if state.now is None else only_in(state.now, backup)
    return [named(required(state.now), number, current) for number in numbers if number not in kept]


def _open(revived: t.Sequence[Result], proven: str, unproven: str) -> t.List[str]:
    """A sentence without its end for those that a given secret opens, and one for the others."""
    opened = [slot for slot in revived if slot["opened_by"]]
    others = [slot for slot in revived if not slot["opened_by"]]
    return [
        f"{names_of(slots)} of the backup {verb} the volume"
        for slots, verb in ((opened, proven), (others, unproven))
        if slots
    ]


def _result(
    task: BackupTask,
    volume: Volume,
    state: _VolumeState,
    backup: Image,
    openers: t.Tuple[Opened, Opened],
    work: Restore,
    kept: t.Collection[int],
) -> Result:
    opened, current = openers
    revived, dropped = _revived(state, backup, opened, kept), _dropped(state, backup, current, kept)
    warnings = [*task.warnings, *backup.header.warnings, *opened.warnings]
    warnings += [_about_the_kept(state, backup, opened, current, number) for number in kept]
    if revived and work.steps:
        again = _open(revived, "can open", "may open")
        warnings.append(f"{' again; '.join(again)} again. If a secret was removed on purpose, remove it again.")
    if dropped and work.steps:
        warnings.append(
            f"The restore erases {names_of(dropped)} of the volume: a secret that opened only "
            f"{'that' if len(dropped) == 1 else 'one of those'} no longer opens the volume."
        )
    left = opened.with_those_of(current, kept)
    if backup.header.intent is not None:
        warnings.append("The backup was made after an interrupted run: no secret may open one of its keyslots.")
    after = Image(backup.data, work.after) if work.steps else state.now
    changed = [
        action.keyslot for action in work.steps if action.kind == ActionKind.RESTORE and action.keyslot is not None
    ]
    return {
        "changed": bool(work.steps),
        "plan": [action_row(action) for action in work.steps],
        "diff": diff_of(task.device, Side(state.now, current), Side(after, left), changed),
        "backup": {
            "path": task.path,
            **describe_backup(backup, opened),
            **(compared(backup, state.now, opened, current) if state.now is not None else {}),
        },
        "revived": revived if work.steps else [],
        "dropped": dropped if work.steps else [],
        "keyslots": rows(Image(backup.data, work.after).shown, left.by_slot, left.untried),
        "uuid": backup.header.uuid,
        "type": backup.header.format,
        "container": volume.container,
        "kdf_evaluations": opened.evaluations + current.evaluations,
        "warnings": list(dict.fromkeys(warnings)),
    }


def _write(
    task: BackupTask, state: _VolumeState, identity: t.Any, backup: Image, work: Restore, kept: t.Collection[int]
) -> t.List[str]:
    def read(volume: Volume) -> t.Tuple[_VolumeState, str, bytes]:
        found = _read_state(volume, backup)
        return found, found.uuid, found.raw

    with locked_write(
        task.device, task.header, Expected(state.uuid, identity, state.raw), read, timeout=task.lock_timeout
    ) as locked:
        volume = locked.volume
        if locked.outdated:
            raise HeaderChanged(
                f"{locked.outdated} before it was locked",
                why="the plan no longer fits",
                remedy="Run the task again",
            )
        try:
            work.run(volume, PASSES_MULTIPLE if volume.rotational else PASSES_SINGLE)
            _verify(volume, backup, kept)
        except Exception as error:
            if not work.begun:
                raise
            known = error if isinstance(error, OSError) else expected(error)
            raise _interrupted(known, volume.node.path, work) from None
        erased = any(action.kind == ActionKind.ERASE for action in work.steps)
        copies = snapshots.copies_elsewhere(volume.node.fd, volume.places) if erased else None
        return [f"what was erased may survive elsewhere: {copies}"] if copies else []


def _verify(volume: Volume, backup: Image, kept: t.Collection[int]) -> None:
    now = read_image(volume)
    lost = backup.luksmeta and backup.luksmeta != now.luksmeta
    differ = {*only_in(backup, now), *only_in(now, backup)}.difference(kept)
    if differ or now.header.needs_heal or lost:
        raise StorageFault(
            "the volume does not contain what was written to it", why="the medium or its driver loses writes"
        )


def _interrupted(error: t.Union[LuksmithError, OSError], path: str, work: Restore) -> Interrupted:
    left = [action for action in work.steps if action not in work.done]
    return Interrupted.by(
        error,
        path,
        remedy="correct the cause and run the same task again: it finishes what was begun",
        changed="The restore has begun and is not complete. Do not destroy the backup",
        actions_done=work.done,
        actions_left=left,
    )
