# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS volumes as cryptsetup makes them on this machine, and the disks that hold them."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from .volatile import SECTOR, Disk, PowerSupply

KEEP, OLD, NEW = "keeps opening", "was leaked", "comes instead"
LABELS = {KEEP: "keep", OLD: "old", NEW: "new"}
MIB = 1024 * 1024
SIZE = 40 * MIB
CHEAP = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
COSTS = {"type": "pbkdf2", "iterations": 1000}


@dataclasses.dataclass(frozen=True)
class Kind:
    """slots: keyslot -> secret. header: bytes that say which keyslots there are; areas: bytes up to the payload.

    room: a keyslot is free, so that there is no moment at which neither the old secret nor the new one opens.
    """

    name: str
    format: t.Tuple[str, ...]
    slots: t.Mapping[int, str]
    header: int
    areas: int
    room: bool

    @property
    def key(self) -> bytes:
        """The volume key: 512 bits of AES-XTS."""
        return hashlib.sha512(self.name.encode()).digest()


_LUKS1 = ("--type", "luks1", "--cipher", "aes-xts-plain64", "--key-size", "512")
# Room for four key areas of 512-bit keys and not for a fifth.
_LUKS2 = (
    "--type",
    "luks2",
    "--luks2-metadata-size",
    "16k",
    "--luks2-keyslots-size",
    str(MIB),
    "--offset",
    str(2 * MIB // SECTOR),
)
_LUKS2 += ("--sector-size", str(SECTOR), *_LUKS1[2:])

KINDS = (
    Kind("luks1-free", _LUKS1, {0: OLD, 1: KEEP}, 4096, 2 * MIB, True),
    Kind("luks2-free", _LUKS2, {0: OLD, 1: KEEP}, 32768, 2 * MIB, True),
    Kind("luks1-full", _LUKS1, {**dict.fromkeys(range(8), KEEP), 6: OLD}, 4096, 2 * MIB, False),
    Kind("luks2-full", _LUKS2, {**dict.fromkeys(range(4), KEEP), 2: OLD}, 32768, 2 * MIB, False),
)


def make(kind: Kind, size: int = SIZE) -> bytes:
    """The whole volume; its payload holds nothing yet."""
    with tempfile.TemporaryDirectory(prefix="luksmith-vm-") as name:
        folder = pathlib.Path(name)
        volume, first, other, key = folder / "volume", folder / "first", folder / "other", folder / "key"
        key.write_bytes(kind.key)
        with volume.open("wb") as file:
            file.truncate(size)
        (slot, secret), *rest = kind.slots.items()
        first.write_text(secret)
        _cryptsetup(
            "luksFormat",
            *kind.format,
            *CHEAP,
            "--master-key-file",
            str(key),
            "--key-slot",
            str(slot),
            str(volume),
            str(first),
        )
        for slot, secret in rest:
            other.write_text(secret)
            _cryptsetup(
                "luksAddKey", *CHEAP, "--key-slot", str(slot), "--key-file", str(first), str(volume), str(other)
            )
        return volume.read_bytes()


def make_with_file_system(kind: Kind) -> bytes:
    """The whole volume with an empty ext4 in its payload, encrypted here: that spares the guest a boot and mkfs."""
    volume = bytearray(make(kind))
    with tempfile.NamedTemporaryFile(prefix="luksmith-vm-") as file:
        file.truncate(len(volume) - kind.areas)
        # Whatever mkfs leaves for later the kernel writes in the background of the mounted file system.
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", file.name], check=True)
        clear = pathlib.Path(file.name).read_bytes()
    cipher = algorithms.AES(kind.key)
    for at in range(0, len(clear), SECTOR):
        encryptor = Cipher(cipher, modes.XTS((at // SECTOR).to_bytes(16, "little"))).encryptor()
        volume[kind.areas + at : kind.areas + at + SECTOR] = encryptor.update(clear[at : at + SECTOR])
    return bytes(volume)


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
    """Disks and their sockets, on a power supply that is new after each cut; ``disks`` in the order in which they were
    made.
    """

    def __init__(self) -> None:
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="luksmith-vm-"))
        self.disks: t.List[Disk] = []
        self.supply = PowerSupply()

    def disk(self, name: str, content: bytes) -> Disk:
        disk = Disk(self.supply, content, self._folder, f"{name}-{len(self.disks)}")
        self.disks.append(disk)
        return disk

    def new_supply(self) -> PowerSupply:
        self.supply = PowerSupply()
        return self.supply

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_error: object) -> None:
        for disk in self.disks:
            disk.close()
        shutil.rmtree(self._folder)


def in_crypttab(opening: str, key: str, options: str) -> str:
    """A script that makes a file system with a file on the volume of /dev/vdb, which the next boot opens and mounts.

    opening: what cryptsetup opens it with; key, options: for the line of crypttab.
    """
    return f"""
set -e
cryptsetup open {opening} /dev/vdb data
mkfs.ext4 -q /dev/mapper/data
mount /dev/mapper/data /mnt
echo payload >/mnt/file
umount /mnt
cryptsetup close data
echo "data UUID=$(cryptsetup luksUUID /dev/vdb) {key} {options}" >/etc/crypttab
echo "/dev/mapper/data /mnt ext4 nofail 0 2" >/etc/fstab
"""
