# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where no report can be put is told before a byte is written; tests/integration writes some."""

from __future__ import annotations

import os
import pathlib
import tracemalloc
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data, parts, writing
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets


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


HOSTS = {"xccdf": 50, "arf": 50, "html": 600, "json": 400, "csv": 2000, "junit": 1500, "sarif": 500, "oscal": 500}


@pytest.mark.parametrize("form", HOSTS)
def test_no_form_is_in_memory_as_a_whole(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made of each host is written before the next one is made."""
    monkeypatch.setattr(parts, "_ENOUGH", 1 << 13)
    hosts = [{"host": f"h{number}", "volumes": [fleets.bad_volume(1)]} for number in range(HOSTS[form])]
    report = data.build(hosts, generated="2026-11-29 10:00 UTC")
    next(writing.FORMS[form](report))  # what is read once and kept
    tracemalloc.start()
    try:
        size = sum(map(len, parts.encoded(writing.FORMS[form](report))))
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 1 << 19 and peak < size / 2, (size, peak)


@pytest.mark.parametrize("form", [form for form in writing.FORMS if form != "prometheus"])
def test_a_file_is_the_same_only_as_a_whole(form: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / form
    given: t.Dict[str, t.Any] = {form: str(path), "hosts": fleets.fleet(60), "generated": "2026-11-29 10:00 UTC"}

    def written(check: bool = False) -> bool:
        usual = {**dict.fromkeys(writing.FORMS), "sources": [], "kind": "audit", "title": "", **given}
        return bool(writing.write(usual, mode=lambda _old: 0o600, check=check)["changed"])

    assert written() and not written() and not written(check=True)
    whole = path.read_bytes()
    for other in (whole[:-1], whole + b"x", whole[:-2] + b"x" + whole[-1:], b""):
        path.write_bytes(other)
        assert written(check=True) and path.read_bytes() == other
        assert written() and path.read_bytes() == whole
