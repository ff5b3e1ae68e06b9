# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Finds every LUKS volume of a host: devices and images with a header, their open mappings and their lines in crypttab.

It writes nothing, runs no program and derives no key. It opens a block device for reading and reads only its magic,
unless that is LUKS. What cannot be read is reported with the reason; it does not end the search.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import glob
import os
import stat
import typing as t

from ..errors import LuksmithError, NotLuks, StorageFault, expected_only
from ..paths import remedy_for, unusable
from . import blockdev, crypttab, mounts
from .inventory import BlockDevice, Inventory, natural, read_inventory
from .probe import Facts, FoundVolume, probe, sentence_of

# Major numbers. A floppy drive takes seconds to report that it is empty.
_NEVER_OPENED = frozenset((2,))
_EMPTY_DRIVE = (errno.ENOMEDIUM, errno.ENXIO, errno.ENODEV)


def discover(*, paths: t.Sequence[str] = (), block_devices: bool = True, crypttab_path: str = "/etc/crypttab") -> Facts:
    """``volumes`` (one row for each header, by device), ``unmatched`` (patterns of paths without a volume),
    ``unreadable`` (devices that cannot be read), ``warnings``.

    paths: globs of image and header files. block_devices: read every block device; if False, of crypttab only the
    files are opened, not the devices. It reports errors in the result instead of raising them.
    """
    return _Search(read_inventory(), block_devices).result(paths, crypttab_path)


def matches(pattern: str) -> t.Tuple[bool, t.List[str]]:
    """Whether ``pattern`` names one path, and the paths. A path that exists is taken literally, even with brackets."""
    if os.path.lexists(pattern) or not glob.has_magic(pattern):
        return True, [pattern]
    return False, sorted(glob.iglob(pattern, recursive=True), key=natural)


class _Search:
    def __init__(self, inventory: Inventory, block_devices: bool) -> None:
        self._inventory = inventory
        self._block_devices = block_devices
        self._found: t.List[FoundVolume] = []
        self._by_identity: t.Dict[t.Tuple[t.Any, ...], FoundVolume] = {}
        self._loops = _loops(inventory)
        self._unmatched: t.List[str] = []
        self._unreadable: t.Dict[str, str] = {}
        self._warnings: t.List[str] = []

    def result(self, paths: t.Sequence[str], crypttab_path: str) -> Facts:
        self._probe_paths(paths)
        if self._block_devices:
            self._probe_devices()
            self._fold_members()
        self._read_crypttab(crypttab_path)
        self._join_mappings()
        self._warn()
        found = sorted(self._found, key=lambda item: (natural(item.device), item.header or "", item.problem or ""))
        return {
            "volumes": [item.row() for item in found],
            "unmatched": self._unmatched,
            "unreadable": sorted(self._unreadable, key=natural),
            "warnings": self._warnings,
        }

    def _probe_paths(self, patterns: t.Sequence[str]) -> None:
        for pattern in patterns:
            if unusable(pattern):
                self._found.append(
                    FoundVolume(pattern, problem=f"The path {unusable(pattern)}. {remedy_for(pattern)}.")
                )
                continue
            named, matching = matches(pattern)
            matched = named
            for path in matching:
                if (named or _is_volume_like(path)) and self._probe_path(path, named=named):
                    matched = True
            if not matched:
                self._unmatched.append(pattern)

    def _probe_path(self, path: str, *, named: bool) -> bool:
        """Whether there is a volume, even one that cannot be read or that was found before."""
        block = self._inventory.at(path)
        try:
            item = _probe_one(path, expected=named)
        except LuksmithError as error:
            # A pattern may match other files; a literal path claims that there is a volume.
            if not named and isinstance(error, NotLuks):
                return False
            item = FoundVolume(path, problem=sentence_of(error))
        if item is None:
            return False
        if block is not None:
            item.device = block.path
            item.aliases |= {path, *block.links}
            item.blocks.append(block.name)
        elif item.identity is not None and item.container == "raw":
            for loop in self._loops.get(item.identity, ()):
                item.aliases |= {loop.path, *loop.links}
                item.blocks.append(loop.name)
        self._add(item)
        return True

    def _probe_devices(self) -> None:
        mapped: t.Dict[str, t.Tuple[str, str]] = {}
        for mapping in self._inventory.mappings():
            for beneath in self._inventory.beneath_mapping(mapping):
                mapped[beneath.name] = mapping.luks
        for block in self._inventory:
            if (
                not block.size
                or os.major(block.rdev) in _NEVER_OPENED
                or block.attribute("hidden") == "1"
                or _is_member(self._inventory, block)
            ):
                continue
            item = self._probe_block(block, *mapped.get(block.name, ("", "")))
            if item is not None:
                self._add(item)

    def _probe_block(self, block: BlockDevice, open_format: str, open_uuid: str) -> t.Optional[FoundVolume]:
        """``open_format``, ``open_uuid``: the volume according to a mapping over the device, or ""."""
        try:
            if block.is_suspended:
                raise StorageFault(
                    "the device is suspended",
                    why="a read would block until it is resumed",
                    remedy="Run 'dmsetup resume' on it",
                )
            item = _probe_one(block.path, expected=False, rdev=block.rdev)
        except StorageFault as error:
            if error.errno in _EMPTY_DRIVE or (error.errno == errno.ENOENT and not open_uuid):
                return None
            item = self._unread(block, error, open_format, open_uuid)
        except LuksmithError as error:
            item = FoundVolume(block.path, problem=sentence_of(error))
        if item is not None:
            item.device, item.aliases = block.path, item.aliases | set(block.links)
            item.blocks.append(block.name)
            item.size = item.size or block.size
        return item

    def _unread(
        self, block: BlockDevice, error: StorageFault, open_format: str, open_uuid: str
    ) -> t.Optional[FoundVolume]:
        """An unreadable device is a volume if a mapping or the udev database says so; else it is only unreadable."""
        udev = block.udev()
        if open_uuid:
            return FoundVolume(block.path, uuid=open_uuid, format=open_format, problem=sentence_of(error))
        if udev.get("ID_FS_TYPE") == "crypto_LUKS":
            version = udev.get("ID_FS_VERSION", "")
            return FoundVolume(
                block.path,
                uuid=udev.get("ID_FS_UUID") or None,
                format=f"luks{version}" if version in ("1", "2") else None,
                label=udev.get("ID_FS_LABEL", ""),
                problem=sentence_of(error),
            )
        self._unreadable[block.path] = sentence_of(error)
        return None

    def _add(self, item: FoundVolume) -> FoundVolume:
        """The item, or the one that was found before for the same header through another path."""
        if item.identity is not None:
            other = self._by_identity.setdefault(item.identity, item)
            if other is not item:
                other.aliases |= {item.device, *item.aliases}
                other.blocks += [name for name in item.blocks if name not in other.blocks]
                return other
        self._found.append(item)
        return item

    def _fold_members(self) -> None:
        """The legs of a mirror or multipath device show the header of the device above them, which is to be used."""
        by_block = {name: item for item in self._found for name in item.blocks}
        for item in list(self._found):
            for name in list(item.blocks):
                above = self._inventory.above(self._inventory.by_name[name])
                tops = [by_block[block.name] for block in above if block.name in by_block and not block.is_crypt]
                top = next(
                    (
                        other
                        for other in reversed(tops)
                        if other is not item and other.digest and other.digest == item.digest
                    ),
                    None,
                )
                if top is not None and item in self._found:
                    top.aliases |= {item.device, *item.aliases}
                    top.blocks += item.blocks
                    self._found.remove(item)
        for item in self._found:
            for name in list(item.blocks):
                for member in _members(self._inventory, self._inventory.by_name[name]):
                    item.aliases |= {member.path, *member.links}
                    item.blocks.append(member.name)

    def _read_crypttab(self, path: str) -> None:
        if unusable(path):
            self._warnings.append(f"The path of crypttab, {path!r}, {unusable(path)}. {remedy_for(path)}.")
            return
        try:
            with open(path, "rb") as stream:
                data = stream.read()
        except FileNotFoundError:
            return
        except OSError as error:
            self._warnings.append(f"{path} cannot be read ({os.strerror(error.errno or 0)}): its lines are not shown.")
            return
        lines, odd = crypttab.parse(data)
        self._warnings += [f"{path}: {sentence}." for sentence in odd]
        for line in lines:
            item = self._item_of(line)
            if item is not None:
                item.crypttab.append(line.row())

    def _item_of(self, line: crypttab.Line) -> t.Optional[FoundVolume]:
        device, block, item = self._resolve(line)
        if line.header is not None and line.expects_luks:
            return self._detached(line, device, block)
        if item is not None or not line.expects_luks:
            return item
        if block is None and not os.path.exists(device):
            return self._add(
                FoundVolume(
                    device, problem=f"Line {line.line} of crypttab ({line.name}) names it, but there is no such device."
                )
            )
        if block is not None and not self._block_devices:
            return None
        try:
            found = _probe_one(device, expected=True)
        except LuksmithError as error:
            found = FoundVolume(device, problem=sentence_of(error))
            self._unreadable.pop(device, None)
        if found is None:
            return None
        if block is not None:
            found.blocks.append(block.name)
            found.aliases |= set(block.links)
        return self._add(found)

    def _resolve(self, line: crypttab.Line) -> t.Tuple[str, t.Optional[BlockDevice], t.Optional[FoundVolume]]:
        """Path, block device and item of the source of a line, as far as they are known."""
        kind, value = line.tag
        block = self._inventory.tagged(kind, value) if kind else self._inventory.at(value)
        device = block.path if block is not None else (line.source if kind else value)
        for item in self._found:
            named = (block is not None and block.name in item.blocks) or device in (item.device, *item.aliases)
            # Without udev there are no links, but the headers are known.
            meant = (kind == "UUID" and item.uuid == value.lower()) or (kind == "LABEL" and item.label == value)
            if named or (block is None and meant and item.header is None):
                return item.device, block or self._block_of(item), item
        if block is None and not kind and os.path.exists(value):
            same = os.stat(value)
            for item in self._found:
                if _same_file(item.device, same):
                    return item.device, None, item
        return device, block, None

    def _block_of(self, item: FoundVolume) -> t.Optional[BlockDevice]:
        return self._inventory.by_name.get(item.blocks[0]) if item.blocks else None

    def _detached(self, line: crypttab.Line, device: str, block: t.Optional[BlockDevice]) -> FoundVolume:
        path = line.header or ""
        kind, value = dataclasses.replace(line, source=path).tag
        place = self._inventory.tagged(kind, value) if kind else self._inventory.at(path)
        path = place.path if place is not None else path
        problem = f"Its detached header {path} is not a LUKS header."
        try:
            item = _probe_one(path, expected=True)
        except LuksmithError as error:
            item = None
            problem = f"Its detached header {path}: {sentence_of(error)}"
        if item is None:
            item = FoundVolume(device, problem=problem)
            self._found.append(item)
        else:
            item.problem = f"Its detached header {path}: {item.problem}" if item.problem else None
            item = self._add(item)
        if block is None and not os.path.exists(device):
            item.problem = f"Line {line.line} of crypttab ({line.name}) names it, but there is no such device."
        self._detach(item, device, block, path)
        return item

    def _detach(self, item: FoundVolume, device: str, block: t.Optional[BlockDevice], header: str) -> None:
        """Turn a file with a header into the volume that has this detached header."""
        item.header, item.device = header, device
        item.aliases = set(block.links) if block is not None else set()
        item.blocks = [block.name] if block is not None else []
        item.size = block.size if block is not None else _size_of(device)

    def _join_mappings(self) -> None:
        table = mounts.mounts()
        swaps = [block.name for block in map(self._inventory.at, mounts.swaps()) if block is not None]
        groups = mounts.btrfs_groups()
        for mapping in self._inventory.mappings():
            row = self._mapping_facts(mapping, table, swaps, groups)
            beneath = self._inventory.beneath_mapping(mapping)
            for item in self._items_of_mapping(mapping, beneath):
                item.open.append(row)

    def _items_of_mapping(self, mapping: BlockDevice, beneath: t.Sequence[BlockDevice]) -> t.List[FoundVolume]:
        format, uuid = mapping.luks
        names = {block.name for block in beneath} | {
            member.name for block in beneath for member in _members(self._inventory, block)
        }
        there = [item for item in self._found if names & set(item.blocks)]
        same = [item for item in there if item.uuid == uuid]
        if same or not beneath:
            return same
        if not self._block_devices and not there and not any(item.uuid == uuid for item in self._found):
            return []
        for item in there:
            # The device of a detached header in crypttab, or of a line whose header could not be read.
            if item.uuid is None:
                item.uuid, item.format = uuid, format
                return [item]
        main = beneath[-1]
        for item in self._found:
            if item.uuid == uuid and not item.blocks and item.header is None:
                self._detach(item, main.path, main, item.device)
                return [item]
        if there:
            problem = (
                f"It is open as {mapping.dm_name} with the LUKS header {uuid}, but the header there says "
                f"{there[0].uuid}: it was written over since."
            )
        else:
            problem = (
                f"It is open as {mapping.dm_name}, but has no LUKS header at its start. Name a detached header in "
                "crypttab (header=) or in paths."
            )
        item = FoundVolume(
            main.path, set(main.links), [main.name], uuid=uuid, format=format, size=main.size, problem=problem
        )
        self._found.append(item)
        return [item]

    def _mapping_facts(
        self,
        mapping: BlockDevice,
        table: t.Sequence[mounts.Mount],
        swaps: t.Sequence[str],
        groups: t.Sequence[t.Set[str]],
    ) -> Facts:
        above = self._inventory.above(mapping)
        names = {mapping.name, *(block.name for block in above)}
        with_groups = names.union(*(group for group in groups if group & names))
        targets: t.List[str] = []
        for mount in table:
            block = (
                self._inventory.number(mount.rdev)
                if mount.rdev
                else self._inventory.at(mount.source)
                if mount.source.startswith("/")
                else None
            )
            if block is not None and block.name in with_groups and mount.target not in targets:
                targets.append(mount.target)
        return {
            "name": mapping.dm_name,
            "node": mapping.path,
            "mounts": targets,
            "swap": any(name in names for name in swaps),
            "holders": sorted((block.shown_name for block in above), key=natural),
        }

    def _warn(self) -> None:
        if self._unreadable:
            paths = sorted(self._unreadable, key=natural)
            shown = ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
            self._warnings.append(
                f"{len(paths)} block device{'s' if len(paths) > 1 else ''} could not be read, so that volumes there "
                f"may be missing: {shown}. The error of the first one: {self._unreadable[paths[0]]}"
            )
        by_uuid: t.Dict[str, t.List[FoundVolume]] = {}
        for item in self._found:
            if item.uuid:
                by_uuid.setdefault(item.uuid, []).append(item)
        for uuid, items in sorted(by_uuid.items()):
            if len(items) > 1:
                self._warnings.append(
                    f"{len(items)} volumes have the UUID {uuid}: {', '.join(item.device for item in items)}. They are "
                    "copies of each other (a clone, a snapshot, a header backup, a mirror that is not assembled), and "
                    "each has its own keyslots."
                )


def _probe_one(path: str, *, expected: bool, rdev: int = 0) -> t.Optional[FoundVolume]:
    """:func:`.probe.probe`. An internal error counts as a problem with this path only. Raises LuksmithError."""
    with expected_only():
        return probe(path, expected=expected, rdev=rdev)


def _loops(inventory: Inventory) -> t.Dict[t.Tuple[t.Any, ...], t.List[BlockDevice]]:
    """The loop devices over each file and byte offset."""
    found: t.Dict[t.Tuple[t.Any, ...], t.List[BlockDevice]] = {}
    for block in inventory:
        backing = block.attribute("loop/backing_file")
        if backing:
            with contextlib.suppress(OSError):
                key = (*blockdev.numbers_of(os.stat(backing)), int(block.attribute("loop/offset") or 0))
                found.setdefault(key, []).append(block)
    return found


def _is_member(inventory: Inventory, block: BlockDevice) -> bool:
    """Whether it is a path of a multipath device: a read on a passive one may fail or take a minute."""
    return any(inventory.by_name[name].is_multipath for name in block.holders if name in inventory.by_name)


def _members(inventory: Inventory, block: BlockDevice) -> t.List[BlockDevice]:
    return [inventory.by_name[name] for name in block.slaves if name in inventory.by_name] if block.is_multipath else []


def _is_volume_like(path: str) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)


def _same_file(path: str, status: os.stat_result) -> bool:
    try:
        other = os.stat(path)
    except OSError:
        return False
    return blockdev.numbers_of(other) == blockdev.numbers_of(status)


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
