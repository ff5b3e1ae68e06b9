# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done around the bytes of a keyfile: nothing of it stays in memory or open."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadSecret, BadTask
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import keyfile_content
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.keyfile_content import read_keyfile
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    (tmp_path / "key").write_bytes(b"some bytes")
    return str(tmp_path / "key")


def test_it_is_closed_and_its_old_pages_are_dropped_before(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: t.List[str] = []
    right = os.preadv
    monkeypatch.setattr(os, "posix_fadvise", lambda _fd, *what: said.append("drop") if what == (0, 0, 4) else None)
    monkeypatch.setattr(os, "preadv", lambda *given: said.append("read") or right(*given))
    before = open_descriptors()
    assert read_keyfile(path, None, None, "unlock") == b"some bytes" and said == ["drop", "read"]
    with pytest.raises(BadSecret, match="has 10 bytes"):
        read_keyfile(path, 11, None, "unlock")
    assert open_descriptors() == before


def test_what_was_read_of_a_file_that_became_shorter_is_wiped(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wiped: t.List[bytes] = []
    right = os.preadv
    monkeypatch.setattr(keyfile_content, "wipe", lambda value: wiped.append(bytes(value)))
    monkeypatch.setattr(
        os, "preadv", lambda fd, buffers, offset: right(fd, [buffers[0][:4]], offset) if not offset else 0
    )
    with pytest.raises(BadSecret, match="became shorter"):
        read_keyfile(path, None, None, "unlock")
    assert wiped == [b"some" + bytes(6)]


def test_a_path_that_no_file_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: t.List[t.Tuple[str, str]] = []
    monkeypatch.setattr(keyfile_content, "check_path", lambda path, what: asked.append((path, what)))
    with pytest.raises(BadSecret, match="cannot be opened"):
        read_keyfile("/nowhere/key", None, None, "unlock")
    assert asked == [("/nowhere/key", "unlock: the path of the keyfile")]


def test_a_path_that_depends_on_where_the_module_runs(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _slash, name = path.rpartition("/")
    monkeypatch.chdir(folder)
    with pytest.raises(BadTask, match=r"no absolute path.*whole path of a file on the managed host"):
        read_keyfile(name, None, None, "unlock[0]")
