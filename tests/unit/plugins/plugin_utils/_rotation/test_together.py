# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two stores at once. Killed before and after each call of either, and whatever one of them lost, forgot or had put
into it: no volume depends on a secret that is not in both, and the next run brings them together by what the volume
proves.
"""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._audit_store import Entries
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.entry import blank, held, notes, read
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.groups import group
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import Stored, StoreError
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores.together import Together, merged
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.volume import Volume
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.fake_world import (
    UUID,
    Death,
    Disk,
    FakeHost,
    FakeStore,
    Json,
    Killed,
    rotate,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.test_machine import (
    GLASS,
    LEAKED,
    OTHER,
    PLANTED,
    at_its_end,
    disk,
    one_of,
    options,
)

KEY = f"web/{UUID}"
KNOWN = (LEAKED["passphrase"], GLASS["passphrase"])


class World:
    """One volume, and two stores of which the second may be unable to list what it holds."""

    def __init__(self, *, lists: bool = True, **more: t.Any) -> None:
        self.volume = disk(**more)
        self.first, self.second = FakeStore(), FakeStore(lists=lists)
        self.heard: t.List[str] = []

    @property
    def stores(self) -> t.Tuple[FakeStore, FakeStore]:
        return self.first, self.second

    def run(self, generation: str = "one", death: t.Optional[Death] = None, **more: t.Any) -> Volume:
        death = death or Death()
        self.first.death = self.second.death = death
        store = Together([("vault_file", self.first), ("escrow", self.second)])
        rotation, heard = rotate(options(generation, **more), FakeHost({"/dev/a": self.volume}, death), store)
        self.heard = heard.lines
        return one_of(rotation)

    def killed(self, at: int, *, after: bool, generation: str) -> bool:
        """False where the run had fewer calls."""
        try:
            self.run(generation, Death(at, after=after))
        except Killed:
            return True
        return False

    def nothing_is_lost(self) -> None:
        """What must hold at every instant, whatever becomes of one of the two stores."""
        for passphrase in self.volume.slots.values():
            for store in self.stores:
                known = [one["passphrase"] for stored in store.held.values() for one in held(stored.entry or {})]
                assert passphrase in (*KNOWN, *known), "the volume depends on a secret that is not in both"

    def is_at_its_end(self, generation: str = "one") -> None:
        for store in self.stores:
            at_its_end(self.volume, store, generation)
        assert bare(self.first.entry()) == bare(self.second.entry())

    def ends(self, generation: str = "one") -> Volume:
        found = self.run(generation)
        assert found.state in ("done", "unchanged"), found.msg
        self.is_at_its_end(generation)
        assert self.run(generation).state == "unchanged", self.heard
        return found


def bare(entry: Json) -> Json:
    return {**entry, "device": ""}


def rotated(*generations: str, **more: t.Any) -> World:
    world = World(**more)
    for generation in generations or ("zero",):
        world.ends(generation)
    return world


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("start", [(), ("zero",), ("minus one", "zero")], ids=["first", "second", "third"])
@pytest.mark.parametrize("lists", [True, False], ids=["lists", "lists not"])
@pytest.mark.parametrize("format", ["luks1", "luks2"])
def test_killed_at_every_call(start: t.Tuple[str, ...], after: bool, lists: bool, format: str) -> None:
    begun = World(lists=lists, format=format)
    for generation in start:
        begun.ends(generation)
    at, differed = 0, 0
    while True:
        world = copy.deepcopy(begun)
        if not world.killed(at, after=after, generation="one"):
            break
        world.nothing_is_lost()
        differed += world.first.held.get(KEY, Stored()).entry != world.second.held.get(KEY, Stored()).entry
        world.ends()
        world.nothing_is_lost()
        at += 1
    assert at >= 10 and differed >= 2, "some deaths came between the writes of the two"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_once_more_while_they_are_brought_together(after: bool) -> None:
    begun = rotated("zero")
    for first in range(40):
        half = copy.deepcopy(begun)
        if not half.killed(first, after=True, generation="one"):
            return
        for second in range(40):
            world = copy.deepcopy(half)
            if not world.killed(second, after=after, generation="one"):
                break
            world.nothing_is_lost()
            world.ends()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_group_killed_at_every_call(after: bool) -> None:
    """Two volumes that share a secret, and two stores."""
    shared = group("osd-0", [UUID, OTHER])
    key = f"web/{shared.uuid}"

    def run(world: t.Any, death: Death) -> t.Any:
        disks, first, second = world
        first.death = second.death = death
        store = Together([("vault_file", first), ("escrow", second)])
        return rotate(options("one", groups=[shared]), FakeHost(disks, death), store)[0].volumes

    for at in range(40):
        world = {"/dev/a": disk(), "/dev/b": disk(uuid=OTHER)}, FakeStore(), FakeStore()
        try:
            run(world, Death(at, after=after))
        except Killed:
            pass
        else:
            assert at >= 8
            return
        for one in world[0].values():
            for store in world[1:]:
                known = [secret["passphrase"] for stored in store.held.values() for secret in held(stored.entry or {})]
                assert set(one.slots.values()) <= {*KNOWN, *known}
        assert {volume.state for volume in run(world, Death())} <= {"done", "unchanged"}
        assert {volume.state for volume in run(world, Death())} == {"unchanged"}
        current = world[1].held[key].entry["current"]["passphrase"]
        assert world[1].held[key].entry == world[2].held[key].entry
        assert all(sorted(one.slots.values()) == sorted([current, KNOWN[1]]) for one in world[0].values())
    raise AssertionError("the run did not end")


def test_a_store_that_was_added_is_filled_once_the_volume_has_proven_what_is_in_the_other() -> None:
    world = rotated()
    current = world.first.entry()["current"]["id"]
    world.second = FakeStore()
    foreseen = world.run("zero", check=True)
    assert foreseen.changed and not world.second.held, "check mode writes nothing"
    assert world.run("zero").changed
    said = f"take up: secret {current} is the current one in vault_file, and not in escrow"
    assert any(said in line for line in world.heard), world.heard
    world.ends("zero")
    assert world.second.entry()["current"]["id"] == current, "nothing new was made"


@pytest.mark.parametrize("which", [0, 1])
def test_one_store_has_forgotten_an_older_secret(which: int) -> None:
    """Nothing else is due. The run says what it does, check mode foresees it, and a second run changes nothing."""
    world = rotated("zero", "one")
    entry = world.stores[which].entry()
    entry["past"] = [one["id"] for one in entry["older"]]
    entry["older"] = []
    before = copy.deepcopy((world.first.held, world.second.held))
    foreseen = world.run("one", check=True)
    assert foreseen.changed and (world.first.held, world.second.held) == before
    found = world.run("one")
    assert found.changed and found.state == "done"
    assert any(f"brought up to date: {('vault_file', 'escrow')[which]}" in line for line in world.heard)
    assert bare(world.first.entry()) == bare(world.second.entry()) and world.first.entry()["older"]
    assert world.run("one").state == "unchanged"


@pytest.mark.parametrize("format", ["luks1", "luks2"])
@pytest.mark.parametrize("which", [0, 1])
def test_one_store_came_back_from_a_backup(which: int, format: str) -> None:
    """It is brought up to date by the other one; a secret that was replaced does not come back."""
    world = rotated("zero", format=format)
    old = copy.deepcopy(world.stores[which].held)
    world.ends("one")
    world.ends("two")
    current = world.first.entry()["current"]["id"]
    world.stores[which].held = old
    world.ends("two")
    assert world.first.entry()["current"]["id"] == current == world.second.entry()["current"]["id"]


def test_store_and_volume_came_back_from_a_backup_together() -> None:
    """What one store has replaced is replaced, whoever says otherwise: a revoked secret stays revoked."""
    world = rotated("zero", format="luks1")
    revoked = world.first.entry()["current"]
    store, volume = copy.deepcopy(world.second.held), copy.deepcopy(world.volume)
    world.ends("one")
    world.second.held, world.volume = store, volume
    world.ends("one")
    assert revoked["passphrase"] not in world.volume.slots.values()
    assert world.first.entry()["current"]["id"] != revoked["id"]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("field", ["next", "current"])
def test_what_was_planted_in_one_store(which: int, field: str) -> None:
    world = rotated("one")
    entry = world.stores[which].entry()
    entry[field] = dict(PLANTED)
    found = world.run()
    assert found.state == "done", found.msg
    assert PLANTED["passphrase"] not in world.volume.slots.values()
    world.ends()
    for store in world.stores:
        assert PLANTED["id"] not in [(store.entry()[name] or {}).get("id") for name in ("current", "next")]


def test_two_stores_with_two_secrets_are_decided_by_the_volume() -> None:
    """Two stores were used one at a time: only what the volume opens with is the truth."""
    world = rotated("one")
    other = rotated("one")
    world.second.held = other.second.held
    world.ends()
    world = rotated("one")
    world.first.held = other.first.held
    world.ends()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_no_secret_is_the_current_one_that_is_so_in_one_store_only(order: t.Tuple[int, int]) -> None:
    """Who reads the stores without the volume must not hear of a current secret that only one of them vouches for."""
    worlds = [rotated("one"), rotated("one")]
    entries = [worlds[index].first.entry() for index in order]
    found = merged([("vault_file", entries[0]), ("escrow", entries[1])])
    assert found and found["current"] is None
    assert found["next"]["id"] == entries[0]["current"]["id"]
    assert found["next"]["where"] == "the current one in vault_file, and not in escrow"
    assert entries[1]["current"]["id"] in [secret["id"] for secret in found["older"]]


CONTRADICTIONS: t.Mapping[str, t.Tuple[t.Callable[[Json], None], str]] = {
    "another host": (lambda entry: entry.update(host="db"), "of host 'db': entries were exchanged in one of them"),
    "another volume": (lambda entry: entry.update(uuid=OTHER), f"that of volume '{OTHER}'"),
    "another passphrase": (
        lambda entry: entry["current"].update(passphrase="another"),
        "has another passphrase in vault_file than in escrow",
    ),
    "another date": (
        lambda entry: entry["current"].update(created="2030-01-01T00:00:00Z"),
        "has another created in vault_file than in escrow",
    ),
    "another generation": (
        lambda entry: entry["current"].update(generation="one"),
        "has another generation in vault_file than in escrow",
    ),
    "another form": (lambda entry: entry.update(format=7), "escrow: the store holds something for this volume"),
    "no list": (lambda entry: entry.update(older={}), "escrow: the entry in the store has a field 'older'"),
    "half a secret": (
        lambda entry: entry["current"].pop("id"),
        "escrow: the entry in the store holds a secret without",
    ),
}


@pytest.mark.parametrize("way", CONTRADICTIONS)
def test_what_no_volume_can_decide_is_refused(way: str) -> None:
    world = rotated()
    change, says = CONTRADICTIONS[way]
    change(world.second.entry())
    before = copy.deepcopy((world.first.held, world.second.held, world.volume.slots))
    for generation in ("zero", "one"):
        found = world.run(generation)
        assert found.state == "refused" and says in found.msg and "The store was not changed." in found.msg, found.msg
        assert "passphrase of" not in found.msg
    assert (world.first.held, world.second.held, world.volume.slots) == before


def test_the_remedy_of_that_refusal_works() -> None:
    world = rotated()
    world.second.entry()["current"]["passphrase"] = "another"
    assert world.run("zero").state == "refused"
    world.second.held.clear()
    world.ends("zero")


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("broken", ["check", "write", "forgets"])
def test_one_store_that_fails(which: int, broken: str) -> None:
    world = rotated()
    world.stores[which].broken = broken
    slots = dict(world.volume.slots)
    found = world.run("one")
    assert found.failed and ("vault_file", "escrow")[which] in found.msg
    if broken == "write" and which:
        assert "vault_file has been written already, and escrow has not. The next run" in found.msg
    assert world.volume.slots == slots, "nothing comes to the volume before both stores gave it back"
    world.nothing_is_lost()
    world.stores[which].broken = ""
    world.ends("one")


def test_somebody_else_wrote_to_the_second_one() -> None:
    world = rotated()
    together = Together([("vault_file", world.first), ("escrow", world.second)])
    read_before = together.read(KEY)
    world.second.held[KEY] = Stored(world.second.entry(), 99)
    before = copy.deepcopy(world.first.held)
    with pytest.raises(StoreError, match=r"escrow: The entry .* was changed by another run.*The store was not changed"):
        together.write(KEY, t.cast(Json, read_before.entry), read_before.version)
    assert world.first.held == before


def test_a_note_that_reached_one_store_only() -> None:
    """Somebody was given the secret while the other store could not be reached."""
    world = rotated("one")
    lost = Together([("vault_file", Unreachable()), ("escrow", world.second)], lenient=True)
    found = lost.read(KEY)
    assert lost.silent == {"vault_file": "vault_file: It cannot be reached. The store was not changed."}
    entry = read(found.entry, "web", UUID, "")
    entry["current"]["given"] = [{"to": "alice", "at": "2026-11-29T01:04:41Z", "why": "no boot"}]
    assert notes((lost.write(KEY, entry, found.version).entry or {})["current"])
    assert not notes(world.first.entry()["current"])
    before = world.first.entry()["current"]["id"]
    world.ends()
    assert world.first.entry()["current"]["id"] != before, "it was replaced, although only one store has the note"


class Unreachable(FakeStore):
    def read(self, key: str) -> Stored:
        raise StoreError("It cannot be reached. The store was not changed.")

    def known(self, prefix: str) -> t.Optional[t.Dict[str, Stored]]:
        raise StoreError("It cannot be reached. The store was not changed.")


def test_a_store_that_cannot_be_read_stops_a_rotation_and_not_who_needs_a_passphrase() -> None:
    world = rotated("one")
    strict = Together([("vault_file", world.first), ("escrow", Unreachable())])
    rotation, _heard = rotate(options("two"), FakeHost({"/dev/a": world.volume}), strict)
    assert one_of(rotation).state == "refused" and "escrow: It cannot be reached" in one_of(rotation).msg
    nobody = Together([("vault_file", Unreachable()), ("escrow", Unreachable())], lenient=True)
    for ask in (lambda: nobody.read(KEY), lambda: nobody.known("web/")):
        with pytest.raises(StoreError, match=r"vault_file: It cannot be reached.*escrow: It cannot be reached"):
            ask()


def test_an_audit_says_that_they_differ() -> None:
    world = rotated("one")
    given = {"rotate_store_prefix": "", "rotate_groups": [], "rotate_keeps": [], "rotate_replaces": []}

    def item() -> Json:
        together = Together([("vault_file", world.first), ("escrow", world.second)])
        return (Entries(together, "web", given).listed() or [])[0]

    assert item()["current"] and "problem" not in item()
    world.second = FakeStore()
    assert "is the current one in vault_file, and not in escrow" in item()["problem"]
    world.ends()
    world.second.entry()["past"].append("bbbbbbbb")
    assert item()["problem"].startswith("the stores differ: vault_file is behind")
    world.second = t.cast(t.Any, Unreachable())
    assert item()["problem"].startswith("escrow: It cannot be reached")


class Sealing(FakeStore):
    """Keeps no passphrase, and gives none back."""

    def write(self, key: str, entry: Json, version: t.Any) -> Stored:
        sealed = copy.deepcopy(entry)
        for secret in held(sealed):
            secret.setdefault("sealed", f"{len(self.held)} envelope of {secret['id']}")
            secret.pop("passphrase", None)
        return super().write(key, sealed, version)


def test_a_store_that_gives_no_passphrase_back_beside_one_that_does() -> None:
    """At rest and in rotations, with no private key: the other store has the passphrases, and no envelopes."""
    world = World()
    world.second = Sealing()
    for generation in ("one", "two"):
        assert world.run(generation).state == "done"
        assert world.run(generation).state == "unchanged", world.heard
        first, second = world.first.entry(), world.second.entry()
        assert [one["id"] for one in held(first)] == [one["id"] for one in held(second)]
        assert not any("sealed" in one for one in held(first)) and all("sealed" in one for one in held(second))
    kept = {one["id"]: one["sealed"] for one in held(world.second.entry())}
    world.run("three")
    assert kept.items() <= {one["id"]: one["sealed"] for one in held(world.second.entry())}.items()
    world.first.held.clear()
    found = world.run("three")
    assert found.state == "refused" and "private key" in found.msg, "nobody can open it, and so nobody can prove it"


def test_an_envelope_is_for_the_store_that_has_it_alone() -> None:
    plain = {"id": "a", "passphrase": "of a", "generation": "one", "created": "2026-11-24T01:04:41Z"}
    both = {**blank("web", UUID, "/dev/a"), "current": {**plain, "sealed": "a given envelope"}}
    first, second = FakeStore(), Sealing()
    store = Together([("vault_file", first), ("escrow", second)])
    store.write(KEY, both, None)
    assert first.entry()["current"] == plain
    assert second.entry()["current"]["sealed"] == "0 envelope of a"
    assert t.cast(Json, store.read(KEY).entry)["current"] == plain


def test_what_a_single_store_says_of_other_stores_is_nothing() -> None:
    """It cannot make a run write for ever, or put words into its mouth."""
    volume, store = Disk({0: LEAKED["passphrase"], 1: GLASS["passphrase"]}), FakeStore()
    host = FakeHost({"/dev/a": volume})
    rotate(options("one"), host, store)
    store.entry().update(behind=["escrow"])
    assert one_of(rotate(options("one"), host, store)[0]).state == "unchanged"


def test_nothing_in_any_store_is_nothing() -> None:
    assert merged([("a", None), ("b", {})]) is None
