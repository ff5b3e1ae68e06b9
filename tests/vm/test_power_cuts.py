# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails in the middle of rotating the keyslots of an open, mounted volume with a busy file system.

A real kernel has the volume open by dm-crypt, ext4 on it is mounted and written to, and our module replaces a secret. At a chosen
write or flush of the header and key areas the machine stops, what was not flushed is lost, kept or torn by sectors, and the next boot
is judged: cryptsetup opens the volume, every byte that the file system had acknowledged is there and fsck finds nothing, and the
same task ends where the uncut one does. Each boot judges the volume of the last cut and loses the next one.
"""

from __future__ import annotations

import dataclasses
import tempfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.hosts.machine import Payloads
from ansible_collections.luksmith.luks.tests.interop.module_process import run_module
from ansible_collections.luksmith.luks.tests.vm.image import Image
from ansible_collections.luksmith.luks.tests.vm.machine import Machine, result_of
from ansible_collections.luksmith.luks.tests.vm.volumes import KEEP, KINDS, NEW, OLD, Kind, Shelf, make, opens, rotation, secret

# Writes 4 KiB records that tell their number, each durable before it is reported.
_WRITER = """
import os, sys
fd = os.open("/mnt/records", os.O_RDWR | os.O_CREAT)
number = 0
while True:
    number += 1
    os.pwrite(fd, number.to_bytes(8, "big") * 512, number % 64 * 4096)
    os.fsync(fd)
    print(number, flush=True)
"""
# Half of the ring: behind the last record that this end heard of, the guest may have begun others, which take the places of the oldest.
_READER = """
import os, sys
last = int(sys.argv[1])
data = open("/mnt/records", "rb").read()
for number in range(max(1, last - 31), last + 1):
    assert data[number % 64 * 4096 :][:4096] == number.to_bytes(8, "big") * 512, number
"""


@dataclasses.dataclass
class Cut:
    number: int
    kind: Kind
    at: int
    events: int
    seed: int
    state: bytes = b""
    acknowledged: int = 0
    lost: str = ""

    def __str__(self) -> str:
        return f"cut {self.number}: {self.kind.name}, event {self.at} of {self.events}, seed {self.seed}"


def open_and_mount(machine: Machine, device: str, passphrase: str = KEEP) -> None:
    machine.run(f"cryptsetup open --key-file - {device} volume && mount /dev/mapper/volume /mnt", stdin=passphrase.encode())


def unmount_and_close(machine: Machine) -> None:
    machine.run("umount /mnt && e2fsck -f -n /dev/mapper/volume && cryptsetup close volume")


def start_writer(machine: Machine) -> t.Any:
    writer = machine.popen("/usr/bin/python3", "-")
    writer.stdin.write(_WRITER.encode())
    writer.stdin.close()
    writer.stdin = None
    assert writer.stdout.readline() == b"1\n"
    return writer


def acknowledged(writer: t.Any) -> int:
    """The last record that the writer reported; it must have ended or lost its machine."""
    writer.wait()
    lines = writer.stdout.read().splitlines(keepends=True)
    return max([1, *(int(line) for line in lines if line.endswith(b"\n"))])


@pytest.fixture(scope="module")
def formatted(image: Image, payloads: Payloads) -> t.Dict[str, t.Tuple[bytes, int]]:
    """By kind: the volume with an empty file system, and how many events an uncut rotation has; that one is judged, too."""
    found = {}
    with Shelf() as shelf:
        disks = [shelf.disk(kind.name, make(kind)) for kind in KINDS]
        with Machine(image, payloads, disks) as machine:
            for kind, disk, letter in zip(KINDS, disks, "bcde"):
                device = f"/dev/vd{letter}"
                script = f"cryptsetup open --key-file - {device} volume && mkfs.ext4 -q /dev/mapper/volume && cryptsetup close volume && sync"
                machine.run(script, stdin=KEEP.encode())
                assert not disk.cached
                template = bytes(disk.now)
                open_and_mount(machine, device)
                shelf.supply.watch(disk, kind.areas)
                assert machine.module("keyslots", rotation(device))["changed"]
                found[kind.name] = (template, shelf.supply.events)
                unmount_and_close(machine)
                assert [opens(disk.now, passphrase) for passphrase in (KEEP, OLD, NEW)] == [True, False, True]
    return found


def plan_cuts(formatted: t.Mapping[str, t.Tuple[bytes, int]], count: int, seed: int) -> t.List[Cut]:
    """``count`` cuts, the kinds in turn, spread evenly over the events of each rotation."""
    cuts = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        events = formatted[kind.name][1]
        rounds = -(-(count - number % len(KINDS)) // len(KINDS))
        at = 1 + (2 * (number // len(KINDS)) + 1) * events // (2 * rounds)
        cuts.append(Cut(number, kind, min(at, events), events, seed + number))
    return cuts


def lose_power(machine: Machine, shelf: Shelf, device: str, disk: t.Any, cut: Cut) -> None:
    open_and_mount(machine, device)
    writer = start_writer(machine)
    shelf.supply.watch(disk, cut.kind.areas, cut_at=cut.at)
    module = machine.start_module("keyslots", rotation(device))
    while not shelf.supply.off.wait(0.1):
        assert module.poll() is None, f"{cut}: the module ended before the cut: {result_of(module)}"
    machine.cut_power()
    module.communicate()
    cut.acknowledged = acknowledged(writer)
    cut.state, sectors, kept = disk.after_power_cut(cut.seed)
    cut.lost = f"{kept} of {sectors} unflushed sectors kept, {cut.acknowledged} records acknowledged"


def judge(machine: Machine, device: str, disk: t.Any, cut: Cut, template: bytes) -> None:
    assert opens(cut.state, KEEP), f"{cut}: the secret that stays does not open"
    # cryptsetup and the kernel of the next boot find it as the cut left it, and so does the file system after its journal was replayed.
    open_and_mount(machine, device)
    machine.run(f"python3 - {cut.acknowledged}", stdin=_READER.encode())
    machine.run("umount /mnt && e2fsck -f -n /dev/mapper/volume && mount /dev/mapper/volume /mnt")
    first = machine.module("keyslots", rotation(device))
    assert not first.get("failed"), (str(cut), first)
    machine.run(f"python3 - {cut.acknowledged}", stdin=_READER.encode())
    unmount_and_close(machine)
    final = bytes(disk.now)
    assert [opens(final, passphrase) for passphrase in (KEEP, OLD, NEW)] == [True, False, True], str(cut)
    assert not opens(template[: cut.kind.header] + final[cut.kind.header :], OLD), f"{cut}: the oldest header brings the old secret back"
    check_converged(final, cut)


def check_converged(final: bytes, cut: Cut) -> None:
    """Once more the task, on this machine, because a module takes its time under emulation: nothing to do, and no dead keyslot."""
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


def test_power_cuts(
    image: Image, payloads: Payloads, shelf: Shelf, formatted: t.Dict[str, t.Tuple[bytes, int]], pytestconfig: pytest.Config, report: t.List[str]
) -> None:
    all_cuts = plan_cuts(formatted, pytestconfig.getoption("cuts"), pytestconfig.getoption("cut_seed"))
    cuts = all_cuts[pytestconfig.getoption("cuts_from") : pytestconfig.getoption("cuts_to")]
    report.append("events of an uncut rotation: " + ", ".join(f"{name} {events}" for name, (_template, events) in formatted.items()))
    last: t.Optional[Cut] = None
    for cut in (*cuts, None):
        shelf.new_supply()
        judged = last and shelf.disk(f"{last.kind.name}-cut", last.state)
        fresh = cut and shelf.disk(cut.kind.name, formatted[cut.kind.name][0])
        with Machine(image, payloads, [disk for disk in (judged, fresh) if disk]) as machine:
            if last and judged:
                judge(machine, "/dev/vdb", judged, last, formatted[last.kind.name][0])
                report.append(f"{last}: {last.lost}: opens, file system clean, rerun converges")
            if cut and fresh:
                lose_power(machine, shelf, "/dev/vdc" if judged else "/dev/vdb", fresh, cut)
        last = cut
