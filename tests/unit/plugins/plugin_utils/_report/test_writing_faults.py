# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report that cannot be written or read ends in a sentence that says what was written before, and nothing waits for a
pipe.
"""

from __future__ import annotations

import errno
import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import writing

BOTH = pytest.mark.parametrize("check", [True, False])


def write(check: bool = False, mode: int = 0o600, **options: t.Any) -> t.Dict[str, t.Any]:
    usual = {"hosts": [], "sources": [], "kind": "audit", "title": "", "generated": "now"}
    return writing.write({**usual, **dict.fromkeys(writing.FORMS), **options}, mode=lambda _old: mode, check=check)


@BOTH
def test_a_pipe_in_the_place_of_a_report(tmp_path: pathlib.Path, check: bool) -> None:
    os.mkfifo(tmp_path / "report")
    with pytest.raises(
        BadTask, match=r"report cannot be written: it is not a regular file but a named pipe.*Nothing was changed\."
    ):
        write(check, json=str(tmp_path / "report"), csv=str(tmp_path / "other"))
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@BOTH
def test_a_device_behind_a_link(tmp_path: pathlib.Path, check: bool) -> None:
    """/dev/stdout is one: it must not become a file."""
    (tmp_path / "report").symlink_to("/dev/null")
    with pytest.raises(BadTask, match="not a regular file but a character device"):
        write(check, json=str(tmp_path / "report"))
    assert (tmp_path / "report").is_symlink()


def test_a_pipe_in_the_place_of_a_source(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "source")
    with pytest.raises(BadTask, match="source cannot be read: it is not a regular file but a named pipe"):
        write(json=str(tmp_path / "report"), sources=[str(tmp_path / "source")])


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[" * 100_000], ids=["no UTF-8", "no JSON", "too deep"])
def test_a_source_that_is_no_report(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "source").write_bytes(content)
    with pytest.raises(BadTask, match="source cannot be read: it is not JSON"):
        write(json=str(tmp_path / "report"), sources=[str(tmp_path / "source")])


def full_after(files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for that many files."""
    right, seen = os.pwrite, set()

    def pwrite(descriptor: int, data: t.Any, offset: int) -> int:
        seen.add(os.fstat(descriptor).st_ino)
        if len(seen) > files:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return right(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)


def test_no_space(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "report"
    report.write_text("old")
    full_after(0, monkeypatch)
    with pytest.raises(
        BadTask,
        match=r"report cannot be written: cannot write it: No space left.*Free some space.*before is untouched\.",
    ) as caught:
        write(json=str(report))
    assert caught.value.after_change is False
    assert report.read_text() == "old" and list(tmp_path.iterdir()) == [report]


def test_no_space_for_the_second_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_after(1, monkeypatch)
    with pytest.raises(
        BadTask, match=rf"csv cannot be written: .*No space left.*Written before that: {tmp_path}/json\.$"
    ) as caught:
        write(json=str(tmp_path / "json"), csv=str(tmp_path / "csv"))
    assert caught.value.after_change is True
    assert [path.name for path in tmp_path.iterdir()] == ["json"]


def test_no_space_for_a_new_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(*_arguments: t.Any) -> t.NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(
        BadTask, match=r"cannot be written: cannot make the folder .*No space left.*Nothing was changed\."
    ):
        write(json=str(tmp_path / "new" / "report"))


@pytest.mark.needs("root")
def test_a_file_system_that_is_really_full(tmp_path: pathlib.Path) -> None:
    import subprocess

    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], check=True)
    try:
        with pytest.raises(
            BadTask,
            match=r"html cannot be written: cannot write it: No space left on device \(ENOSPC\).*Nothing was changed\.",
        ):
            write(html=str(folder / "html"))
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_fault_after_the_rename(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, "Input/output error")
        right(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(BadTask, match="The new file is in place") as caught:
        write(json=str(tmp_path / "report"))
    assert caught.value.after_change is True and (tmp_path / "report").exists()


def test_the_owner_and_the_mode(tmp_path: pathlib.Path) -> None:
    """A report that others were allowed to read stays so only if the task says it."""
    report = tmp_path / "new" / "report"
    assert write(json=str(report))["changed"] is True
    assert [path.stat().st_mode & 0o777 for path in (report.parent, report)] == [0o700, 0o600]
    assert write(json=str(report), title="other", mode=0o644)["changed"] is True
    assert report.stat().st_mode & 0o777 == 0o644
    assert write(json=str(report), title="other", mode=0o644)["changed"] is False


def test_the_mode_alone(tmp_path: pathlib.Path) -> None:
    """It is a change of its own, which check mode foresees."""
    report = tmp_path / "report"
    write(json=str(report))
    content = report.read_bytes()
    assert write(True, json=str(report), mode=0o640)["changed"] is True
    assert report.stat().st_mode & 0o777 == 0o600
    assert write(json=str(report), mode=0o640)["changed"] is True
    assert report.stat().st_mode & 0o777 == 0o640 and report.read_bytes() == content
    assert write(True, json=str(report), mode=0o640)["changed"] is False


def test_no_moment_with_another_mode(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only its owner may read from now on is not open to all between the content and the mode."""
    report = tmp_path / "report"
    report.write_text("old")
    report.chmod(0o644)
    seen = []
    right = os.rename

    def rename(source: str, target: str) -> None:
        right(source, target)
        seen.append(report.stat().st_mode & 0o777)

    monkeypatch.setattr(os, "rename", rename)
    write(json=str(report))
    assert seen == [0o600]


@BOTH
def test_what_a_link_leads_to_keeps_its_mode(tmp_path: pathlib.Path, check: bool) -> None:
    write(csv=str(tmp_path / "report"), mode=0o644)
    (tmp_path / "link").symlink_to("report")
    assert write(check, csv=str(tmp_path / "link"))["changed"] is False
    assert (tmp_path / "report").stat().st_mode & 0o777 == 0o644 and (tmp_path / "link").is_symlink()


@BOTH
def test_a_mode_that_cannot_be_changed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, check: bool) -> None:
    def fchmod(*_arguments: t.Any) -> t.NoReturn:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    write(json=str(tmp_path / "report"))
    monkeypatch.setattr(os, "fchmod", fchmod)
    if check:
        assert write(True, json=str(tmp_path / "report"), mode=0o644)["changed"] is True
        return
    with pytest.raises(
        BadTask, match=r"report cannot be written: cannot change its mode: .*EPERM.*Nothing was changed\."
    ) as caught:
        write(json=str(tmp_path / "report"), mode=0o644)
    assert caught.value.after_change is False
