# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that is replaced whole or not at all: each property that backups, keyfiles, stores and reports rely on."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
import stat
import threading
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import files
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import (
    Busy,
    LuksmithError,
    Refused,
    StorageFault,
)
from ansible_collections.luksmith.luks.tests.descriptors import open_descriptors

CONTENT = b"new content, " * 1000  # some pages, and a part of one
Given = t.Callable[[bytes], t.Union[bytes, t.Iterator[bytes]]]


def in_parts(content: bytes) -> t.Iterator[bytes]:
    """Of one byte, of many, and the rest, none of which ends with a block of the medium."""
    return iter([part for part in (content[:1], content[1:300], content[300:]) if part])


STRANGER = 12345  # a user and a group


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "folder"
    folder.mkdir(0o700)
    return folder / "file"


def beside(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}.luksmith-new")


def mode_of(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def failing(number: int) -> t.Callable[..., t.NoReturn]:
    def fail(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


class TestMode:
    def test_a_new_file_is_private_whatever_the_umask(self, path: pathlib.Path) -> None:
        old = os.umask(0)
        try:
            files.replace(str(path), CONTENT)
        finally:
            os.umask(old)
        assert path.read_bytes() == CONTENT and mode_of(path) == 0o600
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize(
        ("before", "given", "after"),
        [(0o640, None, 0o640), (0o4755, None, 0o755), (0o644, 0o600, 0o600), (0o600, 0o400, 0o400)],
    )
    def test_that_of_the_old_file_or_the_given_one(
        self, path: pathlib.Path, before: int, given: t.Optional[int], after: int
    ) -> None:
        path.write_bytes(b"old")
        path.chmod(before)
        files.replace(str(path), CONTENT, mode=given)
        assert mode_of(path) == after

    def test_nobody_else_may_read_it_before_it_is_done(
        self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: t.List[int] = []
        right = os.pwrite

        def pwrite(descriptor: int, data: t.Any, offset: int) -> int:
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
            return right(descriptor, data, offset)

        monkeypatch.setattr(os, "pwrite", pwrite)
        files.replace(str(path), CONTENT, mode=0o644)
        assert set(seen) == {0o600} and mode_of(path) == 0o644


class TestOwner:
    @pytest.mark.needs("root")
    @pytest.mark.parametrize(
        ("owner", "after"),
        [(files.OURS, (0, 0)), (files.LIKE_THE_OLD, (STRANGER,) * 2), (files.EXACTLY_LIKE_THE_OLD, (STRANGER,) * 2)],
    )
    def test_ours_or_that_of_the_old_file(self, path: pathlib.Path, owner: str, after: t.Tuple[int, int]) -> None:
        path.write_bytes(b"old")
        os.chown(path, STRANGER, STRANGER)
        path.chmod(0o2640)
        files.replace(str(path), CONTENT, owner=owner)
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (*after, 0o640)

    @pytest.mark.parametrize("owner", [files.LIKE_THE_OLD, files.EXACTLY_LIKE_THE_OLD])
    def test_who_may_not_give_files_away(self, path: pathlib.Path, owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
        path.write_bytes(b"old")
        right = os.fstat

        def foreign(descriptor: int) -> os.stat_result:
            found = list(right(descriptor))
            found[5] += 1  # the group of the new file is another one
            return os.stat_result(found)

        monkeypatch.setattr(files.os, "fstat", foreign)
        monkeypatch.setattr(files.os, "fchown", failing(errno.EPERM))
        monkeypatch.setattr(files, "_is_same", lambda *_arguments: True)
        if owner == files.LIKE_THE_OLD:
            files.replace(str(path), CONTENT, owner=owner)
            assert path.read_bytes() == CONTENT
        else:
            with pytest.raises(StorageFault, match="EPERM"):
                files.replace(str(path), CONTENT, owner=owner)
            assert path.read_bytes() == b"old" and not beside(path).exists()

    @pytest.mark.parametrize(
        ("owner", "labels"),
        [(files.OURS, []), (files.LIKE_THE_OLD, [b"label"]), (files.EXACTLY_LIKE_THE_OLD, [b"label"])],
    )
    def test_the_selinux_label(
        self, path: pathlib.Path, owner: str, labels: t.List[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_to: t.List[bytes] = []
        monkeypatch.setattr(os, "getxattr", lambda _path, name: {"security.selinux": b"label"}[name])
        monkeypatch.setattr(os, "setxattr", lambda _descriptor, _name, label: set_to.append(label))
        path.write_bytes(b"old")
        files.replace(str(path), CONTENT, owner=owner)
        assert set_to == labels

    def test_the_group_stays_where_the_user_cannot(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        given: t.List[t.Tuple[int, int]] = []

        def change(_descriptor: int, user: int, group: int) -> None:
            given.append((user, group))
            if user != -1:
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        path.write_bytes(b"new")
        old: t.Any = types.SimpleNamespace(st_uid=STRANGER, st_gid=STRANGER, st_mode=0o640)
        monkeypatch.setattr(os, "fchown", change)
        with path.open("rb") as file:
            files._set_owner_and_mode(file.fileno(), str(path), old, files.LIKE_THE_OLD, None)
        assert given == [(STRANGER, STRANGER), (-1, STRANGER)] and mode_of(path) == 0o640


class TestDurable:
    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> t.List[t.Tuple[str, str]]:
        """Each write, sync and rename with the name of what it is about."""
        made: t.List[t.Tuple[str, str]] = []

        def noted(name: str) -> t.Callable[..., t.Any]:
            right = getattr(os, name)

            def call(subject: t.Any, *arguments: t.Any) -> t.Any:
                about = os.readlink(f"/proc/self/fd/{subject}") if isinstance(subject, int) else subject
                made.append((name, os.path.basename(about)))
                return right(subject, *arguments)

            return call

        for name in ("pwrite", "fsync", "rename", "mkdir"):
            monkeypatch.setattr(os, name, noted(name))
        return made

    def test_the_file_before_it_has_its_name_and_the_name_before_it_returns(
        self, path: pathlib.Path, calls: t.List[t.Tuple[str, str]]
    ) -> None:
        path.write_bytes(b"old")
        files.replace(str(path), CONTENT)
        unfinished = beside(path).name
        assert calls == [("pwrite", unfinished), ("fsync", unfinished), ("rename", unfinished), ("fsync", "folder")]

    def test_every_new_folder(self, path: pathlib.Path, calls: t.List[t.Tuple[str, str]]) -> None:
        files.make_folder(str(path.parent / "a" / "b"))
        assert calls == [("mkdir", "a"), ("fsync", "folder"), ("mkdir", "b"), ("fsync", "a")]

    def test_a_fault_of_the_folder_after_the_rename_is_no_old_file(
        self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The new content is there, and who reads the error must know it: it may be a secret, or an entry of a
        store.
        """
        path.write_bytes(b"old")
        right = os.fsync
        monkeypatch.setattr(
            os, "fsync", lambda fd: failing(errno.EIO)() if stat.S_ISDIR(os.fstat(fd).st_mode) else right(fd)
        )
        with pytest.raises(StorageFault, match="EIO") as caught:
            files.replace(str(path), CONTENT)
        assert path.read_bytes() == CONTENT and list(path.parent.iterdir()) == [path]
        assert caught.value.after_change is True
        assert (
            "The new file is in place" in str(caught.value)
            and "untouched" not in str(caught.value)
            and "Nothing" not in str(caught.value)
        )


class TestFolder:
    def test_new_ones_are_private_and_those_that_are_there_stay(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o755)
        old = os.umask(0)
        try:
            files.make_folder(str(tmp_path / "open" / "a" / "b"))
            files.make_folder(str(tmp_path / "open" / "a" / "b"))
        finally:
            os.umask(old)
        assert [mode_of(tmp_path / name) for name in ("open", "open/a", "open/a/b")] == [0o755, 0o700, 0o700]

    def test_one_that_another_process_makes_at_the_same_time(
        self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        right = os.mkdir

        def too_late(path: str, mode: int) -> None:
            right(path, mode)
            right(path, mode)

        monkeypatch.setattr(os, "mkdir", too_late)
        files.make_folder(str(tmp_path / "a" / "b"))
        assert (tmp_path / "a" / "b").is_dir()

    def test_a_file_that_appears_in_its_place(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def too_late(path: str, _mode: int) -> None:
            pathlib.Path(path).write_text("mine")
            raise FileExistsError(17, "File exists")

        monkeypatch.setattr(os, "mkdir", too_late)
        with pytest.raises(StorageFault, match=r"Cannot make the folder .*/a: File exists"):
            files.make_folder(str(tmp_path / "a" / "b"))

    def test_no_space(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "mkdir", failing(errno.ENOSPC))
        with pytest.raises(StorageFault, match=r"Cannot make the folder .*ENOSPC.*Free some space"):
            files.make_folder(str(tmp_path / "a"))


@pytest.mark.parametrize("given", [bytes, in_parts])
class TestReadBack:
    def test_a_medium_that_keeps_the_old_bytes_is_not_believed(
        self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, given: Given
    ) -> None:
        path.write_bytes(b"old")
        right = os.pwrite
        monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: right(fd, bytes(len(data)), offset))
        with pytest.raises(StorageFault, match=r"The data read back is not the data written.*loses writes.*untouched"):
            files.replace(str(path), given(CONTENT))
        assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]

    def test_the_page_cache_is_not_asked(
        self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, given: Given
    ) -> None:
        """The cache has what was written; the medium has something else."""
        found = bytearray(len(CONTENT))

        @contextlib.contextmanager
        def direct(_descriptor: int, offset: int, length: int) -> t.Iterator[memoryview]:
            yield memoryview(found)[offset : offset + length]

        monkeypatch.setattr(files, "direct_read", direct)
        with pytest.raises(StorageFault, match="read back"):
            files.replace(str(path), given(CONTENT))
        found[:] = CONTENT
        files.replace(str(path), given(CONTENT))

    def test_without_direct_reads_the_pages_are_dropped_before(
        self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, given: Given
    ) -> None:
        calls: t.List[str] = []
        pread = os.pread
        monkeypatch.setattr(files, "direct_read", lambda *_arguments: contextlib.nullcontext(None))
        monkeypatch.setattr(os, "posix_fadvise", lambda *_arguments: calls.append("dropped"))
        monkeypatch.setattr(
            os, "pread", lambda fd, length, offset: (calls.append("read"), pread(fd, min(length, 100), offset))[1]
        )
        files.replace(str(path), given(CONTENT))
        assert calls[0] == "dropped" and "read" in calls and path.read_bytes() == CONTENT
        monkeypatch.setattr(os, "pread", lambda *_arguments: b"")
        with pytest.raises(StorageFault, match="read back"):
            files.replace(str(path), given(b"other"))


class TestCleanUp:
    @pytest.mark.parametrize("call", ["ftruncate", "pwrite", "fchmod", "fsync", "rename"])
    @pytest.mark.parametrize("there", [True, False])
    def test_a_fault_leaves_what_was_there(
        self, path: pathlib.Path, call: str, there: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if there:
            path.write_bytes(b"old")
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing(errno.ENOSPC))
            with pytest.raises(StorageFault, match=r"Cannot write it: .*ENOSPC.*Free some space") as caught:
                files.replace(str(path), CONTENT)
        assert caught.value.after_change is False and caught.value.volume == str(path)
        assert ("that was there before is untouched" if there else "Nothing was changed") in str(caught.value)
        assert [one.name for one in path.parent.iterdir()] == (["file"] if there else [])
        assert not there or path.read_bytes() == b"old"

    @pytest.mark.parametrize("call", ["pwrite", "fsync", "rename"])
    def test_so_does_a_signal(self, path: pathlib.Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def told(*_arguments: t.Any) -> t.NoReturn:
            raise KeyboardInterrupt

        path.write_bytes(b"old")
        with monkeypatch.context() as patch:
            patch.setattr(os, call, told)
            with pytest.raises(KeyboardInterrupt):
                files.replace(str(path), CONTENT)
        assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]

    def test_no_descriptor_stays_open(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = open_descriptors()
        files.replace(str(path), CONTENT)
        monkeypatch.setattr(os, "rename", failing(errno.EIO))
        with pytest.raises(StorageFault):
            files.replace(str(path), CONTENT)
        assert open_descriptors() == before

    @pytest.mark.parametrize("secret", [True, False])
    def test_an_unfinished_secret_is_overwritten(
        self, path: pathlib.Path, secret: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held: t.List[t.BinaryIO] = []

        def rename(source: str, _target: str) -> t.NoReturn:
            held.append(open(source, "rb"))  # noqa: SIM115 - closed below
            raise OSError(errno.EIO, "")

        monkeypatch.setattr(os, "rename", rename)
        with pytest.raises(StorageFault):
            files.replace(str(path), CONTENT, secret=secret)
        with held[0] as gone:
            assert (gone.read() == CONTENT) is not secret


class TestLeftovers:
    @pytest.mark.parametrize("secret", [True, False])
    def test_what_a_killed_run_left_is_taken_over(
        self, path: pathlib.Path, secret: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With whatever mode it had come to; a secret in it is overwritten first."""
        beside(path).write_bytes(b"secret" * 99)
        beside(path).chmod(0o400)
        seen: t.List[bytes] = []
        right = os.ftruncate

        def truncate(descriptor: int, length: int) -> None:
            seen.append(beside(path).read_bytes())
            right(descriptor, length)

        monkeypatch.setattr(os, "ftruncate", truncate)
        files.replace(str(path), CONTENT, secret=secret)
        assert path.read_bytes() == CONTENT and mode_of(path) == 0o600 and list(path.parent.iterdir()) == [path]
        assert (b"secret" in seen[0]) is not secret and len(seen[0]) == 6 * 99

    @pytest.mark.parametrize("given", [bytes, in_parts])
    def test_nothing_of_a_longer_one_stays(self, path: pathlib.Path, given: Given) -> None:
        beside(path).write_bytes(CONTENT * 2)
        files.replace(str(path), given(CONTENT))
        assert path.read_bytes() == CONTENT

    def test_those_of_earlier_releases_go(self, path: pathlib.Path) -> None:
        left, other = path.with_name(".file.new-ab12"), path.with_name(".other.new-ab12")
        left.write_bytes(b"secret")
        other.write_bytes(b"somebody else's")
        with left.open("rb") as content:
            before = open_descriptors()
            files.replace(str(path), CONTENT, secret=True, leftovers=(".file.new-", ".file.luksmith-"))
            assert content.read() != b"secret"
            assert open_descriptors() == before
        assert sorted(path.parent.iterdir()) == sorted([path, other])

    @pytest.mark.parametrize("mode", [0o400, 0o644])
    def test_its_mode_is_private_before_anything_is_in_it(
        self, path: pathlib.Path, mode: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An ordinary user has to make it writable at first."""
        beside(path).touch()
        beside(path).chmod(mode)
        right_open, right_write, seen = os.open, os.pwrite, []

        def opened(name: t.Any, flags: int, *more: t.Any, **options: t.Any) -> int:
            if flags & os.O_RDWR and name == str(beside(path)) and not mode_of(beside(path)) & stat.S_IWUSR:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return right_open(name, flags, *more, **options)

        def written(descriptor: int, *data: t.Any) -> int:
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
            return right_write(descriptor, *data)

        monkeypatch.setattr(os, "open", opened)
        monkeypatch.setattr(os, "pwrite", written)
        before = open_descriptors()
        files.replace(str(path), CONTENT)
        assert set(seen) == {0o600} and path.read_bytes() == CONTENT
        assert open_descriptors() == before


class TestInTheWay:
    def test_a_link_is_not_followed(self, path: pathlib.Path) -> None:
        victim = path.with_name("victim")
        victim.write_bytes(b"keep")
        beside(path).symlink_to(victim)
        with pytest.raises(StorageFault, match="in the way"):
            files.replace(str(path), CONTENT)
        assert victim.read_bytes() == b"keep" and not path.exists()

    def test_a_file_of_somebody_else_is_not_used(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        beside(path).write_bytes(b"theirs")
        monkeypatch.setattr(os, "geteuid", lambda: beside(path).stat().st_uid + 1)
        with pytest.raises(StorageFault, match="in the way"):
            files.replace(str(path), CONTENT)
        assert beside(path).read_bytes() == b"theirs" and not path.exists()

    def test_a_pipe(self, path: pathlib.Path) -> None:
        os.mkfifo(beside(path))
        before = open_descriptors()
        with pytest.raises(StorageFault, match="in the way"):
            files.replace(str(path), CONTENT)
        assert beside(path).is_fifo() and open_descriptors() == before


class TestTwoAtOnce:
    @contextlib.contextmanager
    def at_work(self, path: pathlib.Path) -> t.Iterator[None]:
        with beside(path).open("wb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            yield

    def test_one_that_is_at_work_is_left_alone(self, path: pathlib.Path) -> None:
        with self.at_work(path):
            before = open_descriptors()
            with pytest.raises(Busy, match="Another run is writing"):
                files.replace(str(path), CONTENT)
            assert open_descriptors() == before
        assert not path.exists()

    def test_with_patience_it_is_waited_for(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with contextlib.ExitStack() as other:
            other.enter_context(self.at_work(path))
            monkeypatch.setattr(files.time, "sleep", lambda _seconds: other.close())
            files.replace(str(path), CONTENT, patience=60)
        assert path.read_bytes() == CONTENT

    def test_many_leave_one_whole_file(self, path: pathlib.Path) -> None:
        contents = [bytes([number]) * 10_000 for number in range(8)]
        threads = [
            threading.Thread(target=files.replace, args=(str(path), content), kwargs={"patience": 60})
            for content in contents
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert path.read_bytes() in contents and list(path.parent.iterdir()) == [path]

    def test_a_file_system_without_locks_tells_nobody_apart(
        self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
        files.replace(str(path), CONTENT)
        assert path.read_bytes() == CONTENT

    def test_what_its_owner_renames_meanwhile_is_not_ours(
        self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        right, renamed = fcntl.flock, []

        def flock(descriptor: int, how: int) -> None:
            if not renamed:
                renamed.append(beside(path).rename(path.with_name("finished")))
            right(descriptor, how)

        monkeypatch.setattr(fcntl, "flock", flock)
        files.replace(str(path), CONTENT)
        assert path.read_bytes() == CONTENT and path.with_name("finished").read_bytes() == b""


def place(path: pathlib.Path, kind: str) -> str:
    """What is no regular file, at ``path``."""
    if kind == "directory":
        path.mkdir()
    elif kind == "named pipe":
        os.mkfifo(path)
    elif kind == "socket":
        inside = contextlib.chdir(path.parent) if hasattr(contextlib, "chdir") else contextlib.nullcontext()
        with inside, socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name if hasattr(contextlib, "chdir") else str(path))
    else:
        path.symlink_to("/dev/null")
    return kind


class TestNoRegularFile:
    @pytest.mark.parametrize("kind", ["directory", "named pipe", "socket", "character device"])
    @pytest.mark.parametrize("follow", [True, False])
    def test_it_is_refused_and_nothing_waits_for_it(self, path: pathlib.Path, kind: str, follow: bool) -> None:
        place(path, kind)
        before = path.lstat()
        for refused in (
            lambda: files.replace(str(path), CONTENT, follow=follow),
            lambda: files.check_replaceable(str(path), follow=follow),
        ):
            with pytest.raises(Refused, match=f"It is not a regular file but a {kind}"):
                refused()
        assert path.lstat() == before and list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("kind", ["directory", "named pipe", "character device"])
    def test_it_is_not_read_either(self, path: pathlib.Path, kind: str) -> None:
        before = open_descriptors()
        with pytest.raises(OSError, match=f"it is not a regular file but a {kind}"):
            files.read_regular(str(path) if place(path, kind) else "")
        assert open_descriptors() == before

    def test_a_regular_file_is_read(self, path: pathlib.Path) -> None:
        path.write_bytes(CONTENT)
        assert files.read_regular(str(path)) == CONTENT
        with pytest.raises(FileNotFoundError):
            files.read_regular(f"{path}x")


class TestLink:
    @pytest.mark.parametrize("there", [True, False])
    def test_it_is_followed_and_stays(self, path: pathlib.Path, there: bool) -> None:
        real = path.with_name("real")
        if there:
            real.write_bytes(b"old")
        path.symlink_to(real)
        files.replace(str(path), CONTENT)
        assert path.is_symlink() and real.read_bytes() == CONTENT

    @pytest.mark.parametrize("there", [True, False])
    def test_or_the_file_takes_its_place(self, path: pathlib.Path, there: bool) -> None:
        real = path.with_name("real")
        if there:
            real.write_bytes(b"old")
            real.chmod(0o666)
        path.symlink_to(real)
        files.check_replaceable(str(path), follow=False)
        files.replace(str(path), CONTENT, follow=False, owner=files.LIKE_THE_OLD)
        assert not path.is_symlink() and path.read_bytes() == CONTENT and mode_of(path) == 0o600
        assert real.exists() is there and (not there or real.read_bytes() == b"old")


class TestForeseen:
    """What would stand in the way is told before a byte is written, so that check mode tells it too."""

    def foresees(self, path: pathlib.Path, says: str, **how: t.Any) -> LuksmithError:
        with pytest.raises(StorageFault, match=says) as caught:
            files.check_replaceable(str(path), **how)
        return caught.value

    def test_nothing(self, path: pathlib.Path) -> None:
        files.check_replaceable(str(path))
        path.write_bytes(b"old")
        path.chmod(0o400)
        for owner in (files.OURS, files.LIKE_THE_OLD, files.EXACTLY_LIKE_THE_OLD):
            files.check_replaceable(str(path), owner=owner)
        files.check_replaceable(str(path / ".." / "new" / "newer" / "file"), new_folders=True)

    def test_no_folder(self, path: pathlib.Path) -> None:
        self.foresees(path / ".." / "none" / "file", "does not exist")
        path.write_bytes(b"mine")
        self.foresees(path / "file", "file is not a directory")
        self.foresees(path / "more" / "file", "file is not a directory", new_folders=True)

    def test_the_right_that_counts_is_that_of_the_folder(
        self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path.write_bytes(b"old")
        right = os.access
        monkeypatch.setattr(
            os,
            "access",
            lambda where, mode, **how: os.path.realpath(where) != str(path.parent) and right(where, mode, **how),
        )
        self.foresees(path, r"Cannot write to its directory .*EACCES")
        self.foresees(path.parent / "a" / "b", r"Cannot write to its directory .*EACCES", new_folders=True)

    @pytest.mark.parametrize("folder", ["/proc", "/sys"])
    def test_a_folder_in_which_the_kernel_keeps_no_files(self, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Root may write there, as far as ``access`` says."""
        monkeypatch.setattr(os, "access", lambda *_arguments, **_how: True)
        before = open_descriptors()
        view = "sysfs" if folder == "/sys" else "proc"
        for path, how in ((pathlib.Path(folder, "file"), {}), (pathlib.Path(folder, "a", "b"), {"new_folders": True})):
            said = self.foresees(path, f"to its directory {folder}, which is on the file system {view}", **how)
            assert "Give a directory on a disk" in str(said)
        assert open_descriptors() == before

    def test_a_file_system_that_is_read_only(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda *_arguments, **_how: False)
        monkeypatch.setattr(os, "statvfs", lambda _path: type("Status", (), {"f_flag": os.ST_RDONLY}))
        self.foresees(path, r"Cannot write to its directory .*EROFS.*remount")

    def test_a_file_that_even_root_may_not_touch(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path.write_bytes(b"old")
        right = os.access
        monkeypatch.setattr(
            os, "access", lambda where, mode, **how: os.path.realpath(where) != str(path) and right(where, mode, **how)
        )
        self.foresees(path, r"Cannot replace it: .*EPERM.*immutable")

    def test_a_file_of_somebody_else_in_a_folder_that_keeps_it(
        self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path.write_bytes(b"old")
        path.parent.chmod(0o1777)
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
        self.foresees(path, r"Cannot replace it: .*EPERM")
        path.parent.chmod(0o777)
        files.check_replaceable(str(path))

    def test_an_owner_that_cannot_be_kept(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path.write_bytes(b"old")
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
        files.check_replaceable(str(path), owner=files.LIKE_THE_OLD)
        self.foresees(path, "Cannot give the new file the owner", owner=files.EXACTLY_LIKE_THE_OLD)


@pytest.mark.parametrize("given", [bytes, in_parts])
def test_short_writes_are_continued(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, given: Given) -> None:
    right = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: right(fd, data[:100], offset))
    files.replace(str(path), given(CONTENT))
    assert path.read_bytes() == CONTENT
    monkeypatch.setattr(os, "pwrite", lambda *_arguments: 0)
    with pytest.raises(StorageFault, match="EIO"):
        files.replace(str(path), given(CONTENT))


def test_an_empty_file(path: pathlib.Path) -> None:
    path.write_bytes(b"old")
    files.replace(str(path), b"")
    assert path.read_bytes() == b""
    files.replace(str(path), iter(()))
    assert path.read_bytes() == b""


def test_parts_that_cannot_all_be_made_leave_the_old_file(path: pathlib.Path) -> None:
    def parts() -> t.Iterator[bytes]:
        yield b"new"
        raise RuntimeError("a defect")

    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        files.replace(str(path), parts())
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


class TestRemoval:
    def test_what_is_overwritten_is_synced(self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path.write_bytes(b"old")
        synced: t.List[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)
        with path.open("r+b") as file:
            files.overwrite(file.fileno())
            assert synced == [file.fileno()]
        assert len(path.read_bytes()) == 3 and path.read_bytes() != b"old"

    def test_a_removal_that_is_not_durable_is_a_fault(
        self, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files.sync_folder(str(path))
        monkeypatch.setattr(files, "sync", failing(errno.EIO))
        with pytest.raises(StorageFault, match="annot make its removal durable"):
            files.sync_folder(str(path))
