# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LUKS2 headers with no room: no area left for key material, or no number left for a slot."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, Luks2Volume, needs_cryptsetup
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots

pytestmark = needs_cryptsetup

AREA = 258048  # of a slot for a volume key of 64 bytes
NEW = "n-e-w"


def present(secret: str, **more: t.Any) -> t.Dict[str, t.Any]:
    return {"new_secret": {"passphrase": secret}, "pbkdf": CHEAP, **more}


@pytest.fixture(name="full")
def fixture_full(tmp_path: pathlib.Path) -> Luks2Volume:
    """Three slots fill the keyslots area; 29 numbers are free."""
    return Luks2Volume(tmp_path / "volume").like(
        "--key-size", 512, "--luks2-keyslots-size", 3 * AREA, slots={1: "pw1", 2: "pw2"}
    )


def steps(result: t.Mapping[str, t.Any]) -> t.List[t.Tuple[str, int]]:
    return [(action["action"], action["keyslot"]) for action in result["plan"]]


def done(volume: Luks2Volume, task: t.Sequence[t.Mapping[str, t.Any]], **options: t.Any) -> t.List[t.Tuple[str, int]]:
    """Check mode promises what then happens; a second run has nothing to do; cryptsetup approves."""
    before = volume.sha256()
    promised = keyslots(volume.path, task, check=True, **options)
    assert volume.sha256() == before
    result = keyslots(volume.path, task, **options)
    assert (promised["plan"], promised["diff"]) == (result["plan"], result["diff"])
    after = volume.sha256()
    assert not keyslots(volume.path, task, **options)["changed"]
    assert volume.sha256() == after
    assert "luksmith.luks-intent" not in volume.approved()
    return steps(result)


def refused(volume: Luks2Volume, task: t.Sequence[t.Mapping[str, t.Any]], sentence: str, **options: t.Any) -> None:
    before = volume.sha256()
    for check in (True, False):
        with pytest.raises(ModuleFailed, match=sentence) as caught:
            keyslots(volume.path, task, check=check, **options)
        assert "Nothing was changed." in str(caught.value)
    assert volume.sha256() == before


def test_there_is_no_area_for_another_key(full: Luks2Volume) -> None:
    refused(full, [present(NEW)], "There is no safe order.*No room is left", unlock=["pw0", "pw1", "pw2"])


def test_a_rekey_in_place_beside_another_opener(full: Luks2Volume) -> None:
    full.import_token(0, {"type": "user", "keyslots": ["1"]})
    area = full.tree()["keyslots"]["1"]["area"]
    assert done(full, [present(NEW, old_secret={"passphrase": "pw1"})], unlock=["pw0"]) == [("rekey", 1)]
    assert full.tree()["keyslots"]["1"]["area"] == area
    assert full.tree()["tokens"]["0"] == {"type": "user", "keyslots": ["1"]}
    assert full.opened((0, 1, 2), ("pw0", "pw1", "pw2", NEW)) == {(0, "pw0"), (1, NEW), (2, "pw2")}


def test_no_rekey_in_place_without_a_proven_opener_beside(full: Luks2Volume) -> None:
    refused(
        full,
        [present(NEW, old_secret={"passphrase": "pw1"})],
        "(?i)there is no safe order",
        allow_lockout=True,
        force=True,
    )
    assert full.opens("pw1", "--key-slot", 1)


def test_two_secrets_change_places_of_power_one_after_the_other(full: Luks2Volume) -> None:
    task = [present(NEW, old_secret={"passphrase": "pw1"}), present(NEW + "2", old_secret={"passphrase": "pw2"})]
    assert done(full, task) == [("rekey", 1), ("rekey", 2)]
    assert full.opened((0, 1, 2), ("pw0", "pw1", "pw2", NEW, NEW + "2")) == {(0, "pw0"), (1, NEW), (2, NEW + "2")}


def test_erase_first_when_something_is_to_go_anyway(full: Luks2Volume) -> None:
    assert done(full, [present(NEW), {"state": "absent", "old_secret": {"passphrase": "pw1"}}], unlock=["pw0"]) == [
        ("erase", 1),
        ("add", 1),
    ]
    assert full.opened((0, 1, 2), ("pw0", "pw1", "pw2", NEW)) == {(0, "pw0"), (1, NEW), (2, "pw2")}


def test_erase_first_needs_an_opener_that_stays(full: Luks2Volume) -> None:
    refused(
        full,
        [present(NEW), {"state": "absent", "old_secret": {"passphrase": "pw1"}}],
        "(?i)there is no safe order",
        allow_lockout=True,
    )


def test_purge_makes_room(full: Luks2Volume) -> None:
    assert done(full, [present("pw0"), present(NEW)], purge=True) == [("erase", 1), ("add", 1), ("erase", 2)]
    assert full.opened((0, 1), ("pw0", "pw1", "pw2", NEW)) == {(0, "pw0"), (1, NEW)}


def test_a_gap_that_is_too_small_is_no_room(tmp_path: pathlib.Path) -> None:
    """Two slots, and all but 4096 bytes of a third: cryptsetup finds no room there either."""
    volume = Luks2Volume(tmp_path / "volume").like(
        "--key-size", 512, "--luks2-keyslots-size", 3 * AREA - 4096, slots={1: "pw1"}
    )
    refused(volume, [present(NEW)], "(?i)there is no safe order", unlock=["pw0"])
    with pytest.raises(AssertionError, match="luksAddKey"):
        volume.add(2, "pw2")


@pytest.mark.full
def test_all_numbers_are_taken_and_there_is_room(tmp_path: pathlib.Path) -> None:
    """No add, but a rekey into a free area: the old key works until the new one does. It fills 31 keyslots."""
    volume = Luks2Volume(tmp_path / "volume").like("--key-size", 256, "--luks2-keyslots-size", "5m")
    entries = [present(f"pw{number}", keyslot=number) for number in range(1, 32)]
    assert len(keyslots(volume.path, entries, unlock=["pw0"])["plan"]) == 31
    assert volume.opened((0, 1, 31), ("pw0", "pw1", "pw31")) == {(0, "pw0"), (1, "pw1"), (31, "pw31")}
    refused(volume, [present(NEW)], "(?i)there is no safe order", unlock=["pw0"])
    with pytest.raises(AssertionError, match="luksAddKey"):
        volume.add(5, "pw")
    area = volume.tree()["keyslots"]["7"]["area"]
    rekey = present(NEW, keyslot=7, old_secret={"passphrase": "pw7"})
    assert done(volume, [rekey]) == [("rekey", 7)]
    assert volume.tree()["keyslots"]["7"]["area"]["offset"] != area["offset"]
    last = [present(NEW + "2"), {"state": "absent", "keyslot": 9}]
    refused(
        volume, last, "(?i)there is no safe order", unlock=["pw0"]
    )  # slot 9 is to end inactive, so it is no place for the new one
    assert done(
        volume, [present(NEW + "2"), {"state": "absent", "old_secret": {"passphrase": "pw9"}}], unlock=["pw0"]
    ) == [("erase", 9), ("add", 9)]
    assert volume.opened((0, 7, 9, 31), ("pw0", "pw9", NEW, NEW + "2", "pw31")) == {
        (0, "pw0"),
        (7, NEW),
        (9, NEW + "2"),
        (31, "pw31"),
    }
