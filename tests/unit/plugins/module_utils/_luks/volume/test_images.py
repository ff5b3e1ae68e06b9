# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS in the partitions of image files, and the processes that hold an image."""

from __future__ import annotations

import fcntl
import gzip
import os
import pathlib
import struct
import subprocess
import sys

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.images import held_by, in_partitions

FIXTURES = pathlib.Path(__file__).resolve().parents[5] / "fixtures"


def disk(path: pathlib.Path, *volumes: bytes) -> pathlib.Path:
    """An image with an MBR; each volume is in a partition of its own, from the first MiB on."""
    data, table, at = bytearray(1 << 20), bytearray(512), 1 << 20
    for number, volume in enumerate(volumes):
        struct.pack_into("<BBBBBBBBII", table, 446 + 16 * number, 0, 0, 0, 0, 0x83, 0, 0, 0, at // 512, 2048)
        data += volume.ljust(-(-len(volume) // (1 << 20)) << 20, b"\0")
        at = len(data)
    table[510:] = b"\x55\xaa"
    data[:512] = table
    path.write_bytes(bytes(data))
    return path


def fixture(name: str) -> bytes:
    return gzip.decompress((FIXTURES / f"{name}.img.gz").read_bytes())


@pytest.mark.needs("cryptsetup")
def test_each_partition_is_told_with_what_cryptsetup_says_of_it(tmp_path: pathlib.Path) -> None:
    image = disk(tmp_path / "disk.img", b"not this one", fixture("luks1"), fixture("luks2"))
    (tmp_path / "plain.img").write_bytes(fixture("luks2"))
    (tmp_path / "text.img").write_text("nothing")
    rows = in_partitions([str(tmp_path / "*.img"), str(image), str(tmp_path / "nowhere"), "with\0nul"])
    assert [(row["image"], row["partition"], row["type"], row["problem"]) for row in rows] == [
        (str(image), 2, "luks1", None),
        (str(image), 3, "luks2", None),
    ]
    for row in rows:
        alone = tmp_path / "alone"
        alone.write_bytes(image.read_bytes()[row["offset"] :])
        said = subprocess.run(["cryptsetup", "luksUUID", str(alone)], check=True, capture_output=True, text=True)
        assert said.stdout.strip() == row["uuid"]


def test_a_header_that_breaks_the_format_is_told_as_one(tmp_path: pathlib.Path) -> None:
    image = disk(tmp_path / "disk.img", b"LUKS\xba\xbe\0\1" + bytes(4096))
    ((row,), found) = (in_partitions([str(image)]), image.read_bytes())
    assert row["uuid"] is None and row["problem"] and found == image.read_bytes()


def test_the_process_that_locks_an_image_is_named(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(4096))
    assert held_by(str(image)) == []
    holding = (
        "import fcntl, os, sys; descriptor = os.open(sys.argv[1], os.O_RDWR); fcntl.flock(descriptor, fcntl.LOCK_SH);"
        " print('x', flush=True); input()"
    )
    command = [sys.executable, "-c", holding, str(image)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "x\n"
        (said,) = held_by(str(image))
        assert said.startswith(f"pid {process.pid} (")
        process.communicate("\n")
    with image.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        assert held_by(str(image)) == []
    assert held_by(os.devnull) == held_by(str(tmp_path / "nowhere")) == []
