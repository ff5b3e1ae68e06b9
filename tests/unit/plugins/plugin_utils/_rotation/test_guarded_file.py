# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError, StorageFault
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation import guarded_file
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.guarded_file import (
    CannotBeStored,
    FileBusy,
    GuardedFile,
)
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import StoreError, says_unchanged


def test_first_write_makes_a_private_file_in_a_private_folder(tmp_path: pathlib.Path) -> None:
    file = GuardedFile(str(tmp_path / "secrets" / "web.yml"), 1, create=True)
    assert file.content() is None
    with file.locked():
        file.replace(b"one")
    assert file.content() == b"one"
    assert [os.stat(path).st_mode & 0o777 for path in (tmp_path / "secrets", tmp_path / "secrets" / "web.yml")] == [
        0o700,
        0o600,
    ]


def test_mode_and_link_stay(tmp_path: pathlib.Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"one")
    target.chmod(0o640)
    link.symlink_to(target)
    file = GuardedFile(str(link), 1)
    with file.locked():
        file.content()
        file.replace(b"two")
    assert link.is_symlink() and target.read_bytes() == b"two" and target.stat().st_mode & 0o777 == 0o640


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: pathlib.Path) -> None:
    file = GuardedFile(str(tmp_path / "web.yml"), 1)
    (tmp_path / ".web.yml.new-abc").write_bytes(b"half")
    (tmp_path / ".other.yml.new-abc").write_bytes(b"somebody else's")
    with file.locked():
        file.replace(b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.yml.new-abc", "web.yml", "web.yml.lock"]


def test_a_failed_write_leaves_the_old_content(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = GuardedFile(str(tmp_path / "web.yml"), 1)
    with file.locked():
        file.replace(b"old")
        assert file.content() == b"old"

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with file.locked(), pytest.raises(StorageFault, match="No space"):
            file.replace(b"new")
        with pytest.raises(StoreError, match="No space") as refused, file.changing():
            file.replace(b"new")
        assert says_unchanged(refused.value), "so that the volume is not called half done"
    assert file.content() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web.yml", "web.yml.lock"]


def test_two_runs_wait_for_each_other(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "web.yml")
    holder = (
        "import fcntl, os, sys; d = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); fcntl.flock(d, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, f"{path}.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(FileBusy, match=r"web\.yml\.lock"), GuardedFile(path, 0).locked():
            pass
        got_it = threading.Event()

        def wait() -> None:
            with GuardedFile(path, 60).locked():
                got_it.set()

        waiter = threading.Thread(target=wait)
        waiter.start()
        assert not got_it.is_set()
        other.stdin.close()
        waiter.join(60)
        assert got_it.is_set()


def write(path: pathlib.Path, content: bytes, **options: t.Any) -> None:
    file = GuardedFile(str(path), 1, **options)
    with file.locked():
        file.content()
        file.replace(content)


def test_what_it_held_before_is_kept(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "web.yml"
    for number in range(5):
        write(path, b"%d" % number, previous=2)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir() if one.suffix != ".lock"} == {
        "web.yml": b"4",
        "web.yml.previous-1": b"3",
        "web.yml.previous-2": b"2",
    }


def test_an_editor_that_saves_over_the_newest_file(tmp_path: pathlib.Path) -> None:
    """Opened before the rotation, saved after it: what the rotation staged is in a copy, and stays there through the
    next write.
    """
    path = tmp_path / "web.yml"
    for content in (b"old", b"old, new staged", b"new"):
        write(path, content)
    path.write_bytes(b"old, edited")
    write(path, b"whatever comes next")
    kept = [(tmp_path / f"web.yml.previous-{number}").read_bytes() for number in (1, 2, 3)]
    assert kept == [b"old, edited", b"old, new staged", b"old"]


def test_failed_writes_push_no_copy_out(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "web.yml"
    for content in (b"one", b"two"):
        write(path, content, previous=1)
    with monkeypatch.context() as patch:

        def full(*_arguments: t.Any) -> t.NoReturn:
            raise OSError(28, "No space left on device")

        patch.setattr(os, "pwrite", full)
        for _number in range(3):
            with pytest.raises(StorageFault):
                write(path, b"three", previous=1)
    assert path.read_bytes() == b"two" and (tmp_path / "web.yml.previous-1").read_bytes() == b"one"


def test_a_run_that_was_killed_between_the_copy_and_its_name(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "web.yml"
    write(path, b"two", previous=2)
    (tmp_path / "web.yml.previous-0").write_bytes(b"one")
    write(path, b"three", previous=2)
    assert [(tmp_path / f"web.yml.previous-{number}").read_bytes() for number in (1, 2)] == [b"two", b"one"]
    assert not (tmp_path / "web.yml.previous-0").exists()


def test_a_file_that_changed_since_it_was_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "web.yml"
    path.write_bytes(b"one")
    file = GuardedFile(str(path), 1)
    with file.locked():
        file.content()
        path.write_bytes(b"an editor's")
        with pytest.raises(StoreError, match="was changed by something else"):
            file.replace(b"two")
    assert path.read_bytes() == b"an editor's"


def test_a_folder_that_does_not_exist_is_not_made_by_itself(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "not mounted" / "below" / "web.yml"
    with pytest.raises(CannotBeStored, match=r"does not exist\. Is it mounted"):
        write(path, b"one")
    with pytest.raises(CannotBeStored):
        write(path, b"one", store=str(tmp_path / "not mounted"))
    assert list(tmp_path.iterdir()) == []
    write(path, b"one", store=str(tmp_path))
    assert path.read_bytes() == b"one"


def test_a_folder_of_a_group_is_a_store_of_the_group(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o2770)
    write(folder / "web.yml", b"one", store=str(folder))
    write(folder / "web" / "1.json", b"one", store=str(folder))
    modes = {str(one.relative_to(folder)): one.stat().st_mode & 0o7777 for one in folder.rglob("*")}
    assert modes == {
        "web.yml": 0o660,
        "web.yml.lock": 0o660,
        "web": 0o2770,
        "web/1.json": 0o660,
        "web/1.json.lock": 0o660,
    }


@pytest.mark.needs("root")
def test_what_root_makes_there_is_the_operators(tmp_path: pathlib.Path) -> None:
    """sudo ansible-playbook: the store stays one that the operator can use without it."""
    folder = tmp_path / "store"
    folder.mkdir()
    os.chown(folder, 12345, 54321)
    for content in (b"one", b"two"):
        write(folder / "web" / "1.json", content, store=str(folder))
    assert {(one.stat().st_uid, one.stat().st_gid) for one in folder.rglob("*")} == {(12345, 54321)}
    assert len([*folder.rglob("*")]) == 4


SECOND = """
import os, runpy, sys
runpy.run_path(sys.argv[1])
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.guarded_file import GuardedFile
os.setgroups([54321]); os.setgid(22222); os.setuid(22222)
file = GuardedFile(sys.argv[2], 5)
with file.locked():
    assert file.content() == b"one"
    file.replace(b"two")
"""


@pytest.mark.needs("root")
def test_a_second_operator_of_the_group(tmp_path: pathlib.Path) -> None:
    """The first one can still use the file afterwards: it is of the group, and not of the second one's own group."""
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o711)
        store = folder / "store"
        store.mkdir()
        store.chmod(0o2770)
        os.chown(store, 12345, 54321)
        write(store / "web.yml", b"one")
        register = pathlib.Path(__file__).resolve().parents[4] / "tools" / "register.py"
        done = subprocess.run(
            [sys.executable, "-c", SECOND, str(register), str(store / "web.yml")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        status = (store / "web.yml").stat()
        assert (store / "web.yml").read_bytes() == b"two" and status.st_gid == 54321 and status.st_mode & 0o777 == 0o660
    finally:
        shutil.rmtree(folder)


def test_a_file_system_without_second_names(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "web.yml"
    write(path, b"old")

    def link(*_names: str) -> t.NoReturn:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    write(path, b"new")
    assert (tmp_path / "web.yml.previous-1").read_bytes() == b"old"


def test_what_somebody_makes_in_a_folder_of_a_group_is_the_groups(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: t.List[t.Tuple[str, int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "chown", lambda path, user, group, *, follow_symlinks: given.append((path, user, group)))
    guarded_file._give("mine", str(tmp_path))
    tmp_path.chmod(0o2770)
    guarded_file._give("ours", str(tmp_path))
    assert given == [("ours", -1, tmp_path.stat().st_gid)]


def test_what_cannot_be_replaced_is_said_before_anything_depends_on_it(tmp_path: pathlib.Path) -> None:
    file = GuardedFile(str(tmp_path / "web.yml"), 1)
    file.check()
    (tmp_path / "web.yml").mkdir()
    with pytest.raises(LuksmithError, match=r"web\.yml"):
        file.check()
