# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This plugin util is PRIVATE to luksmith.luks; it may change in any release.
"""The rotation of all volumes of a host, as a machine of states: docs/rotation.md has its order, and what each
interruption leaves.

It knows no Ansible. All that it does in the world goes through :mod:`.world`; between two calls it holds no state that
is not in the store or on the volume, so that a run that is killed anywhere is finished by the next one.

The host is asked as seldom as possible, because each call costs more than all else: once for a look at all volumes,
together with what is wanted of those that the store knows already; then once for each step, for all volumes that are
due. Volumes with one UUID share an entry of the store, and take turns. Volumes of a group share an entry, too, and go
side by side: the new secret is staged once, promoted when all of them have it, and none of them erases the old one
before.
"""

from __future__ import annotations

import contextlib
import typing as t

from . import answers, unknown
from .answers import Done
from .asking import ALWAYS, NEVER, Asking, Options
from .decision import MAKE, REST, TAKE_UP
from .entry import (
    BadEntry,
    Entry,
    Secret,
    blank,
    check_given_back,
    check_not_older,
    check_uuid,
    discarded,
    forgotten,
    held,
    promoted,
    proven,
    read,
    staged,
    strangers,
    told_of_forgotten,
)
from .groups import groups_of
from .stores import Stored, StoreError, says_unchanged
from .volume import DONE, PARTIAL, REFUSED, UNCHANGED, Option, Refused, Volume
from .words import in_words
from .world import Asked, Chance, Host, HostError, Phase, Progress

# Looks at one volume in one run: an honest host needs six at most, with a staged secret that is taken up and replaced.
_MOST_LOOKS = 6
# A new secret has no id before it is staged; the plan of a look names it so.
_NEW = "new"

TAKEN_UP = "Nothing is lost: what was staged is in the store, and the next run of this playbook takes it up."
_OPENS = "The new secret is in the store, and the next run of this playbook takes it up and erases what is old."


class Rotation:
    """All volumes of one host. :meth:`run` once; :attr:`volumes` has what became of each."""

    def __init__(self, options: Options, host: Host, store: Asked, progress: Progress, chance: Chance) -> None:
        self._options = options
        self._host = host
        self._store = store
        self._progress = progress
        self._chance = chance
        self.volumes: t.List[Volume] = []
        self.unmatched: t.Any = []  # patterns that led to no volume, as the host says
        self._stored: t.Dict[str, Stored] = {}  # what the store holds by key, as far as this run knows
        self._made: t.Set[str] = set()  # ids of secrets that this run brought to a volume

    def run(self) -> None:
        """Raises HostError if the host could not be asked for its volumes, or what :class:`.world.Host` lets through;
        :attr:`volumes` then has what was done before.
        """
        try:
            self._rotate()
        except Exception:
            for volume in self.volumes:
                if not volume.ended:
                    self._abandon(volume)
            raise

    def _abandon(self, volume: Volume) -> None:
        """The run ends before the volume does, because its host is gone, for instance."""
        known = "It is not known whether the volume was changed" if volume.touched else "The volume was not changed"
        self._fail(volume, f"the run ended before this volume was brought to the end. {known}")

    def _rotate(self) -> None:
        placeholder = self._new_secret(_NEW)
        self._asking = Asking(self._options, self._chance.now(), placeholder)
        self._discover()
        while True:
            active = self._active()
            if not active:
                return
            for volume in active:
                if volume.phase is Phase.DECIDE:
                    with self._alone(volume):
                        self._settle(volume)
            self._stop_groups(active)
            again = [volume for volume in active if volume.phase is Phase.LOOK]
            if again:
                self._look_again(again)
                continue
            for together in self._together(active):
                self._judge([volume for volume in together if volume.phase is Phase.DECIDE])
            self._stop_groups(active)
            if not any(volume.phase in (Phase.DECIDE, Phase.LOOK) for volume in active):
                self._carry_out([volume for volume in active if not volume.ended])

    def _active(self) -> t.List[Volume]:
        """The volumes that are not at their end: all of each group, and else the first of each entry in the store."""
        first: t.Dict[t.Any, Volume] = {}
        for volume in self.volumes:
            if not volume.ended:
                alone = volume.group or not volume.uuid
                first.setdefault(volume.number if alone else volume.uuid, volume)
        return list(first.values())

    @staticmethod
    def _together(volumes: t.Sequence[Volume]) -> t.List[t.List[Volume]]:
        """Those of a group side by side, every other one alone; without those that are at their end."""
        found: t.Dict[t.Any, t.List[Volume]] = {}
        for volume in volumes:
            if not volume.ended:
                found.setdefault(volume.group or volume.number, []).append(volume)
        return list(found.values())

    def _stop_groups(self, volumes: t.Sequence[Volume]) -> None:
        """What one of a group is refused for, or fails at, stops the others before the next thing that is for all."""
        failed = [volume for volume in self.volumes if volume.group and volume.failed]
        bad = {volume.group: volume.before.device for volume in reversed(failed)}
        for volume in volumes:
            if volume.group in bad and not volume.ended:
                self._fail(
                    volume,
                    f"it shares its secret with {bad[volume.group]} (group {volume.group.name!r}), which was not "
                    "brought to the end. All volumes of the group go on together in the next run",
                )

    # Looking

    def _discover(self) -> None:
        options = self._options
        works = [{"device": one["device"], "header": one.get("header")} for one in options.volumes]
        search = {
            "paths": list(options.paths),
            "block_devices": options.block_devices,
            "crypttab": options.crypttab,
            "exclude": list(options.exclude),
        }
        asked = {"discover": search, "volumes": works, "orders": self._orders_of_known()}
        answer = self._host.step({"step": "look", **asked, **self._asking.common()})
        found = answers.seen(answer)
        self.unmatched = answer.get("unmatched")
        named, away = groups_of(self._options.groups, found)
        self.volumes = [Volume(seen, number) for number, seen in enumerate([*found, *away], 1)]
        for volume, group in zip(self.volumes, named):
            volume.group = group

    def _orders_of_known(self) -> t.List[Option]:
        """What is wanted of each volume that the store knows, and of all others, so that one look is enough at rest.

        Nothing where the store cannot list what it holds, or where more must be known before: then the volume is looked
        at twice.
        """
        start = f"{self._options.prefix}{self._options.host}/"
        try:
            known = self._store.known(start)
        except StoreError:
            return []  # said where the volume is asked for, which names it
        if known is None:
            return []
        works = []
        members = {group.uuid: group.members for group in self._options.groups}
        grouped = {member for group in members.values() for member in group}
        for key, stored in known.items():
            self._stored[key] = stored
            with contextlib.suppress(BadEntry):
                owner = check_uuid(key[len(start) :])
                order = self._asking.first_order(read(stored.entry, self._options.host, owner, ""))
                # Of a group, those that are named by their UUID; its others are looked at once more.
                uuids = members.get(owner, () if owner in grouped else (owner,))
                works += [self._asking.work(uuid, order) for uuid in uuids if "/" not in uuid]
        with contextlib.suppress(BadEntry):
            nothing = blank(self._options.host, "00000000-0000-0000-0000-000000000000", "")
            works.append(self._asking.work("", self._asking.first_order(nothing)))
        return works

    def _look_again(self, volumes: t.Sequence[Volume]) -> None:
        """With what is wanted of each by now."""
        works = [{**self._asking.work(volume.uuid, volume.order), **self._asking.place(volume)} for volume in volumes]
        for volume in volumes:
            volume.looks += 1
        found: t.Sequence[t.Any] = ()
        try:
            found = answers.seen(self._host.step({"step": "look", "volumes": works, **self._asking.common()}))
            if len(found) != len(volumes):
                raise HostError(f"the host was asked about {len(volumes)} volumes and answered about {len(found)}")
        except HostError as error:
            for volume in volumes:
                self._fail(volume, self._said(volume, str(error)))
            return
        for volume, seen in zip(volumes, found):
            with self._alone(volume):
                if not seen.refused and seen.uuid != volume.before.uuid:
                    raise Refused("the volume has another UUID than a moment ago: another one is at this path now")
                # Where it is, and what crypttab says of it, is as it was found at first.
                volume.seen = seen._replace(
                    device=volume.before.device, header=volume.before.header, keyfiles=volume.before.keyfiles
                )
                volume.phase = Phase.DECIDE

    # Deciding

    def _settle(self, volume: Volume) -> None:
        """From LOOK to what is due; back to LOOK where the host was asked for something else than is due."""
        seen = volume.seen
        self._tell(volume, Phase.LOOK, "", loud=False)
        if seen.refused and seen.phase in ("look", "backup", ""):
            raise Refused(self._said(volume, seen.refused), seen.phase)
        volume.phase = Phase.DECIDE
        check_uuid(seen.uuid)
        key = self._key(volume)
        if key not in self._stored:
            self._stored[key] = self._store.read(key)
        entry = read(self._stored[key].entry, self._options.host, volume.owner, volume.place)
        if not self._has_own_entry(volume, entry):
            check_not_older(entry, seen.record, self._options.begin)
        if entry["next"] is not None and entry["next"]["id"] in volume.distrusted:
            entry = discarded(entry)
        volume.entry, volume.decision = entry, self._asking.decided(entry, volume.distrusted)
        volume.new = self._asking.secret_of(entry, volume.decision)
        before = volume.order
        volume.order = self._asking.order_of(volume)
        self._look_beneath(volume, seen.chain)
        if not self._asking.was_asked(volume, before, self._stored[key].entry is not None):
            volume.phase = Phase.LOOK
            if volume.looks >= _MOST_LOOKS:
                raise Refused("the host says something else each time it is asked about this volume")
            return
        if seen.refused:
            forgotten = told_of_forgotten(entry, seen.record)
            raise Refused(" ".join(filter(None, (self._said(volume, seen.refused), forgotten))), seen.phase)

    def _has_own_entry(self, volume: Volume, entry: Entry) -> bool:
        """Whether what the record of a member of a group names is in an entry that the volume had before it came to the
        group, and may be left to ``rotate_replaces``. Raises BadEntry if it may not.
        """
        if not volume.group or not strangers(entry, volume.seen.record):
            return False
        key = f"{self._options.prefix}{self._options.host}/{volume.before.uuid}"
        own = read(self._store.read(key).entry, self._options.host, volume.uuid, volume.before.device)
        if not held(own) or strangers(own, volume.seen.record):
            return False
        if not self._options.begin:
            raise BadEntry(
                f"it was rotated before it came to the group {volume.group.name!r} of rotate_groups: the store has an "
                f"entry of its own for it ({key}), with the secret that the record in the header names. Put the "
                "current secret of that entry under rotate_replaces, and set rotate_store_create: true for one run"
            )
        return True

    def _judge(self, together: t.Sequence[Volume]) -> None:
        """From DECIDE to STAGE or to the end; they stay in DECIDE where something else is due, because the secret of
        the store is not believed, and go back to LOOK for keyslots that are to go with the old secrets.
        """
        if not self._believed(together):
            return
        for volume in together:
            with self._alone(volume):
                self._judge_unknown(volume)
        if any(volume.phase is Phase.LOOK for volume in together):
            return
        for volume in together:
            if not volume.ended:
                with self._alone(volume):
                    if volume.decision.phase != REST:
                        self._store.check()
        self._stop_groups(together)
        for volume in together:
            if not volume.ended:
                with self._alone(volume):
                    self._foresee(volume)

    def _believed(self, together: t.Sequence[Volume]) -> bool:
        """Whether one of the volumes proves the secret of the store that they are to go by.

        Nothing comes to a volume that this run has not made, or that another one of its group does not prove: what is
        in the store could have been put there.
        """
        good = False
        for volume in together:
            planned = volume.seen.planned
            if volume.decision.phase == MAKE or planned is None or not volume.order["label"]:
                return True
            opened = planned.opened(volume.order["label"])
            if volume.decision.phase == TAKE_UP:
                good = good or proven(volume.new, opened, volume.seen.record)
            else:
                good = good or bool(opened) or volume.new["id"] in self._made
                if opened:
                    for entry in volume.order["present"]:
                        entry["keyslot"] = min(opened)  # the module refuses any other secret there
        for volume in together if not good else ():
            volume.distrusted.add(volume.new["id"])
        return good

    def _new_secret(self, identity: str) -> Secret:
        options = self._options
        return self._chance.secret(identity, options.wanted, options.passphrase_format, options.entropy)

    def _judge_unknown(self, volume: Volume) -> None:
        """Keyslots that are to go do so together with the old secrets."""
        slots = unknown.to_erase(volume, self._options.unknown)
        if slots and not volume.outlaws:
            volume.outlaws = slots
            volume.order = self._asking.order_of(volume)
            volume.phase = Phase.LOOK

    def _foresee(self, volume: Volume) -> None:
        """Say what is going to happen. In check mode that is all."""
        planned = volume.seen.planned
        order = volume.order
        quiet = volume.decision.phase == REST and not self._has_work(volume)
        behind = volume.entry.get("behind") if volume.decision.phase == REST else None
        told = f"; brought up to date: {' and '.join(behind)}" if behind else ""
        self._tell(volume, Phase.DECIDE, f"{volume.decision.phase}: {order['reason']}{told}", loud=not quiet)
        if planned is not None and not planned.changed:
            volume.prove_closed()
        if quiet:
            if planned is not None:
                volume.table = planned.table
            volume.end(DONE if volume.changed else UNCHANGED)
        elif self._options.check:
            self._foretell(volume)
        else:
            volume.phase = Phase.STAGE

    def _foretell(self, volume: Volume) -> None:
        planned = volume.seen.planned
        if planned is not None:
            volume.actions += planned.actions
            volume.table = planned.table
            volume.diffs.append(planned.diff)
        changed = volume.decision.phase != REST or (planned is not None and planned.changed) or volume.seen.backup
        changed = changed or bool(volume.entry.get("behind"))
        volume.changed = changed or any(one["changed"] for one in volume.seen.follow)
        volume.end(DONE if volume.changed else UNCHANGED)

    def _has_work(self, volume: Volume) -> bool:
        seen = volume.seen
        follows = any(one["changed"] for one in seen.follow)
        forgets = len(volume.entry["older"]) > self._options.keep_older and not self._options.check
        forgets = forgets or bool(volume.entry.get("behind"))
        return bool((seen.planned is not None and seen.planned.changed) or follows or seen.backup or forgets)

    # Carrying out

    def _carry_out(self, volumes: t.Sequence[Volume]) -> None:
        for together in self._together(volumes):
            with self._alone(together[0]):
                self._stage(together)
        self._stop_groups(volumes)
        self._add([volume for volume in volumes if not volume.ended])
        for volume in volumes:
            with self._alone(volume):
                self._follow(volume)
        self._stop_groups(volumes)
        for together in self._together(volumes):
            with self._alone(together[0]):
                self._promote(together)
        self._stop_groups(volumes)
        self._erase([volume for volume in volumes if not volume.ended])
        for together in self._together(volumes):
            with self._alone(together[0]):
                self._forget(together)
        for volume in volumes:
            with self._alone(volume):
                self._go_on(volume)

    def _stage(self, together: t.Sequence[Volume]) -> None:
        first = together[0]
        if first.decision.phase != MAKE:
            for volume in together:
                volume.staged = first.decision.phase == TAKE_UP
            return
        new = self._new_secret(self._chance.identity())
        for volume in together:
            volume.new = new
            volume.order = self._asking.order_of(volume)
        self._tell(first, Phase.STAGE, f"secret {new['id']}")
        before = [volume.began for volume in together]
        for volume in together:
            volume.began = True
        try:
            self._write(together, staged(first.entry, new), "next")
        except StoreError as error:
            if says_unchanged(error):
                for volume, began in zip(together, before):
                    volume.began = began
            raise
        for volume in together:
            volume.staged = True

    def _write(self, together: t.Sequence[Volume], entry: Entry, field: str) -> None:
        """The store must give back what it was given, before a volume comes to depend on it."""
        first = together[0]
        key = self._key(first)
        version = self._stored[key].version
        del self._stored[key]  # until the store has answered, it is not known what it holds
        stored = self._store.write(key, entry, version)
        found = read(stored.entry, self._options.host, first.owner, first.place)
        if field:
            check_given_back(found, field, first.new)
        self._stored[key] = stored
        for volume in together:
            volume.entry, volume.changed = found, True

    def _adds(self, volume: Volume) -> bool:
        """Whether there is something to do before the erase: a secret to add, or a keyfile to bring to it."""
        if volume.decision.phase != REST:
            return True
        return self._comes(volume) or any(one["changed"] for one in volume.seen.follow)

    @staticmethod
    def _comes(volume: Volume) -> bool:
        """Whether the current secret comes to this volume because this run brought it to another one with its UUID, or
        another one of its group has it.
        """
        label, planned = volume.order["label"], volume.seen.planned
        return bool(label) and planned is not None and not planned.opened(label)

    def _add(self, volumes: t.Sequence[Volume]) -> None:
        adding = [volume for volume in volumes if self._adds(volume)]
        works = []
        for volume in adding:
            self._tell(volume, Phase.ADD, volume.order["label"])
            order = volume.order
            # Without a free keyslot there is no room for both: the old one goes first. The store holds both by now.
            full = volume.seen.free == 0 and (volume.decision.phase != REST or self._comes(volume))
            entries = order["present"] + (order["absent"] if full else [])
            work = {**self._asking.work(volume.uuid, order), **self._asking.place(volume), "keyslots": entries}
            work["hints"] = volume.seen.planned.hints() if volume.seen.planned else []
            secret = {name: value for name, value in order["present"][0]["new_secret"].items() if name != "token"}
            works.append({**work, "prove": secret, "keyfiles": volume.seen.keyfiles})
        for volume, done in self._step("add", adding, works):
            volume.followed = done.follow
            if done.refused:
                self._fail(volume, self._said(volume, done.refused), done.phase)
            else:
                self._made.add(volume.new["id"])

    def _follow(self, volume: Volume) -> None:
        """The initramfs. After an interruption it is unknown whether the image has the new keyfile, so that it is built
        in each run until the secret is promoted.
        """
        if volume.ended or self._options.initramfs == NEVER:
            return
        changed = any(one["changed"] for one in volume.followed)
        unsure = volume.decision.phase != REST and any(one["holds"] == "new" for one in volume.followed)
        if not (changed or unsure):
            return
        volume.phase = Phase.INITRAMFS
        build = self._options.initramfs == ALWAYS or any(
            self._host.holds_keyfile(one["name"], one["path"]) for one in volume.followed
        )
        if build:
            self._tell(volume, Phase.INITRAMFS, "")
            self._host.build_initramfs()
            volume.changed = True

    def _promote(self, together: t.Sequence[Volume]) -> None:
        first = together[0]
        if first.decision.phase == REST:
            return
        self._tell(first, Phase.PROMOTE, f"secret {first.new['id']}")
        self._write(together, promoted(first.entry, first.new["id"]), "current")
        for volume in together:
            volume.promoted = True
            volume.rounds.append(volume.new["id"])

    def _erase(self, volumes: t.Sequence[Volume]) -> None:
        erasing, works = [], []
        for volume in volumes:
            order, planned = volume.order, volume.seen.planned
            if volume.decision.phase == REST:
                due = (planned is not None and planned.changed) or volume.seen.backup
            else:
                due = bool(order["absent"] or self._options.backup)
            if not due:
                continue
            self._tell(volume, Phase.ERASE, ", ".join(_labels(order["absent"])))
            erasing.append(volume)
            work = {**self._asking.work(volume.uuid, order), **self._asking.place(volume)}
            works.append({**work, "uuid": volume.before.uuid, "hints": planned.hints() if planned else []})
        for volume, done in self._step("erase", erasing, works):
            if done.refused:
                self._fail(volume, self._said(volume, done.refused), done.phase)
            else:
                volume.prove_closed()

    def _step(
        self, name: str, volumes: t.Sequence[Volume], works: t.Sequence[Option]
    ) -> t.Iterator[t.Tuple[Volume, Done]]:
        """One call for all; what a volume lost on the way is noted before it is yielded."""
        if not volumes:
            return
        for volume in volumes:
            volume.began = volume.touched = True
        try:
            found = answers.done(
                self._host.step({"step": name, "volumes": works, **self._asking.common()}), len(volumes)
            )
        except HostError as error:
            for volume in volumes:
                self._fail(volume, self._said(volume, str(error)))
            return
        for volume, work, done in zip(volumes, works, found):
            volume.changed = volume.changed or done.changed
            volume.actions += [
                {**one, "reason": self._said(volume, str(one.get("reason", "")))} for one in done.actions
            ]
            if done.table is not None:
                volume.table = done.table
            if done.chain is not None:
                self._look_beneath(volume, done.chain)
            if done.diff is not None:
                volume.diffs.append(done.diff)
            if done.device != work["device"]:
                done = done._replace(refused="the host answered about another volume than it was asked about")
            elif not done.refused:
                done = done._replace(refused=answers.contradiction(work["keyslots"], done))
            yield volume, done

    def _forget(self, together: t.Sequence[Volume]) -> None:
        """The oldest secrets, which open nothing any more; and what only one of several stores has, by now proven."""
        first = together[0]
        if first.group and any(one.failed and one.group == first.group for one in self.volumes):
            return  # the oldest may still open that one
        shorter = forgotten(first.entry, self._options.keep_older)
        if shorter != first.entry or first.entry.get("behind"):
            self._tell(first, Phase.FORGET, "", loud=False)
            self._write(together, shorter, "")

    def _go_on(self, volume: Volume) -> None:
        if volume.ended:
            return
        if volume.decision.phase == TAKE_UP and volume.decision.then:
            # The next rotation follows in the same run; what is there has changed since the last look.
            volume.outlaws, volume.staged, volume.promoted = (), False, False
            volume.followed = []
            volume.decision = self._asking.decided(volume.entry)
            volume.new = self._asking.secret_of(volume.entry, volume.decision)
            volume.order = self._asking.order_of(volume)
            volume.phase = Phase.LOOK
            return
        volume.end(DONE if volume.changed else UNCHANGED)

    # What all share

    def _key(self, volume: Volume) -> str:
        owner = volume.owner if volume.group else volume.before.uuid
        return f"{self._options.prefix}{self._options.host}/{owner}"

    def _tell(self, volume: Volume, phase: Phase, says: str, *, loud: bool = True) -> None:
        """The volume enters ``phase``."""
        volume.phase = phase
        self._progress.phase(volume.before.device, volume.number, len(self.volumes), phase, says, loud)

    @contextlib.contextmanager
    def _alone(self, volume: Volume) -> t.Iterator[None]:
        """What one volume is refused for does not stop the others."""
        try:
            yield
        except Refused as error:
            self._fail(volume, str(error), error.step)
        except (StoreError, HostError) as error:
            self._fail(volume, str(error))
        except (BadEntry, ValueError) as error:
            left = "" if volume.touched else ". The volume was not changed."
            self._fail(volume, f"{error}{left}")

    def _fail(self, volume: Volume, why: str, phase: str = "") -> None:
        reached = phase or volume.phase.value
        why = why if why.endswith((".", "!", "?")) else f"{why}."
        left = f" {_OPENS}" if volume.promoted else f" {TAKEN_UP}" if volume.staged else ""
        msg = why if why.startswith(f"{volume.before.device}: ") else f"{volume.before.device}: {why}"
        state = PARTIAL if volume.began else REFUSED
        self._progress.phase(
            volume.before.device, volume.number, len(self.volumes), volume.phase, f"{state} at {reached}", True
        )
        volume.end(state, f"{msg}{left}")
        volume.failed_at = reached

    def _look_beneath(self, volume: Volume, chain: t.Sequence[Option]) -> None:
        """Note what is beneath the volume, and which secrets open it that are to open nothing."""
        gone = [entry["old_secret"].get("label") for entry in volume.order["absent"] if "old_secret" in entry]
        volume.goes = [
            label or self._said(volume, f"keyslots[{number}].old_secret") for number, label in enumerate(gone, 1)
        ]
        stays = {volume.order["label"]}
        stays.update(secret.get("label") or f"rotate_keeps[{n}]" for n, secret in enumerate(self._options.keeps))
        rows = [{**row, "opened_by": [self._said(volume, label) for label in row["opened_by"]]} for row in chain]
        volume.chain = [
            {**row, "replaced": [label for label in row["opened_by"] if label not in stays]} for row in rows
        ]

    def _said(self, volume: Volume, text: str) -> str:
        keeps = len(self._options.keeps)
        absent = volume.order.get("absent", ())
        replaced = len(self._options.replaces)
        return in_words(text, keeps, max(len(absent) - replaced - len(volume.outlaws), 0))


def _labels(absent: t.Sequence[Option]) -> t.List[str]:
    return [
        str(entry["old_secret"].get("label", "a secret of rotate_replaces"))
        if "old_secret" in entry
        else f"keyslot {entry['keyslot']}"
        for entry in absent
    ]
