# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""A rotation that is interrupted to have a store of tasks asked, and goes on in another process.

The machine is run from its beginning each time. What the world answered before comes from a list, in the order in which
it was asked; the first question that has no answer yet is carried out, or put to the tasks.
"""

from __future__ import annotations

import datetime
import typing as t

from .stores import Stored, StoreError
from .world import Answer, Chance, Host, HostError, Phase, Progress

T = t.TypeVar("T")


class AskTasks(BaseException):
    """The rotation waits for the tasks of the store. Not an Exception: no volume is refused for it."""

    def __init__(self, question: t.Dict[str, t.Any]) -> None:
        super().__init__(question["operation"])
        self.question = question


class Journal:
    """answers: all that was answered so far; secrets are among it."""

    def __init__(self, answers: t.Sequence[t.Any] = ()) -> None:
        self.answers = list(answers)
        self._position = 0

    @property
    def repeating(self) -> bool:
        return self._position < len(self.answers)

    def take(self, work: t.Callable[[], T]) -> T:
        if not self.repeating:
            self.answers.append(work())
        self._position += 1
        return t.cast(T, self.answers[self._position - 1])


class OfTasks:
    """The store whose ``read`` and ``write`` are tasks. An answer is ``entry`` and ``version``, or ``failed``."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def check(self) -> None:
        """What would make its tasks fail is not known."""

    def known(self, prefix: str) -> None:
        return None

    def read(self, key: str) -> Stored:
        return self._ask({"operation": "read", "key": key})

    def write(self, key: str, entry: t.Dict[str, t.Any], version: t.Any) -> Stored:
        return self._ask({"operation": "write", "key": key, "entry": entry, "version": version})

    def _ask(self, question: t.Dict[str, t.Any]) -> Stored:
        def ask() -> t.Any:
            raise AskTasks(question)

        answer = self._journal.take(ask)
        if not isinstance(answer, t.Mapping) or answer.get("failed"):
            reason = answer.get("msg") if isinstance(answer, t.Mapping) else "they left no dictionary behind"
            raise StoreError(f"The tasks of the store that {question['operation']} failed: {reason}")
        return Stored(answer.get("entry") or None, answer.get("version"))


class KnownHost:
    """A host that is asked once for each question."""

    def __init__(self, host: Host, journal: Journal) -> None:
        self._host = host
        self._journal = journal

    def step(self, options: t.Mapping[str, t.Any]) -> Answer:
        return t.cast(Answer, self._ask(lambda: self._host.step(options)))

    def holds_keyfile(self, name: str, path: str) -> bool:
        return bool(self._ask(lambda: self._host.holds_keyfile(name, path)))

    def build_initramfs(self) -> None:
        self._ask(self._host.build_initramfs)

    def _ask(self, work: t.Callable[[], t.Any]) -> t.Any:
        def ask() -> t.Dict[str, t.Any]:
            try:
                return {"answer": work()}
            except HostError as error:
                return {"error": str(error)}

        told = self._journal.take(ask)
        if "error" in told:
            raise HostError(told["error"])
        return told["answer"]


class KnownChance(Chance):
    """What was drawn once is not drawn again."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(
            self._journal.take(lambda: super(KnownChance, self).now().timestamp()), datetime.timezone.utc
        )

    def identity(self) -> str:
        return self._journal.take(super().identity)

    def passphrase(self, form: str, entropy: int) -> str:
        return self._journal.take(lambda: super(KnownChance, self).passphrase(form, entropy))


class KnownProgress:
    """Says nothing twice."""

    def __init__(self, progress: Progress, journal: Journal) -> None:
        self._progress = progress
        self._journal = journal

    def phase(self, volume: str, number: int, count: int, phase: Phase, says: str, loud: bool) -> None:
        if not self._journal.repeating:
            self._progress.phase(volume, number, count, phase, says, loud)
