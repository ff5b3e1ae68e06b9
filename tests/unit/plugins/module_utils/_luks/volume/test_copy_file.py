# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file with the copy of a header: what is opened is closed, whatever comes of it."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import files
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.copy_file import CopyFile
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors


@pytest.fixture
def copy(tmp_path: pathlib.Path) -> CopyFile:
    return CopyFile(str(tmp_path), "0b6dd9bb", "0" * 32)


@pytest.mark.parametrize("end", [3, 4])
def test_it_is_read_and_closed(copy: CopyFile, end: int) -> None:
    copy.write(b"old")
    before = open_descriptors()
    fails: t.Any = pytest.raises(StorageFault, match="t ends before byte 4") if end > 3 else contextlib.nullcontext()
    with fails, copy.opened() as (read, size):
        assert size == 3 and read(0, end) == b"old"
    assert open_descriptors() == before


def test_its_bytes_go_with_its_name(copy: CopyFile) -> None:
    copy.write(b"old")
    before = open_descriptors()
    with open(copy.path, "rb") as held:
        copy.remove()
        left = held.read()
    assert len(left) == 3 and left != b"old" and not copy.exists()
    assert open_descriptors() == before


def test_on_a_read_only_file_system_only_a_copy_that_is_there_is_a_fault(
    copy: CopyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """unlink says so even of a file that does not exist."""

    def unlink(_path: str) -> t.NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "unlink", unlink)
    copy.remove()
    copy.write(b"old")
    with pytest.raises(StorageFault, match=r"annot remove it.*EROFS"):
        copy.remove()


def test_a_removal_that_a_power_failure_could_undo_is_a_fault(copy: CopyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(_folder: str) -> t.NoReturn:
        raise OSError(5, "Input/output error")

    copy.write(b"old")
    monkeypatch.setattr(files, "sync", sync)
    with pytest.raises(StorageFault, match="annot make its removal durable"):
        copy.remove()


def test_what_is_no_file_is_closed_at_once(copy: CopyFile) -> None:
    os.mkfifo(copy.path)
    before = open_descriptors()
    with pytest.raises(StorageFault, match="t is a named pipe"), copy.opened():
        pass
    assert open_descriptors() == before
