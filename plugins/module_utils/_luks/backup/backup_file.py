# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""A backup file on the disk: reads it and decides whether it may be replaced."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..errors import LuksmithError, NotLuks, Refused, StorageFault
from ..header.copied import backup_size, image_size, longest_backup
from ..header.parsing import parse_header
from ..volume.storage import Volume, open_volume
from .backup_task import same_file
from .image import Image, parse_image


@dataclasses.dataclass(frozen=True)
class BackupFile:
    """What is at a path: ``size`` in bytes; ``image``: None if it is no header backup, ``problem`` says why then;
    ``place``: where it begins, beneath all loop devices.
    """

    size: int
    image: t.Optional[Image]
    problem: t.Optional[LuksmithError] = None
    place: t.Tuple[t.Any, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether it is longer than any backup of its header."""
        return self.image is not None and self.size > longest_backup(self.image.header)


def read_backup_file(path: str) -> t.Optional[BackupFile]:
    """The file at ``path``; None if there is none or only a dangling link. Raises StorageFault if it cannot be read."""
    if not os.path.exists(path):
        return None
    if os.path.isdir(path):
        raise StorageFault(
            "it is a directory",
            why="a backup is one file",
            remedy=f"Name the file, such as {os.path.join(path, 'NAME.luks-header')}",
            volume=path,
        )
    try:
        with open_volume(path, writable=False) as volume:
            return _read_existing(volume)
    except NotLuks as error:  # a qcow2 image without LUKS
        return BackupFile(os.stat(path).st_size, None, error)


def _read_existing(volume: Volume) -> BackupFile:
    size = volume.node.size
    if volume.container != "raw":
        return BackupFile(size, None, Refused("it is a qcow2 image, not a header backup", volume=volume.path))
    try:
        header = parse_header(volume.region.reread, size, embedded=True)
        length = backup_size(header, volume.region.reread, size)
        return BackupFile(size, parse_image(volume.region.reread(0, length)), place=volume.identity)
    except LuksmithError as error:
        return BackupFile(size, None, error.on(volume.path))


def check_is_another(existing: t.Optional[BackupFile], volume: Volume) -> None:
    """Raises BadTask if it is the volume itself, by another path such as that of a loop device over its file."""
    if existing is None or not existing.place:
        return
    if existing.place == volume.identity:
        raise same_file("device" if volume.payload is None else "header")
    if volume.payload is not None and existing.place == volume.payload_identity:
        raise same_file("device")


def check_is_no_volume(path: str, existing: BackupFile) -> None:
    """Raises Refused if it is longer than a backup, whether it would be replaced or is up to date."""
    if existing.image is not None and existing.is_whole:
        length = image_size(existing.image.header)
        raise Refused(
            f"the file exists and has {existing.size} bytes, but a header backup of it would have {length}",
            why="it looks like a whole volume, whose data would be lost",
            remedy="Give another path, or remove the file",
            volume=path,
        )


def check_may_replace(path: str, existing: BackupFile, now: Image, *, force: bool) -> None:
    """Raises Refused if ``existing`` is no backup, or (without ``force``) is worth keeping."""
    if existing.size == 0:
        return
    if existing.image is None:
        found = existing.problem.found if existing.problem is not None else "it is unknown"
        raise Refused(
            f"the file exists and is not a header backup: {found}",
            why="it would be lost",
            remedy="Give another path, or remove the file",
            volume=path,
        )
    header = existing.image.header
    if force:
        return
    if header.uuid != now.header.uuid:
        raise Refused(
            f"the file exists and is a header backup of another volume, {header.uuid}",
            why="it may be the only one of that volume",
            remedy="Give another path, or set force: true to replace it",
            volume=path,
        )
    if header.format != now.header.format:
        raise Refused(
            f"the file exists and is a header backup of this volume as {header.format.upper()}, and the volume is "
            f"{now.header.format.upper()} now",
            why="it may be the only one of the header from before the conversion",
            remedy="Move it away, give another path, or set force: true to replace it",
            volume=path,
        )
    if existing.image.seqid is not None and now.seqid is not None and existing.image.seqid > now.seqid:
        raise Refused(
            f"the existing backup has sequence id {existing.image.seqid}, the header of the volume only {now.seqid}",
            why="the header may have been replaced by an older one, so that the backup may be the better one",
            remedy="Inspect both with luksmith.luks.keyslots_info; to replace the backup, set force: true",
            volume=path,
        )
