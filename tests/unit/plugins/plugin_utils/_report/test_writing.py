# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where no report can be put is told before a byte is written; tests/integration writes some."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import writing


def foresee(**options: t.Any) -> t.Any:
    usual = {
        "hosts": [],
        "sources": [],
        "kind": "audit",
        "title": "",
        "generated": "now",
        **dict.fromkeys(writing.FORMS),
    }
    return writing.write({**usual, **options}, mode=lambda _old: 0o600, check=True)


def test_no_file_is_wanted() -> None:
    with pytest.raises(BadTask, match="No file to write is given"):
        foresee()


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
        foresee(json=str(tmp_path / path), csv=str(tmp_path / "good"))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_without_the_right_to_write(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode, **_how: False)
    with pytest.raises(BadTask, match="cannot write to its directory"):
        foresee(json=str(tmp_path / "new" / "report"))


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
@pytest.mark.parametrize("option", ["json", "sources"])
def test_what_is_no_path(tmp_path: pathlib.Path, path: str, option: str) -> None:
    """ansible-playbook itself asks for a locale with UTF-8; a variable may still hold such a text."""
    bad = f"{tmp_path}/{path}"
    with pytest.raises(BadTask, match=r"A path is .*(NUL character|cannot encode).*Nothing was changed\."):
        foresee(**{"json": str(tmp_path / "report"), option: [bad] if option == "sources" else bad})
