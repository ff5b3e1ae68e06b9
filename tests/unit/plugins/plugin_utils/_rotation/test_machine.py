# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine of a rotation in a world of its own, and killed before and after each call of it.

The last test has real volumes, and cryptsetup says what opens them.
"""

from __future__ import annotations

import copy
import gzip
import json
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.rotation.step import step
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.asking import Options
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.decision import Wanted
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.groups import group
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.journal import (
    AskTasks,
    Journal,
    KnownChance,
    KnownHost,
    KnownProgress,
    OfTasks,
)
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.machine import Rotation
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.volume import Volume
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.world import HostError
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.fake_world import (
    UUID,
    Death,
    Disk,
    FakeHost,
    FakeStore,
    Heard,
    Killed,
    rotate,
)

LEAKED = {"label": "leaked", "passphrase": "winter-2025"}
GLASS = {"label": "break-glass", "passphrase": "in-case-of-fire"}
OTHER = "11111111-7353-47b9-b355-d0ef03989991"
PLANTED = {"id": "aaaaaaaa", "passphrase": "of an intruder", "generation": "one", "created": "2026-11-24T01:04:41Z"}


def options(generation: str = "one", **more: t.Any) -> Options:
    return Options(**{"host": "web", "wanted": Wanted(generation), "replaces": [LEAKED], "keeps": [GLASS], **more})


def disk(**more: t.Any) -> Disk:
    return Disk({0: LEAKED["passphrase"], 1: GLASS["passphrase"]}, **more)


def one_of(rotation: Rotation) -> Volume:
    (volume,) = rotation.volumes
    return volume


def at_its_end(volume: Disk, store: FakeStore, generation: str) -> None:
    entry = store.entry(volume.uuid)
    assert entry["next"] is None and entry["current"]["generation"] == generation
    assert sorted(volume.slots.values()) == sorted([entry["current"]["passphrase"], GLASS["passphrase"]])


def test_three_calls_for_a_rotation_and_one_at_rest() -> None:
    disks, store = {"/dev/a": disk(), "/dev/b": disk(uuid=OTHER)}, FakeStore()
    host = FakeHost(disks)
    rotation, heard = rotate(options(), host, store)
    assert [one["step"] for one in host.asked] == ["look", "add", "erase"]
    assert [volume.state for volume in rotation.volumes] == ["done", "done"]
    for one in disks.values():
        at_its_end(one, store, "one")
    loud = [line.split(" ")[2] for line in heard.lines if "/dev/b" in line and "quiet" not in line]
    assert loud == ["decide", "stage", "add", "promote", "erase"]
    assert not any(secret in line for line in heard.lines for secret in (*LEAKED.values(), "in-case")[1:])

    host = FakeHost(disks)
    rotation, heard = rotate(options(), host, store)
    assert [one["step"] for one in host.asked] == ["look"]
    assert [volume.state for volume in rotation.volumes] == ["unchanged", "unchanged"]
    assert all("quiet" in line for line in heard.lines)
    assert [line.split(" ")[2] for line in heard.lines if "/dev/b" in line] == ["look", "decide"]


def test_what_is_forgotten_is_told_quietly() -> None:
    disks, store = {"/dev/a": disk()}, FakeStore()
    rotate(options(), FakeHost(disks), store)
    _rotation, heard = rotate(options("two", keep_older=0), FakeHost(disks), store)
    assert [line.split(" ")[2] for line in heard.lines if line.endswith("(quiet)")] == ["look", "forget"]
    assert store.entry(UUID)["older"] == []


def test_every_step_is_told_which_libraries_to_use() -> None:
    host = FakeHost({"/dev/a": disk(), "/dev/b": disk(uuid=OTHER)})
    rotate(options(fips="require"), host, FakeStore())
    assert {one["step"]: one["fips"] for one in host.asked} == dict.fromkeys(("look", "add", "erase"), "require")


def test_what_opens_nothing_is_said_only_where_the_host_proved_it() -> None:
    disks, store = {"/dev/a": disk()}, FakeStore()
    assert one_of(rotate(options(check=True), FakeHost(disks), store)[0]).closed == []
    first = one_of(rotate(options(), FakeHost(disks), store)[0])
    assert first.closed == ["leaked"]
    assert one_of(rotate(options(), FakeHost(disks), store)[0]).closed == ["leaked"]
    came_back = copy.deepcopy(disks)
    came_back["/dev/a"].slots[5] = LEAKED["passphrase"]
    assert one_of(rotate(options(check=True), FakeHost(came_back), store)[0]).closed == [], "it still opens one"
    second = one_of(rotate(options("two"), FakeHost(disks), store)[0])
    assert second.closed == [f"rotation {first.rounds[0]}", "leaked"]

    class FailsToErase(FakeHost):
        def _step(self, asked: t.Any) -> t.Any:
            failed = {"device": "/dev/a", "failed": True, "msg": "its medium is full"}
            return {"volumes": [failed]} if asked["step"] == "erase" else super()._step(asked)

    third = one_of(rotate(options("three"), FailsToErase(disks), store)[0])
    assert (third.state, third.closed) == ("partial", [])

    class Contradicts(FakeHost):
        def _step(self, asked: t.Any) -> t.Any:
            answer = super()._step(asked)
            if asked["step"] == "erase":
                answer["volumes"][0]["keyslots"][0]["opened_by"] = ["leaked"]
            return answer

    assert one_of(rotate(options(), Contradicts({"/dev/a": disk()}), FakeStore())[0]).closed == []


def test_a_second_look_that_answers_about_others() -> None:
    class Another(FakeHost):
        def _step(self, asked: t.Any) -> t.Any:
            answer = super()._step(asked)
            if len(self.asked) > 1:
                answer["volumes"] = answer["volumes"] * 2
            return answer

    rotation, _heard = rotate(options(), Another({"/dev/a": disk()}), FakeStore(lists=False))
    assert one_of(rotation).state == "refused"
    assert "was asked about 1 volumes and answered about 2" in one_of(rotation).msg


def test_a_store_that_lists_nothing_costs_one_look_more() -> None:
    disks, store = {"/dev/a": disk()}, FakeStore(lists=False)
    rotate(options(), FakeHost(disks), store)
    at_its_end(disks["/dev/a"], store, "one")
    host = FakeHost(disks)
    assert one_of(rotate(options(), host, store)[0]).state == "unchanged"
    assert [one["step"] for one in host.asked] == ["look", "look"]


def test_check_mode_changes_nothing() -> None:
    disks, store = {"/dev/a": disk()}, FakeStore()
    host = FakeHost(disks)
    volume = one_of(rotate(options(check=True), host, store)[0])
    assert (volume.state, [one["action"] for one in volume.actions]) == ("done", ["add", "erase"])
    assert [one["step"] for one in host.asked] == ["look"] and store.held == {}
    assert disks["/dev/a"].slots == disk().slots


@pytest.mark.parametrize("check", [False, True])
def test_what_can_be_refused_is_refused_before_anything_is_stored(check: bool) -> None:
    disks, store = {"/dev/a": Disk({0: "a stranger's"}), "/dev/b": disk(uuid=OTHER)}, FakeStore()
    rotation, heard = rotate(options(check=check), FakeHost(disks), store)
    assert [volume.state for volume in rotation.volumes] == ["refused", "done"], "the other one goes on"
    assert list(store.held) == ([] if check else [f"web/{OTHER}"])
    refused = rotation.volumes[0]
    assert (refused.failed_at, refused.msg) == (
        "plan",
        "/dev/a: no given secret opens the volume. Nothing was changed.",
    )
    assert heard.lines.count("/dev/a 1/2 decide refused at plan") == 1


def test_a_planted_secret_comes_to_no_volume() -> None:
    disks, store = {"/dev/a": disk()}, FakeStore()
    rotate(options(), FakeHost(disks), store)
    for field in ("next", "current"):
        # The volume's own record would name an older copy of the entry.
        disks["/dev/a"].format = "luks1" if field == "current" else "luks2"
        held = store.held[f"web/{UUID}"]
        entry = {**t.cast(t.Dict[str, t.Any], held.entry), field: dict(PLANTED)}
        if field == "current":
            entry["older"] = [t.cast(t.Dict[str, t.Any], held.entry)["current"]]
        store.held[f"web/{UUID}"] = held._replace(entry=entry)
        volume = one_of(rotate(options(), FakeHost(disks), store)[0])
        assert volume.state == "done" and PLANTED["passphrase"] not in disks["/dev/a"].slots.values()
        assert "aaaaaaaa" in volume.decision.reason
        at_its_end(disks["/dev/a"], store, "one")


def test_an_entry_that_came_back_from_a_backup_is_refused() -> None:
    disks, store = {"/dev/a": disk()}, FakeStore()
    rotate(options(), FakeHost(disks), store)
    kept = copy.deepcopy(store.held)
    rotate(options("two"), FakeHost(disks), store)
    before = dict(disks["/dev/a"].slots)
    store.held = kept
    volume = one_of(rotate(options("three"), FakeHost(disks), store)[0])
    assert volume.state == "refused" and "the store is older than the volume" in volume.msg
    assert volume.msg.endswith("The volume was not changed.") and disks["/dev/a"].slots == before


def test_a_volume_that_came_back_from_before_what_the_store_keeps() -> None:
    """Its header names the secret that would help, and the refusal says where that may be."""
    disks, store = {"/dev/a": Disk({0: LEAKED["passphrase"]})}, FakeStore()
    rotate(options(keeps=[]), FakeHost(disks), store)
    first, before = store.entry()["current"]["id"], copy.deepcopy(disks["/dev/a"])
    for text in ("two", "three", "four", "five"):
        rotate(options(text, keeps=[]), FakeHost(disks), store)
    assert first in store.entry()["past"]
    volume = one_of(rotate(options("six", keeps=[]), FakeHost({"/dev/a": before}), store)[0])
    assert volume.state == "refused" and "no given secret opens the volume" in volume.msg
    assert f"names secret '{first}', which the store has forgotten" in volume.msg and "rotate_replaces" in volume.msg
    before.labels.clear()
    volume = one_of(rotate(options("seven", keeps=[]), FakeHost({"/dev/a": before}), store)[0])
    assert volume.state == "refused" and "forgotten" not in volume.msg


def test_a_secret_that_was_taken_up_is_reported_beside_the_next_one() -> None:
    disks, death = {"/dev/a": disk()}, Death(3, after=True)
    store = FakeStore(death)
    with pytest.raises(Killed, match="host add"):
        rotate(options(), FakeHost(disks, death), store)
    staged = store.entry()["next"]["id"]
    store.death = Death()
    volume = one_of(rotate(options("two"), FakeHost(disks), store)[0])
    assert volume.rounds == [staged, store.entry()["current"]["id"]] and len(set(volume.rounds)) == 2
    assert [one["action"] for one in volume.actions] == ["erase", "add", "erase"]
    at_its_end(disks["/dev/a"], store, "two")


def test_after_secrets_were_taken_up_one_look_is_for_all_volumes() -> None:
    def world() -> t.Dict[str, Disk]:
        return {"/dev/a": disk(), "/dev/b": disk(uuid=OTHER)}

    whole = Death()
    rotate(options(), FakeHost(world(), whole), FakeStore(whole))
    disks, death = world(), Death(whole.calls.index("host add"), after=True)
    store = FakeStore(death)
    with pytest.raises(Killed, match="host add"):
        rotate(options(), FakeHost(disks, death), store)
    store.death, host = Death(), FakeHost(disks)
    rotation, _heard = rotate(options("two"), host, store)
    assert [volume.state for volume in rotation.volumes] == ["done", "done"]
    assert [one["step"] for one in host.asked] == ["look", "add", "erase", "look", "add", "erase"]
    for one in disks.values():
        at_its_end(one, store, "two")


def test_two_volumes_with_one_uuid_share_a_secret() -> None:
    disks, store = {"/dev/a": disk(), "/dev/b": disk()}, FakeStore()
    for generation in ("one", "two"):
        rotation, _heard = rotate(options(generation), FakeHost(disks), store)
        assert [volume.state for volume in rotation.volumes] == ["done", "done"]
        for one in disks.values():
            at_its_end(one, store, generation)
    host = FakeHost(disks)
    assert {volume.state for volume in rotate(options("two"), host, store)[0].volumes} == {"unchanged"}


def test_a_full_header() -> None:
    full = Disk({0: LEAKED["passphrase"], 1: GLASS["passphrase"]}, size=2)
    store = FakeStore()
    rotate(options(), FakeHost({"/dev/a": full}), store)
    at_its_end(full, store, "one")


def test_keyfiles_and_initramfs_follow_before_the_promotion() -> None:
    volume, store = disk(), FakeStore()
    volume.keyfiles = {"/etc/data.key": LEAKED["passphrase"]}
    host = FakeHost({"/dev/a": volume})
    _rotation, heard = rotate(options(), host, store)
    assert volume.keyfiles["/etc/data.key"] == store.entry()["current"]["passphrase"] and host.built == 1
    phases = [line.split(" ")[2] for line in heard.lines]
    assert phases.index("initramfs") < phases.index("promote")
    # At rest, with a keyfile that came back from a backup: it follows, and nothing else is done.
    volume.keyfiles["/etc/data.key"] = LEAKED["passphrase"]
    host = FakeHost({"/dev/a": volume})
    rotate(options(initramfs="never"), host, store)
    assert volume.keyfiles["/etc/data.key"] == store.entry()["current"]["passphrase"] and host.built == 0
    assert [one["step"] for one in host.asked] == ["look", "add"]


@pytest.mark.parametrize("policy", ["report", "fail", "erase"])
def test_keyslots_that_no_known_secret_opens(policy: str) -> None:
    volume, store = disk(), FakeStore()
    volume.slots.update({4: "a stranger's", 5: "a colleague's"})
    volume.labels[5] = "colleague"
    found = one_of(rotate(options(unknown=policy), FakeHost({"/dev/a": volume}), store)[0])
    if policy == "fail":
        assert found.state == "refused" and "keyslot 4 opens with no secret" in found.msg and store.held == {}
        assert 4 in volume.slots
    else:
        assert found.state == "done" and [row["keyslot"] for row in found.unknown][-1] == 5
        assert (4 in volume.slots) == (policy == "report") and 5 in volume.slots


def seal_current(store: FakeStore) -> None:
    """As a run without the private key gets it."""
    current = store.entry()["current"]
    current["sealed"] = "an envelope"
    del current["passphrase"]


@pytest.mark.parametrize("policy", ["report", "fail", "erase"])
@pytest.mark.parametrize("format", ["luks1", "luks2"])
def test_a_keyslot_is_no_strangers_while_the_secret_of_the_store_is_sealed(format: str, policy: str) -> None:
    volume, store = disk(format=format), FakeStore()
    rotate(options(), FakeHost({"/dev/a": volume}), store)
    own = store.entry()["current"]["passphrase"]
    seal_current(store)
    found = one_of(rotate(options(unknown=policy), FakeHost({"/dev/a": volume}), store)[0])
    assert (found.state, found.sealed) == ("unchanged", True) and own in volume.slots.values()
    # LUKS2 has a record that names it; on LUKS1 it cannot be told from a stranger's, and is named.
    assert [row["keyslot"] for row in found.unknown] == (
        [] if format == "luks2" else volume.opened_by({"passphrase": own})
    )

    volume.slots[5] = "a stranger's"
    before = dict(volume.slots)
    found = one_of(rotate(options(unknown=policy), FakeHost({"/dev/a": volume}), store)[0])
    assert volume.slots == before and 5 in [row["keyslot"] for row in found.unknown]
    assert found.state == ("unchanged" if policy == "report" else "refused")
    assert policy == "report" or "rotate_escrow_private_key" in found.msg


def test_a_record_hides_no_second_keyslot_behind_the_sealed_secret() -> None:
    volume, store = disk(), FakeStore()
    rotate(options(), FakeHost({"/dev/a": volume}), store)
    (own,) = [keyslot for keyslot, label in volume.labels.items() if label.startswith("rotation ")]
    seal_current(store)
    volume.slots[5], volume.labels[5] = "a stranger's", volume.labels[own]
    found = one_of(rotate(options(), FakeHost({"/dev/a": volume}), store)[0])
    assert [row["keyslot"] for row in found.unknown] == sorted([own, 5])


@pytest.mark.parametrize("policy", ["report", "fail", "erase"])
def test_a_keyslot_that_could_not_be_tried_is_nobodys(policy: str) -> None:
    volume, store = disk(), FakeStore()
    rotate(options(), FakeHost({"/dev/a": volume}), store)
    volume.slots[5], volume.untriable = "a stranger's", {5}
    found = one_of(rotate(options(unknown=policy), FakeHost({"/dev/a": volume}), store)[0])
    assert 5 in volume.slots and [(row["keyslot"], row["tried"]) for row in found.unknown] == [(5, False)]
    assert found.state == ("unchanged" if policy == "report" else "refused")
    assert policy == "report" or "keyslot 5 could not be tried (its costs are above the limit)" in found.msg


@pytest.mark.parametrize("format", ["luks1", "luks2"])
def test_where_no_record_can_tell_a_first_run_erases_no_stranger(format: str) -> None:
    """It could be the secret of a rotation with another path of the store."""
    volume, store = disk(), FakeStore()
    volume.format = format
    volume.slots[4] = "of the other store"
    found = one_of(rotate(options(unknown="erase"), FakeHost({"/dev/a": volume}), store)[0])
    assert (found.state, 4 in volume.slots) == (("refused", True) if format == "luks1" else ("done", False))
    if format == "luks1":
        assert store.held == {} and "Run once with rotate_unknown: report" in found.msg
        rotate(options(), FakeHost({"/dev/a": volume}), store)
        assert one_of(rotate(options(unknown="erase"), FakeHost({"/dev/a": volume}), store)[0]).state == "done"
        assert 4 not in volume.slots, "the operator has looked"


def test_a_store_that_fails_changes_no_volume() -> None:
    for broken, said in (("check", "It is full"), ("write", "It is full"), ("forgets", "did not give back secret")):
        volume, store = disk(), FakeStore()
        store.broken = broken
        found = one_of(rotate(options(), FakeHost({"/dev/a": volume}), store)[0])
        assert volume.slots == disk().slots and said in found.msg and "staged is in the store" not in found.msg
        assert found.state == ("partial" if broken == "forgets" else "refused")


def test_a_promise_is_made_only_where_it_holds() -> None:
    volume, store = disk(), FakeStore()

    class Breaks(FakeHost):
        def _change(self, asked: t.Any, work: t.Any) -> t.Any:
            return {"changed": True, "failed": True, "msg": "the disk is gone", "phase": asked["step"]}

    found = one_of(rotate(options(), Breaks({"/dev/a": volume}), store)[0])
    assert found.state == "partial" and found.failed_at == "add"
    assert found.msg.count("the next run of this playbook takes it up") == 1
    volume.refuses = "It begins with text, not with a LUKS header. Nothing was changed."
    found = one_of(rotate(options(), FakeHost({"/dev/a": volume}), store)[0])
    assert (found.state, found.failed_at) == ("refused", "look") and "takes it up" not in found.msg


@pytest.mark.parametrize(
    "lie",
    [
        {"volumes": None},
        {"volumes": [1]},
        {"volumes": [{"uuid": UUID}]},
        {"volumes": [{"device": "/dev/a"}]},
        {"volumes": [{"device": "/dev/a", "uuid": "../../x", "plan": {}}]},
        {
            "volumes": [
                {"device": "/dev/a", "uuid": UUID, "plan": [], "record": 7, "keyslots": "x", "keyfiles": {"a": 1}}
            ]
        },
        {"volumes": [{"device": "/dev/a", "uuid": UUID}] * 3},
        {"volumes": [{"device": "/dev/a", "failed": True, "msg": {"a": 1}}]},
    ],
)
def test_a_host_that_lies_stores_nothing(lie: t.Any) -> None:
    store = FakeStore()

    class Lies(FakeHost):
        def _step(self, asked: t.Any) -> t.Any:
            return lie

    try:
        rotation, _heard = rotate(options(), Lies({}), store)
    except HostError:
        return
    finally:
        assert store.held == {}
    assert {volume.state for volume in rotation.volumes} == {"refused"}


def test_a_uuid_that_is_a_path_does_not_get_as_far_as_the_store() -> None:
    asked: t.List[str] = []

    class Store(FakeStore):
        def read(self, key: str) -> t.Any:
            asked.append(key)
            return super().read(key)

    volume = one_of(rotate(options(), FakeHost({"/dev/a": disk(uuid="../../x")}), Store(lists=False))[0])
    assert volume.state == "refused" and asked == []


def test_a_host_that_exchanges_its_volumes() -> None:
    store = FakeStore(lists=False)

    class Exchanges(FakeHost):
        def _step(self, asked: t.Any) -> t.Any:
            self.disks["/dev/a"].uuid = OTHER if self.disks["/dev/a"].uuid == UUID else UUID
            return super()._step(asked)

    volume = one_of(rotate(options(), Exchanges({"/dev/a": disk()}), store)[0])
    assert "another UUID" in volume.msg and store.held == {}


def test_the_journal_of_a_store_of_tasks() -> None:
    """Run again from its beginning for each answer, it asks the host and chance once for each question."""
    disks, kept = {"/dev/a": disk()}, FakeStore()
    host, heard, answers = FakeHost(disks), Heard(), []
    while True:
        journal = Journal(json.loads(json.dumps(answers)))
        world = KnownHost(host, journal), OfTasks(journal), KnownProgress(heard, journal), KnownChance(journal)
        try:
            rotation = Rotation(options(), *world)
            rotation.run()
            break
        except AskTasks as asked:
            question = dict(asked.question)
            operation = getattr(kept, question.pop("operation"))
            answers = [*journal.answers, operation(**question)._asdict()]
    assert one_of(rotation).state == "done"
    at_its_end(disks["/dev/a"], kept, "one")
    assert [one["step"] for one in host.asked] == ["look", "look", "add", "erase"]
    assert len([line for line in heard.lines if " stage " in line]) == 1


def calls_of(begin: t.Callable[[Death], t.Tuple[t.Any, FakeStore]], generation: str) -> t.List[str]:
    death = Death()
    host, store = begin(death)
    rotate(options(generation), host, store)
    return death.calls


def fake(death: Death) -> t.Tuple[FakeHost, FakeStore]:
    volume, store = disk(), FakeStore(lists=False)
    volume.keyfiles = {"/etc/data.key": LEAKED["passphrase"]}
    rotate(options("zero"), FakeHost({"/dev/a": volume}), store)
    store.death = death
    return FakeHost({"/dev/a": volume}, death), store


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("again", ["one", "two"])
def test_killed_at_every_call(after: bool, again: str) -> None:
    """What the volume proves is taken up, nothing is ever lost, and one more run ends it."""
    calls = calls_of(fake, "one")
    assert {"store read", "store write", "host look", "host add", "host holds", "host build", "host erase"} == set(
        calls
    )
    for number in range(len(calls)):
        host, store = fake(Death(number, after=after))
        with pytest.raises(Killed):
            rotate(options("one"), host, store)
        volume, entry = host.disks["/dev/a"], store.entry()
        known = [one["passphrase"] for one in (entry["next"], entry["current"], *entry["older"]) if one]
        assert (
            GLASS["passphrase"] in volume.slots.values() and volume.keyfiles["/etc/data.key"] in volume.slots.values()
        )
        assert set(volume.slots.values()) <= {*known, GLASS["passphrase"]}, "a secret is in no store"
        staged = entry["next"] and entry["next"]["passphrase"] in volume.slots.values() and entry["next"]["id"]
        store.death = host.death = Death()
        found = one_of(rotate(options(again), host, store)[0])
        at_its_end(volume, store, again)
        assert volume.keyfiles["/etc/data.key"] == store.entry()["current"]["passphrase"]
        assert not staged or found.rounds[0] == staged
        assert one_of(rotate(options(again), host, store)[0]).state == "unchanged"


IMAGES = pathlib.Path(__file__).resolve().parents[4] / "fixtures"
_WORK = {"device": None, "header": None, "uuid": None, "unlock": [], "keyslots": [], "replaced": [], "prove": None}


class RealHost(FakeHost):
    """The module's own step, in this process."""

    def _step(self, asked: t.Any) -> t.Any:
        works = {
            name: [{**_WORK, "keyfiles": [], "kept": 0, "hints": [], **work} for work in asked.get(name, ())]
            for name in ("volumes", "orders")
        }
        self.told = json.loads(json.dumps(step({"discover": None, "others": [], **asked, **works})))
        return self.told


def opens(image: pathlib.Path, secret: str) -> bool:
    words = ["cryptsetup", "open", "--test-passphrase", "--key-file", "-", str(image)]
    done = subprocess.run(words, input=secret.encode(), capture_output=True, check=False)
    assert done.returncode in (0, 2), done
    return done.returncode == 0


@pytest.mark.needs("cryptsetup")
@pytest.mark.parametrize("name", ["luks1.img", pytest.param("luks2.img", marks=pytest.mark.full)])
@pytest.mark.parametrize("after", [pytest.param(False, marks=pytest.mark.full), True], ids=["before", "after"])
def test_real_volumes_killed_at_every_call(tmp_path: pathlib.Path, name: str, after: bool) -> None:
    """It may take 20 s: two rotations for each call."""
    image, blank = tmp_path / name, gzip.decompress((IMAGES / f"{name}.gz").read_bytes())
    where = {"volumes": [{"device": str(image)}], "block_devices": False, "crypttab": str(tmp_path / "none")}
    usual = {**where, "iter_time": 1}

    def begin(death: Death) -> t.Tuple[RealHost, FakeStore]:
        image.write_bytes(blank)
        return RealHost({}, death), FakeStore(death)

    death = Death()
    rotate(options(**usual), *begin(death))
    assert death.calls == ["host look", "store read", "store write", "host add", "store write", "host erase"]
    for number in range(len(death.calls)):
        host, store = begin(Death(number, after=after))
        with pytest.raises(Killed):
            rotate(options(**usual), host, store)
        assert opens(image, GLASS["passphrase"])
        store.death = host.death = Death()
        found = one_of(rotate(options(**usual), host, store)[0])
        assert found.state == ("unchanged" if after and number == 5 else "done"), found.msg
        (held,) = store.held.values()
        entry = t.cast(t.Dict[str, t.Any], held.entry)
        assert opens(image, entry["current"]["passphrase"]) and not opens(image, LEAKED["passphrase"])
        assert len([row for row in found.table if row.get("state") == "active"]) == 2
    # At rest: the current secret in its keyslot, break-glass in the other one. The old ones cost nothing more.
    rotate(options("two", **usual), host, store)
    rotate(options("two", **usual), host, store)
    (rested,) = host.told["volumes"]
    assert (rested["plan"]["plan"], rested["plan"]["kdf_evaluations"], rested["unknown"]) == ([], 2, [])


def enrolled(image: pathlib.Path) -> t.List[t.List[str]]:
    listed = subprocess.run(["systemd-cryptenroll", image], capture_output=True, text=True, check=True).stdout
    return [line.split() for line in listed.splitlines()[1:]]


@pytest.mark.needs("systemd-cryptenroll", "cryptsetup")
def test_a_recovery_key_is_one_to_systemd_until_it_is_replaced(tmp_path: pathlib.Path) -> None:
    images = [tmp_path / name for name in ("luks1.img", "luks2.img")]
    for image in images:
        image.write_bytes(gzip.decompress((IMAGES / f"{image.name}.gz").read_bytes()))
    usual: t.Dict[str, t.Any] = {
        "volumes": [{"device": str(image)} for image in images],
        "block_devices": False,
        "crypttab": str(tmp_path / "none"),
        "pbkdf": {"type": "pbkdf2", "iterations": 1000},
    }
    store = FakeStore()
    for generation in ("one", "two", "two"):
        host = RealHost({})
        rotation, _heard = rotate(options(generation, passphrase_format="recovery", **usual), host, store)
        assert not [volume.msg for volume in rotation.volumes if volume.failed]
        changed = {volume.state for volume in rotation.volumes} == {"done"}
        # LUKS1 has no tokens, and nobody has to be asked twice for that. What opened a keyslot is tried there first.
        assert not changed or [done["kdf_evaluations"] for done in host.told["volumes"]] == [3, 3]
        assert [one["step"] for one in host.asked] == (["look", "add", "erase"] if changed else ["look"])
        (keyslot,) = (
            row["keyslot"]
            for row in rotation.volumes[1].table
            if row["opened_by"] and row["opened_by"] != ["break-glass"]
        )
        assert sorted(enrolled(images[1])) == sorted([["1", "password"], [str(keyslot), "recovery"]])
        for held, image in zip(sorted(store.held.values(), key=lambda one: one.entry["device"]), images):
            assert opens(image, held.entry["current"]["passphrase"])
    assert not changed
    rotate(options("three", **usual), RealHost({}), store)
    assert [kind for _keyslot, kind in enrolled(images[1])] == ["password", "password"]


def test_a_member_with_an_entry_of_its_own_joins_a_group_that_has_one() -> None:
    """A new disk of a RAID that was rotated before the group had its UUID."""
    late = "b" * 8 + UUID[8:]
    disks, store = {"/dev/a": disk(), "/dev/b": Disk({0: LEAKED["passphrase"]}, uuid=late)}, FakeStore()
    rotate(options(groups=[group("md", [UUID])]), FakeHost(disks), store)
    whole = [group("md", [UUID, late])]
    before = {path: dict(one.slots) for path, one in disks.items()}
    refused = rotate(options("two", groups=whole), FakeHost(disks), store)[0].volumes
    assert {path: one.slots for path, one in disks.items()} == before
    (msg,) = (volume.msg for volume in refused if volume.uuid == late)
    assert f"web/{late}" in msg and "rotate_replaces" in msg and "rotate_store_create" in msg
    assert "older than the volume" not in msg

    own = t.cast(t.Dict[str, t.Any], store.held[f"web/{late}"].entry)["current"]
    replaces = [{"label": "own", "passphrase": own["passphrase"]}, LEAKED]
    joined = rotate(options("two", groups=whole, replaces=replaces, begin=True), FakeHost(disks), store)[0].volumes
    assert [volume.state for volume in joined] == ["done", "done"], [volume.msg for volume in joined]
    shared = set(disks["/dev/a"].slots.values()) & set(disks["/dev/b"].slots.values())
    assert len(shared) == 1 and own["passphrase"] not in disks["/dev/b"].slots.values()
    assert {v.state for v in rotate(options("two", groups=whole), FakeHost(disks), store)[0].volumes} == {"unchanged"}

    disks["/dev/b"].labels[0] = "rotation of-nobody"
    odd = rotate(options("three", groups=whole), FakeHost(disks), store)[0].volumes
    assert any("older than the volume" in volume.msg for volume in odd)
