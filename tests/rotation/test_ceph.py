# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store ceph against a real monitor. The block and the db of an OSD share the secret that the monitor gives to the
OSD; at every instant that one opens both.
"""

from __future__ import annotations

import base64
import copy
import pathlib
import secrets
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.asking import Options
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.decision import Wanted
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.groups import group
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.machine import Rotation
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import StoreError
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores.ceph import ENTRIES, Ceph
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.world import Chance
from ansible_collections.luksmith.luks.tests.rotation.ceph_monitor import Monitor, monitor
from ansible_collections.luksmith.luks.tests.rotation.lab import BREAK_GLASS, LEAKED, Lab
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.fake_world import (
    Death,
    Disk,
    FakeHost,
    Heard,
    Killed,
)

pytestmark = [
    pytest.mark.full,
    pytest.mark.needs("ceph", "ceph-mon", "cryptsetup"),
    pytest.mark.xdist_group("ceph"),
]
BLOCK, DB = "4b543c86-7353-47b9-b355-d0ef03989991", "11111111-7353-47b9-b355-d0ef03989991"
ROTATES = 'allow command "config-key get", allow command "config-key set"'


@pytest.fixture(scope="module")
def mon(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Monitor]:
    with monitor(tmp_path_factory.mktemp("mon")) as one:
        one.allow("client.luksmith", ROTATES)
        one.allow("client.reads", 'allow command "config-key get"')
        yield one


@pytest.fixture
def made() -> str:
    """As ceph-volume makes it: 172 characters."""
    return base64.b64encode(secrets.token_bytes(128)).decode()


class Dies(Ceph):
    """A controller that is killed before or after a call of the program ceph."""

    death = Death()

    def known(self, prefix: str) -> None:
        return None

    def _run(self, words: t.Sequence[str], given: bytes, state: str) -> t.Any:
        run = super()._run
        if words[0] != "set":
            return run(words, given, state)
        return self.death.watch(f"set {words[1].partition('/')[0]}", lambda: run(words, given, state))


def store_of(mon: Monitor, name: str = "client.luksmith", death: t.Optional[Death] = None) -> Dies:
    store = Dies(mon.words(name))
    store.death = death or Death()
    return store


def rotate(osd: str, volumes: t.Mapping[str, Disk], store: Ceph, generation: str, host: t.Any = None) -> Rotation:
    options = Options(host="osd-1", wanted=Wanted(generation), groups=[group(osd, [BLOCK, DB])], check=False)
    rotation = Rotation(options, host or FakeHost(volumes), t.cast(t.Any, store), Heard(), Chance())
    rotation.run()
    return rotation


def disks(passphrase: str) -> t.Dict[str, Disk]:
    return {f"/dev/{uuid[:2]}": Disk({0: passphrase}, uuid=uuid) for uuid in (BLOCK, DB)}


def test_what_the_monitor_gives_to_the_osd_always_opens_both(mon: Monitor, made: str) -> None:
    """Killed before and after each write to the monitor, and rerun."""
    death = Death()
    osd, volumes = mon.new_osd(made), disks(made)
    rotation = rotate(osd, volumes, store_of(mon, death=death), "one")
    assert [volume.state for volume in rotation.volumes] == ["done", "done"], rotation.volumes[0].msg
    assert death.calls == ["set luksmith.luks", "set dm-crypt", "set luksmith.luks"]
    assert [list(one.slots.values()) for one in volumes.values()] == [[mon.given_to(osd)]] * 2
    begin, given = copy.deepcopy(volumes), mon.given_to(osd)
    entry = mon.ask("config-key", "get", f"{ENTRIES}osd-1/{osd}")
    for number in range(len(death.calls)):
        for after in (False, True):
            mon.ask("config-key", "set", f"{ENTRIES}osd-1/{osd}", "-i", "-", stdin=entry)
            mon.ask("config-key", "set", f"dm-crypt/osd/{osd}/luks", "-i", "-", stdin=given)
            volumes = copy.deepcopy(begin)
            with pytest.raises(Killed):
                rotate(osd, volumes, store_of(mon, death=Death(number, after=after)), "two")
            used = mon.given_to(osd)
            assert all(used in one.slots.values() for one in volumes.values())
            rotation = rotate(osd, volumes, store_of(mon), "two")
            assert [volume.state for volume in rotation.volumes] == ["done", "done"], rotation.volumes[0].msg
            assert [list(one.slots.values()) for one in volumes.values()] == [[mon.given_to(osd)]] * 2
    rotation = rotate(osd, volumes, store_of(mon), "two")
    assert [volume.state for volume in rotation.volumes] == ["unchanged", "unchanged"]


def test_what_somebody_else_changed_is_refused(mon: Monitor, made: str) -> None:
    osd, volumes = mon.new_osd(made), disks(made)
    rotate(osd, volumes, store_of(mon), "one")
    before = copy.deepcopy({place: one.slots for place, one in volumes.items()})
    mon.ask("config-key", "set", f"dm-crypt/osd/{osd}/luks", "-i", "-", stdin="another one")
    rotation = rotate(osd, volumes, store_of(mon), "two")
    assert "so that the OSD would not find its way in" in rotation.volumes[0].msg
    assert {volume.state for volume in rotation.volumes} == {"refused"}
    assert before == {place: one.slots for place, one in volumes.items()}


def test_a_keyring_that_may_not_set_changes_no_volume(mon: Monitor, made: str) -> None:
    osd, volumes = mon.new_osd(made), disks(made)
    rotation = rotate(osd, volumes, store_of(mon, "client.reads"), "one")
    assert "EACCES" in rotation.volumes[0].msg and made not in rotation.volumes[0].msg
    assert [list(one.slots.values()) for one in volumes.values()] == [[made]] * 2 and mon.given_to(osd) == made


def test_two_runs_at_once(mon: Monitor) -> None:
    store = store_of(mon)
    blank = store.read(f"osd-1/{BLOCK}")
    assert blank == (None, 0)
    entry = {"format": 1, "current": {"id": "a", "passphrase": "one"}, "next": None, "older": []}
    first = store.write(f"osd-1/{BLOCK}", entry, blank.version)
    assert first.entry == entry
    with pytest.raises(StoreError, match="was changed by another run meanwhile"):
        store.write(f"osd-1/{BLOCK}", entry, blank.version)
    mon.ask("config-key", "set", f"{ENTRIES}osd-1/{BLOCK}", "-i", "-", stdin="no entry")
    with pytest.raises(StoreError, match="holds no entry"):
        store.read(f"osd-1/{BLOCK}")


def test_a_monitor_that_does_not_answer(mon: Monitor) -> None:
    with pytest.raises(
        StoreError, match=r"did not end within .* Are the monitors reachable\? The store was not changed"
    ):
        Ceph(["sh", "-c", "exec sleep 60"], timeout=0.01).read("osd-1/x")
    with pytest.raises(StoreError, match="cannot be run: No such file"):
        Ceph(["/nowhere/ceph"]).read("osd-1/x")


@pytest.mark.needs("ansible-playbook")
def test_an_osd_through_the_playbook(mon: Monitor, tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """It may take 15 s. What the cluster made is found in it, and given to no play."""
    osd = mon.new_osd(LEAKED)
    lab = Lab.make(
        tmp_path / "lab",
        shared,
        ("luks1.img", "luks2.img"),
        rotate_store="ceph",
        rotate_ceph=mon.words("client.luksmith"),
        rotate_groups=[{"name": osd, "volumes": [f"{tmp_path}/lab/luks1.img", f"{tmp_path}/lab/luks2.img"]}],
        rotate_replaces=[],
    )
    lab.play()
    used = mon.given_to(osd)
    for volume in lab.volumes:
        assert lab.opens(volume, used) and lab.opens(volume, BREAK_GLASS) and not lab.opens(volume, LEAKED)
    assert "2 unchanged" in lab.play()
