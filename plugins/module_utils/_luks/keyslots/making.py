# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Making one keyslot: parameters, derivation, sealed material on the medium, proven by reading it back and opening it."""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import typing as t

from ..errors import StorageFault
from ..header.model import PRIORITY_NORMAL, Extent, Kdf
from . import material
from .costs import new_kdf
from .disk import Disk
from .observe import Prover
from .vocabulary import Action, Costs, Desired, given


@dataclasses.dataclass(frozen=True)
class Ingredients:
    """Parameters and the key derived with them; several areas may be sealed with it (a LUKS1 rekey needs a copy)."""

    kdf: Kdf
    key: bytearray
    volume_key: bytearray


@dataclasses.dataclass(frozen=True)
class Maker:
    """``memory_limit``: KiB that Argon2 may use on this host when nothing pins the memory cost."""

    disk: Disk
    prover: Prover
    desired: Desired
    memory_limit: int

    @contextlib.contextmanager
    def prepare(self, action: Action, area: Extent, *, kdf: t.Optional[Kdf] = None) -> t.Iterator[Ingredients]:
        """Derive once for the secret of ``action`` and a slot in ``area``, with ``kdf`` or with what :mod:`.costs` decides."""
        header = self.disk.header
        volume_key = self.prover.need_volume_key()
        if kdf is None:
            kdf = self._parameters(action)
        length = header.new_keyslot(given(action.keyslot), kdf, area).area_key_size
        key = self.prover.derivations.derive(given(action.secret), kdf, length)
        try:
            yield Ingredients(kdf, key, volume_key)
        finally:
            material.wipe(key)

    def place(self, number: int, area: Extent, ingredients: Ingredients) -> None:
        """Seal the volume key into ``area`` and open what the medium gives back. The header does not know it yet."""
        slot = self.disk.header.new_keyslot(number, ingredients.kdf, area)
        back = self.disk.write_area(area, material.seal(slot, ingredients.key, ingredients.volume_key))
        opened = material.unseal(slot, ingredients.key, back)
        try:
            if not hmac.compare_digest(opened, ingredients.volume_key):
                raise StorageFault(
                    f"the key material for keyslot {number}, read back from the medium, does not open",
                    why="the medium or its driver loses writes",
                    remedy="replace the medium",
                )
        finally:
            material.wipe(opened)

    def priority(self, action: Action) -> str:
        if action.priority is not None:
            return action.priority
        slot = self.disk.header.keyslots.get(given(action.keyslot))
        return slot.priority if slot else PRIORITY_NORMAL

    def _parameters(self, action: Action) -> Kdf:
        entry = None if action.entry is None else self.desired.entries[action.entry]
        header = self.disk.header
        number = given(action.keyslot)
        # What a stranger stored says nothing about what our secret needs, and may be hostile.
        replaced = header.keyslots[number].kdf if number in header.keyslots and number in self.prover.openers() else None
        measured = self.prover.measured
        return new_kdf(
            entry.costs if entry else Costs(),
            entry.iter_time if entry else None,
            replaced=replaced,
            opener=measured.kdf if measured else None,
            measured=measured,
            only_hash=header.digests[0].hash if header.format == "luks1" else "",
            memory_limit=self.memory_limit,
        )
