# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Which secrets open a volume that nothing is to be written to: the volume, its header and the proofs for both."""

from __future__ import annotations

import contextlib
import typing as t

from ..header.model import Header
from ..task.parse_info import InfoTask
from ..unlock.hints import hints
from ..unlock.prover import Prover
from ..unlock.session import UnlockSession, unlock_session
from ..volume.read_header import read_header_locked
from ..volume.storage import Volume, open_volume


class Proofs(t.NamedTuple):
    session: UnlockSession
    volume: Volume
    header: Header
    prover: Prover


@contextlib.contextmanager
def proofs(task: InfoTask, *, remembered: bool = False) -> t.Iterator[Proofs]:
    """Opened for reading; keys are wiped and the volume is closed at the end, the secrets of ``task`` are not wiped.

    remembered: try first the keyslots that the record in the header names.
    Raises StorageFault or Busy if the volume cannot be read, and what the header's parser raises.
    """
    with unlock_session(task.secrets, task.budget, task.volume_keys) as session, open_volume(
        task.device, task.header, writable=False
    ) as volume:
        header = read_header_locked(volume, task.lock_timeout)
        first = hints(header, task.labels) if remembered else None
        yield Proofs(session, volume, header, session.prover(header, volume.region.reread, first))
