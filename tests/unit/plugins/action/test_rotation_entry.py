# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of a rotation that a playbook of somebody's own takes: what is refused, and what a store is told."""

from __future__ import annotations

import copy
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleActionFail  # noqa: E402
from ansible.plugins.action import ActionBase  # noqa: E402
from ansible_collections.luksmith.luks.plugins.action import rotation_entry  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.entry import LABEL, Entry, blank  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import Stored, StoreError  # noqa: E402

UUID = "4b543c86-7353-47b9-b355-d0ef03989991"
VOLUME = {"host": "web", "uuid": UUID, "device": "/dev/sdb"}


def secret(identity: str) -> t.Dict[str, t.Any]:
    return {"id": identity, "passphrase": f"of {identity}", "generation": "one", "created": "2026-11-24T01:04:41Z"}


def entry(**fields: t.Any) -> Entry:
    return {**blank("web", UUID, "/dev/sdb"), **fields}


class Memory:
    """A store; ``told``: what was written. ``full``: what it answers when it is asked whether it can be written."""

    def __init__(self, held: t.Optional[Entry] = None, full: bool = False) -> None:
        self.held, self.full, self.told = held, full, []  # type: ignore[var-annotated]

    def check(self) -> None:
        if self.full:
            raise StoreError("It cannot be written.")

    def read(self, _key: str) -> Stored:
        return Stored(copy.deepcopy(self.held), len(self.told))

    def write(self, key: str, held: Entry, version: t.Any) -> Stored:
        self.told.append((key, version))
        self.held = copy.deepcopy(held)
        return self.read(key)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., t.Dict[str, t.Any]]:
    def ask(operation: str, store: t.Optional[Memory] = None, check: bool = False, **arguments: t.Any) -> t.Any:
        facts = arguments.pop("facts", {})
        monkeypatch.setattr("resource.setrlimit", lambda *_limits: None)
        monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
        monkeypatch.setattr(rotation_entry, "make", lambda *_store: store)
        action: t.Any = object.__new__(rotation_entry.ActionModule)
        named = {"store": "vault_file", "key": "web/1"} if store else {}
        action._task = types.SimpleNamespace(
            args={"operation": operation, **VOLUME, **named, **arguments}, async_val=0, check_mode=check, diff=False
        )
        action._connection = types.SimpleNamespace()
        action._loader = types.SimpleNamespace(_vault=None)
        return action.run(None, {"ansible_facts": facts})

    return ask


def test_what_is_refused_before_a_store_is_asked(run: t.Callable[..., t.Any]) -> None:
    assert run("check") == {"changed": False}
    with pytest.raises(AnsibleActionFail, match="/dev/sdb: the facts of this host bear the name of options"):
        run("check", facts={"rotate_store": "mine"})
    with pytest.raises(AnsibleActionFail, match="/dev/sdb: the uuid in the header is none"):
        run("check", uuid="../../etc")


def test_the_entry_of_the_store_is_what_counts(run: t.Callable[..., t.Any]) -> None:
    store = Memory(entry(current=secret("a")))
    decided = run("decide", store, generation="one", opened=[1])
    assert decided["entry"]["current"]["id"] == "a" and not decided["changed"] and store.told == []
    written = run("decide", store, generation="one", opened=[1], write=entry(current=secret("b")), version=7)
    assert written["entry"]["current"]["id"] == "b" and written["changed"] and store.told == [("web/1", 7)]
    dry = run("decide", store, True, generation="one", opened=[1], write=entry(current=secret("c")))
    assert dry["entry"]["current"]["id"] == "b" and len(store.told) == 1


def test_a_store_that_is_older_than_the_volume(run: t.Callable[..., t.Any]) -> None:
    record = [{"keyslot": 1, "label": f"{LABEL}b", "current": True, "changed": ""}]
    with pytest.raises(AnsibleActionFail, match="the store is older than the volume"):
        run("decide", Memory(entry(current=secret("a"))), generation="one", record=record)


def test_nothing_is_made_for_a_store_that_cannot_hold_it(run: t.Callable[..., t.Any]) -> None:
    assert run("decide", Memory(), generation="one")["staged"]["next"]["generation"] == "one"
    with pytest.raises(AnsibleActionFail, match=r"/dev/sdb: It cannot be written\."):
        run("decide", Memory(full=True), generation="one")
    assert run("decide", generation="one", entry=None)["new"]["passphrase"]


def test_what_is_forgotten_is_written(run: t.Callable[..., t.Any]) -> None:
    store = Memory(entry(current=secret("c"), older=[secret("b"), secret("a")]))
    forgot = run("forget", store, keep_older=1)
    assert forgot["differs"] and forgot["changed"] and store.told == [("web/1", 0)]
    assert [one["id"] for one in (store.held or {})["older"]] == ["b"]
    again = run("forget", store, keep_older=1)
    assert not again["differs"] and not again["changed"] and len(store.told) == 1


@pytest.mark.parametrize(
    ("field", "left"), [("next", "The volume was not changed."), ("current", "The volume opens with the new secret")]
)
def test_a_store_that_does_not_give_back_the_secret(run: t.Callable[..., t.Any], field: str, left: str) -> None:
    held = entry(next=secret("a"))
    assert run("compare", Memory(held), secret=secret("a"))["promoted"]["current"]["id"] == "a"
    other = entry(**{field: {**secret("a"), "passphrase": "another"}})
    with pytest.raises(AnsibleActionFail, match=f"did not give back secret a as it was written.*{left}"):
        run("compare", Memory(other), secret=secret("a"), field=field)
