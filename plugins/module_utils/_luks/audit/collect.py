# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Collects the evidence of one volume: reads header and key material, tries secrets. Neither judges nor writes."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
import typing as t

from ..crypto import fips, kdf
from ..errors import BudgetExceeded, LuksmithError
from ..header import signatures
from ..header.luks1.codec import Luks1Header
from ..header.luks2.codec import Luks2Header
from ..header.model import Header, Keyslot
from ..task.secrets import Secret
from ..unlock import key_material
from ..unlock.hints import fingerprint
from ..unlock.prover import Prover
from ..unlock.session import UnlockSession
from ..volume.storage import Region, Volume
from . import randomness
from .audit_task import AuditTask
from .backups import BackupFiles
from .evidence import NOTHING_ASKED, Asked, Evidence
from .stored import Stored
from .tokens import is_random_key, is_token_key

_EMPTY = "the empty secret"


class EvidenceCollector:
    """The evidence of one header. ``unlock``: opens a session for secrets; ``evaluations``: the number of derivations.

    Raises StorageFault if key material cannot be read.
    """

    def __init__(
        self,
        task: AuditTask,
        volume: Volume,
        header: Header,
        backup_files: BackupFiles,
        unlock: t.Callable[[t.Sequence[Secret]], UnlockSession],
        now: datetime.datetime,
    ) -> None:
        self.evaluations = 0
        self._task = task
        self._unlock = unlock
        self._volume = volume
        self._header = header
        self._backup_files = backup_files
        self._now = now
        self._areas = self._measure_areas()
        self._padding: t.Optional[int] = None
        self._prints: t.Dict[str, t.Any] = {}
        self._empty_tried = False
        self._asked = NOTHING_ASKED
        self.warnings: t.List[str] = []

    def evidence(self) -> Evidence:
        """Try the secrets and collect the rest.

        Raises LuksmithError if the volume or a backup can no longer be read.
        """
        task, header = self._task, self._header
        recorded = self._recorded()
        opened_by, untried, empty, machine_made = self._try_secrets(recorded)
        self._try_volume_keys()
        opened_by.update(recorded)
        numbers = dict.fromkeys((*task.forbidden, *task.older))
        forbidden = [(task.secrets[number], task.labels[number]) for number in numbers]
        allowed = [
            (task.secrets[number], task.labels[number])
            for number in (task.allowed if self._backup_files.headers else ())
            if number not in numbers and task.secrets[number].token is None
        ]
        backups, evaluations = self._backup_files.of(
            header,
            self._volume.region.reread,
            forbidden,
            allowed,
            self._unlock,
            (self._volume.identity, self._volume.payload_identity),
        )
        self.evaluations += evaluations
        return Evidence(
            header=header,
            container=self._volume.container,
            detached=self._volume.payload is not None,
            data_size=self._data_size(),
            raw=b"".join(header.image()),
            metadata=header.metadata if isinstance(header, Luks2Header) else {},
            labels=tuple(task.labels[number] for number in task.allowed),
            forbidden=tuple(task.labels[number] for number in task.forbidden),
            opened_by=dict(sorted(opened_by.items())),
            recorded=frozenset(recorded),
            untried=untried,
            empty=frozenset(empty),
            machine_made=frozenset(machine_made),
            beyond_limits=self._beyond_limits(),
            areas=self._areas,
            signature=None
            if self._volume.container == "qcow2"
            else signatures.signature(self._volume.region.reread, self._volume.region.size),
            backups=backups,
            unread_backups=self._backup_files.unread,
            now=self._now,
            prints=self._prints,
            grub=task.grub,
            key_padding=self._padding,
            fips=fips.active(),
            stored=self._stored(),
            luksmeta=self._luksmeta(),
            empty_tried=self._empty_tried and not recorded,
            asked=self._asked,
        )

    def _luksmeta(self) -> t.Dict[int, bytes]:
        header, found = self._header, {}
        if isinstance(header, Luks1Header):
            for token in header.tokens:
                with contextlib.suppress(LuksmithError):
                    found[token.number] = header.luksmeta_content(self._volume.region.reread, token.number)
        return found

    def _stored(self) -> t.Optional[Stored]:
        stored = self._task.stored
        if stored is None or stored.uuid in ("", self._header.uuid.lower()):
            return stored
        return Stored(problem="another volume is at this path than when the store was asked")

    def _data_size(self) -> t.Optional[int]:
        volume = self._volume
        if volume.container == "qcow2":
            return int.from_bytes(Region(volume.node, 0, volume.node.size).reread(24, 8), "big")  # its virtual size
        begin = min((segment.offset for segment in self._header.segments), default=0)
        return max((volume.payload or volume.node).size - begin, 0)

    def _recorded(self) -> t.Dict[int, t.Tuple[str, ...]]:
        """The openers by the record, for keyslots unchanged since; only with ``verify: record``."""
        header = self._header
        found: t.Dict[int, t.Tuple[str, ...]] = {}
        for number, entry in header.record.items() if self._task.by_record else ():
            slot, area = header.keyslots.get(number), self._areas.get(number)
            if slot is not None and entry.fingerprint == fingerprint(slot.kdf) and not (area and area.odd):
                found[number] = (entry.label,)
        return found

    def _try_secrets(
        self, recorded: t.MutableMapping[int, t.Tuple[str, ...]]
    ) -> t.Tuple[t.Dict[int, t.Tuple[str, ...]], t.Dict[int, str], t.List[int], t.List[int]]:
        """The openers, what could not be tried and why, the keyslots that the empty secret opens, and a random key.

        What a token proves or refutes is taken out of ``recorded``.
        """
        secrets, labels = list(self._task.secrets), list(self._task.labels)
        slots = [slot for slot in self._header.keyslots.values() if slot.number not in recorded]
        if not secrets:
            return {}, {slot.number: "no secret was given" for slot in slots}, [], []
        if self._task.policy.try_empty_secret and all(secret.value for secret in secrets):
            secrets.append(Secret(bytearray(), (_EMPTY,)))
            labels.append(_EMPTY)
        order = {slot.number: self._order_for(slot, labels) for slot in slots}
        by_token = {number for number, secret in enumerate(secrets) if secret.token is not None}
        with self._unlock(secrets) as session:
            prover = session.prover(self._header, self._volume.region.reread)
            prover.expect(((secret, keyslot) for keyslot, numbers in order.items() for secret in numbers), unbound=True)
            untried, refused = {}, set()
            for keyslot, numbers in order.items():
                reason, empty_refused = _try_all(prover, keyslot, numbers, secrets)
                if reason:
                    untried[keyslot] = reason
                if empty_refused:
                    refused.add(keyslot)
            for keyslot in [keyslot for keyslot in recorded if _refuted(prover, keyslot)]:
                numbers = self._order_for(self._header.keyslots[keyslot], labels)
                reason, empty_refused = _try_all(prover, keyslot, numbers, secrets)
                untried.update({keyslot: reason} if reason else {})
                refused.update([keyslot] if empty_refused else [])
                del recorded[keyslot]
            self._empty_tried = not untried and not refused and not all(secret.value for secret in secrets)
            openers = prover.openers()
            for keyslot in openers:
                recorded.pop(keyslot, None)
            self._asked = _answers(prover, labels, openers, by_token)
            random = [
                keyslot
                for keyslot, found in openers.items()
                if found
                and all(
                    (is_token_key if one in by_token else is_random_key)(session.derivations.secrets[one].value)
                    for one in found
                )
            ]
            self.warnings += prover.token_failures()
            if prover.volume_key is not None:
                self._padding = _zeros_at_the_end(prover.volume_key)
                people = {keyslot: set(found) - by_token for keyslot, found in openers.items()}
                self._take_prints(prover.volume_key, people, secrets, labels)
            self.evaluations += session.evaluations
        opened_by = {keyslot: tuple(labels[secret] for secret in found) for keyslot, found in openers.items()}
        empty = [keyslot for keyslot, found in openers.items() if any(not secrets[secret].value for secret in found)]
        known = set(self._task.labels)
        shown = {keyslot: tuple(label for label in found if label in known) for keyslot, found in opened_by.items()}
        return {keyslot: found for keyslot, found in shown.items() if found}, untried, empty, random

    def _try_volume_keys(self) -> None:
        """They open no keyslot, and say what the volume key is like where no secret gave it."""
        for key in self._task.volume_keys:
            reason = key_material.why_not_the_key(self._header, key.value, self._task.budget)
            if reason:
                self.warnings.append(f"the volume key {key.labels[0]} is not that of the volume: {reason}")
            elif self._padding is None:
                self._padding = _zeros_at_the_end(key.value)
                self._take_prints(key.value, {}, (), ())

    def _take_prints(
        self,
        volume_key: bytearray,
        openers: t.Mapping[int, t.Collection[int]],
        secrets: t.Sequence[Secret],
        labels: t.Sequence[str],
    ) -> None:
        """Only while the keys are there; the fingerprints tell nobody anything who has not their key."""
        key, shared = self._task.prints_key, self._task.policy.shared_labels
        if not key:
            return
        numbers = {number for slot, found in openers.items() if self._header.keyslots[slot].bound for number in found}
        told = {labels[number]: secrets[number].value for number in sorted(numbers) if secrets[number].value}
        self._prints = {
            "volume_key": _print(key, b"volume key", volume_key),
            "secrets": {label: _print(key, b"secret", value) for label, value in told.items() if label not in shared},
        }

    def _order_for(self, slot: Keyslot, labels: t.Sequence[str]) -> t.List[int]:
        """The numbers of the secrets, first the one that the record names for the keyslot."""
        entry = self._header.record.get(slot.number)
        return sorted(range(len(labels)), key=lambda number: (entry is None or labels[number] != entry.label, number))

    def _measure_areas(self) -> t.Dict[int, randomness.Randomness]:
        found = {}
        for number, slot in self._header.keyslots.items():
            if slot.kind in ("luks1", "luks2") and slot.key_size:
                size = min(
                    key_material.material_size(slot),
                    slot.area.size,
                    max(self._volume.region.size - slot.area.offset, 0),
                )
                found[number] = randomness.measure(self._volume.region.reread(slot.area.offset, size))
        return found

    def _beyond_limits(self) -> t.Dict[int, str]:
        found = {}
        for number, slot in self._header.keyslots.items():
            try:
                kdf.check(slot.kdf, budget=self._task.budget)
            except BudgetExceeded as error:
                found[number] = f"{error.found}, {error.why}"
            except LuksmithError:
                continue
        return found


def _refuted(prover: Prover, keyslot: int) -> bool:
    """Whether a token of the keyslot gave a secret that does not open it."""
    gave = {
        number
        for yielded in prover.yielded.values()
        for number in (*yielded.stale, *([yielded.token.number] if yielded.token else []))
        if keyslot not in yielded.keyslots
    }
    return any(keyslot in token.keyslots and token.number in gave for token in prover.header.tokens)


def _answers(
    prover: Prover,
    labels: t.Sequence[str],
    openers: t.Mapping[int, t.Collection[int]],
    by_token: t.Container[int],
) -> Asked:
    opens: t.Dict[int, t.FrozenSet[int]] = {}
    silent: t.Dict[int, str] = {}
    for yielded in prover.yielded.values():
        silent.update(yielded.silent)
        opens.update((number, frozenset()) for number in yielded.stale if number not in opens)
        if yielded.token is not None:
            opens[yielded.token.number] = frozenset(yielded.keyslots)
    return Asked(
        opens=opens,
        silent={number: why for number, why in silent.items() if number not in opens},
        labels={
            labels[secret]: "; ".join(f"token {number}: {why}" for number, why in yielded.silent)
            for secret, yielded in prover.yielded.items()
            if yielded.token is None and yielded.silent
        },
        alone=frozenset(
            keyslot for keyslot, found in openers.items() if found and all(secret in by_token for secret in found)
        ),
    )


def _print(key: bytes, kind: bytes, value: bytearray) -> str:
    made = hmac.new(key, kind + b"\0", hashlib.sha256)
    made.update(value)
    return made.hexdigest()


def _zeros_at_the_end(key: bytearray) -> int:
    """Its bytes are not copied."""
    return next((count for count, byte in enumerate(reversed(key)) if byte), len(key))


def _try_all(prover: Prover, keyslot: int, numbers: t.Sequence[int], secrets: t.Sequence[Secret]) -> t.Tuple[str, bool]:
    """Why ``keyslot`` could not be tried, or ""; and whether the library refused to derive anything from nothing."""
    reason, refused = prover.why_untried(keyslot), False
    if reason:
        return reason, False
    for number in numbers:
        try:
            prover.try_slot(number, keyslot)
        except LuksmithError as error:
            if secrets[number].value:
                return error.found, False
            refused = True  # the empty secret then opens nothing on this host
    return "", refused
