# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``qmp``: a real qemu-storage-daemon has the image open and makes the change itself.

qemu-img and cryptsetup judge the image when the daemon has ended; a client of its NBD export judges that it serves.
A job takes QEMU some seconds, because it measures the processor: a test with several of them takes more than 5 s.
"""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.live_qemu import Daemon, daemon
from ansible_collections.luksmith.luks.tests.interop.lock_lab import bytes_of, loop_device, started, until
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, start_module
from ansible_collections.luksmith.luks.tests.interop.qemu_image import FORMATS, OPENER, QemuImage, run
from ansible_collections.luksmith.luks.tests.interop.qemu_programs import (
    needs_qemu_programs,
    node_options,
)
from ansible_collections.luksmith.luks.tests.tools.module_server import stop_before
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.fake_world import (
    Death,
    FakeStore,
    rotate,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.test_machine import (
    RealHost,
    one_of,
    options,
)

pytestmark = [needs_qemu_programs, pytest.mark.needs("cryptsetup")]

ADDED, OTHER = "ebony unlocks", "ivory unlocks"
TIME = 300  # ms: more than 600,000 iterations on any processor that runs these tests in a reasonable time


def secret(passphrase: str) -> t.Dict[str, str]:
    return {"label": passphrase.split()[0], "passphrase": passphrase}


def add(passphrase: str = ADDED, **entry: t.Any) -> t.Dict[str, t.Any]:
    return {"new_secret": secret(passphrase), "iter_time": TIME, **entry}


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


@pytest.mark.parametrize("image", ["luks", pytest.param("qcow2", marks=pytest.mark.full)], indirect=True)
def test_a_rekey_keeps_its_number_and_the_daemon_goes_on(image: QemuImage) -> None:
    """The header of yesterday finds no key material any more, as in iotest 294. Two jobs of QEMU derive keys, more than
    5 s.
    """
    yesterday = image.path.read_bytes()[:4096]
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
    else:
        with image.path.open("r+b") as file:
            file.write(yesterday)
        assert not image.opens(OPENER)


def refused(
    image: QemuImage, entries: t.Sequence[t.Any], monitor: t.Union[Daemon, pathlib.Path], **options: t.Any
) -> str:
    """The sentence, which check mode says as well; the file keeps every byte."""
    path = monitor.socket if isinstance(monitor, Daemon) else monitor
    before = image.path.read_bytes()
    said = set()
    for check in (True, False):
        with pytest.raises(ModuleFailed) as caught:
            keyslots(image.path, entries, qmp=str(path), check=check, **options)
        said.add(str(caught.value))
    assert image.path.read_bytes() == before
    (message,) = said
    assert "Nothing was changed" in message
    return message


def test_without_the_option_the_refusal_names_it(raw: QemuImage) -> None:
    with daemon(raw):
        planned = keyslots(raw.path, [add()], unlock=[OPENER], check=True)
        assert "if you give the path of its QMP monitor as qmp" in json.dumps(planned["warnings"])
        with pytest.raises(ModuleFailed, match=r"(?s)in use: .*if you give the path of its QMP monitor as qmp"):
            keyslots(raw.path, [add()], unlock=[OPENER], lock_timeout=0)


def test_an_image_that_is_free_needs_no_monitor(raw: QemuImage, tmp_path: pathlib.Path) -> None:
    done = keyslots(
        raw.path,
        [{"new_secret": secret(ADDED), "pbkdf": {"iterations": 1000}}],
        unlock=[OPENER],
        qmp=str(tmp_path / "none"),
    )
    assert done["changed"] and "via" not in done
    assert raw.opened_by(OPENER, ADDED) == {OPENER, ADDED}


@pytest.mark.parametrize("image", [pytest.param("luks", marks=pytest.mark.full), "qcow2"], indirect=True)
def test_several_secrets_in_one_task(image: QemuImage) -> None:
    """Adds come first, in numbered and free keyslots. Two jobs of QEMU derive keys, more than 5 s."""
    with daemon(image) as qemu:
        entries = [add(keyslot=5), add(OTHER), {"state": "absent", "old_secret": secret(OPENER)}]
        done = keyslots(image.path, entries, qmp=str(qemu.socket))
        plan = [(row["action"], row["keyslot"]) for row in done["plan"]]
        assert plan == [("add", 5), ("add", 1), ("erase", 0)]
        rows = {row["keyslot"]: row for row in done["keyslots"] if row["state"] == "active"}
        assert rows[5]["opened_by"] == ["ebony"] and rows[1]["opened_by"] == ["ivory"] and set(rows) == {1, 5}
        assert rows[5]["kdf"]["iterations"] >= 600_000
        assert qemu.left_behind() == [] and qemu.serves()
    assert image.active() == {1, 5} and image.opened_by(OPENER, ADDED, OTHER) == {ADDED, OTHER}
    assert cryptsetup_opens(image, ADDED, 5)


@pytest.mark.full
def test_a_small_iter_time_does_not_make_a_cheap_keyslot(raw: QemuImage) -> None:
    """QEMU makes it twice, which takes more than 5 s."""
    with daemon(raw) as qemu:
        done = keyslots(raw.path, [add(iter_time=5)], unlock=[OPENER], qmp=str(qemu.socket))
    assert done["keyslots"][1]["kdf"]["iterations"] >= 600_000
    assert raw.active() == {0, 1} and raw.opened_by(ADDED) == {ADDED}


def test_the_last_keyslot_goes_only_with_consent(raw: QemuImage) -> None:
    """QEMU would do it with force, and force of the task is not that."""
    gone = [{"state": "absent", "keyslot": 0}]
    with daemon(raw) as qemu:
        assert "allow_lockout" in refused(raw, gone, qemu, force=True)
        assert keyslots(raw.path, gone, qmp=str(qemu.socket), allow_lockout=True)["via"] == "qmp"
        assert qemu.serves()
    assert raw.active() == set() and not raw.opens(OPENER)


NEEDS_IT_FREE: t.Mapping[str, t.Tuple[t.List[t.Dict[str, t.Any]], str]] = {
    "iterations": ([{"new_secret": secret(ADDED), "pbkdf": {"iterations": 1000}}], "pbkdf.iterations of keyslots.0."),
    "NUL": (
        [{"new_secret": {"label": "nul", "passphrase_base64": "YQBi"}}],
        "(?s)keyslot for nul cannot.*contains a NUL byte",
    ),
}


@pytest.mark.parametrize("name", NEEDS_IT_FREE)
def test_what_qemu_cannot_do_is_refused_before_anything_is_written(raw: QemuImage, name: str) -> None:
    entries, words = NEEDS_IT_FREE[name]
    with daemon(raw) as qemu:
        message = refused(raw, entries, qemu, unlock=[OPENER])
        assert "cannot be made while QEMU has the image open" in message and "image is free" in message
        assert re.search(words, message)
        assert qemu.left_behind() == []


@pytest.fixture
def full(raw: QemuImage) -> QemuImage:
    entries = [
        {"keyslot": number, "new_secret": secret(f"{number} unlocks"), "pbkdf": {"iterations": 1000}}
        for number in range(1, 8)
    ]
    keyslots(raw.path, entries, unlock=[OPENER])
    return raw


def test_a_full_header_has_no_room_for_a_note(full: QemuImage) -> None:
    with daemon(full) as qemu:
        message = refused(full, [{"old_secret": secret(OPENER), **add()}], qemu, unlock=["3 unlocks"])
        assert "A new secret in keyslot 0 cannot be made" in message


@pytest.mark.full
def test_a_task_that_makes_room_in_a_full_header(full: QemuImage) -> None:
    """The erase comes first. A rekey takes QEMU more than 5 s."""
    with daemon(full) as qemu:
        entries = [{"old_secret": secret(OPENER), **add()}, {"state": "absent", "keyslot": 7}]
        done = keyslots(full.path, entries, unlock=["3 unlocks"], qmp=str(qemu.socket))
        assert [(row["action"], row["keyslot"]) for row in done["plan"]] == [("erase", 7), ("rekey", 0)]
    assert full.opened_by(OPENER, ADDED, "7 unlocks", "3 unlocks") == {ADDED, "3 unlocks"}


def test_the_monitor_of_another_process(raw: QemuImage, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with daemon(raw) as holder, daemon(raw.copied(folder)) as other:
        message = refused(raw, [add()], other, unlock=[OPENER])
        assert f"in use by pid {holder.pid} (qemu-storage-daemon)" in message and f"is pid {other.pid}" in message
        assert other.left_behind() == []


def test_a_socket_without_a_monitor(raw: QemuImage) -> None:
    with daemon(raw) as qemu:
        assert "what it sent is no JSON object" in refused(raw, [add()], qemu.export, unlock=[OPENER])
        assert "No such file" in refused(raw, [add()], qemu.socket.with_name("none"), unlock=[OPENER])


def nodes(image: QemuImage, name: str) -> t.List[str]:
    file = f"driver=file,node-name=f,filename={image.path}"
    crypt = "driver=luks,node-name={},file={},key-secret=s"
    return {
        "over a filter": [file, "driver=copy-on-read,node-name=c,file=f", crypt.format("n", "c")],
        "without locks": [f"{file},locking=off", crypt.format("n", "f")],
        "by another name": [file.replace(image.path.name, "link"), crypt.format("n", "f")],
        "read-only": [f"{file},read-only=on", f"{crypt.format('n', 'f')},read-only=on"],
        "twice": [
            f"{file},locking=off",
            crypt.format("n", "f"),
            f"{file},locking=off".replace("=f,", "=f2,"),
            crypt.format("m", "f2"),
        ],
        "as raw": [file, "driver=raw,node-name=n,file=f"],
        "over raw": [file, "driver=raw,node-name=r,file=f", crypt.format("n", "r")],
    }[name]


@pytest.mark.parametrize(
    "name",
    ["without locks", *(pytest.param(name, marks=pytest.mark.full) for name in ("over a filter", "by another name"))],
)
def test_the_node_is_found_by_its_file(raw: QemuImage, name: str, tmp_path: pathlib.Path) -> None:
    """A job takes QEMU about 5 s."""
    (tmp_path / "link").symlink_to(raw.path)
    with daemon(raw, *nodes(raw, name)) as qemu:
        assert keyslots(raw.path, [add()], unlock=[OPENER], qmp=str(qemu.socket))["via"] == "qmp"
        assert qemu.left_behind() == [] and qemu.serves()
    assert raw.opened_by(OPENER, ADDED) == {OPENER, ADDED}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("read-only", "node n of QEMU is read-only"),
        ("twice", "has 2 nodes with LUKS of this image (m, n)"),
        ("as raw", "no node with LUKS of this image"),
        ("over raw", "no node with LUKS of this image"),
    ],
)
def test_a_node_that_cannot_be_meant(raw: QemuImage, name: str, words: str) -> None:
    with daemon(raw, *nodes(raw, name), writable=name != "read-only") as qemu:
        assert words in refused(raw, [add()], qemu, unlock=[OPENER])


def test_a_header_that_changed_behind_qemus_back(raw: QemuImage) -> None:
    """QEMU would write its old one over it."""
    with daemon(raw, *nodes(raw, "without locks")) as qemu:
        assert (
            raw.amend_with(OPENER, OTHER, "state=active", "new-secret=new", "keyslot=3", "iter-time=1").returncode == 0
        )
        message = refused(raw, [add()], qemu, unlock=[OPENER])
        assert "has in memory is not the one in the image" in message


BEFORE, DURING = "_luks.volume.monitor:Monitor.run_job", "_luks.volume.monitor:Monitor.end_of_job"
KILLS = [(place, number) for number in range(4) for place in (BEFORE, DURING)]  # the four jobs of a rekey
SHORT = [(DURING, 0)]
RACING = [kill for kill in KILLS if kill[0] == DURING]  # QEMU may end the job between the two runs


@pytest.mark.parametrize(
    ("place", "number"), [kill if kill in SHORT else pytest.param(*kill, marks=pytest.mark.full) for kill in KILLS]
)
@pytest.mark.parametrize("named", [False, pytest.param(True, marks=pytest.mark.full)])
def test_a_killed_run_is_finished_by_the_next(raw: QemuImage, place: str, number: int, named: bool) -> None:
    """Two runs with jobs of QEMU, the second of which waits for what the first one began: more than 5 s."""
    entry = {"old_secret": secret(OPENER), **add(), **({"keyslot": 0} if named else {})}
    with daemon(raw) as qemu:
        task = {"device": str(raw.path), "keyslots": [entry], "qmp": str(qemu.socket)}
        running = start_module("keyslots", task, hooks=[stop_before(place, number)])
        running.reached(place)
        running.kill()
        assert qemu.serves()
        adding = number in (0, 2)  # these have their secrets in QEMU when they are killed
        assert len([name for name in qemu.left_behind() if "secret" in name]) == (2 if adding else 0)
        planned = keyslots(raw.path, [entry], qmp=str(qemu.socket), check=True)
        done = keyslots(raw.path, [entry], qmp=str(qemu.socket))
        assert done["plan"] == planned["plan"] or (place, number) in RACING
        assert ("2 secrets of an interrupted run" in json.dumps(done.get("warnings"))) == adding
        assert [row["keyslot"] for row in done["keyslots"] if row.get("opened_by") == ["ebony"]] == [0]
        assert not keyslots(raw.path, [entry], qmp=str(qemu.socket))["changed"]
        assert qemu.left_behind() == []
    assert raw.active() == {0} and raw.opened_by(OPENER, ADDED) == {ADDED}


@pytest.mark.full
@pytest.mark.needs("losetup", "root")
def test_a_block_device(raw: QemuImage, tmp_path: pathlib.Path) -> None:
    """By any name of it, but not by the file beneath, whose page cache is another one. A job takes QEMU about 5 s."""
    with loop_device(raw.path) as loop:
        (tmp_path / "link").symlink_to(loop)
        node = f"driver=luks,node-name=n,key-secret=s,file.driver=host_device,file.filename={loop}"
        with daemon(raw, node) as qemu:
            assert "not the file of a loop device" in refused(raw, [add()], qemu, unlock=[OPENER])
            assert keyslots(tmp_path / "link", [add()], unlock=[OPENER], qmp=str(qemu.socket))["via"] == "qmp"
            assert qemu.left_behind() == []
    assert raw.opened_by(OPENER, ADDED) == {OPENER, ADDED}


@pytest.mark.full
@pytest.mark.needs("qemu-system-x86_64")
def test_the_disk_of_a_guest(image: QemuImage) -> None:
    """Its device forbids others to write. The qcow2 image is found by a name that QEMU made up itself. A rekey takes
    QEMU more than 5 s.
    """
    socket = image.path.with_name("q")
    disk = "n" if image.format == "luks" else "d"
    if disk == "d":
        drive = ["-drive", f"if=none,id=d,file={image.path},format=qcow2,encrypt.format=luks,encrypt.key-secret=s"]
    else:
        drive = ["-blockdev", node_options(image)]
    command = [
        *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-m", "64", "-display", "none", "-nodefaults"),
        *(*image._object(OPENER), *drive, "-device", f"virtio-blk-pci,drive={disk}"),
        *("-qmp", f"unix:{socket},server=on,wait=off"),
    ]
    with started(*command) as process:
        until(lambda: 201 in bytes_of(process.pid, image.path), "the VM runs", process)
        entry = {"old_secret": secret(OPENER), **add()}
        assert keyslots(image.path, [entry], qmp=str(socket))["via"] == "qmp"
        assert Daemon(image.path.parent, process.pid).left_behind() == []
        assert process.poll() is None
    assert image.active() == {0} and image.opened_by(OPENER, ADDED) == {ADDED}


@pytest.mark.full
def test_a_client_that_writes_meanwhile(image: QemuImage) -> None:
    """Each write arrives, and none of them hits the header. A rekey takes QEMU more than 5 s."""
    with daemon(image) as qemu:
        uri = f"nbd+unix:///e?socket={qemu.export}"
        bench = [
            "qemu-img",
            "bench",
            "-w",
            "-f",
            "raw",
            "-c",
            "1000000000",
            "-d",
            "4",
            "-s",
            "4096",
            "--pattern=7",
            uri,
        ]
        with started(*bench) as writing:
            until(lambda: bytes_of(qemu.pid, image.path), "the daemon has it open")
            done = keyslots(image.path, [{"old_secret": secret(OPENER), **add()}], qmp=str(qemu.socket))
            assert writing.poll() is None, "it is not done, and nothing has failed"
        assert done["via"] == "qmp" and qemu.left_behind() == []
        read = run("qemu-io", "-f", "raw", "-c", f"read -P 7 0 {1 << 20}", uri)
        assert f"read {1 << 20}/{1 << 20}" in read.stdout
    assert image.active() == {0} and image.opened_by(OPENER, ADDED) == {ADDED}


@pytest.mark.full
def test_a_rotation_of_a_running_vm(raw: QemuImage, tmp_path: pathlib.Path) -> None:
    """What rotate_qmp comes to: the role's machine, with the step of the module in this process. It waits for locks and
    for QEMU, more than 5 s.
    """
    with daemon(raw) as qemu:
        given = {
            "volumes": [{"device": str(raw.path)}],
            "block_devices": False,
            "crypttab": str(tmp_path / "none"),
            "replaces": [secret(OPENER)],
            "keeps": [],
            "iter_time": TIME,
        }
        host, store = RealHost({}, Death()), FakeStore(Death())
        without = one_of(rotate(options(**given), host, store)[0])
        assert without.state == "partial" and "QMP monitor in rotate_qmp" in without.msg
        monitors = {str(raw.path): str(qemu.socket)}
        done = one_of(rotate(options(**given, qmp=monitors), host, store)[0])
        assert done.state == "done", done.msg
        rested = one_of(rotate(options(**given, qmp=monitors), host, store)[0])
        assert rested.state == "unchanged"
        assert qemu.left_behind() == [] and qemu.serves()
    (held,) = store.held.values()
    assert raw.opened_by(OPENER, held.entry["current"]["passphrase"]) == {held.entry["current"]["passphrase"]}
