# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small sysfs in a folder, with links as the kernel makes them."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import blockdev


class FakeSys:
    """Points blockdev at ``root``; device nodes are regular files in ``root/dev``."""

    def __init__(self, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sys = root / "sys"
        self.dev = root / "dev"
        for folder in (self.sys / "dev" / "block", self.sys / "block", self.dev):
            folder.mkdir(parents=True)
        monkeypatch.setattr(blockdev, "SYS", str(self.sys))
        monkeypatch.setattr(blockdev, "DEV", str(self.dev))

    def disk(self, name: str, number: str, **attributes: str) -> pathlib.Path:
        folder = self.sys / "devices" / name
        self._fill(folder, number, attributes)
        os.symlink(folder, self.sys / "block" / name)
        return folder

    def partition(self, disk: pathlib.Path, name: str, number: str, start: int) -> pathlib.Path:
        """``start`` in sectors of 512 bytes."""
        folder = disk / name
        self._fill(folder, number, {"partition": "1", "start": str(start)})
        return folder

    def loop(
        self, name: str, number: str, backing: t.Union[str, pathlib.Path], offset: int = 0, **attributes: str
    ) -> pathlib.Path:
        return self.disk(name, number, **{"loop/backing_file": str(backing), "loop/offset": str(offset), **attributes})

    def _fill(self, folder: pathlib.Path, number: str, attributes: t.Dict[str, str]) -> None:
        for name, value in {"dev": number, **attributes}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"{value}\n")
        os.symlink(folder, self.sys / "dev" / "block" / number)


def block_numbers(number: str) -> t.Tuple[str, int, int]:
    major, _colon, minor = number.partition(":")
    return ("block", os.makedev(int(major), int(minor)), 0)
