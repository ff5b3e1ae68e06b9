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
        self.intent, self._obstacle, odd_padding = self._padding()
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
                key_size=fields.key_size,
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
        self.record = {}
        self.extent = luks1_fields.extent(fields)
        told = (luksmeta.warning,) if luksmeta.warning else ()
        self.warnings = (*luks1_fields.oddities(fields, size, embedded), *odd_padding, *told)
        self.health = {"primary": "ok"}

    def _padding(self) -> t.Tuple[t.Optional[model.Intent], t.Optional[LuksmithError], t.Tuple[str, ...]]:
        """The intent in the padding of the header, the obstacle that it is, and warnings about it."""
        if not any(self._raw[luks1_fields.PADDING_OFFSET :]):
            return None, None, ()
        from . import journal

        return journal.decode(self._raw)

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

    def luksmeta_extent(self, read: Read) -> t.Optional[model.Extent]:
        """Where luksmeta keeps something, in whole pages from the first one behind the keyslots; None if nowhere."""
        from .luksmeta import extent

        return extent(read, self._size, [slot.area for slot in self._fields.slots], self._fields.payload)

    def luksmeta_content(self, read: Read, number: int) -> bytes:
        """What a program keeps in luksmeta for keyslot ``number``. Raises MalformedHeader."""
        from .luksmeta import content

        return content(read, self._size, [slot.area for slot in self._fields.slots], self._fields.payload, number)

    def luksmeta_removal(self, read: Read, number: int) -> t.Tuple[model.Write, ...]:
        """The writes that remove what luksmeta notes of keyslot ``number``."""
        areas = [slot.area for slot in self._fields.slots]
        from .luksmeta import removal

        return () if self._embedded else removal(read, self._size, areas, self._fields.payload, number)

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
        from . import edit

        return edit.refusal_to_hold(self._hash, kdf, priority)

    def new_keyslot(self, number: int, kdf: model.Kdf, area: model.Extent, *, own_key: bool = False) -> model.Keyslot:
        """Raises Refused if LUKS1 cannot hold this number, derivation or area; the salt must have 32 bytes."""
        from . import edit

        return self._keyslot(number, edit.accepted(self._fields, number, kdf, area, model.PRIORITY_NORMAL))

    def with_keyslot(
        self,
        number: int,
        kdf: model.Kdf,
        area: model.Extent,
        *,
        priority: t.Optional[str] = None,
        own_key: bool = False,
    ) -> Luks1Header:
        """Raises Refused as :meth:`new_keyslot` does, and if the priority is not normal."""
        from . import edit

        accepted = edit.accepted(self._fields, number, kdf, area, priority or model.PRIORITY_NORMAL)
        return self._with(edit.with_slot(self._raw, self._fields, number, accepted))

    def without_keyslot(self, number: int) -> Luks1Header:
        """Raises Refused if there is no such keyslot."""
        from . import edit

        return self._with(edit.without_slot(self._raw, self._fields, number))

    def with_priority(self, number: int, priority: str) -> Luks1Header:
        """Raises Refused if the priority is not normal."""
        from . import edit

        edit.check_number(number)
        if priority != model.PRIORITY_NORMAL:
            raise Refused("LUKS1 keyslots have no priority")
        return self

    def with_intent(self, intent: t.Optional[model.Intent]) -> Luks1Header:
        """Raises Refused if only LUKS2 can have this intent."""
        from . import edit

        return self._with(edit.with_intent(self._raw, intent))

    def with_record(self, entries: t.Mapping[int, model.RecordEntry]) -> Luks1Header:
        return self

    def _with(self, raw: bytes) -> Luks1Header:
        return Luks1Header(raw, self._size, embedded=self._embedded, luksmeta=self._luksmeta)

    def commit_writes(self, on_disk: model.Header) -> t.Tuple[model.Write, ...]:
        """Sector by sector, see :mod:`.writes`. Raises HeaderChanged if ``on_disk`` is another header."""
        from . import writes

        return writes.writes(on_disk.image()[0], self._raw)

    def after_commit(self, on_disk: model.Header) -> Luks1Header:
        return self

    def fingerprint_ranges(self) -> t.Tuple[model.Extent, ...]:
        return (model.Extent(0, luks1_fields.HEADER_SIZE),)

    def image(self) -> t.Tuple[bytes, ...]:
        return (self._raw,)
