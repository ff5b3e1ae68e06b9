# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU's programs with an image open: how to start them, when they are ready, and which lock bytes they hold.

See qemu-amend.md 3.2.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.lock_lab import bytes_of, says, started, until
from ansible_collections.luksmith.luks.tests.interop.qemu_image import OPENER, QemuImage

needs_qemu_programs = pytest.mark.needs("qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon")
Pid = t.ContextManager[int]


@contextlib.contextmanager
def qemu_io(image: QemuImage, *flags: str) -> t.Iterator[int]:
    """At its prompt, which nobody answers: its input is an open pipe."""
    with started("qemu-io", *flags, *image._object(OPENER), "--image-opts", image._image_opts()) as process:
        says(process, b"qemu-io> ")
        yield process.pid


@contextlib.contextmanager
def qemu_nbd(image: QemuImage, *flags: str) -> t.Iterator[int]:
    """An export that waits for a client."""
    ready = image.path.with_name("nbd-pid")
    command = [
        "qemu-nbd",
        *flags,
        *image._object(OPENER),
        "--image-opts",
        image._image_opts(),
        "-t",
        "-k",
        image.path.with_name("n"),
        f"--pid-file={ready}",
    ]
    with _ready(ready, *command) as pid:
        yield pid


@contextlib.contextmanager
def storage_daemon(image: QemuImage, *, read_only: bool = False, exported: bool = False) -> t.Iterator[int]:
    """A node that nobody uses, or one that is exported by NBD."""
    ready = image.path.with_name("daemon-pid")
    server = [
        "--nbd-server",
        f"addr.type=unix,addr.path={image.path.with_name('d')}",
        "--export",
        "type=nbd,id=e,node-name=n,writable=on",
    ]
    command = [
        *daemon_command(image),
        f"{node_options(image)},read-only={'on' if read_only else 'off'}",
        *(server if exported else []),
    ]
    with _ready(ready, *command, "--pidfile", ready) as pid:
        yield pid


@contextlib.contextmanager
def _ready(pid_file: pathlib.Path, *command: t.Union[str, pathlib.Path]) -> t.Iterator[int]:
    """These write the file when they have opened everything."""
    try:
        with started(*command) as process:
            until(pid_file.exists, f"{command[0]} is ready", process)
            yield process.pid
    finally:
        pid_file.unlink(missing_ok=True)


def daemon_command(image: QemuImage) -> t.List[str]:
    return ["qemu-storage-daemon", *image._object(OPENER), "--blockdev"]


def node_options(image: QemuImage) -> str:
    """Unlike --image-opts, --blockdev wants every driver named."""
    extra = "encrypt.format=luks," if image.format == "qcow2" else ""
    return f"{extra}file.driver=file,{image._image_opts()},node-name=n"


class Holder(t.NamedTuple):
    """``program``: its name in messages; what it holds on a raw image and on qcow2."""

    program: str
    start: t.Callable[[QemuImage], Pid]
    on_luks: t.Tuple[int, ...]
    on_qcow2: t.Tuple[int, ...]

    def taken(self, image: QemuImage) -> t.List[int]:
        return list(self.on_luks if image.format == "luks" else self.on_qcow2)

    @contextlib.contextmanager
    def holding(self, image: QemuImage) -> t.Iterator[int]:
        with self.start(image) as pid:
            assert bytes_of(pid, image.path) == self.taken(image)
            yield pid


HOLDERS = {
    "idle node": Holder("qemu-storage-daemon", storage_daemon, (100,), (100, 101, 103, 201, 203)),
    "idle read-only node": Holder(
        "qemu-storage-daemon", functools.partial(storage_daemon, read_only=True), (100,), (100, 201, 203)
    ),
    "exported node": Holder(
        "qemu-storage-daemon",
        functools.partial(storage_daemon, exported=True),
        (100, 101, 203),
        (100, 101, 103, 201, 203),
    ),
    "qemu-nbd": Holder("qemu-nbd", qemu_nbd, (100, 101, 203), (100, 101, 103, 201, 203)),
    "qemu-nbd -r": Holder("qemu-nbd", lambda image: qemu_nbd(image, "-r"), (100, 203), (100, 201, 203)),
    "qemu-io": Holder("qemu-io", qemu_io, (100, 101), (100, 101, 103, 201, 203)),
    "qemu-io -r": Holder("qemu-io", lambda image: qemu_io(image, "-r"), (100,), (100, 201, 203)),
    "qemu-io -r -U": Holder("qemu-io", lambda image: qemu_io(image, "-r", "-U"), (100,), (100,)),
}
