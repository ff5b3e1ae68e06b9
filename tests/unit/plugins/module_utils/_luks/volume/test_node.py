# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file whose size cannot be told does not stay open."""

from __future__ import annotations

import errno
import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import node
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors


def test_a_size_that_cannot_be_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: t.Any) -> t.NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "volume").touch()
    before = open_descriptors()
    monkeypatch.setattr(os, "lseek", fail)
    with pytest.raises(StorageFault, match=r"(?i)cannot determine its size"):
        node.open_node(str(tmp_path / "volume"), writable=False)
    assert open_descriptors() == before


def test_a_path_that_is_another_kind_of_file_by_now(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: t.List[t.Any] = []

    def check(status: os.stat_result, path: str) -> None:
        kinds.append(status)
        if len(kinds) > 1:
            raise StorageFault(f"{path} is a terminal")

    (tmp_path / "volume").touch()
    before = open_descriptors()
    monkeypatch.setattr(node, "_check_kind", check)
    with pytest.raises(StorageFault, match="is a terminal"):
        node.open_node(str(tmp_path / "volume"), writable=False)
    assert open_descriptors() == before
