# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""State ``present``: a verified copy of the header and the key material of a volume in a file."""

from __future__ import annotations

import typing as t

from ..errors import HeaderChanged, LuksmithError
from ..header.copied import backup_size, image_size
from ..plan.actions import Action, ActionKind
from ..result.actions import Result, action_row
from ..result.slot_table import rows
from ..volume import locks, whole_file
from ..volume.read_header import check_uuid, read_header
from ..volume.storage import Volume, open_volume
from .backup_file import BackupFile, check_is_another, check_is_no_volume, check_may_replace, read_backup_file
from .backup_result import Opened, Side, compared, describe_backup, diff_of, named, names_of
from .backup_task import BackupTask
from .check_secrets import check_secrets
from .image import SAME, Image, only_in, parse_image, relation, same_bytes, same_salt

_ATTEMPTS = 5


def create(task: BackupTask, *, check: bool, uuid: str = "") -> Result:
    """Bring the backup at ``task.path`` up to date. uuid: of the only volume that this may be the backup of.

    Raises LuksmithError; the old file is unchanged then, unless the error says otherwise.
    """
    existing = read_backup_file(task.path)
    try:
        with open_volume(task.device, task.header, writable=False) as volume:
            check_is_another(existing, volume)
            now = consistent_image(volume, task.lock_timeout)
            check_uuid(now.header, uuid)
            container = volume.container
            refused = now.header.write_obstacle
    except LuksmithError as error:
        raise error.on(task.device) from None
    if existing is not None:
        check_is_no_volume(task.path, existing)
    mode = whole_file.mode_of(task.path)
    steps = _steps(existing, mode, now)
    if any(action.kind == ActionKind.WRITE_BACKUP for action in steps):
        if existing is not None:
            check_may_replace(task.path, existing, now, force=task.force)
        whole_file.check_replaceable(task.path, len(now.data))
    warnings = [*task.warnings, *_warnings(now, existing)]
    if now.luksmeta:
        warnings.append(
            "The backup contains what luksmeta keeps for the keyslots (Clevis). cryptsetup luksHeaderRestore would not "
            "restore that; state: restored does."
        )
    if refused is not None:
        warnings.append(f"This module could not restore the backup: {refused.found}.")
    with check_secrets(task, now) as secret_check:
        opened = secret_check.opened
    warnings += opened.warnings
    wrong = {key: why for key, why in opened.volume_keys.items() if why}
    warnings += [f"The volume key {key} is not that of the volume: {why}." for key, why in wrong.items()]
    if task.secrets and not any(opened.by_slot.values()):
        warnings.append("No secret under unlock opens a keyslot of the backup.")
    if steps and not check:
        _write(task.path, steps, now)
    before = existing.image if existing is not None else None
    return {
        "changed": bool(steps),
        "plan": [action_row(action) for action in steps],
        "diff": diff_of(
            task.path,
            Side(before, mode=mode),
            Side(now, opened, whole_file.MODE),
            [] if before is None else only_in(now, before),
        ),
        "backup": {"path": task.path, **describe_backup(now, opened)},
        "previous": None
        if before is None
        else {**describe_backup(before, Opened()), **compared(before, now, Opened())},
        "keyslots": rows(now.shown, opened.by_slot, opened.untried),
        "uuid": now.header.uuid,
        "type": now.header.format,
        "container": container,
        **({"volume_keys": {key: key not in wrong for key in opened.volume_keys}} if opened.volume_keys else {}),
        "kdf_evaluations": opened.evaluations,
        "warnings": list(dict.fromkeys(warnings)),
    }


def consistent_image(volume: Volume, timeout: float) -> Image:
    """A consistent copy: read under a shared lock, and twice, to notice writers that take no locks.

    Raises Busy if the lock is not free in time, and what :func:`read_image` raises.
    """
    with locks.shared(volume, timeout=timeout):
        return read_image(volume)


def read_image(volume: Volume) -> Image:
    """The copy, for a caller that holds a lock.

    Raises HeaderChanged if the header keeps changing, and what :func:`.read_header` raises.
    """
    for _attempt in range(_ATTEMPTS):
        one = _read(volume)
        if _read(volume) == one:
            return parse_image(one)
    raise HeaderChanged(
        f"the header changed during each of {_ATTEMPTS} reads",
        why="a copy of it would be inconsistent",
        remedy="Find out what keeps changing this volume, then run the task again",
        volume=volume.path,
    )


def _read(volume: Volume) -> bytes:
    header = read_header(volume)
    # A header inside a container has no luksmeta, whatever is behind it.
    size = backup_size(header, volume.region.reread, volume.region.size) if header.tokens else image_size(header)
    return volume.region.reread(0, min(size, volume.region.size))


def _steps(existing: t.Optional[BackupFile], mode: t.Optional[int], now: Image) -> t.List[Action]:
    if existing is None:
        return [Action(ActionKind.WRITE_BACKUP, None, "there is no backup yet")]
    if existing.image is None or not same_bytes(existing.image, now):
        said = "" if existing.image is None else f", it is {relation(existing.image, now)}"
        return [Action(ActionKind.WRITE_BACKUP, None, f"the file differs from the volume{said}")]
    if mode != whole_file.MODE:
        reason = f"the file has mode {mode or 0:04o}, so that others can read it and guess the secrets in it offline"
        return [Action(ActionKind.RESTRICT_MODE, None, reason)]
    return []


def _write(path: str, steps: t.Sequence[Action], now: Image) -> None:
    if steps[0].kind == ActionKind.RESTRICT_MODE:
        whole_file.restrict(path)
        return
    whole_file.replace(path, now.data)
    try:
        existing = read_backup_file(path)
        if existing is None or existing.image is None or existing.image.data != now.data:
            raise HeaderChanged(
                "the new backup does not read back as it was written",
                why="another process writes to the same path",
                volume=path,
            )
    except LuksmithError as error:
        error.changed, error.after_change = "The previous file has been replaced", True
        raise


def _warnings(now: Image, existing: t.Optional[BackupFile]) -> t.Iterator[str]:
    yield from now.header.warnings
    if now.header.intent is not None:
        yield (
            "An interrupted run left the header unfinished, and the backup contains that state. Run "
            "luksmith.luks.keyslots, then make the backup again."
        )
    if existing is not None and existing.image is not None and relation(existing.image, now) != SAME:
        damaged = same_salt(existing.image, now)
        if damaged:
            slots = names_of([named(now, number, Opened()) for number in damaged])
            yield (
                f"The old backup at this path has other key material than the volume for {slots}, with the same salt: "
                "one of both is damaged. Try the secret before the last copy of the old backup is gone."
            )
        gone = [
            slot for slot in compared(existing.image, now, Opened())["only_in_backup"] if slot["keyslot"] not in damaged
        ]
        if gone:
            yield (
                f"The old backup at this path still has {names_of(gone)}, which the volume no longer has. "
                "It is replaced; any other copy of it still opens the volume with the secrets of that time."
            )
