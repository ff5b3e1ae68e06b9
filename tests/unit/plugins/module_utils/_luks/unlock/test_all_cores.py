# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What will be asked in any case is derived on all cores at once: with two cores no derivation is alone."""

from __future__ import annotations

import datetime
import pathlib
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import audit as audit_run
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit_task import parse_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.backup_task import parse_backup
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.create import create
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import kdf
from ansible_collections.luksmith.luks.plugins.module_utils._luks.rotation.unknown import unknown_keyslots
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import session
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import chain
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.inspect import inspect
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.proving import proofs
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as full
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import MADE, secret

WRONG = [secret("stranger"), secret("another stranger")]
# Seconds until a derivation gives up: nobody waits so long unless the other one never comes.
PATIENCE = 20


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> pathlib.Path:
    """One with two keyslots; beside it the same one with three and with four."""
    for name, slots in (("volume", 2), ("three", 3), ("four", 4)):
        full.make(tmp_path / name, "luks1", slots)
    return tmp_path / "volume"


@pytest.fixture(autouse=True)
def derived(volume: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.List[bytes]:
    """The salts of all derivations, each of which begins only when another one has begun, too."""
    found: t.List[bytes] = []
    pair, right = threading.Barrier(2), kdf.derive

    def derive(parameters: t.Any, *arguments: t.Any, **options: t.Any) -> bytearray:
        pair.wait(PATIENCE)
        found.append(parameters.salt)
        return right(parameters, *arguments, **options)

    monkeypatch.setattr(kdf, "derive", derive)
    monkeypatch.setattr(session, "cores", lambda: 2)
    return found


def information(volume: pathlib.Path) -> None:
    inspect(parse_info({"device": str(volume), "secrets": WRONG}))


def backup(volume: pathlib.Path) -> None:
    path = volume.with_name("backup")
    create(parse_backup({"device": str(volume), "path": str(path), "state": "present", "unlock": WRONG}), check=False)


def audit(volume: pathlib.Path, **options: t.Any) -> None:
    audit_run.audit(
        parse_audit({"device": str(volume), "forbidden_secrets": WRONG, **options}),
        now=datetime.datetime(2026, 11, 28, tzinfo=datetime.timezone.utc),
    )


def audit_with_a_backup(volume: pathlib.Path) -> None:
    """The backup has two keyslots that the volume has not."""
    audit(volume, backups=[str(volume.with_name("four"))])


def backing_file(volume: pathlib.Path) -> None:
    task = parse_info({"device": str(volume), "secrets": WRONG})
    with session.all_cores(task.budget) as (budget, workers):
        row: t.Dict[str, t.Any] = {}
        assert chain._try(str(volume), row, task.labels, lambda: session.UnlockSession(task.secrets, budget, workers))
        assert row == {"opened_by": [], "unknown": [0, 1]}


def unknown(volume: pathlib.Path) -> None:
    row: t.Any = {"state": "active", "bound": True, "opened_by": [], "tokens": []}
    found = unknown_keyslots(
        {"lock_timeout": 30.0},
        {"device": str(volume)},
        {"unlock": WRONG, "keyslots": []},
        [{**row, "keyslot": 0}, {**row, "keyslot": 1}],
        [],
    )
    assert [one["keyslot"] for one in found] == [0, 1]


def plan(volume: pathlib.Path) -> None:
    named = (full.present("luks1", text, keyslot=keyslot) for keyslot, text in enumerate(MADE))
    assert not full.amend_volume(volume, *named, check=True)["changed"]


def forbidden(volume: pathlib.Path) -> None:
    """Both on three keyslots: one after the other, the last one of each would be alone."""
    forbidden = (full.absent(one["passphrase"]) for one in WRONG)
    assert not full.amend_volume(volume.with_name("three"), *forbidden, check=True)["changed"]


def replacement(volume: pathlib.Path) -> None:
    """The new key is derived beside the trial of the old secret."""
    assert full.amend_volume(volume, full.present("luks1", "new", keyslot=0, old=MADE[0]))["changed"]


def left_behind(volume: pathlib.Path) -> None:
    """Nothing needs the secret under unlock, but to say which keyslots nothing opens."""
    result = full.amend_volume(volume.with_name("four"), full.absent("mistyped"), unlock=["stranger"], check=True)
    assert any("no secret of this task is known to open keyslots 0, 1, 2, 3" in text for text in result["warnings"])


def search(volume: pathlib.Path) -> None:
    """One that is expected to fail."""
    with proofs(parse_info({"device": str(volume), "secrets": WRONG[:1]})) as (_session, _volume, _header, prover):
        prover.expect_search(0, [0, 1], in_vain=True)
        for keyslot in (0, 1):
            prover.try_slot(0, keyslot)


@pytest.mark.parametrize(
    "use",
    [
        information,
        backup,
        audit,
        audit_with_a_backup,
        backing_file,
        unknown,
        plan,
        forbidden,
        replacement,
        left_behind,
        search,
    ],
)
def test_no_derivation_is_alone(
    use: t.Callable[[pathlib.Path], None], volume: pathlib.Path, derived: t.List[bytes]
) -> None:
    use(volume)
    assert len(derived) >= 2
