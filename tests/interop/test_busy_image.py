# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and a QEMU at one image: the task fails and names the program, check mode warns of it, and QEMU must wait
for us.

The locks themselves are the matter of test_locks_qemu.py; here is what an operator sees. The rows are those of iotest
296.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import lock_holders
from ansible_collections.luksmith.luks.tests.interop.in_the_child import FIRST_WRITE, pause_at_a_conflict
from ansible_collections.luksmith.luks.tests.interop.lock_lab import bytes_taken, started, until
from ansible_collections.luksmith.luks.tests.interop.module_process import (
    ModuleFailed,
    Running,
    keyslots,
    run_module,
    start_module,
)
from ansible_collections.luksmith.luks.tests.interop.qemu_image import CHEAP, FORMATS, OPENER, QemuImage, run
from ansible_collections.luksmith.luks.tests.interop.qemu_programs import HOLDERS, needs_qemu_programs
from ansible_collections.luksmith.luks.tests.tools.module_server import stay_dumpable, stop_before

pytestmark = needs_qemu_programs

ADDED, OTHER = "ebony unlocks", "ivory unlocks"
WRITER_BYTES = [100, 101, 200, 201, 203]


def secret(passphrase: str) -> t.Dict[str, str]:
    return {"label": passphrase.split()[0], "passphrase": passphrase}


def add(passphrase: str = ADDED, **entry: t.Any) -> t.Dict[str, t.Any]:
    return {"new_secret": secret(passphrase), "pbkdf": CHEAP, **entry}


@pytest.fixture(params=FORMATS)
def image(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> QemuImage:
    return QemuImage(tmp_path, request.param)


@pytest.fixture
def raw(tmp_path: pathlib.Path) -> QemuImage:
    return QemuImage(tmp_path, "luks")


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
        assert holder.partition(" holds")[0][1:] in json.dumps(planned["warnings"]), (
            "check mode warns of everybody who will be in the way"
        )
    return message


SHORT = [("luks", "idle node"), ("luks", "qemu-io -r -U"), ("qcow2", "idle read-only node"), ("qcow2", "qemu-nbd")]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        case if case in SHORT else pytest.param(*case, marks=pytest.mark.full)
        for case in itertools.product(FORMATS, HOLDERS)
    ],
    indirect=["image"],
)
def test_the_task_fails_and_names_the_program(image: QemuImage, name: str) -> None:
    holder = HOLDERS[name]
    with holder.holding(image) as pid:
        message = refused(image)
        assert f"pid {pid} ({holder.program}) holds the image lock" in message
        assert '"consistent read" (byte 100)' in message
        assert ('"write" (byte 101)' in message) == (101 in holder.taken(image))
        # Who only looks, or finds that all is well, disturbs nobody and is not disturbed.
        opened = run_module(
            "keyslots_info", {"device": str(image.path), "secrets": [secret(OPENER)], "lock_timeout": 0}
        )["opened_by"]
        assert opened == {secret(OPENER)["label"]: [0]}
        assert not keyslots(image.path, [add(OPENER)], lock_timeout=0)["changed"]
    assert keyslots(image.path, [add()], unlock=[OPENER], lock_timeout=0)["changed"]
    assert image.opens(ADDED)


def test_296_1d_an_idle_second_opener_keeps_the_writer_out_until_it_closes(raw: QemuImage) -> None:
    with HOLDERS["idle node"].holding(raw) as pid:
        assert f"pid {pid} (qemu-storage-daemon)" in refused(raw, lock_timeout=1)
        assert 'Failed to get shared "consistent read" lock' in raw.amend(OPENER, "state=inactive", "keyslot=1").stderr
    assert keyslots(raw.path, [add()], unlock=[OPENER], lock_timeout=0)["changed"]


def test_296_2b_a_reader_blocks_too_and_everybody_is_named(raw: QemuImage) -> None:
    with HOLDERS["qemu-io -r"].holding(raw) as reader, HOLDERS["qemu-nbd"].holding(raw) as writer:
        message = refused(raw)
        assert f"pid {reader} (qemu-io)" in message and f"pid {writer} (qemu-nbd)" in message


def task(image: QemuImage, passphrase: str = ADDED, lock_timeout: float = 60) -> t.Dict[str, t.Any]:
    return {
        "device": str(image.path),
        "keyslots": [add(passphrase)],
        "unlock": [secret(OPENER)],
        "lock_timeout": lock_timeout,
    }


def test_a_task_that_may_wait_goes_on_when_the_program_closes(raw: QemuImage) -> None:
    with HOLDERS["qemu-io"].holding(raw):
        waiting = start_module("keyslots", task(raw), hooks=[pause_at_a_conflict])
        waiting.reached("a conflict")
        assert raw.path.read_bytes()[256:260] == b"\x00\x00\xde\xad", "keyslot 1 is still inactive"
    waiting.go_on()
    assert waiting.result()["changed"]
    assert raw.opens(ADDED)


def stopped_before_it_writes(image: QemuImage, *hooks: t.Callable[[], None]) -> Running:
    """The module, holding all of its locks."""
    running = start_module("keyslots", task(image), hooks=[stop_before(FIRST_WRITE), *hooks])
    running.reached(FIRST_WRITE)
    assert bytes_taken(image.path) == WRITER_BYTES
    return running


def test_while_the_module_writes_qemu_is_refused_and_so_are_we(image: QemuImage) -> None:
    first = stopped_before_it_writes(image, stay_dumpable)
    before = digest(image)
    for force in (False, True):
        done = image.amend(OPENER, "state=inactive", "keyslot=1", force=force)
        assert done.returncode != 0 and 'Failed to get "consistent read" lock' in done.stderr
    for flags in ([], ["-r"]):  # 296.3-like: whoever wants to write or read comes second
        opened = run(
            "qemu-io",
            *flags,
            *image._object(OPENER),
            "--image-opts",
            image._image_opts(),
            "-c",
            "read 0 512",
            check=False,
        )
        assert 'Failed to get "consistent read" lock' in opened.stderr
    with pytest.raises(
        ModuleFailed, match=rf"(?s)pid {first.pid} \(python.*deny \"consistent read\" \(byte 200\).*Nothing was changed"
    ):
        run_module("keyslots", task(image, OTHER, lock_timeout=0))
    assert digest(image) == before
    first.go_on()
    result = first.result()
    assert [(action["action"], action["keyslot"]) for action in result["plan"]] == [("add", 1)]
    image.check(OPENER)
    assert image.amend(ADDED, "state=inactive", "keyslot=0").returncode == 0, (
        "QEMU opens what we wrote, and its turn has come"
    )
    assert image.active() == {1}


def test_a_module_forbids_others_to_look_so_that_ordinary_users_are_told_only_that_somebody_is_there(
    raw: QemuImage,
) -> None:
    first = stopped_before_it_writes(raw)
    who = rf"pid {first.pid} \(python" if os.geteuid() == 0 else "a process that is not visible from here"
    with pytest.raises(ModuleFailed, match=rf"(?s)in use: {who}.*Nothing was changed"):
        run_module("keyslots", task(raw, OTHER, lock_timeout=0))


def test_a_symbolic_link_hides_nobody(raw: QemuImage, tmp_path: pathlib.Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(raw.path)
    with HOLDERS["qemu-io"].holding(raw) as pid, pytest.raises(ModuleFailed, match=rf"pid {pid} \(qemu-io\)"):
        keyslots(link, [add()], unlock=[OPENER], lock_timeout=0)


def test_a_qemu_without_locks_is_a_holder(raw: QemuImage) -> None:
    """It writes back what it read before, over whatever others wrote; its open file is all that shows it."""
    before = digest(raw)
    options = f"driver=file,locking=off,filename={raw.path}"
    with started("qemu-io", "--image-opts", options) as program:
        until(lambda: lock_holders.writers_of(raw.path.stat()), "qemu-io has opened it", program)
        assert bytes_taken(raw.path) == []
        planned = keyslots(raw.path, [add()], unlock=[OPENER], check=True)
        assert f"Pid {program.pid} (qemu-io) has {raw.path} open for writing" in json.dumps(planned["warnings"])
        with pytest.raises(ModuleFailed, match="open for writing without a lock") as caught:
            keyslots(raw.path, [add()], unlock=[OPENER], lock_timeout=0)
        assert f"pid {program.pid} (qemu-io)" in str(caught.value) and digest(raw) == before
        # What only reads is served.
        assert run_module("keyslots_info", {"device": str(raw.path), "secrets": [secret(OPENER)]})["opened_by"]
    keyslots(raw.path, [add()], unlock=[OPENER])
    assert raw.opened_by(OPENER, ADDED) == {OPENER, ADDED}


def test_a_qemu_that_only_reads_without_locks_is_none(raw: QemuImage) -> None:
    with started("qemu-io", "-r", "--image-opts", f"driver=file,locking=off,filename={raw.path}") as program:
        until(lambda: _has_open(program.pid, raw.path), "qemu-io has opened it", program)
        keyslots(raw.path, [add()], unlock=[OPENER], lock_timeout=0)


def _has_open(pid: int, path: pathlib.Path) -> bool:
    return any(os.path.samefile(one, path) for one in pathlib.Path(f"/proc/{pid}/fd").iterdir() if one.exists())
