# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Proofs by derivation: which secret opens which slot, each question derived at most once, and counted."""

from __future__ import annotations

import dataclasses
import hmac
import time
import typing as t

from ..crypto import kdf
from ..crypto.memory import wipe
from ..errors import LuksmithError, Refused
from ..header.model import Header, Kdf, Keyslot, Pbkdf2
from . import material
from .vocabulary import Verdict

Read = t.Callable[[int, int], bytes]


class HoldsBytes(t.Protocol):
    @property
    def value(self) -> bytearray:
        """The bytes of a secret."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One derivation that opened a slot: the only benchmark that this collection ever runs."""

    kdf: Kdf
    length: int
    seconds: float


class Derivations:
    """Derives slot keys, and counts: ``evaluations`` is what the result calls ``kdf_evaluations``."""

    def __init__(self, secrets: t.Sequence[HoldsBytes], budget: kdf.Budget) -> None:
        self.secrets = secrets
        self.budget = budget
        self.evaluations = 0

    def derive(self, secret: int, parameters: Kdf, length: int) -> bytearray:
        """``length`` bytes. Raises Unsupported or BudgetExceeded."""
        self.evaluations += 1
        return kdf.derive(parameters, self.secrets[secret].value, length, budget=self.budget)

    def same_input(self, one: int, other: int, parameters: Kdf) -> bool:
        """Would both secrets derive the same key here? HMAC pads a short key with zeros and hashes a long one."""
        left = _effective(self.secrets[one].value, parameters)
        right = _effective(self.secrets[other].value, parameters)
        try:
            return hmac.compare_digest(left, right)
        finally:
            wipe(left)
            wipe(right)


def _effective(value: bytearray, parameters: Kdf) -> bytearray:
    if not isinstance(parameters, Pbkdf2):
        return bytearray(value)
    digest = kdf.new_hash(parameters.hash)
    if len(value) > digest.block_size:
        digest.update(value)
        return bytearray(digest.digest())
    padded = bytearray(digest.block_size)
    padded[: len(value)] = value
    return padded


class Prover:
    """Answers of :class:`.vocabulary.Proofs` for one volume whose header was read as ``header``.

    A slot holds one key: once a secret has opened it, any other secret that would enter the derivation as different
    bytes cannot, and one that would enter it as the same bytes does. Neither costs another derivation.
    """

    def __init__(self, header: Header, read: Read, derivations: Derivations, hints: t.Mapping[int, int]) -> None:
        self.header = header
        self.derivations = derivations
        self.volume_key: t.Optional[bytearray] = None
        self.measured: t.Optional[Measurement] = None
        self._read = read
        self._hints = hints
        self._opened_by: t.Dict[int, int] = {}
        self._closed: t.Dict[int, t.List[int]] = {}
        self._untriable: t.Dict[int, str] = {}

    def why_untried(self, keyslot: int) -> str:
        if keyslot not in self._untriable:
            slot = self.header.keyslots[keyslot]
            self._untriable[keyslot] = self._out_of_reach(slot) or material.why_untriable(
                slot, material.digests_of(self.header, slot), self.derivations.budget
            )
        return self._untriable[keyslot]

    def _out_of_reach(self, slot: Keyslot) -> str:
        if slot.number >= self.header.slot_count:
            return f"keyslots are numbered 0 to {self.header.slot_count - 1}, and cryptsetup does not open others either"
        end = slot.area.offset + material.material_size(slot)
        if end > self.header.extent and slot.key_size <= material.LARGEST_KEY:
            return f"its key material would end at byte {end}, but the room for keyslots ends at byte {self.header.extent}"
        return ""

    def hint(self, secret: int) -> t.Optional[int]:
        return self._hints.get(secret)

    def verdict(self, secret: int, keyslot: int) -> Verdict:
        slot = self.header.keyslots.get(keyslot)
        return Verdict.CLOSED if slot is None or not slot.bound else self.try_slot(secret, keyslot)

    def try_slot(self, secret: int, keyslot: int) -> Verdict:
        """Like :meth:`verdict`, for unbound slots too (they open something, though not the volume)."""
        if self.why_untried(keyslot):
            return Verdict.UNTRIED
        slot = self.header.keyslots[keyslot]
        opener = self._opened_by.get(keyslot)
        if opener is not None:
            same = opener == secret or self.derivations.same_input(opener, secret, slot.kdf)
            return Verdict.OPENS if same else Verdict.CLOSED
        if self._known_closed(secret, slot):
            return Verdict.CLOSED
        if self._derive_and_check(secret, slot):
            self._opened_by[keyslot] = secret
            return Verdict.OPENS
        self._closed.setdefault(keyslot, []).append(secret)
        return Verdict.CLOSED

    def _known_closed(self, secret: int, slot: Keyslot) -> bool:
        return any(tried == secret or self.derivations.same_input(tried, secret, slot.kdf) for tried in self._closed.get(slot.number, ()))

    def _derive_and_check(self, secret: int, slot: Keyslot) -> bool:
        started = time.monotonic()
        key = self.derivations.derive(secret, slot.kdf, slot.area_key_size)
        seconds = time.monotonic() - started
        try:
            candidate = material.unseal(slot, key, self._read(slot.area.offset, material.material_size(slot)))
        finally:
            wipe(key)
        if self.volume_key is not None and slot.bound:
            opened = hmac.compare_digest(candidate, self.volume_key)
            wipe(candidate)
        else:
            opened = any(material.matches(digest, candidate) for digest in material.digests_of(self.header, slot))
            if opened and slot.bound:
                self.volume_key = candidate
            else:
                wipe(candidate)
        if opened and self.measured is None:
            self.measured = Measurement(slot.kdf, slot.area_key_size, seconds)
        return opened

    def openers(self) -> t.Dict[int, t.Tuple[int, ...]]:
        """What is known by now: slot -> the secrets that open it. Asks nothing new."""
        secrets = range(len(self.derivations.secrets))
        return {keyslot: tuple(secret for secret in secrets if self.try_slot(secret, keyslot) is Verdict.OPENS) for keyslot in sorted(self._opened_by)}

    def tried(self) -> t.Set[int]:
        """Slots that some secret opens, and slots that every secret was tried on: of the others nobody knows. Asks nothing new."""
        secrets = range(len(self.derivations.secrets))
        refused = {keyslot for keyslot in self._closed if all(self._known_closed(secret, self.header.keyslots[keyslot]) for secret in secrets)}
        return set(self._opened_by) | refused

    def need_volume_key(self) -> bytearray:
        """The volume key that a verdict brought. The planner has proven an opener before any action that needs it."""
        if self.volume_key is None:
            raise Refused(
                "no secret of this task opens a keyslot of the volume", why="the volume key is needed", remedy="give a secret that works today under unlock"
            )
        return self.volume_key

    def close(self) -> None:
        if self.volume_key is not None:
            wipe(self.volume_key)
            self.volume_key = None


class RecordProver(Prover):
    """Verdicts from the record alone (``verify: record``): no derivation, and no proof either.

    The record is forgeable and blind to a damaged area; the caller reports such answers as unverified and plans again
    with real proofs before anything is written.
    """

    def __init__(self, header: Header, derivations: Derivations, remembered: t.Mapping[int, t.Collection[int]]) -> None:
        super().__init__(header, _no_reading, derivations, {})
        self._remembered = remembered

    def try_slot(self, secret: int, keyslot: int) -> Verdict:
        return Verdict.OPENS if secret in self._remembered.get(keyslot, ()) else Verdict.CLOSED


def _no_reading(offset: int, length: int) -> bytes:
    raise LuksmithError(f"{length} bytes at {offset} were asked for, and the record needs no key material")
