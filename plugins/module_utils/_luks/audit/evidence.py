# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to luksmith.luks; it may change in any release.
"""The input of the rules: all that was seen and proven of one volume."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ..header.luks2.validate_keyslots import means_reencryption
from ..header.model import Header, Keyslot
from ..unlock.hints import fingerprint
from .backups import Backup
from .randomness import Randomness
from .stored import Stored


class Asked(t.NamedTuple):
    """What the tokens said whose secrets the task asks for.

    opens:  token -> those of its keyslots that its secret opens; none of them if the binding is stale.
    silent: token -> why it gave no secret, or none that could be tried.
    labels: of the secrets that no token gave, but a silent one might -> why.
    alone:  keyslots that the secret of a token opens, and no other given one.
    """

    opens: t.Mapping[int, t.FrozenSet[int]]
    silent: t.Mapping[int, str]
    labels: t.Mapping[str, str]
    alone: t.FrozenSet[int]


NOTHING_ASKED = Asked({}, {}, {}, frozenset())


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One volume as it was found.

    container, detached: "raw" or "qcow2"; whether the header is a file of its own.
    data_size:   bytes of the encrypted data, or None if unknown.
    raw:         the bytes of the header, see :meth:`Header.image` (LUKS1: 1024; LUKS2: both copies).
    metadata:    the JSON tree of LUKS2, else empty.
    labels, forbidden: labels of the secrets that may open the volume, and of those that must not.
    opened_by:   keyslot -> labels of the secrets that open it.
    recorded:    keyslots whose ``opened_by`` comes from the record only.
    untried:     keyslot -> why it could not be tried ("no secret was given").
    empty:       keyslots that the empty secret opens; empty_tried: whether it was tried on each keyslot.
    machine_made: keyslots whose proven opener has the form of a random key.
    beyond_limits: keyslot -> the limit that its derivation exceeds.
    areas:       keyslot -> whether its key material looks random.
    signature:   the signature of another format on the device.
    backups:     header backups of this volume; unread_backups: path -> why one could not be read.
    now:         UTC.
    prints:      keyed fingerprints of the volume key and of the secrets that open it, empty without a key.
    grub:        whether GRUB must open it, because /boot is on it.
    key_padding: zero bytes at the end of the volume key, None if no secret gave it.
    fips:        whether only the validated library of the host was used.
    stored:      what the store of a rotation says of the volume, or None.
    chain:       the files beneath a qcow2 image, as rows of the result (:mod:`.usecases.chain`).
    luksmeta:    token -> what luksmeta keeps for it in a LUKS1 header, as far as it can be read.
    asked:       what tokens said.
    """

    header: Header
    container: str
    detached: bool
    data_size: t.Optional[int]
    raw: bytes
    metadata: t.Mapping[str, t.Any]
    labels: t.Tuple[str, ...]
    forbidden: t.Tuple[str, ...]
    opened_by: t.Mapping[int, t.Tuple[str, ...]]
    recorded: t.FrozenSet[int]
    untried: t.Mapping[int, str]
    empty: t.FrozenSet[int]
    machine_made: t.FrozenSet[int]
    beyond_limits: t.Mapping[int, str]
    areas: t.Mapping[int, Randomness]
    signature: t.Optional[str]
    backups: t.Tuple[Backup, ...]
    unread_backups: t.Mapping[str, str]
    now: datetime.datetime
    prints: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    grub: bool = False
    key_padding: t.Optional[int] = None
    fips: bool = False
    stored: t.Optional[Stored] = None
    chain: t.Tuple[t.Mapping[str, t.Any], ...] = ()
    luksmeta: t.Mapping[int, bytes] = dataclasses.field(default_factory=dict)
    empty_tried: bool = False
    asked: Asked = NOTHING_ASKED

    @property
    def bound(self) -> t.List[Keyslot]:
        """The keyslots that open the data."""
        return [slot for slot in self.header.keyslots.values() if slot.bound]

    @property
    def reencrypting(self) -> bool:
        """Whether a reencryption is under way, so that two volume keys are in use and no keyslot may be changed."""
        header = self.header
        by_slot = any(slot.kind == "reencrypt" for slot in header.keyslots.values())
        return by_slot or any(map(means_reencryption, header.requirements))

    def opens(self, token: int, keyslot: int) -> bool:
        """Whether the secret that the token gave is proven to open the keyslot."""
        return keyslot in self.asked.opens.get(token, ())

    def refuted(self, token: int, keyslot: int) -> bool:
        """Whether the token gave a secret, and that was tried on the keyslot and does not open it."""
        return token in self.asked.opens and not self.opens(token, keyslot) and keyslot not in self.untried

    def silence(self, keyslot: int) -> str:
        """Which token that may open the keyslot gave no secret to try, and why, or ""."""
        return "; ".join(
            f"token {token.number} of type {token.type!r} gave no secret: {self.asked.silent[token.number]}"
            for token in self.header.tokens
            if keyslot in token.keyslots and token.number in self.asked.silent
        )

    def is_current(self, keyslot: int) -> bool:
        """Whether the keyslot is still the one that the record of this collection describes."""
        entry, slot = self.header.record.get(keyslot), self.header.keyslots.get(keyslot)
        return entry is not None and slot is not None and entry.fingerprint == fingerprint(slot.kdf)

    def changed(self, keyslot: int) -> t.Optional[datetime.datetime]:
        """When the keyslot got its secret: by the record, else by the store whose secret opens it, or None."""
        if self.is_current(keyslot):
            return written(self.header.record[keyslot].changed)
        stored = self.stored
        by_store = stored is not None and stored.current and stored.current in self.opened_by.get(keyslot, ())
        return written(stored.created) if stored is not None and by_store else None

    def age_days(self, keyslot: int) -> t.Optional[int]:
        """Whole days since then, or None."""
        changed = self.changed(keyslot)
        return None if changed is None else (self.now - changed).days


def written(text: str) -> t.Optional[datetime.datetime]:
    """The time of a record entry; None if it is not a time."""
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return None
