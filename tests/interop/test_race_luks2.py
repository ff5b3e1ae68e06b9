# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cryptsetup and this collection at once on one LUKS2 volume: 200 rounds without a lost update, and each waits for the other."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import locks
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, PBKDF2, Luks2Volume, loop_device, needs_cryptsetup, until
from ansible_collections.luksmith.luks.tests.interop.module_fork import keyslots, run_module
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, start_module

pytestmark = needs_cryptsetup
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="not installed here: strace")

ROUNDS = 50
NAMES = range(4)  # each side adds and removes its own secrets: 8 at most, and the one that always opens


def start_cryptsetup(volume: Luks2Volume, add: bool, secret: str, *before: str) -> t.Any:
    unlock = ["-d", volume.keyfile("pw0" if add else secret)]
    words = ["luksAddKey", *PBKDF2, *unlock, volume.path, volume.keyfile(secret)] if add else ["luksRemoveKey", volume.path, volume.keyfile(secret)]
    return subprocess.Popen([*before, "cryptsetup", "-q", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: t.Any) -> t.Tuple[int, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def entry(add: bool, secret: str) -> t.Dict[str, t.Any]:
    what = {"label": f"label of {secret}", "passphrase": secret}
    return {"new_secret": what, "pbkdf": CHEAP} if add else {"state": "absent", "old_secret": what}


@pytest.mark.parametrize("series", range(4))
def test_no_update_is_lost(tmp_path: pathlib.Path, series: int) -> None:
    """Whoever says that it was done has done it, whoever says no has changed nothing; ours always succeeds."""
    volume = Luks2Volume(tmp_path / "volume").format("--cipher", "aes-xts-plain64", "--key-size", "256", "--luks2-keyslots-size", "4m", size=8 << 20)
    chance = random.Random(series)
    working: t.Set[str] = set()
    collisions = 0
    for _round in range(ROUNDS):
        theirs, ours = f"theirs {chance.choice(NAMES)}", f"ours {chance.choice(NAMES)}"
        process = start_cryptsetup(volume, theirs not in working, theirs)
        result = keyslots(volume.path, [entry(ours not in working, ours)], unlock=["pw0"], lock_timeout=120)
        code, said = ended(process)
        assert result["changed"] and [action["action"] for action in result["plan"]] == ["erase" if ours in working else "add"]
        working ^= {ours}
        if code == 0:
            working ^= {theirs}
        else:
            # It looks at the sequence id once it has the lock: this is how it notices us, and we must always grow it.
            assert "concurrent LUKS2 metadata update" in said, said
            collisions += 1
        assert len(volume.tree()["keyslots"]) == len(working) + 1
        assert {word for word in (ours, theirs) if volume.opens(word)} == working & {ours, theirs}
    assert collisions < ROUNDS
    volume.approved()
    assert {word for side in ("ours", "theirs") for name in NAMES for word in [f"{side} {name}"] if volume.opens(word)} == working


def blocked_on_flock(pid: int) -> bool:
    return any("->" in line and "FLOCK" in line and f" {pid} " in line for line in pathlib.Path("/proc/locks").read_text().splitlines())


@pytest.mark.parametrize("place", ["file", "loop device", "file beneath a loop device"])
def test_our_lock_makes_cryptsetup_wait(tmp_path: pathlib.Path, place: str) -> None:
    file = Luks2Volume(tmp_path / "volume").format("--luks2-keyslots-size", "2m", size=8 << 20)
    with contextlib.ExitStack() as stack:
        loop = None if place == "file" else stack.enter_context(loop_device(file.path))
        ours = file.path if loop is None or place == "file beneath a loop device" else loop
        theirs = Luks2Volume(loop or file.path, tmp_path)
        with open_volume(str(ours), writable=True) as volume, locks.exclusive(volume, timeout=60):
            process = start_cryptsetup(theirs, True, "theirs 1")
            until(lambda: blocked_on_flock(process.pid))
            assert process.poll() is None
        assert ended(process) == (0, "")
    assert file.opens("theirs 1")


@contextlib.contextmanager
def cryptsetup_that_holds_its_lock(volume: Luks2Volume) -> t.Iterator[t.Tuple[t.Any, int]]:
    """A luksAddKey that stops inside its exclusive lock, at the sync behind the key material; goes on at the end."""
    told = volume.folder / "strace"
    process = start_cryptsetup(volume, True, "theirs 1", "strace", "-f", "-o", str(told), "-e", "trace=fsync", "-e", "inject=fsync:signal=SIGSTOP:when=1")
    # Not the state of the process: it is also stopped for a moment at each call that strace looks at.
    until(lambda: told.exists() and "stopped by SIGSTOP" in told.read_text())
    pid = int(told.read_text().split()[0])
    try:
        assert holds_flock(pid)
        yield process, pid
    finally:
        os.kill(pid, signal.SIGCONT)


def holds_flock(pid: int) -> bool:
    lines = pathlib.Path("/proc/locks").read_text().splitlines()
    return any("FLOCK" in line and "WRITE" in line and "->" not in line and f" {pid} " in line for line in lines)


@needs_strace
@pytest.mark.parametrize("place", ["file", "loop device", "file beneath a loop device"])
def test_their_lock_makes_us_wait_or_say_who_holds_it(tmp_path: pathlib.Path, place: str) -> None:
    file = Luks2Volume(tmp_path / "volume").format("--luks2-keyslots-size", "2m", size=8 << 20)
    with contextlib.ExitStack() as stack:
        loop = None if place == "file" else stack.enter_context(loop_device(file.path))
        ours = file.path if loop is None or place == "file beneath a loop device" else loop
        with cryptsetup_that_holds_its_lock(Luks2Volume(loop or file.path, tmp_path)) as (process, pid):
            task = {"device": str(ours), "keyslots": [entry(True, "ours 1")], "unlock": [{"passphrase": "pw0"}]}
            with pytest.raises(ModuleFailed, match=rf"(?s)in use: .*{pid}.*cryptsetup.*lock.*Nothing was changed\.") as busy:
                run_module("keyslots", {**task, "lock_timeout": 0})
            assert "cryptsetup" in str(busy.value) and "(lock_timeout)" in str(busy.value)
            waiting = start_module("keyslots", {**task, "lock_timeout": 120})
        assert ended(process)[0] == 0
        result = waiting.result()
    assert result["changed"]
    assert file.opened((0, 1, 2), ("pw0", "theirs 1", "ours 1")) == {(0, "pw0"), (1, "theirs 1"), (2, "ours 1")}
    file.approved()
