# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's iotest 296, which shares an image between two QEMUs, through the module and its option ``qmp``.

Keys are added through the monitor of each, and from outside. Two rows are about QEMU's own devices: there the module
must find the image in use, whatever these share among each other. QEMU derives a key in each change that succeeds,
which takes seconds. tests/interop/test_locks_qemu.py has the locks themselves, byte by byte.
"""

from __future__ import annotations

import contextlib
import pathlib
import socket
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.live_qemu import Daemon
from ansible_collections.luksmith.luks.tests.interop.lock_lab import started, until
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots
from ansible_collections.luksmith.luks.tests.interop.qemu_image import OPENER, QemuImage, secret
from ansible_collections.luksmith.luks.tests.interop.qemu_programs import needs_qemu_programs

pytestmark = needs_qemu_programs

EVERY = (OPENER, *(f"{word} unlocks" for word in ("beryl", "coral", "diamond")))
# The machine never runs: only its block devices matter.
VM = ("qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-S", "-m", "64", "-display", "none", "-nodefaults")


@pytest.fixture
def image(tmp_path: pathlib.Path) -> QemuImage:
    """A raw one: QEMU never shares one in qcow2."""
    return QemuImage(tmp_path, "luks")


class Qemu(Daemon):
    """A process that has nothing open at first."""

    def open(self, image: QemuImage, *, read_only: bool = False) -> None:
        self.ask("blockdev-add", **self._node(image, read_only=read_only))

    def reopen(self, image: QemuImage) -> None:
        self.ask("blockdev-reopen", options=[self._node(image)])

    def close(self) -> None:
        self.ask("blockdev-del", **{"node-name": "n"})

    @staticmethod
    def _node(image: QemuImage, *, read_only: bool = False) -> t.Dict[str, t.Any]:
        file = {"driver": "file", "filename": str(image.path)}
        return {"driver": "luks", "node-name": "n", "read-only": read_only, "key-secret": "s", "file": file}

    def attach(self, **options: t.Any) -> t.Any:
        return self.answer("device_add", driver="virtio-blk", id="disk", drive="n", **options)


@contextlib.contextmanager
def qemu(image: QemuImage, name: str, program: t.Sequence[str] = ("qemu-storage-daemon",)) -> t.Iterator[Qemu]:
    folder = image.path.with_name(name)
    folder.mkdir()
    monitor = ("--chardev", f"socket,id=q,path={folder / 'q'},server=on,wait=off")
    control = ("--mon", "chardev=q,mode=control") if program is VM else ("--monitor", "chardev=q")
    with started(*program, *image._object(OPENER), *monitor, *control) as process:
        until(lambda: _listens(folder / "q"), f"{name} listens", process)
        yield Qemu(folder, process.pid)


def _listens(path: pathlib.Path) -> bool:
    """A QEMU writes its file with the pid before it makes its monitor."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def add(number: int) -> t.Dict[str, t.Any]:
    return {"new_secret": secret(EVERY[number]), "iter_time": 300}


def adds(image: QemuImage, number: int, through: Qemu) -> None:
    done = keyslots(image.path, [add(number)], unlock=[OPENER], qmp=str(through.socket))
    assert done["changed"] and done["via"] == "qmp" and through.left_behind() == []


def refused(image: QemuImage, number: int, through: t.Optional[Qemu] = None) -> str:
    """The sentence, once nothing has changed and the monitor has nothing of ours."""
    before = image.path.read_bytes()
    way = {"qmp": str(through.socket)} if through is not None else {}
    with pytest.raises(ModuleFailed) as caught:
        keyslots(image.path, [add(number)], unlock=[OPENER], lock_timeout=0, **way)
    assert image.path.read_bytes() == before and "Nothing was changed" in str(caught.value)
    assert through is None or through.left_behind() == []
    return str(caught.value)


@pytest.mark.parametrize("alone", [False, pytest.param(True, marks=pytest.mark.full)], ids=["", "each once alone"])
def test_1_while_two_have_it_open_neither_adds_a_key(image: QemuImage, alone: bool) -> None:
    """In the full size each QEMU also adds one while it is alone: two jobs that derive keys, more than 5 s."""
    with qemu(image, "one") as one, qemu(image, "two") as two:
        one.open(image)
        if alone:
            adds(image, 1, one)
        two.open(image)
        assert f"pid {two.pid} (qemu-storage-daemon)" in refused(image, 2, one)
        assert f"pid {one.pid} (qemu-storage-daemon)" in refused(image, 2, two)
        one.close()
        if alone:
            adds(image, 2, two)
        assert f"pid {two.pid} (qemu-storage-daemon)" in refused(image, 3)
        assert (
            'Failed to get shared "consistent read" lock' in image.amend(OPENER, "state=inactive", "keyslot=1").stderr
        )
    assert image.opened_by(*EVERY) == set(EVERY[:3] if alone else EVERY[:1])


@pytest.mark.full
def test_2_also_one_that_only_reads_keeps_the_other_from_it(image: QemuImage) -> None:
    """A job of QEMU derives a key, more than 5 s with the processes."""
    with qemu(image, "one") as one, qemu(image, "two") as two:
        one.open(image, read_only=True)
        two.open(image)
        assert f"pid {two.pid} (qemu-storage-daemon)" in refused(image, 2, one)
        assert f"pid {one.pid} (qemu-storage-daemon)" in refused(image, 2, two)
        one.reopen(image)
        assert f"pid {two.pid} (qemu-storage-daemon)" in refused(image, 2, one)
        two.close()
        adds(image, 2, one)
    assert image.opened_by(*EVERY) == {OPENER, EVERY[2]}


@pytest.mark.needs("qemu-system-x86_64")
def test_3_two_guests_get_it_only_if_they_share_it(image: QemuImage) -> None:
    with qemu(image, "one", VM) as one, qemu(image, "two", VM) as two:
        for vm in (one, two):
            vm.open(image)
        assert one.attach() == {"return": {}}
        assert 'Failed to get "write" lock' in two.attach()["error"]["desc"]
        for vm, other in ((one, two), (two, one)):
            assert f"pid {other.pid} (qemu-system" in refused(image, 1, vm)


@pytest.mark.needs("qemu-system-x86_64")
def test_4_what_guests_share_is_in_use_all_the_same(image: QemuImage) -> None:
    with qemu(image, "one", VM) as one, qemu(image, "two", VM) as two:
        for vm in (one, two):
            vm.open(image)
            assert vm.attach(**{"share-rw": True}) == {"return": {}}
        for vm, other in ((one, two), (two, one)):
            assert f"pid {other.pid} (qemu-system" in refused(image, 1, vm)
        assert f"pid {one.pid} (qemu-system" in refused(image, 1)
