# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS volumes as cryptsetup makes them on this machine, and the disks that hold them."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

from .volatile import Disk, PowerSupply

KEEP, OLD, NEW = "keeps opening", "was leaked", "comes instead"
LABELS = {KEEP: "keep", OLD: "old", NEW: "new"}
MIB = 1024 * 1024
SIZE = 40 * MIB
CHEAP = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
COSTS = {"type": "pbkdf2", "iterations": 1000}


@dataclasses.dataclass(frozen=True)
class Kind:
    """slots: keyslot -> secret. header: bytes that say which keyslots there are; areas: bytes up to the payload."""

    name: str
    format: t.Tuple[str, ...]
    slots: t.Mapping[int, str]
    header: int
    areas: int


_LUKS1 = ("--type", "luks1")
# Room for four key areas of 512-bit keys and not for a fifth.
_LUKS2 = ("--type", "luks2", "--luks2-metadata-size", "16k", "--luks2-keyslots-size", str(MIB), "--offset", str(2 * MIB // 512))

KINDS = (
    Kind("luks1-free", _LUKS1, {0: OLD, 1: KEEP}, 4096, 2 * MIB),
    Kind("luks2-free", _LUKS2, {0: OLD, 1: KEEP}, 32768, 2 * MIB),
    Kind("luks1-full", _LUKS1, {**dict.fromkeys(range(8), KEEP), 6: OLD}, 4096, 2 * MIB),
    Kind("luks2-full", _LUKS2, {**dict.fromkeys(range(4), KEEP), 2: OLD}, 32768, 2 * MIB),
)


def make(kind: Kind, size: int = SIZE) -> bytes:
    """The whole volume; its payload holds nothing yet."""
    with tempfile.TemporaryDirectory(prefix="luksmith-vm-") as name:
        folder = pathlib.Path(name)
        volume, first, other = folder / "volume", folder / "first", folder / "other"
        with volume.open("wb") as file:
            file.truncate(size)
        (slot, secret), *rest = kind.slots.items()
        first.write_text(secret)
        _cryptsetup("luksFormat", *kind.format, *CHEAP, "--key-slot", str(slot), str(volume), str(first))
        for slot, secret in rest:
            other.write_text(secret)
            _cryptsetup("luksAddKey", *CHEAP, "--key-slot", str(slot), "--key-file", str(first), str(volume), str(other))
        return volume.read_bytes()


def _cryptsetup(*arguments: str) -> None:
    subprocess.run(["cryptsetup", "--batch-mode", *arguments], check=True, capture_output=True)


def opens(content: t.Union[bytes, bytearray], secret: str) -> bool:
    """Whether this machine's cryptsetup opens a volume of these bytes."""
    with tempfile.NamedTemporaryFile(prefix="luksmith-vm-") as file:
        file.write(content)
        file.flush()
        command = ["cryptsetup", "open", "--test-passphrase", "--key-file", "-", file.name]
        code = subprocess.run(command, input=secret.encode(), capture_output=True, check=False).returncode
    assert code in (0, 1, 2), f"cryptsetup cannot read the volume any more: exit code {code}"
    return code == 0


def secret(passphrase: str) -> t.Dict[str, str]:
    return {"label": LABELS[passphrase], "passphrase": passphrase}


def rotation(device: str) -> t.Dict[str, t.Any]:
    """The task that every volume here gets: the leaked secret is replaced, the other one stays."""
    replaced = {"old_secret": secret(OLD), "new_secret": secret(NEW), "pbkdf": COSTS}
    return {"device": device, "unlock": [secret(KEEP)], "keyslots": [replaced, {"new_secret": secret(KEEP)}]}


@t.final
class Shelf:
    """Disks and their sockets, on a power supply that is new after each cut."""

    def __init__(self) -> None:
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="luksmith-vm-"))
        self._disks: t.List[Disk] = []
        self.supply = PowerSupply()

    def disk(self, name: str, content: bytes) -> Disk:
        disk = Disk(self.supply, content, self._folder, f"{name}-{len(self._disks)}")
        self._disks.append(disk)
        return disk

    def new_supply(self) -> PowerSupply:
        self.supply = PowerSupply()
        return self.supply

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_error: object) -> None:
        for disk in self._disks:
            disk.close()
        shutil.rmtree(self._folder)
