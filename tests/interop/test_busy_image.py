# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and a QEMU at one image: the task fails and names the program, check mode warns of it, and QEMU must wait for us.

The locks themselves are the matter of test_locks_qemu.py; here is what an operator sees. The rows are those of iotest 296.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.lock_lab import bytes_of, holding, needs, started, until
from ansible_collections.luksmith.luks.tests.interop.module_fork import keyslots, run_module
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, Running, start_module
from ansible_collections.luksmith.luks.tests.interop.qemu_copies import OPENER, fresh
from ansible_collections.luksmith.luks.tests.interop.qemu_image import CHEAP, FORMATS, QemuImage, run

pytestmark = needs("qemu-img", "qemu-io", "qemu-nbd", "qemu-storage-daemon")

ADDED, OTHER = "ebony unlocks", "ivory unlocks"
LONG_ENOUGH = 2_000_000  # iterations: seconds in which the module holds its locks
WRITER_BYTES = [100, 101, 200, 201, 203]
Program = t.ContextManager[t.Any]


def secret(passphrase: str) -> t.Dict[str, str]:
    return {"label": passphrase.split()[0], "passphrase": passphrase}


def add(passphrase: str = ADDED, **entry: t.Any) -> t.Dict[str, t.Any]:
    return {"new_secret": secret(passphrase), "pbkdf": CHEAP, **entry}


@pytest.fixture(params=FORMATS)
def image(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> QemuImage:
    return fresh(request.param, tmp_path)


@pytest.fixture
def raw(tmp_path: pathlib.Path) -> QemuImage:
    return fresh("luks", tmp_path)


def qemu_io(image: QemuImage, *flags: str) -> Program:
    """Without a command it waits at its prompt, which nobody answers: its input is an open pipe."""
    return started("qemu-io", *flags, *image._object(OPENER), "--image-opts", image._image_opts())


def qemu_nbd(image: QemuImage, *flags: str) -> Program:
    return started("qemu-nbd", *flags, *image._object(OPENER), "--image-opts", image._image_opts(), "-t", "-k", f"{image.path}.socket")


def storage_daemon(image: QemuImage, *, read_only: bool = False, exported: bool = False) -> Program:
    """A node that nobody uses, or one that is exported by NBD. --blockdev wants every driver named."""
    encryption = "encrypt.format=luks," if image.format == "qcow2" else ""
    node = f"{encryption}file.driver=file,{image._image_opts()},node-name=n,read-only={'on' if read_only else 'off'}"
    server = ["--nbd-server", f"addr.type=unix,addr.path={image.path}.socket", "--export", "type=nbd,id=e,node-name=n,writable=on"]
    return started("qemu-storage-daemon", *image._object(OPENER), "--blockdev", node, *(server if exported else []))


# Program, how it is started, what it holds on a raw image and on qcow2 (qemu-amend.md 3.2).
HOLDERS: t.Dict[str, t.Tuple[str, t.Callable[[QemuImage], Program], t.Tuple[int, ...], t.Tuple[int, ...]]] = {
    "idle node": ("qemu-storage-daemon", storage_daemon, (100,), (100, 101, 103, 201, 203)),
    "idle read-only node": ("qemu-storage-daemon", lambda image: storage_daemon(image, read_only=True), (100,), (100, 201, 203)),
    "exported node": ("qemu-storage-daemon", lambda image: storage_daemon(image, exported=True), (100, 101, 203), (100, 101, 103, 201, 203)),
    "qemu-nbd": ("qemu-nbd", qemu_nbd, (100, 101, 203), (100, 101, 103, 201, 203)),
    "qemu-nbd -r": ("qemu-nbd", lambda image: qemu_nbd(image, "-r"), (100, 203), (100, 201, 203)),
    "qemu-io": ("qemu-io", qemu_io, (100, 101), (100, 101, 103, 201, 203)),
    "qemu-io -r": ("qemu-io", lambda image: qemu_io(image, "-r"), (100,), (100, 201, 203)),
}


def digest(image: QemuImage) -> str:
    return hashlib.sha256(image.path.read_bytes()).hexdigest()


def refused(image: QemuImage, *, lock_timeout: float = 0) -> str:
    """The sentence of the real run; check mode plans the same task, and the file keeps every byte."""
    before = digest(image)
    planned = keyslots(image.path, [add()], unlock=[OPENER], check=True, lock_timeout=lock_timeout)
    assert [(action["action"], action["keyslot"]) for action in planned["plan"]] == [("add", 1)]
    with pytest.raises(ModuleFailed) as caught:
        keyslots(image.path, [add()], unlock=[OPENER], lock_timeout=lock_timeout)
    assert digest(image) == before
    message = str(caught.value)
    assert message.startswith(f"{image.path}: It is in use: ")
    assert f"waited {lock_timeout} s" in message and "lock_timeout" in message and "Nothing was changed" in message
    holders = message.partition("It is in use: ")[2].partition(". ")[0]
    for holder in holders.split("; "):
        assert holder.partition(" holds")[0][1:] in json.dumps(planned["warnings"]), "check mode warns of everybody who will be in the way"
    return message


@pytest.mark.parametrize("name", HOLDERS)
def test_the_task_fails_and_names_the_program(image: QemuImage, name: str) -> None:
    program, start, on_luks, on_qcow2 = HOLDERS[name]
    taken = on_luks if image.format == "luks" else on_qcow2
    with holding(start(image), image.path, taken) as pid:
        message = refused(image)
        assert f"pid {pid} ({program}) holds the image lock" in message
        assert '"consistent read" (byte 100)' in message
        assert ('"write" (byte 101)' in message) == (101 in taken)
        # Who only looks, or finds that all is well, disturbs nobody and is not disturbed.
        opened = run_module("keyslots_info", {"device": str(image.path), "secrets": [secret(OPENER)], "lock_timeout": 0})["opened_by"]
        assert opened == {secret(OPENER)["label"]: [0]}
        assert not keyslots(image.path, [add(OPENER)], lock_timeout=0)["changed"]
    assert keyslots(image.path, [add()], unlock=[OPENER], lock_timeout=0)["changed"]
    assert image.opens(ADDED)


def test_296_1d_an_idle_second_opener_keeps_the_writer_out_until_it_closes(raw: QemuImage) -> None:
    with holding(storage_daemon(raw), raw.path, (100,)) as pid:
        assert f"pid {pid} (qemu-storage-daemon)" in refused(raw, lock_timeout=1)
        assert 'Failed to get shared "consistent read" lock' in raw.amend(OPENER, "state=inactive", "keyslot=1").stderr
    assert keyslots(raw.path, [add()], unlock=[OPENER], lock_timeout=0)["changed"]


def test_296_2b_a_reader_blocks_too_and_everybody_is_named(raw: QemuImage) -> None:
    with holding(qemu_io(raw, "-r"), raw.path, (100,)) as reader, holding(qemu_nbd(raw), raw.path, (100, 101, 203)) as writer:
        message = refused(raw)
        assert f"pid {reader} (qemu-io)" in message and f"pid {writer} (qemu-nbd)" in message


def test_a_task_that_may_wait_goes_on_when_the_program_closes(raw: QemuImage) -> None:
    with holding(qemu_io(raw), raw.path, (100, 101)):
        waiting = start_module("keyslots", {"device": str(raw.path), "keyslots": [add()], "unlock": [secret(OPENER)], "lock_timeout": 60})
        # It has looked by now: its second opening of the file is the one for writing.
        until(lambda: opened_for_writing(waiting.process.pid, raw.path), "the module waits for the locks", waiting.process)
        assert raw.path.read_bytes()[256:260] == b"\x00\x00\xde\xad", "keyslot 1 is still inactive"
    assert waiting.result()["changed"]
    assert raw.opens(ADDED)


def opened_for_writing(pid: int, path: pathlib.Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                flags = (pathlib.Path(f"/proc/{pid}/fdinfo") / entry.name).read_text().split("flags:")[1].split()[0]
                if entry.resolve() == path and int(flags, 8) & 3 == 2:
                    return True
    return False


@contextlib.contextmanager
def stopped_while_it_writes(image: QemuImage) -> t.Iterator[Running]:
    """The module, holding all of its locks, in the middle of deriving a key; it goes on when the block ends."""
    entries = [add(pbkdf={"iterations": LONG_ENOUGH})]
    running = start_module("keyslots", {"device": str(image.path), "keyslots": entries, "unlock": [secret(OPENER)], "lock_timeout": 5})
    process = running.process
    try:
        until(lambda: bytes_of(process.pid, image.path) == WRITER_BYTES, "the module holds its locks", process)
        process.send_signal(signal.SIGSTOP)
        _pid, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "the module is stopped, not ended"
        assert bytes_of(process.pid, image.path) == WRITER_BYTES
        yield running
    except BaseException:
        process.kill()
        process.communicate()
        raise
    process.send_signal(signal.SIGCONT)


def test_while_the_module_writes_qemu_is_refused_and_so_are_we(image: QemuImage) -> None:
    with stopped_while_it_writes(image) as first:
        before = digest(image)
        for force in (False, True):
            done = image.amend(OPENER, "state=inactive", "keyslot=1", force=force)
            assert done.returncode != 0 and 'Failed to get "consistent read" lock' in done.stderr
        for flags in ([], ["-r"]):  # 296.3-like: whoever wants to write or read comes second
            opened = run("qemu-io", *flags, *image._object(OPENER), "--image-opts", image._image_opts(), "-c", "read 0 512", check=False)
            assert 'Failed to get "consistent read" lock' in opened.stderr
        with pytest.raises(ModuleFailed, match=rf"(?s)pid {first.process.pid} \(python.*deny \"consistent read\" \(byte 200\).*Nothing was changed"):
            keyslots(image.path, [add(OTHER)], unlock=[OPENER], lock_timeout=0)
        assert digest(image) == before
    result = first.result()
    assert [(action["action"], action["keyslot"]) for action in result["plan"]] == [("add", 1)]
    image.check(OPENER)
    assert image.amend(ADDED, "state=inactive", "keyslot=0").returncode == 0, "QEMU opens what we wrote, and its turn has come"
    assert image.active() == {1}


def test_a_symbolic_link_hides_nobody(raw: QemuImage, tmp_path: pathlib.Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(raw.path)
    with holding(qemu_io(raw), raw.path, (100, 101)) as pid, pytest.raises(ModuleFailed, match=rf"pid {pid} \(qemu-io\)"):
        keyslots(link, [add()], unlock=[OPENER], lock_timeout=0)
