# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The one owner of the keys that a run derives: amend, inspect, audit and backup try secrets only through a session."""

from __future__ import annotations

import contextlib
import typing as t

from ..crypto.host import cores
from ..crypto.kdf import Budget
from ..crypto.workers import Workers
from ..header.model import Header
from ..header.reading import Read
from ..task.secrets import Secret
from .derivations import Derivations, HoldsBytes
from .prover import Prover, RecordProver

_P = t.TypeVar("_P", bound=Prover)


@contextlib.contextmanager
def all_cores(budget: Budget) -> t.Iterator[t.Tuple[Budget, Workers]]:
    """``budget`` limited to the memory that the host has free now, and workers on all cores, stopped on every way out.

    The sessions of a task with several volumes share them, so that together they stay within the host's memory.
    """
    measured = budget.of_this_moment()
    workers = Workers(cores(), measured.total_memory)
    try:
        yield measured, workers
    finally:
        workers.stop()


@t.final
class UnlockSession:
    """Tries ``secrets`` on keyslots and wipes every derived key and volume key on every way out.

    ``volume_keys``: given by the task, perhaps of other volumes. The caller wipes ``secrets`` and these, and stops
    ``workers``. Sessions with a lower ``rank`` are served first.
    """

    def __init__(
        self,
        secrets: t.Sequence[HoldsBytes],
        budget: Budget,
        workers: Workers,
        rank: int = 0,
        volume_keys: t.Sequence[HoldsBytes] = (),
    ) -> None:
        self.derivations = Derivations(secrets, budget, workers, rank)
        self._volume_keys = volume_keys
        self._workers = workers
        self._rank = rank
        self._prover: t.Optional[Prover] = None
        self._lent: t.List[Secret] = []

    def sibling(self) -> UnlockSession:
        """Another session with the same secrets, for a header beside that of this one."""
        return UnlockSession(self.derivations.secrets, self.derivations.budget, self._workers, self._rank)

    @property
    def evaluations(self) -> int:
        """How many keys were derived, see :class:`.derivations.Derivations`."""
        return self.derivations.evaluations

    def prover(self, header: Header, read: Read, hints: t.Optional[t.Mapping[int, int]] = None) -> Prover:
        """Proofs for ``header``, with ``read`` for its key material; ``hints``: secret -> keyslot to try first.

        A session works on one header at a time: the previous prover is closed and its volume key wiped.
        """
        return self._take(Prover(header, read, self.derivations, hints or {}, (*self._volume_keys, *self._lent)))

    def lend(self, key: bytearray) -> None:
        """A volume key that this run found elsewhere; it counts as one that the task gives, and is wiped at the end."""
        self._lent.append(Secret(key, ()))

    def record_prover(self, header: Header, remembered: t.Mapping[int, t.Collection[int]]) -> RecordProver:
        """Answers from the record of ``header`` alone, see :class:`.prover.RecordProver`."""
        return self._take(RecordProver(header, self.derivations, remembered))

    def _take(self, prover: _P) -> _P:
        if self._prover is not None:
            self._prover.close()
        self._prover = prover
        return prover

    def close(self) -> None:
        """Wipe every derived key and the volume key; a key that is still being derived, as soon as it is done."""
        if self._prover is not None:
            self._prover.close()
        for key in self._lent:
            key.wipe()
        self.derivations.close()

    def __enter__(self) -> UnlockSession:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


@contextlib.contextmanager
def unlock_session(
    secrets: t.Sequence[HoldsBytes], budget: Budget, volume_keys: t.Sequence[HoldsBytes] = ()
) -> t.Iterator[UnlockSession]:
    """A session for one volume, on all cores of the host."""
    with all_cores(budget) as (measured, workers):
        session = UnlockSession(secrets, measured, workers, volume_keys=volume_keys)
        with session:
            yield session
