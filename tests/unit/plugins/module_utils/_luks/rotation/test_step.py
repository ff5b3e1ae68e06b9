# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step of a rotation on volumes that cryptsetup made: what is proven before anything depends on it, and that each
volume is alone.
"""

from __future__ import annotations

import gzip
import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks import files
from ansible_collections.luksmith.luks.plugins.module_utils._luks.rotation import step as rotation_step
from ansible_collections.luksmith.luks.plugins.module_utils._luks.rotation import unknown
from ansible_collections.luksmith.luks.plugins.module_utils._luks.rotation.step import step
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import _Amendment as Amendment
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import discovery, elsewhere
from ansible_collections.luksmith.luks.tests.crash import volumes as crash
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as volumes

Json = t.Dict[str, t.Any]

LEAKED, FIRE = (volumes.secret(text) for text in volumes.MADE)
NEXT, STRANGER = volumes.secret("next"), volumes.secret("stranger")
PATH = {"header": None, "uuid": None}
LISTS = ("unlock", "keyslots", "hints", "replaced", "keyfiles")
WORK: Json = {**PATH, "kept": 0, "prove": None, **{name: [] for name in LISTS}}
NOTHING: Json = {"discover": None, "volumes": [], "orders": [], "others": []}
USUAL: Json = {**NOTHING, "backup": None, "backup_dir": None, "wipe": "auto", "lock_timeout": 30.0, "qmp": {}}


@pytest.fixture(params=["luks1", "luks2"])
def volume(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "volume"
    path.write_bytes(gzip.decompress((volumes.FIXTURES / f"{request.param}.img.gz").read_bytes()))
    return path


def entry(volume: pathlib.Path, **members: t.Any) -> Json:
    form = "luks2" if volume.read_bytes()[6:8] == b"\0\2" else "luks1"
    return {"pbkdf": volumes.CHEAP[form], **members} if members.get("state") != "absent" else members


def add(volume: pathlib.Path, new: Json) -> Json:
    return {**WORK, "device": str(volume), "unlock": [LEAKED], "keyslots": [entry(volume, new_secret=new)]}


def run(name: str, *works: Json, **more: t.Any) -> t.List[Json]:
    return t.cast(t.List[Json], step({**USUAL, "step": name, "volumes": list(works), **more})["volumes"])


def test_what_was_added_must_open_before_a_keyfile_depends_on_it(volume: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """As if the volume did not keep what was written: the secret to prove is one that it does not have."""
    keyfile = tmp_path / "data.key"
    keyfile.write_text("winter-2025")
    follows = {"name": "data", "path": str(keyfile), "keyfile_offset": None, "keyfile_size": None}
    work = {**add(volume, NEXT), "replaced": [LEAKED], "keyfiles": [follows]}
    (done,) = run("add", {**work, "prove": STRANGER})
    assert (done["failed"], done["phase"], done["changed"]) == (True, "prove", True)
    assert "opens no keyslot after it was added" in done["msg"] and "The old secrets still open it" in done["msg"]
    assert keyfile.read_text() == "winter-2025"
    (done,) = run("add", {**work, "prove": NEXT})
    assert "failed" not in done and keyfile.read_text() == "next"


def test_the_header_that_a_device_has_beside_a_detached_one_is_told(
    volume: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """In a look without any secret, in one with a plan, and after the change."""
    detached = tmp_path / "detached"
    detached.write_bytes(volume.read_bytes())
    work = {**add(volume, NEXT), "header": str(detached)}
    (blind,), (planned,), (added,) = run("look", {**work, "keyslots": []}), run("look", work), run("add", work)
    for told, opened in ((blind, []), (planned, [LEAKED["label"]]), (added, [LEAKED["label"]])):
        (row,) = told["chain"]
        assert (row["role"], row["path"], row["opened_by"]) == ("device", str(volume), opened)
    (whole,) = run("look", add(volume, NEXT))
    assert whole["chain"] == []


def test_the_secrets_of_each_part_of_a_step_are_wiped(volume: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: t.List[t.Any] = []

    def kept(function: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        return lambda params: tasks.append(function(params)) or tasks[-1]

    monkeypatch.setattr(rotation_step, "parse_task", kept(rotation_step.parse_task))
    for module in (parse_info, unknown):
        monkeypatch.setattr(module, "parse_info", kept(module.parse_info))
    run("look", add(volume, NEXT))
    run("add", {**add(volume, NEXT), "prove": NEXT}, {**add(volume, NEXT), "prove": STRANGER})
    assert len(tasks) >= 4
    assert not any(any(secret.value) for task in tasks for secret in task.secrets)


@pytest.mark.needs("cryptsetup")
@pytest.mark.parametrize("make", [crash.luks1, crash.luks2])
def test_the_only_known_secret_of_a_full_header_is_replaced_beside_a_copy(
    make: t.Callable[[t.Mapping[int, str]], bytes], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "check_elsewhere", lambda folder, volume: [])
    volume, copies = tmp_path / "volume", tmp_path / "copies"
    volume.write_bytes(make({**dict.fromkeys(range(8), "delta"), 3: "alpha"}))
    copies.mkdir()
    old = {"label": "old", "passphrase": crash.SECRETS["alpha"].decode()}
    new = {"new_secret": NEXT, "pbkdf": {"iterations": 1000}}
    work = {**WORK, "device": str(volume), "unlock": [old], "keyslots": [new, {"state": "absent", "old_secret": old}]}
    before = volume.read_bytes()
    (done,) = run("add", work)
    assert done["failed"] and "rotate" not in done["msg"] and "set backup_dir" in done["msg"]
    assert volume.read_bytes() == before
    (done,) = run("add", {**work, "prove": NEXT}, backup_dir=str(copies))
    assert [row["action"] for row in done["plan"]] == ["copy-header", "erase", "add", "remove-copy"]
    assert not list(copies.iterdir())


def test_a_volume_that_is_refused_stops_no_other(volume: pathlib.Path, tmp_path: pathlib.Path) -> None:
    blank = tmp_path / "blank"
    blank.write_bytes(bytes(4096))
    refused, done = run("add", {**WORK, "device": str(blank), "keyslots": [{"new_secret": NEXT}]}, add(volume, NEXT))
    assert refused["failed"] and not refused["changed"] and str(blank) in refused["msg"]
    assert "failed" not in done and done["changed"]


def test_a_look_changes_nothing_and_says_what_would_be_done(volume: pathlib.Path) -> None:
    before = volume.read_bytes()
    (seen,) = run("look", add(volume, NEXT))
    assert volume.read_bytes() == before
    assert [action["action"] for action in seen["plan"]["plan"]] == ["add"]


def test_keyslots_that_nothing_known_opens_are_named(volume: pathlib.Path) -> None:
    """Break-glass is in keyslot 1: unknown, unless its secret is given."""
    (seen,) = run("look", add(volume, NEXT))
    assert [(row["keyslot"], row["tried"]) for row in seen["unknown"]] == [(1, True)]
    (seen,) = run("look", {**add(volume, NEXT), "unlock": [LEAKED, FIRE]})
    assert seen["unknown"] == []


def test_the_backup_is_made_after_the_erase(volume: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A backup from before would still open with what was erased."""
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    (seen,) = run("look", add(volume, NEXT))
    work = {**WORK, "device": str(volume), "uuid": seen["uuid"], "unlock": [FIRE]}
    (done,) = run("erase", {**work, "keyslots": [{"state": "absent", "old_secret": LEAKED}]}, backup=str(folder))
    assert "failed" not in done and done["backup"]
    (backup,) = folder.iterdir()
    assert backup.name == f"{seen['uuid']}.luks-header"
    (seen,) = run("look", {**WORK, "device": str(backup), "unlock": [FIRE], "keyslots": [{"new_secret": LEAKED}]})
    assert [action["action"] for action in seen["plan"]["plan"]] == ["add"]  # so the backup does not open with it


def test_a_backup_that_could_not_be_made_again_is_told_before_anything_is_changed(
    volume: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system with the backup is full, and the backup is good until the volume changes."""
    folder, leaked = tmp_path / "backups", {"state": "absent", "old_secret": LEAKED}
    folder.mkdir(mode=0o700)
    (seen,) = run("look", add(volume, NEXT))
    erase = {**WORK, "device": str(volume), "uuid": seen["uuid"], "unlock": [FIRE], "keyslots": [leaked]}
    full = os.statvfs_result((4096, 4096, 1000, 1, 1, 100, 9, 9, 0, 255))
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "statvfs", lambda _folder: full)
        (seen,) = run("look", add(volume, NEXT), backup=str(folder))
        assert seen["failed"] and seen["phase"] == "backup" and "4 KiB are free" in seen["msg"]
    run("erase", {**erase, "keyslots": []}, backup=str(folder))  # makes the backup, and nothing else
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "statvfs", lambda _folder: full)
        (seen,) = run("look", add(volume, NEXT), backup=str(folder))
        assert seen["failed"] and seen["phase"] == "backup" and "4 KiB are free" in seen["msg"]
        (seen,) = run("look", {**add(volume, NEXT), "keyslots": []}, backup=str(folder))
        assert "failed" not in seen, "nothing is to be done, so that no room is needed"

    def no_room(*_arguments: t.Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write", no_room)
    (done,) = run("erase", erase, backup=str(folder))
    assert done["failed"] and done["changed"] and done["phase"] == "backup"
    assert "The backup of before stays, and opens the volume with the secrets of before" in done["msg"]


NAMED = [
    ("", True),
    ("data UUID=4b543c86-7353-47b9-b355-d0ef03989991 none luks\n", True),
    ("data UUID=4b543c86-7353-47b9-b355-d0ef03989991 /root/data.key luks\n", False),
    ("data\n", False),
    (None, True),
]


@pytest.mark.parametrize(("crypttab", "spared"), NAMED)
def test_named_volumes_are_searched_for_only_if_crypttab_has_a_keyfile(
    volume: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    crypttab: t.Optional[str],
    spared: bool,
) -> None:
    """A search reads every block device, and its result is asked for keyfiles alone then; an odd line is told of."""
    searched = []

    def discover(**options: t.Any) -> Json:
        searched.append(options)
        lines = [{"name": "data", "keyfile": "/root/data.key", "options": ["keyfile-size=9"]}]
        uuid = run("look", {**WORK, "device": str(volume)})[0]["uuid"]
        found = {"device": str(volume), "header": None, "uuid": uuid, "crypttab": lines}
        return {"volumes": [found], "warnings": ["odd"], "unreadable": [], "unmatched": []}

    monkeypatch.setattr(discovery, "discover", discover)
    path = tmp_path / "crypttab"
    if crypttab is not None:
        path.write_text(crypttab)
    search = {"paths": [], "block_devices": True, "crypttab": str(path), "exclude": []}
    (seen,) = run("look", {**WORK, "device": str(volume)}, discover=search)
    assert bool(searched) != spared
    assert [one["path"] for one in seen["crypttab"]] == ([] if spared else ["/root/data.key"])
    assert [one["uuid"] for one in run("look", discover=search)] == [seen["uuid"]]
    assert searched, "without names it is always searched"


@pytest.mark.parametrize(
    ("hints", "derivations"),
    [
        ({}, 4),
        ({"break-glass": 1, "leaked": 0}, 3),
        ({"break-glass": 0, "leaked": 1}, 4),
        ({"break-glass": 7, "leaked": -1, "nobody": 1}, 4),
    ],
    ids=["none", "right", "wrong", "none-of-this-volume"],
)
def test_a_hint_saves_a_derivation_and_decides_nothing(
    volume: pathlib.Path, hints: t.Dict[str, int], derivations: int
) -> None:
    """One for each of the three keyslots at best, and a wrong one costs no more than none."""
    named = zip((*volumes.MADE, "next"), ("leaked", "break-glass", "new one"))
    leaked, glass, new = ({"passphrase": passphrase, "label": label} for passphrase, label in named)
    told = [{"label": label, "keyslot": keyslot} for label, keyslot in hints.items()]
    work = {**add(volume, new), "unlock": [glass, leaked], "kept": 1, "hints": told}
    (added,) = run("add", work)
    gone = {"state": "absent", "old_secret": leaked}
    (erased,) = run("erase", {**work, "keyslots": [*work["keyslots"], gone]})
    assert [one["action"] for one in (*added["plan"], *erased["plan"])] == ["add", "erase"]
    assert {row["keyslot"]: row["opened_by"] for row in erased["keyslots"] if row["state"] == "active"} == {
        1: ["break-glass"],
        2: ["new one"],
    }
    assert (added["kdf_evaluations"], erased["kdf_evaluations"]) == (derivations, derivations)


def test_a_path_that_the_controller_cannot_be_told_is_refused(volume: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """It would come back as another path: that of another volume, or of a keyfile that is not there."""
    search = {"paths": [f"{tmp_path}/*"], "block_devices": False, "crypttab": str(tmp_path / "crypttab"), "exclude": []}
    volume.with_name("odd\udcff").write_bytes(volume.read_bytes())
    odd, plain = run("look", discover=search)
    assert "failed" not in plain and odd["phase"] == "look"
    assert odd["failed"] and "is not UTF-8" in odd["msg"] and "Rename it" in odd["msg"]
    (tmp_path / "crypttab").write_bytes(b"data " + os.fsencode(volume) + b" " + os.fsencode(tmp_path) + b"/key\xff\n")
    for told in run("look", discover=search):
        assert told["failed"] and "is not UTF-8" in told["msg"]
        assert told["device"] != str(volume) or "keyfile of data in crypttab" in told["msg"]


@pytest.mark.needs("cryptsetup")
@pytest.mark.parametrize("name", ["add", "erase"])
def test_a_path_that_leads_to_another_volume_by_now_is_refused(
    volume: pathlib.Path, tmp_path: pathlib.Path, name: str
) -> None:
    """The secret of one volume would come to the other one, and the store would say that the first one has it."""
    path, other = tmp_path / "by-path", tmp_path / "other"
    other.write_bytes(volume.read_bytes())
    crash.run("cryptsetup", "luksUUID", "-q", "--uuid", "00000000-0000-4000-8000-000000000001", other)
    path.symlink_to(volume)
    (seen,) = run("look", {**WORK, "device": str(path)})
    path.unlink()
    path.symlink_to(other)
    before, backup = other.read_bytes(), tmp_path / "backup"
    backup.mkdir()
    for work in (add(volume, NEXT), {**add(volume, NEXT), "keyslots": []}):
        work = {**work, "device": str(path), "uuid": seen["uuid"].upper(), "prove": LEAKED}
        (done,) = run(name, work, backup=str(backup))
        assert done["failed"] and not done["changed"] and "is at this path now" in done["msg"], done
        assert seen["uuid"].upper() in done["msg"] and "00000000-0000-4000-8000-000000000001" in done["msg"]
    assert other.read_bytes() == before and not list(backup.iterdir())
    path.unlink()
    path.symlink_to(volume)
    (done,) = run(name, {**work, "keyslots": add(volume, NEXT)["keyslots"]})
    assert "failed" not in done and done["changed"]


@pytest.mark.parametrize("beside", ["nothing", "a keyfile in crypttab"])
def test_a_path_that_somebody_wrote_is_one_of_this_host(
    volume: pathlib.Path, tmp_path: pathlib.Path, beside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in ``device`` of the other modules; what a look has named is asked for to the letter."""
    monkeypatch.setenv("HOME", str(tmp_path))
    if beside != "nothing":
        (tmp_path / "crypttab").write_text(f"data {volume} {tmp_path}/data.key luks\n")
    search = {"paths": [], "block_devices": False, "crypttab": str(tmp_path / "crypttab"), "exclude": []}
    for written in ("~/volume", "$HOME/volume"):
        work = {**WORK, "device": written, "header": written}
        (seen,) = run("look", work, discover=search)
        assert (seen["device"], seen["header"]) == (str(volume), str(volume)) and "failed" not in seen
        assert len(seen["crypttab"]) == (beside != "nothing")
        (seen,) = run("look", work)
        assert seen["failed"] and seen["device"] == written


def test_a_volume_under_several_paths_is_one(volume: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A link, a second name, the same path again, and a path without a file twice; a copy is another volume."""
    link, hard, copy, gone = (tmp_path / name for name in ("link", "hard", "copy", "gone"))
    link.symlink_to(volume)
    os.link(volume, hard)
    copy.write_bytes(volume.read_bytes())
    works = [{**WORK, "device": str(path)} for path in (link, volume, hard, copy, gone, gone)]
    search = {"paths": [], "block_devices": False, "crypttab": str(tmp_path / "crypttab"), "exclude": []}
    told = step({**USUAL, "step": "look", "volumes": works, "discover": search})
    assert [one["device"] for one in told["volumes"]] == [str(link), str(copy), str(gone)]
    assert told["warnings"] == [
        f"{again} is the same volume as {first}, and is rotated as that"
        for again, first in ((volume, link), (hard, link), (gone, gone))
    ]
    assert len(run("look", works[0], works[1])) == 2  # asked again about what it has named


def test_a_volume_with_the_secret_of_another_host_gets_none_of_this_one(volume: pathlib.Path) -> None:
    """Two hosts have it, and both rotate it in one run; LUKS1 has no record that would name the other one's."""
    (done,) = run("add", {**add(volume, NEXT), "prove": NEXT})
    assert done["changed"]
    before = volume.read_bytes()
    mine = {**add(volume, STRANGER), "prove": STRANGER}
    (refused,) = run("add", mine, others=["rotation 0badcafe", NEXT["label"]])
    assert f"was made for {NEXT['label']}, which is the secret of another host" in refused["msg"]
    assert volume.read_bytes() == before and not refused["changed"]
    (done,) = run("add", mine, others=["rotation 0badcafe"])
    assert done["changed"] and "failed" not in done


def test_whose_secret_came_first_is_seen_under_the_lock(volume: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, write = dict(add(volume, NEXT)), Amendment._write

    def first(self: t.Any, planned: t.Any) -> t.Any:
        with monkeypatch.context() as patch:
            patch.setattr(Amendment, "_write", write)
            assert "failed" not in run("add", {**other, "prove": NEXT})[0]
        return write(self, planned)

    monkeypatch.setattr(Amendment, "_write", first)
    (refused,) = run("add", {**add(volume, STRANGER), "prove": STRANGER}, others=[NEXT["label"]])
    assert f"was made for {NEXT['label']}, " in refused["msg"] and not refused["changed"]
