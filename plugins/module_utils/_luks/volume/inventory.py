# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Every block device of the kernel, from sysfs, with its names in /dev. Opens no device.

Device-mapper UUIDs are those of libcryptsetup (``CRYPT-LUKS2-<uuid without dashes>-<name>``, helper devices
``CRYPT-SUBDEV-...``) and multipath-tools (``mpath-...``). Any user can read the udev database, which says where LUKS
volumes are.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import typing as t

from . import blockdev
from .tags import links

RUN = "/run"

_SECTOR = 512
_LUKS_UUID = re.compile(r"CRYPT-(LUKS[12])-([0-9a-f]{32})(?:-|$)")
# Directories of /dev without names of block devices, or with too many other nodes.
_NOT_NAMES = frozenset(
    (
        "block",
        "bus",
        "char",
        "cpu",
        "disk",
        "dri",
        "fd",
        "hugepages",
        "input",
        "mapper",
        "mqueue",
        "net",
        "pts",
        "shm",
        "snd",
        "vfio",
    )
)


@dataclasses.dataclass(frozen=True)
class BlockDevice:
    """``name``: that of the kernel (``sda1``, ``dm-0``), also in ``holders`` and ``slaves``; ``size``: bytes.

    path:  /dev/mapper/NAME of a device-mapper device, else the node.
    links: the other paths to it.
    """

    name: str
    rdev: int
    folder: str
    size: int
    path: str
    links: t.Tuple[str, ...]
    holders: t.Tuple[str, ...]
    slaves: t.Tuple[str, ...]
    dm_name: str = ""
    dm_uuid: str = ""

    @property
    def shown_name(self) -> str:
        """The device-mapper name, else the kernel name."""
        return self.dm_name or self.name

    @property
    def luks(self) -> t.Tuple[str, str]:
        """("luks2", uuid) of the LUKS volume that this mapping opens; ("", "") for any other device."""
        match = _LUKS_UUID.match(self.dm_uuid)
        if match is None:
            return "", ""
        digits = match.group(2)
        return match.group(1).lower(), "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    @property
    def is_crypt(self) -> bool:
        """Whether cryptsetup set up this mapping."""
        return self.dm_uuid.startswith("CRYPT-")

    @property
    def is_multipath(self) -> bool:
        """Whether multipath-tools set up this mapping."""
        return self.dm_uuid.startswith("mpath-")

    @property
    def is_suspended(self) -> bool:
        """Whether a read would block until the device is resumed."""
        return blockdev.attribute(self.folder, "dm/suspended") == "1"

    def attribute(self, name: str) -> str:
        """A sysfs attribute of the device, see :func:`.blockdev.attribute`."""
        return blockdev.attribute(self.folder, name)

    def udev(self) -> t.Dict[str, str]:
        """The properties in the udev database (ID_FS_TYPE and so on); empty without udev."""
        data = blockdev.attribute(os.path.join(RUN, "udev", "data"), f"b{os.major(self.rdev)}:{os.minor(self.rdev)}")
        pairs = (line[2:].partition("=") for line in data.split("\n") if line.startswith("E:"))
        return {key: value for key, _equals, value in pairs}


class Inventory:
    """The devices by their kernel name, in the order of the names."""

    def __init__(self, devices: t.Iterable[BlockDevice]) -> None:
        self.by_name = {device.name: device for device in devices}
        self._by_rdev = {device.rdev: device for device in self.by_name.values()}
        self._by_path = {path: device for device in self.by_name.values() for path in (device.path, *device.links)}
        self._partitions: t.Dict[str, t.List[str]] = {}
        for device in self.by_name.values():
            whole = os.path.basename(os.path.dirname(device.folder))
            if whole in self.by_name and device.attribute("partition"):
                self._partitions.setdefault(whole, []).append(device.name)

    def __iter__(self) -> t.Iterator[BlockDevice]:
        return iter(self.by_name.values())

    def at(self, path: str) -> t.Optional[BlockDevice]:
        """The block device at a path, or None: by the names in /dev, else by the node that the path leads to."""
        try:
            known = self._by_path.get(path) or self._by_path.get(os.path.realpath(path))
            if known is not None:
                return known
            status = os.stat(path)
        except (OSError, ValueError):  # ValueError: a NUL in the path
            return None
        return self._by_rdev.get(status.st_rdev) if stat.S_ISBLK(status.st_mode) else None

    def number(self, rdev: int) -> t.Optional[BlockDevice]:
        """The block device with this device number, or None."""
        return self._by_rdev.get(rdev)

    def tagged(self, kind: str, value: str) -> t.Optional[BlockDevice]:
        """The device of ``PARTUUID=value`` and so on in crypttab, or None; by udev's links, else from the kernel."""
        paths = (os.path.join(blockdev.DEV, "disk", link) for link in links(kind, value))
        found = next((self._by_path[path] for path in paths if path in self._by_path), None)
        if found is None and kind in ("PARTUUID", "PARTLABEL"):
            wanted = f"PARTUUID={value.lower()}" if kind == "PARTUUID" else f"PARTNAME={value}"
            found = next((device for device in self if wanted in device.attribute("uevent").split("\n")), None)
        return found

    def above(self, device: BlockDevice) -> t.List[BlockDevice]:
        """Everything on top of the device, nearest first: its partitions and holders, and theirs."""
        found: t.Dict[str, BlockDevice] = {}
        waiting = [*device.holders, *self._partitions.get(device.name, ())]
        while waiting:
            name = waiting.pop(0)
            if name in self.by_name and name not in found and name != device.name:
                found[name] = self.by_name[name]
                waiting += [*found[name].holders, *self._partitions.get(name, ())]
        return list(found.values())

    def beneath_mapping(self, mapping: BlockDevice) -> t.List[BlockDevice]:
        """The devices with the ciphertext of an open LUKS mapping, beneath helpers such as those for integrity tags."""
        found: t.Dict[str, BlockDevice] = {}
        waiting, seen = list(mapping.slaves), {mapping.name}
        while waiting:
            name = waiting.pop(0)
            device = self.by_name.get(name)
            if device is None or name in seen:
                continue
            seen.add(name)
            helper = device.is_crypt and (
                device.luks == mapping.luks or (not device.luks[0] and not device.dm_uuid.startswith("CRYPT-PLAIN"))
            )
            if helper and device.slaves:
                waiting += device.slaves
            else:
                found[name] = device
        return list(found.values())

    def mappings(self) -> t.List[BlockDevice]:
        """The open LUKS mappings, without their helpers."""
        found = []
        for device in self:
            holders = [self.by_name[name] for name in device.holders if name in self.by_name]
            if device.luks[0] and not any(holder.luks == device.luks for holder in holders):
                found.append(device)
        return found


def read_inventory() -> Inventory:
    """The block devices of this host. A device that disappears meanwhile is left out."""
    links = _links()
    devices = []
    for number in sorted(_names(os.path.join(blockdev.SYS, "dev", "block"))):
        major, _colon, minor = number.partition(":")
        folder = os.path.realpath(os.path.join(blockdev.SYS, "dev", "block", number))
        if major.isdigit() and minor.isdigit() and os.path.isdir(folder):
            devices.append(_device(folder, os.makedev(int(major), int(minor)), links))
    return Inventory(sorted(devices, key=lambda device: natural(device.name)))


def natural(text: str) -> t.Tuple[t.Tuple[int, t.Union[int, str]], ...]:
    """A sort key that puts sda2 before sda10."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", text))


def _device(folder: str, rdev: int, links: t.Mapping[str, t.Sequence[str]]) -> BlockDevice:
    node = blockdev.node_path(folder)
    names = list(links.get(node, ()))
    dm_name = blockdev.attribute(folder, "dm/name")
    mapper = os.path.join(blockdev.DEV, "mapper", dm_name)
    path = mapper if dm_name and (mapper in names or _leads_to(mapper, rdev)) else node
    size = blockdev.attribute(folder, "size")
    return BlockDevice(
        name=os.path.basename(folder),
        rdev=rdev,
        folder=folder,
        size=int(size) * _SECTOR if size.isdigit() else 0,
        path=path,
        links=tuple(sorted({*names, node} - {path}, key=natural)),
        holders=tuple(_names(os.path.join(folder, "holders"))),
        slaves=tuple(_names(os.path.join(folder, "slaves"))),
        dm_name=dm_name,
        dm_uuid=blockdev.attribute(folder, "dm/uuid"),
    )


def _leads_to(path: str, rdev: int) -> bool:
    """Without udev, /dev/mapper has nodes instead of links."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISBLK(status.st_mode) and status.st_rdev == rdev


def _links() -> t.Dict[str, t.List[str]]:
    """Node -> links to it in /dev/disk/by-*, /dev/mapper and one level of other directories (volume groups)."""
    folders = [os.path.join(blockdev.DEV, "disk", name) for name in _names(os.path.join(blockdev.DEV, "disk"))]
    folders.append(os.path.join(blockdev.DEV, "mapper"))
    folders += [os.path.join(blockdev.DEV, name) for name in _names(blockdev.DEV) if name not in _NOT_NAMES]
    found: t.Dict[str, t.List[str]] = {}
    for folder in folders:
        if os.path.islink(folder) or not os.path.isdir(folder):
            continue
        for name in _names(folder):
            link = os.path.join(folder, name)
            if os.path.islink(link):
                found.setdefault(os.path.realpath(link), []).append(link)
    return found


def _names(folder: str) -> t.List[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
