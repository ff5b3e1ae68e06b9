# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a keyfile when its secret is rotated: only an old secret gives way, and what is none of them
stays.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import stat
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import (
    BadTask,
    LuksmithError,
    Refused,
    StorageFault,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import keyfile as keyfile_usecase
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.keyfile import update_keyfile
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import keyfiles
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors


def task(path: pathlib.Path, **more: t.Any) -> t.Dict[str, t.Any]:
    old = [{"passphrase": "old"}, {"passphrase": "older"}]
    return {
        "path": str(path),
        "new_secret": {"passphrase": "new"},
        "old_secrets": old,
        "keyfile_offset": None,
        "keyfile_size": None,
        **more,
    }


@pytest.fixture
def keyfile(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "keys" / "data.key"
    path.parent.mkdir()
    path.write_bytes(b"old")
    path.chmod(0o600)
    return path


def test_what_is_no_file_is_never_opened(tmp_path: pathlib.Path) -> None:
    """A FIFO would wait for somebody who writes."""
    path = tmp_path / "keyfile"
    os.mkfifo(path)
    for ask in (lambda: keyfiles.check_replaceable(str(path)), lambda: keyfiles.replace(str(path), bytearray(b"new"))):
        with pytest.raises(Refused, match=r"The keyfile .* is not a regular file"):
            ask()
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize(
    ("content", "after", "result"),
    [
        (b"old", b"new", {"changed": True, "holds": "new"}),
        (b"older", b"new", {"changed": True, "holds": "new"}),
        (b"new", b"new", {"changed": False, "holds": "new"}),
        (b"old\n", b"old\n", {"changed": False, "holds": "other"}),
        (b"a secret of its own", b"a secret of its own", {"changed": False, "holds": "other"}),
    ],
)
def test_only_an_old_secret_gives_way(
    keyfile: pathlib.Path, content: bytes, after: bytes, result: t.Dict[str, t.Any]
) -> None:
    keyfile.write_bytes(content)
    foreseen = update_keyfile(task(keyfile), check=True)
    assert foreseen["changed"] == result["changed"] and keyfile.read_bytes() == content
    assert update_keyfile(task(keyfile), check=False) == result
    assert keyfile.read_bytes() == after
    assert list(keyfile.parent.iterdir()) == [keyfile]


def test_a_missing_file_is_not_made(tmp_path: pathlib.Path) -> None:
    assert update_keyfile(task(tmp_path / "none"), check=False) == {"changed": False, "holds": "missing"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("before", "after"), [(0o600, 0o600), (0o400, 0o400), (0o644, 0o400), (0o640, 0o400)])
def test_the_mode_stays_private_or_becomes_so(keyfile: pathlib.Path, before: int, after: int) -> None:
    keyfile.chmod(before)
    update_keyfile(task(keyfile), check=False)
    assert keyfile.stat().st_mode & 0o7777 == after


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system says to an owner who is not root, for root too: a mode without the right to write refuses to open
    for writing.
    """
    whole = os.open

    def checked(path: str, flags: int, *more: t.Any, **options: t.Any) -> int:
        if flags & os.O_RDWR and not flags & os.O_CREAT and not os.stat(path).st_mode & stat.S_IWUSR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return whole(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", checked)


def test_an_owner_replaces_a_file_that_only_its_mode_protects(keyfile: pathlib.Path, owner: None) -> None:
    """To replace by a rename takes the right to write in the folder; the old blocks are overwritten all the same."""
    keyfile.chmod(0o400)
    with keyfile.open("rb") as old:
        assert update_keyfile(task(keyfile), check=True)["changed"]
        assert update_keyfile(task(keyfile), check=False) == {"changed": True, "holds": "new"}
        content = old.read()
        assert len(content) == 3 and content != b"old"
        assert stat.S_IMODE(os.fstat(old.fileno()).st_mode) == 0o400
    assert keyfile.read_bytes() == b"new" and stat.S_IMODE(keyfile.stat().st_mode) == 0o400


def test_a_link_stays_a_link(keyfile: pathlib.Path, tmp_path: pathlib.Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(keyfile)
    update_keyfile(task(link), check=False)
    assert link.is_symlink() and keyfile.read_bytes() == b"new"


def test_the_old_content_is_overwritten(keyfile: pathlib.Path) -> None:
    with keyfile.open("rb") as old:
        update_keyfile(task(keyfile), check=False)
        assert os.fstat(old.fileno()).st_nlink == 0
        content = old.read()
    assert len(content) == 3 and content != b"old"


@pytest.mark.parametrize("same", [True, False])
def test_no_descriptor_of_the_old_file_stays_open(
    keyfile: pathlib.Path, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor of another one that took its place while it was opened."""
    if not same:
        monkeypatch.setattr(os.path, "samestat", lambda _one, _other: False)
    for mode in (0o600, 0o400):
        keyfile.write_bytes(b"old")
        keyfile.chmod(mode)
        before = open_descriptors()
        keyfiles.replace(str(keyfile), bytearray(b"new"))
        assert keyfile.read_bytes() == b"new" and open_descriptors() == before
        keyfile.chmod(0o600)


def test_what_another_hard_link_names_is_left_alone(keyfile: pathlib.Path, tmp_path: pathlib.Path) -> None:
    os.link(keyfile, tmp_path / "other")
    update_keyfile(task(keyfile), check=False)
    assert keyfile.read_bytes() == b"new" and (tmp_path / "other").read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_fault_before_the_rename_leaves_the_old_file(
    keyfile: pathlib.Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fault(*_arguments: t.Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(keyfiles.os, call, fault)
    with pytest.raises(StorageFault, match=r"cannot be replaced: cannot write it: .*EIO") as failed:
        update_keyfile(task(keyfile), check=False)
    assert str(failed.value).endswith("It still contains the old secret.")
    assert keyfile.read_bytes() == b"old" and list(keyfile.parent.iterdir()) == [keyfile]


@pytest.mark.parametrize("check", [True, False])
def test_what_is_no_regular_file_is_left_alone(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    """The crypttab of a host may name a partition as keyfile; a FIFO stands in for it."""
    path = tmp_path / "partition"
    os.mkfifo(path)
    monkeypatch.setattr(
        "ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.keyfile.read_keyfile",
        lambda *_part: bytearray(b"old"),
    )
    with pytest.raises(Refused, match="is not a regular file"):
        update_keyfile(task(path), check=check)
    with pytest.raises(Refused, match="is not a regular file"):
        keyfiles.replace(str(path), bytearray(b"new"))
    assert list(tmp_path.iterdir()) == [path] and path.is_fifo()


@pytest.mark.parametrize("check", [True, False])
def test_a_keyfile_in_a_folder_that_cannot_be_written_is_refused_before_anything(
    keyfile: pathlib.Path, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    """That is what the system says of a read-only file system too.

    A link is followed: the folder that counts is that of the file.
    """
    link = keyfile.parent.parent / "link"
    link.symlink_to(keyfile)
    monkeypatch.setattr(os, "access", lambda path, _mode, **_options: path != str(keyfile.parent))
    with pytest.raises(StorageFault, match=f"cannot be replaced: cannot write to its directory {keyfile.parent}: "):
        update_keyfile(task(link), check=check)
    assert keyfile.read_bytes() == b"old"


@pytest.mark.parametrize("identity", ["geteuid", "getegid"])
@pytest.mark.parametrize("check", [True, False])
def test_a_keyfile_of_somebody_else_is_left_to_root(
    keyfile: pathlib.Path, monkeypatch: pytest.MonkeyPatch, identity: str, check: bool
) -> None:
    """Only root can give the new file to its owner and its group."""
    monkeypatch.setattr(os, "geteuid", lambda: keyfile.stat().st_uid or 4711)
    os.chown(keyfile, os.geteuid(), -1)
    monkeypatch.setattr(os, "getgroups", list)
    monkeypatch.setattr(os, identity, lambda: 4712)
    with pytest.raises(
        StorageFault, match="cannot be replaced: cannot give the new file the owner and group of the old one"
    ):
        update_keyfile(task(keyfile), check=check)
    assert keyfile.read_bytes() == b"old" and list(keyfile.parent.iterdir()) == [keyfile]


def test_a_medium_that_keeps_the_old_bytes_is_not_believed(
    keyfile: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: right(descriptor, bytes(len(data)), offset))
    with pytest.raises(StorageFault, match="loses writes"):
        update_keyfile(task(keyfile), check=False)
    assert keyfile.read_bytes() == b"old"
    assert list(keyfile.parent.iterdir()) == [keyfile]


def test_what_a_killed_run_left_is_overwritten_and_gone(keyfile: pathlib.Path) -> None:
    left = keyfile.with_name(".data.key.luksmith-00ff")
    left.write_bytes(b"new")
    with left.open("rb") as content:
        update_keyfile(task(keyfile), check=False)
        assert content.read() != b"new"
    assert list(keyfile.parent.iterdir()) == [keyfile]


@pytest.mark.parametrize("part", [{"keyfile_offset": 1}, {"keyfile_size": 3}])
@pytest.mark.parametrize("check", [True, False])
def test_a_part_of_a_file_is_refused_if_it_holds_an_old_secret(
    keyfile: pathlib.Path, part: t.Dict[str, int], check: bool
) -> None:
    keyfile.write_bytes(b"xold" if "keyfile_offset" in part else b"oldx")
    with pytest.raises(LuksmithError, match="nly a part of the keyfile"):
        update_keyfile(task(keyfile, **part), check=check)
    keyfile.write_bytes(b"something else")
    assert update_keyfile(task(keyfile, **part), check=check)["holds"] == "other"


@pytest.mark.parametrize("path", ["/keys/\0", "/keys/\ud800"])
def test_a_path_that_no_file_can_have(path: str) -> None:
    with pytest.raises(BadTask, match=r"(?i)path is '/keys/.*', which "):
        update_keyfile(task(pathlib.Path(path)), check=True)


@pytest.mark.parametrize("content", ["old", "new", "a secret of its own", "a part"])
def test_what_was_read_is_wiped(keyfile: pathlib.Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The secrets of the task and the content of the keyfile, also if it is refused."""
    buffers: t.List[t.Tuple[bytearray, bytes]] = []
    read, read_keyfile = keyfile_usecase.read, keyfile_usecase.read_keyfile

    def kept(buffer: bytearray) -> bytearray:
        buffers.append((buffer, bytes(buffer)))
        return buffer

    def read_kept(*given: t.Any, **how: t.Any) -> t.Any:
        secret = read(*given, **how)
        kept(secret.value)
        return secret

    monkeypatch.setattr(keyfile_usecase, "read", read_kept)
    monkeypatch.setattr(keyfile_usecase, "read_keyfile", lambda *given: kept(read_keyfile(*given)))
    refused = content == "a part"
    keyfile.write_text("xold" if refused else content)
    with pytest.raises(Refused) if refused else contextlib.nullcontext():
        update_keyfile(task(keyfile, keyfile_offset=1 if refused else None), check=False)
    assert [first for _buffer, first in buffers] == [b"new", b"old", b"older", b"old" if refused else content.encode()]
    assert not any(any(buffer) for buffer, _first in buffers)
