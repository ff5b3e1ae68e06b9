# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was answered once is answered so again, a failure as much as anything else."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.journal import (
    AskTasks,
    Journal,
    KnownHost,
    KnownProgress,
    OfTasks,
)
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import Stored, StoreError
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.world import HostError, Phase


class Failing:
    """A host; ``asked``: how often."""

    asked = 0

    def step(self, _options: t.Mapping[str, t.Any]) -> t.Any:
        self.asked += 1
        raise HostError("no space left")

    def holds_keyfile(self, _name: str, path: str) -> bool:
        self.asked += 1
        return path == "/key"

    def build_initramfs(self) -> None:
        self.asked += 1
        raise HostError("no space left in /boot")


def test_a_failure_of_the_host_is_one_in_the_next_run_too() -> None:
    answers: t.List[t.Any] = []
    host: t.Any = Failing()
    for _run in range(2):
        journal = Journal(answers)
        known = KnownHost(host, journal)
        with pytest.raises(HostError, match=r"^no space left$"):
            known.step({})
        assert [known.holds_keyfile("a", path) for path in ("/key", "/other")] == [True, False]
        with pytest.raises(HostError, match="left in /boot"):
            known.build_initramfs()
        answers = journal.answers
    assert host.asked == 4


def test_the_tasks_of_a_store_are_asked_for_and_their_answer_is_taken() -> None:
    with pytest.raises(AskTasks):
        OfTasks(Journal([])).read("web/1")
    assert OfTasks(Journal([{"entry": {"host": "web"}, "version": 3}])).read("web/1") == Stored({"host": "web"}, 3)


@pytest.mark.parametrize("answer", [{"failed": True, "msg": "sealed"}, None, "text"])
def test_tasks_of_a_store_that_fail_or_leave_nothing_behind(answer: t.Any) -> None:
    says = "sealed" if isinstance(answer, dict) else "they left no dictionary behind"
    store = OfTasks(Journal([answer, answer]))
    with pytest.raises(StoreError, match=f"that read failed: {says}"):
        store.read("web/1")
    with pytest.raises(StoreError, match=f"that write failed: {says}"):
        store.write("web/1", {}, None)


def test_nothing_is_said_twice() -> None:
    said: t.List[t.Any] = []
    progress: t.Any = types.SimpleNamespace(phase=lambda *given: said.append(given))
    for answers in ([], [None]):
        KnownProgress(progress, Journal(answers)).phase("/dev/x", 1, 1, Phase.LOOK, "", False)
    assert said == [("/dev/x", 1, 1, Phase.LOOK, "", False)]
