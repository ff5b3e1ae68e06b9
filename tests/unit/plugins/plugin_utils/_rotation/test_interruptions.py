# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of docs/rotation.md of what each interruption leaves is the table of these tests: each row has a case, and
a row that nothing here knows fails. Also two controllers at once, and clocks that differ.

A case brings store and volume into the state of its row, by a kill where a kill leaves that, checks that they are in
it, and lets the next run do what the row says.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import gzip
import os
import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import storage
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.decision import Wanted
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.groups import group
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.machine import Rotation
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.volume import Volume
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.world import Chance
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation import test_groups
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.fake_world import (
    UUID,
    Death,
    Disk,
    FakeHost,
    FakeStore,
    Heard,
    Json,
    Killed,
    rotate,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.test_machine import (
    GLASS,
    IMAGES,
    LEAKED,
    PLANTED,
    RealHost,
    at_its_end,
    disk,
    one_of,
    opens,
    options,
)

PAGE = pathlib.Path(__file__).resolve().parents[5] / "docs" / "rotation.md"
Row = t.Tuple[str, str, str, str]


def rows() -> t.List[Row]:
    section = PAGE.read_text(encoding="utf-8").split("\n## What every interruption leaves", 1)[1].split("\n## ", 1)[0]
    found = [
        tuple(re.sub(r"\s*\(\[[^)]*\)\)", "", cell).strip() for cell in line.strip("|").split("|"))
        for line in section.splitlines()
        if line.startswith("| ")
    ]
    assert all(len(row) == 4 for row in found), found
    return t.cast("t.List[Row]", found[1:])


class At(Death):
    """Comes at the call of this name; ``turn`` of those that have it, from 0."""

    def __init__(self, name: str, turn: int = 0, *, after: bool = False) -> None:
        super().__init__(after=after)
        self._name, self._turn = name, turn

    def watch(self, name: str, work: t.Callable[[], t.Any]) -> t.Any:
        if name == self._name and self.calls.count(name) == self._turn:
            self.at = len(self.calls)
        return super().watch(name, work)


class World:
    """One volume and its store; the latest rotation is generation ``one``, which is what the runs are for."""

    def __init__(self, **more: t.Any) -> None:
        self.volume, self.store = disk(**more), FakeStore()

    def run(self, generation: str = "one", death: t.Optional[Death] = None, **more: t.Any) -> Volume:
        self.store.death = death or Death()
        host = FakeHost({"/dev/a": self.volume}, self.store.death)
        return one_of(rotate(options(generation, **more), host, self.store)[0])

    def killed(self, death: Death, generation: str = "one") -> None:
        with pytest.raises(Killed):
            self.run(generation, death)

    @property
    def entry(self) -> Json:
        return self.store.entry()

    def has(self) -> str:
        if not self.store.held:
            return "nothing"
        return " and ".join(name for name, field in (("C", "current"), ("N", "next")) if self.entry[field])

    def opens(self, secret: t.Optional[Json]) -> bool:
        return secret is not None and secret["passphrase"] in self.volume.slots.values()

    def open_by(self) -> str:
        known = {"C": self.entry["current"], "N": self.entry["next"]} if self.store.held else {}
        found = [name for name, secret in known.items() if self.opens(secret)]
        older = [LEAKED, *(self.entry["older"] if self.store.held else ())]
        return " and ".join([*found, *(["O"] if any(map(self.opens, older)) else [])])

    def is_in(self, has: str, open_by: str) -> None:
        assert (self.has(), self.open_by()) == (has, open_by)

    def ends(self, generation: str = "one", **more: t.Any) -> Volume:
        """The next run comes to the end, and one more changes nothing."""
        found = self.run(generation, **more)
        assert found.state in ("done", "unchanged"), found.msg
        at_its_end(self.volume, self.store, generation)
        assert self.run(generation).state == "unchanged"
        return found

    def refuses(self, why: str, **more: t.Any) -> None:
        before = copy.deepcopy((self.store.held, self.volume.slots))
        found = self.run(**more)
        assert (found.state, why in found.msg) == ("refused", True), found.msg
        assert (self.store.held, self.volume.slots) == before


def rotated(**more: t.Any) -> World:
    """With a secret of the store, of the generation before."""
    world = World(**more)
    world.ends("zero")
    return world


def first_contact(_folder: pathlib.Path) -> None:
    for slots in ({0: LEAKED["passphrase"], 1: GLASS["passphrase"]}, {1: GLASS["passphrase"]}):
        world = World()
        world.volume.slots = dict(slots)
        assert world.has() == "nothing"
        assert world.ends().rounds == [world.entry["current"]["id"]]


def lost_store(_folder: pathlib.Path) -> None:
    world = World()
    world.volume.slots = {0: "of somebody else"}
    world.is_in("nothing", "")
    world.refuses("no given secret opens the volume")


def at_rest(_folder: pathlib.Path) -> None:
    world = rotated()
    world.is_in("C", "C")
    assert world.run("zero").state == "unchanged"
    before = world.entry["current"]["id"]
    assert world.ends().rounds == [world.entry["current"]["id"]] != [before]


def before_or_within_erase(_folder: pathlib.Path) -> None:
    for death in (At("store write", 1, after=True), At("host erase")):
        world = rotated()
        world.killed(death)
        world.is_in("C", "C and O")
        promoted = world.entry["current"]["id"]
        assert world.ends().state == "done" and world.entry["current"]["id"] == promoted


def back_from_a_backup(_folder: pathlib.Path) -> None:
    world = rotated()
    backup = copy.deepcopy(world.volume)
    world.ends()
    gone = world.entry["current"]["id"]
    world.volume = backup
    world.is_in("C", "O")
    world.ends()
    assert world.entry["current"]["id"] != gone


def staged_only(_folder: pathlib.Path) -> None:
    world = rotated()
    world.killed(At("store write", after=True))
    world.is_in("C and N", "C")
    left = world.entry["next"]
    assert world.ends().rounds == [world.entry["current"]["id"]] != [left["id"]]
    assert left["id"] in [one["id"] for one in world.entry["older"]]
    world = rotated()
    (key,) = world.store.held
    world.store.held[key] = world.store.held[key]._replace(entry={**world.entry, "next": PLANTED})
    world.is_in("C and N", "C")
    world.ends()
    assert not world.opens(PLANTED)


def after_add(_folder: pathlib.Path) -> None:
    for again in ("one", "two"):
        world = rotated()
        world.killed(At("host add", after=True))
        world.is_in("C and N", "C and N")
        left = world.entry["next"]["id"]
        assert world.ends(again).rounds[0] == left


def full_header(_folder: pathlib.Path) -> None:
    world = rotated(size=2)
    world.killed(At("host add", after=True))
    world.is_in("C and N", "N")
    left = world.entry["next"]["id"]
    assert world.ends().rounds == [left]


def another_program(_folder: pathlib.Path) -> None:
    for known, secret in ((False, "of somebody else"), (True, LEAKED["passphrase"]), (True, GLASS["passphrase"])):
        world = rotated()
        world.killed(At("host add", after=True))
        world.volume.slots, world.volume.labels = {0: secret}, {}
        assert world.has() == "C and N" and not world.opens(world.entry["current"])
        assert not world.opens(world.entry["next"])
        if not known:
            world.refuses("no given secret opens the volume")
            continue
        found = world.run()
        assert found.state == "done", found.msg
        kept = {GLASS["passphrase"]} if secret == GLASS["passphrase"] else set()
        assert set(world.volume.slots.values()) == {world.entry["current"]["passphrase"], *kept}


def the_very_first(_folder: pathlib.Path) -> None:
    for death, open_by, taken_up in (
        (At("store write", after=True), "O", False),
        (At("host add", after=True), "N and O", True),
    ):
        world = World()
        world.killed(death)
        world.is_in("N", open_by)
        left = world.entry["next"]["id"]
        assert (world.ends().rounds == [left]) is taken_up
    world = World(size=2)
    world.killed(At("host add", after=True))
    world.is_in("N", "N")
    world.ends()


def an_older_copy(_folder: pathlib.Path) -> None:
    world = rotated()
    older = copy.deepcopy(world.store.held)
    world.ends()
    world.store.held = older
    world.refuses("the store is older than the volume")


def another_store(_folder: pathlib.Path) -> None:
    world = rotated()
    world.store = FakeStore()
    world.refuses("rotate_store_create")
    found = world.run(begin=True)
    assert found.state == "done" and world.opens(world.entry["current"])
    assert [row["label"].startswith("rotation ") for row in found.unknown] == [True], "what that store had stays"


@contextlib.contextmanager
def killed_at_write(number: int, image: pathlib.Path) -> t.Iterator[t.List[int]]:
    """SIGKILL before a write to the volume: whatever is written on the way out did not happen. Yields the writes."""
    real, seen, kept = os.pwrite, [], []

    def pwrite(fd: int, content: t.Any, offset: int) -> int:
        if len(seen) == number:
            kept.append(image.read_bytes())
            seen.append(offset)
            raise Killed("a write")
        seen.append(offset)
        return real(fd, content, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage.os, "pwrite", pwrite)
        with contextlib.suppress(Killed):
            yield seen
    if kept:
        image.write_bytes(kept[0])


def half_done(folder: pathlib.Path, name: str, call: str, numbers: t.Callable[[int], t.Iterable[int]]) -> None:
    """A real volume, whose module dies at writes within ``call`` of a second rotation."""
    image = folder / name
    image.write_bytes(gzip.decompress((IMAGES / f"{name}.gz").read_bytes()))
    usual = {
        "volumes": [{"device": str(image)}],
        "block_devices": False,
        "crypttab": str(folder / "none"),
        "pbkdf": {"type": "pbkdf2", "iterations": 1000},
    }
    store = FakeStore()
    assert one_of(rotate(options("zero", **usual), RealHost({}), store)[0]).state == "done"
    store.death = At(f"host {call}")
    with pytest.raises(Killed):
        rotate(options(**usual), RealHost({}, store.death), store)
    begin, held = image.read_bytes(), store.held
    # The next run begins with what was staged or promoted, and does the call again.
    with killed_at_write(-1, image) as seen:
        rotate(options(**usual), RealHost({}), _store(held))
    count = len(seen)
    assert count >= 4
    for number in numbers(count):
        image.write_bytes(begin)
        store = _store(held)
        with killed_at_write(number, image):
            rotate(options(**usual), RealHost({}), store)
        ((key, left),) = store.held.items()
        entry: t.Any = left.entry
        known = [one for one in (entry["next"], entry["current"], *entry["older"]) if one]
        assert opens(image, GLASS["passphrase"]) and opens(image, entry["current"]["passphrase"]), number
        found = one_of(rotate(options(**usual), RealHost({}), store)[0])
        assert found.state in ("done", "unchanged"), found.msg
        final: t.Any = store.held[key].entry
        assert final["next"] is None and final["current"]["generation"] == "one"
        gone = [one["passphrase"] for one in known if one["id"] != final["current"]["id"]]
        assert opens(image, final["current"]["passphrase"]) and not any(opens(image, one) for one in gone), number
        assert len([row for row in found.table if row["state"] == "active"]) == 2


def _store(held: t.Any) -> FakeStore:
    store = FakeStore()
    store.held = copy.deepcopy(held)
    return store


def middle(count: int) -> t.List[int]:
    return [count // 2]


def add_half_done(folder: pathlib.Path) -> None:
    half_done(folder, "luks2.img", "add", middle)


def erase_half_done(folder: pathlib.Path) -> None:
    half_done(folder, "luks1.img", "erase", middle)


class Shared:
    """The volumes of a group and their store, in the generation before."""

    def __init__(self) -> None:
        self.host, self.store = test_groups.begin(Death())

    def run(self, death: t.Optional[Death] = None) -> t.List[Volume]:
        self.store.death = self.host.death = death or Death()
        return rotate(test_groups.options(), self.host, self.store)[0].volumes

    def killed(self, death: Death) -> None:
        with pytest.raises(Killed):
            self.run(death)

    @property
    def entry(self) -> Json:
        return self.store.entry(test_groups.OSD.uuid)

    def open_by(self) -> t.List[str]:
        known = [("C", self.entry["current"]), ("N", self.entry["next"])]
        named = [*known, *(("O", secret) for secret in (LEAKED, *self.entry["older"]))]
        return [
            " and ".join(name for name, one in named if one and one["passphrase"] in volume.slots.values())
            for volume in self.host.disks.values()
        ]

    def ends(self, *states: str) -> t.List[Volume]:
        found = self.run()
        assert [volume.state for volume in found] == list(states)
        test_groups.at_their_end(self.host.disks, self.store, "one")
        assert [volume.state for volume in self.run()] == ["unchanged"] * 3
        return found


def one_of_a_group_lacks_the_new_one(_folder: pathlib.Path) -> None:
    for turn in (1, 2):
        world = Shared()
        world.killed(At("disk add", turn))
        assert world.open_by() == ["C and N"] * turn + ["C"] * (3 - turn)
        staged = world.entry["next"]["id"]
        assert {volume.rounds[0] for volume in world.ends(*["done"] * 3)} == {staged} == {world.entry["current"]["id"]}


def one_of_a_group_keeps_the_old_one(_folder: pathlib.Path) -> None:
    for turn in (1, 2):
        world = Shared()
        world.killed(At("disk erase", turn))
        assert world.entry["next"] is None and world.open_by() == ["C"] * turn + ["C and O"] * (3 - turn)
        promoted = world.entry["current"]["id"]
        world.ends(*["unchanged"] * turn, *["done"] * (3 - turn))
        assert world.entry["current"]["id"] == promoted


def one_of_a_group_is_another(_folder: pathlib.Path) -> None:
    world = Shared()
    backups = copy.deepcopy(world.host.disks)
    world.run()
    promoted = world.entry["current"]["id"]
    for odd, (place, backup) in enumerate(backups.items()):
        for slots in (backup.slots, test_groups.disk().slots):
            world.host.disks[place].slots = dict(slots)
            world.host.disks[place].labels = {}
            assert world.open_by() == ["O" if number == odd else "C" for number in range(3)]
            world.ends(*("done" if number == odd else "unchanged" for number in range(3)))
            assert world.entry["current"]["id"] == promoted


CASES: t.Dict[Row, t.Callable[[pathlib.Path], None]] = {
    (
        "nothing",
        "a secret of `rotate_replaces` or `rotate_keeps`",
        "first contact",
        "make N, stage, and so on",
    ): first_contact,
    ("nothing", "nothing that is known", "lost store, wrong secret", "refuse in the plan; stage nothing"): lost_store,
    ("C", "C", "at rest", "nothing, unless N is due: then make, stage, and so on"): at_rest,
    ("C", "C and O", "killed after promote, before or within erase", "erase O"): before_or_within_erase,
    ("C", "C, an erase half done", "killed within erase", "the module finishes its own work"): erase_half_done,
    (
        "C",
        "O, not C",
        "a volume or header that came back from a backup",
        "make N, stage, and so on; erase O",
    ): back_from_a_backup,
    (
        "C and N",
        "C",
        "killed after staging, or somebody put N there",
        "N becomes an O; make another N, and so on",
    ): staged_only,
    (
        "C and N",
        "C, an add half done",
        "killed within add",
        "the same; the module finishes its own work",
    ): add_half_done,
    ("C and N", "C and N", "killed after add", "take up N: prove, promote, erase C"): after_add,
    ("C and N", "N, not C", "full header: the old secret had to go first", "take up N: prove, promote"): full_header,
    (
        "C and N",
        "neither",
        "another program changed the volume",
        "refuse in the plan, unless a secret of `rotate_replaces` or `rotate_keeps` opens it",
    ): another_program,
    ("N", "any of the above", "the same for the very first secret", "the same"): the_very_first,
    (
        "C, but never the secret that the record in the header names",
        "anything",
        "an older copy of the store, or exchanged entries",
        "refuse (LUKS2, [stores](stores.md))",
    ): an_older_copy,
    (
        "nothing",
        "a secret that the record in the header names",
        "another store, or one that is not mounted",
        "refuse, unless `rotate_store_create` (LUKS2)",
    ): another_store,
    (
        "C and N, of a group",
        "some with C and N, the others with C",
        "killed within add, or one of them failed",
        "take up N: add it to the others, promote, erase C on all",
    ): one_of_a_group_lacks_the_new_one,
    (
        "C, of a group",
        "some with C and O, the others with C",
        "killed within erase, or one of them failed",
        "erase O",
    ): one_of_a_group_keeps_the_old_one,
    (
        "C, of a group",
        "one with O, not C, the others with C",
        "one of them was replaced, or came back from a backup",
        "add C, which the others prove, to that one; erase O",
    ): one_of_a_group_is_another,
}
_REAL = (add_half_done, erase_half_done)


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[pytest.mark.needs("cryptsetup")] if CASES.get(row) in _REAL else []) for row in rows()],
    ids=[" - ".join(row[:2]) for row in rows()],
)
def test_what_an_interruption_leaves_and_what_the_next_run_does(row: Row, tmp_path: pathlib.Path) -> None:
    assert row in CASES, f"docs/rotation.md has a row without a case here: {row}"
    CASES[row](tmp_path)


def test_each_case_is_a_row_of_the_page() -> None:
    assert not set(CASES) - set(rows())


@pytest.mark.full
@pytest.mark.needs("cryptsetup")
@pytest.mark.parametrize("name", ["luks1.img", "luks2.img"])
@pytest.mark.parametrize("call", ["add", "erase"])
def test_the_module_killed_at_every_write(tmp_path: pathlib.Path, name: str, call: str) -> None:
    """It may take a minute: two rotations for each write."""
    half_done(tmp_path, name, call, range)


# Two controllers


class Meanwhile(Death):
    """Instead of dying at call ``at``, another controller does its whole run before it."""

    def __init__(self, at: int, other: t.Callable[[], object]) -> None:
        super().__init__()
        self._when, self._other = at, other

    def watch(self, name: str, work: t.Callable[[], t.Any]) -> t.Any:
        if len(self.calls) == self._when:
            self._other()
        return super().watch(name, work)


def shared() -> t.Tuple[t.Dict[str, Disk], t.Any]:
    """Volumes of a group."""
    uuids = [UUID, "8f0f3c6e-0d2b-4a55-9d3e-1d6c6c1b7a10"]
    disks = {f"/dev/{number}": disk(uuid=uuid) for number, uuid in enumerate(uuids)}
    return disks, {"groups": [group("data", uuids)]}


def alone() -> t.Tuple[t.Dict[str, Disk], t.Any]:
    return {"/dev/0": disk()}, {}


@pytest.mark.parametrize("kind", [alone, shared])
@pytest.mark.parametrize("generations", [("one", "one"), ("one", "two")], ids=["the same", "another"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_two_controllers_at_once(
    kind: t.Callable[[], t.Tuple[t.Dict[str, Disk], t.Any]], generations: t.Tuple[str, str], first: bool
) -> None:
    """At each call of the one, the other does a whole run. No secret of a volume is missing in the store, and one more
    run brings all to the end.
    """

    def begin() -> t.Tuple[t.Dict[str, Disk], FakeStore, t.Any]:
        disks, more = kind()
        store = FakeStore(lists=False)
        if not first:
            rotate(options("zero", **more), FakeHost(disks), store)
        return disks, store, more

    disks, store, more = begin()
    store.death = Death()
    rotate(options(generations[0], **more), FakeHost(disks, store.death), store)
    count = len(store.death.calls)
    assert count >= 6
    for number in range(count):
        disks, store, more = begin()

        def other(disks: t.Any = disks, store: FakeStore = store, more: t.Any = more) -> None:
            quiet = FakeStore(lists=False)
            quiet.held = store.held
            rotation, _heard = rotate(options(generations[1], **more), FakeHost(disks), quiet)
            assert not any(volume.failed for volume in rotation.volumes)

        store.death = Meanwhile(number, other)
        rotate(options(generations[0], **more), FakeHost(disks, store.death), store)
        (held,) = store.held.values()
        entry: t.Any = held.entry
        known = [one["passphrase"] for one in (entry["next"], entry["current"], *entry["older"]) if one]
        for volume in disks.values():
            assert set(volume.slots.values()) <= {*known, GLASS["passphrase"], LEAKED["passphrase"]}, number
            assert GLASS["passphrase"] in volume.slots.values()
            assert set(volume.slots.values()) & set(known), "the store opens it"
        store.death = Death()
        rotation, _heard = rotate(options("three", **more), FakeHost(disks), store)
        assert not any(volume.failed for volume in rotation.volumes), [one.msg for one in rotation.volumes]
        (held,) = store.held.values()
        entry = held.entry
        assert entry["next"] is None
        for volume in disks.values():
            assert sorted(volume.slots.values()) == sorted([entry["current"]["passphrase"], GLASS["passphrase"]])


# Clocks


class Clock(Chance):
    def __init__(self, days: int) -> None:
        self._days = days

    def now(self) -> datetime.datetime:
        return datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.timezone.utc) + datetime.timedelta(self._days)


def run_at(days: int, host: FakeHost, store: FakeStore, wanted: Wanted, death: t.Optional[Death] = None) -> Volume:
    store.death = host.death = death or Death()
    rotation = Rotation(options()._replace(wanted=wanted), host, store, Heard(), Clock(days))
    rotation.run()
    return one_of(rotation)


@pytest.mark.parametrize("skew", [-4000, -1, 1, 4000])
@pytest.mark.parametrize("at", ["store write", "host add", "host erase"])
def test_clocks_of_controllers_that_differ(skew: int, at: str) -> None:
    """A wrong clock, a kill, and then the right clock: no order of times decides what is taken up."""
    volume, store = disk(), FakeStore()
    host = FakeHost({"/dev/a": volume})
    run_at(0, host, store, Wanted("zero"))
    with pytest.raises(Killed):
        run_at(skew, host, store, Wanted("one"), At(at, after=True))
    staged = store.entry()["next"]
    found = run_at(0, host, store, Wanted("one"))
    assert found.state in ("done", "unchanged"), found.msg
    at_its_end(volume, store, "one")
    assert at != "host add" or found.rounds == [staged["id"]]


def test_an_age_that_no_clock_can_tell_is_no_rest() -> None:
    """Made by a clock that was years ahead, a secret would stay for years whatever rotate_max_age says."""
    volume, store = disk(), FakeStore()
    host = FakeHost({"/dev/a": volume})
    run_at(4000, host, store, Wanted(max_age=90))
    before = copy.deepcopy((store.held, volume.slots))
    found = run_at(0, host, store, Wanted(max_age=90))
    assert found.state == "refused" and "has not come yet by the clock of this controller" in found.msg
    assert "The volume was not changed." in found.msg
    assert (store.held, volume.slots) == before
    assert run_at(0, host, store, Wanted("mended", 90)).state == "done"
    assert run_at(0, host, store, Wanted(max_age=90)).state == "unchanged"
