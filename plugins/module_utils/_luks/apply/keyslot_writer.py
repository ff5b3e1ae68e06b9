# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Make one keyslot: choose parameters, derive the key, write the key material, read it back and open it."""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import typing as t

from ..crypto import cipher, kdf
from ..crypto.memory import wipe
from ..errors import BudgetExceeded, HeaderChanged, LuksmithError, Refused, StorageFault
from ..header.model import PRIORITY_NORMAL, Extent, Header, Kdf, Keyslot
from ..plan.types import Action, KdfChoice
from ..required import required
from ..task.desired import Costs, Desired
from ..unlock import key_material
from ..unlock.derivations import Measurement
from ..unlock.hints import labelled_salt
from ..unlock.prover import Prover
from .header_writer import HeaderWriter
from .kdf_policy import Precedents, choose, to_time

if t.TYPE_CHECKING:
    from .way_back import HeaderCopy


@dataclasses.dataclass(frozen=True)
class SlotKeys:
    """Parameters and the key derived with them. It may seal several areas (a LUKS1 rekey makes a copy).

    inside: the key that is sealed: the volume key, or with ``own_key`` that of an unbound keyslot.
    """

    kdf: Kdf
    key: bytearray
    inside: bytearray
    own_key: bool = False


@dataclasses.dataclass(frozen=True)
class KeyslotWriter:
    """Makes keyslots on ``disk``.

    memory_limit: KiB that Argon2 may use on this host if nothing else sets the memory cost.
    choices: decided earlier for these actions, whose keys are derived already.
    record:  the salt of a new LUKS1 keyslot may carry its label.
    tokens:  secret -> members of the token that keeps it.
    copies:  of a plan that copies the header.
    """

    disk: HeaderWriter
    prover: Prover
    desired: Desired
    memory_limit: int
    choices: t.Mapping[Action, KdfChoice] = dataclasses.field(default_factory=dict)
    record: bool = False
    tokens: t.Mapping[int, t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    copies: t.Optional[HeaderCopy] = None

    @property
    def way_back(self) -> HeaderCopy:
        return required(self.copies)

    @contextlib.contextmanager
    def prepare(self, action: Action, area: Extent) -> t.Iterator[SlotKeys]:
        """The key for the secret of ``action``, with the parameters that :mod:`.kdf_policy` chooses; wiped at the end.

        Raises Refused if no secret opens the volume, and what :func:`choice_for`, :meth:`.Derivations.derive` and
        :func:`_own_key` raise.
        """
        header = self.disk.header
        volume_key = bytearray() if action.own_key else self.prover.need_volume_key()
        choice = self.choices.get(action) or choice_for(
            action, header, self.prover, self.desired, self.memory_limit, record=self.record
        )
        parameters = choice.kdf
        key = self.prover.derivations.derive(
            required(action.secret), parameters, key_length(header, required(action.keyslot), parameters)
        )
        own_key = bytearray()
        try:
            if action.own_key:
                own_key = _own_key(self.prover, required(action.keyslot), self.disk)
            yield SlotKeys(parameters, key, own_key or volume_key, action.own_key)
        finally:
            if action.own_key:
                wipe(own_key)
            wipe(key)

    def place(self, number: int, area: Extent, keys: SlotKeys) -> None:
        """Seal the key into ``area`` and open what the medium gives back; the header does not list it yet.

        Raises StorageFault if that does not open, and what :meth:`.HeaderWriter.write_area` raises.
        """
        slot = self.disk.header.new_keyslot(number, keys.kdf, area, own_key=keys.own_key)
        back = self.disk.write_area(area, key_material.seal(slot, keys.key, keys.inside))
        opened = key_material.unseal(slot, keys.key, back)
        try:
            if not hmac.compare_digest(opened, keys.inside):
                raise StorageFault(
                    f"the key material for keyslot {number}, read back from the medium, does not open",
                    why="the medium or its driver loses writes: replace it",
                )
        finally:
            wipe(opened)

    def check_proofs(self) -> None:
        """Raises HeaderChanged if key material that opened has changed: it must not justify erasing another one."""
        for number in self.prover.stale(self.disk.header, self.disk.reread):
            raise HeaderChanged(
                f"the key material of keyslot {number} is no longer what a secret of this task opened",
                why="another program changed it despite the locks, and this plan relies on that keyslot",
                remedy="find out what else changes this volume, then run the task again",
            )

    def token(self, action: Action) -> t.Optional[t.Mapping[str, t.Any]]:
        return self.tokens.get(required(action.secret))

    def priority(self, action: Action) -> str:
        return priority_to_set(action, self.disk.header)


def _own_key(prover: Prover, keyslot: int, disk: HeaderWriter) -> bytearray:
    """The key in an unbound keyslot that a secret has opened; the caller wipes it. Nothing is derived again.

    Raises HeaderChanged if the key material is another one since, and what a read of it raises.
    """
    slot = disk.header.keyslots[keyslot]
    derived = prover.derivations.derive(prover.openers()[keyslot][0], slot.kdf, slot.area_key_size)
    try:
        key = key_material.unseal(slot, derived, disk.reread(slot.area.offset, key_material.material_size(slot)))
    finally:
        wipe(derived)
    if not any(key_material.matches(digest, key) for digest in key_material.digests_of(disk.header, slot)):
        wipe(key)
        raise HeaderChanged(
            f"the key material of keyslot {keyslot} is no longer what a secret of this task opened",
            why="another program changed it despite the locks",
            remedy="find out what else changes this volume, then run the task again",
        )
    return key


def priority_to_set(action: Action, header: Header) -> str:
    """The priority of the action, else the one that the keyslot has."""
    if action.priority is not None:
        return action.priority
    slot = header.keyslots.get(required(action.keyslot))
    return slot.priority if slot else PRIORITY_NORMAL


def key_length(header: Header, keyslot: int, parameters: Kdf) -> int:
    """Bytes of the derived key that seals the area of a new keyslot. Raises Refused if the format cannot hold one."""
    return _new_keyslot(header, keyslot, parameters).area_key_size


def _new_keyslot(header: Header, keyslot: int, parameters: Kdf) -> Keyslot:
    """What the keyslot would be; on LUKS2 the offset of its area is not decided yet."""
    layout = header.layout
    area = layout.fixed[keyslot] if layout.fixed is not None else Extent(layout.window.offset, layout.unit)
    return header.new_keyslot(keyslot, parameters, area)


def choice_for(
    action: Action, header: Header, prover: Prover, desired: Desired, memory_limit: int, *, record: bool
) -> KdfChoice:
    """The key derivation for the keyslot that ``action`` makes; check mode shows it, the real run uses it.

    Raises Refused if it would cost more than the task or this host allows, and Unsupported if this host lacks the
    cipher or the hash of the new keyslot: both before the first write.
    """
    choice = _choice(action, header, prover, desired, memory_limit, record=record)
    slot = _new_keyslot(header, required(action.keyslot), choice.kdf)
    cipher.check(slot.encryption, slot.area_key_size)
    kdf.hash_size(slot.af_hash)
    try:
        kdf.check(choice.kdf, budget=prover.derivations.budget)
    except BudgetExceeded as error:
        raise Refused(
            f"the key derivation for the new secret of keyslot {action.keyslot} would cost too much: {error.found}",
            why=error.why,
            remedy="give that entry lower pbkdf costs, or raise kdf_limits",
        ) from None
    return choice


def _choice(
    action: Action, header: Header, prover: Prover, desired: Desired, memory_limit: int, *, record: bool
) -> KdfChoice:
    number = required(action.keyslot)
    if action.temporary_slot is not None:
        # The copy of an interrupted rekey was made with the right parameters.
        return KdfChoice(header.keyslots[action.temporary_slot].kdf)
    # The costs of a keyslot that no given secret opens say nothing about this secret, and may be hostile.
    proven = number in header.keyslots and number in prover.openers()
    measured = prover.measured
    precedents = Precedents(
        replaced=header.keyslots[number].kdf if proven else None,
        opener=measured.kdf if measured else None,
        measured=measured,
        memory_limit=memory_limit,
        budget=prover.derivations.budget,
    )
    if measured is None:
        precedents = dataclasses.replace(precedents, measured=_timed(action, header, prover, desired, precedents))
    return _choose(action.entry, header, desired, precedents, label=action.label if record else "")


def _timed(
    action: Action, header: Header, prover: Prover, desired: Desired, precedents: Precedents
) -> t.Optional[Measurement]:
    """A derivation measured for the new keyslot, because a given volume key opened none; None if it is not needed."""
    wanted = to_time(_costs(action.entry, desired)[0], _in_format(precedents, header))
    if wanted is None:
        return None
    try:
        length = key_length(header, required(action.keyslot), wanted)
        return prover.derivations.time(wanted, length)
    except LuksmithError:  # the choice is checked later, with words for its entry
        return None


def choice_if_opened(
    entry: int, keyslot: int, header: Header, desired: Desired, memory_limit: int, budget: kdf.Budget, *, record: bool
) -> t.Optional[KdfChoice]:
    """What :func:`choice_for` returns if the old secret of ``entry`` opens ``keyslot``; None if it must measure."""
    stored = header.keyslots[keyslot].kdf
    label = desired.labels[required(desired.entries[entry].new_secret)] if record else ""
    choice = _choose(
        entry,
        header,
        desired,
        Precedents(replaced=stored, opener=stored, memory_limit=memory_limit, budget=budget),
        label=label,
    )
    return None if choice.measured else choice


def _choose(
    entry: t.Optional[int], header: Header, desired: Desired, precedents: Precedents, *, label: str
) -> KdfChoice:
    precedents = _in_format(precedents, header)
    if header.format == "luks1" and label:
        precedents = dataclasses.replace(precedents, salt=labelled_salt(label))
    return choose(*_costs(entry, desired), precedents)


def _in_format(precedents: Precedents, header: Header) -> Precedents:
    only_hash = header.digests[0].hash if header.format == "luks1" else ""
    return dataclasses.replace(precedents, only_hash=only_hash)


def _costs(entry: t.Optional[int], desired: Desired) -> t.Tuple[Costs, t.Optional[int]]:
    """Costs and iter_time of the entry; those of a binding, whose key is random, are those of its program."""
    if entry is not None and desired.entries[entry].binding is not None:
        return Costs(type="pbkdf2", hash="sha256", iterations=1000), None
    return (Costs(), None) if entry is None else (desired.entries[entry].costs, desired.entries[entry].iter_time)
