# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``qmp`` and a QEMU that lies: no answer is a proof, and a text of it is no way out for a secret.

This process plays it. It holds the image as a QEMU does, and describes a node that fits unless a test says otherwise.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import pathlib
import struct
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import (
    Busy,
    HeaderChanged,
    Interrupted,
    LuksmithError,
    Refused,
    StorageFault,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import live
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import amend
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import lock_holders, ofd
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import Region, open_volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_monitor import (
    Call,
    listening,
    refused,
    returned,
)

OLD, NEW = "winter-2025", "ebony unlocks"
FIXTURES = pathlib.Path(__file__).resolve().parents[5] / "fixtures"
ACTIVE, INACTIVE = 0x00AC71F3, 0x0000DEAD


class Qemu:
    """Describes the image, and has ``amend`` done at each job. ``objects``: that it was given and still has."""

    def __init__(self, path: pathlib.Path, amend: t.Callable[[pathlib.Path, t.Dict[str, t.Any]], str]) -> None:
        self.path = path
        self.amend = amend
        self.objects: t.Dict[str, str] = {}
        self.removed: t.List[str] = []
        self.jobs: t.List[t.Dict[str, t.Any]] = []
        self.node: t.Dict[str, t.Any] = {"node-name": "n", "drv": "luks", "ro": False, "file": "json:{}"}
        self.file: t.Dict[str, t.Any] = {"node-name": "f", "drv": "file", "ro": False, "file": str(path)}
        self.edge: t.Dict[str, t.Any] = {"parent": 1, "child": 2, "name": "file", "perm": ["write"]}

    def __call__(self, call: Call) -> bytes:
        command, arguments = call["execute"], call.get("arguments", {})
        if command == "query-named-block-nodes":
            return returned(call, [{**self.described(), **self.node}, self.file])
        if command == "x-debug-query-block-graph":
            ids = [{"id": 1, "name": "n", "type": "block-driver"}, {"id": 2, "name": "f", "type": "block-driver"}]
            return returned(call, {"nodes": ids, "edges": [self.edge]})
        if command == "qom-list":
            return returned(call, [{"name": name, "type": "child<secret>"} for name in ("type", *self.objects)])
        if command == "object-add":
            self.objects[arguments["id"]] = arguments["data"]
        elif command == "object-del":
            self.removed.append(arguments["id"])
            del self.objects[arguments["id"]]
        elif command == "x-blockdev-amend":
            error = self.amend(self.path, arguments["options"])
            self.jobs.append({"id": arguments["job-id"], "status": "concluded", **({"error": error} if error else {})})
        elif command == "job-dismiss":
            self.jobs.clear()
        elif command == "query-jobs":
            return returned(call, self.jobs)
        else:
            return refused(call, f"The command {command} has not been found")
        return returned(call, {})

    def described(self) -> t.Dict[str, t.Any]:
        with open_volume(str(self.path), writable=False) as volume:
            header = read_header(volume)
        slots = [
            {
                "active": number in header.keyslots,
                "iters": getattr(header.keyslots[number].kdf, "iterations", 0) if number in header.keyslots else 0,
                "key-offset": extent.offset,
            }
            for number, extent in sorted((header.layout.fixed or {}).items())
        ]
        return {"image": {"format-specific": {"data": {"uuid": header.uuid, "slots": slots}}}}


@pytest.fixture
def image(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[pathlib.Path]:
    """Held as a luks node holds it, by what looks like a QEMU."""
    monkeypatch.setattr(lock_holders, "_program", lambda pid: "qemu-system-x86_64" if pid == os.getpid() else "other")
    path = tmp_path / "volume"
    path.write_bytes(gzip.decompress((FIXTURES / "luks1.img.gz").read_bytes()))
    fd = os.open(path, os.O_RDWR)
    assert ofd.lock(fd, 100)
    yield path
    os.close(fd)


def state_word(path: pathlib.Path, keyslot: int, state: int, iterations: int = 600_000) -> None:
    with path.open("r+b") as file:
        file.seek(208 + 48 * keyslot)
        file.write(struct.pack(">II", state, iterations))


def nothing(path: pathlib.Path, options: t.Dict[str, t.Any]) -> str:
    return ""


def free_only(path: pathlib.Path, options: t.Dict[str, t.Any]) -> str:
    """The key material stays, as after a lost write."""
    state_word(path, options["keyslot"], INACTIVE, 0)
    return ""


def garbage(path: pathlib.Path, options: t.Dict[str, t.Any]) -> str:
    """An active keyslot that nothing opens."""
    state_word(path, options["keyslot"], ACTIVE)
    return ""


def another_as_well(path: pathlib.Path, options: t.Dict[str, t.Any]) -> str:
    state_word(path, 1, INACTIVE, 0)
    return garbage(path, options)


def error_and_change(path: pathlib.Path, options: t.Dict[str, t.Any]) -> str:
    garbage(path, options)
    return "No space left on device"


def change(
    image: pathlib.Path, qemu: Qemu, entry: t.Dict[str, t.Any], *, check: bool = False, **options: t.Any
) -> t.Dict[str, t.Any]:
    socket = image.with_name("q")
    unlock = [{"passphrase": OLD}, {"passphrase": "in-case-of-fire"}]
    task = parse_task({"device": str(image), "unlock": unlock, "keyslots": [entry], "qmp": str(socket), **options})
    with listening(socket, qemu):
        try:
            return amend(task, check=check)
        finally:
            task.wipe_secrets()
            socket.unlink()


ADD = {"new_secret": {"label": "new", "passphrase": NEW}, "iter_time": 100}
ERASE = {"state": "absent", "keyslot": 0}


@pytest.mark.parametrize(
    ("entry", "lie", "words"),
    [
        (ADD, nothing, "QEMU reports success, and new does not open keyslot 2 on the medium"),
        (ADD, garbage, "QEMU reports success, and new does not open keyslot 2 on the medium"),
        (ADD, another_as_well, r"more than keyslot 2 has changed \(keyslots 1\)"),
        (ADD, error_and_change, "QEMU reports an error, and the header has changed"),
        (ERASE, nothing, "keyslot 0 is erased, and it is still active"),
        (ERASE, free_only, "keyslot 0 is erased, and its key material is still there"),
    ],
)
def test_success_is_what_the_medium_shows(
    image: pathlib.Path, entry: t.Dict[str, t.Any], lie: t.Any, words: str
) -> None:
    qemu = Qemu(image, lie)
    with pytest.raises(Interrupted, match=f"(?i){words}") as caught:
        change(image, qemu, entry)
    assert [action.kind for action in caught.value.actions_left] == ["add" if entry is ADD else "erase"]
    assert qemu.objects == {} and qemu.jobs == []
    assert len(qemu.removed) == (2 if entry is ADD else 0)


@pytest.mark.parametrize("entry", [ADD, {**ADD, "old_secret": {"passphrase": OLD}}], ids=["add", "rekey"])
def test_an_error_without_a_change_changed_nothing(image: pathlib.Path, entry: t.Dict[str, t.Any]) -> None:
    before = image.read_bytes()
    qemu = Qemu(image, lambda path, options: "Failed to write: Input/output error")
    with pytest.raises(Refused, match=r"QEMU did not change the keyslot: Failed to write.*Nothing was changed"):
        change(image, qemu, entry)
    assert image.read_bytes() == before and qemu.objects == {} and qemu.removed


def test_somebody_who_looks_at_the_image_is_a_matter_of_waiting(image: pathlib.Path) -> None:
    qemu = Qemu(image, lambda path, options: 'Failed to get shared "consistent read" lock')
    with pytest.raises(Busy, match=r'shared "consistent read" lock.*Nothing was changed'):
        change(image, qemu, ADD)


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_a_text_that_repeats_a_secret_is_not_shown(image: pathlib.Path, secret: str) -> None:
    qemu = Qemu(image, lambda path, options: f"no: {secret}")
    with pytest.raises(Refused, match="repeats a secret and is not shown") as caught:
        change(image, qemu, ADD)
    assert secret not in str(caught.value)


def test_a_flake_of_the_measurement_is_tried_again(image: pathlib.Path) -> None:
    """QEMU 7.2 on a fast processor; nothing was written then."""
    errors = ["Unable to get accurate CPU usage", "Unable to get accurate CPU usage", "all in use"]
    with pytest.raises(Refused, match="all in use"):
        change(image, Qemu(image, lambda path, options: errors.pop(0)), ADD)
    assert errors == []


NONSENSE: t.Mapping[str, t.Tuple[t.Callable[[Qemu], t.Any], t.Type[LuksmithError], str]] = {
    "another file": (lambda qemu: qemu.file.update(file=str(FIXTURES / "README.md")), Refused, "no node with LUKS"),
    "no file": (lambda qemu: qemu.file.update(file=7), Refused, "no node with LUKS"),
    "a name that is no JSON": (lambda qemu: qemu.file.update(file="json:{"), Refused, "no node with LUKS"),
    "a set of descriptors": (lambda qemu: qemu.file.update(file="/dev/fdset/1"), Refused, "query-fdsets"),
    "an unknown driver": (lambda qemu: qemu.node.update(drv=["luks"]), Refused, "no node with LUKS"),
    "qcow2": (lambda qemu: qemu.node.update(drv="qcow2"), Refused, "open as qcow2, the task as raw"),
    "a detached header": (lambda qemu: qemu.edge.update(name="header"), Refused, "with a detached header, the task"),
    "read-only": (lambda qemu: qemu.node.update(ro=True), Refused, "is read-only"),
    "inactive": (lambda qemu: qemu.node.update(active=False), Refused, "is inactive"),
    "silence on keyslots": (lambda qemu: qemu.node.update(image={}), Refused, "does not say which keyslots"),
    "other keyslots": (
        lambda qemu: qemu.node.update(image={"format-specific": {"data": {"uuid": "x", "slots": []}}}),
        Refused,
        "is not the one in the image",
    ),
    "no graph": (lambda qemu: qemu.edge.update(perm=None), StorageFault, "how its nodes are connected"),
    "an edge to a list": (lambda qemu: qemu.edge.update(child=[]), StorageFault, "how its nodes are connected"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_node_that_makes_no_sense_is_refused(image: pathlib.Path, name: str) -> None:
    prepare, kind, words = NONSENSE[name]
    qemu = Qemu(image, nothing)
    prepare(qemu)
    for check in (True, False):
        with pytest.raises(kind, match=f"{words}.*Nothing was changed"):
            change(image, qemu, ADD, check=check)
    assert qemu.objects == {} and qemu.removed == []


def test_a_file_that_was_handed_over_is_found(image: pathlib.Path) -> None:
    """As libvirt does it: QEMU knows the number of a set of descriptors, and no path."""
    with image.open("rb") as handed:
        qemu = Qemu(image, nothing)
        qemu.file.update(file="/dev/fdset/3")

        def answer(call: Call) -> bytes:
            if call["execute"] == "query-fdsets":
                fds = [{"fdset-id": 2, "fds": [{"fd": 0}]}, {"fdset-id": 3, "fds": [{"fd": handed.fileno()}]}]
                return returned(call, fds)
            return qemu(call)

        assert change(image, t.cast(Qemu, answer), ADD, check=True)["via"] == "qmp"


def test_an_abort_is_not_risked(image: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import monitor

    greet = monitor.Monitor._greet
    for version, safe in {
        (5, 0, 9): False,
        (5, 1, 0): True,
        (8, 1, 9): True,
        (8, 2, 0): False,
        (10, 0, 6): False,
        (10, 0, 7): True,
        (10, 1, 9): False,
        (10, 2, 0): True,
    }.items():

        def greeted(self: monitor.Monitor, version: t.Tuple[int, int, int] = version) -> None:
            greet(self)
            self.version = version

        monkeypatch.setattr(monitor.Monitor, "_greet", greeted)
        if safe:
            assert change(image, Qemu(image, nothing), ADD, check=True)["via"] == "qmp"
        else:
            with pytest.raises(Refused, match=f"QEMU {'.'.join(map(str, version))} .* cannot change keyslots"):
                change(image, Qemu(image, nothing), ADD, check=True)


def test_a_holder_that_is_not_visible(image: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another user: whether it is the one behind the monitor cannot be told. What changes nothing needs not know."""
    monkeypatch.setattr(lock_holders, "holders_of", lambda inode, own=(): [])
    monkeypatch.setattr(lock_holders, "writers_of", lambda file: [])
    assert not change(image, Qemu(image, nothing), {"new_secret": {"passphrase": OLD}})["changed"]
    with pytest.raises(Busy, match=r"a process that is not visible from here.*Nothing was changed"):
        change(image, Qemu(image, nothing), ADD)


def test_somebody_who_comes_after_the_plan_keeps_the_change_away(
    image: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan was made when this QEMU was the only one that had the image open."""
    planned = live.check_monitor

    def then_comes_another(*arguments: t.Any) -> None:
        planned(*arguments)
        another = lock_holders.Holder(1, "qemu-system-x86_64", ())
        monkeypatch.setattr(lock_holders, "writers_of", lambda file: [another])

    monkeypatch.setattr(live, "check_monitor", then_comes_another)
    qemu = Qemu(image, nothing)
    with pytest.raises(Busy, match=r"in use by pid 1 \(qemu-system-x86_64\).*Nothing was changed"):
        change(image, qemu, ADD, lock_timeout=0)
    assert qemu.jobs == []


@pytest.mark.parametrize("check", [True, False])
def test_what_qemu_cannot_do_is_not_begun(image: pathlib.Path, check: bool) -> None:
    qemu = Qemu(image, nothing)
    asked: t.List[str] = []

    def answer(call: Call) -> bytes:
        asked.append(call["execute"])
        return qemu(call)

    entry = {"new_secret": {"passphrase": NEW}, "pbkdf": {"iterations": 1000}}
    with pytest.raises(Refused, match=r"(?i)pbkdf.iterations of keyslots\[0\] cannot be made while QEMU has the image"):
        change(image, t.cast(Qemu, answer), entry, check=check)
    assert "object-add" not in asked and "query-named-block-nodes" not in asked


@pytest.mark.parametrize("possible", [True, False])
def test_what_changed_since_the_plan_is_planned_again(
    image: pathlib.Path, possible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keyslot 1 is free by then, and gets the secret; or the new plan is one that QEMU cannot carry out."""
    looked: t.List[t.Any] = []
    check_plan, check_monitor = live.check_plan, live.check_monitor

    def then_somebody_erases(*given: t.Any) -> None:
        check_monitor(*given)
        state_word(image, 1, INACTIVE, 0)

    def look(plan: t.Any, *given: t.Any) -> None:
        looked.append([action.keyslot for action in plan.actions])
        check_plan(plan, *given)
        if len(looked) > 1 and not possible:
            raise Refused("QEMU cannot do that")

    monkeypatch.setattr(live, "check_monitor", then_somebody_erases)
    monkeypatch.setattr(live, "check_plan", look)
    asked: t.List[int] = []
    qemu = Qemu(image, lambda path, options: asked.append(options["keyslot"]) or nothing(path, options))
    words = "new does not open keyslot 1 on the medium" if possible else "QEMU cannot do that"
    with pytest.raises(Interrupted if possible else Refused, match=f"(?i){words}"):
        change(image, qemu, ADD)
    assert looked == [[2], [1]] and asked == ([1] if possible else [])


def test_check_mode_asks_and_gives_nothing(image: pathlib.Path) -> None:
    qemu = Qemu(image, nothing)
    qemu.objects["somebody-elses"] = ""
    planned = change(image, qemu, ADD, check=True)
    assert planned["via"] == "qmp" and planned["keyslots"][2]["kdf"]["iterations"] == "set at apply"
    assert list(qemu.objects) == ["somebody-elses"] and qemu.removed == []


@pytest.mark.parametrize(
    ("entry", "plan"),
    [
        # keyslot 1 has a secret that the task knows and does not want: what QEMU says of it is not believed
        (ADD, [("add", 2)]),
        # as if keyslot 0 were to get it
        ({"new_secret": {"passphrase": "in-case-of-fire"}, "old_secret": {"passphrase": OLD}}, [("rekey", 0)]),
    ],
)
def test_a_note_in_qemu_erases_no_key_but_the_wanted_one(
    image: pathlib.Path, entry: t.Dict[str, t.Any], plan: t.List[t.Tuple[str, int]]
) -> None:
    qemu = Qemu(image, nothing)
    status = image.stat()
    qemu.objects[f"luksmith-{status.st_dev:x}-{status.st_ino:x}-move-0-1"] = ""
    planned = change(image, qemu, entry, check=True)
    assert [(row["action"], row["keyslot"]) for row in planned["plan"]] == plan


@pytest.mark.parametrize("name", ["move-0-0", "move-0-9", "move-0", "move-1-0-1", "move-x"])
def test_a_note_that_is_none(image: pathlib.Path, name: str) -> None:
    qemu = Qemu(image, nothing)
    status = image.stat()
    qemu.objects[f"luksmith-{status.st_dev:x}-{status.st_ino:x}-{name}"] = ""
    assert [row["action"] for row in change(image, qemu, ADD, check=True)["plan"]] == ["add"]


def test_the_objects_of_others_stay(image: pathlib.Path) -> None:
    """Of a killed run of ours for this image they go; those of other images may be in use."""
    status = image.stat()
    own, other = (f"luksmith-{status.st_dev:x}-{number:x}-secret-1" for number in (status.st_ino, status.st_ino + 1))
    qemu = Qemu(image, lambda path, options: "no")
    qemu.objects.update({own: "", other: "", "s": ""})
    with pytest.raises(Refused):
        change(image, qemu, ADD)
    assert set(qemu.objects) == {other, "s"}


def test_a_header_that_changes_while_qemu_works_is_seen(image: pathlib.Path) -> None:
    """Through another monitor: before the second job of a rekey it is not what the first one left."""
    calls = []

    def erased_by_somebody(path: pathlib.Path, options: t.Dict[str, t.Any]) -> str:
        calls.append(options)
        return "no"

    qemu = Qemu(image, erased_by_somebody)
    task = {"old_secret": {"passphrase": OLD}, **ADD}

    def answer(call: Call) -> bytes:
        if call["execute"] == "object-add" and call["arguments"]["id"].endswith("move-0-2"):
            state_word(image, 1, INACTIVE, 0)
        return Qemu.__call__(qemu, call)

    with pytest.raises(HeaderChanged, match=r"no longer the one that was read.*Nothing was changed"):
        change(image, t.cast(Qemu, answer), task)
    assert calls == []


def test_another_file_at_the_path_while_qemu_works_is_seen(image: pathlib.Path) -> None:
    """QEMU has the old one open, and what it would change there would be lost."""
    calls: t.List[t.Any] = []
    qemu = Qemu(image, lambda path, options: calls.append(options) or "no")
    content = image.read_bytes()

    def answer(call: Call) -> bytes:
        if call["execute"] == "object-add" and call["arguments"]["id"].endswith("move-0-2"):
            image.with_name("other").write_bytes(content)
            image.with_name("other").rename(image)
        return Qemu.__call__(qemu, call)

    with pytest.raises(Refused, match=r"no longer leads to the file.*Nothing was changed"):
        change(image, t.cast(Qemu, answer), {"old_secret": {"passphrase": OLD}, **ADD})
    assert calls == []


def test_what_qemu_wrote_is_synced_before_it_is_read(image: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: t.List[str] = []
    for name in ("barrier", "reread"):
        right = getattr(Region, name)
        monkeypatch.setattr(Region, name, lambda *given, right=right, name=name: said.append(name) or right(*given))
    with pytest.raises(Interrupted):
        change(image, Qemu(image, lambda path, options: said.append("job") or nothing(path, options)), ADD)
    assert said[said.index("job") : said.index("job") + 3] == ["job", "barrier", "reread"]


@pytest.mark.parametrize(
    ("check", "ours", "expected"),
    [
        (False, True, ["locked", "looked", "cleared", "forgot"]),
        (False, False, ["locked", "looked"]),
        (True, True, ["looked"]),
    ],
)
def test_what_a_killed_run_left_is_cleared_up_under_the_locks_and_only_where_it_is_ours(
    image: pathlib.Path, check: bool, ours: bool, expected: t.List[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: t.List[str] = []

    @contextlib.contextmanager
    def locked(_volume: t.Any, *, timeout: float) -> t.Iterator[None]:
        said.append("locked")
        yield

    def holder(*_given: t.Any, timeout: float) -> None:
        said.append("looked")
        if not ours:
            raise Busy("another process has it open, too")

    monkeypatch.setattr(live.locks, "beside_qemu", locked)
    monkeypatch.setattr(live, "check_holder", holder)
    monkeypatch.setattr(live, "_clean", lambda *_given: said.append("cleared") or 0)
    monkeypatch.setattr(live, "forget_move", lambda *_given: said.append("forgot"))
    socket = image.with_name("q")
    with listening(socket, Qemu(image, nothing)), open_volume(str(image), writable=False) as volume:
        assert live.settle(volume, str(socket), check=check, timeout=0).move is None
    assert said == expected


def test_only_our_job_for_this_image_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: t.List[str] = []
    jobs = [{"id": "luksmith-1-2-amend"}, {"id": "luksmith-1-3-amend"}, {"id": "backup"}]
    monitor: t.Any = types.SimpleNamespace(jobs=lambda: jobs, end_of_job=ended.append)
    monkeypatch.setattr(live, "remove_objects", lambda *_given: 0)
    live._clean(monitor, "luksmith-1-2-")
    assert ended == ["luksmith-1-2-amend"]


def test_who_holds_the_image_is_asked_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    said: t.List[str] = []

    @contextlib.contextmanager
    def monitor(_path: str) -> t.Iterator[None]:
        yield

    @contextlib.contextmanager
    def locked(*given: t.Any, **_how: t.Any) -> t.Iterator[t.Any]:
        given[3](None)
        yield types.SimpleNamespace(volume=None, found=None)

    monkeypatch.setattr(live, "Monitor", monitor)
    monkeypatch.setattr(live, "locked_write", locked)
    monkeypatch.setattr(live, "prefix_of", lambda _volume: "")
    for name in ("check_holder", "_clean", "node_of"):
        monkeypatch.setattr(live, name, lambda *_given, name=name, **_how: said.append(name))
    nothing_of: t.Any = None
    live.check_monitor(nothing_of, nothing_of, "/q")
    assert said == ["check_holder", "node_of"]
    del said[:]
    read: t.Any = lambda _volume: said.append("read")
    with live.changing("/v", None, nothing_of, read, monitor_path="/q", timeout=0):
        assert said == ["check_holder", "_clean", "read", "node_of"]
