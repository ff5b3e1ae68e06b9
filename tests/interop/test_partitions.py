# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole disk, or an image of one: the refusal says in which partition the volume is. sfdisk makes the tables."""

from __future__ import annotations

import gzip
import json
import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, run_module

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLES = {
    "gpt": "label: gpt\nsize=1MiB\nsize=6MiB\nsize=1MiB\n",
    "mbr": "label: dos\nsize=1MiB\nsize=6MiB\nsize=1MiB\n",
    "logical": "label: dos\nsize=1MiB\ntype=5\nsize=1MiB\nsize=6MiB\nsize=1MiB\n",
}
# Where the volume is put: sfdisk counts logical partitions from 5.
NUMBERS = {"gpt": 2, "mbr": 2, "logical": 6}


def disk(path: pathlib.Path, table: str) -> t.List[t.Dict[str, t.Any]]:
    path.write_bytes(b"")
    os.truncate(path, 24 << 20)
    subprocess.run(["sfdisk", "-q", str(path)], input=TABLES[table], text=True, check=True)
    shown = subprocess.run(["sfdisk", "--json", str(path)], capture_output=True, text=True, check=True).stdout
    return t.cast(t.List[t.Dict[str, t.Any]], json.loads(shown)["partitiontable"]["partitions"])


@pytest.mark.needs("sfdisk")
@pytest.mark.parametrize("table", sorted(TABLES))
def test_the_refusal_names_the_partition(tmp_path: pathlib.Path, table: str) -> None:
    path = tmp_path / "disk.img"
    partitions = {int(one["node"].rpartition("img")[2]): one["start"] for one in disk(path, table)}
    header = gzip.decompress((ROOT / "tests" / "fixtures" / "luks2.img.gz").read_bytes())[: 1 << 20]
    start = partitions[NUMBERS[table]] * 512
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(header)
    with pytest.raises(ModuleFailed) as caught:
        run_module("keyslots_info", {"device": str(path)})
    told = str(caught.value)
    assert f"the LUKS header is in partition {NUMBERS[table]} (at byte {start})" in told
    assert "losetup --find --show --partscan" in told


@pytest.mark.needs("sfdisk")
def test_a_disk_without_a_volume_is_called_what_it_is(tmp_path: pathlib.Path) -> None:
    disk(tmp_path / "disk.img", "gpt")
    with pytest.raises(ModuleFailed, match="a GPT partition table"):
        run_module("keyslots_info", {"device": str(tmp_path / "disk.img")})


@pytest.mark.parametrize("address", ["rbd:pool/image", "nbd://host/export", 'json:{"driver": "luks"}'])
def test_an_address_of_qemu_is_no_path(address: str) -> None:
    with pytest.raises(ModuleFailed) as caught:
        run_module("keyslots_info", {"device": address})
    assert "not a path" in str(caught.value) and "qemu-nbd --connect" in str(caught.value)
    assert address not in str(caught.value)
