# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes named as in crypttab: the link of udev is followed, and a name that several devices have is refused."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import blockdev, tags
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume

UUID = "4b543c86-7353-47b9-b355-d0ef03989991"


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder with dev, sys and claims; dev/sdb is a file with the first bytes of nothing in particular."""
    for attribute, folder in (("DEV", "dev"), ("SYS", "sys")):
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(blockdev, attribute, str(tmp_path / folder))
    monkeypatch.setattr(tags, "CLAIMS", str(tmp_path / "claims"))
    (tmp_path / "dev" / "sdb").write_bytes(bytes(512))
    return tmp_path


def link(host: pathlib.Path, name: str) -> str:
    path = host / "dev" / "disk" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("../../sdb")
    return str(path)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (f"UUID={UUID}", f"by-uuid/{UUID}"),
        (f'UUID="{UUID}"', f"by-uuid/{UUID}"),
        (f"UUID={UUID.upper()}", f"by-uuid/{UUID}"),
        ("UUID=1A2B-3C4D", "by-uuid/1A2B-3C4D"),
        ("LABEL=my data/1", "by-label/my\\x20data\\x2f1"),
        ("PARTUUID=0CBD7C5E-03", "by-partuuid/0cbd7c5e-03"),
        ("PARTLABEL=Linux data", "by-partlabel/Linux\\x20data"),
    ],
)
def test_a_tag_leads_where_udev_says(host: pathlib.Path, name: str, target: str) -> None:
    path = link(host, target)
    assert tags.path_of(name) == path
    with open_volume(name, writable=False) as volume:
        assert volume.node.path == path
    with open_volume(str(host / "dev" / "sdb"), name, writable=False) as volume:
        assert volume.node.path == path


@pytest.mark.parametrize("name", ["/dev/disk/by-uuid/UUID=x", "image=1.img", "ID=ata-1", "UUID", "uuid=x", ""])
def test_anything_else_is_a_path(host: pathlib.Path, name: str) -> None:
    assert tags.path_of(name) == name


@pytest.mark.parametrize("name", ["LABEL=data", "UUID=", "LABEL=../../sdb"])
def test_a_tag_of_no_device_says_how_to_look(host: pathlib.Path, name: str) -> None:
    (host / "dev" / "disk" / "by-label").mkdir(parents=True)
    with pytest.raises(StorageFault, match=r"No device has .*lsblk"):
        open_volume(name, writable=False)


def test_a_name_of_two_devices_is_refused(host: pathlib.Path) -> None:
    """A snapshot has the UUID of its origin, and the link of udev leads to one of them."""
    link(host, f"by-uuid/{UUID}")
    folder = host / "claims" / f"\\x2fdisk\\x2fby-uuid\\x2f{UUID}"
    folder.mkdir(parents=True)
    (folder / "b8:16").symlink_to("0:/dev/sdb")
    assert tags.path_of(f"UUID={UUID}")
    (folder / "b253:0").symlink_to("0:/dev/dm-0")
    known = host / "sys" / "dev" / "block"
    known.mkdir(parents=True)
    (known / "8:16").symlink_to("../../devices/pci/block/sdb")
    with pytest.raises(Refused, match=r"2 devices have it: block device 253:0, \S*/dev/sdb"):
        tags.path_of(f"UUID={UUID}")
