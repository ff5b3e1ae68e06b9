# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stock Debian hosts open and rotate volumes that their own cryptsetup made; that one and this machine's judge what
opens.
"""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.hosts.machine import Host
from ansible_collections.luksmith.luks.tests.hosts.stock import on

pytestmark = pytest.mark.needs("cryptsetup", "debootstrap", "root")

OLD, LEAKED, NEW, ADDED = "old", "leaked", "new", "added"

# The costs are also those that the task asks for: the module's own choice would be dearer.
COSTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "argon2id": {"type": "argon2id", "time": 4, "memory": 32768, "parallel": 4},
    "argon2i": {"type": "argon2i", "time": 4, "memory": 8192, "parallel": 1},
    "pbkdf2": {"type": "pbkdf2", "iterations": 1000},
    "luks1": {"type": "pbkdf2", "iterations": 1000},
}
MADE = {
    "argon2id": (),
    "argon2i": ("--sector-size", "4096"),
    "pbkdf2": ("--hash", "sha512"),
    "luks1": ("--type", "luks1", "--cipher", "aes-cbc-essiv:sha256", "--key-size", "256"),
}


def passphrase(label: str) -> str:
    return f"the {label} passphrase"


def secret(label: str) -> t.Dict[str, str]:
    return {"label": label, "passphrase": passphrase(label)}


def options(costs: t.Mapping[str, t.Any]) -> t.List[str]:
    """``costs`` as cryptsetup takes them."""
    names = {"time": "force-iterations", "iterations": "force-iterations", "memory": "memory", "parallel": "parallel"}
    return [
        f"--pbkdf={costs['type']}",
        *(f"--pbkdf-{option}={costs[name]}" for name, option in names.items() if name in costs),
    ]


def make(host: Host, volume: str, *more: str) -> None:
    with (host.volumes / volume).open("wb") as file:
        file.truncate(20 * 1024 * 1024)
    done = host.cryptsetup("luksFormat", *more, "--key-file", "-", f"/mnt/{volume}", stdin=passphrase(OLD))
    assert done.returncode == 0, done


def make_with_two_slots(host: Host, volume: str) -> None:
    costs = options(COSTS[volume])
    make(host, volume, *MADE[volume], *costs)
    (host.volumes / "leaked").write_text(passphrase(LEAKED), encoding="ascii")
    done = host.cryptsetup(
        "luksAddKey", *costs, "--key-file", "-", f"/mnt/{volume}", "/mnt/leaked", stdin=passphrase(OLD)
    )
    assert done.returncode == 0, done


@dataclasses.dataclass
class Rotated:
    """Results of two runs of one task, and which secrets both cryptsetups could use after them."""

    first: t.Dict[str, t.Any]
    second: t.Dict[str, t.Any]
    opens: t.Dict[str, bool]


def rotate(host: Host) -> t.Dict[str, Rotated]:
    """All of MADE: one secret replaced, one added, one erased; then the same task again."""
    outcomes: t.Dict[str, Rotated] = {}
    for names in (["argon2id"], ["argon2i"], ["pbkdf2", "luks1"]):
        for volume in names:
            make_with_two_slots(host, volume)
        costs = COSTS[names[0]]
        entries = [
            {"old_secret": secret(OLD), "new_secret": secret(NEW), "pbkdf": costs},
            {"new_secret": secret(ADDED), "pbkdf": costs},
            {"state": "absent", "old_secret": secret(LEAKED)},
        ]
        task = {"devices": [f"/mnt/{volume}" for volume in names], "keyslots": entries}
        runs = [host.module("keyslots", task) for _run in range(2)]
        assert not any(run.get("failed") for run in runs), runs
        for volume, first, second in zip(names, runs[0]["volumes"], runs[1]["volumes"]):
            outcomes[volume] = Rotated(
                first, second, {label: host.opens(volume, passphrase(label)) for label in (OLD, LEAKED, NEW, ADDED)}
            )
    return outcomes


@pytest.fixture(scope="session")
def rotated(host: Host) -> t.Dict[str, Rotated]:
    return rotate(host)


@pytest.mark.parametrize("volume", MADE)
def test_rotated_once_and_then_left_alone(rotated: t.Dict[str, Rotated], volume: str) -> None:
    """The first test on a host takes longer than 5 seconds: four volumes are made, rotated twice and tried with every
    secret.
    """
    runs = rotated[volume]
    assert (runs.first["status"], runs.second["status"]) == ("done", "unchanged")
    assert sorted(step["action"] for step in runs.first["plan"]) == ["add", "erase", "rekey"]
    assert runs.second["plan"] == []
    assert sorted(label for slot in runs.second["keyslots"] for label in slot["opened_by"]) == [ADDED, NEW]


@pytest.mark.parametrize("volume", MADE)
def test_both_cryptsetups_agree_on_what_opens(rotated: t.Dict[str, Rotated], volume: str) -> None:
    assert rotated[volume].opens == {OLD: False, LEAKED: False, NEW: True, ADDED: True}


@pytest.mark.parametrize("volume", MADE)
def test_new_slots_cost_what_was_asked(rotated: t.Dict[str, Rotated], volume: str) -> None:
    active = [slot["kdf"] for slot in rotated[volume].first["keyslots"] if slot["state"] == "active"]
    assert len(active) == 2
    for kdf in active:
        assert {name: kdf[name] for name in COSTS[volume]} == COSTS[volume]


@on("trixie", full=["bookworm"])
def test_usual_costs_are_inherited(host: Host) -> None:
    """It takes longer than 5 seconds because a dozen keys are derived at the costs that cryptsetup chooses on a usual
    machine.
    """
    volume = "usual"
    make(host, volume, *options({"type": "argon2id", "time": 4, "memory": 262144, "parallel": 4}))
    # cryptsetup takes no more lanes than there are processors.
    made = host.module("keyslots_info", {"device": f"/mnt/{volume}"})["keyslots"][0]["kdf"]
    assert (made["type"], made["time"], made["memory"]) == ("argon2id", 4, 262144)
    result = host.module(
        "keyslots", {"device": f"/mnt/{volume}", "keyslots": [{"old_secret": secret(OLD), "new_secret": secret(NEW)}]}
    )
    assert [step["action"] for step in result["plan"]] == ["rekey"], result
    assert result["keyslots"][0]["kdf"] == made
    assert host.opens(volume, passphrase(NEW))
