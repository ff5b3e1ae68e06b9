# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The actions of a plan, carried out by the QEMU that has the image open: one job for each keyslot that changes.

Nothing is written here, and no answer of QEMU counts as a proof. After each job the data is synced, the header is read
from the medium, must differ in this keyslot alone, and the key material is opened, or shown to be overwritten. QEMU
frees a keyslot before it overwrites the material, and does not sync in between.

No intent is noted in the header: QEMU holds the image locks and says that nobody else may write. A rekey goes through a
temporary slot as elsewhere, so that something opens at each moment, and is noted in QEMU itself. If that ends as well,
two keyslots of one secret are left at worst.
"""

from __future__ import annotations

import hmac
import math
import typing as t

from ..crypto.memory import wipe
from ..errors import Busy, HeaderChanged, LuksmithError, Refused, StorageFault
from ..header.model import SECTOR, Header, Pbkdf2
from ..plan.types import Action, ActionKind, KdfChoice
from ..required import required
from ..task.desired import Desired
from ..task.secrets import why_qemu_cannot
from ..unlock import key_material
from ..unlock.prover import Prover
from ..volume.live_image import SECRET, LiveNode, forget_move, note_move
from ..volume.monitor import Denied, Monitor
from ..volume.read_header import read_header
from ..volume.storage import Volume
from .kdf_policy import DEFAULT_ITER_TIME, MINIMUM_ITERATIONS

_LONGEST_TIME = 60_000  # ms
_ATTEMPTS = 4
_FLAKE = "Unable to get accurate CPU usage"  # QEMU 7.2 on fast processors; nothing was written then


class LiveImage:
    """The image in the hands of a QEMU. ``header``: the one on the medium. written: whether QEMU was told to write.

    prefix: begins the names of objects and jobs of this image, so that a later run knows them.
    """

    def __init__(self, volume: Volume, header: Header, monitor: Monitor, node: LiveNode, prefix: str) -> None:
        self.header = header
        self.written = False
        self.volume = volume
        self._monitor = monitor
        self._node = node
        self._prefix = prefix
        self._objects = 0

    @property
    def path(self) -> str:
        return self.volume.node.path

    def amend(self, options: t.Dict[str, t.Any], secrets: t.Mapping[str, bytearray], *, force: bool = False) -> Header:
        """The header on the medium after a job with ``options``; ``secrets``: option -> what it names.

        Raises Refused if QEMU did not do it, Busy if another program looks at the image, HeaderChanged and
        StorageFault.
        """
        self._guard()
        names = {}
        try:
            for option, secret in secrets.items():
                self._objects += 1
                names[option] = f"{self._prefix}{SECRET}{self._objects}"
                self._monitor.add_secret(names[option], secret)
            error = self._job({**options, **names}, force=force)
        finally:
            self._remove(list(names.values()))
        found = self._read()
        if error and found.image() == self.header.image():
            raise _refusal(_without(error, secrets.values()))
        if error:
            raise HeaderChanged(
                "QEMU reports an error, and the header has changed",
                why="what became of the keyslot is unknown",
                remedy="look at the volume with luksmith.luks.keyslots_info, then run the task again",
            )
        return found

    def _job(self, options: t.Dict[str, t.Any], *, force: bool) -> str:
        luks = {"driver": "luks", **options}
        qcow2 = {"driver": "qcow2", "encrypt": {"format": "luks", **options}}
        arguments = {
            "node-name": self._node.name,
            "options": qcow2 if self._node.driver == "qcow2" else luks,
            "force": force,
        }
        for _attempt in range(_ATTEMPTS):
            before, self.written = self.written, True
            try:
                error = self._monitor.run_job(f"{self._prefix}amend", "x-blockdev-amend", arguments)
            except Denied as denied:
                error = denied.text
            if error and self._read().image() == self.header.image():
                self.written = before
            if _FLAKE not in error:
                break
        return error

    def _remove(self, names: t.Sequence[str]) -> None:
        """However the job ended. What stays because the monitor is lost, the next run removes."""
        for name in names:
            try:
                self._monitor.execute("object-del", {"id": name})
            except (Denied, StorageFault):
                continue

    def note_move(self, keyslot: int, temporary_slot: int) -> None:
        """For the next run, if this one is killed. Raises StorageFault if the monitor is of no use."""
        note_move(self._monitor, self._prefix, keyslot, temporary_slot)

    def forget_move(self) -> None:
        """Raises StorageFault if the monitor is of no use."""
        forget_move(self._monitor, self._prefix)

    def _guard(self) -> None:
        self.volume.check_still_there()
        if read_header(self.volume).image() != self.header.image():
            raise HeaderChanged(
                "the header in the image is no longer the one that was read",
                why="another program changed it, through this QEMU or behind its back",
                remedy="find out what else changes this volume, then run the task again",
            )

    def _read(self) -> Header:
        """QEMU leaves it to the system when its writes reach the medium, and syncs only when it closes the image."""
        self.volume.region.barrier()
        return read_header(self.volume)


class LiveSteps:
    """``choices``: the costs that a new keyslot has on an image that is free, which QEMU comes near to."""

    def __init__(
        self, image: LiveImage, prover: Prover, desired: Desired, choices: t.Mapping[Action, KdfChoice]
    ) -> None:
        self.image = image
        self.prover = prover
        self.desired = desired
        self.choices = choices
        self.openers = {
            number: [secret for secret in secrets if not why_qemu_cannot(self._value(secret))]
            for number, secrets in prover.openers().items()
        }

    def perform(self) -> t.Dict[ActionKind, t.Callable[[Action], None]]:
        return {
            ActionKind.ADD: self.add,
            ActionKind.REKEY: self.rekey,
            ActionKind.ERASE: self.erase,
            ActionKind.FINISH_ERASE: self.finish,
        }

    def add(self, action: Action) -> None:
        """Raises what :meth:`LiveImage.amend` raises, as every step."""
        self._fill(required(action.keyslot), action, self._time_for(action))

    def erase(self, action: Action) -> None:
        """Raises as every step."""
        self._erase(required(action.keyslot))

    def rekey(self, action: Action) -> None:
        """Raises as every step."""
        number, temporary_slot, time = required(action.keyslot), action.temporary_slot, self._time_for(action)
        if temporary_slot is None:
            temporary_slot = self.image.header.layout.free_numbers()[0]
            self.image.note_move(number, temporary_slot)
            try:
                time = self._fill(temporary_slot, action, time)
            except LuksmithError:
                if not self.image.written:
                    self.image.forget_move()
                raise
        if number in self.image.header.keyslots:
            self._erase(number)
        self._fill(number, action, time)
        self._erase(temporary_slot)
        self.image.forget_move()

    def finish(self, action: Action) -> None:
        """The end of a rekey that cannot or need not go on. Raises as every step."""
        if required(action.keyslot) in self.image.header.keyslots:
            self._erase(required(action.keyslot))
        self.image.forget_move()

    def check_proofs(self) -> None:
        """Raises HeaderChanged if key material that opened has changed: it must not justify erasing another one."""
        for number in self.prover.stale(self.image.header, self.image.volume.region.reread):
            raise HeaderChanged(
                f"the key material of keyslot {number} is no longer what a secret of this task opened",
                why="another program changed it, and this plan relies on that keyslot",
                remedy="find out what else changes this volume, then run the task again",
            )

    def _fill(self, number: int, action: Action, time: int) -> int:
        """Give ``number`` the secret of ``action``; the time in ms that leads to enough iterations."""
        secret = required(action.secret)
        for _attempt in range(_ATTEMPTS):
            options = {"state": "active", "keyslot": number, "iter-time": time}
            secrets = {"new-secret": self._value(secret), "secret": self._value(self._opener())}
            found = self.image.amend(options, secrets)
            self._check_only(found, number)
            self._check_opens(found, number, secret)
            self.image.header = found
            self.openers[number] = [secret]
            iterations = t.cast(Pbkdf2, found.keyslots[number].kdf).iterations
            if iterations >= MINIMUM_ITERATIONS:
                return time
            self._erase(number)
            time = math.ceil(1.2 * time * MINIMUM_ITERATIONS / iterations)
        raise Refused(
            f"QEMU gives keyslot {number} too few iterations, however long they may take",
            why=f"fewer than {MINIMUM_ITERATIONS} make guesses of the passphrase cheap",
            remedy="run the task when the image is free",
        )

    def _erase(self, number: int) -> None:
        region, area = self.image.volume.region, required(self.image.header.layout.fixed)[number]
        before = region.reread(area.offset, area.size)
        # QEMU refuses the last keyslot without force, and takes force for more than that. Only the plan decides.
        last = set(self.image.header.keyslots) == {number} and self.desired.allow_lockout
        found = self.image.amend({"state": "inactive", "keyslot": number}, {}, force=last)
        self._check_only(found, number)
        after = region.reread(area.offset, area.size)
        size = key_material.material_size(self.image.header.keyslots[number])
        kept = [at for at in range(0, size, SECTOR) if before[at : at + SECTOR] == after[at : at + SECTOR]]
        if number in found.keyslots or kept:
            raise StorageFault(
                f"QEMU reports that keyslot {number} is erased, and "
                + ("it is still active" if number in found.keyslots else "its key material is still there"),
                why="the medium or its driver loses writes, or QEMU did not do what it says",
                remedy="check the medium, then run the task again when the image is free",
            )
        self.image.header = found
        self.openers.pop(number, None)

    def _check_only(self, found: Header, number: int) -> None:
        """Raises HeaderChanged if more than keyslot ``number`` differs."""
        before = self.image.header
        others = [
            slot
            for slot in {*before.keyslots, *found.keyslots} - {number}
            if before.keyslots.get(slot) != found.keyslots.get(slot)
        ]
        if others or _fixed_part(before) != _fixed_part(found):
            raise HeaderChanged(
                f"more than keyslot {number} has changed"
                + (f" (keyslots {', '.join(map(str, sorted(others)))})" if others else ""),
                why="another program changes this volume, too, or QEMU wrote an old header back",
                remedy="look at the volume with luksmith.luks.keyslots_info and find out who else changes it",
            )

    def _check_opens(self, found: Header, number: int, secret: int) -> None:
        """Raises StorageFault unless the secret opens the keyslot on the medium, to the key of the volume."""
        slot = found.keyslots.get(number)
        area = required(found.layout.fixed)[number]
        opened = False
        if slot is not None and slot == found.new_keyslot(number, slot.kdf, area):
            derived = self.prover.derivations.derive(secret, slot.kdf, slot.area_key_size)
            material = self.image.volume.region.reread(area.offset, key_material.material_size(slot))
            key = key_material.unseal(slot, derived, material)
            opened = hmac.compare_digest(key, self.prover.need_volume_key())
            wipe(derived, key)
        if not opened:
            raise StorageFault(
                f"QEMU reports success, and {self.desired.labels[secret]} does not open keyslot {number} on the medium",
                why="the medium or its driver loses writes, or QEMU did not do what it says",
                remedy=f"check the medium; erase keyslot {number} when the image is free",
            )

    def _opener(self) -> int:
        """A secret that opens a keyslot now. Only QEMU's own trials depend on which; it begins with the lowest."""
        return next(secrets[0] for _number, secrets in sorted(self.openers.items()) if secrets)

    def _value(self, secret: int) -> bytearray:
        return self.prover.derivations.secrets[secret].value

    def _time_for(self, action: Action) -> int:
        """Milliseconds: those of the entry, else what the costs of an image that is free take."""
        given = None if action.entry is None else self.desired.entries[action.entry].iter_time
        measured, wanted = self.prover.measured, self.choices[action].kdf
        if given is not None or measured is None:
            return given or DEFAULT_ITER_TIME
        rate = t.cast(Pbkdf2, measured.kdf).iterations / max(measured.seconds, 0.001)
        return max(1, min(_LONGEST_TIME, math.ceil(1000 * t.cast(Pbkdf2, wanted).iterations / rate)))


def _fixed_part(header: Header) -> t.Tuple[t.Any, ...]:
    """What no change of a keyslot touches."""
    digests = [digest._replace(keyslots=()) for digest in header.digests]
    return header.uuid, header.cipher, header.key_size, digests, header.segments, header.intent


def _refusal(error: str) -> LuksmithError:
    if "lock" in error:
        return Busy(
            f"QEMU could not change the keyslot: {error}",
            why="another program has the image open for reading",
            remedy="Stop that program, or run the task again if it has ended",
        )
    return Refused(
        f"QEMU did not change the keyslot: {error}",
        why="its own checks are stricter than this plan, or something else uses the node",
        remedy="remove the cause, or run the task when the image is free",
    )


def _without(text: str, secrets: t.Iterable[bytearray]) -> str:
    """A text of QEMU; not if it repeats what only QEMU was told."""
    raw = text.encode("utf-8", "surrogateescape")
    return (
        "(its text repeats a secret and is not shown)" if any(secret and secret in raw for secret in secrets) else text
    )
