# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever decides reads from the medium: the page cache of a device does not see what was written through its file."""

from __future__ import annotations

import gzip
import os
import pathlib

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup import create, restore
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.backup_task import parse_backup
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.keyfile_content import read_keyfile
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend, inspect
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.discovery import discover
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import Region
from ansible_collections.luksmith.luks.tests.interop.lock_lab import loop_device
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    BOTH,
    FIRE,
    FIXTURES,
    Image,
    audit,
    extended,
    secret,
)

NEXT = secret("winter-2026")
NAMES = ["luks1.img", "luks1.qcow2", "luks2.img"]


def volume(path: pathlib.Path, name: str) -> pathlib.Path:
    path.write_bytes(gzip.decompress((FIXTURES / f"{name}.gz").read_bytes()))
    return path


def rotate(path: pathlib.Path) -> None:
    task = parse_task({"device": str(path), "keyslots": [{"old_secret": BOTH[0], "new_secret": NEXT}]})
    assert amend.amend(task, check=False)["changed"] is True
    task.wipe_secrets()


@pytest.fixture
def stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page cache in which everything is what it was long ago: zeros. The medium has what the file has."""
    honest = os.pread

    def medium(region: Region, offset: int, length: int) -> bytes:
        region._check(offset, length)
        return honest(region._node.fd, length, region._start + offset)

    monkeypatch.setattr(Region, "reread", medium)
    monkeypatch.setattr(Region, "read", lambda _region, _offset, length: bytes(length))
    monkeypatch.setattr(os, "pread", lambda _fd, length, _offset: bytes(length))


@pytest.mark.parametrize("name", NAMES)
def test_an_audit(tmp_path: pathlib.Path, stale: None, name: str) -> None:
    result = audit(Image(tmp_path / name, name), policy=extended(), secrets=BOTH)
    assert [row["opened_by"] for row in result["keyslots"] if row["state"] == "active"] == [
        [one["label"]] for one in BOTH
    ]
    assert [one["rule"] for one in result["findings"] if one["rule"].startswith("slot-")] == []


def test_an_audit_of_a_header_that_cannot_be_used(tmp_path: pathlib.Path, stale: None) -> None:
    gap = {"type": "linear", "offset": "16777216", "size": "dynamic", "flags": ["backup-final"]}
    image = Image(tmp_path / "volume", "luks2.img").edit(lambda tree: tree["segments"].update({"9": gap}))
    assert [one["rule"] for one in audit(image, policy=extended())["findings"]] == [
        "cve-2020-14382",
        "header-unreadable",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_look_and_a_change(tmp_path: pathlib.Path, stale: None, name: str) -> None:
    """It may take some seconds: no costs are given, so that the new keyslot takes a second to derive, several times."""
    """It may take some seconds: the keyslots have the costs that cryptsetup gave them, and each secret is tried."""
    path = volume(tmp_path / name, name)
    rotate(path)
    info = parse_info({"device": str(path), "secrets": [NEXT, BOTH[0], BOTH[1]]})
    result = inspect.inspect(info)
    info.wipe_secrets()
    assert result["opened_by"] == {NEXT["label"]: [0], BOTH[0]["label"]: [], FIRE.upper(): [1]}
    assert result["container"] == ("qcow2" if name.endswith("qcow2") else "raw")


@pytest.mark.parametrize("name", ["luks1.img", "luks2.img"])
def test_a_search_of_the_host(tmp_path: pathlib.Path, stale: None, name: str) -> None:
    path = volume(tmp_path / name, name)
    found = discover(paths=[str(path)], block_devices=False, crypttab_path=str(tmp_path / "none"))["volumes"]
    assert [(row["device"], row["type"]) for row in found] == [(str(path), name[:5])]


def test_a_search_of_the_host_for_a_second_copy(tmp_path: pathlib.Path, stale: None) -> None:
    """The first copy of the header is lost, and the second one alone says that there is a volume."""
    path = volume(tmp_path / "luks2.img", "luks2.img")
    with path.open("r+b") as file:
        file.write(bytes(4096))
    found = discover(paths=[f"{tmp_path}/*.img"], block_devices=False, crypttab_path=str(tmp_path / "none"))["volumes"]
    assert [row["device"] for row in found] == [str(path)]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        # Somebody else's data, which only the medium has: restoring a header over it would damage it.
        (b"".join((bytes(3), b"NTFS    ", bytes(4096 - 11))), "NTFS"),
        # An intact header of a version that nobody here knows.
        (b"LUKS\xba\xbe\x00\x03" + bytes(4088), "intact"),
    ],
    ids=["NTFS", "a version to come"],
)
def test_a_restore(tmp_path: pathlib.Path, stale: None, damage: bytes, says: str) -> None:
    path, backup = volume(tmp_path / "luks2.img", "luks2.img"), tmp_path / "backup"
    options = {"device": str(path), "path": str(backup), "unlock": BOTH}
    create.create(parse_backup(options), check=False)
    with path.open("r+b") as file:
        file.write(damage)
        file.seek(16384)
        file.write(bytes(4096))
    with pytest.raises(LuksmithError, match=says):
        restore.restore(parse_backup({**options, "state": "restored", "force": True}), check=True)


@pytest.mark.needs("loop", "losetup")
class TestLoop:
    """The same with a loop device whose pages are old."""

    def test_an_audit_after_a_rotation_through_the_file(self, tmp_path: pathlib.Path) -> None:
        image = Image(tmp_path / "volume", "luks2.img")
        with loop_device(image.path) as device, open(device, "rb") as held:
            held.read()  # into the page cache of the device, which lives as long as somebody has it open
            rotate(image.path)
            image.path = pathlib.Path(device)
            result = audit(image, secrets=[NEXT, BOTH[1]])
        assert [row["opened_by"] for row in result["keyslots"]] == [[NEXT["label"]], [BOTH[1]["label"]]]

    def test_a_keyfile_that_is_a_device(self, tmp_path: pathlib.Path) -> None:
        path = tmp_path / "keys"
        path.write_bytes(b"old!" * 1024)
        with loop_device(path) as device, open(device, "rb"):
            assert read_keyfile(device, None, 4, "keyfile") == b"old!"
            with path.open("r+b") as file:
                file.write(b"new!" * 1024)
                file.flush()
                os.fsync(file.fileno())
            assert read_keyfile(device, None, 4, "keyfile") == b"new!"
