# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several volumes in one task: side by side, each for itself, reported in order, within one budget of memory."""

from __future__ import annotations

import pathlib
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import session
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend, devices
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import present

VOLUMES = 8
BROKEN = 2  # no LUKS header at all
MISSING = 5
PATIENCE = 20  # seconds; nobody waits so long unless what is waited for never comes


def make_all(folder: pathlib.Path) -> t.List[pathlib.Path]:
    paths = [folder / f"volume {number}" for number in range(VOLUMES)]
    for number, path in enumerate(paths):
        if number == BROKEN:
            path.write_bytes(bytes(1 << 20))
        elif number != MISSING:
            volume.make(path, "luks1" if number % 2 else "luks2", 3)
    return paths


def outcome(result: t.Dict[str, t.Any], folder: pathlib.Path) -> t.List[t.Any]:
    """What does not depend on salts and folders."""
    return [
        (
            *(
                str(one.get(part, "")).replace(str(folder), "")
                for part in ("device", "status", "changed", "plan", "msg")
            ),
            one["kdf_evaluations"],
        )
        for one in result["volumes"]
    ]


def test_results_do_not_depend_on_cores(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []
    for cores in (1, 2, 5):
        folder = tmp_path / str(cores)
        folder.mkdir()
        paths = make_all(folder)
        monkeypatch.setattr(session, "cores", lambda cores=cores: cores)
        entries = [{**present("luks1", "new", keyslot=1, old=volume.MADE[1]), "pbkdf": {"iterations": 1000}}]
        result = volume.amend_volume(paths, *entries, kdf_limits={"total_memory": 70_000})
        assert (result["changed"], result["failed"]) == (True, True)
        assert result["kdf_evaluations"] == 2 * (VOLUMES - 2)
        outcomes.append(outcome(result, folder))
        again = volume.amend_volume(paths, *entries)
        assert (again["changed"], again["kdf_evaluations"]) == (False, VOLUMES - 2)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    statuses = [status for _device, status, *_rest in outcomes[0]]
    assert statuses == ["refused" if number in (BROKEN, MISSING) else "done" for number in range(VOLUMES)]
    assert [device for device, *_rest in outcomes[0]] == [f"/volume {number}" for number in range(VOLUMES)]


def test_memory_of_all_volumes_together_stays_within_the_budget(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New Argon2 keyslots of 64 MiB on eight cores: two at once in 150 MiB."""
    monkeypatch.setattr(session, "cores", lambda: 8)
    paths = [tmp_path / str(number) for number in range(4)]
    for path in paths:
        volume.make(path, "luks2", 2)
    notes = volume.noted(monkeypatch)
    entry = {**present("luks2", "new"), "pbkdf": {"type": "argon2id", "time": 4, "memory": 65536, "parallel": 1}}
    result = volume.amend_volume(paths, entry, unlock=volume.MADE[:1], kdf_limits={"total_memory": 150_000})
    assert result["changed"] and not result.get("failed")
    assert 65536 <= notes.peak <= 150_000


def test_a_derivation_larger_than_the_budget_runs_alone(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "cores", lambda: 8)
    paths = [tmp_path / str(number) for number in range(3)]
    for path in paths:
        volume.make(path, "luks2", 2)
    notes = volume.noted(monkeypatch)
    entry = {**present("luks2", "new"), "pbkdf": {"type": "argon2id", "time": 4, "memory": 65536, "parallel": 1}}
    assert volume.amend_volume(paths, entry, unlock=volume.MADE[:1], kdf_limits={"total_memory": 1000})["changed"]
    assert notes.peak == 65536


def test_a_fault_in_one_volume_that_nobody_expected_leaves_the_others_done(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / str(number) for number in range(3)]
    for path in paths:
        volume.make(path, "luks2", 2)
    look = amend._Amendment._plan_without_writing

    def stumble(self: t.Any) -> t.Any:
        if self.path == str(paths[0]):
            raise ZeroDivisionError
        return look(self)

    monkeypatch.setattr(amend._Amendment, "_plan_without_writing", stumble)
    result = volume.amend_volume(paths, present("luks2", "new", keyslot=1, old=volume.MADE[1]))
    assert [one["status"] for one in result["volumes"]] == ["refused", "done", "done"]
    assert "ZeroDivisionError" in result["volumes"][0]["msg"]
    monkeypatch.undo()
    again = volume.amend_volume(paths[1:], present("luks2", "new", keyslot=1))
    assert not again["changed"]


def test_the_end_of_a_thread_ends_the_wait() -> None:
    """Meanwhile no processor is busy with looking."""
    waiting, rung = threading.Event(), threading.Event()

    class Bell:
        def put(self, _nothing: None) -> None:
            rung.set()

        def get(self, timeout: float) -> None:
            waiting.set()
            assert rung.wait(PATIENCE), "a thread has ended and does not say so"

    shared = devices._Shared([lambda: waiting.wait(PATIENCE)])
    bell: t.Any = Bell()
    shared._bell = bell
    shared.begin()
    shared.wait()
    assert shared.results() == [True]
