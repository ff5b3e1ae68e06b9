# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Header backups: what they would restore, their keyslots that the volume no longer has, and what opens those."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import LuksmithError, StorageFault, expected_only
from ..header.copied import image_size, longest_backup
from ..header.model import Extent, Header, Keyslot
from ..header.reading import Read
from ..task.secrets import Secret
from ..unlock.hints import fingerprint
from ..unlock.key_material import material_size
from ..unlock.session import UnlockSession
from ..unlock.verdict import Verdict
from ..volume.read_header import read_header_locked
from ..volume.storage import open_volume
from . import randomness

Named = t.Sequence[t.Tuple[Secret, str]]


@dataclasses.dataclass(frozen=True)
class Backup:
    """A header backup with the uuid of the volume.

    foreign: it has another volume key, so that it does not open the present data.
    gone:    its keyslots that the volume no longer has, or has with another secret.
    lacks:   keyslots of the volume that it does not have.
    opened:  keyslot -> forbidden labels that open it; untried: keyslot -> why it could not be tried.
    usable:  keyslots that it restores: with the key material of the volume, or opened by a given secret.
    damaged: keyslots with the salt of the volume, other key material or none, and no secret that opens them -> whether
             the key material is blank.
    whole:   why it goes with the volume, or is a copy of all of it, instead of being a header backup; or "".
    """

    path: str
    foreign: bool
    gone: t.Tuple[int, ...]
    opened: t.Mapping[int, t.Tuple[str, ...]]
    untried: t.Mapping[int, str]
    lacks: t.Tuple[int, ...] = ()
    usable: t.FrozenSet[int] = frozenset()
    damaged: t.Mapping[int, bool] = dataclasses.field(default_factory=dict)
    whole: str = ""


class BackupFiles:
    """The backups of a task, read once for all of its volumes; those that cannot be read are in ``unread``."""

    def __init__(self, paths: t.Sequence[str], lock_timeout: float) -> None:
        self.unread: t.Dict[str, str] = {}
        self.headers: t.Dict[str, Header] = {}
        self.used: t.Set[str] = set()
        self._sizes: t.Dict[str, int] = {}
        self._places: t.Dict[str, t.Any] = {}
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
        read: Read,
        forbidden: Named,
        allowed: Named,
        unlock: t.Callable[[t.Sequence[Secret]], UnlockSession],
        places: t.Collection[t.Any] = (),
    ) -> t.Tuple[t.Tuple[Backup, ...], int]:
        """The backups of the volume with ``header``, and the number of derivations.

        read: of the volume. forbidden, allowed: secrets with labels; the latter tell whether it restores anything.
        places: where the volume begins (:attr:`.Volume.identity`), and its data.
        Raises LuksmithError if a backup can no longer be read or a derivation fails.
        """
        found, evaluations = [], 0
        for path, backup in self.headers.items():
            if backup.uuid != header.uuid:
                continue
            self.used.add(path)
            gone = tuple(number for number, slot in backup.keyslots.items() if not _is_in(slot, header))
            lacks = tuple(number for number, slot in header.keyslots.items() if not _is_in(slot, backup))
            if _keys(backup).isdisjoint(_keys(header)):
                found.append(Backup(path, True, gone, {}, {}, lacks))
                continue
            same, blank = self._compare(path, backup, header, read)
            # A keyslot that the volume has too, with the same bytes, is tried there.
            others = [number for number in backup.keyslots if number not in same]
            with unlock([secret for secret, _label in (*forbidden, *allowed)]) as session:
                labels = [label for _secret, label in (*forbidden, *allowed)]
                opened, untried = self._try(path, backup, others, session, labels)
                evaluations += session.evaluations
            bad = [label for _secret, label in forbidden]
            by_bad = {number: [label for label in by if label in bad] for number, by in opened.items()}
            found.append(
                Backup(
                    path,
                    False,
                    gone,
                    {number: tuple(by) for number, by in by_bad.items() if by},
                    untried,
                    lacks,
                    frozenset({*same, *opened} - blank),
                    {
                        number: number in blank
                        for number in backup.keyslots
                        if number in blank or number not in (*same, *opened, *gone)
                    },
                    self._whole(path, places),
                )
            )
        return tuple(found), evaluations

    def _compare(self, path: str, backup: Header, header: Header, read: Read) -> t.Tuple[t.Set[int], t.Set[int]]:
        """The keyslots that the volume has to the byte, and those whose key material is blank."""
        same, blank = set(), set()
        with open_volume(path, writable=False) as volume:
            for number, slot in backup.keyslots.items():
                material = _material(slot, volume.region.reread)
                if material and randomness.measure(material).wiped:
                    blank.add(number)
                twins = [other for other in header.keyslots.values() if _way_to(other) == _way_to(slot)]
                if material and any(_material(other, read) == material for other in twins):
                    same.add(number)
        return same, blank

    def _read(self, path: str) -> Header:
        with open_volume(path, writable=False) as volume:
            self._places[path], self._sizes[path] = volume.identity, volume.node.size
            return read_header_locked(volume, self._lock_timeout)

    def _whole(self, path: str, places: t.Collection[t.Any]) -> str:
        if self._places[path] in places:
            return "is the volume itself, and is lost with it"
        header, size = self.headers[path], self._sizes[path]
        # Of a detached header, the data is not behind it: whatever is there is padding.
        begins = min((segment.offset for segment in header.segments), default=0)
        if begins and size > longest_backup(header):
            return f"has {size} bytes, of which a header backup has {image_size(header)}: it is a whole volume"
        return ""

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
                try:
                    verdicts = [prover.try_slot(secret, number) for secret in range(len(labels))]
                except StorageFault as error:
                    untried[number] = error.found
                    continue
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


def _way_to(slot: Keyslot) -> Keyslot:
    """Whatever leads from a secret to the key."""
    return slot._replace(number=0, area=Extent(0, 0), priority="", digests=())


def _material(slot: Keyslot, read: Read) -> bytes:
    """Empty if the file ends before it."""
    try:
        return read(slot.area.offset, min(material_size(slot), slot.area.size))
    except StorageFault:
        return b""


def _keys(header: Header) -> t.Set[t.Tuple[bytes, bytes]]:
    return {(digest.salt, digest.value) for digest in header.digests if digest.value}
