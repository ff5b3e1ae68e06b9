# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trials that nobody needs any more end, and leave no key; what a token yields is what is tried."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.kdf import Budget
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto.workers import Inline
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Token
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.secrets import Secret, TokenRequest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import tokens
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.derivations import Derivations
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.prover import Prover
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.verdict import Verdict
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases import full_volume as full
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.usecases.full_volume import MADE


class Queue(Inline):
    """As many cores as anybody wants, none of which begins before somebody waits."""

    cores = 99

    def __init__(self) -> None:
        self.jobs: t.List[t.Any] = []

    def submit(self, job: t.Any) -> None:
        self.jobs.append(job)

    def idle(self) -> int:
        return 99


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def prover(tmp_path: pathlib.Path, queue: Queue) -> t.Iterator[t.Callable[..., Prover]]:
    path = tmp_path / "volume"
    full.make(path, "luks1", 3)
    with open_volume(str(path), writable=False) as volume:
        yield lambda *secrets: Prover(
            read_header(volume), volume.region.reread, Derivations(secrets, Budget(), queue), {}
        )


def known() -> Secret:
    return Secret(bytearray(MADE[0].encode()), ("known",))


def test_a_search_that_has_found_tries_no_further(prover: t.Callable[..., Prover], queue: Queue) -> None:
    trying = prover(known())
    trying.expect_search(0, [0, 1, 2], in_vain=True)
    assert trying.try_slot(0, 0) is Verdict.OPENS
    assert [job.pending for job in queue.jobs] == [False, False, False]
    assert trying.derivations.evaluations == 1
    assert trying.try_slot(0, 1) is Verdict.CLOSED, "what was dropped can be asked for all the same"


def test_a_trial_that_nobody_asked_for_in_time_leaves_no_key(prover: t.Callable[..., Prover], queue: Queue) -> None:
    trying = prover(known())
    trying.expect([(0, 0), (0, 1)])
    done, waiting = queue.jobs
    queue.wait([done])
    key = done.result().key
    assert any(key)
    trying.close()
    assert not any(key) and not waiting.pending


def test_of_two_trials_that_open_one_keeps_the_volume_key(prover: t.Callable[..., Prover], queue: Queue) -> None:
    """They ran side by side, and neither knew of the other."""
    trying = prover(known(), Secret(bytearray(MADE[1].encode()), ("the other",)))
    trying.expect([(0, 0), (1, 1)])
    for job in queue.jobs:
        queue.wait([job])
    kept, other = (job.result().key for job in queue.jobs)
    assert any(kept) and kept == other
    assert [trying.verdict(number, number) for number in (0, 1)] == [Verdict.OPENS] * 2
    assert trying.volume_key is kept and any(kept) and not any(other)


def test_what_a_token_yields_is_tried_and_wiped(
    prover: t.Callable[..., Prover], monkeypatch: pytest.MonkeyPatch
) -> None:
    yielded, token = bytearray(MADE[1].encode()), Token(0, "clevis", (0, 1, 7))

    def ask(_header: t.Any, _read: t.Any, _request: t.Any, proven: t.Any, _refused: t.Any) -> tokens.Yielded:
        return tokens.Yielded(proven(yielded, token), token)

    monkeypatch.setattr(tokens, "ask", ask)
    trying = prover(Secret(bytearray(b"noise"), ("of a token",), token=TokenRequest("clevis", bytearray())))
    assert [trying.try_slot(0, keyslot) for keyslot in (0, 1)] == [Verdict.CLOSED, Verdict.OPENS]
    trying.derivations.close()
    assert not any(yielded)
