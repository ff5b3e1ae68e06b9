# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores that fail as no contract says: a file server that went away, a library that gives up, an answer that is
none.
"""

from __future__ import annotations

import errno
import pathlib
import typing as t

import pytest
from ansible.parsing.vault import VaultLib
from ansible_collections.luksmith.luks.plugins.plugin_utils import _stores
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.machine import TAKEN_UP, Rotation
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.role_variables import SPEC
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import Stored, StoreError, known
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores.faults import Sentences
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.world import Chance
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.fake_world import (
    UUID,
    Disk,
    FakeHost,
    FakeStore,
    Heard,
    rotate,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._rotation.test_machine import (
    OTHER,
    disk,
    one_of,
    options,
)

SECRET = "s3cret"
KEY = f"web/{UUID}"
FAULTS: t.Mapping[str, t.Tuple[BaseException, str]] = {
    "a file server that went away": (OSError(errno.ESTALE, SECRET), "Stale file handle (OSError)"),
    "a disk that fails": (OSError(errno.EIO, SECRET), "Input/output error (OSError)"),
    "an error without a number": (OSError(SECRET), "OSError"),
    "a key that is missing": (KeyError(SECRET), "KeyError"),
    "a library that gives up": (RuntimeError(SECRET), "RuntimeError"),
    "too much of it": (MemoryError(SECRET), "MemoryError"),
    "an exit": (SystemExit(SECRET), "SystemExit"),
}


class Faulty(FakeStore):
    """Fails at a call of ``method``, and has done what was asked for if ``after``."""

    def __init__(self, method: str, error: BaseException, number: int = 0, *, after: bool = False) -> None:
        super().__init__()
        self.method, self.error, self.number, self.after = method, error, number, after

    def _fails(self, method: str, call: t.Callable[[], t.Any]) -> t.Any:
        due = method == self.method and self.number == 0
        self.number -= method == self.method
        if due and not self.after:
            raise self.error
        done = call()
        if due:
            raise self.error
        return done

    def check(self) -> None:
        self._fails("check", super().check)

    def known(self, prefix: str) -> t.Any:
        return self._fails("known", lambda: FakeStore.known(self, prefix))

    def read(self, key: str) -> t.Any:
        return self._fails("read", lambda: FakeStore.read(self, key))

    def write(self, key: str, entry: t.Any, version: t.Any) -> t.Any:
        return self._fails("write", lambda: FakeStore.write(self, key, entry, version))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("method", "state"), [("check", "refused"), ("read", "refused"), ("write", "partial")])
def test_a_volume_is_refused_and_the_others_go_on(fault: str, method: str, state: str) -> None:
    error, says = FAULTS[fault]
    disks, store = {"/dev/a": disk(), "/dev/b": disk(uuid=OTHER)}, Faulty(method, error)
    bad, good = rotate(options(), FakeHost(disks), Sentences("/etc/own.py", store))[0].volumes
    assert (bad.state, good.state) == (state, "done")
    assert f"The store /etc/own.py could not {'check itself' if method == 'check' else method}" in bad.msg
    assert f": {says}. Look at what it keeps" in bad.msg and SECRET not in bad.msg
    unknown = "It is not known whether the store was changed." in bad.msg
    assert unknown is (method == "write") and ("The store was not changed." in bad.msg) is not unknown
    assert disks["/dev/a"].slots == disk().slots


def test_a_list_that_fails_costs_a_look() -> None:
    store = Faulty("known", FAULTS["a disk that fails"][0])
    assert one_of(rotate(options(), FakeHost({"/dev/a": disk()}), Sentences("own", store))[0]).state == "done"


@pytest.mark.parametrize("after", [False, True])
def test_at_the_promotion_nothing_is_lost(after: bool) -> None:
    one, store = disk(), Faulty("write", FAULTS["a file server that went away"][0], 1, after=after)
    found = one_of(rotate(options(), FakeHost({"/dev/a": one}), Sentences("own", store))[0])
    assert found.state == "partial" and found.msg.endswith(TAKEN_UP)
    assert one.slots[0] == "winter-2025", "nothing was erased"
    assert one_of(rotate(options(), FakeHost({"/dev/a": one}), Sentences("own", store))[0]).state == "done"
    assert store.entry()["current"]["passphrase"] in one.slots.values() and "winter-2025" not in one.slots.values()


@pytest.mark.parametrize("answer", [None, {}, "text", Stored(t.cast(t.Any, []), 1), Stored(t.cast(t.Any, SECRET), 1)])
def test_an_answer_that_is_none(answer: t.Any) -> None:
    class Odd(FakeStore):
        def read(self, key: str) -> t.Any:
            return answer

        def write(self, key: str, entry: t.Any, version: t.Any) -> t.Any:
            return answer

        def known(self, prefix: str) -> t.Any:
            return {KEY: answer}

    store = Sentences("own", Odd())
    for ask in (lambda: store.read(KEY), lambda: store.write(KEY, {}, 0), lambda: known(store, "web/")):
        with pytest.raises(StoreError, match=r"The store own returned .* instead of an entry for web/") as caught:
            ask()
        assert SECRET not in str(caught.value)


def test_a_list_that_is_none() -> None:
    store = FakeStore()
    store.known = lambda prefix: [SECRET]  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(StoreError, match="The store own listed list instead of a dictionary"):
        known(Sentences("own", store), "web/")
    assert known(Sentences("own", FakeStore(lists=False)), "web/") is None


def test_every_store_of_a_rotation_is_asked_like_that(tmp_path: pathlib.Path) -> None:
    """With one whose JSON is nested deeper than Python reads, which no store that is a program may do to a host."""
    program = tmp_path / "store"
    program.write_text('#!/bin/sh\nhead -c 200000 /dev/zero | tr "\\0" "["\n')
    program.chmod(0o755)
    given = {**{name: option.get("default") for name, option in SPEC.items()}, "rotate_command": [str(program)]}
    for name in ("command", ["command", "vault_file"]):
        store = _stores.store_of(name, {**given, "rotate_vault_file": str(tmp_path / "vault.yml")}, VaultLib())
        with pytest.raises(StoreError, match=r"The store was not changed\.$"):
            store.read(KEY)


class Gone(FakeHost):
    """Gives no answer to call number ``call``, and has done what it was asked for if ``after``."""

    def __init__(self, disks: t.Mapping[str, Disk], call: int, *, after: bool) -> None:
        super().__init__(disks)
        self.call, self.after = call, after

    def step(self, options: t.Mapping[str, t.Any]) -> t.Any:
        due = len(self.asked) == self.call
        done = super().step(options) if self.after or not due else None
        if due:
            raise ConnectionError("no route")
        return done


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", [1, 2])
def test_of_a_host_that_is_gone_no_volume_is_said_to_be_unchanged(call: int, after: bool) -> None:
    disks = {"/dev/a": disk(), "/dev/b": disk(uuid=OTHER)}
    rotation = Rotation(options(), Gone(disks, call, after=after), FakeStore(), Heard(), Chance())
    with pytest.raises(ConnectionError):
        rotation.run()
    for volume in rotation.volumes:
        assert (volume.state, volume.failed_at) == ("partial", ("add", "erase")[call - 1])
        assert "the run ended before this volume was brought to the end. It is not known whether" in volume.msg
        assert "next run of this playbook takes it up" in volume.msg


@pytest.mark.parametrize("option", ["certificates", "signers", "signing_key"])
def test_the_text_of_a_key_in_place_of_its_path_is_not_shown(option: str, tmp_path: pathlib.Path) -> None:
    text = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----\n"
    given = {"folder": str(tmp_path), option: text if option == "signing_key" else [text]}
    with pytest.raises(StoreError, match=f"rotate_escrow_{option} has the text of a PEM file") as refusal:
        _stores.make("escrow", given, VaultLib())
    assert "MIIEvQ" not in str(refusal.value)
