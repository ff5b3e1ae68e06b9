# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host in a folder: sysfs, /dev, /proc and udev's database as small files, and volumes with headers in them."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import blockdev, inventory, mounts
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks1_image, luks2_image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_sys import FakeSys

SIZE = 20 << 20
UUID1 = luks1_image.UUID.decode()
UUID2 = luks2_image.UUID.decode()


def luks1(uuid: str = UUID1) -> bytes:
    return luks1_image.build(uuid=uuid.encode())


def luks2() -> bytes:
    return luks2_image.build()


def sparse(path: pathlib.Path, data: bytes) -> None:
    """``data`` and a hole behind it, if there is data at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(data)
        stream.truncate(SIZE if data else 512)


def mapping_uuid(uuid: str, name: str, version: int = 2) -> str:
    return f"CRYPT-LUKS{version}-{uuid.replace('-', '')}-{name}"


class FakeHost(FakeSys):
    """Device nodes are regular files, so that they can be read without root; numbers are given out from 8:0 on."""

    def __init__(self, root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(root, monkeypatch)
        self.root = root
        self.proc = root / "proc"
        self.run = root / "run"
        (self.proc / "self").mkdir(parents=True)
        (self.run / "udev" / "data").mkdir(parents=True)
        monkeypatch.setattr(mounts, "PROC", str(self.proc))
        monkeypatch.setattr(inventory, "RUN", str(self.run))
        self._next = 0
        self._mountinfo: t.List[bytes] = []
        self.crypttab = root / "crypttab"

    def device(
        self,
        name: str,
        data: bytes = b"",
        *,
        beneath: t.Sequence[str] = (),
        dm: str = "",
        uuid: str = "",
        node: bool = True,
        **attributes: str,
    ) -> str:
        """A disk or (with ``dm``, its name) a device-mapper device over others; returns its path."""
        number = f"8:{self._next}"
        self._next += 1
        size = SIZE if data else 512
        if dm:
            attributes.update(
                {"dm/name": dm, "dm/uuid": uuid, **({} if "dm/suspended" in attributes else {"dm/suspended": "0"})}
            )
        folder = self.disk(name, number, **{"size": str(size // 512), **attributes})
        (folder / "holders").mkdir()
        (folder / "slaves").mkdir()
        for other in beneath:
            below = next((self.sys / "devices").glob(f"**/{other}"))
            (folder / "slaves" / other).symlink_to(below)
            (below / "holders" / name).symlink_to(folder)
        if node:
            path = self.dev / name.replace("!", "/")
            sparse(path, data)
            if dm:
                self.link(f"mapper/{dm}", name)
        return str(self.dev / "mapper" / dm if dm else self.dev / name.replace("!", "/"))

    def part(self, disk: str, name: str, data: bytes = b"", **attributes: str) -> str:
        number = f"8:{self._next}"
        self._next += 1
        folder = self.partition(self.sys / "devices" / disk, name, number, 2048)
        for attribute, value in {"size": str((SIZE if data else 512) // 512), **attributes}.items():
            (folder / attribute).write_text(f"{value}\n")
        (folder / "holders").mkdir()
        (folder / "slaves").mkdir()
        sparse(self.dev / name, data)
        return str(self.dev / name)

    def number(self, name: str) -> str:
        return next((self.sys / "devices").glob(f"**/{name}/dev")).read_text().strip()

    def link(self, link: str, name: str) -> str:
        path = self.dev / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(self.dev / name)
        return str(path)

    def udev(self, name: str, **properties: str) -> None:
        text = "I:1\nS:x\n" + "".join(f"E:{key}={value}\n" for key, value in properties.items())
        (self.run / "udev" / "data" / f"b{self.number(name)}").write_text(text)

    def mount(self, target: bytes, name: str = "", *, source: bytes = b"x", file_system: bytes = b"ext4") -> None:
        """``name``: the device whose number the row has; without it, the row has an anonymous number."""
        number = self.number(name).encode() if name else b"0:42"
        self._mountinfo.append(
            b" ".join((b"36 35", number, b"/", target, b"rw,relatime shared:1 master:2 -", file_system, source, b"rw"))
        )
        (self.proc / "self" / "mountinfo").write_bytes(b"\n".join(self._mountinfo) + b"\n")

    def swap(self, path: str) -> None:
        (self.proc / "swaps").write_text(
            f"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n{path}        partition\t999\t0\t-2\n"
        )

    def image(self, name: str, data: bytes) -> str:
        sparse(self.root / name, data)
        return str(self.root / name)


def loop_over(monkeypatch: pytest.MonkeyPatch, device: pathlib.Path, file: pathlib.Path) -> None:
    """From now on ``device``, which has the same bytes, is a loop device over ``file``."""
    right = blockdev.stack

    def stack(status: os.stat_result, path: str, offset: int = 0) -> t.List[blockdev.Place]:
        beneath = blockdev.Place(blockdev.numbers_of(file.stat()), offset, str(file), blockdev.LOOP_OF)
        return [*right(status, path, offset), *([beneath] if path == str(device) else [])]

    monkeypatch.setattr(blockdev, "stack", stack)
