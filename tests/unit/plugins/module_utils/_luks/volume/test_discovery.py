# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The volumes of hosts of all kinds, each listed once, with who has it open; what cannot be read is told."""

from __future__ import annotations

import errno
import os
import pathlib
import stat
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import probe
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.discovery import discover
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.node import fault
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import (
    luks1_image,
    luks2_image,
    test_qcow2,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume import fake_host
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_host import (
    UUID1,
    UUID2,
    FakeHost,
    luks1,
    luks2,
    mapping_uuid,
)

Row = t.Dict[str, t.Any]


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return FakeHost(tmp_path, monkeypatch)


def find(host: FakeHost, *paths: str, block_devices: bool = True) -> Row:
    return discover(paths=paths, block_devices=block_devices, crypttab_path=str(host.crypttab))


def only(host: FakeHost, *paths: str, **options: bool) -> Row:
    volumes = find(host, *paths, **options)["volumes"]
    assert len(volumes) == 1, [(row["device"], row["problem"]) for row in volumes]
    return dict(volumes[0])


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> t.List[str]:
    """Paths that may not be opened, as without root."""
    paths: t.List[str] = []

    def open_node(path: str, *, writable: bool) -> t.Any:
        if path in paths:
            raise fault(path, "cannot open it", OSError(errno.EACCES, os.strerror(errno.EACCES)))
        return honest(path, writable=writable)

    honest = probe.open_node
    monkeypatch.setattr(probe, "open_node", open_node)
    return paths


def test_a_closed_volume_among_other_disks(host: FakeHost) -> None:
    host.device("sda", b"\0" * 510 + b"\x55\xaa")
    path = host.part("sda", "sda2", luks2())
    host.device("sdb")
    link = host.link("disk/by-uuid/x", "sda2")
    assert only(host) == {
        "device": path,
        "aliases": [link],
        "header": None,
        "uuid": UUID2,
        "type": "luks2",
        "container": "raw",
        "label": "label",
        "size": fake_host.SIZE,
        "open": [],
        "crypttab": [],
        "problem": None,
    }
    assert find(host)["unreadable"] == []


def test_root_on_lvm_with_swap_beside_it(host: FakeHost) -> None:
    host.device("sda")
    host.part("sda", "sda2", luks1())
    host.device("dm-0", dm="system", uuid=mapping_uuid(UUID1, "system", 1), beneath=["sda2"])
    host.device("dm-1", dm="vg-root", beneath=["dm-0"])
    swap = host.device("dm-2", dm="vg-swap", beneath=["dm-0"])
    host.mount(b"/", "dm-1")
    host.mount(b"/mnt/my\\040data", "dm-1")
    host.mount(b"/boot", "sda")
    host.swap(swap)
    assert only(host)["open"] == [
        {
            "name": "system",
            "node": str(host.dev / "mapper/system"),
            "mounts": ["/", "/mnt/my data"],
            "swap": True,
            "holders": ["vg-root", "vg-swap"],
        }
    ]


def test_a_btrfs_over_two_volumes_is_mounted_on_both(host: FakeHost) -> None:
    for letter, uuid in (("a", UUID1), ("b", UUID1.replace("0", "9"))):
        host.device(f"sd{letter}", luks1(uuid))
        host.device(f"dm-{letter}", dm=f"c{letter}", uuid=mapping_uuid(uuid, f"c{letter}", 1), beneath=[f"sd{letter}"])
        (host.sys / "fs" / "btrfs" / "fsid" / "devices" / f"dm-{letter}").mkdir(parents=True)
    host.mount(b"/srv", source=str(host.dev / "mapper" / "ca").encode(), file_system=b"btrfs")
    assert [row["open"][0]["mounts"] for row in find(host)["volumes"]] == [["/srv"], ["/srv"]]


def test_crypttab_lines_by_every_way(host: FakeHost) -> None:
    path = host.device("sda", luks2())
    host.link("disk/by-partlabel/my\\x20part", "sda")
    by_id = host.link("disk/by-id/ata", "sda")
    host.crypttab.write_text(
        f'a UUID={UUID2.upper()} none luks\nb {path} /key\nc {by_id}\nd PARTLABEL="my\\040part"\ne LABEL=label - '
        "tries=1\n"
    )
    assert [(line["name"], line["line"]) for line in only(host)["crypttab"]] == [
        ("a", 1),
        ("b", 2),
        ("c", 3),
        ("d", 4),
        ("e", 5),
    ]


def test_a_line_without_a_device(host: FakeHost) -> None:
    host.crypttab.write_text("usb UUID=1-2 none luks,noauto\nagain UUID=1-2\nswap /dev/nothing /dev/urandom swap\n")
    row = only(host)
    assert (row["device"], row["uuid"], row["type"]) == ("UUID=1-2", None, None)
    assert "no such device" in row["problem"]
    assert len(row["crypttab"]) == 2


def test_a_line_whose_device_is_no_luks_volume(host: FakeHost) -> None:
    path = host.device("sda", b"\0" * 4086 + b"SWAPSPACE2")
    host.crypttab.write_text(f"a {path} none luks\nb {path} none plain\n")
    row = only(host)
    assert "swap space" in row["problem"]
    assert [line["name"] for line in row["crypttab"]] == ["a", "b"]


def test_a_detached_header_that_crypttab_names(host: FakeHost) -> None:
    path = host.device("sda", b"\1")
    header = host.image("boot.hdr", luks2())
    host.crypttab.write_text(f"a {path} none luks,header={header}\n")
    host.device("dm-0", dm="a", uuid=mapping_uuid(UUID2, "a"), beneath=["sda"])
    row = only(host, header)
    assert (row["device"], row["header"], row["uuid"], row["problem"]) == (path, header, UUID2, None)
    assert row["open"][0]["name"] == "a"
    assert row["crypttab"][0]["options"] == ["luks", f"header={header}"]


def test_a_detached_header_in_a_file_image_without_block_devices(host: FakeHost) -> None:
    path, header = host.image("data.img", b"\1"), host.image("boot.hdr", luks2())
    host.crypttab.write_text(f"a {path} none luks,header={header}\n")
    row = only(host, str(host.root / "*.*"), block_devices=False)
    assert (row["device"], row["header"], row["size"]) == (path, header, fake_host.SIZE)


@pytest.mark.parametrize("header", ["/nonexistent", "/path:UUID=1"])
def test_a_detached_header_that_is_not_there(host: FakeHost, header: str) -> None:
    path = host.device("sda", b"\1")
    host.crypttab.write_text(f"a {path} none luks,header={header}\n")
    row = only(host)
    assert (row["device"], row["header"], row["uuid"]) == (path, header, None)
    assert "detached header" in row["problem"]
    assert "No such file" in row["problem"]


def test_a_mapping_tells_whose_header_a_file_is(host: FakeHost) -> None:
    path = host.device("sda", b"\1")
    header = host.image("boot.hdr", luks2())
    host.device("dm-0", dm="a", uuid=mapping_uuid(UUID2, "a"), beneath=["sda"])
    row = only(host, header)
    assert (row["device"], row["header"], row["open"][0]["name"]) == (path, header, "a")


def test_an_open_volume_whose_header_nobody_knows(host: FakeHost) -> None:
    path = host.device("sda", b"\1")
    host.device("dm-0", dm="a", uuid=mapping_uuid(UUID2, "a"), beneath=["sda"])
    row = only(host)
    assert (row["device"], row["uuid"], row["type"]) == (path, UUID2, "luks2")
    assert "no LUKS header at its start" in row["problem"]


def test_an_open_volume_whose_header_was_written_over(host: FakeHost) -> None:
    host.device("sda", luks1())
    host.device("dm-0", dm="a", uuid=mapping_uuid(UUID2, "a"), beneath=["sda"])
    rows = find(host)["volumes"]
    assert [(row["uuid"], bool(row["open"])) for row in rows] in (
        [(UUID1, False), (UUID2, True)],
        [(UUID2, True), (UUID1, False)],
    )
    assert any("written over" in (row["problem"] or "") for row in rows)


def test_a_header_backup_is_a_volume_of_its_own_with_a_warning(host: FakeHost) -> None:
    host.device("sda", luks2())
    host.device("dm-0", dm="a", uuid=mapping_uuid(UUID2, "a"), beneath=["sda"])
    backup = host.image("backup", luks2())
    found = find(host, backup)
    assert sorted((row["device"], len(row["open"])) for row in found["volumes"]) == sorted(
        [(str(host.dev / "sda"), 1), (backup, 0)]
    )
    assert any(UUID2 in warning and backup in warning for warning in found["warnings"])


def test_the_paths_of_a_multipath_device_are_not_opened(host: FakeHost, closed: t.List[str]) -> None:
    closed += [host.device("sda", luks2()), host.device("sdb", luks2())]
    top = host.device("dm-0", luks2(), dm="mpatha", uuid="mpath-36001", beneath=["sda", "sdb"])
    host.device("dm-1", dm="a", uuid=mapping_uuid(UUID2, "a"), beneath=["dm-0"])
    found = find(host)
    assert [(row["device"], row["problem"], row["open"][0]["name"]) for row in found["volumes"]] == [(top, None, "a")]
    assert set(closed) < set(found["volumes"][0]["aliases"])
    assert found["unreadable"] == []


def test_the_legs_of_a_mirror_are_its_aliases(host: FakeHost) -> None:
    legs = [host.device("sda", luks2()), host.device("sdb", luks2())]
    top = host.device("md0", luks2(), beneath=["sda", "sdb"])
    found = find(host)
    assert [row["device"] for row in found["volumes"]] == [top]
    assert found["volumes"][0]["aliases"] == legs
    assert found["warnings"] == []


def test_copies_that_are_not_one_device_are_two_volumes(host: FakeHost) -> None:
    host.device("sda", luks2())
    host.device("sdb", luks2())
    found = find(host)
    assert len(found["volumes"]) == 2
    assert "have the UUID" in found["warnings"][0]


def test_a_loop_device_and_its_file_are_one_volume(host: FakeHost) -> None:
    image = host.image("a.img", luks1())
    loop = host.device("loop0", **{"loop/backing_file": image, "loop/offset": "0"})
    host.device("dm-0", dm="a", uuid=mapping_uuid(UUID1, "a", 1), beneath=["loop0"])
    for block_devices in (True, False):
        row = only(host, image, block_devices=block_devices)
        assert (row["device"], row["aliases"], row["open"][0]["name"]) == (image, [loop], "a")


def test_links_and_repeated_patterns_are_one_volume(host: FakeHost) -> None:
    image = host.image("a.img", luks1())
    (host.root / "link").symlink_to(image)
    row = only(host, image, str(host.root / "l*"), str(host.root / "*.img"))
    assert (row["device"], row["aliases"]) == (image, [str(host.root / "link")])


def test_a_suspended_device_is_not_read(host: FakeHost, closed: t.List[str]) -> None:
    closed.append(host.device("dm-0", luks2(), dm="a", **{"dm/suspended": "1"}))
    found = find(host)
    assert (found["volumes"], found["unreadable"]) == ([], closed)
    assert "The device is suspended" in found["warnings"][0]


def test_without_root_udev_and_mappings_still_tell(host: FakeHost, closed: t.List[str]) -> None:
    closed += [host.device("sda", luks2()), host.device("sdb", luks1()), host.device("sdc")]
    host.udev("sda", ID_FS_TYPE="crypto_LUKS", ID_FS_VERSION="2", ID_FS_UUID=UUID2, ID_FS_LABEL="l")
    host.device("dm-0", dm="b", uuid=mapping_uuid(UUID1, "b", 1), beneath=["sdb"])
    host.udev("sdc", ID_FS_TYPE="ext4")
    host.crypttab.write_text(f"x {closed[0]}\n")
    found = find(host)
    assert [(row["device"], row["uuid"], row["type"], row["label"]) for row in found["volumes"]] == [
        (closed[0], UUID2, "luks2", "l"),
        (closed[1], UUID1, "luks1", ""),
    ]
    assert all("Permission denied" in row["problem"] and "root" in row["problem"] for row in found["volumes"])
    assert found["volumes"][0]["crypttab"][0]["name"] == "x"
    assert found["volumes"][1]["open"][0]["name"] == "b"
    assert found["unreadable"] == [closed[2]]
    assert closed[2] in found["warnings"][0]


def test_an_expected_volume_that_cannot_be_opened_is_a_problem(host: FakeHost, closed: t.List[str]) -> None:
    closed.append(host.device("sda", luks2()))
    host.crypttab.write_text(f"x {closed[0]}\n")
    found = find(host)
    assert "Permission denied" in found["volumes"][0]["problem"]
    assert found["unreadable"] == []


def test_a_damaged_header_is_a_problem_with_its_uuid(host: FakeHost) -> None:
    raw = luks1_image.patch(luks1(), luks1_image.slot_field(3, 44), b"\0\0\0\1")
    row = only(host, host.image("a.img", raw))
    assert (row["uuid"], row["type"]) == (UUID1, None)
    assert "stripes" in row["problem"]


def test_a_volume_whose_first_copy_is_lost(host: FakeHost) -> None:
    raw = bytes(luks2_image.HDR_SIZE) + luks2()[luks2_image.HDR_SIZE :]
    row = only(host, host.image("a.img", raw))
    assert (row["uuid"], row["problem"]) == (UUID2, None)


def test_a_second_copy_beneath_a_file_system_is_a_remainder(host: FakeHost) -> None:
    host.device("sda", bytes(82) + b"FAT32   " + bytes(luks2_image.HDR_SIZE - 90) + luks2()[luks2_image.HDR_SIZE :])
    assert find(host)["volumes"] == []


def test_qcow2_images(host: FakeHost) -> None:
    encrypted = test_qcow2.build()
    offset = test_qcow2.POINTER[0]
    host.image("a.qcow2", encrypted + bytes(offset - len(encrypted)) + luks1())
    host.image("plain.qcow2", test_qcow2.build(method=0, extensions=[]))
    found = find(host, str(host.root / "*.qcow2"))["volumes"]
    assert [(row["device"], row["container"], row["uuid"], row["problem"]) for row in found] == [
        (str(host.root / "a.qcow2"), "qcow2", UUID1, None)
    ]
    (host.root / "a.qcow2").unlink()
    host.image("damaged.qcow2", test_qcow2.build(cluster_bits=30))
    assert "cluster_bits" in only(host, str(host.root / "*.qcow2"))["problem"]
    named = find(host, str(host.root / "plain.qcow2"))["volumes"]
    assert "without encryption" in named[0]["problem"]


def test_a_named_path_is_returned_in_any_case(host: FakeHost) -> None:
    text = host.image("text", b"hello")
    rows = find(host, text, str(host.root / "missing"), str(host.root / "none*"), str(host.root))["volumes"]
    problems = {row["device"]: row["problem"] for row in rows}
    assert set(problems) == {text, str(host.root / "missing"), str(host.root)}
    assert "No such file" in problems[str(host.root / "missing")]
    assert "directory" in problems[str(host.root)]


def test_patterns_pass_over_what_is_no_volume(host: FakeHost) -> None:
    host.image("text", b"hello")
    os.mkfifo(host.root / "fifo")
    (host.root / "broken").symlink_to("nowhere")
    assert (
        only(host, str(host.root / "*"), str(host.root / "sub" / "**" / "*"), host.image("sub/deep/a[1].img", luks1()))[
            "problem"
        ]
        is None
    )


def test_odd_names(host: FakeHost) -> None:
    names = ["a b", "new\nline", "quote'\"", "a[1]", "\udcff"]
    paths = [
        host.image(f"odd/{name}", luks1(UUID1.replace("0b6d", f"000{number}"))) for number, name in enumerate(names)
    ]
    assert sorted(row["device"] for row in find(host, str(host.root / "odd" / "*"))["volumes"]) == sorted(paths)
    assert [row["device"] for row in find(host, paths[3])["volumes"]] == [paths[3]]


def test_a_node_that_is_not_in_dev_is_no_device_of_this_container(host: FakeHost) -> None:
    host.device("sda", luks2(), node=False)
    found = find(host)
    assert (found["volumes"], found["unreadable"], found["warnings"]) == ([], [], [])


def test_a_node_that_leads_to_another_device_is_not_opened(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev of a container may hold other nodes than sysfs means."""
    path = host.device("sda", luks2())
    with monkeypatch.context() as patched:
        patched.setattr(
            os, "stat", lambda _path: types.SimpleNamespace(st_mode=stat.S_IFBLK | 0o600, st_rdev=os.makedev(8, 1))
        )
        with pytest.raises(StorageFault, match="Its node belongs to another device"):
            probe.probe(path, expected=False, rdev=os.makedev(8, 0))


def test_empty_and_hidden_devices_are_not_opened(host: FakeHost, closed: t.List[str]) -> None:
    closed += [host.device("sr0", size="0"), host.device("nvme0c0n1", luks2(), hidden="1")]
    assert find(host)["unreadable"] == []


def test_a_thousand_devices_are_peeked_at_and_not_parsed(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may take some seconds: a thousand devices with their folders in sysfs are made up, looked at and removed."""
    for number in range(1000):
        host.device(f"sd{number}", b"\1" if number else luks2())
    opened: t.List[str] = []
    honest = probe.open_volume
    monkeypatch.setattr(probe, "open_volume", lambda path, **options: opened.append(path) or honest(path, **options))
    assert only(host)["device"] == str(host.dev / "sd0")
    assert opened == [str(host.dev / "sd0")]


def test_nothing_is_written(host: FakeHost) -> None:
    path = host.device("sda", luks2()[: luks2_image.HDR_SIZE] + b"damage")
    before = pathlib.Path(path).read_bytes()
    find(host)
    assert pathlib.Path(path).read_bytes() == before


def test_an_unreadable_crypttab_is_a_warning(host: FakeHost) -> None:
    host.crypttab.mkdir()
    assert "cannot be read" in find(host)["warnings"][0]


def test_patterns_that_lead_to_no_volume(host: FakeHost) -> None:
    """A path without a pattern is a volume with a problem, and a volume that two patterns lead to is none missing."""
    image, text = host.image("good.img", luks1()), host.image("notes.txt", b"nothing of that kind")
    missed = [str(host.root / "imgaes" / "*.img"), f"{text[:-1]}?"]
    missing = str(host.root / "none.img")
    found = find(host, *missed, str(host.root / "*.img"), str(host.root / "goo?.img"), missing)
    assert found["unmatched"] == missed
    assert [row["device"] for row in found["volumes"]] == [image, missing]
