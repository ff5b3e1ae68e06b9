# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret is noted first and shown afterwards, on a terminal and nowhere else."""

from __future__ import annotations

import copy
import os
import pathlib
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleActionFail  # noqa: E402
from ansible.plugins.action import ActionBase  # noqa: E402
from ansible_collections.luksmith.luks.plugins.action import reveal  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils import _terminal  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.entry import Entry, blank  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import Stored, StoreError  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores.together import Together  # noqa: E402

UUID = "4b543c86-7353-47b9-b355-d0ef03989991"
KEY = f"web/{UUID}"
PASSPHRASE = "g161-fvxw-13nk"


class Memory:
    """A store; ``way``: what goes wrong at a write."""

    def __init__(self, way: str = "") -> None:
        secret = {"id": "aa", "passphrase": PASSPHRASE, "generation": "one", "created": "2026-11-01T00:00:00Z"}
        self.entry: Entry = {**blank("web", UUID, "/dev/vda3"), "current": secret}
        self.way = way

    def check(self) -> None:
        if self.way == "read only":
            raise StoreError("It cannot be written.")

    def read(self, key: str) -> Stored:
        return Stored(copy.deepcopy(self.entry), 1) if key == KEY else Stored()

    def write(self, key: str, entry: Entry, version: t.Any) -> Stored:
        self.check()
        if self.way != "forgets":
            self.entry = copy.deepcopy(entry)
        return self.read(key)

    @property
    def noted(self) -> bool:
        return bool(self.entry["current"].get("given"))


class Listing(Memory):
    def known(self, prefix: str) -> t.Dict[str, Stored]:
        return {KEY: self.read(KEY)}


class Seat:
    """An operator before a terminal; ``more``: variables."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.more: t.Dict[str, t.Any] = {}
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        for name in ("AWX_ISOLATED_DATA_DIR", "AWX_PRIVATE_DATA_DIR", "ANSIBLE_STDOUT_CALLBACK"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("resource.setrlimit", lambda *_limits: None)
        monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
        self.patch = monkeypatch
        monkeypatch.setattr(reveal, "open_terminal", lambda _variables: os.dup(self.slave))

    def run(self, store: Memory, check: bool = False, **arguments: str) -> t.Dict[str, t.Any]:
        self.patch.setattr(reveal, "store_of", lambda *_store, lenient: store)
        action: t.Any = object.__new__(reveal.ActionModule)
        action._task = types.SimpleNamespace(args=arguments, async_val=0, check_mode=check, diff=False)
        action._connection = types.SimpleNamespace()
        action._loader = types.SimpleNamespace(_vault=None)
        action._templar = types.SimpleNamespace(template=lambda value: value)
        variables = {"inventory_hostname": "web", "rotate_vault_file": "/x", "ansible_play_hosts_all": ["web"]}
        return t.cast(t.Dict[str, t.Any], action.run(None, {**variables, **self.more}))

    def seen(self) -> str:
        try:
            return os.read(self.master, 65536).decode()
        except BlockingIOError:
            return ""


@pytest.fixture
def seat(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Seat]:
    one = Seat(monkeypatch)
    yield one
    os.close(one.master)
    os.close(one.slave)


@pytest.mark.parametrize("kind", [Memory, Listing])
def test_noted_and_shown_on_the_terminal_only(seat: Seat, kind: t.Type[Memory]) -> None:
    store = kind()
    result = seat.run(store, volume=UUID, reason="no boot")
    assert PASSPHRASE in seat.seen() and PASSPHRASE not in str(result)
    assert store.entry["current"]["given"][0]["why"] == "no boot"
    assert result["changed"] and (result["uuid"], result["ids"]) == (UUID, ["aa"])


class OneIsDamaged(Memory):
    def known(self, prefix: str) -> t.Dict[str, Stored]:
        raise StoreError("web/2.json holds no entry. The store was not changed.")


def test_the_damaged_entry_of_another_volume_is_not_in_the_way(seat: Seat) -> None:
    with pytest.raises(AnsibleActionFail, match=r"web/2\.json holds no entry"):
        seat.run(OneIsDamaged())
    seat.run(OneIsDamaged(), volume=UUID)
    assert PASSPHRASE in seat.seen()


class Lost(Memory):
    def read(self, key: str) -> Stored:
        raise StoreError("It cannot be reached. The store was not changed.")


@pytest.mark.parametrize("first", [True, False])
def test_of_two_stores_one_is_enough(seat: Seat, first: bool) -> None:
    """It is the one that answers, and the other one is named."""
    answers = Memory()
    pair: t.Any = [("vault_file", answers if first else Lost()), ("escrow", Lost() if first else answers)]
    result = seat.run(t.cast(t.Any, Together(pair, lenient=True)), volume=UUID, reason="no boot")
    assert PASSPHRASE in seat.seen() and answers.noted
    (warning,) = result["warnings"]
    lost = "escrow" if first else "vault_file"
    assert warning.startswith(f"{lost}: It cannot be reached.") and "It has no note of this before" in warning
    pair = [("vault_file", Lost()), ("escrow", Lost())]
    with pytest.raises(AnsibleActionFail, match=r"vault_file: .*escrow: It cannot be reached.*Nothing was shown\."):
        seat.run(t.cast(t.Any, Together(pair, lenient=True)), volume=UUID)


def test_a_secret_that_only_one_of_two_stores_has_as_current(seat: Seat) -> None:
    has, behind = Memory(), Memory()
    behind.entry = blank("web", UUID, "/dev/vda3")
    pair: t.Any = [("vault_file", has), ("escrow", behind)]
    seat.run(t.cast(t.Any, Together(pair, lenient=True)), volume=UUID)
    assert "secret aa, the current one in vault_file, and not in escrow" in seat.seen()
    assert has.entry["next"]["given"] and behind.entry["next"]["given"], "both have the note"
    assert "where" not in has.entry["next"] and "behind" not in has.entry


def test_one_host_and_a_store_that_is_no_tasks(seat: Seat, tmp_path: pathlib.Path) -> None:
    for name in ("read", "write"):
        (tmp_path / f"{name}.yml").write_text("[]")
    for more, says in (
        ({"ansible_play_hosts_all": ["web", "db"]}, "This play has more than one host"),
        ({"rotate_store": str(tmp_path)}, "is made of tasks, which this cannot run"),
    ):
        seat.more = more
        store = Memory()
        with pytest.raises(AnsibleActionFail, match=says):
            seat.run(store, volume=UUID)
        assert not store.noted and PASSPHRASE not in seat.seen()


@pytest.mark.parametrize("way", ["read only", "forgets"])
def test_a_note_that_is_not_kept_shows_nothing(seat: Seat, way: str) -> None:
    with pytest.raises(AnsibleActionFail, match="Nothing was shown"):
        seat.run(Memory(way), volume=UUID)
    assert not seat.seen()


def test_check_mode_says_what_it_would_show_and_notes_nothing(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Memory()
    said: t.List[str] = []
    monkeypatch.setattr(reveal.Display, "display", lambda _self, text: said.append(text))
    assert seat.run(store, check=True, volume=UUID)["changed"]
    assert not seat.seen() and not store.noted
    (told,) = said
    assert UUID in told and "would show secret aa to " in told and PASSPHRASE not in told
    with pytest.raises(AnsibleActionFail, match="cannot be written"):
        seat.run(Memory("read only"), check=True, volume=UUID)


def test_no_terminal_no_note(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_variables: t.Any) -> int:
        raise _terminal.NoTerminal("there is no terminal")

    monkeypatch.setattr(reveal, "open_terminal", none)
    store = Memory()
    with pytest.raises(AnsibleActionFail, match=r"no terminal.*The store was not changed\. Nothing was shown"):
        seat.run(store, volume=UUID)
    assert not store.noted


def test_a_store_that_lists_nothing_needs_a_name(seat: Seat) -> None:
    with pytest.raises(AnsibleActionFail, match="needs the UUID of the volume"):
        seat.run(Memory())
    with pytest.raises(AnsibleActionFail, match="needs the UUID of the volume"):
        seat.run(Memory(), volume="/dev/vda3")
    seat.run(Listing())
    assert PASSPHRASE in seat.seen()


def test_a_passphrase_does_not_command_the_terminal(seat: Seat) -> None:
    store = Memory()
    store.entry["current"]["passphrase"] = "\x1b]0;title\x07"
    seat.run(store, volume=UUID)
    seen = seat.seen()
    assert "\x1b" not in seen and r"\x1b]0;title\x07" in seen


@pytest.mark.parametrize("name", ["AWX_ISOLATED_DATA_DIR", "AWX_PRIVATE_DATA_DIR"])
def test_a_terminal_that_is_recorded(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "/x")
    with pytest.raises(_terminal.NoTerminal, match="AWX"):
        _terminal.open_terminal({})


def test_a_job_of_awx(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(_terminal.NoTerminal, match="AWX"):
        _terminal.open_terminal({"awx_job_id": 7})
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "awx_display")
    with pytest.raises(_terminal.NoTerminal, match="AWX"):
        _terminal.open_terminal({})


def test_a_name_that_is_no_store(seat: Seat) -> None:
    seat.more = {"rotate_store": "vault-file"}
    with pytest.raises(AnsibleActionFail, match=r"There is no store 'vault-file'.*Nothing was shown\."):
        seat.run(Memory(), volume=UUID, reason="no boot")
