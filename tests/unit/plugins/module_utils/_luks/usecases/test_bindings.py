# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has sealed is what its keyslot opens with, also if its plan has to be made again under the locks. With
real programs: tests/interop/test_bindings.py.
"""

from __future__ import annotations

import base64
import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.apply import seal
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import clevis
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.inspect import inspect
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as full
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import MADE, present

URL = "http://tang.example.com"
BOUND = {"binding": {"type": "clevis", "pin": "tang", "config": {"url": URL}}}
DRAWN = "-".join(["cbdefghi", "jklnrtuv"] * 4)


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "volume"
    full.make(path, "luks2", 1)
    return path


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> t.Dict[bytes, str]:
    """What was sealed, by its JWE; the server yields it."""
    found: t.Dict[bytes, str] = {}
    header = json.dumps({"clevis": {"pin": "tang", "tang": {"url": URL}}}).encode()

    def sealed(_binding: t.Any, _pin: bytearray) -> seal.Sealed:
        jwe = b".".join([base64.urlsafe_b64encode(header).rstrip(b"="), b"", b"aXY", b"%d" % len(found), b"dGFn"])
        found[jwe] = f"key {len(found)} that nobody knows"
        return seal.Sealed(bytearray(found[jwe].encode()), {"type": "clevis", "jwe": clevis.parts(jwe)})

    monkeypatch.setattr(seal, "sealed", sealed)
    monkeypatch.setattr(clevis, "passphrase", lambda jwe: bytearray(found[jwe].encode()))
    return found


def run(volume: pathlib.Path, *entries: t.Dict[str, t.Any]) -> full.Result:
    return full.amend_volume(volume, *entries, unlock=MADE[:1])


def tokens(volume: pathlib.Path) -> t.List[t.Tuple[str, t.Tuple[int, ...]]]:
    with open_volume(str(volume), writable=False) as found:
        return [(token.type, token.keyslots) for token in read_header(found).tokens if not token.ours]


def opened(volume: pathlib.Path, keys: t.Mapping[bytes, str]) -> t.List[t.List[int]]:
    """By each of the keys."""
    task = parse_info({"device": str(volume), "secrets": [full.secret(key) for key in keys.values()]})
    return list(inspect(task)["opened_by"].values())


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: t.Callable[[], t.Any]) -> None:
    """Another run is quicker: ``what`` is done once the first plan is made, before the locks are taken."""
    prepare, done = amend._Amendment._prepare, []

    def meddle(change: t.Any, planned: t.Any) -> t.Any:
        answer = prepare(change, planned)
        if not done:
            done.append(True)
            assert what()["changed"]
        return answer

    monkeypatch.setattr(amend._Amendment, "_prepare", meddle)


def test_the_keyslot_opens_with_what_was_sealed(volume: pathlib.Path, keys: t.Dict[bytes, str]) -> None:
    assert run(volume, BOUND)["changed"]
    assert tokens(volume) == [("clevis", (1,))]
    assert opened(volume, keys) == [[1]]
    assert not run(volume, BOUND)["changed"]


def test_a_plan_made_again_keeps_what_was_sealed(
    volume: pathlib.Path, keys: t.Dict[bytes, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: run(volume, present("luks2", "theirs", keyslot=1)))
    result = run(volume, BOUND)
    assert any("a new plan was made under the lock" in warning for warning in result["warnings"])
    assert tokens(volume) == [("clevis", (2,))]
    assert opened(volume, keys) == [[2]]


def test_a_binding_that_another_run_has_made_meanwhile_is_enough(
    volume: pathlib.Path, keys: t.Dict[bytes, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: run(volume, BOUND))
    assert not run(volume, BOUND)["changed"]
    assert tokens(volume) == [("clevis", (1,))]
    assert opened(volume, keys) == [[], [1]]


@pytest.mark.parametrize("before", [0, 1], ids=["both new", "one new"])
def test_each_new_keyslot_for_a_recovery_key_gets_its_token(volume: pathlib.Path, before: int) -> None:
    """Whichever entry of the task has it: the same words are one secret."""
    entries = [present("luks2", DRAWN, keyslot=keyslot) for keyslot in (1, 2)]
    entries[0]["new_secret"]["token"] = "systemd-recovery"
    if before:
        run(volume, *entries[:before])
    assert run(volume, *entries)["changed"]
    assert tokens(volume) == [("systemd-recovery", (1,)), ("systemd-recovery", (2,))]
