# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A world for the machine of a rotation: a host whose volumes are dictionaries, a store in memory, and a death that
comes before or after a given call of either.
"""

from __future__ import annotations

import copy
import json
import typing as t

from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.asking import Options
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.machine import Rotation
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.stores import Stored, StoreError
from ansible_collections.luksmith.luks.plugins.plugin_utils._rotation.world import Chance, HostError, Phase

Json = t.Dict[str, t.Any]
UUID = "4b543c86-7353-47b9-b355-d0ef03989991"


class Killed(BaseException):
    """SIGKILL, as far as a process can play it: nothing handles it."""


class Death:
    """Comes at call number ``at`` (from 0), before it is done or after. ``calls``: the names of all that came."""

    def __init__(self, at: int = -1, *, after: bool = False) -> None:
        self.at, self.after = at, after
        self.calls: t.List[str] = []

    def watch(self, name: str, work: t.Callable[[], t.Any]) -> t.Any:
        number = len(self.calls)
        self.calls.append(name)
        if number == self.at and not self.after:
            raise Killed(name)
        result = work()
        if number == self.at:
            raise Killed(name)
        return result


class Disk:
    """A volume: keyslot -> passphrase, and what the record calls them."""

    def __init__(self, slots: t.Mapping[int, str], uuid: str = UUID, size: int = 8, format: str = "luks2") -> None:
        self.slots = dict(slots)
        self.labels: t.Dict[int, str] = {}
        self.uuid, self.size, self.format = uuid, size, format
        self.keyfiles: t.Dict[str, str] = {}  # path -> content
        self.refuses = ""
        self.untriable: t.Set[int] = set()  # keyslots beyond the limits of costs
        self.chain: t.List[Json] = []  # what the host says of the files beneath

    def opened_by(self, secret: Json) -> t.List[int]:
        return [number for number, one in sorted(self.slots.items()) if one == secret["passphrase"]]

    def plan(self, work: Json) -> t.List[Json]:
        """Raises HostError where the module refuses."""
        known = [*work["unlock"], *(entry["new_secret"] for entry in work["keyslots"] if entry.get("new_secret"))]
        if not any(self.opened_by(one) for one in known):
            raise HostError("no given secret opens the volume. Nothing was changed.")
        actions: t.List[Json] = []
        free = [number for number in range(self.size) if number not in self.slots]
        for entry in work["keyslots"]:
            new = entry.get("new_secret")
            if new and "keyslot" in entry and entry["keyslot"] not in self.opened_by(new):
                raise HostError(f"keyslot {entry['keyslot']} is of somebody else. Nothing was changed.")
            if new and not self.opened_by(new):
                actions.append({"action": "add", "keyslot": free.pop(0) if free else None, "label": new["label"]})
            if entry.get("state") == "absent":
                gone = self.opened_by(entry["old_secret"]) if "old_secret" in entry else [entry["keyslot"]]
                actions += [{"action": "erase", "keyslot": number} for number in gone if number in self.slots]
        for action in actions:
            if action["keyslot"] is None:
                action["keyslot"] = next(one["keyslot"] for one in actions if one["action"] == "erase")
        return actions

    def apply(self, work: Json) -> bool:
        actions = self.plan(work)
        news = [entry["new_secret"] for entry in work["keyslots"] if entry.get("new_secret")]
        for action in sorted(actions, key=lambda one: one["action"] == "add" and len(self.slots) == self.size):
            if action["action"] == "erase":
                self.slots.pop(action["keyslot"])
                self.labels.pop(action["keyslot"], None)
        for action in actions:
            if action["action"] == "add":
                self.slots[action["keyslot"]] = news[0]["passphrase"]
                self.labels[action["keyslot"]] = news[0]["label"]
        return bool(actions)

    def table(self, work: Json) -> t.List[Json]:
        secrets = [*work["unlock"], *(entry["new_secret"] for entry in work["keyslots"] if entry.get("new_secret"))]
        named = [(one.get("label", f"unlock[{place}]"), one["passphrase"]) for place, one in enumerate(secrets)]
        return [
            {"keyslot": number, "opened_by": [label for label, known in named if known == passphrase]}
            for number, passphrase in sorted(self.slots.items())
        ]

    def record(self) -> t.List[Json]:
        return [
            {"keyslot": number, "label": label, "current": number in self.slots}
            for number, label in sorted(self.labels.items())
            if self.format == "luks2"
        ]

    def unknown(self, work: Json) -> t.List[Json]:
        after = copy.deepcopy(self)
        after.apply(work)
        labels = {line["keyslot"]: line["label"] for line in after.record()}
        return [
            {
                "keyslot": row["keyslot"],
                "label": labels.get(row["keyslot"], ""),
                "tried": row["keyslot"] not in self.untriable,
                "reason": "its costs are above the limit" if row["keyslot"] in self.untriable else "",
            }
            for row in after.table(work)
            if not row["opened_by"]
        ]

    def follow(self, work: Json, keyfiles: t.Sequence[Json], *, check: bool) -> t.List[Json]:
        news = [entry["new_secret"] for entry in work["keyslots"] if entry.get("new_secret")] or [work.get("prove")]
        told = []
        for one in keyfiles if news[0] else ():
            content, new = self.keyfiles[one["path"]], news[0]["passphrase"]
            old = content in [secret["passphrase"] for secret in work["replaced"]]
            if old and not check:
                self.keyfiles[one["path"]] = new
            holds = "new" if new == content or (old and not check) else "old" if old else "other"
            told.append({**one, "holds": holds, "changed": old})
        return told


class FakeHost:
    def __init__(self, disks: t.Mapping[str, Disk], death: t.Optional[Death] = None) -> None:
        self.disks = disks
        self.death = death or Death()
        self.asked: t.List[Json] = []
        self.built = 0
        self.in_image = True

    def step(self, options: t.Mapping[str, t.Any]) -> Json:
        asked = json.loads(json.dumps(options))
        self.asked.append(asked)
        return t.cast(Json, self.death.watch(f"host {asked['step']}", lambda: self._step(asked)))

    def _step(self, asked: Json) -> Json:
        if asked["step"] == "look":
            places = asked["volumes"] or [{"device": device, "header": None} for device in self.disks]
            return {"changed": False, "volumes": [self._look(asked, place) for place in places]}
        done = [self._change(asked, work) for work in asked["volumes"]]
        return {"changed": any(one["changed"] for one in done), "volumes": done}

    def _look(self, asked: Json, place: Json) -> Json:
        disk = self.disks[place["device"]]
        by_uuid = {work["uuid"]: work for work in asked.get("orders", ())}
        work = place if place.get("keyslots") else by_uuid.get(disk.uuid, by_uuid.get(None))
        seen: Json = {
            "device": place["device"],
            "header": None,
            "phase": "look",
            "uuid": disk.uuid,
            "type": disk.format,
        }
        seen.update(keyslots=disk.table(work or {"unlock": [], "keyslots": []}), record=disk.record(), changed=False)
        seen.update(slot_count=disk.size, free_keyslots=disk.size - len(disk.slots))
        seen["chain"] = disk.chain
        seen["crypttab"] = [{"name": "data", "path": path} for path in disk.keyfiles]
        if disk.refuses:
            return {**seen, "failed": True, "msg": disk.refuses}
        if work is not None and work["keyslots"]:
            try:
                actions, after = disk.plan(work), copy.deepcopy(disk)
            except HostError as error:
                return {**seen, "failed": True, "phase": "plan", "msg": str(error)}
            after.apply(work)
            seen["plan"] = {"changed": bool(actions), "plan": actions, "keyslots": after.table(work), "diff": None}
            seen["planned"] = work["uuid"] or ""
            seen["keyfiles"] = disk.follow(work, seen["crypttab"], check=True)
            seen["unknown"] = disk.unknown(work)
        return seen

    def _change(self, asked: Json, work: Json) -> Json:
        disk = self.disks[work["device"]]
        done: Json = {"device": work["device"], "phase": asked["step"], "changed": False}
        try:
            if work["keyslots"]:
                done["plan"] = disk.plan(work)
                done["changed"] = disk.apply(work)
                done["keyslots"] = disk.table(work)
            if work.get("prove") and not disk.opened_by(work["prove"]):
                raise HostError("it opens nothing")
            done["keyfiles"] = (
                disk.follow(work, work.get("keyfiles", ()), check=False) if asked["step"] == "add" else []
            )
        except HostError as error:
            return {**done, "failed": True, "msg": str(error)}
        return done

    def holds_keyfile(self, name: str, path: str) -> bool:
        return bool(self.death.watch("host holds", lambda: self.in_image))

    def build_initramfs(self) -> None:
        def build() -> None:
            self.built += 1

        self.death.watch("host build", build)


class FakeStore:
    def __init__(self, death: t.Optional[Death] = None, *, lists: bool = True) -> None:
        self.held: t.Dict[str, Stored] = {}
        self.death = death or Death()
        self.lists = lists
        self.broken = ""

    def check(self) -> None:
        if self.broken == "check":
            raise StoreError("It is full. The store was not changed.")

    def known(self, prefix: str) -> t.Optional[t.Dict[str, Stored]]:
        if not self.lists:
            return None
        return {key: copy.deepcopy(one) for key, one in self.held.items() if key.startswith(prefix)}

    def read(self, key: str) -> Stored:
        return t.cast(
            Stored, self.death.watch("store read", lambda: copy.deepcopy(self.held.get(key, Stored(None, 0))))
        )

    def write(self, key: str, entry: Json, version: t.Any) -> Stored:
        def write() -> Stored:
            if self.broken == "write":
                raise StoreError("It is full. The store was not changed.")
            if (version or 0) != self.held.get(key, Stored()).version:
                raise StoreError("Another run wrote. The store was not changed.")
            if self.broken != "forgets":
                self.held[key] = Stored(json.loads(json.dumps(entry)), (version or 0) + 1)
            return copy.deepcopy(self.held.get(key, Stored(None, 0)))

        return t.cast(Stored, self.death.watch("store write", write))

    def entry(self, uuid: str = UUID) -> Json:
        return t.cast(Json, self.held[f"web/{uuid}"].entry)


class Heard:
    def __init__(self) -> None:
        self.lines: t.List[str] = []

    def phase(self, volume: str, number: int, count: int, phase: Phase, says: str, loud: bool) -> None:
        self.lines.append(f"{volume} {number}/{count} {phase.value} {says}{'' if loud else ' (quiet)'}")


def rotate(options: Options, host: t.Any, store: t.Any) -> t.Tuple[Rotation, Heard]:
    heard = Heard()
    rotation = Rotation(options, host, store, heard, Chance())
    rotation.run()
    return rotation, heard
