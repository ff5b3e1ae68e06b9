# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the key material of a LUKS2 backup goes, so that at every instant the volume or the backup opens; what is
beside the keyslots of LUKS1; each write onto a volume without a header.
"""

from __future__ import annotations

import pathlib
import struct
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup import restore
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.image import Image, parse_image
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.restore_steps import Restore, make_restore
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.kdf import Budget
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BudgetExceeded, Refused, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks1 import luksmeta
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Extent, Intent, IntentKind
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.testkit import beside
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.header import luks2_image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as full

FIRST = 2 * luks2_image.HDR_SIZE
PAYLOAD = 2 << 20


def volume(*slots: int, areas: int) -> Image:
    """Keyslots of these numbers, packed from the first area on, where there is room for ``areas`` of them."""
    tree = luks2_image.tree(slots=0)
    tree["keyslots"] = {
        str(number): luks2_image.keyslot(FIRST + place * luks2_image.AREA, number) for place, number in enumerate(slots)
    }
    tree["digests"] = {"0": luks2_image.digest([str(number) for number in sorted(slots)])}
    tree["config"]["keyslots_size"] = str(areas * luks2_image.AREA)
    return parse_image(luks2_image.build(tree).ljust(16 << 20, b"\0"))


def test_material_is_never_written_over_what_is_in_use() -> None:
    with pytest.raises(Refused, match="The key material of keyslot 0 of the backup has no room"):
        make_restore(volume(2, 3, areas=2), volume(0, 1, areas=2), [0, 1], [2, 3])
    with pytest.raises(Refused, match="The key material of keyslot 1 of the backup has no room"):
        make_restore(volume(2, 3, areas=3), volume(0, 1, areas=3), [0, 1], [2, 3])


def test_it_goes_where_there_is_room() -> None:
    work = make_restore(volume(2, 3, areas=4), volume(0, 1, areas=4), [0, 1], [2, 3])
    assert {number: slot.area.offset for number, slot in work.after.keyslots.items()} == {
        0: FIRST + 2 * luks2_image.AREA,
        1: FIRST + 3 * luks2_image.AREA,
    }


def test_places_and_a_note_of_an_interrupted_run_are_no_part_of_a_backup() -> None:
    """The same keyslots elsewhere are the same ones. What the note of the backup speaks of is long over."""
    now, backup = volume(1, 0, areas=4), volume(0, 1, areas=4)
    assert make_restore(now, backup, [0, 1], [0, 1]).steps == ()
    intent = Intent(IntentKind.WIPE, 0, extents=(Extent(FIRST + 2 * luks2_image.AREA, 4096),))
    noted = Image(backup.data, backup.header.with_intent(intent))
    after = make_restore(volume(2, 3, areas=4), noted, [0, 1], [2, 3]).after
    assert noted.header.intent == intent and after.intent is None


def test_a_digest_that_costs_too_much_is_not_computed() -> None:
    header = volume(0, 1, areas=4).header
    task: t.Any = types.SimpleNamespace(budget=Budget(max_iterations=999))
    with pytest.raises(BudgetExceeded):
        restore._check_same_volume(task, header, header, bytearray(64))


def luks1(slots: int, entries: t.Mapping[int, beside.Entry]) -> bytes:
    """A volume with ``slots`` keyslots, and entries of luksmeta in the gap before the payload."""
    data = bytearray(full._kept("luks1", slots).ljust(PAYLOAD + 4096, b"\0"))
    struct.pack_into(">I", data, 104, PAYLOAD // 512)
    place = gap(bytes(data))
    if entries:
        block, content = beside.luksmeta(entries)
        data[place.offset : place.offset + 4096 + len(content)] = block.ljust(4096, b"\0") + content
    return bytes(data)


def gap(data: bytes) -> Extent:
    header = parse_image(data).header
    found = luksmeta.gap(t.cast(t.Any, header.layout.fixed).values(), header.segments[0].offset)
    assert found is not None
    return found


def image(data: bytes) -> Image:
    """As far as a backup goes."""
    place = gap(data)
    return parse_image(data[: place.offset + (3 * 4096 if data[place.offset :].startswith(luksmeta.MAGIC) else 0)])


def carried_out(path: pathlib.Path, now: bytes, backup: bytes, *, intent: t.Optional[Intent] = None) -> bytes:
    """What the volume has afterwards."""
    path.write_bytes(now)
    seen = parse_image(now)
    with open_volume(str(path), writable=True) as opened:
        if intent is not None:
            noted = seen.header.with_intent(intent)
            for write in noted.commit_writes(seen.header):
                opened.region.write(write.offset, write.data)
            seen = Image(path.read_bytes(), noted)
        work = make_restore(Image(image(now).data, seen.header), image(backup), [0], [0])
        assert work.steps
        work.run(opened, wipe_passes=1)
    return path.read_bytes()


ENTRY = (beside.CLEVIS, b"what Clevis keeps")


def test_what_luksmeta_keeps_is_restored(tmp_path: pathlib.Path) -> None:
    now, backup = luks1(2, {}), luks1(2, {0: ENTRY, 1: ENTRY})
    assert carried_out(tmp_path / "volume", now, backup) == backup


def test_what_luksmeta_notes_of_a_keyslot_goes_with_it(tmp_path: pathlib.Path) -> None:
    """The backup has one keyslot and nothing of luksmeta. What is noted of the keyslot that stays is true still."""
    now, backup = luks1(2, {0: ENTRY, 1: ENTRY}), luks1(1, {})
    after, left = carried_out(tmp_path / "volume", now, backup), luks1(2, {0: ENTRY})
    place = gap(now)
    assert after[place.offset : place.end] == left[place.offset : place.end]


def test_key_material_of_a_keyslot_that_was_never_activated_is_wiped(tmp_path: pathlib.Path) -> None:
    now = luks1(2, {})
    area = t.cast(t.Any, parse_image(now).header.layout.fixed)[5]
    after = carried_out(tmp_path / "volume", now, now, intent=Intent(IntentKind.MOVE_ADD, 0, 5))
    assert after[area.offset : area.end] != now[area.offset : area.end]
    assert parse_image(after).header.intent is None


@pytest.fixture
def rebuild(tmp_path: pathlib.Path) -> t.Iterator[t.Tuple[Restore, t.Any]]:
    path, data = tmp_path / "volume", luks1(2, {})
    path.write_bytes(bytes(len(data)))
    with open_volume(str(path), writable=True) as opened:
        yield make_restore(None, image(data), [0], [], "it is gone"), opened


def test_a_volume_without_a_header_is_written_step_by_step(
    rebuild: t.Tuple[Restore, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, opened = rebuild
    said: t.List[str] = []
    for owner, name in (
        (opened, "begin_writing"),
        *((opened.region, name) for name in ("write", "barrier", "confirm")),
    ):
        right = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given, right=right, name=name: said.append(name) or right(*given))
    work.run(opened, wipe_passes=1)
    assert said == ["begin_writing", *["write", "barrier", "confirm"] * 4]


def test_a_medium_that_loses_what_is_restored(
    rebuild: t.Tuple[Restore, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    work, opened = rebuild
    monkeypatch.setattr(opened.region, "write", lambda _offset, _data: None)
    with pytest.raises(StorageFault, match="do not read back as they were written"):
        work.run(opened, wipe_passes=1)
