# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""Writes the keyslots of a backup so that at every moment a proven keyslot opens the volume.

The rules are those of docs/transactions.md, for a target from a file:

* LUKS2: the missing key material is written to free space, then the whole header changes at once, then the areas of the
  removed keyslots are wiped under a journal entry. Key material may move: its encryption does not depend on its place.
* LUKS1: every keyslot has a fixed place. A proven keyslot of the backup is written first, through another keyslot if
  its own is in use, so that it opens the volume while the others are replaced one by one.
* A keyslot of which one copy is damaged stays as it is, unless a secret opens that of the backup (``kept``).
* What luksmeta keeps for the keyslots of LUKS1 comes last: until then Clevis fails, and passphrases do not. If the
  backup has nothing of it, the notes of the keyslots that were replaced or erased go.
* A header that cannot be read: key material first, then the header, its first sector last. Before that write nothing
  opens the volume; after it, every keyslot of the backup does.

The same task, run again, finishes an interrupted restore: it compares keyslot by keyslot.
"""

from __future__ import annotations

import abc
import hmac
import typing as t

from ..apply.header_writer import HeaderWriter
from ..errors import Refused, StorageFault
from ..header.copied import image_size
from ..header.luks1 import luksmeta
from ..header.luks2.codec import Luks2Header
from ..header.luks2.obstacles import INTENT_TYPE
from ..header.luks2.tokens import RECORD_TYPE
from ..header.model import SECTOR, Extent, Header, Intent, IntentKind, Write
from ..plan.actions import Action, ActionKind
from ..required import required
from ..volume.storage import Volume
from .image import Image

_ALIGN = 4096


class Restore(abc.ABC):
    """``steps``: what is to be done, in the order of the keyslots; empty if the volume has the keyslots of the backup.

    after: the header after the run; done: the completed steps.
    """

    steps: t.Tuple[Action, ...]
    after: Header
    done: t.List[Action]

    @property
    @abc.abstractmethod
    def begun(self) -> bool:
        """Whether anything was written."""

    @abc.abstractmethod
    def run(self, volume: Volume, wipe_passes: int) -> None:
        """Carry out the steps. The caller holds the exclusive locks and has read the header under them.

        Raises StorageFault if a write fails or does not read back, HeaderChanged and Refused as the header writer does.
        """


def make_restore(
    now: t.Optional[Image],
    backup: Image,
    proven: t.Collection[int],
    proven_now: t.Collection[int],
    damage: str = "",
    kept: t.Collection[int] = (),
) -> Restore:
    """The restore of ``backup`` onto a volume with ``now``, or None if its header cannot be read because of ``damage``.

    proven: bound keyslots of the backup that a secret opens; proven_now: those of the volume; kept: keyslots that stay
    as the volume has them, with the parameters of the backup.

    Raises Refused if the volume has no free space for the key material, or the formats differ.
    """
    if now is None:
        return Rebuild(backup, damage)
    if now.header.format == "luks1":
        return Luks1Restore(now, backup, kept, proven, proven_now)
    return Luks2Restore(now, backup, kept)


class _Edit(Restore):
    """A restore onto a volume whose header can be read."""

    def __init__(self, now: Image, backup: Image, kept: t.Collection[int]) -> None:
        self.now = now
        self.backup = backup
        self.kept = kept
        self.done = []
        self._disk: t.Optional[HeaderWriter] = None

    @property
    def disk(self) -> HeaderWriter:
        return required(self._disk)

    @property
    def begun(self) -> bool:
        return self._disk is not None and self._disk.written

    def run(self, volume: Volume, wipe_passes: int) -> None:
        self._disk = HeaderWriter(volume, self.now.header, wipe_passes=wipe_passes)
        self._execute()
        self.done = list(self.steps)

    @abc.abstractmethod
    def _execute(self) -> None:
        ...

    def _slot_steps(self) -> t.Iterator[Action]:
        for number in range(self.now.header.slot_count):
            wanted, present = self.backup.identity(number), self.now.identity(number)
            if wanted == present or number in self.kept:
                continue
            if wanted is None:
                yield Action(ActionKind.ERASE, number, "the backup does not have it")
            elif present is None:
                yield Action(ActionKind.RESTORE, number, "only the backup has it")
            else:
                same = wanted[0] == present[0]
                what = "a copy of it that is not damaged" if same else "another key there"
                yield Action(ActionKind.RESTORE, number, f"the backup has {what}, which replaces the present one")

    def _put_material(self, source: int, area: Extent) -> None:
        slot = self.backup.header.keyslots[source]
        data = self.backup.read(slot.area.offset, slot.area.size)
        if not hmac.compare_digest(self.disk.write_area(area, bytearray(data)), data):
            raise StorageFault(
                f"the key material at byte {area.offset} does not read back as it was written",
                why="the medium or its driver loses writes",
            )


class Luks1Restore(_Edit):
    """LUKS1: one keyslot after the other, a proven one first."""

    def __init__(
        self,
        now: Image,
        backup: Image,
        kept: t.Collection[int],
        proven: t.Collection[int],
        proven_now: t.Collection[int],
    ) -> None:
        super().__init__(now, backup, kept)
        self._proven = sorted(proven)
        self._proven_now = set(proven_now)
        steps = list(self._slot_steps())
        if now.header.intent is not None:
            steps.append(Action(ActionKind.RESTORE_HEADER, None, "an interrupted run left its journal entry"))
        if backup.luksmeta not in (b"", now.luksmeta):
            steps.append(Action(ActionKind.RESTORE_HEADER, None, "what luksmeta keeps for the keyslots differs"))
        self.steps = tuple(steps)
        self.after = backup.header
        self._check_room()

    def _check_room(self) -> None:
        """Raises Refused if only a keyslot that must stay could make room for the first one that opens."""
        changed = {action.keyslot for action in self.steps}
        others = [number for number in range(self.now.header.slot_count) if number not in self.kept]
        if self.kept and set(self._proven) <= changed and len(others) < 2:
            raise Refused(
                f"keyslots {', '.join(map(str, sorted(self.kept)))} of the volume have the same salt as those of the"
                " backup and other key material, and no keyslot is left for the way there",
                why="one copy of each is damaged, and no given secret tells which",
                remedy="Give the secret of one of them under unlock, or erase one by its number with"
                " luksmith.luks.keyslots",
            )

    def _execute(self) -> None:
        self._end_interrupted_run()
        wrong = [required(action.keyslot) for action in self.steps if action.keyslot is not None]
        opener = next((number for number in self._proven if number not in wrong), None)
        if opener is None:
            opener = min(self._proven, key=lambda number: number in self.disk.header.keyslots)
            if opener in self.disk.header.keyslots:
                wrong.append(self._bring_in(opener))
                wrong.remove(opener)
        # Free keyslots first: their secrets open the volume before others stop to.
        for number in sorted(set(wrong), key=lambda number: (number in self.disk.header.keyslots, number)):
            if number in self.disk.header.keyslots:
                self._erase(number)
            if number in self.backup.header.keyslots:
                self._put(number, number)
        self._restore_luksmeta()

    def _restore_luksmeta(self) -> None:
        if self.backup.luksmeta:
            self.disk.write_beside(_luksmeta_writes(self.backup), "what luksmeta keeps")
        elif self.now.luksmeta:
            areas, payload = list(required(self.now.header.layout.fixed).values()), self.now.header.segments[0].offset
            for action in self.steps:
                if action.keyslot is not None:
                    notes = luksmeta.removal(self.disk.reread, payload, areas, payload, action.keyslot)
                    self.disk.write_beside(notes, "the luksmeta block")

    def _bring_in(self, opener: int) -> int:
        """Replace another keyslot by the proven one; returns the number of the temporary slot."""
        free = self.disk.header.layout.free_numbers()
        others = [number for number in self.disk.header.keyslots if number != opener and number not in self.kept]
        temporary_slot = free[0] if free else min(others, key=lambda number: number in self._proven_now)
        if not free:
            self._erase(temporary_slot)
        self._put(temporary_slot, opener)
        self._erase(opener)
        self._put(opener, opener)
        return temporary_slot

    def _end_interrupted_run(self) -> None:
        intent = self.disk.header.intent
        if intent is None:
            return
        for number in filter(lambda number: number is not None, (intent.keyslot, intent.temporary_slot)):
            if required(number) not in self.disk.header.keyslots:
                # Key material of a secret that was never activated may be there.
                self.disk.overwrite(self._area(required(number)))
        self._journal(None)

    def _erase(self, number: int) -> None:
        self._journal(Intent(IntentKind.ERASE, number))
        self.disk.overwrite(self._area(number))
        self.disk.commit(self.disk.header.without_keyslot(number))
        self._journal(None)

    def _put(self, number: int, source: int) -> None:
        area = self._area(number)
        self._put_material(source, area)
        self.disk.commit(self.disk.header.with_keyslot(number, self.backup.header.keyslots[source].kdf, area))

    def _journal(self, intent: t.Optional[Intent]) -> None:
        self.disk.commit(self.disk.header.with_intent(intent))

    def _area(self, number: int) -> Extent:
        return required(self.disk.header.layout.fixed)[number]


class Luks2Restore(_Edit):
    """LUKS2: key material into free space, then the whole header at once. Raises Refused if there is no such space."""

    def __init__(self, now: Image, backup: Image, kept: t.Collection[int]) -> None:
        super().__init__(now, backup, kept)
        present, wanted = _luks2(now.header), _luks2(backup.header)
        steps = list(self._slot_steps())
        if _plain(present) != _plain(wanted) and not steps:
            steps.append(Action(ActionKind.RESTORE_HEADER, None, "tokens, digests or settings differ"))
        if present.intent is not None:
            steps.append(Action(ActionKind.RESTORE_HEADER, None, "an interrupted run left its journal entry"))
        if present.needs_heal:
            steps.append(Action(ActionKind.HEAL_HEADER, None, "the copies of the header differ"))
        self.steps = tuple(steps)
        missing = [number for number in wanted.keyslots if backup.identity(number) != now.identity(number)]
        self._missing = [number for number in missing if number not in kept]
        self._places = self._place_all(present, wanted) if steps else {}
        self._stale = self._left_behind(present)
        target = present.with_metadata_of(wanted, self._places) if steps else present
        # Here, so that a header without room for the journal entry is refused before anything is written.
        self._target = target.with_intent(Intent(IntentKind.WIPE, 0, extents=self._stale)) if self._stale else target
        self.after = target

    def _execute(self) -> None:
        for number in self._missing:
            self._put_material(number, self._places[number])
        self.disk.commit(self._target)
        if self._stale:
            for extent in self._stale:
                self.disk.overwrite(extent)
            self.disk.commit(self.disk.header.with_intent(None))

    def _place_all(self, present: Luks2Header, wanted: Luks2Header) -> t.Dict[int, Extent]:
        """The place of each area of the backup: its present one, else its old one if free, else the first gap."""
        places = {number: present.keyslots[number].area for number in wanted.keyslots if number not in self._missing}
        taken = [*(slot.area for slot in present.keyslots.values()), *present.layout.held]
        for number in self._missing:
            slot = wanted.keyslots[number]
            place = (
                slot.area
                if not any(slot.area.overlaps(other) for other in taken)
                else _gap(slot.area.size, taken, present.layout.window)
            )
            if place is None or (place != slot.area and slot.kind != "luks2"):
                raise Refused(
                    f"the key material of keyslot {number} of the backup has no room beside the keyslots of the volume",
                    why="it would overwrite key material in use, and after a power cut no keyslot might open the "
                    "volume",
                    remedy="Erase keyslots of the volume that are not needed with luksmith.luks.keyslots, then run "
                    "the task again"
                    if len(present.keyslots) > 1
                    else f"The only keyslot of the volume, {next(iter(present.keyslots), 0)}, cannot make room. Back up"
                    " the header as it is to another path, then use 'cryptsetup luksHeaderRestore', which overwrites"
                    " everything at once, without protection from a power failure",
                )
            places[number] = place
            taken.append(place)
        return places

    def _left_behind(self, present: Luks2Header) -> t.Tuple[Extent, ...]:
        kept = set(self._places.values())
        if not self.steps:
            return ()
        going = [slot.area for slot in present.keyslots.values() if slot.area not in kept]
        pending = present.intent.extents if present.intent is not None else ()
        return tuple(dict.fromkeys((*going, *pending)))


class Rebuild(Restore):
    """A restore onto a volume whose header cannot be read."""

    def __init__(self, backup: Image, damage: str) -> None:
        self.backup = backup
        self.done = []
        self._written = False
        # The journal entry of the backup describes a state that no longer exists.
        self.after = backup.header.with_intent(None)
        self.steps = (
            Action(ActionKind.RESTORE_HEADER, None, f"the header of the volume cannot be read: {damage}"),
            *(Action(ActionKind.RESTORE, number, "only the backup has it") for number in backup.header.keyslots),
        )

    @property
    def begun(self) -> bool:
        return self._written

    def run(self, volume: Volume, wipe_passes: int) -> None:
        volume.begin_writing()
        for write in self._writes():
            self._written = True
            volume.region.write(write.offset, write.data)
            volume.region.barrier()
            volume.region.confirm(
                write.offset, write.data, f"byte {write.offset} and following do not read back as they were written"
            )
        self.done = list(self.steps)

    def _writes(self) -> t.Iterator[Write]:
        for slot in self.backup.header.keyslots.values():
            yield Write(slot.area.offset, self.backup.read(slot.area.offset, slot.area.size))
        if self.backup.header.format == "luks2":
            yield from self.after.commit_writes(self.backup.header)
            return
        yield from _luksmeta_writes(self.backup)
        raw = self.after.image()[0]
        # The magic is in the first sector: without it, the rest is not a header.
        yield Write(SECTOR, raw[SECTOR:])
        yield Write(0, raw[:SECTOR])


def _luksmeta_writes(backup: Image) -> t.List[Write]:
    """The block last: it names the rest."""
    start = image_size(backup.header)
    block, content = backup.luksmeta[: luksmeta.SIZE], backup.luksmeta[luksmeta.SIZE :]
    return [Write(start + luksmeta.SIZE, content), Write(start, block)] if block else []


def _gap(size: int, taken: t.Sequence[Extent], window: Extent) -> t.Optional[Extent]:
    cursor = window.offset
    for extent in sorted(taken, key=lambda extent: extent.offset):
        if extent.offset - cursor >= size:
            break
        cursor = max(cursor, -(-extent.end // _ALIGN) * _ALIGN)
    return Extent(cursor, size) if window.end - cursor >= size else None


def _luks2(header: Header) -> Luks2Header:
    if not isinstance(header, Luks2Header):
        raise Refused(f"the backup is of a {header.format} header", why="this collection does not convert")
    return header


def _plain(header: Luks2Header) -> t.Dict[str, t.Any]:
    """The metadata without what may differ for the same keyslots: offsets of areas and our own tokens."""
    tree = header.metadata
    for slot in tree["keyslots"].values():
        slot["area"].pop("offset", None)
    tree["tokens"] = {
        name: token for name, token in tree["tokens"].items() if token["type"] not in (RECORD_TYPE, INTENT_TYPE)
    }
    return tree
