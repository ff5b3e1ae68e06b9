# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every use case that tries secrets wipes what it derived, whether it succeeds or fails."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import audit as audit_run
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit_task import parse_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.backup_task import parse_backup
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.create import create
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.restore import restore
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.workers import Job, Stopped
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import key_material
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import prover as unlock_prover
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import session as unlock_session
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import inspect as usecases_inspect
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as full
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import MADE, secret

FORMAT = "luks1"
Keys = t.List[t.Tuple[bytearray, bytes]]


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "volume"
    full.make(path, FORMAT, 3)
    return path


@pytest.fixture(params=[1, 2], ids=["1core", "2cores"])
def keys(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Every buffer with a derived key or what was unsealed with it, and what it held at first."""
    found: Keys = []

    def kept(function: t.Callable[..., bytearray]) -> t.Callable[..., bytearray]:
        def call(*arguments: t.Any, **options: t.Any) -> bytearray:
            buffer = function(*arguments, **options)
            found.append((buffer, bytes(buffer)))
            return buffer

        return call

    monkeypatch.setattr(kdf, "derive", kept(kdf.derive))
    monkeypatch.setattr(key_material, "unseal", kept(key_material.unseal))
    monkeypatch.setattr(unlock_session, "cores", lambda: request.param)
    return found


def wiped(keys: Keys) -> bool:
    for thread in threading.enumerate():
        if thread.name == "luksmith derivation" and thread.is_alive():
            thread.join(60)
    assert len(keys) >= 2, "nothing was derived"
    assert all(any(first) for _buffer, first in keys)
    return not any(any(buffer) for buffer, _first in keys)


def backup(volume: pathlib.Path, state: str) -> t.Dict[str, t.Any]:
    path = volume.with_name("backup")
    task = parse_backup(
        {
            "device": str(volume),
            "path": str(path),
            "state": state,
            "force": True,
            "unlock": [secret(MADE[0]), secret("wrong")],
        }
    )
    return (restore if state == "restored" else create)(task, check=False)


def audit(volume: pathlib.Path, **options: t.Any) -> t.Any:
    task = parse_audit(
        {"device": str(volume), "secrets": [secret(MADE[0])], "forbidden_secrets": [secret(MADE[1])], **options}
    )
    return audit_run.audit(task, now=datetime.datetime(2026, 11, 28, tzinfo=datetime.timezone.utc))


def inspect(volume: pathlib.Path) -> t.Any:
    return usecases_inspect.inspect(parse_info({"device": str(volume), "secrets": [secret(MADE[0]), secret(MADE[1])]}))


def test_a_backup_and_a_restore(volume: pathlib.Path, keys: Keys) -> None:
    backup(volume, "present")
    assert wiped(keys)
    full.amend_volume(volume, full.absent(MADE[1]), unlock=MADE[:1])
    keys.clear()
    assert backup(volume, "restored")["changed"]
    assert wiped(keys)


def test_a_restore_that_is_refused(volume: pathlib.Path, keys: Keys) -> None:
    backup(volume, "present")
    volume.write_bytes(bytes(volume.stat().st_size))
    volume.write_bytes(
        b"LUKS" + bytes(164) + b"0b6dd9bb-21a1-4c9c-b8b0-0a3d8f2c6a55".ljust(40, b"\0") + volume.read_bytes()[208:]
    )
    keys.clear()
    with pytest.raises(LuksmithError, match="backup of another volume"):
        backup(volume, "restored")
    assert wiped(keys)


def test_keyslots_info(volume: pathlib.Path, keys: Keys) -> None:
    assert inspect(volume)["opened_by"] == {f"label of {MADE[0]}": [0], f"label of {MADE[1]}": [1]}
    assert wiped(keys)


def test_keyslots_info_where_a_keyslot_cannot_be_read(
    volume: pathlib.Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = unlock_prover.Prover._check

    def unreadable(prover: unlock_prover.Prover, slot: t.Any, derived: t.Any) -> t.Any:
        if slot.number == 1:
            raise StorageFault("the key material of keyslot 1 cannot be read")
        return check(prover, slot, derived)

    monkeypatch.setattr(unlock_prover.Prover, "_check", unreadable)
    with pytest.raises(StorageFault):
        inspect(volume)
    assert wiped(keys)


def test_an_audit_with_a_backup(volume: pathlib.Path, keys: Keys) -> None:
    backup(volume, "present")
    full.amend_volume(volume, full.absent(MADE[1]), unlock=MADE[:1])
    keys.clear()
    findings = audit(volume, backups=[str(volume.with_name("backup"))])["findings"]
    assert any(finding["rule"].startswith("backup") for finding in findings)
    assert wiped(keys)


def test_the_first_of_two_headers_is_given_up(volume: pathlib.Path, keys: Keys) -> None:
    """A plan that is made again for a changed header leaves no volume key behind."""
    task = parse_info({"device": str(volume), "secrets": [secret(MADE[0])]})
    with contextlib.ExitStack() as stack:
        budget, workers = stack.enter_context(unlock_session.all_cores(task.budget))
        session = stack.enter_context(unlock_session.UnlockSession(task.secrets, budget, workers))
        opened = stack.enter_context(open_volume(str(volume), None, writable=False))
        header = read_header(opened)
        first = session.prover(header, opened.region.reread)
        first.try_slot(0, 0)
        key = first.volume_key
        assert key is not None
        assert any(key)
        session.prover(header, opened.region.reread)
        assert not any(key)
    assert wiped(keys)


@pytest.mark.parametrize("error", [None, LuksmithError("it went wrong"), KeyboardInterrupt()], ids=type)
def test_nothing_is_derived_after_the_end(error: t.Optional[BaseException]) -> None:
    with contextlib.suppress(LuksmithError, KeyboardInterrupt), unlock_session.all_cores(kdf.Budget()) as (
        _budget,
        workers,
    ):
        if error is not None:
            raise error
    with pytest.raises(Stopped):
        workers.submit(Job(lambda: None))


def test_a_volume_key_that_was_lent_is_wiped() -> None:
    key = bytearray(b"of the copy of the header")
    with unlock_session.unlock_session([], kdf.Budget()) as session:
        session.lend(key)
        assert any(key)
    assert not any(key)
