# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""One model of a LUKS header for both formats. Pure values: no I/O, no key derivation, no secrets.

Offsets and sizes are in bytes. Offsets count from the first byte of the LUKS header, which is not the first byte of the
file if the header is embedded in qcow2. Memory costs are in KiB, as in LUKS2.
"""

from __future__ import annotations

import abc
import re
import typing as t

from ..errors import LuksmithError
from ..word import Word

SECTOR = 512

# Bytes. The largest key that cryptsetup makes (--key-size 4096). A header that claims more could make us read and hash
# gigabytes.
LARGEST_KEY = 512

PRIORITY_IGNORE = "ignore"
PRIORITY_NORMAL = "normal"
PRIORITY_PREFER = "prefer"


class Pbkdf2(t.NamedTuple):
    """PBKDF2-HMAC-``hash`` with ``iterations``; the salt has 32 bytes in both formats."""

    hash: str
    iterations: int
    salt: bytes
    type: str = "pbkdf2"


class Argon2(t.NamedTuple):
    """Argon2 (LUKS2 only): ``time`` passes over ``memory`` KiB in ``parallel`` lanes."""

    type: str
    time: int
    memory: int
    parallel: int
    salt: bytes


class UnknownKdf(t.NamedTuple):
    """An unknown key derivation: the keyslot can be reported and erased, but not opened."""

    type: str


Kdf = t.Union[Pbkdf2, Argon2, UnknownKdf]


class Extent(t.NamedTuple):
    """``size`` bytes at ``offset``."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size

    def overlaps(self, other: Extent) -> bool:
        return self.offset < other.end and other.offset < self.end


class Keyslot(t.NamedTuple):
    """One active keyslot.

    key_size:   bytes of the key inside.
    area:       the whole key material area, which an erase overwrites.
    encryption: cipher of the area in the notation of the kernel ("aes-xts-plain64"); area_key_size: bytes of its key.
    digests:    numbers of the digests that list this keyslot (LUKS1: always (0,)).
    bound:      it holds the volume key of the data (during a reencryption: one of its keys). An unbound keyslot does
                not open the volume.
    kind:       "luks1", "luks2", or another type found ("reencrypt", ...), which is never opened.
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


class Digest(t.NamedTuple):
    """Verifies a volume key: PBKDF2(hash, key, salt, iterations), truncated to ``len(value)`` bytes, is ``value``.

    key_size: bytes of that key, by the first keyslot that the digest lists; 0 if it lists none. PBKDF2 alone does not
        tell a key from the same key with zeros behind it.
    """

    number: int
    type: str
    hash: str
    iterations: int
    salt: bytes
    value: bytes
    keyslots: t.Tuple[int, ...]
    segments: t.Tuple[int, ...]
    key_size: int = 0


class Segment(t.NamedTuple):
    """A range of the payload; a ``size`` of None means up to the end of the device."""

    number: int
    type: str
    offset: int
    size: t.Optional[int]
    encryption: str
    sector_size: int
    flags: t.Tuple[str, ...] = ()


LUKSMETA_UNREADABLE = "luksmeta (unreadable)"  # type of a token for each keyslot that such a block may name


class Token(t.NamedTuple):
    """A LUKS2 token, or an entry of luksmeta for a keyslot of LUKS1, then with the number of the keyslot.

    ``ours`` marks the record and intent tokens of this collection.
    """

    number: int
    type: str
    keyslots: t.Tuple[int, ...]
    ours: bool = False


class RecordEntry(t.NamedTuple):
    """What the record keeps about a keyslot; ``fingerprint``: hex digits of a hash over its public salt."""

    keyslot: int
    label: str
    fingerprint: str
    changed: str


class IntentKind(Word):
    """What an interrupted run was doing, never for which secret. The values appear in results and in LUKS2 tokens."""

    ERASE = "erase"  # LUKS1: `keyslot` is being wiped and must end inactive
    MOVE_ADD = "hop-add"  # LUKS1 rekey: `temporary_slot` is being written; `keyslot` is untouched
    MOVE_ERASE = "hop-erase"  # LUKS1 rekey: `temporary_slot` is complete; `keyslot` is being wiped
    MOVE_FILL = "hop-fill"  # LUKS1 rekey: `keyslot` is wiped and may be half written; then `temporary_slot` is erased
    REPLACE_ERASE = "replace-erase"  # no room for a second copy: `keyslot` is being wiped before it is rewritten
    REPLACE_FILL = "replace-fill"  # no room for a second copy: `keyslot` is wiped and may be half written
    WIPE = "wipe"  # LUKS2: `extents` belong to no keyslot any more and must be overwritten
    COPIED = "copied"  # nothing is half done, but a copy of the header lies in `backup_dir` until all is done


COPY_SUFFIX = ".luks-header"
_UNSAFE = re.compile(r"[^0-9A-Za-z-]")
_LONGEST_UUID = 40


def copy_prefix(uuid: str) -> str:
    """How the names of copies of the header of this volume begin, in ``backup_dir``: for people."""
    return f"luksmith-{_UNSAFE.sub('_', uuid)[:_LONGEST_UUID]}-"


class Intent(t.NamedTuple):
    """A journal entry in the header that says what an interrupted run was doing. It contains no secret.

    copy: of a run with a copy of the header in ``backup_dir``: 32 hexadecimal digits that this copy has in its name and
        in its own header, so that no copy of another volume passes for it; "" without one.
    """

    kind: IntentKind
    keyslot: int
    temporary_slot: t.Optional[int] = None
    extents: t.Tuple[Extent, ...] = ()
    copy: str = ""

    def copy_file(self, uuid: str) -> str:
        """The name of the file with the copy; ``uuid``: of the volume, which is text that anyone wrote. "" if none."""
        return f"{copy_prefix(uuid)}{self.copy}{COPY_SUFFIX}" if self.copy else ""

    @classmethod
    def while_copied(cls, present: t.Optional[Intent], intent: t.Optional[Intent]) -> t.Optional[Intent]:
        """``intent``, with the note of a copy that ``present`` has: it stays until the copy is gone."""
        if present is None or not present.copy:
            return intent
        return (intent or cls(IntentKind.COPIED, 0))._replace(copy=present.copy)


class Write(t.NamedTuple):
    """``data`` for ``offset``; must be durable before the next write starts."""

    offset: int
    data: bytes


class Layout(t.NamedTuple):
    """Where keyslot areas lie and where a new one fits. Pure arithmetic, shared by the planner and by apply.

    taken:  number -> extent of each active keyslot.
    fixed:  LUKS1: number -> the only place that this keyslot can have; None for LUKS2.
    window: LUKS2: the keyslots area; a new area of ``unit`` bytes goes into its first gap.
    held:   extents without a keyslot that are still to be wiped.
    align:  LUKS2: a new area begins at a multiple of this; areas of a converted LUKS1 header may end in between.
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
        """Extent for a new area of keyslot ``number``, or None if there is no room.

        For an active LUKS2 keyslot: where a second area fits beside the present one.
        """
        if self.fixed is not None:
            return None if number in self.taken else self.fixed.get(number)
        return self._gap(self.unit)

    def place_beside(self, number: int) -> t.Optional[Extent]:
        """Extent for a second area as large as that of LUKS2 keyslot ``number``, whose key may have another length."""
        return self._gap(self.taken[number].size)

    def _gap(self, size: int) -> t.Optional[Extent]:
        if size <= 0:
            return None
        occupied = sorted((*self.taken.values(), *self.held), key=lambda extent: extent.offset)
        cursor = self.window.offset
        for extent in occupied:
            if extent.offset - cursor >= size:
                break
            cursor = max(cursor, -(-extent.end // self.align) * self.align)
        return Extent(cursor, size) if self.window.end - cursor >= size else None

    def rekey_room(self, number: int) -> bool:
        """Whether keyslot ``number`` can get a new secret while the old one works until the new one does.

        LUKS1 needs any free keyslot for the copy; LUKS2 needs a free area, but no free number.
        """
        if self.fixed is not None:
            return bool(self.free_numbers())
        return self.place(number) is not None

    def with_slot(self, number: int, extent: Extent) -> Layout:
        return self._replace(taken={**self.taken, number: extent})

    def without_slot(self, number: int) -> Layout:
        return self._replace(taken={key: value for key, value in self.taken.items() if key != number})


class Header(abc.ABC):
    """A parsed and validated header. Immutable: every edit returns a new header.

    The implementing class preserves, byte for byte, all that the format allows and this model does not name. The
    ``with_*`` and ``without_*`` methods and ``new_keyslot`` raise Refused for what the format cannot hold.
    """

    format: str  # "luks1" | "luks2"
    uuid: str
    label: str  # "" on LUKS1
    subsystem: str  # "" on LUKS1
    cipher: str  # of the first data segment ("aes-xts-plain64"); "" if it has none
    key_size: int  # bytes of the volume key
    slot_count: int  # 8 | 32
    keyslots: t.Mapping[int, Keyslot]  # the active ones, ascending
    digests: t.Tuple[Digest, ...]
    segments: t.Tuple[Segment, ...]
    tokens: t.Tuple[Token, ...]
    requirements: t.Tuple[str, ...]
    intent: t.Optional[Intent]
    record: t.Mapping[int, RecordEntry]  # empty on LUKS1
    extent: int  # bytes that header and key material may use; the file must have at least as many
    warnings: t.Tuple[str, ...]  # sentences: what is unusual, but can be read
    edit_notes: t.Tuple[str, ...] = ()  # sentences: what the edits that led to this header had to leave out
    health: t.Mapping[
        str, str
    ]  # LUKS2: {"primary": "ok"|"bad"|"stale"|..., "secondary": ...}; LUKS1: {"primary": "ok"}

    def for_key_of(self, size: int) -> Header:
        """This header with ``key_size``, where it has no keyslot that says it (LUKS2)."""
        return self

    @property
    @abc.abstractmethod
    def layout(self) -> Layout:
        """Where the areas lie, for the planner's simulation and for apply."""

    @property
    @abc.abstractmethod
    def write_obstacle(self) -> t.Optional[LuksmithError]:
        """The error that says why no write to this header is safe (unknown requirement, reencryption, ...), or None."""

    @property
    @abc.abstractmethod
    def needs_heal(self) -> bool:
        """Whether a copy of the header is damaged, stale or different and is to be rewritten from the valid one."""

    @abc.abstractmethod
    def refusal_to_hold(self, kdf: Kdf, priority: str) -> t.Optional[str]:
        """Why this format cannot store these ("LUKS1 keyslots have no priority"), or None."""

    @abc.abstractmethod
    def with_keyslot(
        self, number: int, kdf: Kdf, area: Extent, *, priority: t.Optional[str] = None, own_key: bool = False
    ) -> Header:
        """Keyslot ``number`` made active with this derivation and area, for the volume key of the data segment.

        If it is active already, it keeps its token references (LUKS2 rekey) and, without ``priority``, its priority.
        A new keyslot has the normal priority by default. own_key: an unbound keyslot keeps its key and digests (LUKS2).
        """

    @abc.abstractmethod
    def new_keyslot(self, number: int, kdf: Kdf, area: Extent, *, own_key: bool = False) -> Keyslot:
        """The keyslot that :meth:`with_keyslot` would create: cipher, key sizes and stripes of its key material."""

    @abc.abstractmethod
    def without_keyslot(self, number: int) -> Header:
        """Keyslot ``number`` made inactive and removed from digests and tokens, as cryptsetup does."""

    @abc.abstractmethod
    def with_priority(self, number: int, priority: str) -> Header:
        """The priority of an active keyslot changed (LUKS2 only)."""

    def with_token(self, keyslot: int, members: t.Mapping[str, t.Any]) -> Header:
        """A token of another program for an active keyslot added (LUKS2 only)."""
        raise NotImplementedError

    def without_token(self, keyslot: int, kind: str) -> Header:
        """Tokens of type ``kind`` no longer name the keyslot (LUKS2 only)."""
        raise NotImplementedError

    @abc.abstractmethod
    def with_intent(self, intent: t.Optional[Intent]) -> Header:
        """The journal entry set, replaced or, with None, removed."""

    @abc.abstractmethod
    def with_record(self, entries: t.Mapping[int, RecordEntry]) -> Header:
        """The record replaced. LUKS1 has none and returns itself."""

    @abc.abstractmethod
    def commit_writes(self, on_disk: Header) -> t.Tuple[Write, ...]:
        """The writes that turn ``on_disk`` into this header, in an order in which every prefix leaves a safe header.

        Each must be durable before the next one starts. For LUKS2 they increment the sequence id.

        Raises HeaderChanged (LUKS1) or Refused if this header cannot replace ``on_disk``.
        """

    @abc.abstractmethod
    def after_commit(self, on_disk: Header) -> Header:
        """This header as it is read after :meth:`commit_writes` (new sequence id, both copies valid)."""

    @abc.abstractmethod
    def fingerprint_ranges(self) -> t.Tuple[Extent, ...]:
        """The ranges that are compared right before each write, to notice another writer."""

    @abc.abstractmethod
    def image(self) -> t.Tuple[bytes, ...]:
        """The expected bytes of :meth:`fingerprint_ranges`, as read from or last written to the disk."""
