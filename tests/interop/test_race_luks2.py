# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cryptsetup and this collection at once on one LUKS2 volume: no update is lost, and each waits for the other."""

from __future__ import annotations

import contextlib
import pathlib
import random
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume import locks
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests.interop.in_the_child import LOCKING, pause_at_a_conflict
from ansible_collections.luksmith.luks.tests.interop.lock_lab import (
    FIRST_SYNC,
    HEADER_READ,
    PATIENCE,
    loop_device,
    started,
    stopped,
    until,
    waits_for_flock,
)
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, PBKDF2, Luks2Volume, needs_cryptsetup
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, Running, start_module
from ansible_collections.luksmith.luks.tests.tools.module_server import pause_at, stop_before

pytestmark = needs_cryptsetup

NAMES = range(4)  # each side adds and removes its own secrets: 8 at most, and the one that always opens
PLACES = [
    "file",
    *(pytest.param(place, marks=pytest.mark.needs("loop")) for place in ("loop device", "file beneath a loop device")),
]


def cryptsetup(volume: Luks2Volume, add: bool, secret: str) -> t.List[t.Union[str, pathlib.Path]]:
    if add:
        return [
            "cryptsetup",
            "-q",
            "luksAddKey",
            *PBKDF2,
            "-d",
            volume.keyfile("pw0"),
            volume.path,
            volume.keyfile(secret),
        ]
    return ["cryptsetup", "-q", "luksRemoveKey", volume.path, volume.keyfile(secret)]


def ended(process: subprocess.Popen[bytes]) -> t.Tuple[int, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, (out + err).decode()


def entry(add: bool, secret: str) -> t.Dict[str, t.Any]:
    what = {"label": f"label of {secret}", "passphrase": secret}
    return {"new_secret": what, "pbkdf": CHEAP} if add else {"state": "absent", "old_secret": what}


def ours(
    path: t.Union[str, pathlib.Path], add: bool, secret: str, *hooks: t.Callable[[], object], lock_timeout: float = 240
) -> Running:
    task = {
        "device": str(path),
        "keyslots": [entry(add, secret)],
        "unlock": [{"passphrase": "pw0"}],
        "lock_timeout": lock_timeout,
    }
    return start_module("keyslots", task, hooks=hooks)


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> Luks2Volume:
    return Luks2Volume(tmp_path / "volume").like("--cipher", "aes-xts-plain64", "--key-size", "256")


@pytest.mark.parametrize(
    ("seed", "rounds"), [(0, 4), *(pytest.param(seed, 50, marks=pytest.mark.full) for seed in range(4))]
)
def test_no_update_is_lost(volume: Luks2Volume, seed: int, rounds: int) -> None:
    """A writer that reports success has written, one that reports failure has changed nothing; ours always succeeds.

    The scheduler decides on the order, and each one has to come out right; in fifty rounds, which take time, many
    occur. The two that matter most are made on purpose below.
    """
    chance = random.Random(seed)
    working: t.Set[str] = set()
    for _round in range(rounds):
        their_word, our_word = f"theirs {chance.choice(NAMES)}", f"ours {chance.choice(NAMES)}"
        running = ours(volume.path, our_word not in working, our_word, pause_at("the start"))
        running.reached("the start")
        with started(*cryptsetup(volume, their_word not in working, their_word), stdin=subprocess.DEVNULL) as process:
            running.go_on()
            code, said = ended(process)
        result = running.result()
        assert result["changed"] and [action["action"] for action in result["plan"]] == [
            "erase" if our_word in working else "add"
        ]
        working ^= {our_word}
        if code == 0:
            working ^= {their_word}
        else:
            assert "concurrent LUKS2 metadata update" in said, said
        assert len(volume.tree()["keyslots"]) == len(working) + 1
        assert {word for word in (our_word, their_word) if volume.opens(word)} == working & {our_word, their_word}
    volume.approved()
    assert {
        word for side in ("ours", "theirs") for name in NAMES for word in [f"{side} {name}"] if volume.opens(word)
    } == working


@pytest.mark.parametrize("add", [True, False], ids=["add", "erase"])
def test_theirs_between_our_look_and_our_lock_is_kept(volume: Luks2Volume, add: bool) -> None:
    volume.add(1, "ours 1")
    running = ours(volume.path, add, "ours 2" if add else "ours 1", stop_before(LOCKING))
    running.reached(LOCKING)
    volume.add(2, "theirs 1")
    running.go_on()
    assert [(action["action"], action["keyslot"]) for action in running.result()["plan"]] == [
        ("add", 3) if add else ("erase", 1)
    ]
    expected = {(0, "pw0"), (2, "theirs 1"), *([(1, "ours 1"), (3, "ours 2")] if add else [])}
    assert volume.opened((0, 1, 2, 3), ("pw0", "ours 1", "ours 2", "theirs 1")) == expected
    volume.approved()


@pytest.mark.needs("strace")
@pytest.mark.parametrize("add", [True, False], ids=["add", "remove"])
def test_ours_between_their_look_and_their_lock_is_noticed_by_them(volume: Luks2Volume, add: bool) -> None:
    """By the sequence id, which we must always grow."""
    volume.add(1, "theirs 1")
    with stopped(volume.folder, HEADER_READ, *cryptsetup(volume, add, "theirs 2" if add else "theirs 1")) as (
        _pid,
        tracer,
    ):
        assert ours(volume.path, True, "ours 1").result()["changed"]
        before = volume.sha256()
    code, said = ended(tracer)
    assert code and "concurrent LUKS2 metadata update" in said, said
    assert volume.sha256() == before
    assert volume.opened((0, 1, 2), ("pw0", "theirs 1", "theirs 2", "ours 1")) == {
        (0, "pw0"),
        (1, "theirs 1"),
        (2, "ours 1"),
    }
    volume.approved()


@pytest.mark.parametrize("place", PLACES)
def test_our_lock_makes_cryptsetup_wait(volume: Luks2Volume, place: str) -> None:
    with contextlib.ExitStack() as stack:
        loop = None if place == "file" else stack.enter_context(loop_device(volume.path))
        mine = volume.path if loop is None or place == "file beneath a loop device" else loop
        theirs = Luks2Volume(pathlib.Path(loop or volume.path), volume.folder)
        with open_volume(str(mine), writable=True) as held, locks.exclusive(held, timeout=PATIENCE):
            process = stack.enter_context(started(*cryptsetup(theirs, True, "theirs 1"), stdin=subprocess.DEVNULL))
            until(lambda: waits_for_flock(process.pid), "cryptsetup waits for its lock", process)
            assert process.poll() is None
        assert ended(process) == (0, "")
    assert volume.opens("theirs 1")


@pytest.mark.needs("strace")
@pytest.mark.parametrize("place", PLACES)
def test_their_lock_makes_us_wait_or_say_who_holds_it(volume: Luks2Volume, place: str) -> None:
    with contextlib.ExitStack() as stack:
        loop = None if place == "file" else stack.enter_context(loop_device(volume.path))
        mine = volume.path if loop is None or place == "file beneath a loop device" else loop
        theirs = Luks2Volume(pathlib.Path(loop or volume.path), volume.folder)
        with stopped(volume.folder, FIRST_SYNC, *cryptsetup(theirs, True, "theirs 1")) as (pid, tracer):
            with pytest.raises(
                ModuleFailed, match=rf"(?s)in use: .*{pid}.*cryptsetup.*lock.*Nothing was changed\."
            ) as busy:
                ours(mine, True, "ours 1", lock_timeout=0).result()
            assert "cryptsetup" in str(busy.value) and "lock_timeout" in str(busy.value)
            waiting = ours(mine, True, "ours 1", pause_at_a_conflict)
            waiting.reached("a conflict")
        assert tracer.returncode == 0
        waiting.go_on()
        result = waiting.result()
    assert result["changed"]
    assert volume.opened((0, 1, 2), ("pw0", "theirs 1", "ours 1")) == {(0, "pw0"), (1, "theirs 1"), (2, "ours 1")}
    volume.approved()
