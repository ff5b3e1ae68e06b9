# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Foreign signatures as their own programs write them."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import errors
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header import parsing, reading, signatures

# Sparse. mkfs.xfs makes nothing smaller than 300 MiB, mkfs.btrfs nothing smaller than 109 MiB.
SIZE = 320 << 20

MAKERS = [
    (("mkfs.ext4", "-q", "-F"), "an ext4 file system"),
    (("mkswap", "-q"), "swap space"),
    (("mkfs.xfs", "-q", "-f"), "an XFS file system"),
    (("mkfs.btrfs", "-q", "-f"), "a btrfs file system"),
    (("mkfs.vfat",), "a FAT file system"),
    (("qemu-img", "create", "-q", "-f", "qcow2"), "a qcow2 image"),
    (("qemu-img", "create", "-q", "-f", "vhdx"), "a VHDX image"),
]
MORE = [
    (("mkfs.ext2", "-q", "-F"), "an ext2 file system"),
    (("mkfs.ext3", "-q", "-F"), "an ext3 file system"),
    (("mke2fs", "-q", "-F", "-O", "journal_dev"), "an ext journal device"),
    (("mkswap", "-q", "-p", "65536"), "swap space"),
    (("qemu-img", "create", "-q", "-f", "vmdk"), "a VMDK image"),
    (("qemu-img", "create", "-q", "-f", "vdi"), "a VDI image"),
    (("qemu-img", "create", "-q", "-f", "vpc"), "a VHD image"),
]


def on(path: pathlib.Path) -> t.Tuple[reading.Read, int]:
    def read(offset: int, length: int) -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    return read, path.stat().st_size


@pytest.mark.parametrize(
    ("command", "what"),
    [
        pytest.param(
            command,
            what,
            marks=[pytest.mark.needs(command[0]), *([pytest.mark.full] if (command, what) in MORE else [])],
        )
        for command, what in (*MAKERS, *MORE)
    ],
)
def test_a_fresh_one_is_recognised(tmp_path: pathlib.Path, command: t.Tuple[str, ...], what: str) -> None:
    path = tmp_path / "made"
    if command[0] != "qemu-img":
        path.touch()
        os.truncate(path, SIZE)
    size = ["16M"] if command[0] == "qemu-img" else []
    subprocess.run([*command, str(path), *size], check=True, capture_output=True)
    read, length = on(path)
    assert signatures.signature(read, length) == what
    with pytest.raises(errors.NotLuks, match=what):
        parsing.parse_header(read, length)


@pytest.mark.needs("cryptsetup", "mkfs.ext4")
@pytest.mark.parametrize("kind", ["luks1", "luks2"])
def test_a_luks_volume_over_an_old_file_system_has_no_foreign_signature(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "volume"
    path.write_bytes(bytes(32 << 20))
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True, capture_output=True)
    command = [
        "cryptsetup",
        "luksFormat",
        "-q",
        "--type",
        kind,
        "--pbkdf",
        "pbkdf2",
        "--pbkdf-force-iterations",
        "1000",
        str(path),
        "-",
    ]
    subprocess.run(command, input=b"x", check=True, capture_output=True)
    assert signatures.signature(*on(path)) is None
