# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody or something comes between the writes of a run. tests/crash does it at every moment; here is one of each
kind.
"""

from __future__ import annotations

import pathlib
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply import (
    executor,
    header_writer,
    keyslot_writer,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.executor import apply_plan
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.header_writer import HeaderWriter
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply.luks2_steps import Luks2Steps
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import cipher, kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import (
    HeaderChanged,
    Interrupted,
    Refused,
    StorageFault,
    Unsupported,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2.codec import Luks2Header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.plan.types import Action, ActionKind, Plan
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.prover import Prover
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import locked_write
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import Region, Volume, open_volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as full
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import (
    MADE,
    absent,
    present,
    scribble,
)

BOTH = pytest.mark.parametrize("format", ["luks1", "luks2"])
# A byte of the header that no check of a format looks at: padding in LUKS1, the label in LUKS2.
QUIET = {"luks1": 900, "luks2": 30}


@pytest.fixture
def volume(tmp_path: pathlib.Path, format: str) -> pathlib.Path:
    path = tmp_path / "volume"
    full.make(path, format, 2)
    return path


@BOTH
def test_a_header_that_changes_in_spite_of_the_locks(
    volume: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other one wrote stays."""
    right, areas = Region.write, []

    def write(region: Region, offset: int, data: bytes) -> None:
        right(region, offset, data)
        if offset >= 4096 and not areas:  # key material; the header comes next
            areas.append(offset)
            scribble(volume, QUIET[format], b"\xa5")

    monkeypatch.setattr(Region, "write", write)
    with pytest.raises(Interrupted, match=r"(?i)the header on disk is no longer the one that was read"):
        full.amend_volume(volume, present(format, "new", keyslot=5), unlock=MADE[:1])
    assert areas
    assert volume.read_bytes()[QUIET[format]] == 0xA5


@BOTH
def test_key_material_that_the_medium_does_not_give_back(
    volume: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header never lists a keyslot that does not open."""
    right = HeaderWriter.write_area
    monkeypatch.setattr(
        HeaderWriter, "write_area", lambda disk, area, data: right(disk, area, data).replace(data[:1], b"?")
    )
    with pytest.raises(Interrupted, match=r"(?i)the key material for keyslot 5, read back .* does not open"):
        full.amend_volume(volume, present(format, "new", keyslot=5), unlock=MADE[:1])
    with open_volume(str(volume), writable=False) as opened:
        assert sorted(read_header(opened).keyslots) == [0, 1]


@BOTH
def test_a_header_that_cannot_be_read_any_more(
    volume: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not said that somebody changed it."""
    write, reread, written = Region.write, Region.reread, []

    def fails(region: Region, offset: int, length: int) -> bytes:
        if written and offset < 512:
            raise StorageFault("input/output error")
        return reread(region, offset, length)

    monkeypatch.setattr(
        Region, "write", lambda region, offset, data: (write(region, offset, data), written.append(offset))
    )
    monkeypatch.setattr(Region, "reread", fails)
    with pytest.raises(Interrupted, match=r"(?i)input/output error") as caught:
        full.amend_volume(volume, present(format, "new", keyslot=5), unlock=MADE[:1])
    assert "another program" not in str(caught.value)


@BOTH
def test_a_fault_before_the_first_write_is_no_interruption(
    volume: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_disk: HeaderWriter) -> None:
        raise StorageFault("input/output error")

    before = volume.read_bytes()
    monkeypatch.setattr(HeaderWriter, "_guard", fail)
    with pytest.raises(StorageFault, match=r"(?s)input/output error.*Nothing was changed\."):
        full.amend_volume(volume, present(format, "new", keyslot=5), unlock=MADE[:1])
    assert volume.read_bytes() == before


def test_a_header_that_must_not_be_written_is_not() -> None:
    writer: t.Any = types.SimpleNamespace(
        disk=types.SimpleNamespace(
            header=types.SimpleNamespace(write_obstacle=Refused("a requirement from the future"))
        )
    )
    with pytest.raises(Refused, match="requirement from the future"):
        apply_plan(Plan((Action(ActionKind.ERASE, 1, "because"),)), writer, record=False)


@BOTH
def test_another_volume_behind_the_path(volume: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It came between the plan and the locks: not even the same secrets make it the one that was meant."""
    right = amend.read_header

    def header_of(opened: t.Any) -> t.Any:
        header = right(opened)
        monkeypatch.setattr(header, "uuid", "0b6dd9bb-21a1-4c9c-b8b0-0a3d8f2c6a55")
        return header

    before = volume.read_bytes()
    monkeypatch.setattr(amend, "read_header", header_of)
    with pytest.raises(Refused, match=r"(?i)the path leads to another volume \(uuid 0b6dd9bb"):
        full.amend_volume(volume, present(format, "new", keyslot=5), unlock=MADE[:1])
    assert volume.read_bytes() == before


@BOTH
def test_key_material_that_changed_while_the_header_did_not(
    volume: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot that was shown to open opens no more: the other one must not be erased on the strength of that."""
    right = locked_write.open_volume
    with right(str(volume), None, writable=False) as opened:
        area = amend.read_header(opened).keyslots[0].area

    def open_volume(*arguments: t.Any, writable: bool) -> t.Any:
        scribble(volume, area.offset, bytes(area.size))
        return right(*arguments, writable=writable)

    monkeypatch.setattr(locked_write, "open_volume", open_volume)
    with pytest.raises(Refused):
        full.amend_volume(volume, absent(MADE[1]), unlock=MADE[:1])
    monkeypatch.undo()
    assert not full.amend_volume(volume, present(format, MADE[1], keyslot=1))["changed"]


@BOTH
def test_key_material_that_changes_under_the_locks(
    volume: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keyslot 1 may only go because keyslot 0 was shown to open; it is looked at again right before."""
    right = header_writer.HeaderWriter

    def disk(opened: t.Any, header: t.Any, **options: t.Any) -> HeaderWriter:
        area = header.keyslots[0].area
        scribble(volume, area.offset, bytes(area.size))
        return right(opened, header, **options)

    monkeypatch.setattr(header_writer, "HeaderWriter", disk)
    with pytest.raises(
        HeaderChanged, match=r"(?i)the key material of keyslot 0 is no longer what a secret of this task opened"
    ):
        full.amend_volume(volume, absent(MADE[1]), unlock=MADE[:1])
    monkeypatch.undo()
    assert not full.amend_volume(volume, present(format, MADE[1], keyslot=1))["changed"]


@pytest.mark.parametrize("format", ["luks2"])
def test_check_mode_says_so_too(volume: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Luks2Header, "write_obstacle", Refused("a requirement from the future"))
    for check in (True, False):
        with pytest.raises(Refused, match="requirement from the future"):
            full.amend_volume(volume, present("luks2", "new", keyslot=5), unlock=MADE[:1], check=check)


@BOTH
@pytest.mark.parametrize("lacking", [(cipher, "check"), (kdf, "hash_size")], ids=["cipher", "hash"])
def test_what_this_host_lacks_is_said_before_the_first_write(
    volume: pathlib.Path, format: str, lacking: t.Tuple[t.Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_asked: t.Any) -> t.NoReturn:
        raise Unsupported("cipher", "serpent")

    before = volume.read_bytes()
    monkeypatch.setattr(keyslot_writer, "cipher", types.SimpleNamespace(check=cipher.check))
    monkeypatch.setattr(keyslot_writer, "kdf", types.SimpleNamespace(hash_size=kdf.hash_size, check=kdf.check))
    monkeypatch.setattr(keyslot_writer.cipher if lacking[0] is cipher else keyslot_writer.kdf, lacking[1], fail)
    for check in (True, False):
        with pytest.raises(Unsupported, match=r"serpent.*Nothing was changed\."):
            full.amend_volume(volume, present(format, "new", keyslot=5), unlock=MADE[:1], check=check)
    assert volume.read_bytes() == before


@BOTH
def test_the_keys_of_a_new_keyslot_are_wiped(
    volume: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped: t.List[int] = []
    monkeypatch.setattr(keyslot_writer, "wipe", lambda key: wiped.append(id(key)))
    opened: t.List[t.Any] = []
    right = keyslot_writer.key_material.unseal
    monkeypatch.setattr(
        keyslot_writer.key_material, "unseal", lambda *given: opened.append(right(*given)) or opened[-1]
    )
    full.amend_volume(volume, present(format, "new", keyslot=5), unlock=MADE[:1])
    assert id(opened[-1]) == wiped[0] and len(wiped) == 2


@pytest.mark.parametrize("format", ["luks2"])
@pytest.mark.parametrize("check", [True, False])
def test_a_plan_that_the_header_cannot_hold_is_refused_before_the_locks(
    volume: pathlib.Path, check: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_steps: Luks2Steps, _action: Action) -> t.NoReturn:
        raise Refused("the metadata would not fit")

    monkeypatch.setattr(Luks2Steps, "add", fail)
    with pytest.raises(Refused, match=r"(?i)the plan cannot be completed: at add of keyslot 5, the metadata would"):
        full.amend_volume(volume, present("luks2", "new", keyslot=5), unlock=MADE[:1], check=check)


@BOTH
def test_what_comes_before_the_locks(volume: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume key is there, and what writes is imported: nobody waits for that."""
    said: t.List[str] = []
    import_steps, right = executor.import_steps, locked_write.locked_write

    def lock(*given: t.Any, **how: t.Any) -> t.Any:
        said.append("locked")
        return right(*given, **how)

    monkeypatch.setattr(executor, "import_steps", lambda format: said.append(format) or import_steps(format))
    monkeypatch.setattr(locked_write, "locked_write", lock)
    assert full.amend_volume(volume, present(format, "new", keyslot=5), unlock=MADE[:1])["changed"]
    assert said[0] == format and said.count("locked") == 1

    def none(_prover: Prover) -> t.NoReturn:
        raise Refused("there is no volume key")

    monkeypatch.setattr(Prover, "need_volume_key", none)
    with pytest.raises(Refused, match=r"(?i)there is no volume key"):
        full.amend_volume(volume, present(format, "another", keyslot=6), unlock=MADE[:1])
    assert said.count("locked") == 1


@BOTH
def test_check_mode_looks_whether_the_volume_can_be_written(
    volume: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_volume: Volume) -> t.NoReturn:
        raise StorageFault("the block device is read-only")

    monkeypatch.setattr(Volume, "check_writable", fail)
    with pytest.raises(StorageFault, match=r"(?i)the block device is read-only"):
        full.amend_volume(volume, present(format, "new", keyslot=5), unlock=MADE[:1], check=True)
    assert not full.amend_volume(volume, present(format, MADE[0], keyslot=0), check=True)["changed"]


@BOTH
def test_another_file_at_the_path_after_the_change(
    volume: pathlib.Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was changed is gone with the file that was open."""

    def apply(*given: t.Any, **how: t.Any) -> None:
        apply_plan(*given, **how)
        other = volume.with_name("other")
        full.make(other, format, 2)
        other.rename(volume)

    monkeypatch.setattr(executor, "apply_plan", apply)
    with pytest.raises(Interrupted, match="the path leads to another one now") as caught:
        full.amend_volume(volume, present(format, "new", keyslot=5), unlock=MADE[:1])
    assert [action.keyslot for action in caught.value.actions_done] == [5] and not caught.value.actions_left


@pytest.mark.parametrize("format", ["luks1"])
def test_a_path_that_leads_elsewhere_when_the_locks_are_held(
    volume: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at before anything is read again, and not only before a write."""

    def gone(_volume: Volume) -> t.NoReturn:
        raise Refused("the path leads elsewhere")

    def read(*_volume: t.Any, **_options: t.Any) -> t.NoReturn:
        raise AssertionError("it was read")

    before = volume.read_bytes()
    monkeypatch.setattr(Volume, "check_still_there", gone)
    expected: t.Any = types.SimpleNamespace(uuid="")
    with pytest.raises(Refused, match="The path leads elsewhere"), locked_write.locked_write(
        str(volume), None, expected, read, timeout=1
    ):
        pass
    assert volume.read_bytes() == before


def test_qmp_is_offered_for_a_monitor_that_can_help() -> None:
    """A QEMU that has the whole disk of a partition has no node of the volume."""
    holds = "pid 7 (qemu-system-x86_64) holds the image locks of /dev/sdb1"
    assert amend._WITH_MONITOR.search(holds)
    assert not amend._WITH_MONITOR.search(holds.replace("sdb1", "sdb, the disk that it is a partition of"))
    assert not amend._WITH_MONITOR.search(holds.replace("qemu-system-x86_64", "qemu-nbd"))
