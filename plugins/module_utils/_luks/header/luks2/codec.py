# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""LUKS2 as a :class:`~.model.Header`: the metadata tree is the truth, edits copy it, and every edit is validated again.

Sources: LUKS2 On-Disk Format Specification 1.1; libcryptsetup 2.6.1 to 2.8.7 as observed.
"""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from ...errors import LuksmithError, Refused, shown
from .. import model
from ..reading import Read, TolerantRead
from . import edit, obstacles, recovery, tokens, validate_metadata, view
from . import metadata as luks2_metadata
from .binary import BINARY_SIZE, Copy, build_copy
from .recovery import Copies


def parse(read: Read, size: int) -> Luks2Header:
    """Header from ``size`` available bytes; reading never writes, whatever state the copies are in.

    Raises NotLuks, MalformedHeader, Refused and Unsupported as :func:`.recovery.choose` says; what ``read`` raises
    passes through.
    """
    copies, tree = recovery.choose(read, size)
    return Luks2Header(copies, tree, notes=read.notes if isinstance(read, TolerantRead) else ())


class Luks2Header(model.Header):
    """``copies``: what lies on the disk; ``tree``: validated metadata, never changed after construction."""

    def __init__(
        self, copies: Copies, tree: luks2_metadata.Tree, *, key_size: int = 0, notes: t.Sequence[str] = ()
    ) -> None:
        self._copies = copies
        self._tree = tree
        self._notes = tuple(notes)
        self.edit_notes = self._notes
        hdr_size, binary = copies.good.hdr_size, copies.good
        self._window = model.Extent(2 * hdr_size, int(tree["config"]["keyslots_size"]))
        self.format = "luks2"
        self.uuid = _shown(binary.uuid)
        self.label = _shown(binary.label)
        self.subsystem = _shown(binary.subsystem)
        self.slot_count = obstacles.SLOT_COUNT
        self.keyslots = view.keyslots(tree)
        self.digests = view.digests(tree)
        self.segments = view.segments(tree)
        self.tokens = tokens.tokens(tree)
        self.requirements = obstacles.requirements(tree)
        self.cipher = self.segments[0].encryption
        # When the last bound slot goes, what it said about the volume key still holds.
        self.key_size = view.volume_key_size(tree) or key_size
        note = tokens.read_intent(tree, self._window, {number: slot.area for number, slot in self.keyslots.items()})
        self.intent = note.intent
        self.record, record_notes = tokens.read_record(tree)
        self.extent = self._window.end
        self.health = dict(copies.health)
        odd = obstacles.warnings(tree, copies, self.keyslots, self.segments)
        self.warnings = tuple(map(shown, (*odd, *note.notes, *record_notes, *self._notes)))
        self._obstacle = obstacles.obstacle(tree, copies, self.keyslots, self.segments, note.problem)

    @property
    def layout(self) -> model.Layout:
        return model.Layout(
            slot_count=self.slot_count,
            taken={number: slot.area for number, slot in self.keyslots.items()},
            window=self._window,
            unit=view.area_size(self.key_size),
            align=view.AREA_UNIT,
            held=self.intent.extents if self.intent is not None and self.intent.kind == model.IntentKind.WIPE else (),
        )

    @property
    def write_obstacle(self) -> t.Optional[LuksmithError]:
        return self._obstacle

    @property
    def needs_heal(self) -> bool:
        return not self._copies.healthy

    @property
    def seqid(self) -> int:
        """Sequence id of the copy that counts; it grows with every write."""
        return self._copies.good.seqid

    @property
    def metadata(self) -> luks2_metadata.Tree:
        """A copy of the whole metadata, unknown members included."""
        return copy.deepcopy(self._tree)

    def refusal_to_hold(self, kdf: model.Kdf, priority: str) -> t.Optional[str]:
        return edit.refusal_to_hold(kdf, priority)

    def with_keyslot(
        self, number: int, kdf: model.Kdf, area: model.Extent, *, priority: t.Optional[str] = None
    ) -> Luks2Header:
        """See the model.

        Raises Refused if the slot is of a foreign type, no single digest covers the data, or the metadata would not fit.
        """
        slot = self.new_keyslot(number, kdf, area)
        if priority is not None:
            slot = dataclasses.replace(slot, priority=priority)
        refusal = self.refusal_to_hold(kdf, slot.priority)
        if refusal or not 0 <= number < self.slot_count:
            raise Refused(refusal or f"LUKS2 has no keyslot {number}")
        if not self.key_size or area.size < self.key_size * view.STRIPES:
            raise Refused(
                f"{area.size} bytes are no room for a volume key of {self.key_size} bytes",
                why="the key material would not fit",
            )
        tree = self.metadata
        edit.put_keyslot(tree, slot)
        return self._edited(tree)

    def new_keyslot(self, number: int, kdf: model.Kdf, area: model.Extent) -> model.Keyslot:
        """See the model. The cipher of an active slot stays; a new slot takes the payload's, or AES-XTS where that cannot be."""
        encryption, area_key_size = edit.area_encryption(self._tree, number, self.key_size)
        present = self.keyslots.get(number)
        return model.Keyslot(
            number=number,
            kind="luks2",
            key_size=self.key_size,
            kdf=kdf,
            af_hash=kdf.hash if isinstance(kdf, model.Pbkdf2) else "sha256",
            af_stripes=view.STRIPES,
            area=area,
            encryption=encryption,
            area_key_size=area_key_size,
            priority=present.priority if present else model.PRIORITY_NORMAL,
            digests=tuple(int(name) for name in view.data_digests(self._tree)),
        )

    def without_keyslot(self, number: int) -> Luks2Header:
        tree = self.metadata
        edit.drop_keyslot(tree, self._active(number))
        return self._edited(tree)

    def with_priority(self, number: int, priority: str) -> Luks2Header:
        tree = self.metadata
        edit.set_priority(tree, self._active(number), priority)
        return self._edited(tree)

    def with_intent(self, intent: t.Optional[model.Intent]) -> Luks2Header:
        """See the model. The record, a mere hint, gives way where there is no room for both.

        Raises Refused if no token number is free or the metadata would not fit even then.
        """
        for extent in intent.extents if intent else ():
            if extent.offset < self._window.offset or extent.end > self._window.end or extent.size <= 0:
                raise Refused(
                    f"{extent.size} bytes at {extent.offset} are not inside the keyslots area",
                    why="only that may be wiped",
                )
        tree = self.metadata
        try:
            tokens.store_intent(tree, intent)
            return self._edited(tree)
        except Refused:
            if not any(token.type == tokens.RECORD_TYPE for token in self.tokens):
                raise
        return (
            self.with_record({})
            ._noted("The record gave way to the note of the running change: the header has no room for both.")
            .with_intent(intent)
        )

    def with_record(self, entries: t.Mapping[int, model.RecordEntry]) -> Luks2Header:
        """See the model. A record that has no room is left out, with a warning: it is a hint, and nothing depends on it."""
        tree = self.metadata
        if not tokens.store_record(tree, entries):
            return self._noted(
                f"The record was not written: all {obstacles.TOKEN_COUNT} tokens of the header are taken."
            )
        if len(luks2_metadata.emit(tree)) >= self._json_size:
            return self._noted(
                f"The record was not written: the JSON area of {self._json_size} bytes has no room for it."
            )
        return self._edited(tree)

    def with_metadata_of(self, backup: Luks2Header, places: t.Mapping[int, model.Extent]) -> Luks2Header:
        """Keyslots, digests, tokens, segments and configuration of ``backup``; uuid, label, subsystem and sequence id stay.

        places: where the area of each keyslot lies now; its key material means the same wherever it is. A note of an
        interrupted run in the backup is left out. Raises Refused and MalformedHeader as every edit does.
        """
        tree = backup.metadata
        tokens.store_intent(tree, None)
        for number, extent in places.items():
            tree["keyslots"][str(number)]["area"]["offset"] = str(extent.offset)
        return self._edited(tree)

    def commit_writes(self, on_disk: model.Header) -> t.Tuple[model.Write, ...]:
        """Four writes: per copy the whole JSON area, then the binary header, whose first sector makes the copy valid.

        A copy that needs healing comes first, so that the good one stays until there is another good one. Raises the
        obstacle of ``on_disk`` if it has one.
        """
        before = _ours(on_disk)
        if before.write_obstacle is not None:
            raise before.write_obstacle
        primary, secondary = self._new_copies(before)
        order = (secondary, primary) if before._copies.good.offset == 0 and before.needs_heal else (primary, secondary)
        writes: t.List[model.Write] = []
        for new in order:
            writes.append(model.Write(new.offset + BINARY_SIZE, new.json_area))
            writes.append(model.Write(new.offset, new.block[:BINARY_SIZE]))
        return tuple(writes)

    def after_commit(self, on_disk: model.Header) -> Luks2Header:
        before = _ours(on_disk)
        copies = recovery.committed(before._copies, *self._new_copies(before))
        return Luks2Header(copies, self._tree, key_size=self.key_size)

    def fingerprint_ranges(self) -> t.Tuple[model.Extent, ...]:
        return (model.Extent(0, 2 * self._copies.good.hdr_size),)

    def image(self) -> t.Tuple[bytes, ...]:
        return (self._copies.primary + self._copies.secondary,)

    @property
    def _json_size(self) -> int:
        return self._copies.good.hdr_size - BINARY_SIZE

    def _active(self, number: int) -> int:
        if number not in self.keyslots:
            raise Refused(f"keyslot {number} is not active", why="there is nothing to change")
        return number

    def _edited(self, tree: luks2_metadata.Tree) -> Luks2Header:
        """The header with ``tree``. The record, a mere hint, gives way where there is no room for both."""
        notes = self._notes
        needed = len(luks2_metadata.emit(tree)) + 1
        if needed > self._json_size and tokens.store_record(tree, {}):
            needed = len(luks2_metadata.emit(tree)) + 1
            notes = (
                *notes,
                f"The record gave way to this change: the JSON area of {self._json_size} bytes has no room for both.",
            )
        if needed > self._json_size:
            raise Refused(
                f"the LUKS2 metadata would need {needed} bytes, but its area has {self._json_size}",
                why="the header would no longer fit on the device",
                remedy="Remove keyslots or tokens that are not needed",
            )
        validate_metadata.check(tree, self._copies.good.hdr_size)
        return Luks2Header(self._copies, tree, key_size=self.key_size, notes=notes)

    def _noted(self, note: str) -> Luks2Header:
        return Luks2Header(self._copies, self._tree, key_size=self.key_size, notes=(*self._notes, note))

    def _new_copies(self, before: Luks2Header) -> t.Tuple[Copy, Copy]:
        area = luks2_metadata.emit(self._tree).ljust(self._json_size, b"\0")
        template, (primary_salt, secondary_salt) = before._copies.good, before._copies.salts
        seqid = template.seqid + 1
        return (
            build_copy(template, 0, seqid, primary_salt, area),
            build_copy(template, template.hdr_size, seqid, secondary_salt, area),
        )


def _ours(header: model.Header) -> Luks2Header:
    if not isinstance(header, Luks2Header):
        raise Refused(f"a {header.format} header cannot become a luks2 header", why="this collection does not convert")
    return header


def _shown(field: bytes) -> str:
    return shown(field.decode("utf-8", "replace"))
