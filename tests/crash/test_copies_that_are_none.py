# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that was replacing the only known keyslot has died, and what is in ``backup_dir`` is not its copy.

Nothing in that folder may be believed, nothing may be written on its word, and nothing there that is not ours may go.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import files
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.keyslot_writer import KeyslotWriter
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import (
    Interrupted,
    LuksmithError,
    Refused,
    StorageFault,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Intent, IntentKind
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.parsing import parse_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import _Amendment, amend
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.inspect import inspect
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import copy_file, elsewhere
from ansible_collections.luksmith.luks.tests.crash import checker
from ansible_collections.luksmith.luks.tests.crash.operations import A, B, C, D, present, secret, task
from ansible_collections.luksmith.luks.tests.crash.volumes import SECRETS, luks1, luks2

pytestmark = pytest.mark.needs("cryptsetup")
SLOTS = {**dict.fromkeys(range(8), D), 3: A}
WANTED = task(present(B, old=A), unlock=())
Change = t.Callable[[pathlib.Path, bytes], None]


class Host:
    def __init__(self, folder: pathlib.Path, image: bytes) -> None:
        self.volume, self.copies = folder / "volume", folder / "copies"
        self.copies.mkdir(mode=0o700)
        self.volume.write_bytes(image)

    def run(
        self, volume: t.Optional[pathlib.Path] = None, *, check: bool = False, **options: t.Any
    ) -> t.Dict[str, t.Any]:
        where = {"device": str(volume or self.volume), "backup_dir": str(self.copies), "lock_timeout": 0}
        return amend(parse_task({**where, **WANTED, **options}), check=check)

    def die(self, monkeypatch: pytest.MonkeyPatch, volume: t.Optional[pathlib.Path] = None) -> pathlib.Path:
        """Let a run fail when the keyslot is wiped; returns its copy."""
        before = set(self.copies.iterdir())

        def failing(*_arguments: t.Any) -> None:
            raise StorageFault("the medium is gone")

        with monkeypatch.context() as patch:
            patch.setattr(KeyslotWriter, "place", failing)
            with pytest.raises(Interrupted) as caught:
                self.run(volume)
        (copy,) = set(self.copies.iterdir()) - before
        assert str(copy) in str(caught.value), "the message does not say where the copy is"
        return copy

    def opened(self, volume: t.Optional[pathlib.Path] = None) -> t.Set[str]:
        found = checker.openers((volume or self.volume).read_bytes(), SECRETS)
        return {name for names in found.values() for name in names}


@pytest.fixture(params=["luks1", "luks2"])
def host(request: pytest.FixtureRequest, scratch: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(elsewhere, "check_elsewhere", lambda folder, volume: [])
    return Host(scratch, luks1(SLOTS) if request.param == "luks1" else luks2(SLOTS))


def missing(copy: pathlib.Path, start: bytes) -> None:
    copy.unlink()


def torn(copy: pathlib.Path, start: bytes) -> None:
    data = copy.read_bytes()
    copy.write_bytes(data[: len(data) // 8].ljust(len(data), b"\0"))


def empty(copy: pathlib.Path, start: bytes) -> None:
    copy.write_bytes(b"")


def older(copy: pathlib.Path, start: bytes) -> None:
    """As it was before the run: it does not name itself."""
    copy.write_bytes(start)


def of_another_volume(copy: pathlib.Path, start: bytes) -> None:
    """With the same uuid and the same secret, and another volume key."""
    kind = "luks1" if start[7] == 1 else "luks2"
    uuid = start[168:208].rstrip(b"\0").decode()
    cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "-c", "aes-cbc-plain64", "-s", "128"]
    copy.write_bytes(bytes(4 << 20))
    format_it = ["cryptsetup", "luksFormat", "-q", "--type", kind, *cheap, "--uuid", uuid, str(copy), "-"]
    subprocess.run(format_it, input=SECRETS[A], check=True, capture_output=True)


def _named(copy: pathlib.Path, name: str) -> None:
    """The header in ``copy`` notes that its copy has this name."""
    data = bytearray(copy.read_bytes())
    header = parse_header(lambda offset, length: bytes(data[offset : offset + length]), len(data))
    noted = header.with_intent(Intent(IntentKind.COPIED, 0, copy=name))
    for write in noted.commit_writes(header):
        data[write.offset : write.offset + len(write.data)] = write.data
    copy.write_bytes(bytes(data))


def of_another_run(copy: pathlib.Path, start: bytes) -> None:
    """True in all but its name, as if somebody had kept the copy of an earlier run and put it here."""
    _named(copy, "0" * 31 + "1")


def named_by_another_volume(copy: pathlib.Path, start: bytes) -> None:
    """As before, and its header names itself: whoever writes to the folder can make that."""
    of_another_volume(copy, start)
    _named(copy, copy.name.rpartition("-header")[0].rpartition(".")[0][-32:])


def without_material(copy: pathlib.Path, start: bytes) -> None:
    """The header of the true copy, whose keyslots open with nothing."""
    data = copy.read_bytes()
    size = 4096 if start[7] == 1 else 32768
    copy.write_bytes(data[:size] + os.urandom(len(data) - size))


def costly(copy: pathlib.Path, start: bytes) -> None:
    """LUKS1, keyslot 3: so many iterations that no run may try."""
    data = bytearray(copy.read_bytes())
    if start[7] == 1:
        data[208 + 48 * 3 + 4 : 208 + 48 * 3 + 8] = b"\xff\xff\xff\xff"
    else:
        data[4096:4104] = b"damaged!"
        data[16384 + 4096 : 16384 + 4104] = b"damaged!"
    copy.write_bytes(bytes(data))


def a_link(copy: pathlib.Path, start: bytes) -> None:
    target = copy.with_name("elsewhere")
    copy.rename(target)
    copy.symlink_to(target)


def a_pipe(copy: pathlib.Path, start: bytes) -> None:
    copy.unlink()
    os.mkfifo(copy)


def a_folder(copy: pathlib.Path, start: bytes) -> None:
    copy.unlink()
    copy.mkdir()


@pytest.mark.parametrize(
    "change",
    [
        missing,
        torn,
        empty,
        older,
        of_another_run,
        of_another_volume,
        named_by_another_volume,
        without_material,
        costly,
        a_link,
        a_pipe,
        a_folder,
    ],
)
def test_what_is_not_the_copy_is_refused_and_left_alone(
    host: Host, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = host.volume.read_bytes()
    copy = host.die(monkeypatch)
    change(copy, start)
    dead, there = host.volume.read_bytes(), sorted(host.copies.iterdir())
    with pytest.raises(Refused, match="with a copy of the header as the way back, and") as caught:
        host.run()
    assert copy.name in str(caught.value)
    assert host.volume.read_bytes() == dead and sorted(host.copies.iterdir()) == there


@pytest.mark.parametrize("place", ["header", "material"])
def test_a_copy_that_does_not_read_back_is_no_way_back(host: Host, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The medium with the copies loses writes. The keyslot is not touched."""
    opened = copy_file.CopyFile.opened

    @contextlib.contextmanager
    def losing(self: t.Any) -> t.Iterator[t.Any]:
        with opened(self) as (read, size):
            lost = range(600, 616) if place == "header" else range(size - 16, size)

            def read_less(offset: int, length: int) -> bytes:
                data = bytearray(read(offset, length))
                for byte in lost:
                    if offset <= byte < offset + length:
                        data[byte - offset] ^= 1
                return bytes(data)

            yield read_less, size

    monkeypatch.setattr(copy_file.CopyFile, "opened", losing)
    with pytest.raises(LuksmithError) as caught:
        host.run()
    assert place == "header" or "does not read back as it was written" in str(caught.value)
    assert host.opened() == {A, D}


def test_without_the_folder_or_the_secret_nothing_is_changed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.die(monkeypatch)
    dead = host.volume.read_bytes()
    with pytest.raises(Refused, match="Give the same backup_dir"):
        host.run(backup_dir=None)
    with pytest.raises(Refused, match="no secret of this task opens the copy"):
        host.run(keyslots=[{"new_secret": secret(B)}])
    assert host.volume.read_bytes() == dead
    assert host.run()["changed"] and host.opened() == {B, D} and not list(host.copies.iterdir())


def test_cryptsetup_gets_the_volume_back_with_the_copy(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = host.die(monkeypatch)
    assert host.opened() == {D}
    assert copy.stat().st_mode & 0o777 == 0o600
    restore = ["cryptsetup", "luksHeaderRestore", "-q", str(host.volume), "--header-backup-file", str(copy)]
    subprocess.run(restore, check=True, capture_output=True)
    asking = ["cryptsetup", "open", "--test-passphrase", "--key-slot", "3", "--key-file", "-", str(host.volume)]
    subprocess.run(asking, input=SECRETS[A], check=True, capture_output=True)


@pytest.mark.parametrize("given", ["another folder", "the same path, and another file system"])
def test_a_run_with_another_folder_does_not_forget_the_copy(
    host: Host, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """All old keys open: only the copy is left behind, which would open the volume with the secret of before."""
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.header_writer import HeaderWriter

    def failing(*_arguments: t.Any) -> None:
        raise StorageFault("the medium is gone")

    with monkeypatch.context() as patch:
        patch.setattr(HeaderWriter, "overwrite", failing)
        with pytest.raises(Interrupted):
            host.run()
    (copy,) = host.copies.iterdir()
    before, usb = host.volume.read_bytes(), host.copies.with_name("usb")
    if given == "another folder":
        folder = host.copies.with_name("others")
    else:
        folder = host.copies
        host.copies.rename(usb)
        copy = usb / copy.name
    folder.mkdir(mode=0o700)
    with pytest.raises(Refused, match=rf"{copy.name}.*not in {folder}, another.*find / -name {copy.name}.*empty file"):
        host.run(backup_dir=str(folder))
    with pytest.raises(Refused, match=rf"{copy.name}.*find / -name {copy.name}.*give that"):
        host.run(backup_dir=None)
    assert host.volume.read_bytes() == before and copy.exists()
    told = inspect(parse_info({"device": str(host.volume), "secrets": []}))
    assert copy.name in told["header"]["unfinished"]["says"]

    (folder / copy.name).touch()
    assert host.run(backup_dir=str(folder))["changed"] and host.opened() == {B, D} and not list(folder.iterdir())
    for _run in range(2):
        assert str(copy) in "".join(host.run(backup_dir=str(copy.parent))["warnings"])
    copy.unlink()
    assert not [text for text in host.run(backup_dir=str(copy.parent))["warnings"] if copy.name in text]


def test_a_clone_neither_uses_nor_removes_the_copy_of_the_first(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same uuid, same key, same bytes: images made from one template."""
    clone = host.volume.with_name("clone")
    shutil.copy(host.volume, clone)
    copy = host.die(monkeypatch)
    assert host.run(clone)["changed"] and host.opened(clone) == {B, D}
    assert list(host.copies.iterdir()) == [copy]
    assert host.run()["changed"] and host.opened() == {B, D} and not list(host.copies.iterdir())


def test_a_copy_that_cannot_be_removed_is_a_failure_until_it_is_gone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.unlink

    def unlink(path: str) -> None:
        if path.endswith(".luks-header"):
            raise OSError(1, "Operation not permitted")
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(copy_file.os, "unlink", unlink)
        with pytest.raises(Interrupted, match="must not stay behind") as caught:
            host.run()
    assert [str(action.kind) for action in caught.value.actions_left] == ["remove-copy"]
    assert host.opened() == {B, D}
    (copy,) = host.copies.iterdir()
    assert not copy.read_bytes().startswith(b"LUKS"), "it was not even overwritten"
    result = host.run()
    assert [row["action"] for row in result["plan"]] == ["remove-copy"] and not list(host.copies.iterdir())
    assert not host.run()["changed"]


def test_where_the_header_still_opens_a_lost_copy_is_made_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut after the journal said that the keyslot goes, and before it was wiped; the copy is gone meanwhile."""
    from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.header_writer import HeaderWriter

    def failing(*_arguments: t.Any) -> None:
        raise StorageFault("the medium is gone")

    with monkeypatch.context() as patch:
        patch.setattr(HeaderWriter, "overwrite", failing)
        with pytest.raises(Interrupted):
            host.run()
    for left in host.copies.iterdir():
        left.unlink()
    assert host.opened() == {A, D}
    there: t.List[t.List[t.Set[str]]] = []
    right = KeyslotWriter.place

    def noted(*arguments: t.Any) -> None:
        there.append([host.opened(copy) for copy in host.copies.iterdir()])
        right(*arguments)

    monkeypatch.setattr(KeyslotWriter, "place", noted)
    result = host.run()
    assert there == [[{A, D}]], "no copy opens while the keyslot is written"
    assert [row["action"] for row in result["plan"]] == ["copy-header", "rekey", "remove-copy"]
    assert host.opened() == {B, D} and not list(host.copies.iterdir())


def test_a_run_that_needs_no_copy_removes_a_half_written_one(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut while the copy was written: key material is in an unfinished file, and the next task is another one."""

    class Killed(BaseException):
        pass

    def killed(*_arguments: t.Any, **_options: t.Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "rename", killed)
        patch.setattr(files, "_remove", lambda *_arguments: None)
        with pytest.raises(Killed):
            host.run()
    (left,) = host.copies.iterdir()
    assert left.name.endswith(".luksmith-new")
    result = host.run(keyslots=[present(A)])
    assert [row["action"] for row in result["plan"]] == ["remove-copy"]
    assert not list(host.copies.iterdir()) and host.opened() == {A, D}


@pytest.mark.parametrize(
    "left", ["nothing", "nothing on what is read-only", "an unfinished file", "a copy that does not read back"]
)
def test_a_run_that_cannot_make_the_copy_leaves_none_and_names_none(
    host: Host, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system fills up meanwhile. Otherwise each task without that folder would be refused from then on."""

    def full(*_arguments: t.Any, **_options: t.Any) -> None:
        raise OSError(28, "No space left on device")

    def read_only(path: str, *_arguments: t.Any) -> t.NoReturn:
        raise StorageFault("Read-only file system", volume=path)

    def unlink(path: str) -> t.NoReturn:
        raise OSError(30, "Read-only file system")

    def unlike(*_arguments: t.Any) -> t.NoReturn:
        raise StorageFault("the medium loses writes")

    with monkeypatch.context() as patch:
        if left == "nothing on what is read-only":
            patch.setattr(copy_file.CopyFile, "check_room", lambda *_arguments: None)
            patch.setattr(files, "_open_own", read_only)
            patch.setattr(os, "unlink", unlink)
        elif left == "a copy that does not read back":
            patch.setattr(copy_file.CopyFile, "opened", unlike)
        else:
            patch.setattr(files, "_write", full)
        if left == "an unfinished file":
            patch.setattr(files, "_remove", lambda *_arguments: None)
        with pytest.raises(Interrupted, match=r"No space left|loses writes|Read-only") as caught:
            host.run()
    assert [str(action.kind) for action in caught.value.actions_left][:1] == ["copy-header"]
    assert "opens with the secrets of before" not in str(caught.value)
    assert host.opened() == {A, D} and not list(host.copies.iterdir())
    subprocess.run(["cryptsetup", "luksDump", str(host.volume)], check=True, capture_output=True)
    assert not host.run(backup_dir=None, keyslots=[present(A)])["changed"]
    assert host.run()["changed"] and host.opened() == {B, D} and not list(host.copies.iterdir())


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("lacking", ["room", "permission"])
def test_a_folder_that_cannot_take_the_copy_is_refused_before_anything_is_written(
    host: Host, lacking: str, check: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = host.volume.read_bytes()
    with monkeypatch.context() as patch:
        if lacking == "room":
            full = os.statvfs_result((4096, 4096, 1000, 1, 1, 100, 9, 9, 0, 255))
            patch.setattr(files.os, "statvfs", lambda _folder: full)
        else:
            patch.setattr(files.os, "access", lambda *_arguments, **_options: False)
        words = "KiB where 4 KiB are free: No space" if lacking == "room" else "Permission denied"
        with pytest.raises(StorageFault, match=words) as caught:
            host.run(check=check)
    assert str(caught.value).startswith(f"{host.copies}: ") and str(caught.value).endswith("Nothing was changed.")
    assert host.volume.read_bytes() == before and not list(host.copies.iterdir())


def test_the_folder_is_looked_at_where_only_the_second_plan_needs_it(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run takes the last free keyslot before the locks are taken."""
    make = luks1 if host.volume.read_bytes()[7] == 1 else luks2
    host.volume.write_bytes(make({keyslot: name for keyslot, name in SLOTS.items() if keyslot != 7}))
    prepare, full = _Amendment._prepare, []

    def then_it_is_full(change: t.Any, planned: t.Any) -> t.Any:
        answer = prepare(change, planned)
        assert "copy-header" not in [str(action.kind) for action in planned.plan.actions]
        monkeypatch.setattr(_Amendment, "_prepare", prepare)
        assert host.run(keyslots=[present(C, keyslot=7)], unlock=[secret(A)])["changed"]
        full.append(host.volume.read_bytes())
        return answer

    def same_disk(*_given: t.Any) -> t.NoReturn:
        raise Refused("the folder is on the disk of the volume")

    monkeypatch.setattr(_Amendment, "_prepare", then_it_is_full)
    monkeypatch.setattr(elsewhere, "check_elsewhere", same_disk)
    with pytest.raises(Refused, match=r"(?i)the folder is on the disk of the volume\. Nothing was changed"):
        host.run()
    assert [host.volume.read_bytes()] == full and not list(host.copies.iterdir())


@pytest.mark.parametrize("lacking", ["room", "a name"])
def test_a_run_tries_whether_the_folder_takes_the_copy_before_it_writes(
    host: Host, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system needs room for its own tables too, and may take no file although it says that one may be made."""
    right, place, before = os.open, KeyslotWriter.place, host.volume.read_bytes()
    tried: t.Set[int] = set()
    there: t.Set[int] = set()

    def full(_descriptor: int, _offset: int, size: int) -> t.NoReturn:
        tried.add(size)
        raise OSError(28, "No space left on device")

    def noted(*arguments: t.Any) -> None:
        there.update(copy.stat().st_size for copy in host.copies.iterdir())
        place(*arguments)

    def refusing(path: str, flags: int, *rest: int, **options: t.Any) -> int:
        if flags & os.O_CREAT and os.path.dirname(path) == str(host.copies):
            raise OSError(2, "No such file or directory")
        return right(path, flags, *rest, **options)

    with monkeypatch.context() as patch:
        if lacking == "room":
            patch.setattr(os, "posix_fallocate", full)
        else:
            patch.setattr(os, "open", refusing)
        assert host.run(check=True)["changed"]
        words = r"KiB there: No space left on device" if lacking == "room" else r"KiB there: No such file or directory"
        with pytest.raises(StorageFault, match=words) as caught:
            host.run()
    assert str(caught.value).startswith(f"{host.copies}: ") and str(caught.value).endswith("Nothing was changed.")
    assert host.volume.read_bytes() == before and not list(host.copies.iterdir())
    monkeypatch.setattr(KeyslotWriter, "place", noted)
    assert host.run()["changed"] and host.opened() == {B, D} and not list(host.copies.iterdir())
    assert lacking == "a name" or tried == there


def test_a_folder_that_cannot_allocate_ahead_takes_the_copy(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_arguments: int) -> t.NoReturn:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    assert host.run()["changed"] and host.opened() == {B, D} and not list(host.copies.iterdir())


def test_the_folder_of_the_volume_is_refused_before_anything_is_written(tmp_path: pathlib.Path) -> None:
    host = Host(tmp_path, luks1(SLOTS))
    before = host.volume.read_bytes()
    with pytest.raises(Refused, match=r"is on the file system of|is in memory"):
        host.run()
    with pytest.raises(StorageFault, match="Cannot open the folder"):
        host.run(backup_dir=str(tmp_path / "nowhere"))
    assert host.volume.read_bytes() == before


def test_a_folder_in_memory_is_refused(tmp_path: pathlib.Path, scratch: pathlib.Path) -> None:
    if not str(scratch).startswith("/dev/shm"):
        pytest.skip("there is no file system in memory")
    host = Host(tmp_path, luks1(SLOTS))
    with pytest.raises(Refused, match="is in memory"):
        host.run(backup_dir=str(scratch))
