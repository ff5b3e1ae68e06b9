# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs over many volumes as processes: two of them in opposite orders, and one that is told to end."""

from __future__ import annotations

import pathlib
import signal
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.in_the_child import derive_for_ever
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume, needs_cryptsetup
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, start_module
from ansible_collections.luksmith.luks.tests.tools.module_server import pause_at

pytestmark = needs_cryptsetup
CHEAP = {"iterations": 1000}


def secret(text: str) -> t.Dict[str, str]:
    return {"passphrase": text}


@pytest.mark.parametrize("rounds", [1, pytest.param(2, marks=pytest.mark.full)])
def test_two_runs_in_opposite_orders_both_end_and_both_count(tmp_path: pathlib.Path, rounds: int) -> None:
    volumes = [
        Luks2Volume(tmp_path / f"volume{number}").like(type="luks1" if number % 2 else "luks2") for number in range(4)
    ]
    paths = [str(volume.path) for volume in volumes]
    for round in range(rounds):
        common = {"unlock": [secret("pw0")], "lock_timeout": 120}
        names = {f"one {round}": paths, f"other {round}": paths[::-1]}
        runs = [
            start_module(
                "keyslots",
                {**common, "devices": order, "keyslots": [{"new_secret": secret(name), "pbkdf": CHEAP}]},
                hooks=[pause_at("the start")],
            )
            for name, order in names.items()
        ]
        for run in runs:
            run.reached("the start")
        for run in runs:
            run.go_on()
        for run in runs:
            result = run.result()
            assert result["changed"] and [volume["status"] for volume in result["volumes"]] == ["done"] * 4
    for volume in volumes:
        for round in range(rounds):
            assert volume.opens(f"one {round}") and volume.opens(f"other {round}")


@pytest.mark.parametrize(
    ("which", "several"), [(signal.SIGTERM, False), (signal.SIGHUP, True)], ids=["device", "devices"]
)
def test_a_run_that_is_told_to_end_says_so_and_changes_nothing(
    which: signal.Signals, several: bool, tmp_path: pathlib.Path
) -> None:
    """While a derivation is under way, which here takes for ever; waiting for it would be the other answer."""
    volume = Luks2Volume(tmp_path / "volume").like()
    other = Luks2Volume(tmp_path / "other").like()
    before = volume.path.read_bytes()
    where = {"devices": [str(volume.path), str(other.path)]} if several else {"device": str(volume.path)}
    entry = {"new_secret": secret("new"), "keyslot": 1, "pbkdf": CHEAP}
    run = start_module("keyslots", {**where, "unlock": [secret("pw0")], "keyslots": [entry]}, hooks=[derive_for_ever])
    run.reached("deriving")
    run.send_signal(which)
    with pytest.raises(ModuleFailed, match=which.name):
        run.result()
    assert volume.path.read_bytes() == before
