# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails in the middle of rotating the keyslots of an open, mounted volume with a busy file system.

A real kernel has the volume open by dm-crypt, ext4 on it is mounted and written to, and our module replaces a secret.
At a chosen write or flush of the header and key areas the machine stops, what was not flushed is lost, kept or torn by
sectors, and the next boot is judged: cryptsetup opens the volume, every byte that the file system had acknowledged is
there and fsck finds nothing, and the same task ends where the uncut one does. Each boot judges the volume of the last
cut and loses the next one.

Each boot of an emulated machine, and each run of a module in it, takes longer than 5 seconds.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import tempfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.module_process import run_module
from ansible_collections.luksmith.luks.tests.vm import code as codes
from ansible_collections.luksmith.luks.tests.vm.image import CACHE, NEEDS, TIMEOUT, Image
from ansible_collections.luksmith.luks.tests.vm.machine import Machine, result_of
from ansible_collections.luksmith.luks.tests.vm.volatile import Disk
from ansible_collections.luksmith.luks.tests.vm.volumes import (
    KEEP,
    KINDS,
    NEW,
    OLD,
    Kind,
    Shelf,
    make,
    make_with_file_system,
    opens,
    rotation,
    secret,
)

pytestmark = [pytest.mark.needs(*NEEDS), pytest.mark.timeout(TIMEOUT)]

# The long form takes its time: here a line is added for each cut as soon as it is judged.
LOG = CACHE / "power-cuts"

# Writes 4 KiB records that tell their number, each durable before it is reported. Nice, because there is one processor
# for it and the module.
_WRITER = """
import os
os.nice(10)
fd = os.open("/mnt/records", os.O_RDWR | os.O_CREAT)
number = 0
while True:
    number += 1
    os.pwrite(fd, number.to_bytes(8, "big") * 512, number % 64 * 4096)
    os.fsync(fd)
    print(number, flush=True)
"""
# Half of the ring: behind the last record that this end heard of, the guest may have begun others, which take the
# places of the oldest.
_READER = """
import sys
last = int(sys.argv[1])
data = open("/mnt/records", "rb").read()
for number in range(max(1, last - 31), last + 1):
    assert data[number % 64 * 4096 :][:4096] == number.to_bytes(8, "big") * 512, number
"""
Note = t.Callable[[str, str], None]
_OPEN = "cryptsetup open --key-file - {device} volume"
_MOUNT = "mount /dev/mapper/volume /mnt"
_UNMOUNT = "umount /mnt; e2fsck -f -n /dev/mapper/volume"


@dataclasses.dataclass
class Cut:
    number: int
    kind: Kind
    at: int
    events: int
    seed: int
    state: bytes = b""
    place: str = ""
    acknowledged: int = 0
    lost: str = ""

    def __str__(self) -> str:
        return (
            f"cut {self.number}: {self.kind.name}, event {self.at} of {self.events} ({self.place}), seed "
            f"{self.seed}, {self.lost}"
        )


def python(text: str, *arguments: object) -> str:
    return " ".join(["python3 -I -S -c", shlex.quote(text), *map(str, arguments)])


def start_writer(machine: Machine, device: str) -> t.Any:
    """Open and mount the volume and keep its file system busy."""
    writer = machine.popen(f"{_OPEN.format(device=device)} && {_MOUNT} && exec {python(_WRITER)}")
    writer.stdin.write(KEEP.encode())
    writer.stdin.close()
    writer.stdin = None
    assert writer.stdout.readline() == b"1\n", writer.communicate()
    return writer


def acknowledged(writer: t.Any) -> int:
    """The last record that the writer reported; it must have ended or lost its machine."""
    writer.wait()
    lines = writer.stdout.read().splitlines(keepends=True)
    return max([1, *(int(line) for line in lines if line.endswith(b"\n"))])


def found(state: bytes, kind: Kind) -> str:
    """Which of the two secrets opens a volume that lost power, in words; AssertionError where that is not what was
    promised.
    """
    assert opens(state, KEEP), "the secret that stays does not open"
    opening = [name for name, passphrase in (("old", OLD), ("new", NEW)) if opens(state, passphrase)]
    assert opening or not kind.room, "neither the old secret nor the new one opens, though there was room for both"
    return " and ".join(opening) or "neither"


def events_of(image: Image, code: pathlib.Path, shelf: Shelf, kind: Kind, template: bytes) -> int:
    """How many events an uncut rotation has. What the module has answered is on the medium."""
    disk = shelf.disk(kind.name, template)
    with Machine(image, code, [disk]) as machine:
        machine.run(f"{_OPEN.format(device='/dev/vdb')} && {_MOUNT}", stdin=KEEP.encode())
        shelf.supply.watch(disk, kind.areas)
        assert machine.module("keyslots", rotation("/dev/vdb"))["changed"]
        assert [opens(disk.durable, passphrase) for passphrase in (KEEP, OLD, NEW)] == [True, False, True]
        machine.run(f"set -e; {_UNMOUNT}; cryptsetup close volume")
        return shelf.supply.events


def lose_power(machine: Machine, shelf: Shelf, device: str, disk: Disk, cut: Cut) -> None:
    writer = start_writer(machine, device)
    shelf.supply.watch(disk, cut.kind.areas, cut_at=cut.at)
    module = machine.start_module("keyslots", rotation(device))
    while not shelf.supply.off.wait(0.1):
        assert module.poll() is None, f"{cut}: the module ended before the cut: {result_of(module)}"
    machine.cut_power()
    module.communicate()
    cut.acknowledged = acknowledged(writer)
    cut.state, sectors, kept = disk.after_power_cut(cut.seed)
    cut.place = (
        "flush"
        if shelf.supply.last is None
        else "write of the header"
        if shelf.supply.last < cut.kind.header
        else "write of key material"
    )
    cut.lost = f"{kept} of {sectors} unflushed sectors kept, {cut.acknowledged} records acknowledged"


def judge(machine: Machine, device: str, disk: Disk, cut: Cut, template: bytes) -> None:
    # cryptsetup and the kernel of this boot find it as the cut left it, and so does the file system after its journal
    # was replayed.
    read = python(_READER, cut.acknowledged)
    machine.run(f"set -e; {_OPEN.format(device=device)}; {_MOUNT}; {read}; {_UNMOUNT}; {_MOUNT}", stdin=KEEP.encode())
    first = machine.module("keyslots", rotation(device))
    assert not first.get("failed"), (str(cut), first)
    assert [opens(disk.durable, passphrase) for passphrase in (KEEP, OLD, NEW)] == [True, False, True], (
        f"{cut}: answered before it is on the medium"
    )
    machine.run(f"set -e; {read}; {_UNMOUNT}; cryptsetup close volume")
    final = bytes(disk.now)
    assert [opens(final, passphrase) for passphrase in (KEEP, OLD, NEW)] == [True, False, True], str(cut)
    assert not opens(template[: cut.kind.header] + final[cut.kind.header :], OLD), (
        f"{cut}: the oldest header brings the old secret back"
    )
    check_converged(final, cut)


def check_converged(final: bytes, cut: Cut) -> None:
    """Once more the task, on this machine, because a module takes its time under emulation: nothing to do, and no dead
    keyslot.
    """
    with tempfile.NamedTemporaryFile(prefix="luksmith-vm-") as file:
        file.write(final)
        file.flush()
        again = run_module("keyslots", rotation(file.name))
        # A slot is tried only where the answer matters to a task; keyslots_info tries all.
        info = run_module("keyslots_info", {"device": file.name, "secrets": [secret(KEEP), secret(OLD), secret(NEW)]})
    assert not again["changed"], (str(cut), again)
    active = [slot for slot in info["keyslots"] if slot["state"] == "active"]
    assert all(slot["opened_by"] in (["keep"], ["new"]) for slot in active), f"{cut}: {active}"
    assert [slot["opened_by"] for slot in active].count(["new"]) == 1, f"{cut}: {active}"
    assert len(active) == len(cut.kind.slots), f"{cut}: {active}"


def cut_and_judge(
    image: Image, code: pathlib.Path, shelf: Shelf, cuts: t.Sequence[Cut], templates: t.Mapping[str, bytes], note: Note
) -> None:
    """One boot more than there are cuts."""
    last: t.Optional[Cut] = None
    for cut in (*cuts, None):
        shelf.new_supply()
        judged = [shelf.disk(f"{last.kind.name}-judged", last.state)] if last else []
        fresh = [shelf.disk(f"{cut.kind.name}-fresh", templates[cut.kind.name])] if cut else []
        with Machine(image, code, [*judged, *fresh]) as machine:
            if last:
                judge(machine, "/dev/vdb", judged[0], last, templates[last.kind.name])
                state = found(last.state, last.kind)
                note(
                    f"{last.kind.name}, cut at a {last.place}: the next boot finds that {state} opens",
                    f"{last}: {state} opens",
                )
                with LOG.open("a") as log:
                    print(f"{last}: {state} opens", file=log)
            if cut:
                lose_power(machine, shelf, "/dev/vdc" if last else "/dev/vdb", fresh[0], cut)
                found(cut.state, cut.kind)
        last = cut


def test_one_power_cut_for_each_format(
    image: Image, code: pathlib.Path, shelf: Shelf, pytestconfig: pytest.Config, note: Note
) -> None:
    """Three boots: in the middle of a rotation, where the full form would cut once; that the rotation is shorter would
    be told.
    """
    seed = pytestconfig.getoption("cut_seed")
    cuts = [Cut(0, KINDS[0], 92, 182, seed + 1), Cut(1, KINDS[1], 50, 98, seed + 2)]
    cut_and_judge(image, code, shelf, cuts, {cut.kind.name: make_with_file_system(cut.kind) for cut in cuts}, note)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_power_cuts(
    kind: Kind, image: Image, code: pathlib.Path, shelf: Shelf, pytestconfig: pytest.Config, note: Note
) -> None:
    """Two boots and one for each cut: the kinds take the cuts in turn, and those of one kind are spread evenly over the
    events of its rotation.
    """
    numbers = range(KINDS.index(kind), pytestconfig.getoption("cuts"), len(KINDS))
    if not numbers:
        pytest.skip("--cuts leaves no cut for this kind of volume")
    template = make_with_file_system(kind)
    events = events_of(image, code, shelf, kind, template)
    places = [1 + (2 * turn + 1) * events // (2 * len(numbers)) for turn in range(len(numbers))]
    seed = pytestconfig.getoption("cut_seed")
    cuts = [Cut(number, kind, min(at, events), events, seed + number) for at, number in zip(places, numbers)]
    cut_and_judge(image, code, shelf, cuts, {kind.name: template}, note)


def test_a_module_without_barriers_is_noticed(image: Image, shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """One boot. No file system here, whose own flushes would help out at times that nobody chooses."""
    kind = KINDS[0]
    no_barrier = ("plugins/module_utils/_luks/volume/storage.py", "os.fsync(self._node.fd)", "pass")
    disk = shelf.disk("no-barrier", make(kind))
    with Machine(image, codes.make(image.tree, tmp_path / "code.img", [no_barrier]), [disk]) as machine:
        machine.run(_OPEN.format(device="/dev/vdb"), stdin=KEEP.encode())
        assert machine.module("keyslots", rotation("/dev/vdb"))["changed"]
        machine.cut_power()
    state, sectors, _kept = disk.after_power_cut(seed=2)
    assert sectors > 500, "somebody else flushed the disk"
    with pytest.raises(AssertionError, match="neither the old secret nor the new one"):
        found(state, kind)
