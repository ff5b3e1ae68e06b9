# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``qmp`` with the QEMU of Debian 13, which knows detached headers: in a root of its own, the module outside."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import tempfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.hosts import roots
from ansible_collections.luksmith.luks.tests.interop.live_qemu import Daemon
from ansible_collections.luksmith.luks.tests.interop.lock_lab import started, until
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, start_module
from ansible_collections.luksmith.luks.tests.interop.qemu_image import run
from ansible_collections.luksmith.luks.tests.interop.test_live import BEFORE, DURING
from ansible_collections.luksmith.luks.tests.tools.module_server import stop_before

pytestmark = [pytest.mark.full, pytest.mark.needs("cryptsetup", "debootstrap", "qemu-io", "root")]

OLD, NEW = "amber unlocks", "ebony unlocks"


@pytest.fixture(scope="module")
def trixie() -> pathlib.Path:
    try:
        return roots.ensure("trixie", ("qemu-utils",))
    except roots.Unavailable as error:
        pytest.skip(str(error))


class Place:
    """A folder in the root, by its path outside and by the one that programs inside know."""

    def __init__(self, root: pathlib.Path, folder: pathlib.Path) -> None:
        self.outside = folder
        self.inside = f"/{folder.relative_to(root)}"
        self._chroot = ["chroot", str(root)]
        (folder / "old").write_text(OLD)

    def secret(self) -> t.List[str]:
        return ["--object", f"secret,id=s,file={self.inside}/old"]

    def create(self, name: str, options: str) -> pathlib.Path:
        words = ["qemu-img", "create", "-q", *self.secret(), "-f", "luks", "-o", f"key-secret=s,iter-time=1{options}"]
        for _attempt in range(100):  # as in qemu_image.create
            done = run(*self._chroot, *words, f"{self.inside}/{name}", "1M", check=False)
            if "accurate CPU usage" not in done.stderr:
                break
        assert done.returncode == 0, done.stderr
        return self.outside / name

    @contextlib.contextmanager
    def daemon(self, *nodes: str, export: str = "type=nbd,id=e,name=e,node-name=n,writable=on") -> t.Iterator[Daemon]:
        """``nodes``: with {} for the folder."""
        words = [word for node in nodes for word in ("--blockdev", node.format(self.inside))]
        command = [
            *(*self._chroot, "qemu-storage-daemon", *self.secret(), *words),
            *("--chardev", f"socket,id=q,path={self.inside}/q,server=on,wait=off", "--monitor", "chardev=q"),
            *("--nbd-server", f"addr.type=unix,addr.path={self.inside}/d"),
            *(("--export", export) if export else ()),
            *("--pidfile", f"{self.inside}/pid"),
        ]
        with started(*command) as process:
            until((self.outside / "pid").exists, "the daemon is ready", process)
            yield Daemon(self.outside, process.pid)


@pytest.fixture
def place(trixie: pathlib.Path) -> t.Iterator[Place]:
    folder = pathlib.Path(tempfile.mkdtemp(dir=trixie / "tmp"))
    yield Place(trixie, folder)
    shutil.rmtree(folder)


def secret(passphrase: str) -> t.Dict[str, str]:
    return {"label": passphrase.split()[0], "passphrase": passphrase}


REKEY = {"old_secret": secret(OLD), "new_secret": secret(NEW), "iter_time": 300}


def opens(header: pathlib.Path, passphrase: str) -> bool:
    key = header.with_name("key")
    key.write_text(passphrase)
    return (
        run("cryptsetup", "open", "--test-passphrase", "-d", key, "--header", header, header, check=False).returncode
        == 0
    )


RAW = "driver=luks,node-name=n,key-secret=s,file.driver=file,file.filename={}/a.luks"


def test_a_raw_image(place: Place) -> None:
    """The first test takes longer than 5 seconds where its root is still to be made, and each rekey does."""
    image = place.create("a.luks", "")
    with place.daemon(RAW) as qemu:
        assert keyslots(image, [REKEY], qmp=str(qemu.socket))["via"] == "qmp"
        assert qemu.left_behind() == [] and qemu.serves()
    assert (opens(image, OLD), opens(image, NEW)) == (False, True)


@pytest.mark.parametrize(("stop", "number"), [(DURING, 0), (BEFORE, 1), (DURING, 1), (DURING, 2), (BEFORE, 3)])
def test_a_killed_run_that_names_its_keyslot_is_finished_by_the_next(place: Place, stop: str, number: int) -> None:
    """Two runs with jobs of QEMU, the second of which waits for what the first one began: more than 5 s."""
    image = place.create("a.luks", "")
    entry = {**REKEY, "keyslot": 0}
    with place.daemon(RAW) as qemu:
        task = {"device": str(image), "keyslots": [entry], "qmp": str(qemu.socket)}
        running = start_module("keyslots", task, hooks=[stop_before(stop, number)])
        running.reached(stop)
        running.kill()
        assert qemu.serves()
        done = keyslots(image, [entry], qmp=str(qemu.socket))
        assert [row["keyslot"] for row in done["keyslots"] if row.get("opened_by") == ["ebony"]] == [0]
        assert not keyslots(image, [entry], qmp=str(qemu.socket))["changed"]
        assert qemu.left_behind() == [] and qemu.serves()
    assert (opens(image, OLD), opens(image, NEW)) == (False, True)


def test_a_detached_header(place: Place) -> None:
    header = place.create("header", ",detached-header=true")
    payload = place.outside / "payload"
    payload.write_bytes(bytes(1 << 20))
    nodes = (
        "driver=file,node-name=h,filename={}/header",
        "driver=file,node-name=f,filename={}/payload",
        "driver=luks,node-name=n,key-secret=s,file=f,header=h",
    )
    with place.daemon(*nodes) as qemu:
        done = keyslots(payload, [REKEY], header=str(header), qmp=str(qemu.socket))
        assert done["via"] == "qmp" and qemu.left_behind() == [] and qemu.serves()
    assert (opens(header, OLD), opens(header, NEW)) == (False, True)


def test_a_detached_header_at_which_qemu_would_abort(place: Place) -> None:
    """Without somebody who writes, the node has no permission to write the header."""
    header = place.create("header", ",detached-header=true")
    payload = place.outside / "payload"
    payload.write_bytes(bytes(1 << 20))
    nodes = (
        "driver=file,node-name=h,filename={}/header",
        "driver=file,node-name=f,filename={}/payload",
        "driver=luks,node-name=n,key-secret=s,file=f,header=h",
    )
    before = header.read_bytes()
    with place.daemon(*nodes, export="") as qemu:
        with pytest.raises(ModuleFailed, match="open without permission to write"):
            keyslots(payload, [REKEY], header=str(header), qmp=str(qemu.socket))
        assert qemu.left_behind() == []
    assert header.read_bytes() == before
