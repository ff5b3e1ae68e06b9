# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""LUKS2 as a :class:`~.model.Header`: an edit copies the metadata tree, changes the copy and validates it again.

Sources: LUKS2 On-Disk Format Specification 1.1; libcryptsetup 2.6.1 to 2.8.7 as observed.
"""

from __future__ import annotations

import copy
import typing as t

from ...errors import LuksmithError, Refused, shown
from .. import model
from ..reading import Read, TolerantRead
from . import metadata as luks2_metadata
from . import obstacles, recovery, tokens, validate_metadata, view
from .binary import BINARY_SIZE, Copy, build_copy, shown_text
from .recovery import Copies


def parse(read: Read, size: int, *, embedded: bool = False) -> Luks2Header:
    """Header from ``size`` available bytes. It never writes, whatever state the copies are in.

    ``embedded``: no payload is expected behind it, which a copy of a header has not.

    Raises NotLuks, MalformedHeader, Refused and Unsupported as :func:`.recovery.choose` does, and what ``read`` raises.
    """
    copies, tree = recovery.choose(read, size)
    header = Luks2Header(copies, tree, notes=read.notes if isinstance(read, TolerantRead) else ())
    begin = min(segment.offset for segment in header.segments)
    if begin >= size and not embedded:
        says = f"the payload would begin at byte {begin}, at or past the end ({size} bytes)"
        header.warnings += (f"{says}: this looks like a header backup or a detached header",)
    return header


class Luks2Header(model.Header):
    """``copies``: what is on the disk; ``tree``: validated metadata, never changed after construction."""

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
        self.uuid = shown_text(binary.uuid)
        self.label = shown_text(binary.label)
        self.subsystem = shown_text(binary.subsystem)
        self.slot_count = obstacles.SLOT_COUNT
        self.keyslots = view.keyslots(tree)
        self.digests = view.digests(tree)
        self.segments = view.segments(tree)
        self.tokens = tokens.tokens(tree)
        self.requirements = obstacles.requirements(tree)
        self.cipher = self.segments[0].encryption
        # Without any bound keyslot, the size that the last one named still holds.
        self.key_size = view.volume_key_size(tree) or key_size
        entry = tokens.read_intent(tree, self._window, {number: slot.area for number, slot in self.keyslots.items()})
        self.intent = entry.intent
        self.record, record_notes = tokens.read_record(tree)
        self.extent = self._window.end
        self.health = dict(copies.health)
        odd = obstacles.warnings(tree, copies, self.keyslots, self.segments)
        self.warnings = tuple(map(shown, (*odd, *entry.notes, *record_notes, *self._notes)))
        self._obstacle = obstacles.obstacle(tree, copies, self.keyslots, self.segments, entry.problem)

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
        """Sequence id of the copy in use; every write increments it."""
        return self._copies.good.seqid

    @property
    def metadata(self) -> luks2_metadata.Tree:
        """A copy of all metadata, unknown members included."""
        return copy.deepcopy(self._tree)

    def for_key_of(self, size: int) -> Luks2Header:
        return Luks2Header(self._copies, self._tree, key_size=size, notes=self._notes)

    def refusal_to_hold(self, kdf: model.Kdf, priority: str) -> t.Optional[str]:
        from . import edit

        return edit.refusal_to_hold(kdf, priority)

    def with_keyslot(
        self,
        number: int,
        kdf: model.Kdf,
        area: model.Extent,
        *,
        priority: t.Optional[str] = None,
        own_key: bool = False,
    ) -> Luks2Header:
        """See the model.

        Raises Refused if the keyslot is of another type, LUKS2 cannot hold the derivation, the area is too small, not
        exactly one digest covers the data, or the metadata would not fit; MalformedHeader as every edit does.
        """
        slot = self.new_keyslot(number, kdf, area, own_key=own_key)
        if priority is not None:
            slot = slot._replace(priority=priority)
        refusal = self.refusal_to_hold(kdf, slot.priority)
        if refusal or not 0 <= number < self.slot_count:
            raise Refused(refusal or f"LUKS2 has no keyslot {number}")
        if not slot.key_size or area.size < slot.key_size * view.STRIPES:
            raise Refused(
                f"an area of {area.size} bytes is too small for a key of {slot.key_size} bytes",
                why="the key material would not fit",
            )
        from . import edit

        tree = self.metadata
        edit.put_keyslot(tree, slot)
        return self._edited(tree)

    def new_keyslot(self, number: int, kdf: model.Kdf, area: model.Extent, *, own_key: bool = False) -> model.Keyslot:
        """See the model. An active keyslot keeps its cipher; a new one gets the payload's, or AES-XTS instead."""
        from . import edit

        encryption, area_key_size = edit.area_encryption(self._tree, number, self.key_size)
        present = self.keyslots.get(number)
        kept = self.keyslots[self._active(number)] if own_key else None
        return model.Keyslot(
            number=number,
            kind="luks2",
            key_size=kept.key_size if kept else self.key_size,
            kdf=kdf,
            af_hash=kdf.hash if isinstance(kdf, model.Pbkdf2) else "sha256",
            af_stripes=view.STRIPES,
            area=area,
            encryption=encryption,
            area_key_size=area_key_size,
            priority=present.priority if present else model.PRIORITY_NORMAL,
            digests=kept.digests if kept else tuple(int(name) for name in view.data_digests(self._tree)),
            bound=kept.bound if kept else True,
        )

    def with_token(self, keyslot: int, members: t.Mapping[str, t.Any]) -> Luks2Header:
        """See the model. Raises Refused if no token number is free or the metadata would not fit."""
        tree = self.metadata
        tokens.store_binding(tree, keyslot, members)
        return self._edited(tree)

    def without_token(self, keyslot: int, kind: str) -> Luks2Header:
        """See the model. Raises MalformedHeader as every edit does."""
        tree = self.metadata
        tokens.drop_keyslot(tree, keyslot, kind)
        return self._edited(tree)

    def without_keyslot(self, number: int) -> Luks2Header:
        """See the model. Raises Refused if the keyslot is not active, MalformedHeader as every edit does."""
        from . import edit

        tree = self.metadata
        edit.drop_keyslot(tree, self._active(number))
        return self._edited(tree)

    def with_priority(self, number: int, priority: str) -> Luks2Header:
        """See the model. Raises Refused if the keyslot is not active or the metadata would not fit."""
        from . import edit

        tree = self.metadata
        edit.set_priority(tree, self._active(number), priority)
        return self._edited(tree)

    def with_intent(self, intent: t.Optional[model.Intent]) -> Luks2Header:
        """See the model. The record is only a hint: it is dropped if there is no room for both.

        Raises Refused if the intent names bytes outside of the keyslots area, no token number is free, or the metadata
        would not fit without the record either.
        """
        for extent in intent.extents if intent else ():
            if extent.offset < self._window.offset or extent.end > self._window.end or extent.size <= 0:
                raise Refused(
                    f"{extent.size} bytes at byte {extent.offset} are not inside the keyslots area",
                    why="only that area may be wiped",
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
            ._noted(
                "The record was removed: the header has no room for it and the journal entry of the running change."
            )
            .with_intent(intent)
        )

    def with_record(self, entries: t.Mapping[int, model.RecordEntry]) -> Luks2Header:
        """See the model. A record without room is left out, with a warning: it is a hint that nothing depends on.

        Raises MalformedHeader as every edit does.
        """
        tree = self.metadata
        if not tokens.store_record(tree, entries):
            return self._noted(
                f"The record was not written: all {obstacles.TOKEN_COUNT} tokens of the header are in use."
            )
        if len(luks2_metadata.emit(tree)) >= self._json_size:
            return self._noted(
                f"The record was not written: the JSON area of {self._json_size} bytes has no room for it."
            )
        return self._edited(tree)

    def with_metadata_of(self, backup: Luks2Header, places: t.Mapping[int, model.Extent]) -> Luks2Header:
        """Keyslots, digests, tokens, segments and config of ``backup``; uuid, label, subsystem and sequence id stay.

        places: where the area of each keyslot lies now; key material does not depend on its place. A journal entry of
        the backup is left out.

        Raises Refused if the metadata would not fit, MalformedHeader if it would break the format.
        """
        tree = backup.metadata
        tokens.store_intent(tree, None)
        for number, extent in places.items():
            tree["keyslots"][str(number)]["area"]["offset"] = str(extent.offset)
        return self._edited(tree)

    def commit_writes(self, on_disk: model.Header) -> t.Tuple[model.Write, ...]:
        """Four writes: for each copy the whole JSON area, then the binary header, whose checksum makes the copy valid.

        A copy that needs repair comes first, so that the valid one stays until there is another.

        Raises the obstacle of ``on_disk`` if it has one, Refused if it is no LUKS2 header, Unsupported as
        :func:`.binary.build_copy` does.
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
        """See the model. Raises Refused and Unsupported as :meth:`commit_writes` does."""
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
        """The header with ``tree``. The record is only a hint: it is dropped if there is no room for both."""
        notes = self._notes
        needed = len(luks2_metadata.emit(tree)) + 1
        if needed > self._json_size and tokens.store_record(tree, {}):
            needed = len(luks2_metadata.emit(tree)) + 1
            notes = (
                *notes,
                f"The record was removed: the JSON area of {self._json_size} bytes has no room for it and this change.",
            )
        if needed > self._json_size:
            raise Refused(
                f"the LUKS2 metadata would need {needed} bytes, but the JSON area has {self._json_size}",
                why="the header cannot hold it",
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
        raise Refused(
            f"a {header.format} header cannot be replaced by a luks2 header", why="this collection does not convert"
        )
    return header
