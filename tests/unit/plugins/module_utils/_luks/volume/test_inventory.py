# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every block device by its kernel name, with its links, and what is built on what."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.inventory import natural, read_inventory
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_host import (
    UUID1,
    UUID2,
    FakeHost,
    mapping_uuid,
)


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return FakeHost(tmp_path, monkeypatch)


def names(devices: t.Iterable[t.Any]) -> t.List[str]:
    return [device.name for device in devices]


def test_order_and_paths(host: FakeHost) -> None:
    for name in ("sda", "sdb", "cciss!c0d0"):
        host.device(name)
    host.part("sda", "sda10")
    host.part("sda", "sda2")
    host.device("dm-0", dm="root")
    found = read_inventory()
    assert names(found) == ["cciss!c0d0", "dm-0", "sda", "sda2", "sda10", "sdb"]
    assert found.by_name["cciss!c0d0"].path == str(host.dev / "cciss/c0d0")
    assert found.by_name["dm-0"].path == str(host.dev / "mapper/root")
    assert found.by_name["dm-0"].links == (str(host.dev / "dm-0"),)


def test_links(host: FakeHost) -> None:
    path = host.device("sda")
    host.device("dm-0", dm="vg-lv")
    links = [host.link("disk/by-id/ata-x", "sda"), host.link("disk/by-uuid/1", "sda")]
    group = host.link("vg/lv", "dm-0")
    host.link("char/1", "sda")
    found = read_inventory()
    assert found.by_name["sda"].links == tuple(links)
    assert group in found.by_name["dm-0"].links
    assert found.at(links[0]) is found.by_name["sda"] is found.at(path)
    assert found.at("/nonexistent") is None
    assert found.at("a\0b") is None


def test_a_mapping_without_a_link_is_known_by_its_node(host: FakeHost) -> None:
    host.device("dm-0", dm="root")
    (host.dev / "mapper" / "root").unlink()
    assert read_inventory().by_name["dm-0"].path == str(host.dev / "dm-0")


def test_tags(host: FakeHost) -> None:
    host.device("sda")
    host.part("sda", "sda1", uevent="DEVNAME=sda1\nPARTNAME=my data\nPARTUUID=0cbd7c5e-01")
    host.link("disk/by-label/my\\x20disk\\x2f", "sda")
    host.link("disk/by-uuid/ab-cd", "sda")
    found = read_inventory()
    for kind, value, name in (
        ("LABEL", "my disk/", "sda"),
        ("UUID", "AB-CD", "sda"),
        ("PARTUUID", "0CBD7C5E-01", "sda1"),
        ("PARTLABEL", "my data", "sda1"),
    ):
        device = found.tagged(kind, value)
        assert device is not None and device.name == name, kind
    assert found.tagged("PARTLABEL", "my") is None
    assert found.tagged("LABEL", "other") is None


def test_what_is_built_on_a_device(host: FakeHost) -> None:
    host.device("sda")
    host.part("sda", "sda1")
    host.device("dm-0", dm="crypt", beneath=["sda1"])
    host.device("dm-1", dm="vg-a", beneath=["dm-0"])
    host.device("md0", beneath=["dm-1"])
    host.part("md0", "md0p1")
    found = read_inventory()
    assert names(found.above(found.by_name["sda"])) == ["sda1", "dm-0", "dm-1", "md0", "md0p1"]
    assert names(found.above(found.by_name["md0p1"])) == []


def test_a_mapping_and_the_device_with_its_ciphertext(host: FakeHost) -> None:
    host.device("sda")
    host.device("dm-0", dm="data_dif", uuid="CRYPT-SUBDEV-data_dif", beneath=["sda"])
    host.device("dm-1", dm="data", uuid=mapping_uuid(UUID2, "data"), beneath=["dm-0"])
    host.device("dm-2", dm="inner", uuid=mapping_uuid(UUID1, "inner", 1), beneath=["dm-1"])
    host.device("dm-3", dm="plain", uuid="CRYPT-PLAIN-plain", beneath=["dm-2"])
    host.device("dm-4", dm="onplain", uuid=mapping_uuid(UUID1, "onplain", 1), beneath=["dm-3"])
    found = read_inventory()
    assert names(found.mappings()) == ["dm-1", "dm-2", "dm-4"]
    assert [names(found.beneath_mapping(mapping)) for mapping in found.mappings()] == [["sda"], ["dm-1"], ["dm-3"]]
    assert found.by_name["dm-1"].luks == ("luks2", UUID2)
    assert found.by_name["dm-2"].luks == ("luks1", UUID1)


def test_an_older_integrity_helper_with_the_uuid_of_the_volume(host: FakeHost) -> None:
    host.device("sda")
    host.device("dm-0", dm="data_dif", uuid=mapping_uuid(UUID2, "data_dif"), beneath=["sda"])
    host.device("dm-1", dm="data", uuid=mapping_uuid(UUID2, "data"), beneath=["dm-0"])
    found = read_inventory()
    assert names(found.mappings()) == ["dm-1"]
    assert names(found.beneath_mapping(found.by_name["dm-1"])) == ["sda"]


def test_udev_database(host: FakeHost) -> None:
    host.device("sda")
    host.udev("sda", ID_FS_TYPE="crypto_LUKS", ID_FS_LABEL="a=b")
    host.device("sdb")
    found = read_inventory()
    assert found.by_name["sda"].udev() == {"ID_FS_TYPE": "crypto_LUKS", "ID_FS_LABEL": "a=b"}
    assert found.by_name["sdb"].udev() == {}


def test_without_sysfs_there_are_no_devices(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.blockdev.SYS", "/nonexistent"
    )
    assert list(read_inventory()) == []


def test_natural_order() -> None:
    assert sorted(["sda10", "sda2", "sda", "10", "b"], key=natural) == ["10", "b", "sda", "sda2", "sda10"]
