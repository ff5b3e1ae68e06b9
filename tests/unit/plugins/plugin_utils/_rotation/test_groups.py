# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that share one secret: none loses the old one before all have the new one, whatever comes between.

The last test has real volumes, and cryptsetup says what opens them.
"""

from __future__ import annotations

import gzip
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.asking import Options
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.decision import Wanted
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.groups import Group, group, groups
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.machine import Rotation
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import StoreError
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.fake_world import (
    UUID,
    Death,
    Disk,
    FakeHost,
    FakeStore,
    Killed,
    rotate,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.test_machine import (
    GLASS,
    IMAGES,
    LEAKED,
    PLANTED,
    RealHost,
)

DB, WAL = "11111111-7353-47b9-b355-d0ef03989991", "22222222-7353-47b9-b355-d0ef03989991"
PLACES = {"/dev/block": UUID, "/dev/db": DB, "/dev/wal": WAL}
OSD = group("osd-0", [UUID, DB, WAL])
KEY = f"web/{OSD.uuid}"


def options(generation: str = "one", group: Group = OSD, **more: t.Any) -> Options:
    usual = {"host": "web", "wanted": Wanted(generation), "replaces": [LEAKED], "keeps": [GLASS], "groups": [group]}
    return Options(**{**usual, **more})


def disk(uuid: str = UUID) -> Disk:
    return Disk({0: LEAKED["passphrase"], 1: GLASS["passphrase"]}, uuid=uuid)


def disks() -> t.Dict[str, Disk]:
    return {place: disk(uuid) for place, uuid in PLACES.items()}


def at_their_end(volumes: t.Mapping[str, Disk], store: FakeStore, generation: str) -> None:
    entry: t.Any = store.held[KEY].entry
    assert list(store.held) == [KEY] and entry["device"] == "group osd-0"
    assert entry["next"] is None and entry["current"]["generation"] == generation
    for one in volumes.values():
        assert sorted(one.slots.values()) == sorted([entry["current"]["passphrase"], GLASS["passphrase"]])


class FailsAt(FakeHost):
    """One of its disks cannot be written."""

    def __init__(self, disks: t.Mapping[str, Disk], step: str, place: str) -> None:
        super().__init__(disks)
        self.at = step, place

    def _change(self, asked: t.Any, work: t.Any) -> t.Any:
        if (asked["step"], work["device"]) == self.at:
            return {"device": work["device"], "changed": False, "failed": True, "msg": "the disk is gone"}
        return super()._change(asked, work)


class DiesBetween(FakeHost):
    """Killed also between two of its disks, within one call."""

    def _change(self, asked: t.Any, work: t.Any) -> t.Any:
        return self.death.watch(f"disk {asked['step']}", lambda: super(DiesBetween, self)._change(asked, work))


@pytest.mark.parametrize("lists", [True, False])
def test_one_secret_is_staged_once_for_all(lists: bool) -> None:
    volumes, store = disks(), FakeStore(lists=lists)
    for generation in ("one", "two"):
        host = FakeHost(volumes)
        rotation, heard = rotate(options(generation), host, store)
        assert [volume.state for volume in rotation.volumes] == ["done"] * 3
        assert [one["step"] for one in host.asked][-2:] == ["add", "erase"]
        at_their_end(volumes, store, generation)
        assert sum(" stage " in line for line in heard.lines) == sum(" promote " in line for line in heard.lines) == 1
        assert len({volume.rounds[0] for volume in rotation.volumes}) == 1
    host = FakeHost(volumes)
    rotation, _heard = rotate(options("two"), host, store)
    assert [volume.state for volume in rotation.volumes] == ["unchanged"] * 3
    assert [one["step"] for one in host.asked] == ["look"] * (1 if lists else 2)


def test_a_volume_beside_a_group_has_a_secret_of_its_own() -> None:
    volumes, store = disks(), FakeStore()
    small = group("osd-0", [UUID, DB])
    rotate(options(group=small), FakeHost(volumes), store)
    assert sorted(store.held) == sorted([f"web/{small.uuid}", f"web/{WAL}"])
    assert volumes["/dev/db"].slots == volumes["/dev/block"].slots != volumes["/dev/wal"].slots


def test_check_mode_shows_all_and_changes_nothing() -> None:
    volumes, store = disks(), FakeStore()
    rotation, _heard = rotate(options(check=True), FakeHost(volumes), store)
    assert [[one["action"] for one in volume.actions] for volume in rotation.volumes] == [["add", "erase"]] * 3
    assert store.held == {} and all(one.slots == disk().slots for one in volumes.values())


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("why", ["away", "unreadable", "closed"])
def test_one_that_is_away_or_refused_keeps_all_as_they_are(why: str, check: bool) -> None:
    volumes, store = disks(), FakeStore()
    if why == "away":
        del volumes["/dev/db"]
    elif why == "unreadable":
        volumes["/dev/db"].refuses = "It begins with zeros. Nothing was changed."
    else:
        volumes["/dev/db"].slots = {0: "a stranger's"}
    before = {place: dict(one.slots) for place, one in volumes.items()}
    rotation, _heard = rotate(options(check=check), FakeHost(volumes), store)
    assert {volume.state for volume in rotation.volumes} == {"refused"} and len(rotation.volumes) == 3
    assert store.held == {} and before == {place: one.slots for place, one in volumes.items()}
    said = {volume.before.device: volume.msg for volume in rotation.volumes}
    bad = DB if why == "away" else "/dev/db"
    assert f"it shares its secret with {bad} (group 'osd-0'), which was not brought to the end" in said["/dev/wal"]
    assert why != "away" or "is not among the volumes of this host" in said[DB]
    # It comes back.
    volumes["/dev/db"] = disk(DB)
    rotate(options(), FakeHost(volumes), store)
    at_their_end(volumes, store, "one")


@pytest.mark.parametrize("place", sorted(PLACES))
def test_one_that_fails_stops_the_promotion_and_the_rerun_goes_on(place: str) -> None:
    volumes, store = disks(), FakeStore()
    rotate(options(), FakeHost(volumes), store)
    current = t.cast(t.Any, store.held[KEY].entry)["current"]
    rotation, _heard = rotate(options("two"), FailsAt(volumes, "add", place), store)
    assert {volume.state for volume in rotation.volumes} == {"partial"}
    entry: t.Any = store.held[KEY].entry
    assert entry["current"] == current and entry["next"], "not promoted"
    assert all(current["passphrase"] in one.slots.values() for one in volumes.values()), "nothing was erased"
    assert all("the next run of this playbook takes it up" in volume.msg for volume in rotation.volumes)
    rotation, _heard = rotate(options("two"), FakeHost(volumes), store)
    assert [volume.rounds for volume in rotation.volumes] == [[entry["next"]["id"]]] * 3
    at_their_end(volumes, store, "two")


def test_a_store_that_refuses_leaves_all_of_them_refused_and_not_half_done() -> None:
    volumes, store = disks(), FakeStore()
    rotate(options(), FakeHost(volumes), store)
    store.broken = "write"
    rotation, _heard = rotate(options("two"), FakeHost(volumes), store)
    assert {volume.state for volume in rotation.volumes} == {"refused"}


def test_an_erase_that_fails_on_one_is_made_up_for() -> None:
    volumes, store = disks(), FakeStore()
    rotate(options(keep_older=0), FakeHost(volumes), store)
    rotation, _heard = rotate(options("two", keep_older=0), FailsAt(volumes, "erase", "/dev/db"), store)
    assert [volume.state for volume in rotation.volumes] == ["done", "partial", "done"]
    assert len(t.cast(t.Any, store.held[KEY].entry)["older"]) == 1, "it is not forgotten while it opens one of them"
    rotate(options("two", keep_older=0), FakeHost(volumes), store)
    at_their_end(volumes, store, "two")
    assert t.cast(t.Any, store.held[KEY].entry)["older"] == []


def test_a_planted_secret_comes_to_no_volume() -> None:
    volumes, store = disks(), FakeStore()
    rotate(options(), FakeHost(volumes), store)
    held = store.held[KEY]
    store.held[KEY] = held._replace(entry={**t.cast(t.Any, held.entry), "next": dict(PLANTED)})
    rotation, _heard = rotate(options(), FakeHost(volumes), store)
    assert [volume.state for volume in rotation.volumes] == ["done"] * 3
    at_their_end(volumes, store, "one")


def test_one_that_was_replaced_gets_the_secret_of_the_others() -> None:
    volumes, store = disks(), FakeStore()
    rotate(options(), FakeHost(volumes), store)
    current = t.cast(t.Any, store.held[KEY].entry)["current"]
    volumes["/dev/db"] = disk(DB)
    rotation, _heard = rotate(options(), FakeHost(volumes), store)
    assert [volume.state for volume in rotation.volumes] == ["unchanged", "done", "unchanged"]
    at_their_end(volumes, store, "one")
    assert t.cast(t.Any, store.held[KEY].entry)["current"] == current


def test_a_stranger_on_one_of_them() -> None:
    volumes, store = disks(), FakeStore()
    volumes["/dev/db"].slots[4] = "a stranger's"
    for check in (True, False):
        rotation, _heard = rotate(options(unknown="fail", check=check), FakeHost(volumes), store)
        assert {volume.state for volume in rotation.volumes} == {"refused"} and store.held == {}
        assert not any(volume.actions for volume in rotation.volumes)
    rotate(options(unknown="erase"), FakeHost(volumes), store)
    at_their_end(volumes, store, "one")


def test_a_refusal_of_one_spares_the_host_a_second_look_at_the_others() -> None:
    volumes = disks()
    volumes["/dev/db"].refuses = "It begins with zeros. Nothing was changed."
    host = FakeHost(volumes)
    rotation, _heard = rotate(options(), host, FakeStore(lists=False))
    assert {volume.state for volume in rotation.volumes} == {"refused"}
    assert [one["step"] for one in host.asked] == ["look"]


class FailsAtWrite(FakeStore):
    """The ``number``-th write fails: 1 is that of the stage, 2 that of the promotion."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number

    def write(self, key: str, entry: t.Any, version: t.Any) -> t.Any:
        self.left -= 1
        if not self.left:
            raise StoreError("It is full. The store was not changed.")
        return super().write(key, entry, version)


@pytest.mark.parametrize(("number", "steps"), [(1, ["look"]), (2, ["look", "add"])], ids=["stage", "promote"])
def test_a_store_that_fails_for_one_fails_for_all(number: int, steps: t.List[str]) -> None:
    """No volume gets a secret that is in no store, and none loses one before the other is promoted."""
    volumes, store = disks(), FailsAtWrite(number)
    host = FakeHost(volumes)
    rotation, _heard = rotate(options(), host, store)
    assert all(volume.failed for volume in rotation.volumes)
    assert [one["step"] for one in host.asked] == steps
    assert all(LEAKED["passphrase"] in one.slots.values() for one in volumes.values())
    rotate(options(), FakeHost(volumes), store)
    at_their_end(volumes, store, "one")


def test_what_fails_last_before_the_store_is_written_stops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Rotation._foresee

    def foresee(rotation: Rotation, volume: t.Any) -> None:
        if volume.before.device == "/dev/wal":
            raise StoreError("It went away. The store was not changed.")
        right(rotation, volume)

    monkeypatch.setattr(Rotation, "_foresee", foresee)
    volumes, store = disks(), FakeStore()
    rotation, _heard = rotate(options(), FakeHost(volumes), store)
    assert {volume.state for volume in rotation.volumes} == {"refused"} and store.held == {}


def begin(death: Death) -> t.Tuple[DiesBetween, FakeStore]:
    volumes, store = disks(), FakeStore()
    rotate(options("zero"), FakeHost(volumes), store)
    store.death = death
    return DiesBetween(volumes, death), store


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("again", ["one", "two"])
def test_killed_at_every_call_and_between_its_volumes(after: bool, again: str) -> None:
    death = Death()
    host, store = begin(death)
    rotate(options(), host, store)
    assert death.calls == [
        "host look",
        "store write",
        "host add",
        *["disk add"] * 3,
        "store write",
        "host erase",
        *["disk erase"] * 3,
    ]
    for number in range(len(death.calls)):
        host, store = begin(Death(number, after=after))
        old = t.cast(t.Any, store.held[KEY].entry)["current"]["passphrase"]
        with pytest.raises(Killed):
            rotate(options(), host, store)
        entry: t.Any = store.held[KEY].entry
        known = [one["passphrase"] for one in (entry["next"], entry["current"], *entry["older"]) if one]
        slots = [set(one.slots.values()) for one in host.disks.values()]
        assert all(one <= {*known, GLASS["passphrase"]} for one in slots), "a secret is in no store"
        assert all(entry["current"]["passphrase"] in one for one in slots), "what is current opens all of them"
        new = [one for one in known if one != old]
        assert all(old in one for one in slots) or all(set(new) & one for one in slots), "erased before all had it"
        store.death = host.death = Death()
        rotation, _heard = rotate(options(again), host, store)
        assert not any(volume.failed for volume in rotation.volumes)
        at_their_end(host.disks, store, again)
        rotation, _heard = rotate(options(again), host, store)
        assert [volume.state for volume in rotation.volumes] == ["unchanged"] * 3


def test_a_volume_in_two_groups_is_in_one_that_the_other_misses() -> None:
    volumes, store = disks(), FakeStore()
    both = [group("a", [UUID, DB]), group("b", ["/dev/db", WAL])]
    rotation, _heard = rotate(options(groups=both), FakeHost(volumes), store)
    assert [volume.state for volume in rotation.volumes] == ["done", "done", "refused", "refused"]
    assert volumes["/dev/wal"].slots == disk().slots


def test_the_name_of_a_group_may_be_the_uuid_of_an_osd() -> None:
    (found,) = groups([{"name": UUID.upper(), "volumes": ["/dev/a", DB.upper(), DB]}])
    assert found == (UUID.upper(), UUID, ("/dev/a", DB))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([("", [UUID])], "needs a name and volumes"),
        ([("a", [])], "needs a name and volumes"),
        ([("a", [UUID]), ("a", [DB])], "has the group 'a' twice"),
        ([("a", [UUID]), ("b", [UUID.upper()])], "is in the groups 'a' and 'b'"),
    ],
)
def test_groups_that_are_none(given: t.Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        groups([{"name": name, "volumes": volumes} for name, volumes in given])


@pytest.mark.needs("cryptsetup")
def test_real_volumes_share_a_secret(tmp_path: pathlib.Path) -> None:
    """LUKS1 and LUKS2 together, killed after the add, and finished."""
    places = []
    for name in ("luks1.img", "luks2.img"):
        (tmp_path / name).write_bytes(gzip.decompress((IMAGES / f"{name}.gz").read_bytes()))
        places.append(str(tmp_path / name))
    more: t.Dict[str, t.Any] = {
        "volumes": [{"device": place} for place in places],
        "block_devices": False,
        "crypttab": str(tmp_path / "none"),
        "iter_time": 1,
        "group": group("osd-0", places),
    }
    death = Death(3, after=True)
    store = FakeStore(death)
    with pytest.raises(Killed, match="host add"):
        rotate(options(**more), RealHost({}, death), store)
    store.death = Death()
    rotation, _heard = rotate(options(**more), RealHost({}), store)
    assert [volume.state for volume in rotation.volumes] == ["done", "done"], rotation.volumes[0].msg
    (held,) = store.held.values()
    current = t.cast(t.Any, held.entry)["current"]["passphrase"]
    for place in places:
        for secret, opens in ((current, True), (LEAKED["passphrase"], False), (GLASS["passphrase"], True)):
            words = ["cryptsetup", "open", "--test-passphrase", "--key-file", "-", place]
            done = subprocess.run(words, input=secret.encode(), capture_output=True, check=False)
            assert (done.returncode == 0) == opens, (place, done)
