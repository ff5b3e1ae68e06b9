# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where no report can be put is told before a byte is written; tests/integration writes some."""

from __future__ import annotations

import os
import pathlib
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask  # noqa: E402
from ansible_collections.luksmith.luks.plugins.modules import fleet_report  # noqa: E402


def module(**params: t.Any) -> t.Any:
    usual = {"hosts": [], "sources": [], "kind": "audit", "title": "", "generated": "now", "mode": "0600", **dict.fromkeys(fleet_report.FORMS)}
    return types.SimpleNamespace(params={**usual, **params}, check_mode=True)


def test_no_file_is_wanted() -> None:
    with pytest.raises(BadTask, match="No file to write is given"):
        fleet_report.work(module())


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("folder", "not a regular file but a directory"),
        ("file/report", r"file is not a directory"),
        ("file/more/report", r"file is not a directory"),
    ],
    ids=str,
)
def test_places_for_no_report(tmp_path: pathlib.Path, path: str, why: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BadTask, match=rf"cannot be written: .*{why}.*Nothing was changed"):
        fleet_report.work(module(json=str(tmp_path / path), csv=str(tmp_path / "good")))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_without_the_right_to_write(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode, **_how: False)
    with pytest.raises(BadTask, match="cannot write to its directory"):
        fleet_report.work(module(json=str(tmp_path / "new" / "report")))
