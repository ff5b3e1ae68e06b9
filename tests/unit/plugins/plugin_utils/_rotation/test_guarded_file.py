# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import threading

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.guarded_file import FileBusy, GuardedFile


def test_first_write_makes_a_private_file_in_a_private_folder(tmp_path: pathlib.Path) -> None:
    file = GuardedFile(str(tmp_path / "secrets" / "web.yml"), 1)
    assert file.content() is None
    with file.locked():
        file.replace(b"one")
    assert file.content() == b"one"
    assert [os.stat(path).st_mode & 0o777 for path in (tmp_path / "secrets", tmp_path / "secrets" / "web.yml")] == [0o700, 0o600]


def test_mode_and_link_stay(tmp_path: pathlib.Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"one")
    target.chmod(0o640)
    link.symlink_to(target)
    file = GuardedFile(str(link), 1)
    with file.locked():
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

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with file.locked(), pytest.raises(StorageFault, match="No space"):
            file.replace(b"new")
    assert file.content() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web.yml", "web.yml.lock"]


def test_two_runs_wait_for_each_other(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "web.yml")
    holder = (
        "import fcntl, os, sys; d = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); fcntl.flock(d, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", holder, f"{path}.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
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
