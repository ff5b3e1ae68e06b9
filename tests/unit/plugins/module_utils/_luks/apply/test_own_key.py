# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A keyslot that is not bound gets another secret for the key that it has; test_unbound.py asks cryptsetup."""

from __future__ import annotations

import contextlib
import pathlib
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply import keyslot_writer
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.kdf import Budget
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import HeaderChanged
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.parsing import parse_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.secrets import Secret
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import key_material
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.prover import Prover
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.session import unlock_session
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.amend import amend
from ansible_collections.luksmith.luks.plugins.module_utils.test_volumes import make_test_volume

OURS, THEIRS, NEXT = "words of ours", "words of theirs", "words that come next"


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    """Ours in keyslot 0; theirs in keyslot 1, which is not bound."""
    file = tmp_path / "volume"
    ours, theirs = {"passphrase": OURS}, {"passphrase": THEIRS}
    make_test_volume(file, keyslots=[{"secret": ours}, {"secret": theirs, "bound": False}])
    return file


@contextlib.contextmanager
def proofs(data: bytes) -> t.Iterator[Prover]:
    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    secrets = [Secret(bytearray(word.encode()), ()) for word in (OURS, THEIRS, NEXT)]
    with unlock_session(secrets, Budget()) as session:
        yield session.prover(parse_header(read, len(data)), read)


def own_key(data: bytes, secret: int, material: t.Optional[bytes] = None) -> bytes:
    """Of keyslot 1; ``material``: what the medium gives once the secret has opened it."""
    with proofs(data) as prover:
        assert prover.opens_unbound(secret, 1)
        before = prover.derivations.evaluations

        def reread(offset: int, length: int) -> bytes:
            return data[offset : offset + length] if material is None else material.ljust(length, b"\0")

        disk: t.Any = types.SimpleNamespace(header=prover.header, reread=reread)
        key = bytes(keyslot_writer._own_key(prover, 1, disk))
        assert prover.derivations.evaluations == before, "nothing is derived under the locks"
        return key


def test_the_key_stays_and_its_secret_is_another(path: pathlib.Path) -> None:
    before = path.read_bytes()
    entry = {"keyslot": 1, "old_secret": {"passphrase": THEIRS}, "new_secret": {"passphrase": NEXT}}
    task = {"device": str(path), "keyslots": [{**entry, "pbkdf": {"iterations": 1000}}]}
    predicted, done = amend(parse_task(task), check=True), amend(parse_task(task), check=False)
    assert predicted["keyslots"] == done["keyslots"] and [row["action"] for row in done["plan"]] == ["rekey"]
    after = path.read_bytes()
    assert own_key(after, 2) == own_key(before, 1)
    with proofs(after) as prover:
        assert not prover.opens_unbound(1, 1) and not prover.opens_unbound(0, 1)
    assert not amend(parse_task(task), check=False)["changed"] and path.read_bytes() == after


def test_the_key_stays_with_other_costs(path: pathlib.Path) -> None:
    before, costs = path.read_bytes(), {"type": "pbkdf2", "iterations": 1234}
    same = {"keyslot": 1, "old_secret": {"passphrase": THEIRS}, "new_secret": {"passphrase": THEIRS}, "pbkdf": costs}
    assert amend(parse_task({"device": str(path), "keyslots": [same]}), check=False)["changed"]
    assert own_key(path.read_bytes(), 1) == own_key(before, 1)


def test_key_material_that_changed_meanwhile_gives_no_key(path: pathlib.Path) -> None:
    with pytest.raises(HeaderChanged, match="key material of keyslot 1 is no longer"):
        own_key(path.read_bytes(), 1, b"another program wrote this")


def test_the_key_is_wiped(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: t.List[bytearray] = []
    found = keyslot_writer._own_key

    def watched(*given: t.Any) -> bytearray:
        kept.append(found(*given))
        return kept[-1]

    monkeypatch.setattr(keyslot_writer, "_own_key", watched)
    test_the_key_stays_and_its_secret_is_another(path)
    assert kept and not any(kept[0])


@pytest.mark.parametrize("material", [None, b"another program wrote this"])
def test_what_is_on_the_way_to_the_key_is_wiped(
    path: pathlib.Path, material: t.Optional[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is what came of key material that changed meanwhile: it may be a part of the key that was there."""
    opened: t.List[t.Tuple[t.Any, bytearray]] = []
    right = key_material.unseal

    def watched(slot: t.Any, derived: t.Any, given: t.Any) -> bytearray:
        opened.append((derived, right(slot, derived, given)))
        return opened[-1][1]

    with monkeypatch.context() as patch:
        patch.setattr(keyslot_writer.key_material, "unseal", watched)
        with contextlib.nullcontext() if material is None else pytest.raises(HeaderChanged):
            own_key(path.read_bytes(), 1, material)
    derived, key = opened[-1]
    assert not any(derived) and any(key) is (material is None)
