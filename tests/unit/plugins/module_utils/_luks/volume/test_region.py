# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes of a region: all of them or a sentence, never beyond the end, read back from the medium."""

from __future__ import annotations

import errno
import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import storage
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import Volume, open_volume
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors

SIZE = 3 * 4096 + 777


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> t.Iterator[Volume]:
    path = tmp_path / "volume.img"
    path.write_bytes(os.urandom(SIZE))
    with open_volume(str(path), writable=True) as opened:
        yield opened


def content(volume: Volume) -> bytes:
    return pathlib.Path(volume.path).read_bytes()


def failing(number: int) -> t.Callable[..., t.Any]:
    def fail(*_args: t.Any) -> t.Any:
        raise OSError(number, os.strerror(number))

    return fail


def test_short_reads_are_continued(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = content(volume)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: pread(fd, min(length, 100), offset))
    assert volume.region.read(33, 5000) == whole[33:5033]


def test_short_writes_are_continued(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(volume)
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:100], offset))
    volume.region.write(33, b"x" * 5000)
    assert content(volume) == before[:33] + b"x" * 5000 + before[5033:]


def test_a_write_that_takes_nothing_is_an_error_and_no_endless_loop(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: 0)
    with pytest.raises(StorageFault, match="EIO"):
        volume.region.write(33, b"x" * 5000)


@pytest.mark.parametrize(("offset", "length"), [(0, SIZE + 1), (SIZE, 1), (-1, 1), (5, -1), (1 << 70, 1)])
def test_nothing_beyond_the_end_is_read_or_written(volume: Volume, offset: int, length: int) -> None:
    before = content(volume)
    for read in (volume.region.read, volume.region.reread):
        with pytest.raises(StorageFault, match=f"ends at byte {SIZE}"):
            read(offset, length)
    with pytest.raises(StorageFault, match="shorter"):
        volume.region.write(offset if length >= 0 else -1, b"x" * abs(length))
    assert content(volume) == before


def test_the_last_byte_can_be_read_and_written(volume: Volume) -> None:
    volume.region.write(SIZE - 1, b"z")
    assert volume.region.read(SIZE - 1, 1) == b"z"
    assert volume.region.read(SIZE, 0) == b""


@pytest.mark.parametrize("how", ["read", "reread"])
def test_a_file_that_was_cut_meanwhile_is_named_with_the_offset(volume: Volume, how: str) -> None:
    os.truncate(volume.path, 5000)
    with pytest.raises(StorageFault, match=r"Bytes 4000 to 6000.*ends at byte 5000") as caught:
        getattr(volume.region, how)(4000, 2000)
    assert caught.value.volume == volume.path


def test_a_bad_sector_is_named_with_the_offset(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pread", failing(errno.EIO))
    with pytest.raises(StorageFault, match=r"Cannot read 512 bytes at byte 1024.*EIO"):
        volume.region.read(1024, 512)


def test_a_bad_sector_under_direct_io_is_not_papered_over_by_the_cache(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "preadv", failing(errno.EIO))
    try:
        os.close(os.open(volume.path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system has no direct I/O")
    with pytest.raises(StorageFault, match=r"Cannot read 512 bytes at byte 1024.*EIO"):
        volume.region.reread(1024, 512)


def test_a_full_file_system_tells_what_may_have_been_changed(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    answers = iter([lambda fd, data, offset: pwrite(fd, data[:100], offset), failing(errno.ENOSPC)])

    def next_answer(fd: int, data: bytes, offset: int) -> int:
        return next(answers)(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", next_answer)
    with pytest.raises(StorageFault, match=r"Cannot write 5000 bytes at byte 7.*ENOSPC") as caught:
        volume.region.write(7, b"x" * 5000)
    assert "100 of 5000 bytes" in caught.value.changed
    assert "Nothing was changed" not in str(caught.value)


def test_a_failed_barrier_is_tried_once_and_promises_nothing(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageFault, match=r"(?i)cannot sync the last writes.*EIO") as caught:
        volume.region.barrier()
    assert len(calls) == 1
    assert "Nothing was changed" not in str(caught.value)


def test_a_write_to_a_volume_that_was_opened_for_reading_fails(volume: Volume) -> None:
    before = content(volume)
    with open_volume(volume.path, writable=False) as reader, pytest.raises(StorageFault, match="EBADF"):
        reader.region.write(0, b"x")
    assert content(volume) == before


@pytest.mark.parametrize(
    ("offset", "length"), [(0, SIZE), (1, 1), (4095, 2), (4096, 4096), (SIZE - 1, 1), (SIZE, 0), (9000, 4000)]
)
@pytest.mark.parametrize("direct", [True, False])
def test_reread_gives_what_was_written(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, offset: int, length: int, direct: bool
) -> None:
    new = os.urandom(SIZE)
    volume.region.write(0, new)
    volume.region.barrier()
    if not direct:
        monkeypatch.setattr(os, "preadv", failing(errno.EINVAL))
    assert volume.region.reread(offset, length) == new[offset : offset + length]


def test_reread_leaves_no_descriptor_behind(volume: Volume) -> None:
    before = open_descriptors()
    volume.region.reread(0, SIZE)
    assert open_descriptors() == before


def test_stale_pages_go_before_a_write_and_before_a_second_look(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: t.List[t.Any] = []
    right = os.pwrite
    monkeypatch.setattr(storage, "forget_pages", lambda _fd, offset, length: said.append(("forget", offset, length)))
    monkeypatch.setattr(
        os, "pwrite", lambda fd, data, offset: said.append(("write", offset)) or right(fd, data, offset)
    )
    volume.region.write(33, b"x" * 10)
    assert said == [("forget", 33, 10), ("write", 33)]
    del said[:]
    assert volume.region.reread(33, 10) == b"x" * 10
    assert said == [("forget", 33, 10)]


def test_whether_it_can_be_written_is_asked_of_the_system(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    volume.check_writable()
    asked: t.List[bool] = []

    def refuse(path: str, *, writable: bool) -> t.NoReturn:
        asked.append(writable)
        raise StorageFault(f"cannot open {path} for writing")

    monkeypatch.setattr(storage, "open_node", refuse)
    with pytest.raises(StorageFault, match="for writing"):
        volume.check_writable()
    assert asked == [True]


def test_it_can_be_closed_twice(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "other.img"
    path.write_bytes(bytes(4096))
    before = open_descriptors()
    with open_volume(str(path), writable=False) as opened:
        related = storage.open_node(str(path), writable=False)
        opened.related_nodes["8:0"] = related
        opened.close()
        assert open_descriptors() == before and not opened.related_nodes
