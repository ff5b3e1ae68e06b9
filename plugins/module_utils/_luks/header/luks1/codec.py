# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""LUKS1 as a :class:`~.model.Header`. It keeps the 1024 bytes as they were read; an edit patches and parses them again.

Sources: LUKS On-Disk Format Specification 1.2.3; what cryptsetup 2.6.1 and QEMU 7.2 leave in a keyslot that they erase.
"""

from __future__ import annotations

import typing as t

from ...errors import LuksmithError, Refused
from .. import model
from ..reading import Read
from . import fields as luks1_fields
from . import journal, writes
from .luksmeta import Luksmeta, read_luksmeta

NO_LUKSMETA = Luksmeta()


def parse(read: Read, size: int, *, embedded: bool = False) -> Luks1Header:
    """Header from ``size`` available bytes; ``embedded``: in a container that keeps the payload elsewhere (qcow2).

    Raises what :func:`.fields.read_raw` raises, and MalformedHeader if the header breaks the format.
    """
    # QEMU leaves no gap behind the keyslots, and inside a container luksmeta finds no volume.
    gap = None if embedded else read
    return Luks1Header(luks1_fields.read_raw(read, size), size, embedded=embedded, gap=gap)


class Luks1Header(model.Header):
    """``raw``: the 1024 bytes; ``size``: bytes from the start of the header to the end of the file, device or region.

    ``luksmeta``: what other programs note about its keyslots in the gap behind them, which no edit of the header
    changes; ``gap``: reads it from there.
    Raises MalformedHeader if ``raw`` breaks the format.
    """

    def __init__(
        self,
        raw: bytes,
        size: int,
        *,
        embedded: bool = False,
        gap: t.Optional[Read] = None,
        luksmeta: Luksmeta = NO_LUKSMETA,
    ) -> None:
        self._raw = bytes(raw)
        self._size = size
        self._embedded = embedded
        self._fields = fields = luks1_fields.decode(self._raw)
        luks1_fields.check_areas(fields, size)
        if gap is not None:
            luksmeta = read_luksmeta(gap, size, [slot.area for slot in fields.slots], fields.payload)
        self._luksmeta = luksmeta
        padding = journal.decode(self._raw)
        self._obstacle = padding.obstacle
        # Hashes are looked up in lower case; the raw bytes keep the spelling of the header.
        self._hash = fields.hash.lower()
        self.format = "luks1"
        self.uuid = fields.uuid
        self.label = ""
        self.subsystem = ""
        self.cipher = fields.cipher
        self.key_size = fields.key_size
        self.slot_count = luks1_fields.SLOT_COUNT
        self.keyslots = {
            number: self._keyslot(number, self._stored_kdf(slot))
            for number, slot in enumerate(fields.slots)
            if slot.active
        }
        self.digests = (
            model.Digest(
                number=0,
                type="pbkdf2",
                hash=self._hash,
                iterations=fields.digest_iterations,
                salt=fields.digest_salt,
                value=fields.digest,
                keyslots=tuple(self.keyslots),
                segments=(0,),
            ),
        )
        self.segments = (
            model.Segment(
                number=0,
                type="crypt",
                offset=fields.payload,
                size=None,
                encryption=fields.cipher,
                sector_size=model.SECTOR,
            ),
        )
        self.tokens = luksmeta.tokens
        self.requirements = ()
        self.intent = padding.intent
        self.record = {}
        self.extent = luks1_fields.extent(fields)
        told = (luksmeta.warning,) if luksmeta.warning else ()
        self.warnings = (*luks1_fields.oddities(fields, size, embedded), *padding.warnings, *told)
        self.health = {"primary": "ok"}

    def _stored_kdf(self, slot: luks1_fields.Slot) -> model.Pbkdf2:
        return model.Pbkdf2(hash=self._hash, iterations=slot.iterations, salt=slot.salt)

    def _keyslot(self, number: int, kdf: model.Kdf) -> model.Keyslot:
        return model.Keyslot(
            number=number,
            kind="luks1",
            key_size=self._fields.key_size,
            kdf=kdf,
            af_hash=self._hash,
            af_stripes=luks1_fields.STRIPES,
            area=self._fields.slots[number].area,
            encryption=self._fields.cipher,
            area_key_size=self._fields.key_size,
        )

    @property
    def layout(self) -> model.Layout:
        return model.Layout(
            slot_count=self.slot_count,
            taken={number: slot.area for number, slot in self.keyslots.items()},
            fixed={number: slot.area for number, slot in enumerate(self._fields.slots)},
        )

    @property
    def write_obstacle(self) -> t.Optional[LuksmithError]:
        return self._obstacle

    @property
    def needs_heal(self) -> bool:
        return False

    def refusal_to_hold(self, kdf: model.Kdf, priority: str) -> t.Optional[str]:
        if not isinstance(kdf, model.Pbkdf2):
            return f"LUKS1 keyslots support only pbkdf2, not {kdf.type}"
        if kdf.hash.lower() != self._hash:
            return f"all LUKS1 keyslots use the hash of the header, {self._hash}; {kdf.hash} is not possible"
        if priority != model.PRIORITY_NORMAL:
            return "LUKS1 keyslots have no priority"
        return None

    def _checked(self, number: int) -> None:
        if not 0 <= number < self.slot_count:
            raise Refused(f"keyslot {number} does not exist", why=f"LUKS1 has keyslots 0 to {self.slot_count - 1}")

    def _accepted(self, number: int, kdf: model.Kdf, area: model.Extent, priority: str) -> model.Pbkdf2:
        self._checked(number)
        refusal = self.refusal_to_hold(kdf, priority)
        if refusal is not None or not isinstance(kdf, model.Pbkdf2):
            raise Refused(refusal or "LUKS1 keyslots support only pbkdf2")
        if not 1 <= kdf.iterations <= luks1_fields.MAX_ITERATIONS or len(kdf.salt) != luks1_fields.SALT_SIZE:
            raise Refused(
                f"a LUKS1 keyslot cannot hold {kdf.iterations} iterations with a salt of {len(kdf.salt)} bytes",
                why=f"it takes 1 to {luks1_fields.MAX_ITERATIONS} iterations and a salt of {luks1_fields.SALT_SIZE} "
                "bytes",
            )
        if area != self._fields.slots[number].area:
            raise Refused(
                f"the key material of keyslot {number} cannot lie at byte {area.offset}",
                why="LUKS1 gives each keyslot one fixed place",
            )
        return kdf

    def new_keyslot(self, number: int, kdf: model.Kdf, area: model.Extent) -> model.Keyslot:
        """Raises Refused if LUKS1 cannot hold this number, derivation or area; the salt must have 32 bytes."""
        return self._keyslot(number, self._accepted(number, kdf, area, model.PRIORITY_NORMAL))

    def with_keyslot(
        self, number: int, kdf: model.Kdf, area: model.Extent, *, priority: t.Optional[str] = None
    ) -> Luks1Header:
        """Raises Refused as :meth:`new_keyslot` does, and if the priority is not normal."""
        accepted = self._accepted(number, kdf, area, priority or model.PRIORITY_NORMAL)
        return self._with_slot_fields(number, luks1_fields.ACTIVE, accepted.iterations, accepted.salt)

    def without_keyslot(self, number: int) -> Luks1Header:
        """State inactive, iterations 0, salt zero; offset and stripes stay, as cryptsetup and QEMU leave them.

        Raises Refused if there is no such keyslot.
        """
        self._checked(number)
        return self._with_slot_fields(number, luks1_fields.INACTIVE, 0, bytes(luks1_fields.SALT_SIZE))

    def with_priority(self, number: int, priority: str) -> Luks1Header:
        """Raises Refused if the priority is not normal."""
        self._checked(number)
        if priority != model.PRIORITY_NORMAL:
            raise Refused("LUKS1 keyslots have no priority")
        return self

    def with_intent(self, intent: t.Optional[model.Intent]) -> Luks1Header:
        """Raises Refused if only LUKS2 can have this intent."""
        return self._patched(journal.OFFSET, journal.encode(intent, self._raw))

    def with_record(self, entries: t.Mapping[int, model.RecordEntry]) -> Luks1Header:
        return self

    def _with_slot_fields(self, number: int, state: int, iterations: int, salt: bytes) -> Luks1Header:
        area = self._fields.slots[number].area
        packed = luks1_fields.SLOT.pack(state, iterations, salt, area.offset // model.SECTOR, luks1_fields.STRIPES)
        return self._patched(luks1_fields.SLOTS_OFFSET + number * luks1_fields.SLOT_SIZE, packed)

    def _patched(self, offset: int, data: bytes) -> Luks1Header:
        raw = self._raw[:offset] + data + self._raw[offset + len(data) :]
        return Luks1Header(raw, self._size, embedded=self._embedded, luksmeta=self._luksmeta)

    def commit_writes(self, on_disk: model.Header) -> t.Tuple[model.Write, ...]:
        """Sector by sector, see :mod:`.writes`. Raises HeaderChanged if ``on_disk`` is another header."""
        return writes.writes(on_disk.image()[0], self._raw)

    def after_commit(self, on_disk: model.Header) -> Luks1Header:
        return self

    def fingerprint_ranges(self) -> t.Tuple[model.Extent, ...]:
        return (model.Extent(0, luks1_fields.HEADER_SIZE),)

    def image(self) -> t.Tuple[bytes, ...]:
        return (self._raw,)
