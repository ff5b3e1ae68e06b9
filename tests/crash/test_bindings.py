# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails while a binding is made, made anew or removed, and while what luksmeta keeps is restored.

A real JWE of clevis is in the token, made once; what it yields is known here, so that no program runs hundreds of
times. tests/interop shows the same with the programs.
"""

from __future__ import annotations

import functools
import json
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply import seal
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.backup_task import parse_backup
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.create import create
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.restore import restore
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import clevis
from ansible_collections.luksmith.luks.tests.crash import checker
from ansible_collections.luksmith.luks.tests.crash.blocklog import recorded
from ansible_collections.luksmith.luks.tests.crash.judge import Form, Judge, Operation
from ansible_collections.luksmith.luks.tests.crash.operations import A, B, absent, task
from ansible_collections.luksmith.luks.tests.crash.states import SPARSE, crashes
from ansible_collections.luksmith.luks.tests.crash.volumes import SECRETS, luks1, luks2, run

PARTS = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
OTHER = "7cd03b4f-6b2e-4d2a-8f5a-6d3a1f2b9c10"
KEPT = b"what the program keeps" * 30
CLEVIS = "cb6e8904-81ff-40da-a84a-07ab9ab5715e"


@functools.lru_cache(maxsize=None)
def jwe() -> t.Tuple[t.Tuple[str, str], ...]:
    sealing = ["clevis", "encrypt", "null", "{}", "-y"]
    made = subprocess.run(sealing, input=SECRETS[B], check=True, capture_output=True).stdout
    return tuple(zip(PARTS, made.decode().strip().split(".")))


def token() -> t.Dict[str, t.Any]:
    return {"type": "clevis", "jwe": dict(jwe())}


@pytest.fixture(autouse=True)
def known_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clevis, "passphrase", lambda *_arguments: bytearray(SECRETS[B]))
    monkeypatch.setattr(seal, "sealed", lambda *_arguments: seal.Sealed(bytearray(SECRETS[B]), token()))


def bound(scratch: pathlib.Path, *, stale: bool = False) -> bytes:
    """B in keyslot 1 with its token; ``stale``: the token is that of keyslot 0, which it does not open."""
    path = scratch / "made"
    path.write_bytes(luks2({0: A} if stale else {0: A, 1: B}))
    body = json.dumps({**token(), "keyslots": ["0" if stale else "1"]})
    adding = ["cryptsetup", "token", "import", str(path)]
    subprocess.run(adding, input=body, text=True, check=True, capture_output=True)
    return path.read_bytes()


WANTED = {"binding": {"type": "clevis", "pin": "null", "label": B}}
OPERATIONS: t.Dict[str, t.Callable[[pathlib.Path], Operation]] = {
    "made": lambda scratch: Operation(luks2({0: A}), task(WANTED)),
    "made beside a stale one": lambda scratch: Operation(bound(scratch, stale=True), task(WANTED)),
    "made, and the installer goes": lambda scratch: Operation(luks2({0: A}), task(WANTED, absent(old=A))),
    "removed": lambda scratch: Operation(
        bound(scratch), task({"state": "absent", "binding": {"type": "clevis", "label": B}})
    ),
}


@pytest.mark.needs("clevis", "cryptsetup")
@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_a_crash_leaves_opens_and_the_next_run_ends_it(
    name: str, form: Form, scratch: pathlib.Path, count: t.Callable[[str, t.Any], None]
) -> None:
    judge = Judge(OPERATIONS[name](scratch), scratch, form)
    count(f"binding, {name}", judge.everything())
    tree = json.loads(run("cryptsetup", "luksDump", "--dump-json-metadata", judge.lab.volume))
    left = [one["keyslots"] for one in tree["tokens"].values() if one["type"] == "clevis" and one["keyslots"] != ["0"]]
    assert left == ([] if name == "removed" else [["1"]])


@pytest.mark.needs("luksmeta", "cryptsetup")
def test_a_cut_while_what_luksmeta_keeps_is_restored(scratch: pathlib.Path) -> None:
    """Two writes: the content, then the block that names it. Passphrases open all the time, and a rerun finishes."""
    path, backup = scratch / "volume", scratch / "backup"
    made = bytearray(luks1({0: A, 1: B}))
    path.write_bytes(bytes(made).ljust(4 << 20, b"\0"))
    payload = (2 << 20) // 512
    data = bytearray(path.read_bytes())
    data[104:108] = payload.to_bytes(4, "big")
    path.write_bytes(bytes(data))
    run("luksmeta", "init", "-f", "-d", path)
    saving = ["luksmeta", "save", "-d", str(path), "-s", "1", "-u", CLEVIS]
    subprocess.run(saving, input=KEPT, check=True, capture_output=True)
    place = {"device": str(path), "path": str(backup), "lock_timeout": 0}
    create(parse_backup(place), check=False)
    run("luksmeta", "wipe", "-f", "-d", path, "-s", "1", "-u", CLEVIS)
    subprocess.run([*saving[:-1], OTHER], input=KEPT[::-1], check=True, capture_output=True)
    unlock = [{"label": A, "passphrase": SECRETS[A].decode()}]
    options = {**place, "state": "restored", "unlock": unlock, "force": True}
    start = path.read_bytes()
    with recorded(path) as calls:
        restore(parse_backup(options), check=False)
    final = path.read_bytes()
    assert sum(call.data is not None for call in calls) == 2
    seen = 0
    for state in crashes(start, calls, range(4096), shapes=SPARSE):
        image = state.image()
        assert set().union(*checker.openers(image, SECRETS).values()) == {A, B}, state.where
        path.write_bytes(image)
        loading = ["luksmeta", "load", "-d", str(path), "-s", "1", "-u", CLEVIS]
        kept = subprocess.run(loading, check=False, capture_output=True)
        assert kept.returncode != 0 or kept.stdout == KEPT, f"{state.where}: the block names what is not there"
        restore(parse_backup(options), check=False)
        assert path.read_bytes() == final, state.where
        kept = subprocess.run(loading, check=True, capture_output=True)
        assert kept.stdout == KEPT, state.where
        seen += 1
    assert seen > 4
