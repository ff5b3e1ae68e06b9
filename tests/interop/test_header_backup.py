# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Header backups in both directions with cryptsetup, what a restore refuses, and what it tells of secrets that come
back.
"""

from __future__ import annotations

import pathlib
import random
import stat
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.image import parse_image
from ansible_collections.luksmith.luks.tests.interop.lock_lab import loop_device
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, Luks2Volume, needs_cryptsetup, run
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module
from ansible_collections.luksmith.luks.tests.interop.qemu_image import FORMATS, OPENER, QemuImage, needs_qemu

pytestmark = needs_cryptsetup
BOTH = pytest.mark.parametrize("format", ["luks1", "luks2"])
# In the short form one of them, where the format has little part in it.
LUKS1 = pytest.mark.parametrize("format", ["luks1", pytest.param("luks2", marks=pytest.mark.full)])
LUKS2 = pytest.mark.parametrize("format", [pytest.param("luks1", marks=pytest.mark.full), "luks2"])
SLOTS = range(4)


def secret(text: str) -> t.Dict[str, str]:
    """The label must not hold the secret, or it is masked in the result."""
    return {"label": f"label {text[-1]}", "passphrase": text}


def backup(volume: t.Any, path: t.Any, *unlock: str, check: bool = False, **options: t.Any) -> t.Dict[str, t.Any]:
    given = {"device": str(volume), "path": str(path), "unlock": [secret(text) for text in unlock], **options}
    return run_module("header_backup", given, check=check, diff=True)


def restored(volume: t.Any, path: t.Any, *unlock: str, check: bool = False, **options: t.Any) -> t.Dict[str, t.Any]:
    return backup(volume, path, *unlock, check=check, state="restored", **{"force": True, **options})


def refused(*arguments: t.Any, **options: t.Any) -> str:
    with pytest.raises(ModuleFailed) as failure:
        restored(*arguments, **options)
    assert failure.value.result["changed"] is False
    assert "Nothing was changed." in failure.value.result["msg"]
    return str(failure.value.result["msg"]).lower()


@pytest.fixture
def volume(tmp_path: pathlib.Path, format: str) -> Luks2Volume:
    return Luks2Volume(tmp_path / "volume").like(type=format, slots={1: "pw1"})


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "backup"


def replace(volume: Luks2Volume, old: str, new: str, unlock: str) -> None:
    keyslots(
        volume.path,
        [{"old_secret": {"passphrase": old}, "new_secret": {"passphrase": new}, "pbkdf": CHEAP}],
        unlock=[unlock],
    )


@BOTH
def test_cryptsetup_restores_what_we_wrote(volume: Luks2Volume, path: pathlib.Path, format: str) -> None:
    assert backup(volume.path, path, "pw1")["backup"]["opened_by"] == {"1": ["label 1"]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [name.name for name in path.parent.iterdir() if "luksmith" in name.name] == []
    theirs = path.with_name("theirs")
    run("cryptsetup", "luksHeaderBackup", volume.path, "--header-backup-file", theirs)
    assert theirs.stat().st_size == path.stat().st_size
    assert format == "luks1" or theirs.read_bytes() == path.read_bytes()
    replace(volume, "pw1", "pw2", "pw0")
    assert not volume.opens("pw1")
    run("cryptsetup", "luksHeaderRestore", "-q", volume.path, "--header-backup-file", path)
    assert volume.opened(SLOTS, ["pw0", "pw1", "pw2"]) == {(0, "pw0"), (1, "pw1")}


@BOTH
def test_we_restore_what_cryptsetup_wrote(volume: Luks2Volume, path: pathlib.Path) -> None:
    run("cryptsetup", "luksHeaderBackup", volume.path, "--header-backup-file", path)
    assert not backup(volume.path, path)["changed"] or stat.S_IMODE(path.stat().st_mode) == 0o600
    keyslots(
        volume.path,
        [
            {"state": "absent", "old_secret": {"passphrase": "pw1"}},
            {"new_secret": {"passphrase": "pw3"}, "pbkdf": CHEAP},
        ],
        unlock=["pw0"],
    )
    result = restored(volume.path, path, "pw1")
    assert volume.opened(SLOTS, ["pw0", "pw1", "pw3"]) == {(0, "pw0"), (1, "pw1")}
    assert [row["keyslot"] for row in result["revived"]] == [1]
    assert result["changed"]
    again = restored(volume.path, path, "pw1")
    assert not again["changed"] and again["plan"] == [] and again["revived"] == []
    run("cryptsetup", "luksDump", volume.path)


@LUKS2
def test_a_second_backup_changes_nothing_and_a_wider_mode_is_narrowed(volume: Luks2Volume, path: pathlib.Path) -> None:
    assert backup(volume.path, path, check=True)["changed"] and not path.exists()
    assert backup(volume.path, path)["changed"]
    before = path.stat()
    assert not backup(volume.path, path)["changed"]
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    path.chmod(0o644)
    for check in (True, False):
        result = backup(volume.path, path, check=check)
        assert [row["action"] for row in result["plan"]] == ["restrict-mode"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@BOTH
def test_that_a_copy_has_no_data_is_no_warning(volume: Luks2Volume, path: pathlib.Path) -> None:
    for _again in range(2):
        assert not backup(volume.path, path, "pw0").get("warnings")
    replace(volume, "pw1", "pw2", "pw0")
    assert not [text for text in restored(volume.path, path, "pw0")["warnings"] if "looks like" in str(text)]


@LUKS2
def test_a_stale_backup_says_what_it_still_opens(volume: Luks2Volume, path: pathlib.Path, format: str) -> None:
    keyslots(
        volume.path,
        [{"old_secret": {"passphrase": "pw1"}, "new_secret": secret("pw2"), "pbkdf": CHEAP}],
        unlock=["pw0"],
    )
    backup(volume.path, path)
    keyslots(volume.path, [{"state": "absent", "old_secret": {"passphrase": "pw2"}}], unlock=["pw0"])
    for check in (True, False):
        result = backup(volume.path, path, check=check)
        label = "label 2" if format == "luks2" else ""
        assert result["changed"]
        assert result["previous"]["relation"] == ("older" if format == "luks2" else "different")
        assert result["previous"]["only_in_backup"] == [{"keyslot": 1, "label": label, "opened_by": []}]
        assert result["diff"]["before"] != result["diff"]["after"]
    again = backup(volume.path, path)
    assert again["previous"]["relation"] == "same" and again["previous"]["only_in_backup"] == []


@LUKS1
def test_check_mode_predicts_the_restore_and_writes_nothing(volume: Luks2Volume, path: pathlib.Path) -> None:
    backup(volume.path, path)
    replace(volume, "pw1", "pw2", "pw0")
    before = volume.sha256()
    predicted = restored(volume.path, path, "pw0", check=True)
    assert volume.sha256() == before
    done = restored(volume.path, path, "pw0")
    for name in ("changed", "plan", "keyslots", "diff", "revived", "dropped", "backup", "kdf_evaluations"):
        assert predicted[name] == done[name], name
    assert [row["keyslot"] for row in done["dropped"]] == [1]


def told(result: t.Mapping[str, t.Any]) -> t.List[str]:
    """Its warnings, in which newer releases of ansible-core have more than the text."""
    return [str(warning) for warning in result["warnings"]]


def spoil(file: pathlib.Path, keyslot: int) -> None:
    """Other key material in a keyslot of a volume or of a backup of it."""
    area = parse_image(file.read_bytes()).header.keyslots[keyslot].area
    with file.open("r+b") as stream:
        stream.seek(area.offset)
        stream.write(random.Random(keyslot).randbytes(area.size))


@BOTH
@pytest.mark.parametrize("known", [False, True])
def test_a_damaged_copy_in_the_backup_replaces_nothing(volume: Luks2Volume, path: pathlib.Path, known: bool) -> None:
    backup(volume.path, path)
    keyslots(volume.path, [{"new_secret": {"passphrase": "pw3"}, "pbkdf": CHEAP}], unlock=["pw0"])
    spoil(path, 1)
    given = ["pw0", "pw1"] if known else ["pw0"]
    predicted = restored(volume.path, path, *given, check=True)
    assert volume.opened(SLOTS, ["pw0", "pw1", "pw3"]) == {(0, "pw0"), (1, "pw1"), (2, "pw3")}
    done = restored(volume.path, path, *given)
    assert volume.opened(SLOTS, ["pw0", "pw1", "pw3"]) == {(0, "pw0"), (1, "pw1")}
    for result in (predicted, done):
        assert [(row["action"], row["keyslot"]) for row in result["plan"]] == [("erase", 2)]
        assert result["revived"] == [] and [row["keyslot"] for row in result["dropped"]] == [2]
        said = [text for text in told(result) if "keyslot 1" in text]
        assert (
            len(said) == 1 and ("the copy in the backup is damaged" if known else "one of both is damaged") in said[0]
        )
        row = next(row for row in result["keyslots"] if row["keyslot"] == 1)
        assert row["opened_by"] == (["label 1"] if known else [])
    assert not restored(volume.path, path, *given)["changed"]


@BOTH
def test_a_damaged_keyslot_comes_back_if_its_secret_opens_the_backup(volume: Luks2Volume, path: pathlib.Path) -> None:
    backup(volume.path, path)
    spoil(volume.path, 1)
    unproven = restored(volume.path, path, "pw0")
    assert not unproven["changed"]
    assert any("give its secret under unlock" in text for text in told(unproven))
    assert volume.opened(SLOTS, ["pw0", "pw1"]) == {(0, "pw0")}
    result = restored(volume.path, path, "pw0", "pw1")
    assert [row["reason"] for row in result["plan"]] == [
        "the backup has a copy of it that is not damaged, which replaces the present one"
    ]
    assert volume.opened(SLOTS, ["pw0", "pw1"]) == {(0, "pw0"), (1, "pw1")}


@LUKS2
def test_a_backup_of_a_damaged_keyslot_is_not_made_without_a_word(volume: Luks2Volume, path: pathlib.Path) -> None:
    backup(volume.path, path)
    spoil(volume.path, 1)
    for check in (True, False):
        said = told(backup(volume.path, path, "pw0", check=check))
        assert any("other key material than the volume for keyslot 1" in text for text in said)
        assert not any("which the volume no longer has" in text for text in said)


@BOTH
def test_only_what_is_proven_opens_again(volume: Luks2Volume, path: pathlib.Path) -> None:
    keyslots(volume.path, [{"new_secret": secret("pw3"), "pbkdf": CHEAP}], unlock=["pw0"])
    backup(volume.path, path)
    for keyslot in (1, 2):
        keyslots(volume.path, [{"state": "absent", "keyslot": keyslot}], unlock=["pw0"])
    for check in (True, False):
        result = restored(volume.path, path, "pw0", "pw1", check=check)
        (again,) = (text for text in told(result) if "again" in text)
        assert "keyslot 1 (label 1) of the backup can open the volume again; keyslot 2" in again
        assert "of the backup may open the volume again. If" in again


@BOTH
def test_a_key_that_changes_is_in_the_diff(volume: Luks2Volume, path: pathlib.Path, format: str) -> None:
    """Also where no given secret opens it before and after, with the same costs."""
    backup(volume.path, path)
    entry = {"old_secret": {"passphrase": "pw1"}, "new_secret": secret("pw2"), "pbkdf": CHEAP, "keyslot": 1}
    if format == "luks2":
        entry["pbkdf"] = {"type": "pbkdf2", "iterations": 1000}
    keyslots(volume.path, [entry], unlock=["pw0"])
    for given in (["pw0"], []):
        again = backup(volume.path, path, *given, check=True)
        assert again["changed"] and "another key than before" in changed_lines(again)[1]
    for check in (True, False):
        result = restored(volume.path, path, "pw0", check=check)
        before, after = changed_lines(result)
        assert ("recorded as label 2" in before) == (format == "luks2") and "another key than before" in after
        name = "keyslot 1 (label 2)" if format == "luks2" else "keyslot 1"
        assert any(f"The restore erases {name} of the volume: a secret that" in text for text in told(result))
    assert volume.opened(SLOTS, ["pw0", "pw1", "pw2"]) == {(0, "pw0"), (1, "pw1")}


def changed_lines(result: t.Mapping[str, t.Any]) -> t.Tuple[str, str]:
    """What is in one of the two tables only."""
    before, after = (result["diff"][side].splitlines() for side in ("before", "after"))
    return "\n".join(line for line in before if line not in after), "\n".join(
        line for line in after if line not in before
    )


@LUKS2
def test_without_force_it_names_what_would_come_back(volume: Luks2Volume, path: pathlib.Path) -> None:
    backup(volume.path, path)
    replace(volume, "pw1", "pw2", "pw0")
    before = volume.sha256()
    for check in (True, False):
        message = refused(volume.path, path, "pw0", force=False, check=check)
        assert "keyslot 1" in message
        assert "force: true" in message
    assert volume.sha256() == before
    assert not restored(
        volume.path, path.with_name("fresh") if backup(volume.path, path.with_name("fresh")) else "", "pw0", force=False
    )["changed"]


@LUKS1
def test_a_backup_that_no_secret_opens_is_refused(volume: Luks2Volume, path: pathlib.Path) -> None:
    backup(volume.path, path)
    replace(volume, "pw1", "pw2", "pw0")
    assert "no secret under unlock opens" in refused(volume.path, path, "pw2")
    assert "unlock is empty" in refused(volume.path, path)


@BOTH
def test_the_backup_of_before_a_conversion_is_kept(tmp_path: pathlib.Path, path: pathlib.Path, format: str) -> None:
    """Nothing else has the header that the volume had, and that opens its data still."""
    volume = Luks2Volume(tmp_path / "volume")
    volume.format(*(["--sector-size", "512"] if format == "luks2" else []), type=format)
    first = backup(volume.path, path)["backup"]
    before, other = path.read_bytes(), "luks2" if format == "luks1" else "luks1"
    run("cryptsetup", "convert", "-q", "--type", other, volume.path)
    for check in (True, False):
        with pytest.raises(ModuleFailed) as failure:
            backup(volume.path, path, check=check)
        said = failure.value.result["msg"]
        assert f"of this volume as {format.upper()}, and the volume is {other.upper()}" in said and "Move it" in said
        assert "Nothing was changed." in said and path.read_bytes() == before
    result = backup(volume.path, path, force=True)
    assert result["changed"] and result["previous"]["relation"] == "foreign"
    assert result["previous"]["type"] == first["type"] == format and result["backup"]["type"] == other


@LUKS2
def test_a_backup_of_another_volume_is_refused(
    volume: Luks2Volume, path: pathlib.Path, tmp_path: pathlib.Path, format: str
) -> None:
    other = Luks2Volume(tmp_path / "other").format(type=format)
    backup(other.path, path)
    assert "another volume" in refused(volume.path, path, "pw0")
    same_uuid = Luks2Volume(tmp_path / "same").format(
        "--uuid", run("cryptsetup", "luksUUID", volume.path).stdout.strip(), type=format
    )
    path.unlink()
    backup(same_uuid.path, path)
    assert "volume key" in refused(volume.path, path, "pw0")


@LUKS1
def test_another_place_of_the_data_is_refused(
    volume: Luks2Volume, path: pathlib.Path, tmp_path: pathlib.Path, format: str
) -> None:
    key, uuid = tmp_path / "volume-key", run("cryptsetup", "luksUUID", volume.path).stdout.strip()
    run(
        "cryptsetup",
        "luksDump",
        "-q",
        "--dump-volume-key",
        "--volume-key-file",
        key,
        "-d",
        volume.keyfile("pw0"),
        volume.path,
    )
    offset = 8192 if format == "luks1" else 8192 + 2048
    Luks2Volume(tmp_path / "moved").format("--uuid", uuid, "--volume-key-file", key, "--offset", offset, type=format)
    backup(tmp_path / "moved", path)
    assert "the offset of the data" in refused(volume.path, path, "pw0")


@pytest.mark.parametrize("keyslots", [1, 2])
def test_a_restore_without_room_says_what_helps(tmp_path: pathlib.Path, path: pathlib.Path, keyslots: int) -> None:
    """The remedy is carried out, and the secret of the backup opens the volume with cryptsetup."""
    size = ["--key-size", "512", "--luks2-keyslots-size", f"{keyslots * 256}k"]
    volume, dumped = Luks2Volume(tmp_path / "volume").format(*size), tmp_path / "volume-key"
    backup(volume.path, path)
    dump = ["luksDump", "-q", "--dump-volume-key", "--volume-key-file", dumped, "--key-file", volume.keyfile("pw0")]
    run("cryptsetup", *dump, volume.path)
    run("cryptsetup", "luksKillSlot", "-q", volume.path, 0)
    for number in range(keyslots):
        volume.add(number + 1, f"pw{number + 1}", "--volume-key-file", dumped, "--key-size", "512")
    said = refused(volume.path, path, "pw0", "pw1")
    assert "key material of keyslot 0 of the backup has no room" in said
    assert ("erase keyslots of the volume that are not needed" in said) is (keyslots > 1)
    assert ("the only keyslot of the volume, 1, cannot make room" in said) is (keyslots == 1)
    if keyslots == 1:
        backup(volume.path, tmp_path / "another")
        run("cryptsetup", "luksHeaderRestore", "-q", volume.path, "--header-backup-file", path)
    else:
        gone = [{"state": "absent", "keyslot": 2}]
        run_module("keyslots", {"device": str(volume.path), "unlock": [secret("pw1")], "keyslots": gone})
        assert restored(volume.path, path, "pw0", "pw1")["changed"]
    assert volume.opened((0,), ("pw0",)) == {(0, "pw0")}


@BOTH
def test_a_destroyed_header_comes_back(volume: Luks2Volume, path: pathlib.Path, format: str) -> None:
    backup(volume.path, path)
    volume.patch(0, bytes(4096 if format == "luks1" else 32768))
    assert "cannot be read" in refused(volume.path, path, "pw0", force=False)
    result = restored(volume.path, path, "pw0")
    assert [row["action"] for row in result["plan"]] == ["restore-header", "restore", "restore"]
    assert volume.opened(SLOTS, ["pw0", "pw1"]) == {(0, "pw0"), (1, "pw1")}
    assert not restored(volume.path, path, "pw0")["changed"]


@LUKS1
def test_a_file_system_over_the_header_is_not_written_over(volume: Luks2Volume, path: pathlib.Path) -> None:
    backup(volume.path, path)
    volume.patch(0, bytes(32768))
    volume.patch(82, b"FAT32   ")
    before = volume.sha256()
    assert "fat" in refused(volume.path, path, "pw0")
    assert volume.sha256() == before


@pytest.mark.parametrize("format", ["luks2"])
def test_a_header_of_a_later_format_is_not_written_over(volume: Luks2Volume, path: pathlib.Path) -> None:
    backup(volume.path, path)
    volume.store(b'{"keyslots":{}, "new": "format"}', seqid=9)
    assert "intact" in refused(volume.path, path, "pw0")


@pytest.mark.parametrize("format", ["luks2"])
def test_requirements_and_reencryption_are_refused(volume: Luks2Volume, path: pathlib.Path) -> None:
    backup(volume.path, path)
    volume.edit(lambda tree: tree["config"].update(requirements={"mandatory": ["news"]}))
    assert "news" in refused(volume.path, path, "pw0")
    odd = path.with_name("odd")
    result = backup(volume.path, odd)
    assert "could not restore the backup" in str(result["warnings"])
    volume.edit(lambda tree: tree["config"].pop("requirements"))
    assert "the backup cannot be restored" in refused(volume.path, odd, "pw0")


@pytest.mark.parametrize("format", ["luks2"])
def test_one_damaged_copy_of_the_header(volume: Luks2Volume, path: pathlib.Path) -> None:
    """The backup has it as it is, with a warning, and a restore from it makes both copies whole."""
    volume.patch(volume.hdr_size + 5000, b"\xff")
    result = backup(volume.path, path)
    assert "secondary copy" in str(result["warnings"])
    replace(volume, "pw1", "pw2", "pw0")
    restored(volume.path, path, "pw1")
    info = run_module("keyslots_info", {"device": str(volume.path)})
    assert info["header"]["copies"] == {"primary": "ok", "secondary": "ok"}
    assert volume.opens("pw1") and not volume.opens("pw2")


@pytest.mark.parametrize("format", ["luks2"])
def test_tokens_and_priorities_come_back(volume: Luks2Volume, path: pathlib.Path) -> None:
    volume.import_token(3, {"type": "vendor", "keyslots": ["1"], "data": "x"})
    run("cryptsetup", "config", "--priority", "prefer", "--key-slot", "1", volume.path)
    backup(volume.path, path)
    keyslots(volume.path, [{"state": "absent", "old_secret": {"passphrase": "pw1"}}], unlock=["pw0"])
    restored(volume.path, path, "pw0")
    assert volume.tree()["tokens"]["3"]["keyslots"] == ["1"]
    assert volume.tree()["keyslots"]["1"]["priority"] == 2


@LUKS2
def test_what_is_no_backup_is_not_replaced(
    volume: Luks2Volume, path: pathlib.Path, tmp_path: pathlib.Path, format: str
) -> None:
    other = Luks2Volume(tmp_path / "other").format(type=format)
    path.write_text("important")
    for name, words in (
        (path, "not a header backup"),
        (other.path, "whole volume"),
        (volume.path, "same file"),
        (tmp_path / "none" / "x", "does not exist"),
    ):
        for force in (True, False):
            with pytest.raises(ModuleFailed, match=words):
                backup(volume.path, name, force=force)
    assert path.read_text() == "important"
    path.write_bytes(b"")
    assert backup(volume.path, path)["changed"]
    backup(other.path, tmp_path / "b2")
    with pytest.raises(ModuleFailed, match="another volume"):
        backup(volume.path, tmp_path / "b2")
    assert backup(volume.path, tmp_path / "b2", force=True)["changed"]


@LUKS1
def test_a_detached_header(tmp_path: pathlib.Path, path: pathlib.Path, format: str) -> None:
    header = Luks2Volume(tmp_path / "header").like(type=format, slots={1: "pw1"})
    data = tmp_path / "data"
    data.write_bytes(bytes(1 << 20))
    backup(data, path, header=str(header.path))
    replace(header, "pw1", "pw2", "pw0")
    restored(data, path, "pw1", header=str(header.path))
    assert header.opens("pw1") and not header.opens("pw2")


@LUKS2
def test_a_link_leads_to_the_file_that_is_replaced(
    volume: Luks2Volume, path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    backup(volume.path, link)
    assert link.is_symlink() and path.is_file()


@needs_qemu
@pytest.mark.parametrize("format", FORMATS)
def test_images_of_qemu(tmp_path: pathlib.Path, path: pathlib.Path, format: str) -> None:
    image = QemuImage(tmp_path, format)
    result = backup(image.path, path)
    assert result["container"] == ("qcow2" if format == "qcow2" else "raw")
    (tmp_path / "key").write_text(OPENER)
    run("cryptsetup", "open", "--test-passphrase", "-d", tmp_path / "key", "--header", path, path)
    keyslots(image.path, [{"old_secret": {"passphrase": OPENER}, "new_secret": {"passphrase": "two"}, "pbkdf": CHEAP}])
    assert image.opened_by(OPENER, "two") == {"two"}
    restored(image.path, path, OPENER)
    assert image.opened_by(OPENER, "two") == {OPENER}
    image.check(OPENER)


@pytest.mark.needs("loop")
@LUKS1
def test_a_loop_device(volume: Luks2Volume, path: pathlib.Path) -> None:
    with loop_device(volume.path) as loop:
        backup(loop, path)
        replace(volume, "pw1", "pw2", "pw0")
        restored(loop, path, "pw1")
    assert volume.opens("pw1") and not volume.opens("pw2")


@LUKS2
def test_no_secret_gets_out(volume: Luks2Volume, path: pathlib.Path) -> None:
    backup(volume.path, path)
    replace(volume, "pw1", "a-secret-that-is-unique", "pw0")
    result = restored(volume.path, path, "pw1", "a-secret-that-is-unique")
    assert "a-secret-that-is-unique" not in str(result)
