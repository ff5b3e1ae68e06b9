# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who does what: the same wish as a task for each contestant."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from volumes import NEW, SLOTS, Volume, keyfile, labelled, secret

Task = t.Dict[str, t.Any]

OURS, OURS_UNNAMED, RECORD = "keyslots", "keyslots, slot not named", "keyslots, verify: record"
PEER, SCRIPT, QEMU = "luks_device", "cryptsetup script", "qemu-img amend"
CONTESTANTS = (OURS, OURS_UNNAMED, RECORD, PEER, SCRIPT, QEMU)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """``wish``: "no change" (the secrets at ``positions`` open the volume) or "rotate" (the one at ``positions[0]``
    becomes another).
    """

    wish: str
    format: str
    slots: int
    positions: t.Tuple[int, ...]

    @property
    def in_place(self) -> bool:
        """A rotation for which no keyslot is free; LUKS2 needs none."""
        return self.wish == "rotate" and self.format == "luks1" and self.slots == SLOTS["luks1"]

    @property
    def name(self) -> str:
        where = (
            f"{len(self.positions)} of {self.slots}"
            if len(self.positions) > 1
            else f"keyslot {self.positions[0] + 1} of {self.slots}"
        )
        return f"{self.format.upper()}, {self.wish}, {where}"


def scenarios(format: str, *, full: int) -> t.List[Scenario]:
    """1, 6 and all keyslots; first, middle and last."""
    six = [Scenario(wish, format, 6, (position,)) for wish in ("no change", "rotate") for position in (0, 2, 5)]
    return [
        Scenario("no change", format, 1, (0,)),
        Scenario("rotate", format, 1, (0,)),
        *six,
        Scenario("no change", format, 6, tuple(range(6))),
        Scenario("no change", format, full, (full - 1,)),
        Scenario("rotate", format, full, (full - 1,)),
    ]


# The everyday case: one keyslot, and nothing to change or one secret to replace. Scenario -> how many times the
# processor time of `keyslots` `luks_device` is to need.
EVERYDAY = {
    Scenario("no change", "luks1", 1, (0,)): 1.4,
    Scenario("rotate", "luks1", 1, (0,)): 6.0,
    Scenario("no change", "luks2", 1, (0,)): 1.03,
}


def passphrase(text: str) -> t.Dict[str, str]:
    return {"passphrase": text}


def task_of(contestant: str, scenario: Scenario, volume: Volume, device: str, folder: pathlib.Path) -> t.Optional[Task]:
    """None where a contestant cannot do it."""
    makers = {OURS: _ours, OURS_UNNAMED: _unnamed, RECORD: _record, PEER: _peer, SCRIPT: _script, QEMU: _qemu}
    return makers[contestant](scenario, volume, device, folder)


def _ours(scenario: Scenario, volume: Volume, device: str, _folder: pathlib.Path, *, named: bool = True) -> Task:
    """On a full LUKS1 header a keyslot is replaced in its place, which is safe with another proven one: the first
    keyslot's secret is given.
    """
    entries = []
    for position in scenario.positions:
        if scenario.wish == "rotate":
            entry = {"old_secret": passphrase(secret(position)), "new_secret": passphrase(NEW), "pbkdf": volume.pbkdf}
        else:
            entry = {"new_secret": passphrase(secret(position))}
        entries.append({**entry, "keyslot": position} if named else entry)
    unlock = {"unlock": [passphrase(secret(0))]} if scenario.in_place else {}
    return {"luksmith.luks.keyslots": {"device": device, "keyslots": entries, **unlock}}


def _unnamed(scenario: Scenario, volume: Volume, device: str, folder: pathlib.Path) -> Task:
    return _ours(scenario, volume, device, folder, named=False)


def _record(scenario: Scenario, volume: Volume, device: str, _folder: pathlib.Path) -> t.Optional[Task]:
    """On a volume whose keyslots our own module made, the record in the header is taken at its word."""
    if volume.recorded is None or scenario.wish != "no change":
        return None
    entries = [{"new_secret": labelled(position)} for position in scenario.positions]
    return {"luksmith.luks.keyslots": {"device": device, "keyslots": entries, "verify": "record"}}


def _peer(scenario: Scenario, volume: Volume, device: str, _folder: pathlib.Path) -> t.Optional[Task]:
    costs = volume.costs
    pbkdf = {"algorithm": volume.pbkdf["type"], "iteration_count": costs.get("iterations", costs.get("time"))}
    pbkdf.update({key: costs[key] for key in ("memory", "parallel") if key in costs})
    common = {"device": device, "pbkdf": pbkdf}
    if scenario.wish == "rotate":
        if scenario.slots == SLOTS[scenario.format]:
            return None  # "All key slots full"
        old = secret(scenario.positions[0])
        return {
            "community.crypto.luks_device": {
                **common,
                "passphrase": old,
                "new_passphrase": NEW,
                "remove_passphrase": old,
            }
        }
    if len(scenario.positions) == 1:
        return {
            "community.crypto.luks_device": {
                **common,
                "passphrase": secret(0),
                "new_passphrase": secret(scenario.positions[0]),
            }
        }
    return {
        "community.crypto.luks_device": {**common, "passphrase": secret(0), "new_passphrase": "{{ item }}"},
        "loop": [secret(position) for position in scenario.positions],
        "no_log": True,
    }


def _script(scenario: Scenario, volume: Volume, device: str, folder: pathlib.Path) -> t.Optional[Task]:
    """What an administrator writes: idempotent, and it tries the new secret before it takes the old one away."""
    if scenario.wish == "no change":
        lines = [
            f"cryptsetup open --test-passphrase --key-file {keyfile(folder, secret(position))} {device}"
            for position in scenario.positions
        ]
    else:
        if scenario.slots == SLOTS[scenario.format]:
            return None
        old, new = keyfile(folder, secret(scenario.positions[0])), keyfile(folder, NEW)
        test = f"cryptsetup open --test-passphrase --key-file {new} {device}"
        add = " ".join(["cryptsetup luksAddKey -q", *volume.cryptsetup_costs, f"--key-file {old} {device} {new}"])
        lines = [f"if ! {test} 2>/dev/null; then {add}; fi", test, f"cryptsetup luksRemoveKey -q {device} {old}"]
    return {"ansible.builtin.shell": {"cmd": "\n".join(["set -e", *lines])}}


def _qemu(scenario: Scenario, volume: Volume, device: str, folder: pathlib.Path) -> t.Optional[Task]:
    """LUKS1 only. ``iter-time`` cannot be pinned; it is one that gives about the costs of the volume."""
    if scenario.format != "luks1" or scenario.wish != "rotate" or scenario.in_place:
        return None
    old, new = keyfile(folder, secret(scenario.positions[0])), keyfile(folder, NEW)
    objects = f"--object secret,id=old,file={old} --object secret,id=new,file={new}"
    image = f"driver=luks,file.driver=host_device,file.filename={device}"
    amend = f"qemu-img amend {objects} --image-opts {image}"
    milliseconds = max(10, round(volume.costs["iterations"] / 4000))
    again = (
        'again() { for try in 1 2 3 4 5 6 7 8 9; do "$@" 2>/dev/null && return; done; "$@"; }'
        if milliseconds < 100
        else 'again() { "$@"; }'
    )
    lines = [
        f"again {amend},key-secret=old -o state=active,new-secret=new,iter-time={milliseconds}",
        f"{amend},key-secret=new -o state=inactive,old-secret=old",
    ]
    return {"ansible.builtin.shell": {"cmd": "\n".join(["set -e", again, *lines])}}
