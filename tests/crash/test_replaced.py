# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time of check, time of use: somebody else acts between our look and our write, or between two of our writes.

The moments are exact: the intruder is called in the place of the function that the module calls then. What is found
changed is refused or planned again, and what the intruder did is never overwritten. What cannot be closed is the moment
between the comparison right before a write and that write; against everybody who takes the locks of QEMU or cryptsetup
that moment does not exist.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply import executor as applying
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.header_writer import HeaderWriter
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend as usecases_amend
from ansible_collections.luksmith.luks.plugins.module_utils._module import runner
from ansible_collections.luksmith.luks.tests.crash import checker
from ansible_collections.luksmith.luks.tests.crash.operations import A, B, C, D, absent, present, task
from ansible_collections.luksmith.luks.tests.crash.volumes import CHEAP, SECRETS, luks1, luks2

pytestmark = pytest.mark.needs("cryptsetup")

Slots = t.Dict[int, str]
MAKERS = {"luks1": luks1, "luks2": luks2}
SLOTS: Slots = {0: A, 1: C}
ROTATE = task(present(B, old=A), absent(old=C))


def module(device: pathlib.Path, wanted: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return runner._outcome(
        lambda: usecases_amend.amend(parse_task({"device": str(device), "lock_timeout": 0, **wanted}), check=False), ""
    )


def openers(path: pathlib.Path) -> t.Dict[int, t.FrozenSet[str]]:
    return checker.openers(path.read_bytes(), SECRETS)


def names(path: pathlib.Path) -> t.FrozenSet[str]:
    return frozenset().union(*openers(path).values())


def other(kind: str) -> bytes:
    """Another volume that the same secrets open: another uuid, another volume key."""
    return MAKERS[kind]({**SLOTS, 7: D})


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def volume(kind: str, tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "volume"
    path.write_bytes(MAKERS[kind](SLOTS))
    return path


def before_locking(monkeypatch: pytest.MonkeyPatch, intrude: t.Callable[[], None]) -> None:
    """Once, after the plan was made and before the volume is opened for writing."""
    amend = usecases_amend._Amendment._write

    def intruded(self: t.Any, look: t.Any) -> t.Any:
        monkeypatch.setattr(usecases_amend._Amendment, "_write", amend)
        intrude()
        return amend(self, look)

    monkeypatch.setattr(usecases_amend._Amendment, "_write", intruded)


def before_write(monkeypatch: pytest.MonkeyPatch, number: int, intrude: t.Callable[[], None]) -> t.List[int]:
    """Before the write of that number, counted from 0 and including its comparison.

    Returns the list of writes that began.
    """
    write, seen = HeaderWriter._guarded_write, [0]

    def intruded(self: t.Any, offset: int, data: bytes) -> None:
        seen[0] += 1
        if seen[0] == number + 1:
            intrude()
        write(self, offset, data)

    monkeypatch.setattr(HeaderWriter, "_guarded_write", intruded)
    return seen


def writes_of(volume: pathlib.Path, wanted: t.Mapping[str, t.Any]) -> int:
    image, write, count = volume.read_bytes(), HeaderWriter._guarded_write, [0]

    def counted(self: t.Any, offset: int, data: bytes) -> None:
        count[0] += 1
        write(self, offset, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeaderWriter, "_guarded_write", counted)
        assert module(volume, wanted)["changed"]
    volume.write_bytes(image)
    return count[0]


# Between the plan and the locks


def test_a_link_that_leads_to_another_volume_by_then_is_refused(
    kind: str, volume: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, link = tmp_path / "second", tmp_path / "link"
    second.write_bytes(other(kind))
    link.symlink_to(volume)
    images = volume.read_bytes(), second.read_bytes()

    def swap() -> None:
        link.unlink()
        link.symlink_to(second)

    before_locking(monkeypatch, swap)
    result = module(link, ROTATE)
    assert (
        result.get("failed")
        and not result["changed"]
        and "another volume" in result["msg"]
        and "Nothing was changed" in result["msg"]
    )
    assert (volume.read_bytes(), second.read_bytes()) == images


def test_another_file_with_the_same_header_is_proven_again(
    volume: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy has the header of the volume, but the key material of the slot that was proven to stay is gone."""
    header = checker.read(volume.read_bytes())
    copy = bytearray(volume.read_bytes())
    copy[header.slots[0].offset : header.slots[0].offset + 64000] = bytes(64000)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(copy)
    before_locking(monkeypatch, lambda: os.replace(damaged, volume))
    result = module(volume, task(absent(old=C)))
    assert result.get("failed") and not result["changed"], result
    assert volume.read_bytes() == copy


def test_another_file_of_the_same_volume_is_planned_again(
    volume: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "moved"
    moved.write_bytes(volume.read_bytes())
    before_locking(monkeypatch, lambda: os.replace(moved, volume))
    result = module(volume, ROTATE)
    assert result["changed"] and not result.get("failed")
    assert any("new plan was made" in warning for warning in result["warnings"])
    assert names(volume) == {B}


def test_a_key_that_somebody_added_by_then_stays(
    volume: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_locking(monkeypatch, lambda: add(volume, D, tmp_path))
    result = module(volume, ROTATE)
    assert result["changed"] and any("new plan was made" in warning for warning in result["warnings"])
    assert names(volume) == {B, D}


def test_key_material_that_is_gone_by_then_is_no_proof(volume: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody wipes the area of the slot that was proven to stay, and has not come to the header yet."""
    before_locking(monkeypatch, lambda: wipe_area(volume, 0))
    result = module(volume, task(absent(old=C)))
    assert result.get("failed") and not result["changed"], result
    assert names(volume) == {C}, "the last opener was erased"


# Between two writes


def add(volume: pathlib.Path, name: str, folder: pathlib.Path) -> None:
    for secret in (A, B, C):
        key, new = folder / "key", folder / "new"
        key.write_bytes(SECRETS[secret])
        new.write_bytes(SECRETS[name])
        # Without cryptsetup's own locks: the module holds them.
        command = [
            "cryptsetup",
            "luksAddKey",
            "-q",
            "--disable-locks",
            *CHEAP,
            "--new-key-slot",
            "7",
            "--key-file",
            key,
            volume,
            new,
        ]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            return
    pytest.fail("the intruder could not add a key")


def wipe_area(volume: pathlib.Path, keyslot: int) -> None:
    slot = checker.read(volume.read_bytes()).slots[keyslot]
    fd = os.open(volume, os.O_WRONLY)
    try:
        os.pwrite(fd, os.urandom(64000), slot.offset)
    finally:
        os.close(fd)


def test_a_key_that_somebody_adds_between_two_writes_is_never_overwritten(
    volume: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """It may take long: before each write of a rotation cryptsetup adds a key; the module then runs twice more."""
    start = volume.read_bytes()
    for number in range(writes_of(volume, ROTATE)):
        volume.write_bytes(start)
        with pytest.MonkeyPatch.context() as patch:
            seen = before_write(patch, number, lambda: add(volume, D, tmp_path))
            result = module(volume, ROTATE)
        assert result.get("failed") and seen[0] == number + 1, f"before write {number}: {result}"
        assert "no longer the one that was read" in result["msg"]
        assert ("actions_left" in result) == bool(number) == result["changed"]
        assert D in names(volume), f"before write {number}: the other's key is gone"
        again = module(volume, ROTATE)
        assert not again.get("failed"), f"before write {number}: {again['msg']}"
        assert names(volume) == {B, D}
        assert not module(volume, ROTATE)["changed"]


def test_the_last_proven_opener_wiped_between_two_writes_stops_the_erase(volume: pathlib.Path) -> None:
    """After the add, before the erase: nobody may end with a volume that nothing opens."""
    wanted = task(absent(old=C), unlock=(A,))
    before = volume.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        clear = applying.apply_plan

        def intruded(*arguments: t.Any, **options: t.Any) -> None:
            wipe_area(volume, 0)
            clear(*arguments, **options)

        patch.setattr(applying, "apply_plan", intruded)
        result = module(volume, wanted)
    assert result.get("failed") and not result["changed"], result
    assert volume.read_bytes()[:1024] == before[:1024] and names(volume) == {C}


def test_a_path_that_leads_elsewhere_between_two_writes_stops_the_run(
    volume: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    start = volume.read_bytes()
    moved, second = tmp_path / "moved", tmp_path / "second"
    for number in range(writes_of(volume, ROTATE)):
        volume.write_bytes(start)
        second.write_bytes(start)

        def swap() -> None:
            os.rename(volume, moved)
            os.rename(second, volume)

        with pytest.MonkeyPatch.context() as patch:
            before_write(patch, number, swap)
            result = module(volume, ROTATE)
        assert result.get("failed") and "no longer leads to the file" in result["msg"], (
            f"before write {number}: {result}"
        )
        assert ("actions_left" in result) == bool(number) == result["changed"]
        assert volume.read_bytes() == start, "the file that took the place was written"
        os.replace(moved, volume)
        assert names(volume), "nothing opens"
        assert not module(volume, ROTATE).get("failed")
        assert names(volume) == {B}


def test_a_path_that_leads_elsewhere_after_the_last_write_is_said(
    volume: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, moved = tmp_path / "second", tmp_path / "moved"
    second.write_bytes(volume.read_bytes())
    apply = applying.apply_plan

    def intruded(*arguments: t.Any, **options: t.Any) -> None:
        apply(*arguments, **options)
        os.rename(volume, moved)
        os.rename(second, volume)

    monkeypatch.setattr(applying, "apply_plan", intruded)
    result = module(volume, ROTATE)
    assert result.get("failed") and result["changed"] and not result["actions_left"], result
    assert [row["action"] for row in result["actions_done"]] == ["rekey", "erase"]
