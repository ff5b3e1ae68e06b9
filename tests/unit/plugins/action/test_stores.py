# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store refuses, and that it is as it was then; whole rotations are played in tests/rotation."""

from __future__ import annotations

import json
import pathlib
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleActionFail  # noqa: E402
from ansible.parsing.vault import VaultLib, VaultSecret  # noqa: E402
from ansible_collections.luksmith.luks.plugins.action import escrow_entry, vault_entry  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.guarded_file import GuardedFile  # noqa: E402

ENTRY = {"host": "web", "next": None}


def vault_store(*passwords: bytes) -> t.Any:
    store = object.__new__(vault_entry.ActionModule)
    store._loader = types.SimpleNamespace(_vault=VaultLib([("default", VaultSecret(password)) for password in passwords]))
    return store


def writing(key: str = "web/1", version: int = 0, vault_id: t.Optional[str] = None) -> t.Dict[str, t.Any]:
    return {"key": key, "entry": ENTRY, "version": version, "vault_id": vault_id, "certificates": [], "private_key": None}


@pytest.fixture
def file(tmp_path: pathlib.Path) -> GuardedFile:
    return GuardedFile(str(tmp_path / "store"), 1)


def test_a_vault_file_gives_back_what_it_was_given(file: GuardedFile) -> None:
    store = vault_store(b"password")
    assert store._write(file, writing()) == {"entry": ENTRY, "version": 1}
    assert store._write(file, writing(version=1)) == {"entry": ENTRY, "version": 2}
    assert store._write(file, writing("other")) == {"entry": ENTRY, "version": 1}
    assert b"web" not in (file.content() or b"web")


@pytest.mark.parametrize("version", [0, 2])
def test_an_entry_that_somebody_else_changed(file: GuardedFile, version: int) -> None:
    store = vault_store(b"password")
    store._write(file, writing())
    before = file.content()
    with pytest.raises(AnsibleActionFail, match="was changed by another run meanwhile"):
        store._write(file, writing(version=version))
    assert file.content() == before


def test_no_vault_password(file: GuardedFile) -> None:
    for ask in (lambda: vault_store()._entries(file), lambda: vault_store()._write(file, writing())):
        with pytest.raises(AnsibleActionFail, match="There is no vault password"):
            ask()
    assert file.content() is None


def test_another_vault_password(file: GuardedFile) -> None:
    vault_store(b"password")._write(file, writing())
    before = file.content()
    with pytest.raises(AnsibleActionFail, match="No vault password of this run decrypts"):
        vault_store(b"other")._write(file, writing(version=1))
    assert file.content() == before


def test_no_password_of_that_id(file: GuardedFile) -> None:
    with pytest.raises(AnsibleActionFail, match="no vault password with the id 'luks'"):
        vault_store(b"password")._write(file, writing(vault_id="luks"))
    assert file.content() is None


def test_a_file_in_the_clear_is_not_taken_for_a_store(file: GuardedFile) -> None:
    pathlib.Path(file.path).write_text(json.dumps({vault_entry.ROOT: {}}))
    with pytest.raises(AnsibleActionFail, match="is not encrypted with ansible-vault"):
        vault_store(b"password")._write(file, writing())


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}", json.dumps({vault_entry.ROOT: []})])
def test_an_encrypted_file_that_is_no_store(file: GuardedFile, content: str) -> None:
    store = vault_store(b"password")
    before = store._loader._vault.encrypt(content)
    pathlib.Path(file.path).write_bytes(before)
    with pytest.raises(AnsibleActionFail, match=r"holds no secrets of luksmith\.luks"):
        store._write(file, writing())
    assert file.content() == before


def escrow() -> t.Any:
    return object.__new__(escrow_entry.ActionModule)


def test_an_envelope_that_somebody_else_changed(file: GuardedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escrow_entry, "_sealed", lambda entry, _certificates: entry)
    assert escrow()._write(file, writing())["version"] == 1
    before = file.content()
    with pytest.raises(AnsibleActionFail, match="was changed by another run meanwhile"):
        escrow()._write(file, writing())
    assert file.content() == before


def test_a_file_system_that_gives_back_something_else(file: GuardedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escrow_entry, "_sealed", lambda entry, _certificates: entry)
    monkeypatch.setattr(file, "replace", lambda content: GuardedFile.replace(file, content.replace(b"web", b"bew")))
    with pytest.raises(AnsibleActionFail, match="did not give back what was written"):
        escrow()._write(file, writing())


@pytest.mark.parametrize("content", ["", "[]", '{"entry": {}}'])
def test_a_file_that_holds_no_envelopes(file: GuardedFile, content: str) -> None:
    pathlib.Path(file.path).write_text(content)
    with pytest.raises(AnsibleActionFail, match=r"holds no entry of luksmith\.luks"):
        escrow()._write(file, writing())
    assert pathlib.Path(file.path).read_text() == content
