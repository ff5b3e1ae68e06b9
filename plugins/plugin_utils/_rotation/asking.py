# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""What is wanted of each volume, by the store and the options, and in which words a host is asked for it. It decides
by what it is given, and asks neither host nor store.
"""

from __future__ import annotations

import datetime
import typing as t

from .decision import MAKE, REST, TAKE_UP, Decision, Wanted, decide, unproven, useless
from .entry import Entry, Secret
from .groups import Group
from .orders import orders
from .volume import Option, Volume

REPORT, FAIL, ERASE = UNKNOWN = ("report", "fail", "erase")
AUTO, ALWAYS, NEVER = INITRAMFS = ("auto", "always", "never")


class Options(t.NamedTuple):
    """What whoever runs the play wants; docs of the role ``rotate`` explain each. check: change nothing, neither store
    nor host.
    """

    host: str
    wanted: Wanted
    volumes: t.Sequence[Option] = ()
    paths: t.Sequence[str] = ()
    block_devices: bool = True
    exclude: t.Sequence[str] = ()
    crypttab: str = "/etc/crypttab"
    passphrase_format: str = "base32"
    entropy: int = 128
    replaces: t.Sequence[Option] = ()
    keeps: t.Sequence[Option] = ()
    keep_older: int = 2
    pbkdf: t.Optional[Option] = None
    iter_time: int = 0
    wipe: str = "auto"
    lock_timeout: float = 30.0
    qmp: t.Optional[Option] = None
    fips: str = "auto"
    backup: str = ""
    backup_dir: str = ""
    initramfs: str = AUTO
    unknown: str = REPORT
    groups: t.Sequence[Group] = ()
    prefix: str = ""
    begin: bool = False
    check: bool = False


class Asking:
    """now: of the whole run, so that all of a group decide alike. placeholder: in the place of a secret that is not
    made yet.
    """

    def __init__(self, options: Options, now: datetime.datetime, placeholder: Secret) -> None:
        self._options = options
        self._now = now
        self._placeholder = placeholder

    def decided(self, entry: Entry, distrusted: t.Collection[str] = ()) -> Decision:
        # It stands first, and what is wanted otherwise makes no difference: somebody put it there.
        first = entry["older"][0] if entry["older"] and entry["next"] is None else {}
        if first.get("discarded") and first["id"] in distrusted:
            return unproven(first)
        decision = decide(entry, self._options.wanted, self._now)
        if decision.phase == REST and entry["current"]["id"] in distrusted:
            return useless(entry["current"])
        return decision

    def secret_of(self, entry: Entry, decision: Decision) -> Secret:
        if decision.phase == MAKE:
            return self._placeholder
        return t.cast(Secret, entry["next"] if decision.phase == TAKE_UP else entry["current"])

    def first_order(self, entry: Entry) -> Option:
        """Before the volume was seen."""
        decision = self.decided(entry)
        return self._order(entry, decision, self.secret_of(entry, decision), [], "", [])

    def order_of(self, volume: Volume) -> Option:
        return self._order(
            volume.entry, volume.decision, volume.new, volume.seen.record, volume.seen.type, volume.outlaws
        )

    def _order(
        self,
        entry: Entry,
        decision: Decision,
        new: Secret,
        record: t.Sequence[Option],
        format: str,
        outlaws: t.Sequence[int],
    ) -> Option:
        options = self._options
        # It is tried in the look itself, which has its answer: no keyslot is named before.
        arguments = {
            "keeps": list(options.keeps),
            "replaces": list(options.replaces),
            "pbkdf": options.pbkdf,
            "iter_time": options.iter_time,
            "record": record,
            "luks": format,
            "opened": [],
            "made": [],
        }
        order = orders(entry, decision, new, arguments)
        order["absent"] += [{"state": "absent", "keyslot": keyslot} for keyslot in outlaws]
        return order

    def was_asked(self, volume: Volume, before: Option, known: bool) -> bool:
        """Whether the host looked at the volume with the order that it has by now. before: the order of a look that was
        not the first. known: whether the store knows the volume.
        """
        planned = volume.seen.planned
        if not (volume.order["present"] or volume.order["absent"]):
            return True
        if planned is None and not volume.seen.refused:
            return False
        if volume.looks > 1:
            return _same_order(before, volume.order)
        # The first look went by an order of this very entry, or by the one of volumes that the store does not know.
        if planned is None:
            return False  # refused; it is asked alone, so that the reason is that of this order
        if known != (planned.order == volume.uuid) or volume.outlaws or volume.distrusted:
            return False
        return _same_order(self.first_order(volume.entry), volume.order)

    def common(self) -> Option:
        options = self._options
        return {
            "backup": options.backup or None,
            "backup_dir": options.backup_dir or None,
            "wipe": options.wipe,
            "lock_timeout": options.lock_timeout,
            "qmp": options.qmp or {},
            "fips": options.fips,
        }

    @staticmethod
    def place(volume: Volume) -> Option:
        place = {"device": volume.before.device, "header": volume.before.header}
        return {**place, "keyfiles": volume.before.keyfiles}

    def work(self, uuid: str, order: Option) -> Option:
        return {
            "uuid": uuid or None,
            "unlock": order["unlock"],
            "kept": len(self._options.keeps),
            "keyslots": order["present"] + order["absent"],
            "replaced": [entry["old_secret"] for entry in order["absent"] if "old_secret" in entry],
        }


def _same_order(one: Option, other: Option) -> bool:
    """Whether both want the same of a volume; a keyslot that was named since, why, and the token that LUKS1 does not
    get, make no difference.
    """
    if not one or not other:
        return False

    def wants(order: Option) -> t.Any:
        present = [
            {**entry, "keyslot": None, "new_secret": {**entry["new_secret"], "token": None}}
            for entry in order["present"]
        ]
        return order["phase"], order["unlock"], present, order["absent"]

    return bool(wants(one) == wants(other))
