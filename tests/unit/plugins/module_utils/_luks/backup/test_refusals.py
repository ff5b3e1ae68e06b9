# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no backup takes the place of, and which backup takes no header's place: each refused for its own reason, with
nothing written.
"""

from __future__ import annotations

import base64
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.header_writer import HeaderWriter
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup import create as taking
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup import restore as restoring
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.backup_task import parse_backup
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.create import create
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.image import parse_image
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.restore import restore
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import (
    BadTask,
    HeaderChanged,
    Interrupted,
    LuksmithError,
    NotLuks,
    Refused,
    StorageFault,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2.codec import Luks2Header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import locked_write
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import Region, Volume, open_volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as full
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import (
    MADE,
    scribble,
    secret,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.volume.fake_host import (
    FakeHost,
    loop_over,
    mapping_uuid,
)

BOTH = pytest.mark.parametrize("format", ["luks1", "luks2"])
LUKS2 = pytest.mark.parametrize("format", ["luks2"])
OTHER_UUID = b"0b6dd9bb-21a1-4c9c-b8b0-0a3d8f2c6a55"


@pytest.fixture
def volume(tmp_path: pathlib.Path, format: str) -> pathlib.Path:
    path = tmp_path / "volume"
    full.make(path, format, 2)
    return path


@pytest.fixture
def path(volume: pathlib.Path) -> pathlib.Path:
    """A backup of the volume as it was made."""
    path = volume.with_name("backup")
    bring(volume, path, state="present")
    return path


def bring(
    volume: pathlib.Path,
    path: pathlib.Path,
    *unlock: str,
    state: str = "restored",
    force: bool = True,
    check: bool = False,
    **options: t.Any,
) -> t.Dict[str, t.Any]:
    given = {
        "device": str(volume),
        "path": str(path),
        "state": state,
        "force": force,
        "unlock": [secret(text) for text in unlock],
        **options,
    }
    task = parse_backup(given)
    try:
        return (restore if state == "restored" else create)(task, check=check)
    finally:
        task.wipe_secrets()


def refused(
    volume: pathlib.Path,
    path: pathlib.Path,
    words: str,
    *unlock: str,
    kind: t.Type[LuksmithError] = Refused,
    **options: t.Any,
) -> None:
    """In check mode and for real, and neither file is touched."""
    before = volume.read_bytes(), path.read_bytes() if path.is_file() else None
    for check in (True, False):
        with pytest.raises(kind, match=words) as caught:
            bring(volume, path, *(unlock or MADE[:1]), check=check, **options)
        assert "Nothing was changed." in str(caught.value)
    assert (volume.read_bytes(), path.read_bytes() if path.is_file() else None) == before


def ruin(volume: pathlib.Path, *, uuid: t.Optional[bytes] = None) -> None:
    """No header can be read any more; ``uuid`` is what is still to be seen of it."""
    scribble(volume, 0, bytes(64 << 10))
    if uuid is not None:
        scribble(volume, 0, b"LUKS")
        scribble(volume, 168, uuid.ljust(40, b"\0"))


def with_another_uuid(volume: pathlib.Path) -> None:
    """LUKS1 has no checksum."""
    scribble(volume, 168, OTHER_UUID)


@BOTH
def test_no_backup(volume: pathlib.Path) -> None:
    refused(volume, volume.with_name("none"), "There is no such file", kind=StorageFault)


@BOTH
def test_a_file_that_is_no_backup(volume: pathlib.Path) -> None:
    letter = volume.with_name("letter")
    letter.write_text("important")
    refused(volume, letter, "It begins with text, not with a LUKS header", kind=NotLuks)
    refused(volume, letter, "not a header backup", state="present")


@BOTH
def test_no_secret(volume: pathlib.Path, path: pathlib.Path) -> None:
    with pytest.raises(BadTask, match=r"(?i)unlock is empty"):
        bring(volume, path)
    refused(volume, path, r"(?i)no secret under unlock opens a keyslot of the backup", "a wrong one")


@BOTH
def test_the_volume_itself_as_its_backup(volume: pathlib.Path) -> None:
    link = volume.with_name("link")
    link.symlink_to(volume)
    for path in (volume, link):
        with pytest.raises(BadTask, match=r"(?i)path and device are the same file"):
            bring(volume, path, *MADE, state="present")


@BOTH
@pytest.mark.parametrize("state", ["present", "restored"])
def test_the_file_beneath_a_loop_device_as_its_backup(
    volume: pathlib.Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of both is the volume, and the header and the data of a volume with a detached one. Nothing is made
    private before.
    """
    loop, header = volume.with_name("loop"), volume.with_name("header")
    for copy in (loop, header):
        copy.write_bytes(volume.read_bytes())
    loop.chmod(0o644)
    loop_over(monkeypatch, loop, volume)
    says = "path and {} are the same file"
    for device, path, name, more in (
        (loop, volume, "device", {}),
        (volume, loop, "device", {}),
        (header, loop, "header", {"header": str(volume)}),
        (volume, loop, "device", {"header": str(header)}),
    ):
        words = f"(?i){says.format(name)}"
        refused(device, path, words, kind=BadTask, state=state, **more)
    assert loop.stat().st_mode & 0o777 == 0o644


@BOTH
def test_a_whole_copy_is_never_up_to_date(volume: pathlib.Path, path: pathlib.Path) -> None:
    """It has the same header, so that nothing would be written."""
    assert not bring(volume, path, state="present")["changed"]
    scribble(path, 32 << 20, b"data")
    path.chmod(0o644)
    refused(volume, path, r"(?i)looks like a whole volume", state="present")
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("format", ["luks1"])
def test_a_backup_of_another_volume(volume: pathlib.Path, path: pathlib.Path) -> None:
    with_another_uuid(volume)
    refused(volume, path, rf"(?i)the volume has UUID {OTHER_UUID.decode()}")
    refused(volume, path, r"(?i)the file exists and is a header backup of another volume", state="present", force=False)
    ruin(volume, uuid=OTHER_UUID)
    refused(volume, path, rf"(?i)the damaged header has UUID {OTHER_UUID.decode()}")


@pytest.mark.parametrize("format", ["luks1"])
def test_a_backup_with_another_volume_key(volume: pathlib.Path, path: pathlib.Path) -> None:
    """The digest is at byte 112; what it is compared with is derived from the volume key."""
    scribble(volume, 112, bytes(20))
    refused(volume, path, r"(?i)the volume key in the backup is not the one that the volume uses now")


@pytest.mark.parametrize("format", ["luks1"])
def test_a_volume_key_that_is_not_that_of_the_backup(volume: pathlib.Path, path: pathlib.Path) -> None:
    unlock = [secret(MADE[0]), {"label": "dumped", "volume_key_base64": base64.b64encode(bytes(64)).decode()}]
    before = volume.read_bytes()
    task = parse_backup({"device": str(volume), "path": str(path), "state": "restored", "unlock": unlock})
    try:
        with pytest.raises(Refused, match=r"(?i)the volume key dumped is not that of the backup"):
            restore(task, check=False)
    finally:
        task.wipe_secrets()
    assert volume.read_bytes() == before


@pytest.mark.parametrize("format", ["luks1"])
def test_a_folder_as_a_backup(volume: pathlib.Path) -> None:
    for state in ("present", "restored"):
        refused(volume, volume.parent, r"(?i)it is a directory.*Name the file, such as", kind=StorageFault, state=state)


@pytest.mark.parametrize("format", ["luks1"])
def test_a_backup_with_the_data_elsewhere(volume: pathlib.Path, path: pathlib.Path) -> None:
    scribble(volume, 104, (int.from_bytes(volume.read_bytes()[104:108], "big") + 8).to_bytes(4, "big"))
    refused(volume, path, r"(?i)the offset of the data differs between the backup and the volume")


def test_a_backup_from_before_a_conversion(tmp_path: pathlib.Path) -> None:
    volume, other, path = tmp_path / "volume", tmp_path / "other", tmp_path / "backup"
    full.make(volume, "luks2", 2)
    full.make(other, "luks1", 2)
    bring(other, path, state="present")
    scribble(path, 168, volume.read_bytes()[168:208])
    refused(volume, path, r"(?i)the volume is luks2, but the backup is of a luks1 header")


@BOTH
def test_a_file_that_is_too_small_to_be_the_volume(volume: pathlib.Path, path: pathlib.Path) -> None:
    ruin(volume)
    with volume.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)
    refused(volume, path, r"(?i)it has only \d+ bytes")


@BOTH
def test_something_else_lives_there_now(volume: pathlib.Path, path: pathlib.Path) -> None:
    ruin(volume)
    scribble(volume, 82, b"FAT32   ")
    refused(volume, path, r"(?i)it contains .* instead of a LUKS header")


@BOTH
def test_a_device_that_is_open_as_another_volume(
    volume: pathlib.Path, path: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header is gone, and the kernel still knows whose data it decrypts."""
    host = FakeHost(tmp_path / "host", monkeypatch)
    ruin(volume)
    device = pathlib.Path(host.device("sda", volume.read_bytes()))
    host.device("dm-0", dm="data", uuid=mapping_uuid(OTHER_UUID.decode(), "data"), beneath=["sda"])
    refused(device, path, rf"(?i)it is open as data with UUID {OTHER_UUID.decode()}")


@LUKS2
def test_what_a_newer_cryptsetup_made(volume: pathlib.Path, path: pathlib.Path) -> None:
    """A requirement that nobody here knows; then a header with a right checksum whose metadata nobody here
    understands.
    """
    old = parse_image(volume.read_bytes()).header
    assert isinstance(old, Luks2Header)

    def rewrite(file: pathlib.Path, area: t.Union[bytes, t.Mapping[str, t.Any]]) -> None:
        copies = [
            luks2_image.pack(area, hdr_size=luks2_image.HDR_SIZE, seqid=old.seqid + 1, secondary=second)
            for second in (False, True)
        ]
        scribble(file, 0, b"".join(copies))

    plain = old.metadata
    newer = {**plain, "config": {**plain["config"], "requirements": {"mandatory": ["from-the-future"]}}}
    rewrite(path, newer)
    rewrite(volume, plain)
    refused(volume, path, r"(?i)the backup cannot be restored: .*from-the-future")
    rewrite(path, plain)
    rewrite(volume, newer)
    refused(volume, path, "from-the-future")
    rewrite(volume, b'{"keyslots":{}, "new": "format"}')
    refused(volume, path, r"(?i)the volume has an intact header that this collection cannot use")


@BOTH
def test_without_consent(volume: pathlib.Path, path: pathlib.Path) -> None:
    full.amend_volume(volume, full.absent(MADE[1]), unlock=MADE[:1])
    refused(volume, path, r"(?i)keyslot 1.*may open the volume again.*force: true", force=False)
    refused(volume, path, r"(?i)keyslot 1 \(.*\) of the backup would open the volume", *MADE, force=False)


@BOTH
def test_a_header_that_changed_between_look_and_lock(
    volume: pathlib.Path, path: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.amend_volume(volume, full.absent(MADE[1]), unlock=MADE[:1])
    right = locked_write.open_volume

    def open_volume(*arguments: t.Any, writable: bool) -> t.Any:
        with monkeypatch.context() as patch:
            patch.setattr(locked_write, "open_volume", right)
            full.amend_volume(volume, full.present(format, "newer"), unlock=MADE[:1])
        return right(*arguments, writable=writable)

    monkeypatch.setattr(locked_write, "open_volume", open_volume)
    with pytest.raises(HeaderChanged, match=r"(?i)the header changed before it was locked"):
        bring(volume, path, *MADE[:1])
    monkeypatch.undo()
    assert not full.amend_volume(volume, full.present(format, "newer"), check=True)["changed"]


@BOTH
def test_a_clone_that_took_the_place_of_the_volume(
    volume: pathlib.Path, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the same header to the byte. Which of the two the task means is not for the run to guess."""
    full.amend_volume(volume, full.absent(MADE[1]), unlock=MADE[:1])
    right, clone = locked_write.open_volume, volume.with_name("clone")
    clone.write_bytes(volume.read_bytes())

    def open_volume(*arguments: t.Any, writable: bool) -> t.Any:
        clone.replace(volume)
        return right(*arguments, writable=writable)

    before = volume.read_bytes()
    monkeypatch.setattr(locked_write, "open_volume", open_volume)
    with pytest.raises(
        HeaderChanged, match=r"(?i)another file or device with the same header took the place of the volume"
    ):
        bring(volume, path, *MADE[:1])
    assert volume.read_bytes() == before


@BOTH
def test_a_fault_before_the_first_write_and_after_it(
    volume: pathlib.Path, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.amend_volume(volume, full.absent(MADE[1]), unlock=MADE[:1])
    before = volume.read_bytes()

    def fail(*_arguments: t.Any) -> None:
        raise StorageFault("the write failed")

    with monkeypatch.context() as faulty:
        faulty.setattr(HeaderWriter, "_guard", fail)
        with pytest.raises(StorageFault, match=r"(?s)The write failed.*Nothing was changed"):
            bring(volume, path, *MADE[:1])
        assert volume.read_bytes() == before
    with monkeypatch.context() as faulty:
        faulty.setattr(Region, "write", fail)
        with pytest.raises(Interrupted, match=r"(?i)the write failed.*the restore has begun and is not complete"):
            bring(volume, path, *MADE[:1])
    assert bring(volume, path, *MADE[:1])["changed"]
    assert not bring(volume, path, *MADE[:1])["changed"]


@BOTH
def test_a_restore_that_reads_back_as_something_else(
    volume: pathlib.Path, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.amend_volume(volume, full.absent(MADE[1]), unlock=MADE[:1])
    before = parse_image(volume.read_bytes())
    right, looks = restoring.read_image, []

    def read_image(opened: t.Any) -> t.Any:
        looks.append(opened)
        return before if len(looks) == 3 else right(opened)

    monkeypatch.setattr(restoring, "read_image", read_image)
    with pytest.raises(Interrupted, match=r"(?i)the volume does not contain what was written to it"):
        bring(volume, path, *MADE[:1])
    assert len(looks) == 3


@BOTH
def test_a_backup_that_somebody_else_writes_at_the_same_time(
    volume: pathlib.Path, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.amend_volume(volume, full.absent(MADE[1]), unlock=MADE[:1])
    monkeypatch.setattr(taking.whole_file, "replace", lambda _path, _data: None)
    with pytest.raises(HeaderChanged, match=r"(?i)the new backup does not read back as it was written"):
        bring(volume, path, state="present")


@BOTH
def test_a_whole_volume_is_not_replaced_by_a_backup(volume: pathlib.Path) -> None:
    copy = volume.with_name("copy")
    copy.write_bytes(volume.read_bytes().ljust(17 << 20, b"\0"))
    full.amend_volume(volume, full.absent(MADE[1]), unlock=MADE[:1])
    refused(volume, copy, r"(?i)looks like a whole volume", state="present")


@LUKS2
def test_a_newer_backup_is_not_replaced_by_an_older_header(volume: pathlib.Path) -> None:
    older = volume.read_bytes()
    full.amend_volume(volume, full.absent(MADE[1]), unlock=MADE[:1])
    newer = volume.with_name("newer")
    bring(volume, newer, state="present")
    volume.write_bytes(older)
    refused(volume, newer, r"(?i)the existing backup has sequence id", state="present", force=False)
    assert bring(volume, newer, state="present")["changed"]


@pytest.mark.parametrize("format", ["luks1"])
def test_a_backup_that_others_can_read_becomes_private(volume: pathlib.Path, path: pathlib.Path) -> None:
    before = path.read_bytes()
    path.chmod(0o644)
    for check, changed, mode in ((True, True, 0o644), (False, True, 0o600), (False, False, 0o600)):
        assert bring(volume, path, state="present", check=check)["changed"] is changed
        assert path.stat().st_mode & 0o777 == mode and path.read_bytes() == before


@pytest.mark.parametrize("format", ["luks1"])
def test_check_mode_says_that_a_volume_cannot_be_written(
    volume: pathlib.Path, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_volume: Volume) -> t.NoReturn:
        raise StorageFault("the device is read-only")

    full.amend_volume(volume, full.absent(MADE[1]), unlock=MADE[:1])
    monkeypatch.setattr(Volume, "check_writable", fail)
    with pytest.raises(StorageFault, match="The device is read-only"):
        bring(volume, path, MADE[0], check=True)


@pytest.mark.parametrize("format", ["luks1"])
def test_a_path_that_cannot_be_replaced_is_said_in_check_mode(
    volume: pathlib.Path, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: str, _size: int) -> t.NoReturn:
        raise StorageFault("the file system is read-only")

    monkeypatch.setattr(taking.whole_file, "check_replaceable", fail)
    path.unlink()
    for check in (True, False):
        with pytest.raises(StorageFault, match="The file system is read-only"):
            bring(volume, path, state="present", check=check)
    assert not path.exists()


@BOTH
def test_a_restore_without_a_header_is_written_durably_and_read_back(
    volume: pathlib.Path, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ruin(volume)
    said: t.List[str] = []

    def noted(owner: t.Any, name: str) -> None:
        right = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given: said.append(name) or right(*given))

    noted(Volume, "begin_writing")
    for name in ("write", "barrier", "confirm"):
        noted(Region, name)
    bring(volume, path, MADE[0])
    assert said[0] == "begin_writing" and len(said) > 3
    assert said[1:] == ["write", "barrier", "confirm"] * (len(said) // 3)
    with open_volume(str(volume), writable=False) as opened:
        assert sorted(read_header(opened).keyslots) == [0, 1]


@pytest.mark.parametrize("format", ["luks1"])
def test_a_digest_that_costs_too_much_is_not_computed(volume: pathlib.Path, path: pathlib.Path) -> None:
    """It is that of the volume, which somebody else may have written."""
    scribble(volume, 164, (0x7FFFFFFF).to_bytes(4, "big"))
    refused(volume, path, "(?i)iterations", kind=LuksmithError)


@pytest.mark.parametrize("format", ["luks1"])
def test_the_secrets_of_a_task_are_wiped(volume: pathlib.Path, path: pathlib.Path) -> None:
    key = {"volume_key_base64": base64.b64encode(b"k" * 64).decode()}
    task = parse_backup(
        {"device": str(volume), "path": str(path), "state": "restored", "unlock": [secret(MADE[0]), key]}
    )
    held = [*task.secrets, *task.volume_keys]
    assert len(held) == 2 and all(any(one.value) for one in held)
    task.wipe_secrets()
    assert not any(any(one.value) for one in held)


@pytest.mark.parametrize("state", ["present", "restored"])
def test_a_path_that_depends_on_where_the_module_runs(state: str, tmp_path: pathlib.Path) -> None:
    given = {"device": str(tmp_path / "volume"), "path": "rel.header", "state": state, "unlock": [secret("any")]}
    with pytest.raises(BadTask, match=r"(?i)path is 'rel\.header', .* no absolute path.*/var/backups/rel\.header"):
        parse_backup(given)
