# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies beneath a device and what shows its bytes above it, told from sysfs."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import blockdev
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_sys import (
    FakeSys,
    block_numbers,
)


@pytest.fixture
def fake(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> FakeSys:
    return FakeSys(tmp_path, monkeypatch)


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "disk.img"
    path.touch()
    return path


def file_numbers(path: pathlib.Path) -> t.Tuple[str, int, int]:
    return blockdev.numbers_of(os.stat(path))


def beneath(number: str, offset: int = 0) -> t.List[t.Tuple[t.Tuple[str, int, int], int, str]]:
    status = os.stat_result((0o060600, 0, 0, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": block_numbers(number)[1]})
    return [(place.numbers, place.offset, place.how) for place in blockdev.stack(status, "/dev/x", offset)]


def test_a_plain_file_has_nothing_beneath(image: pathlib.Path) -> None:
    assert blockdev.stack(os.stat(image), "x", 7) == [blockdev.Place(file_numbers(image), 7, "x")]


def test_a_loop_device_leads_to_its_file_and_offset(fake: FakeSys, image: pathlib.Path) -> None:
    fake.loop("loop3", "7:3", image, offset=4096)
    assert beneath("7:3", 100) == [(block_numbers("7:3"), 100, ""), (file_numbers(image), 4196, blockdev.LOOP_OF)]


def test_partition_and_nested_loop_devices_add_up(
    fake: FakeSys, image: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = fake.loop("loop0", "7:0", image, offset=512)
    fake.partition(inner, "loop0p2", "259:5", start=2048)
    fake.loop("loop1", "7:1", fake.dev / "loop0p2", offset=1024)
    (fake.dev / "loop0p2").touch()
    node = file_numbers(fake.dev / "loop0p2")
    monkeypatch.setattr(
        blockdev,
        "numbers_of",
        lambda status, honest=blockdev.numbers_of: block_numbers("259:5") if honest(status) == node else honest(status),
    )
    assert beneath("7:1") == [
        (block_numbers("7:1"), 0, ""),
        (block_numbers("259:5"), 1024, blockdev.LOOP_OF),
        (block_numbers("7:0"), 1024 + 2048 * 512, blockdev.PARTITION_OF),
        (file_numbers(image), 1024 + 2048 * 512 + 512, blockdev.LOOP_OF),
    ]


def test_a_backing_file_that_is_gone_ends_the_way_down(fake: FakeSys, tmp_path: pathlib.Path) -> None:
    fake.loop("loop3", "7:3", f"{tmp_path}/gone.img (deleted)")
    assert beneath("7:3") == [(block_numbers("7:3"), 0, "")]


def test_a_circle_ends(fake: FakeSys, monkeypatch: pytest.MonkeyPatch, image: pathlib.Path) -> None:
    fake.loop("loop3", "7:3", image)
    monkeypatch.setattr(blockdev, "numbers_of", lambda _status: block_numbers("7:3"))
    assert 2 < len(beneath("7:3")) < 100


def test_a_file_name_may_hold_any_byte(fake: FakeSys, tmp_path: pathlib.Path) -> None:
    odd = os.fsencode(tmp_path) + b"/two\nlines\xff "
    with open(odd, "wb"):
        pass
    folder = fake.loop("loop3", "7:3", "x")
    (folder / "loop" / "backing_file").write_bytes(odd + b"\n")
    assert beneath("7:3")[1][0] == blockdev.numbers_of(os.stat(odd))


def test_above_finds_the_loop_devices_that_show_the_same_byte(
    fake: FakeSys, image: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    other = tmp_path / "other.img"
    other.touch()
    fake.loop("loop0", "7:0", image)
    fake.loop("loop1", "7:1", image, offset=512)
    fake.loop("loop2", "7:2", other)
    partitioned = fake.loop("loop4", "7:4", image, offset=1024)
    fake.partition(partitioned, "loop4p1", "259:1", start=6)
    fake.partition(partitioned, "loop4p2", "259:2", start=7)
    fake.disk("sda", "8:0")
    numbers = file_numbers(image)
    assert [place.path for place in blockdev.above(numbers, {0})] == [str(fake.dev / "loop0")]
    assert [place.path for place in blockdev.above(numbers, {0, 512})] == [
        str(fake.dev / "loop0"),
        str(fake.dev / "loop1"),
    ]
    assert [place.numbers for place in blockdev.above(numbers, {4096})] == [block_numbers("259:1")]
    assert blockdev.above(numbers, {99}) == []


def test_without_sysfs_nothing_is_known(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, image: pathlib.Path
) -> None:
    monkeypatch.setattr(blockdev, "SYS", str(tmp_path / "nowhere"))
    assert len(beneath("7:3")) == 1
    assert blockdev.above(file_numbers(image), {0}) == []
    rdev = block_numbers("7:3")[1]
    assert not (blockdev.is_loop(rdev) or blockdev.is_rotational(rdev) or blockdev.is_read_only(rdev))


def test_facts_of_a_partition_are_those_of_its_disk(fake: FakeSys, image: pathlib.Path) -> None:
    turning = fake.disk("sda", "8:0", **{"queue/rotational": "1", "ro": "0"})
    part = fake.partition(turning, "sda1", "8:1", start=34)
    (part / "ro").write_text("1\n")
    fake.disk("nvme0n1", "259:0", **{"queue/rotational": "0"})
    fake.partition(fake.loop("loop0", "7:0", image), "loop0p1", "259:9", start=1)
    rdev = {number: block_numbers(number)[1] for number in ("8:0", "8:1", "259:0", "7:0", "259:9")}
    assert [blockdev.is_rotational(rdev[number]) for number in ("8:0", "8:1", "259:0")] == [True, True, False]
    assert [blockdev.is_read_only(rdev[number]) for number in ("8:0", "8:1")] == [False, True]
    assert [blockdev.is_loop(rdev[number]) for number in ("7:0", "259:9", "8:1")] == [True, True, False]


def test_names_with_a_slash_are_written_with_an_exclamation_mark_in_sysfs() -> None:
    assert blockdev.node_path("/sys/block/cciss!c0d0") == "/dev/cciss/c0d0"
