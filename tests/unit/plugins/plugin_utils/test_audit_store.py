# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is told of a store: the entries of its own volumes, read and never written."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._audit_store import STORE_SPEC, Entries, variables_of
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.entry import Entry, blank
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.role_variables import store_options_of
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import Stored, StoreError
from ansible_collections.luksmith.luks.plugins.plugin_utils._stores import CLASSES

ONE, TWO = "4b543c86-7353-47b9-b355-d0ef03989991", "ABCDEF86-7353-47b9-b355-d0ef03989991"
KEPT = {"label": "break-glass", "passphrase": "in case of fire"}
GONE = {"passphrase": "of the installer"}


def secret(identity: str, **members: t.Any) -> t.Dict[str, t.Any]:
    return {"id": identity, "passphrase": f"of {identity}", "created": "2026-11-24T01:04:41Z", **members}


def entry(uuid: str, host: str = "web", **members: t.Any) -> Entry:
    return {**blank(host, uuid, "/dev/vda"), "current": secret("aa"), **members}


class Shelf:
    """A store that can be read; whoever writes to it fails the test."""

    def __init__(self, **held: Entry) -> None:
        self._held = held
        self.asked: t.List[str] = []

    def read(self, key: str) -> Stored:
        self.asked.append(key)
        if "broken" in self._held:
            raise StoreError("It is not mounted. The store was not changed.")
        found = [one for uuid, one in self._held.items() if key.endswith(uuid)]
        return Stored(found[0], 1) if found else Stored()

    def write(self, key: str, entry: Entry, version: t.Any) -> Stored:
        raise AssertionError("an audit writes nothing")

    check = write  # of whether it could be written


class Listing(Shelf):
    def known(self, prefix: str) -> t.Dict[str, Stored]:
        return {key: self.read(key) for key in [prefix + uuid for uuid in self._held]}


def entries(
    store: t.Any,
    prefix: str = "",
    keeps: t.Sequence[t.Any] = (KEPT,),
    gone: t.Sequence[t.Any] = (),
    groups: t.Sequence[t.Any] = (),
) -> Entries:
    given = {
        "rotate_store_prefix": prefix,
        "rotate_keeps": keeps,
        "rotate_replaces": gone,
        "rotate_groups": groups,
    }
    return Entries(store, "web", given)


def named(*uuids: str) -> t.List[t.Tuple[str, str]]:
    """Volumes as a host names them, device and UUID."""
    return [(f"/dev/{uuid}", uuid) for uuid in uuids]


def test_an_entry_becomes_labels_and_the_secrets_that_they_name() -> None:
    note = {"to": "alice", "at": "2026-11-29T01:00:00Z", "why": ""}
    held = entry(ONE, next=secret("bb", given=[note]), older=[secret("cc"), secret("dd", passphrase="", sealed="…")])
    found = entries(Listing(**{ONE: held}), gone=[GONE]).listed()
    assert found is not None and len(found) == 2
    assert found[0] == {
        "uuid": ONE,
        "current": "rotation aa",
        "created": "2026-11-24T01:04:41Z",
        "given": "given to alice at 2026-11-29T01:00:00Z",
        "staged": "rotation bb",
        "older": ["rotation cc", "rotation dd", "rotate_replaces[0]"],
        "kept": ["break-glass"],
        "secrets": [
            KEPT,
            {**GONE, "label": "rotate_replaces[0]"},
            {"label": "rotation bb", "passphrase": "of bb"},
            {"label": "rotation aa", "passphrase": "of aa"},
            {"label": "rotation cc", "passphrase": "of cc"},
        ],
    }
    assert "uuid" not in found[1] and found[1]["kept"] == ["break-glass"], "what holds for all others"


def test_a_store_that_cannot_list_is_asked_for_what_the_host_named() -> None:
    store = Shelf(**{ONE: entry(ONE), TWO: entry(TWO.lower())})
    found = entries(store, "production/")
    assert found.listed() is None
    items = found.of(named(TWO, "../../etc/passwd", ONE, TWO))
    assert [one.get("uuid") for one in items] == [TWO.lower(), ONE, None]
    assert store.asked == [f"production/web/{TWO}", f"production/web/{ONE}"], "with its own host, and no path"


@pytest.mark.parametrize("held", [entry(ONE, host="db"), {"format": 9}, entry(TWO.lower()), entry(ONE, older="x")])
def test_an_entry_of_another_volume_is_a_problem_and_no_secret(held: Entry) -> None:
    for found in (entries(Listing(**{ONE: held})).listed(), entries(Shelf(**{ONE: held})).of(named(ONE))):
        assert found is not None and found[0]["problem"] and "current" not in found[0]
        assert found[0]["secrets"] == [KEPT]


def test_a_store_that_fails_is_a_problem_of_each_volume() -> None:
    for store in (Shelf, Listing):
        found = entries(store(broken={})).listed() or entries(store(broken={})).of(named(ONE))
        assert found[0]["problem"] == "It is not mounted"


def test_volumes_of_a_group_have_its_entry() -> None:
    osd = "5b0f7f0a-5a5e-4b8e-9d61-0c7f4f1c2a33"
    group = {"name": osd, "volumes": [ONE, TWO, "/dev/vdb"]}
    held = {osd: entry(osd)}
    for found in (
        entries(Listing(**held), groups=[group]).listed(),
        entries(Shelf(**held), groups=[group]).of(named(ONE, TWO)),
    ):
        assert found is not None
        known = {one.get("uuid"): one for one in found}
        assert known[ONE]["current"] == known[TWO.lower()]["current"] == "rotation aa"
        assert None in known and not any(one.get("problem") for one in found)


def test_a_group_may_name_the_path_of_a_volume() -> None:
    """The store may still have an entry of the volume itself, of the time before it was in a group."""
    osd = "5b0f7f0a-5a5e-4b8e-9d61-0c7f4f1c2a33"
    group = {"name": osd, "volumes": [ONE, "/dev/vdb"]}
    held = {TWO: entry(TWO, current=secret("old")), osd: entry(osd)}
    listed = entries(Listing(**held), groups=[group]).listed()
    assert listed is not None
    assert [one["current"] for one in listed if one.get("device") == "/dev/vdb"] == ["rotation aa"]
    found = entries(Shelf(**held), groups=[group]).of([("/dev/vdb", TWO), ("/dev/vdc", TWO)])
    assert [(one.get("device"), one["current"]) for one in found[:2]] == [
        ("/dev/vdb", "rotation aa"),
        (None, "rotation old"),
    ]


@pytest.mark.parametrize("name", CLASSES)
def test_every_store_that_is_a_class_has_its_variables(name: str) -> None:
    given = variables_of({name: option.get("default") for name, option in STORE_SPEC.items()})
    assert store_options_of(given, name) is not None


def test_a_store_is_never_begun() -> None:
    given = {name: option.get("default") for name, option in STORE_SPEC.items()}
    assert store_options_of(variables_of({**given, "rotate_vault_file": "/srv/x.yml"}), "vault_file")["create"] is False
    assert store_options_of(variables_of({**given, "rotate_escrow_folder": "/srv"}), "escrow")["create"] is False


def test_a_token_is_kept_and_a_volume_key_is_no_secret() -> None:
    token = {"token": "clevis", "pin": "1234"}
    found = entries(Listing(**{ONE: entry(ONE)}), keeps=[token, {"volume_key_file": "/key"}, KEPT]).listed()
    assert found is not None
    for item in found:
        assert item["kept"] == ["rotate_keeps[0]", "break-glass"]
        assert item["secrets"][:2] == [{**token, "label": "rotate_keeps[0]"}, KEPT]
