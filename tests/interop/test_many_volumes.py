# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs over many volumes as processes: two of them in opposite orders, and one that is told to end."""

from __future__ import annotations

import os
import pathlib
import signal
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume, needs_cryptsetup, until
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, start_module

CHEAP = {"iterations": 1000}


def secret(text: str) -> t.Dict[str, str]:
    return {"passphrase": text}


@needs_cryptsetup
def test_two_runs_in_opposite_orders_both_end_and_both_count(tmp_path: pathlib.Path) -> None:
    volumes = [Luks2Volume(tmp_path / f"volume{number}").format(type="luks1" if number % 2 else "luks2") for number in range(4)]
    paths = [str(volume.path) for volume in volumes]
    for round in range(2):
        common = {"unlock": [secret("pw0")], "lock_timeout": 120}
        names = {f"one {round}": paths, f"other {round}": paths[::-1]}
        runs = [
            start_module("keyslots", {**common, "devices": order, "keyslots": [{"new_secret": secret(name), "pbkdf": CHEAP}]})
            for name, order in names.items()
        ]
        for run in runs:
            result = run.result()
            assert result["changed"] and [volume["status"] for volume in result["volumes"]] == ["done"] * 4
    for volume in volumes:
        for round in range(2):
            assert volume.opens(f"one {round}") and volume.opens(f"other {round}")


@needs_cryptsetup
@pytest.mark.parametrize(("which", "several"), [(signal.SIGTERM, False), (signal.SIGHUP, True)], ids=["device", "devices"])
def test_a_run_that_is_told_to_end_says_so_and_changes_nothing(which: signal.Signals, several: bool, tmp_path: pathlib.Path) -> None:
    """While a derivation of a minute is under way; waiting for it would be the other answer."""
    volume = Luks2Volume(tmp_path / "volume").format()
    other = Luks2Volume(tmp_path / "other").format()
    before = volume.path.read_bytes()
    where = {"devices": [str(volume.path), str(other.path)]} if several else {"device": str(volume.path)}
    entry = {"new_secret": secret("new"), "keyslot": 1, "pbkdf": {"iterations": 100_000_000}}
    inherited = signal.signal(which, signal.SIG_DFL)  # under nohup the module would ignore SIGHUP, as it should
    run = start_module("keyslots", {**where, "unlock": [secret("pw0")], "keyslots": [entry]})
    signal.signal(which, inherited)
    threads = pathlib.Path(f"/proc/{run.process.pid}/task")
    consumed = pathlib.Path(f"/proc/{run.process.pid}/stat")
    until(lambda: len(list(threads.iterdir())) > 1 and sum(map(int, consumed.read_text().rsplit(")", 1)[1].split()[11:13])) > 2 * os.sysconf("SC_CLK_TCK"))
    os.kill(run.process.pid, which)
    with pytest.raises(ModuleFailed, match=which.name):
        run.result(timeout=30)
    assert volume.path.read_bytes() == before
