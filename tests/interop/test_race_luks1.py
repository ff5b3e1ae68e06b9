# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two to eight of our modules add and remove at once on one LUKS1 volume. The peer loses a key in 4 of 4.

All of a round wait at their start until the last one is there. After every round each of them must have told the truth,
and cryptsetup says at the end of each series (and the engine after each round) which secrets open.
"""

from __future__ import annotations

import pathlib
import random
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.lock_lab import loop_device
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume, needs_cryptsetup
from ansible_collections.luksmith.luks.tests.interop.module_process import run_module, start_module
from ansible_collections.luksmith.luks.tests.tools.module_server import pause_at

pytestmark = needs_cryptsetup

ANCHOR = "pw0"  # opens slot 0 always
# Modules at once, rounds.
SHORT = [(2, 5), (5, 2)]
LONG = [(2, 60), (3, 50), (5, 50), (8, 40)]
CHEAP = {"iterations": 1000}


def secret(worker: int) -> t.Dict[str, str]:
    return {"label": f"worker {worker}", "passphrase": f"secret of worker {worker}"}


def one_round(paths: t.Sequence[str], moves: t.Mapping[int, bool]) -> t.Dict[int, t.Dict[str, t.Any]]:
    running = {}
    for worker, add in moves.items():
        entry = (
            {"new_secret": secret(worker), "pbkdf": CHEAP} if add else {"state": "absent", "old_secret": secret(worker)}
        )
        task = {
            "device": paths[worker % len(paths)],
            "keyslots": [entry],
            "unlock": [{"passphrase": ANCHOR}],
            "lock_timeout": 240,
        }
        running[worker] = start_module("keyslots", task, hooks=[pause_at("the start")])
    for module in running.values():
        module.reached("the start")
    for module in running.values():
        module.go_on()
    return {worker: module.result() for worker, module in running.items()}


def opened_by_engine(path: str, workers: int) -> t.Tuple[t.Set[int], int]:
    """Workers whose secret opens a slot, and the number of active slots."""
    result = run_module("keyslots_info", {"device": path, "secrets": [secret(worker) for worker in range(workers)]})
    active = [row for row in result["keyslots"] if row["state"] == "active"]
    return {worker for worker in range(workers) if result["opened_by"][f"worker {worker}"]}, len(active)


def series(volume: Luks2Volume, paths: t.Sequence[t.Any], workers: int, rounds: int) -> None:
    chance = random.Random(workers)
    working: t.Set[int] = set()
    for _round in range(rounds):
        # Mostly the opposite of what is, sometimes what is already: that must be reported as no change.
        moves = {
            worker: (worker not in working) if chance.random() < 0.85 else worker in working
            for worker in range(workers)
        }
        adds = [worker for worker, add in moves.items() if add and worker not in working]
        for worker in adds[: max(0, len(working | set(adds)) - 7)]:
            moves[worker] = False  # slot 0 is the anchor's: seven are free
        for worker, told in one_round([str(path) for path in paths], moves).items():
            assert told["changed"] == (moves[worker] != (worker in working)), f"worker {worker} did not tell the truth"
            assert [action["action"] for action in told["plan"]] == (
                [] if not told["changed"] else ["add"] if moves[worker] else ["erase"]
            )
        working = {worker for worker, add in moves.items() if add}
        found, active = opened_by_engine(str(volume.path), workers)
        assert found == working, "a key was lost, or a removed one came back"
        assert active == len(working) + 1, "a slot is enabled and opens with nothing"
    assert {worker for worker in range(workers) if volume.opens(secret(worker)["passphrase"])} == working


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> Luks2Volume:
    return Luks2Volume(tmp_path / "volume").like("-c", "aes-cbc-essiv:sha256", "-s", "128", type="luks1", size=2 << 20)


@pytest.mark.parametrize(("workers", "rounds"), [*SHORT, *(pytest.param(*one, marks=pytest.mark.full) for one in LONG)])
def test_no_key_is_lost_and_everybody_tells_the_truth(volume: Luks2Volume, workers: int, rounds: int) -> None:
    """Two hundred rounds take their time."""
    series(volume, [volume.path], workers, rounds)


@pytest.mark.needs("loop")
@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.full)])
def test_a_loop_device_and_its_file_are_one_volume(volume: Luks2Volume, rounds: int) -> None:
    with loop_device(volume.path) as loop:
        series(volume, [volume.path, loop], 4, rounds)
