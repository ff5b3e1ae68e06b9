# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's process is killed (SIGKILL) at random instants, on files and on loop devices; then the same task runs again.

``tests/run kills`` kills 64 times, ``tests/run kills -- --kills 500`` is the long form. Instants are drawn from the time that
an uncut run takes here, which shrinks whenever a run had ended before; those of every other kill from the time after the
first write, because most of a run is spent with derivations before it. The seed is printed with a failure and fixed by
``--seed``. Where a kill hit is told by what it left on the disk, and counted.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import random
import subprocess
import tempfile
import time
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.crash import checker, module_process
from ansible_collections.luksmith.luks.tests.crash.operations import FULL, A, B, C, D, absent, present, task
from ansible_collections.luksmith.luks.tests.crash.peers import opened_by_peer
from ansible_collections.luksmith.luks.tests.crash.volumes import SECRETS, luks1, luks2

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
OPERATIONS = {
    "add": ({0: A, 5: D}, task(present(B), unlock=(D,))),
    "rekey and erase": ({0: A, 1: C, 5: D}, task(present(B, old=A), absent(old=C), unlock=(D,))),
    "rekey and erase, forty passes": ({0: A, 1: C, 5: D}, task(present(B, old=A), absent(old=C), unlock=(D,), wipe="multiple")),
    "erase, forty passes": ({0: A, 1: C}, task(absent(old=C), wipe="multiple")),
    "rekey without room": ({**FULL, 2: C}, task(present(B, old=C))),
    "rekey and erase without room, forty passes": ({**FULL, 2: C, 7: D}, task(present(B, old=C), absent(old=D), wipe="multiple")),
}
SCENES = {
    f"{kind} on a {place}: {name}": (make, *operation, place)
    for kind, make in (("luks1", luks1), ("luks2", luks2))
    for name, operation in OPERATIONS.items()
    for place in ("file", "loop device")
}
Count = collections.Counter[str]


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
        self.secrets = {name: secret for name, secret in SECRETS.items() if name in self.before or name in str(wanted)}
        process = module_process.start(self.arguments)
        silent = process.wait_for_write()
        result = process.result()
        self.seconds = time.monotonic() - process.begin
        self.writing = self.seconds - silent
        assert result.get("changed") and not result.get("failed"), result
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

    def kill(self, fraction: float, count: Count, *, writing: bool) -> None:
        """``writing``: the instant is that fraction of the time after the first write, else of the whole run."""
        self.put()
        process = module_process.start(self.arguments)
        running = process.kill_after(process.wait_for_write() + fraction * self.writing if writing else fraction * self.seconds)
        if not running:
            self.seconds *= 0.9
            self.writing *= 0.9
        assert locks_on(self.device, str(self.image)) == [], "a lock outlives the process"
        left = self.read()
        opened = opened_by_peer(self.device, left, self.secrets)
        assert opened >= self.before & self.after, f"{self.before & self.after - opened} stopped working"
        assert opened, "nothing opens"
        result = module_process.start(self.arguments).result()
        assert not result.get("failed"), result
        final = self.read()
        assert opened_by_peer(self.device, final, self.secrets) == self.after
        header = checker.read(final)
        assert header.note is None and len(set(header.copies)) <= 1
        assert all(checker.openers(final, SECRETS).values()), "a zombie stays"
        assert not module_process.start(self.arguments).result()["changed"], "a further run changes something"
        revived = frozenset().union(*checker.openers(final, SECRETS, checker.read(self.start)).values())
        assert not (self.before - self.after) & revived, "the old header brings an erased secret back"
        count["kills"] += running
        count["runs that had ended before"] += not running
        if running:
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


@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
@pytest.mark.parametrize("name", SCENES)
def test_a_killed_run_leaves_what_the_next_one_ends(name: str, request: pytest.FixtureRequest, count: t.Callable[[str, t.Any], None]) -> None:
    make, slots, wanted, place = SCENES[name]
    position, kills = list(SCENES).index(name), Count()
    share = (request.config.getoption("--kills") + position) // len(SCENES)
    seed = request.config.getoption("--seed")
    draw = random.Random(f"{seed} {name}")
    with tempfile.TemporaryDirectory(prefix="luksmith-kills-") as folder:
        image = pathlib.Path(folder, "volume")
        image.write_bytes(make(slots))
        with device_of(place, image) as device:
            scene = Scene(image.read_bytes(), wanted, image, device)
            while kills["kills"] < share:
                fraction = draw.random()
                number = kills["kills"]
                try:
                    scene.kill(fraction, kills, writing=bool((position + number) % 2))
                except AssertionError as error:
                    whole = f"{scene.seconds:.3f} s ({scene.writing:.3f} s after the first write)"
                    pytest.fail(f"seed {seed}, kill {number} at {fraction:.4f} of {whole}: {error}")
    count(name, kills)
