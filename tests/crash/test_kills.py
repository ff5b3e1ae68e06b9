# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's process ends by SIGKILL at one of its calls on the volume, on files and on loop devices; then the same
task runs again.

The calls are drawn, spread over the whole run; those of every other kill from the calls after the first write, because
most of a run is spent with looking. The short form kills twice in each scene on a file and once on a loop device,
``--size full`` 64 times in all and again at as many instants of the module's processor time; ``tests/run kills --
--kills 500`` is the long form. The seed is printed with a failure and fixed by ``--seed``. Where a kill hit is told by
what it left on the disk, and counted.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import random
import stat
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.crash import checker
from ansible_collections.luksmith.luks.tests.crash.module_process import end_after, end_at, outcome, points_of
from ansible_collections.luksmith.luks.tests.crash.operations import FULL, A, B, C, D, absent, present, task
from ansible_collections.luksmith.luks.tests.crash.peers import opened_by_peer
from ansible_collections.luksmith.luks.tests.crash.volumes import SECRETS, luks1, luks2

OPERATIONS = {
    "add": ({0: A, 5: D}, task(present(B), unlock=(D,))),
    "rekey and erase": ({0: A, 1: C, 5: D}, task(present(B, old=A), absent(old=C), unlock=(D,))),
    "rekey and erase, forty passes": (
        {0: A, 1: C, 5: D},
        task(present(B, old=A), absent(old=C), unlock=(D,), wipe="multiple"),
    ),
    "erase, forty passes": ({0: A, 1: C}, task(absent(old=C), wipe="multiple")),
    "rekey without room": ({**FULL, 2: C}, task(present(B, old=C))),
    "rekey and erase without room, forty passes": (
        {**FULL, 2: C, 7: D},
        task(present(B, old=C), absent(old=D), wipe="multiple"),
    ),
}
SCENES = {
    f"{kind} on a {place}: {name}": (make, *operation, place)
    for place in ("file", "loop device")
    for kind, make in (("luks1", luks1), ("luks2", luks2))
    for name, operation in OPERATIONS.items()
}
Count = collections.Counter[str]


@contextlib.contextmanager
def device_of(place: str, image: pathlib.Path) -> t.Iterator[str]:
    if place == "file":
        yield str(image)
        return
    attached = subprocess.run(
        ["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        yield attached
    finally:
        subprocess.run(["losetup", "--detach", attached], check=True)


def locks_on(*paths: str) -> t.List[str]:
    """Rows of the kernel's table for any of these files; locks of the lock folder are those of a block device's
    number.
    """
    wanted = []
    for path in paths:
        status = os.stat(path)
        wanted.append(f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}")
        if not stat.S_ISBLK(status.st_mode):
            continue  # and the folder is not for everybody
        with contextlib.suppress(FileNotFoundError):
            lock = os.stat(f"/run/cryptsetup/L_{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
            wanted.append(f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}")
    return [
        row
        for row in pathlib.Path("/proc/locks").read_text().splitlines()
        if any(name in row.split() for name in wanted)
    ]


class Scene:
    def __init__(self, start: bytes, wanted: t.Mapping[str, t.Any], image: pathlib.Path, device: str) -> None:
        self.start, self.image, self.device = start, image, device
        self.arguments = {**wanted, "device": device, "lock_timeout": 0}
        self.put()
        self.before = frozenset().union(*checker.openers(start, SECRETS).values())
        self.secrets = {name: secret for name, secret in SECRETS.items() if name in self.before or name in str(wanted)}
        self.points = points_of(self.arguments, pathlib.Path(device))
        self.after = opened_by_peer(device, start, self.secrets)
        assert self.after and self.after != self.before

    def put(self) -> None:
        """The old volume, through the node that the module uses: two page caches must not tell two stories."""
        fd = os.open(self.device, os.O_WRONLY)
        try:
            os.pwrite(fd, self.start, 0)
            os.fsync(fd)
        finally:
            os.close(fd)

    def kill(self, place: float, count: Count, *, writing: bool, timed: bool) -> None:
        """``place``: where in the run, from 0 to 1; ``writing``: in the part after the first write; ``timed``: by its
        processor time.
        """
        self.put()
        if timed:
            killed = end_after(self.arguments, place * self.points.seconds)
        else:
            first = self.points.writing if writing else 0
            killed = end_at(self.arguments, pathlib.Path(self.device), first + int(place * (self.points.count - first)))
        assert locks_on(self.device, str(self.image)) == [], "a lock outlives the process"
        left = self.read()
        opened = opened_by_peer(self.device, left, self.secrets)
        assert opened >= self.before & self.after, f"{self.before & self.after - opened} stopped working"
        assert opened, "nothing opens"
        result = outcome(self.arguments)
        assert not result.get("failed"), result
        final = self.read()
        assert opened_by_peer(self.device, final, self.secrets) == self.after
        header = checker.read(final)
        assert header.note is None and len(set(header.copies)) <= 1
        assert all(checker.openers(final, SECRETS).values()), "a zombie stays"
        assert not outcome(self.arguments)["changed"], "a further run changes something"
        revived = frozenset().union(*checker.openers(final, SECRETS, checker.read(self.start)).values())
        assert not (self.before - self.after) & revived, "the old header brings an erased secret back"
        count["kills"] += killed
        count["runs that had ended before"] += not killed
        if killed:
            count[f"killed {self.phase(left, done=not result['changed'])}"] += 1

    def phase(self, left: bytes, *, done: bool) -> str:
        """Where in its work the process was, by what it left."""
        header = checker.read(left)
        if left == self.start:
            return "before the first write"
        if header.note is not None:
            return f"under the note {header.note[0]}"
        if len(set(header.copies)) > 1:
            return "between the copies of the header"
        if header == checker.read(self.start):
            return "with key material that no header names yet"
        return "after the last write" if done else "between two actions"

    def read(self) -> bytes:
        with open(self.device, "rb") as file:
            return file.read(len(self.start))


EVERY = [
    pytest.param(name, marks=pytest.mark.needs(*(["loop"] if "loop device" in name else []), "cryptsetup"))
    for name in SCENES
]


@pytest.mark.parametrize("timed", [False, pytest.param(True, marks=pytest.mark.full)], ids=["at a call", "at any time"])
@pytest.mark.parametrize("name", EVERY)
def test_a_killed_run_leaves_what_the_next_one_ends(
    name: str, timed: bool, scratch: pathlib.Path, request: pytest.FixtureRequest, count: t.Callable[[str, t.Any], None]
) -> None:
    """With forty passes each run of the module writes hundreds of areas and makes each durable."""
    make, slots, wanted, place = SCENES[name]
    position, kills = list(SCENES).index(name), Count()
    most = request.config.getoption("--kills") or (64 if request.config.getoption("--size") == "full" else 36)
    share = most // len(SCENES) + (position < most % len(SCENES))
    seed = request.config.getoption("--seed")
    draw = random.Random(f"{seed} {name} {timed}")
    image = scratch / "volume"
    image.write_bytes(make(slots))
    with device_of(place, image) as device:
        scene = Scene(image.read_bytes(), wanted, image, device)
        for number in range(share):
            where = (number + draw.random()) / share
            writing = bool((position + number) % 2)
            try:
                scene.kill(where, kills, writing=writing, timed=timed)
            except AssertionError as error:
                pytest.fail(
                    f"seed {seed}, kill {number} at {where:.4f} of "
                    f"{scene.points}{' after the first write' * writing}: {error}"
                )
    count(name, kills)
