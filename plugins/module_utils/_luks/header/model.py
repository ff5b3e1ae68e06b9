# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""One model of a LUKS header for both formats. Pure values: no I/O, no key derivation, no secrets.

Offsets and sizes are bytes, counted from the first byte of the LUKS header (which is not the first byte of the file
when the header is embedded in qcow2). Memory costs are KiB, as in LUKS2.
"""

from __future__ import annotations

import abc
import dataclasses
import typing as t

from ..errors import LuksmithError
from ..word import Word

SECTOR = 512

PRIORITY_IGNORE = "ignore"
PRIORITY_NORMAL = "normal"
PRIORITY_PREFER = "prefer"


@dataclasses.dataclass(frozen=True)
class Pbkdf2:
    """PBKDF2-HMAC-``hash`` with ``iterations``; salt is 32 bytes in both formats."""

    hash: str
    iterations: int
    salt: bytes
    type: str = dataclasses.field(default="pbkdf2", init=False)


@dataclasses.dataclass(frozen=True)
class Argon2:
    """Argon2 (LUKS2 only): ``time`` passes over ``memory`` KiB in ``parallel`` lanes."""

    type: str
    time: int
    memory: int
    parallel: int
    salt: bytes


@dataclasses.dataclass(frozen=True)
class UnknownKdf:
    """A key derivation that this collection does not know: the slot can be reported and erased, never opened."""

    type: str


Kdf = t.Union[Pbkdf2, Argon2, UnknownKdf]


@dataclasses.dataclass(frozen=True)
class Extent:
    """``size`` bytes at ``offset``."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size

    def overlaps(self, other: Extent) -> bool:
        return self.offset < other.end and other.offset < self.end


@dataclasses.dataclass(frozen=True)
class Keyslot:
    """One active keyslot.

    key_size:   bytes of the key inside.
    area:       the whole key material area, the part that an erase overwrites.
    encryption: cipher of the area in the kernel's words ("aes-xts-plain64"); area_key_size: its key, bytes.
    digests:    numbers of the digests that list this slot (LUKS1: always (0,)).
    bound:      a digest of the slot covers a data segment; an unbound slot opens something, but not the volume.
    kind:       "luks1", "luks2", or the foreign type found ("reencrypt", ...), which is never opened.
    """

    number: int
    kind: str
    key_size: int
    kdf: Kdf
    af_hash: str
    af_stripes: int
    area: Extent
    encryption: str
    area_key_size: int
    priority: str = PRIORITY_NORMAL
    digests: t.Tuple[int, ...] = (0,)
    bound: bool = True


@dataclasses.dataclass(frozen=True)
class Digest:
    """The proof of a volume key: PBKDF2(hash, key, salt, iterations) cut to ``len(value)`` bytes."""

    number: int
    type: str
    hash: str
    iterations: int
    salt: bytes
    value: bytes
    keyslots: t.Tuple[int, ...]
    segments: t.Tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Segment:
    """A range of payload; ``size`` is None for "to the end of the device"."""

    number: int
    type: str
    offset: int
    size: t.Optional[int]
    encryption: str
    sector_size: int
    flags: t.Tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Token:
    """A LUKS2 token; ``ours`` marks the record and intent tokens of this collection."""

    number: int
    type: str
    keyslots: t.Tuple[int, ...]
    ours: bool = False


@dataclasses.dataclass(frozen=True)
class RecordEntry:
    """What the record remembers of a slot: ``fingerprint`` is hex of a hash over the slot's public salt."""

    keyslot: int
    label: str
    fingerprint: str
    changed: str


class IntentKind(Word):
    """What an interrupted run was doing. Which secret it was about is never stored. The words are those of results and of LUKS2 tokens."""

    ERASE = "erase"  # LUKS1: `keyslot` is being wiped and must end inactive
    MOVE_ADD = "hop-add"  # LUKS1 rekey: a copy may be appearing in `temporary_slot`; `keyslot` is untouched
    MOVE_ERASE = "hop-erase"  # LUKS1 rekey: the copy in `temporary_slot` works; `keyslot` is being wiped
    MOVE_FILL = "hop-fill"  # LUKS1 rekey: `keyslot` was wiped and may be filled again; then `temporary_slot` goes
    REPLACE_ERASE = "replace-erase"  # full header: `keyslot` is being wiped to be filled again
    REPLACE_FILL = "replace-fill"  # full header: `keyslot` was wiped and may be filled again
    WIPE = "wipe"  # LUKS2: `extents` belong to no slot any more and must be overwritten


@dataclasses.dataclass(frozen=True)
class Intent:
    """A secret-free note in the header that says what an interrupted run was doing."""

    kind: IntentKind
    keyslot: int
    temporary_slot: t.Optional[int] = None
    extents: t.Tuple[Extent, ...] = ()


@dataclasses.dataclass(frozen=True)
class Write:
    """``data`` to be written at ``offset``, made durable before the next write starts."""

    offset: int
    data: bytes


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where keyslot areas lie and where a new one fits. Pure arithmetic, shared by the planner and by apply.

    taken:  number -> extent of each active slot.
    fixed:  LUKS1: number -> the only place this slot can ever have; None for LUKS2.
    window: LUKS2: the keyslots area; new areas of ``unit`` bytes go into its first gap.
    held:   extents that are free of slots but still wait for a wipe.
    align:  LUKS2: where a new area may begin; converted LUKS1 headers leave areas that end in the middle of a block.
    """

    slot_count: int
    taken: t.Mapping[int, Extent]
    fixed: t.Optional[t.Mapping[int, Extent]] = None
    window: Extent = Extent(0, 0)
    unit: int = 0
    held: t.Tuple[Extent, ...] = ()
    align: int = 1

    def free_numbers(self) -> t.List[int]:
        return [number for number in range(self.slot_count) if number not in self.taken]

    def place(self, number: int) -> t.Optional[Extent]:
        """Extent for a new area of slot ``number``, or None when there is no room.

        For a LUKS2 slot that is active this answers where a second area fits beside the present one.
        """
        if self.fixed is not None:
            return None if number in self.taken else self.fixed.get(number)
        if self.unit <= 0:
            return None
        occupied = sorted((*self.taken.values(), *self.held), key=lambda extent: extent.offset)
        cursor = self.window.offset
        for extent in occupied:
            if extent.offset - cursor >= self.unit:
                break
            cursor = max(cursor, -(-extent.end // self.align) * self.align)
        return Extent(cursor, self.unit) if self.window.end - cursor >= self.unit else None

    def rekey_room(self, number: int) -> bool:
        """Can slot ``number`` get a new secret while the old one keeps working until the new one does?

        LUKS1 goes through any free slot; LUKS2 needs a free area, but no free number.
        """
        if self.fixed is not None:
            return bool(self.free_numbers())
        return self.place(number) is not None

    def with_slot(self, number: int, extent: Extent) -> Layout:
        return dataclasses.replace(self, taken={**self.taken, number: extent})

    def without_slot(self, number: int) -> Layout:
        return dataclasses.replace(self, taken={key: value for key, value in self.taken.items() if key != number})


class Header(abc.ABC):
    """A parsed and validated header. Immutable: every edit returns a new header.

    Everything that the format allows and this model does not name is kept to the byte by the implementing class.
    """

    format: str  # "luks1" | "luks2"
    uuid: str
    label: str  # "" on LUKS1
    subsystem: str  # "" on LUKS1
    cipher: str  # of the first data segment, "aes-xts-plain64"; "" when there is none
    key_size: int  # bytes of the volume key
    slot_count: int  # 8 | 32
    keyslots: t.Mapping[int, Keyslot]  # the active ones, ascending
    digests: t.Tuple[Digest, ...]
    segments: t.Tuple[Segment, ...]
    tokens: t.Tuple[Token, ...]
    requirements: t.Tuple[str, ...]
    intent: t.Optional[Intent]
    record: t.Mapping[int, RecordEntry]  # empty on LUKS1
    extent: int  # bytes from the header's start that header and key material may use; the file must be this long
    warnings: t.Tuple[str, ...]  # sentences: what is odd but readable
    edit_notes: t.Tuple[str, ...] = ()  # sentences on what the edits that led to this header had to leave out
    health: t.Mapping[
        str, str
    ]  # LUKS2: {"primary": "ok"|"bad"|"stale"|..., "secondary": ...}; LUKS1: {"primary": "ok"}

    @property
    @abc.abstractmethod
    def layout(self) -> Layout:
        """Where the areas lie, for the planner's simulation and for apply."""

    @property
    @abc.abstractmethod
    def write_obstacle(self) -> t.Optional[LuksmithError]:
        """Why no write to this header is safe (unknown requirement, reencryption, ...), or None."""

    @property
    @abc.abstractmethod
    def needs_heal(self) -> bool:
        """A copy of the header is bad, stale or different and should be rewritten from the good one."""

    @abc.abstractmethod
    def refusal_to_hold(self, kdf: Kdf, priority: str) -> t.Optional[str]:
        """Why this format cannot hold these ("LUKS1 keyslots have no priority"), or None."""

    @abc.abstractmethod
    def with_keyslot(self, number: int, kdf: Kdf, area: Extent, *, priority: t.Optional[str] = None) -> Header:
        """Slot ``number`` active with this derivation and area, for the volume key of the data segment.

        A slot that is active already keeps its token references (LUKS2 rekey). Without ``priority`` it also keeps its
        priority; a new slot gets the normal one.
        """

    @abc.abstractmethod
    def new_keyslot(self, number: int, kdf: Kdf, area: Extent) -> Keyslot:
        """The slot that :meth:`with_keyslot` would create: cipher, key sizes and stripes for sealing its material."""

    @abc.abstractmethod
    def without_keyslot(self, number: int) -> Header:
        """Slot ``number`` inactive and gone from digests and tokens, as cryptsetup leaves it."""

    @abc.abstractmethod
    def with_priority(self, number: int, priority: str) -> Header:
        """Priority of an active slot changed (LUKS2 only)."""

    @abc.abstractmethod
    def with_intent(self, intent: t.Optional[Intent]) -> Header:
        """The note of a multi-write action set, replaced, or (None) taken away."""

    @abc.abstractmethod
    def with_record(self, entries: t.Mapping[int, RecordEntry]) -> Header:
        """The record replaced (LUKS2; LUKS1 returns itself)."""

    @abc.abstractmethod
    def commit_writes(self, on_disk: Header) -> t.Tuple[Write, ...]:
        """The writes that turn ``on_disk`` into this header, in an order in which every prefix is a safe header.

        Each must be durable before the next. For LUKS2 this is also where the sequence id grows.
        """

    @abc.abstractmethod
    def after_commit(self, on_disk: Header) -> Header:
        """This header as it reads back once :meth:`commit_writes` is on disk (new sequence id, healthy copies)."""

    @abc.abstractmethod
    def fingerprint_ranges(self) -> t.Tuple[Extent, ...]:
        """The ranges whose bytes are compared right before each write to notice a foreign writer."""

    @abc.abstractmethod
    def image(self) -> t.Tuple[bytes, ...]:
        """The expected bytes of :meth:`fingerprint_ranges`, as read from or last written to the disk."""
