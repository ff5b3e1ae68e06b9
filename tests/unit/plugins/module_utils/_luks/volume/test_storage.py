# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening volumes: what is refused, what is found inside, who equals whom, what stays open."""

from __future__ import annotations

import errno
import fcntl
import os
import pathlib
import socket
import struct
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import NotLuks, Refused, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import storage
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors

CLUSTER = 65536
LUKS_AT = 4 * CLUSTER
LUKS_LENGTH = 8192


def qcow2_image(*, autoclear: int = 0, method: int = 2) -> bytes:
    """A qcow2 header as far as its readers look, and a region for LUKS that is numbered to tell its bytes apart."""
    header = bytearray(LUKS_AT)
    struct.pack_into(">4sIQIIQI", header, 0, b"QFI\xfb", 3, 0, 0, 16, 1 << 20, method)
    struct.pack_into(">QQQII", header, 72, 0, 0, autoclear, 4, 104)
    struct.pack_into(">IIQQII", header, 104, 0x0537BE77, 16, LUKS_AT, LUKS_LENGTH, 0, 0)
    return bytes(header) + bytes(number % 251 for number in range(LUKS_LENGTH)) + bytes(CLUSTER)


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "volume.img"
    path.write_bytes(os.urandom(10000))
    return path


def make_directory(path: str) -> None:
    os.mkdir(path)


def make_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_directory, "a directory"),
        (os.mkfifo, "a named pipe"),
        (make_socket, "a socket"),
        (lambda path: os.symlink("/dev/null", path), "a character device"),
    ],
)
@pytest.mark.parametrize("writable", [False, True])
def test_what_is_no_file_is_called_by_its_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, make: t.Callable[[str], None], words: str, writable: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    make("odd")
    with pytest.raises(StorageFault, match=words) as caught:
        open_volume("odd", writable=writable)
    assert caught.value.volume == "odd"


def test_a_file_that_turns_into_a_pipe_after_the_first_look_is_refused_too(
    image: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = os.stat(image)
    image.unlink()
    os.mkfifo(image)
    before = open_descriptors()
    monkeypatch.setattr(os, "stat", lambda *_args, **_kwargs: honest)
    with pytest.raises(StorageFault, match="a named pipe"):
        open_volume(str(image), writable=True)
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere", "No such file"),
        ("file/below", "Not a directory"),
        ("circle", "symbolic links"),
        ("nul\0byte", "NUL"),
        ("a" * 300, "too long"),
    ],
)
def test_a_path_that_leads_nowhere_is_a_sentence(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, path: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("file").touch()
    os.symlink("circle", "circle")
    with pytest.raises(StorageFault, match=words):
        open_volume(path, writable=False)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "EACCES.*become"), (errno.EROFS, "EROFS.*read-only"), (errno.EPERM, "EPERM.*immutable")],
)
def test_a_refused_open_carries_the_words_of_the_system_and_a_remedy(
    image: pathlib.Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_args: t.Any, **_kwargs: t.Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageFault, match=f"Cannot open it for writing.*{words}") as caught:
        raise AssertionError(str(open_volume(str(image), writable=True)))
    assert str(image) in str(caught.value)


def test_an_empty_file_is_no_fault_of_storage(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with open_volume(str(path), writable=True) as volume:
        assert volume.region.size == 0
        assert volume.region.read(0, 0) == b""


def test_a_raw_volume_begins_with_its_file(image: pathlib.Path) -> None:
    with open_volume(str(image), writable=False) as volume:
        assert (volume.path, volume.header_path, volume.container) == (str(image), str(image), "raw")
        assert volume.region.size == 10000
        assert volume.region.read(0, 10000) == image.read_bytes()
        assert volume.rotational is False


def test_the_region_of_a_qcow2_image_begins_where_its_pointer_says(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(qcow2_image())
    with open_volume(str(path), writable=True) as volume:
        assert volume.container == "qcow2"
        assert volume.region.size == LUKS_LENGTH
        assert volume.identity[3] == LUKS_AT, "a loop device that begins there shows the same header"
        assert volume.region.read(0, 4) == bytes((0, 1, 2, 3))
        volume.region.write(0, b"LUKS")
        with pytest.raises(StorageFault):
            volume.region.write(LUKS_LENGTH - 1, b"ab")
    assert path.read_bytes() == qcow2_image()[:LUKS_AT] + b"LUKS" + qcow2_image()[LUKS_AT + 4 :]


def test_a_qcow2_image_without_luks_is_refused_and_closed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(qcow2_image(method=0))
    before = open_descriptors()
    with pytest.raises(NotLuks) as caught:
        open_volume(str(path), writable=True)
    assert caught.value.volume == str(path)
    assert open_descriptors() == before


def test_begin_writing_clears_unknown_autoclear_bits_once_and_durably(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(qcow2_image(autoclear=0x8000000000000003))
    calls: t.List[t.Tuple[t.Any, ...]] = []
    pwrite, fsync = os.pwrite, os.fsync
    monkeypatch.setattr(
        os, "pwrite", lambda fd, data, offset: calls.append(("write", offset)) or pwrite(fd, data, offset)
    )
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(("barrier",)) or fsync(fd))
    with open_volume(str(path), writable=True) as volume:
        assert path.read_bytes() == qcow2_image(autoclear=0x8000000000000003)
        volume.begin_writing()
        volume.begin_writing()
    assert calls == [("write", 88), ("barrier",)]
    assert path.read_bytes() == qcow2_image(autoclear=3)


def test_a_medium_that_keeps_the_promises_of_a_qcow2_header_is_not_believed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "volume.qcow2"
    path.write_bytes(qcow2_image(autoclear=1 << 63))
    monkeypatch.setattr(os, "pwrite", lambda _descriptor, data, _offset: len(data))
    with open_volume(str(path), writable=True) as volume, pytest.raises(
        StorageFault, match=r"still declares.*loses writes"
    ):
        volume.begin_writing()


def test_begin_writing_does_nothing_to_other_volumes(image: pathlib.Path) -> None:
    before = image.read_bytes()
    with open_volume(str(image), writable=False) as volume:
        volume.begin_writing()
    assert image.read_bytes() == before


def test_a_detached_header_lives_in_its_own_file(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    header = tmp_path / "header"
    header.write_bytes(b"h" * 4096)
    before = image.read_bytes()
    with open_volume(str(image), str(header), writable=True) as volume:
        assert (volume.path, volume.header_path) == (str(image), str(header))
        volume.region.write(0, b"H")
        assert volume.payload is not None
        assert fcntl.fcntl(volume.payload.fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    assert header.read_bytes()[:2] == b"Hh"
    assert image.read_bytes() == before


@pytest.mark.parametrize("missing", ["payload", "header"])
def test_both_parts_of_a_detached_volume_must_exist(image: pathlib.Path, tmp_path: pathlib.Path, missing: str) -> None:
    nowhere = str(tmp_path / "nowhere")
    before = open_descriptors()
    with pytest.raises(StorageFault, match="No such file") as caught:
        open_volume(*((nowhere, str(image)) if missing == "payload" else (str(image), nowhere)), writable=False)
    assert caught.value.volume == nowhere
    assert open_descriptors() == before


def test_identity_is_of_the_file_and_not_of_the_path(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    os.symlink(image, tmp_path / "symlink")
    os.link(image, tmp_path / "hardlink")
    (tmp_path / "copy").write_bytes(image.read_bytes())
    identities = []
    for name in ("volume.img", "symlink", "hardlink", "copy"):
        with open_volume(str(tmp_path / name), writable=False) as volume:
            identities.append(volume.identity)
    assert identities[0] == identities[1] == identities[2] != identities[3]


def test_identity_of_a_detached_volume_is_that_of_its_header(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "header").write_bytes(b"h")
    with open_volume(str(image), str(tmp_path / "header"), writable=False) as detached, open_volume(
        str(tmp_path / "header"), writable=False
    ) as alone:
        assert detached.identity == alone.identity


def test_a_replaced_file_is_noticed(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with open_volume(str(image), writable=True) as volume:
        volume.check_still_there()
        (tmp_path / "new").write_bytes(b"new")
        os.rename(tmp_path / "new", image)
        with pytest.raises(Refused, match="no longer leads to the file"):
            volume.check_still_there()


@pytest.mark.parametrize("gone", ["header", "volume.img"])
def test_a_deleted_file_is_noticed(image: pathlib.Path, tmp_path: pathlib.Path, gone: str) -> None:
    (tmp_path / "header").write_bytes(b"h")
    with open_volume(str(image), str(tmp_path / "header"), writable=True) as volume:
        (tmp_path / gone).unlink()
        with pytest.raises(Refused) as caught:
            volume.check_still_there()
        assert caught.value.volume == str(tmp_path / gone)


def test_children_inherit_nothing_and_close_leaves_nothing(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "header").write_bytes(b"h")
    before = open_descriptors()
    volume = open_volume(str(image), str(tmp_path / "header"), writable=True)
    opened = [int(number) for number in open_descriptors() - before]
    assert len(opened) == 2
    assert not any(os.get_inheritable(fd) for fd in opened)
    volume.close()
    volume.close()
    assert open_descriptors() == before


def test_a_read_only_block_device_is_refused_for_writing_only(
    image: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.Node, "is_block", True)
    monkeypatch.setattr(storage.blockdev, "is_read_only", lambda _rdev: True)
    open_volume(str(image), writable=False).close()
    before = open_descriptors()
    with pytest.raises(StorageFault, match=r"read-only.*setrw"):
        open_volume(str(image), writable=True)
    assert open_descriptors() == before


def test_check_mode_knows_that_a_block_device_cannot_be_opened_for_writing(
    image: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without opening it: when a writer closes one, udev looks at the device again."""
    monkeypatch.setattr(storage.Node, "is_block", True)
    monkeypatch.setattr(storage.blockdev, "is_read_only", lambda _rdev: False)
    volume = open_volume(str(image), writable=False)
    try:
        volume.check_writable()
        monkeypatch.setattr(os, "access", lambda _path, _mode, *, effective_ids: not effective_ids)
        with pytest.raises(StorageFault, match=r"[Cc]annot open it for writing.*EACCES"):
            volume.check_writable()
    finally:
        volume.close()


def test_check_mode_knows_that_a_block_device_is_read_only(
    image: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.Node, "is_block", True)
    monkeypatch.setattr(storage.blockdev, "is_read_only", lambda _rdev: True)
    with open_volume(str(image), writable=False) as volume, pytest.raises(StorageFault, match=r"read-only.*setrw"):
        volume.check_writable()


def test_both_parts_are_closed_if_the_header_is_none(image: pathlib.Path, tmp_path: pathlib.Path) -> None:
    header = tmp_path / "disk.qcow2"
    header.write_bytes(qcow2_image(method=0))
    before = open_descriptors()
    with pytest.raises(NotLuks):
        open_volume(str(image), str(header), writable=False)
    assert open_descriptors() == before
