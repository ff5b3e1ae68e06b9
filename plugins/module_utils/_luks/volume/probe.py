# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""What is at one path: a LUKS header, none, or a reason why it cannot be read.

Reads only the magic unless that is LUKS.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import re
import stat
import typing as t

from ..errors import LuksmithError, NotLuks, StorageFault
from ..header import magic, signatures
from ..header.summary import Summary, summarize
from . import locks
from .inventory import natural
from .node import fault, open_node
from .storage import Region, Volume, open_volume

Facts = t.Dict[str, t.Any]

# Seconds. A header that looks damaged is read again while no writer holds the locks; a run of ours may take seconds.
LOCK_TIMEOUT = 10.0

# (offset, bytes). Both formats have the UUID there, so that it can be read from a header that breaks the format.
_UUID_FIELD = (168, 40)
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


@dataclasses.dataclass
class FoundVolume:
    """One header, or a place where one should be.

    blocks: kernel names of the block devices of this volume (a multipath device and its members).
    digest: SHA-256 over the bytes of the header.
    """

    device: str
    aliases: t.Set[str] = dataclasses.field(default_factory=set)
    blocks: t.List[str] = dataclasses.field(default_factory=list)
    identity: t.Optional[t.Tuple[t.Any, ...]] = None
    digest: bytes = b""
    header: t.Optional[str] = None
    uuid: t.Optional[str] = None
    format: t.Optional[str] = None
    container: str = "raw"
    label: str = ""
    size: int = 0
    problem: t.Optional[str] = None
    open: t.List[Facts] = dataclasses.field(default_factory=list)
    crypttab: t.List[Facts] = dataclasses.field(default_factory=list)

    def row(self) -> Facts:
        """The volume as it appears in the result of volumes_info."""
        return {
            "device": self.device,
            "aliases": sorted(self.aliases - {self.device}, key=natural),
            "header": self.header,
            "uuid": self.uuid,
            "type": self.format,
            "container": self.container,
            "label": self.label,
            "size": self.size,
            "open": sorted(self.open, key=lambda row: natural(row["name"])),
            "crypttab": sorted(self.crypttab, key=lambda row: int(row["line"])),
            "problem": self.problem,
        }


def probe(path: str, *, expected: bool, rdev: int = 0) -> t.Optional[FoundVolume]:
    """What is at ``path``; None if it is no LUKS volume and none is ``expected``.

    An invalid header is a volume with a problem. rdev: the device number that a block device must have, or 0.

    Raises StorageFault if it cannot be opened or read, NotLuks if one is ``expected`` and there is none.
    """
    if rdev:
        _check_number(path, rdev)
    node = open_node(path, writable=False)
    try:
        size = node.size
        medium = Region(node, 0, size)
        start = medium.reread(0, min(sum(_UUID_FIELD), size))
        luks = start.startswith(b"LUKS") or (not start.startswith(magic.QCOW2) and _second_copy(medium))
        uuid = start[_UUID_FIELD[0] :].partition(b"\0")[0].decode("ascii", "replace") if luks else ""
    except StorageFault as error:
        raise fault(path, "cannot read it", OSError(error.errno, "")) from None
    finally:
        node.close()
    if not (expected or luks or start.startswith(magic.QCOW2)):
        return None
    try:
        with open_volume(path, writable=False) as volume:
            header = _summary(volume)
            return FoundVolume(
                path,
                identity=volume.identity,
                digest=hashlib.sha256(header.image).digest(),
                uuid=header.uuid or None,
                format=header.format,
                container=volume.container,
                label=header.label,
                size=size,
            )
    except StorageFault:
        raise
    except LuksmithError as error:
        if isinstance(error, NotLuks) and not luks:
            if expected:
                raise
            return None
        container = "qcow2" if start.startswith(magic.QCOW2) else "raw"
        return FoundVolume(
            path,
            uuid=uuid if _UUID.fullmatch(uuid) else None,
            container=container,
            size=size,
            problem=sentence_of(error),
        )


def _summary(volume: Volume) -> Summary:
    """Without locks, which would disturb others. A damaged header may be a write in progress: read it again, locked."""
    try:
        header = _read(volume)
        if not header.needs_heal:
            return header
    except LuksmithError:
        pass
    try:
        with locks.shared(volume, timeout=LOCK_TIMEOUT):
            return _read(volume)
    except StorageFault:
        return _read(volume)


def _read(volume: Volume) -> Summary:
    # From the medium, as read_header does.
    return summarize(volume.region.reread, volume.region.size)


def _second_copy(medium: Region) -> bool:
    """Whether there is a LUKS2 header without its primary copy.

    If something else owns the device, it is only a leftover.
    """
    length = len(magic.SECONDARY)
    places = (offset for offset in magic.SECONDARY_OFFSETS if offset + length <= medium.size)
    if not any(medium.reread(offset, length) == magic.SECONDARY for offset in places):
        return False
    return signatures.signature(medium.reread, medium.size) is None


def _check_number(path: str, rdev: int) -> None:
    """Raises StorageFault if the node is not the device of sysfs: /dev of a container may have others."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise fault(path, "cannot find its node", error) from None
    if stat.S_ISBLK(status.st_mode) and status.st_rdev != rdev:
        raise fault(path, "its node belongs to another device", OSError(errno.ENOENT, ""))


def sentence_of(error: LuksmithError) -> str:
    """What was found, why it matters and what to do. The result has the path beside it."""
    parts = (error.found, error.why, error.remedy)
    return " ".join(
        f"{part[:1].upper()}{part[1:]}{'' if part.endswith('.') else '.'}"
        for part in (part.strip() for part in parts)
        if part
    )
