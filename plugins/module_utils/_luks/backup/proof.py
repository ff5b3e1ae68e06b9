# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Which secrets of a task open which keyslots of a header, all of them tried; and the volume key that this brought."""

from __future__ import annotations

import types
import typing as t

from ..header.model import Header
from ..keyslots.observe import Derivations, Prover
from .image import Image
from .report import Opened
from .task import BackupTask


@t.final
class Proof:
    """A context manager: the volume key is wiped at its end. Raises what a derivation raises."""

    def __init__(self, task: BackupTask, header: Header, read: t.Callable[[int, int], bytes]) -> None:
        self._derivations = Derivations(task.secrets, task.budget)
        self._prover = Prover(header, read, self._derivations, {})
        self.opened = self._try_all(task, header)

    @classmethod
    def of(cls, task: BackupTask, image: Image) -> Proof:
        return cls(task, image.header, image.read)

    @property
    def volume_key(self) -> t.Optional[bytearray]:
        """None where no secret opens a keyslot of the data."""
        return self._prover.volume_key

    def __enter__(self) -> Proof:
        return self

    def __exit__(self, kind: t.Optional[t.Type[BaseException]], error: t.Optional[BaseException], trace: t.Optional[types.TracebackType]) -> None:
        self._prover.close()

    def _try_all(self, task: BackupTask, header: Header) -> Opened:
        if not task.secrets:
            return Opened(untried=tuple(header.keyslots))
        warnings = []
        for keyslot in header.keyslots:
            for secret in range(len(task.secrets)):
                self._prover.try_slot(secret, keyslot)
            reason = self._prover.why_untried(keyslot)
            if reason:
                warnings.append(f"keyslot {keyslot} could not be tried: {reason}")
        by_slot = {keyslot: tuple(task.labels[secret] for secret in secrets) for keyslot, secrets in self._prover.openers().items()}
        untried = tuple(keyslot for keyslot in header.keyslots if keyslot not in self._prover.tried())
        return Opened(by_slot, untried, self._derivations.evaluations, tuple(warnings))
