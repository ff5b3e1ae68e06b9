# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that fails after its file was replaced does not say that it was not changed: the rotation goes by that."""

from __future__ import annotations

import errno
import os
import pathlib
import stat
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleActionFail  # noqa: E402
from ansible.parsing.vault import VaultLib, VaultSecret  # noqa: E402
from ansible_collections.luksmith.luks.plugins.action import escrow_entry, vault_entry  # noqa: E402
from ansible_collections.luksmith.luks.plugins.module_utils._luks import files  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils import _store_action  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.envelope import EnvelopeError  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import escrow  # noqa: E402

ENTRY = {"host": "web", "uuid": "1", "next": {"id": "a", "sealed": "an envelope"}, "current": None, "older": []}
STORES = ["vault", "escrow"]


@pytest.fixture
def run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., t.Dict[str, t.Any]]:
    """Write an entry with a store, through its ``run``."""

    def write(name: str, **more: t.Any) -> t.Dict[str, t.Any]:
        module: t.Any = vault_entry if name == "vault" else escrow_entry
        store = object.__new__(module.ActionModule)
        store._loader = types.SimpleNamespace(_vault=VaultLib([("default", VaultSecret(b"password"))]))
        place = {"path": str(tmp_path / "key.json")} if name == "vault" else {"folder": str(tmp_path)}
        store._task = types.SimpleNamespace(check_mode=False, args={"key": "key", **place})
        written = {"key": "key", "operation": "write", "entry": ENTRY, "version": 0}
        arguments = {
            **written,
            "lock_timeout": 1.0,
            "vault_id": None,
            "certificates": [],
            "create": False,
            "previous": 5,
        }
        store.validate_argument_spec = lambda **_spec: (None, {**arguments, "private_key": None, **place, **more})
        monkeypatch.setattr(_store_action, "forbid_core_dumps", lambda: None)
        monkeypatch.setattr(_store_action.ActionBase, "run", lambda *_arguments: {})
        return store.run()

    return write


def said(run: t.Callable[..., t.Any], name: str, **more: t.Any) -> str:
    with pytest.raises(AnsibleActionFail) as caught:
        run(name, **more)
    return str(caught.value)


@pytest.mark.parametrize("name", STORES)
def test_all_is_well(run: t.Callable[..., t.Any], tmp_path: pathlib.Path, name: str) -> None:
    assert run(name)["changed"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.json", "key.json.lock"]


@pytest.mark.parametrize("name", STORES)
def test_a_fault_of_the_folder_after_the_rename(
    run: t.Callable[..., t.Any], tmp_path: pathlib.Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        right(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    message = said(run, name)
    assert (tmp_path / "key.json").exists()
    assert "The new file is in place" in message and "not changed" not in message and "Nothing" not in message


@pytest.mark.parametrize("name", STORES)
def test_a_fault_before_the_rename(
    run: t.Callable[..., t.Any], tmp_path: pathlib.Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: t.Any) -> t.NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    message = said(run, name)
    assert "The store cannot be written" in message and "No space left" in message and "Nothing was changed." in message
    assert not (tmp_path / "key.json").exists()


@pytest.mark.parametrize("name", STORES)
def test_what_cannot_be_read_back(run: t.Callable[..., t.Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = files.read_regular

    def read(path: str) -> bytes:
        if os.path.exists(path):
            raise OSError(errno.EIO, "Input/output error")
        return right(path)

    monkeypatch.setattr(files, "read_regular", read)
    message = said(run, name)
    assert "cannot be read back: Input/output error" in message and "The store was changed before." in message


@pytest.mark.parametrize(("name", "says"), [("vault", "is not encrypted"), ("escrow", "holds no entry")])
def test_what_reads_back_as_no_store(
    run: t.Callable[..., t.Any], name: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = files.replace
    monkeypatch.setattr(files, "replace", lambda path, _content, **how: right(path, b"something else", **how))
    message = said(run, name)
    assert says in message and "The store was changed before." in message


def test_an_envelope_that_cannot_be_opened_again(run: t.Callable[..., t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def unseal(*_arguments: t.Any) -> t.NoReturn:
        raise EnvelopeError("openssl could not open an envelope")

    monkeypatch.setattr(escrow, "unseal", unseal)
    assert said(run, "escrow", private_key="a key").endswith(
        "openssl could not open an envelope. The store was changed before."
    )


@pytest.mark.parametrize("name", STORES)
def test_a_pipe_for_a_store(run: t.Callable[..., t.Any], tmp_path: pathlib.Path, name: str) -> None:
    os.mkfifo(tmp_path / "key.json")
    message = said(run, name)
    assert "not a regular file but a named pipe" in message and "Nothing was changed." in message


def huge(path: pathlib.Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**36)  # without a block


IN_ITS_PLACE: t.Mapping[str, t.Tuple[t.Callable[[pathlib.Path], t.Any], str]] = {
    "a folder": (lambda path: path.mkdir(), "directory"),
    "a device without end": (lambda path: path.symlink_to("/dev/zero"), "not a regular file but a character device"),
    "itself": (lambda path: path.symlink_to(path), "symbolic link"),
    "more than memory": (huge, "File too large for a store, which has 64 MiB at most"),
}


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("what", IN_ITS_PLACE)
def test_something_else_in_the_place_of_a_store(
    run: t.Callable[..., t.Any], tmp_path: pathlib.Path, name: str, what: str
) -> None:
    make, says = IN_ITS_PLACE[what]
    make(tmp_path / "key.json")
    message = said(run, name)
    assert says in message and "changed" in message
