# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two to eight of our processes add and remove at once on one LUKS1 volume, 200 rounds. The peer loses a key in 4 of 4.

Each process is what a host runs for one task: :func:`run.bring`. After every round each of them must have told the
truth, and cryptsetup says at the end of each series (and the engine after each round) which secrets open.
"""

from __future__ import annotations

import multiprocessing
import pathlib
import random
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError
from ansible_collections.luksmith.luks.plugins.module_utils._luks.keyslots import desired, run
from ansible_collections.luksmith.luks.tests.interop.module_fork import join_derivations, run_module

pytestmark = pytest.mark.skipif(shutil.which("cryptsetup") is None, reason="not installed here: cryptsetup")

ANCHOR = "the anchor opens slot 0 always"
ROUNDS = {2: 60, 3: 50, 5: 50, 8: 40}  # processes at once -> rounds
CHEAP = {"iterations": 1000}
FORK = multiprocessing.get_context("fork")


def secret(worker: int) -> t.Dict[str, str]:
    return {"label": f"worker {worker}", "passphrase": f"secret of worker {worker}"}


def work(path: str, worker: int, add: bool, start: t.Any, answers: t.Any) -> None:
    entry = {"new_secret": secret(worker), "pbkdf": CHEAP} if add else {"state": "absent", "old_secret": secret(worker)}
    task = {"device": path, "keyslots": [entry], "unlock": [{"passphrase": ANCHOR}], "lock_timeout": 120}
    start.wait()
    try:
        result = run.bring(desired.parse_task(task), check=False)
        answers.put((worker, add, result["changed"], [action["action"] for action in result["plan"]], ""))
    except LuksmithError as error:
        answers.put((worker, add, False, [], str(error)))


def one_round(paths: t.Sequence[str], moves: t.Mapping[int, bool]) -> t.List[t.Tuple[int, bool, bool, t.List[str], str]]:
    join_derivations()
    start, answers = FORK.Barrier(len(moves)), FORK.Queue()
    workers = [FORK.Process(target=work, args=(paths[worker % len(paths)], worker, add, start, answers)) for worker, add in moves.items()]
    for process in workers:
        process.start()
    told = [answers.get(timeout=300) for _process in workers]
    for process in workers:
        process.join()
    return told


def opened_by_engine(path: str, workers: int) -> t.Tuple[t.Set[int], int]:
    """Workers whose secret opens a slot, and the number of active slots."""
    # Not in this process: a thread that ends gives back what OpenSSL holds for it under locks, and who forks meanwhile inherits them taken.
    result = run_module("keyslots_info", {"device": path, "secrets": [secret(worker) for worker in range(workers)]})
    active = [row for row in result["keyslots"] if row["state"] == "active"]
    return {worker for worker in range(workers) if result["opened_by"][f"worker {worker}"]}, len(active)


def opened_by_cryptsetup(path: str, workers: int) -> t.Set[int]:
    def opens(worker: int) -> bool:
        command = ["cryptsetup", "open", "--test-passphrase", "--key-file", "-", path]
        return subprocess.run(command, input=secret(worker)["passphrase"].encode(), capture_output=True, check=False).returncode == 0

    return {worker for worker in range(workers) if opens(worker)}


def series(volume: pathlib.Path, paths: t.Sequence[str], workers: int, rounds: int) -> None:
    chance = random.Random(workers)
    working: t.Set[int] = set()
    for _round in range(rounds):
        # Mostly the opposite of what is, sometimes what is already: that must be reported as no change.
        moves = {worker: (worker not in working) if chance.random() < 0.85 else worker in working for worker in range(workers)}
        adds = [worker for worker, add in moves.items() if add and worker not in working]
        for worker in adds[: max(0, len(working | set(adds)) - 7)]:
            moves[worker] = False  # slot 0 is the anchor's: seven are free
        told = one_round(paths, moves)
        assert [answer for answer in told if answer[4]] == []
        for worker, add, changed, actions, _error in told:
            assert changed == (add != (worker in working)), f"worker {worker} did not tell the truth"
            assert actions == ([] if not changed else ["add"] if add else ["erase"])
        working = {worker for worker, add in moves.items() if add}
        found, active = opened_by_engine(str(volume), workers)
        assert found == working, "a key was lost, or a removed one came back"
        assert active == len(working) + 1, "a slot is enabled and opens with nothing"
    assert opened_by_cryptsetup(str(volume), workers) == working


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> pathlib.Path:
    path, anchor = tmp_path / "volume", tmp_path / "anchor"
    path.write_bytes(bytes(2 << 20))
    anchor.write_text(ANCHOR)
    form = ["cryptsetup", "luksFormat", "-q", "--type", "luks1", "-c", "aes-cbc-essiv:sha256", "-s", "128", "--pbkdf-force-iterations", "1000"]
    subprocess.run([*form, path, anchor], check=True, capture_output=True)
    return path


@pytest.mark.parametrize("workers", ROUNDS)
def test_no_key_is_lost_and_everybody_tells_the_truth(volume: pathlib.Path, workers: int) -> None:
    series(volume, [str(volume)], workers, ROUNDS[workers])


def test_a_loop_device_and_its_file_are_one_volume(volume: pathlib.Path) -> None:
    attached = subprocess.run(["losetup", "--find", "--show", str(volume)], capture_output=True, text=True, check=False)
    if attached.returncode:
        pytest.skip(f"no loop device here: {attached.stderr.strip()}")
    loop = attached.stdout.strip()
    try:
        series(volume, [str(volume), loop], 4, 10)
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)
