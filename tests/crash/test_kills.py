# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's process is killed (SIGKILL) at random instants, on files and on loop devices; then the same task runs again.

``tests/run kills`` kills 64 times, ``tests/run kills -- --kills 500`` is the long form. Instants are drawn from the time that
an uncut run takes here, which shrinks whenever a run had ended before; the seed is printed with a failure and fixed by ``--seed``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import random
import subprocess
import tempfile
import time
import typing as t

import checker
import module_process
import pytest
from operations import FULL, A, B, C, D, absent, present, task
from peers import opened_by_peer
from volumes import SECRETS, luks1, luks2

FREE = ({0: A, 1: C, 5: D}, task(present(B, old=A), absent(old=C), unlock=(D,)))
MANY_PASSES = ({0: A, 1: C, 5: D}, task(present(B, old=A), absent(old=C), unlock=(D,), wipe="multiple"))
NO_ROOM = ({**FULL, 2: C}, task(present(B, old=C)))
NO_ROOM_MANY_PASSES = ({**FULL, 2: C, 7: D}, task(present(B, old=C), absent(old=D), wipe="multiple"))
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
SCENES = {
    f"{kind}, {name}, on a {place}": (make, slots, wanted, place)
    for kind, make in (("luks1", luks1), ("luks2", luks2))
    for name, (slots, wanted) in (
        ("free slots", FREE),
        ("free slots, forty passes", MANY_PASSES),
        ("no room", NO_ROOM),
        ("no room, forty passes", NO_ROOM_MANY_PASSES),
    )
    for place in ("file", "loop device")
}


@dataclasses.dataclass
class Kills:
    """kills: that hit a running process; changed: of these, the volume was no longer the old one; unfinished: it held a note."""

    kills: int = 0
    ended_before: int = 0
    changed: int = 0
    unfinished: int = 0
    done: int = 0


@contextlib.contextmanager
def device_of(place: str, image: pathlib.Path) -> t.Iterator[str]:
    if place == "file":
        yield str(image)
        return
    attached = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False)
    if attached.returncode:
        pytest.skip(f"no loop device here: {attached.stderr.strip()}")
    try:
        yield attached.stdout.strip()
    finally:
        subprocess.run(["losetup", "--detach", attached.stdout.strip()], check=True)


def locks_on(*paths: str) -> t.List[str]:
    """Rows of the kernel's table for any of these files; locks of the lock folder are those of a block device's number."""
    wanted = []
    for path in paths:
        status = os.stat(path)
        wanted.append(f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}")
        with contextlib.suppress(FileNotFoundError):
            lock = os.stat(f"/run/cryptsetup/L_{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
            wanted.append(f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}")
    return [row for row in pathlib.Path("/proc/locks").read_text().splitlines() if any(name in row.split() for name in wanted)]


class Scene:
    def __init__(self, start: bytes, wanted: t.Mapping[str, t.Any], image: pathlib.Path, device: str) -> None:
        self.start, self.image, self.device = start, image, device
        self.arguments = {**wanted, "device": device, "lock_timeout": 0}
        self.put()
        self.before = frozenset().union(*checker.openers(start, SECRETS).values())
        begin = time.monotonic()
        result = module_process.start(self.arguments).result()
        self.seconds = time.monotonic() - begin
        assert result.get("changed") and not result.get("failed"), result
        self.after = opened_by_peer(device, start, SECRETS)
        assert self.after < set(SECRETS) and self.after != self.before

    def put(self) -> None:
        """The old volume, through the node that the module uses: two page caches must not tell two stories."""
        fd = os.open(self.device, os.O_WRONLY)
        try:
            os.pwrite(fd, self.start, 0)
            os.fsync(fd)
        finally:
            os.close(fd)

    def kill(self, fraction: float, count: Kills) -> None:
        self.put()
        process = module_process.start(self.arguments)
        if not process.kill_after(fraction * self.seconds):
            count.ended_before += 1
            self.seconds *= 0.9
        else:
            count.kills += 1
        assert locks_on(self.device, str(self.image)) == [], "a lock outlives the process"
        left = self.read()
        changed, note = left != self.start, checker.read(left).note
        count.changed += changed
        count.unfinished += note is not None
        opened = opened_by_peer(self.device, left, SECRETS)
        assert opened >= self.before & self.after, f"{self.before & self.after - opened} stopped working"
        assert opened, "nothing opens"
        result = module_process.start(self.arguments).result()
        assert not result.get("failed"), result
        count.done += not result["changed"]
        final = self.read()
        assert opened_by_peer(self.device, final, SECRETS) == self.after
        header = checker.read(final)
        assert header.note is None and len(set(header.copies)) <= 1
        assert all(checker.openers(final, SECRETS).values()), "a zombie stays"
        assert not module_process.start(self.arguments).result()["changed"], "a further run changes something"
        revived = frozenset().union(*checker.openers(final, SECRETS, checker.read(self.start)).values())
        assert not (self.before - self.after) & revived, "the old header brings an erased secret back"

    def read(self) -> bytes:
        with open(self.device, "rb") as file:
            return file.read(len(self.start))


@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
@pytest.mark.parametrize("name", SCENES)
def test_a_killed_run_leaves_what_the_next_one_ends(
    name: str, request: pytest.FixtureRequest, count: t.Callable[[str, t.Any], None]
) -> None:
    make, slots, wanted, place = SCENES[name]
    position, kills = list(SCENES).index(name), Kills()
    share = (request.config.getoption("--kills") + position) // len(SCENES)
    seed = request.config.getoption("--seed")
    draw = random.Random(f"{seed} {name}")
    with tempfile.TemporaryDirectory(prefix="luksmith-kills-") as folder:
        image = pathlib.Path(folder, "volume")
        image.write_bytes(make(slots))
        with device_of(place, image) as device:
            scene = Scene(image.read_bytes(), wanted, image, device)
            while kills.kills < share:
                fraction = draw.random()
                number = kills.kills
                try:
                    scene.kill(fraction, kills)
                except AssertionError as error:
                    pytest.fail(f"seed {seed}, kill {number} at {fraction:.4f} of {scene.seconds:.3f} s: {error}")
    count(name, kills)
