# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Header backups: their keyslots that the volume no longer has, and the secrets that open those."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import LuksmithError, expected_only
from ..header.model import Header, Keyslot
from ..task.secrets import Secret
from ..unlock.hints import fingerprint
from ..unlock.session import UnlockSession
from ..unlock.verdict import Verdict
from ..volume.read_header import read_header_locked
from ..volume.storage import open_volume


@dataclasses.dataclass(frozen=True)
class Backup:
    """A header backup with the uuid of the volume.

    foreign: it has another volume key, so that it does not open the present data.
    gone:    its keyslots that the volume no longer has, or has with another secret.
    lacks:   keyslots of the volume that it does not have.
    opened:  keyslot -> forbidden labels that open it; untried: keyslot -> why it could not be tried.
    """

    path: str
    foreign: bool
    gone: t.Tuple[int, ...]
    opened: t.Mapping[int, t.Tuple[str, ...]]
    untried: t.Mapping[int, str]
    lacks: t.Tuple[int, ...] = ()


class BackupFiles:
    """The backups of a task, read once for all of its volumes; those that cannot be read are in ``unread``."""

    def __init__(self, paths: t.Sequence[str], lock_timeout: float) -> None:
        self.unread: t.Dict[str, str] = {}
        self.headers: t.Dict[str, Header] = {}
        self.used: t.Set[str] = set()
        self._lock_timeout = lock_timeout
        for path in paths:
            try:
                with expected_only():
                    self.headers[path] = self._read(path)
            except LuksmithError as error:
                self.unread[path] = error.found

    def of(
        self,
        header: Header,
        forbidden: t.Sequence[t.Tuple[Secret, str]],
        unlock: t.Callable[[t.Sequence[Secret]], UnlockSession],
    ) -> t.Tuple[t.Tuple[Backup, ...], int]:
        """The backups of the volume with ``header``, and the number of derivations. ``forbidden``: secrets with labels.

        Raises LuksmithError if a backup can no longer be read or a derivation fails.
        """
        found, evaluations = [], 0
        for path, backup in self.headers.items():
            if backup.uuid != header.uuid:
                continue
            self.used.add(path)
            gone = tuple(number for number, slot in backup.keyslots.items() if not _is_in(slot, header))
            lacks = tuple(number for number, slot in header.keyslots.items() if not _is_in(slot, backup))
            foreign = _keys(backup).isdisjoint(_keys(header))
            with unlock([secret for secret, _label in forbidden]) as session:
                # A keyslot that the volume has too is tried there.
                opened, untried = (
                    ({}, {})
                    if foreign
                    else self._try(path, backup, gone, session, [label for _secret, label in forbidden])
                )
                evaluations += session.evaluations
            found.append(Backup(path, foreign, gone, opened, untried, lacks))
        return tuple(found), evaluations

    def _read(self, path: str) -> Header:
        with open_volume(path, writable=False) as volume:
            return read_header_locked(volume, self._lock_timeout)

    def _try(
        self, path: str, header: Header, slots: t.Sequence[int], session: UnlockSession, labels: t.Sequence[str]
    ) -> t.Tuple[t.Dict[int, t.Tuple[str, ...]], t.Dict[int, str]]:
        opened: t.Dict[int, t.Tuple[str, ...]] = {}
        untried: t.Dict[int, str] = {}
        if not labels:
            return opened, untried
        with open_volume(path, writable=False) as volume:
            prover = session.prover(header, volume.region.reread)
            prover.expect(((secret, number) for number in slots for secret in range(len(labels))), unbound=True)
            for number in slots:
                verdicts = [prover.try_slot(secret, number) for secret in range(len(labels))]
                if Verdict.UNTRIED in verdicts:
                    untried[number] = prover.why_untried(number)
                by = tuple(label for label, verdict in zip(labels, verdicts) if verdict is Verdict.OPENS)
                if by:
                    opened[number] = by
        return opened, untried


def _is_in(slot: Keyslot, header: Header) -> bool:
    """Whether the volume still has this keyslot: every write of a keyslot uses a new salt."""
    mark = fingerprint(slot.kdf)
    return bool(mark) and any(fingerprint(other.kdf) == mark for other in header.keyslots.values())


def _keys(header: Header) -> t.Set[t.Tuple[bytes, bytes]]:
    return {(digest.salt, digest.value) for digest in header.digests if digest.value}
