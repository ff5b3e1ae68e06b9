# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The linters of the report page where they cannot be installed, and when they are installed anew."""

from __future__ import annotations

import pathlib
import typing as t

import lanes
import npm
import pytest
import venvs
from lane import Lane
from needs import told_by


@pytest.mark.parametrize(("strict", "outcome"), [(False, "skipped"), (True, "failed")])
def test_without_them_the_lane_says_so(monkeypatch: pytest.MonkeyPatch, strict: bool, outcome: str) -> None:
    def ensure(_name: str) -> t.NoReturn:
        raise npm.NotThere("no network")

    monkeypatch.setattr(npm, "ensure", ensure)
    lane = Lane("lint", strict=strict)
    lanes._lint_page(lane)
    assert [result.outcome for result in lane.results] == [outcome]
    assert [need.what for need in told_by(lane.results[0].why)] == ["the page's linters from npm"]


class World:
    """Requirements and a cache of our own; instead of npm, a count of its calls."""

    def __init__(self, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source = folder / "requirements" / "page"
        self.source.mkdir(parents=True)
        (self.source / "package.json").write_text("{}")
        self.installed = 0
        self.fails = False
        monkeypatch.setattr(npm, "REQUIREMENTS", folder / "requirements")
        monkeypatch.setattr(venvs, "CACHE", folder / "cache")
        monkeypatch.setattr(venvs, "ensure", lambda *_what: folder / "venv")
        monkeypatch.setattr(npm, "_install", self._install)

    def _install(self, folder: pathlib.Path, path: str) -> None:
        assert (folder / "package.json").exists() and "/venv/bin:" in path
        self.installed += 1
        if self.fails:
            raise npm.NotThere("the network went away")


def test_they_are_installed_again_when_a_file_changes(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    assert npm.ensure("page").named("eslint") == str(
        tmp_path / "cache" / "npm" / "page" / "node_modules" / ".bin" / "eslint"
    )
    npm.ensure("page")
    assert world.installed == 1
    (world.source / "settings").write_text("stricter")
    npm.ensure("page")
    assert world.installed == 2 and (npm.ensure("page").folder / "settings").read_text() == "stricter"


def test_an_installation_that_failed_is_tried_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    world.fails = True
    for _try in range(2):
        with pytest.raises(npm.NotThere):
            npm.ensure("page")
    world.fails = False
    npm.ensure("page")
    assert world.installed == 3


def test_no_environment_is_no_end_of_the_run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    World(tmp_path, monkeypatch)

    def ensure(*_what: t.Any) -> t.NoReturn:
        raise SystemExit("failed: pip install")

    monkeypatch.setattr(venvs, "ensure", ensure)
    with pytest.raises(npm.NotThere, match="pip install"):
        npm.ensure("page")
