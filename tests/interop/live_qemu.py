# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A qemu-storage-daemon with an image open, a monitor and an export by NBD."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import typing as t

from ansible_collections.luksmith.luks.tests.interop.lock_lab import started, until
from ansible_collections.luksmith.luks.tests.interop.qemu_image import QemuImage, run
from ansible_collections.luksmith.luks.tests.interop.qemu_programs import daemon_command, node_options


class Daemon:
    """The process ``pid``, whose sockets are in ``folder``; a secret of its own is ``s``."""

    def __init__(self, folder: pathlib.Path, pid: int) -> None:
        self.pid = pid
        self.socket = folder / "q"
        self.export = folder / "d"

    def ask(self, command: str, **arguments: t.Any) -> t.Any:
        """What the daemon returns to a client of its own, after ours."""
        return self.answer(command, **arguments)["return"]

    def answer(self, command: str, **arguments: t.Any) -> t.Any:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.socket))
            client.settimeout(60)
            stream = client.makefile("rwb")
            stream.readline()
            for call in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                stream.write(json.dumps(call).encode() + b"\n")
                stream.flush()
                answer = json.loads(stream.readline())
                while "event" in answer:
                    answer = json.loads(stream.readline())
            return answer

    def left_behind(self) -> t.List[str]:
        names = [item["name"] for item in self.ask("qom-list", path="/objects") if item["type"] == "child<secret>"]
        return [*(name for name in names if name != "s"), *(job["id"] for job in self.ask("query-jobs"))]

    def serves(self) -> bool:
        uri = f"nbd+unix:///e?socket={self.export}"
        return (
            "read 4096/4096"
            in run("qemu-io", "-f", "raw", "-c", "write -P 7 0 4096", "-c", "read -P 7 0 4096", uri).stdout
        )


@contextlib.contextmanager
def daemon(image: QemuImage, *nodes: str, writable: bool = True) -> t.Iterator[Daemon]:
    """``nodes``: --blockdev options in place of the one of the image, which the node n must be a part of."""
    ready = image.path.with_name("daemon-pid")
    words: t.List[str] = []
    for node in nodes or (node_options(image),):
        words += ["--blockdev", node]
    command = [
        *daemon_command(image)[:-1],
        *words,
        "--chardev",
        f"socket,id=q,path={image.path.with_name('q')},server=on,wait=off",
        "--monitor",
        "chardev=q",
        "--nbd-server",
        f"addr.type=unix,addr.path={image.path.with_name('d')}",
        "--export",
        f"type=nbd,id=e,name=e,node-name=n,writable={'on' if writable else 'off'}",
        "--pidfile",
        ready,
    ]
    with started(*command) as process:
        until(ready.exists, "the daemon is ready", process)
        yield Daemon(image.path.parent, process.pid)
    ready.unlink(missing_ok=True)
