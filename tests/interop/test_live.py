# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``qmp``: a real qemu-storage-daemon has the image open and makes the change itself.

qemu-img and cryptsetup judge the image when the daemon has ended; a client of its NBD export judges that it serves.
A job takes QEMU some seconds, because it measures the processor: a test with several of them takes more than 5 s.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.lock_lab import started, until
from ansible_collections.luksmith.luks.tests.interop.module_process import keyslots
from ansible_collections.luksmith.luks.tests.interop.qemu_image import FORMATS, OPENER, QemuImage, run
from ansible_collections.luksmith.luks.tests.interop.qemu_programs import (
    daemon_command,
    needs_qemu_programs,
    node_options,
)

pytestmark = [needs_qemu_programs, pytest.mark.needs("cryptsetup")]

ADDED, OTHER = "ebony unlocks", "ivory unlocks"
TIME = 300  # ms: more than 600,000 iterations on any processor that runs these tests in a reasonable time


def secret(passphrase: str) -> t.Dict[str, str]:
    return {"label": passphrase.split()[0], "passphrase": passphrase}


def add(passphrase: str = ADDED, **entry: t.Any) -> t.Dict[str, t.Any]:
    return {"new_secret": secret(passphrase), "iter_time": TIME, **entry}


class Daemon:
    def __init__(self, image: QemuImage, pid: int) -> None:
        self.image = image
        self.pid = pid
        self.socket = image.path.with_name("q")
        self.export = image.path.with_name("d")

    def ask(self, command: str, **arguments: t.Any) -> t.Any:
        """What the daemon answers to a client of its own, after ours."""
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
            return answer["return"]

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
def daemon(image: QemuImage, *nodes: str) -> t.Iterator[Daemon]:
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
        "type=nbd,id=e,name=e,node-name=n,writable=on",
        "--pidfile",
        ready,
    ]
    with started(*command) as process:
        until(ready.exists, "the daemon is ready", process)
        yield Daemon(image, process.pid)
    ready.unlink(missing_ok=True)


@pytest.fixture(params=FORMATS)
def image(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> QemuImage:
    return QemuImage(tmp_path, request.param)


@pytest.fixture
def raw(tmp_path: pathlib.Path) -> QemuImage:
    return QemuImage(tmp_path, "luks")


def cryptsetup_opens(image: QemuImage, passphrase: str, keyslot: int) -> bool:
    """Only of a raw image."""
    if image.format != "luks":
        return image.opens(passphrase)
    key = image.path.with_name("key")
    key.write_text(passphrase)
    slot = ["--key-slot", str(keyslot)]
    return run("cryptsetup", "open", "--test-passphrase", *slot, "-d", key, image.path, check=False).returncode == 0


def test_a_rekey_keeps_its_number_and_the_daemon_goes_on(image: QemuImage) -> None:
    entries = [{"old_secret": secret(OPENER), **add()}]
    with daemon(image) as qemu:
        planned = keyslots(image.path, entries, qmp=str(qemu.socket), check=True)
        done = keyslots(image.path, entries, qmp=str(qemu.socket))
        assert planned["via"] == done["via"] == "qmp"
        assert planned["plan"] == done["plan"] and planned["diff"] == done["diff"]
        assert [(row["action"], row["keyslot"]) for row in done["plan"]] == [("rekey", 0)]
        again = keyslots(image.path, entries, qmp=str(qemu.socket))
        assert not again["changed"] and "via" not in again
        assert qemu.left_behind() == [] and qemu.serves()
    assert image.active() == {0}
    assert image.opened_by(OPENER, ADDED) == {ADDED}
    assert cryptsetup_opens(image, ADDED, 0)
    if image.format == "qcow2":
        run("qemu-img", "check", *image._object(ADDED), "--image-opts", image._image_opts())
