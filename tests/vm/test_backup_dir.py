# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails while the only known keyslot of a full header is replaced in place (``backup_dir``).

The copy of the header lies on a disk of its own with ext4. Both disks lose what was not flushed, and the cut comes at a
write or flush of either. The next boot replays the journal of ext4. Then the old secret opens the volume, or the new
one, or the copy that is there brings the old one back, by cryptsetup; the same task finishes and leaves no copy.

Each boot of an emulated machine, and each run of a module in it, takes longer than 5 seconds.
"""

from __future__ import annotations

import base64
import pathlib
import subprocess
import tempfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.vm import code as codes
from ansible_collections.luksmith.luks.tests.vm.image import NEEDS, TIMEOUT, Image
from ansible_collections.luksmith.luks.tests.vm.machine import Machine, result_of
from ansible_collections.luksmith.luks.tests.vm.test_power_cuts import LOG, Cut, Note, check_converged
from ansible_collections.luksmith.luks.tests.vm.volatile import Disk
from ansible_collections.luksmith.luks.tests.vm.volumes import (
    COSTS,
    KEEP,
    KINDS,
    MIB,
    NEW,
    OLD,
    Kind,
    Shelf,
    make,
    opens,
    secret,
)

pytestmark = [pytest.mark.full, pytest.mark.needs(*NEEDS), pytest.mark.timeout(TIMEOUT)]

FOLDER = "/copies"
_MOUNT = f"mkdir -p {FOLDER} && mount -o data=ordered {{}} {FOLDER}"
_UNMOUNT = f"umount {FOLDER}; e2fsck -f -n {{}}"
_FULL = [kind for kind in KINDS if not kind.room]


class Pair(t.NamedTuple):
    """What a volume and the file system for its copy hold."""

    volume: bytes
    copies: bytes


def task(device: str) -> t.Dict[str, t.Any]:
    """Nothing but the secret that goes is known; those of the other keyslots are a stranger's."""
    replaced = {"old_secret": secret(OLD), "new_secret": secret(NEW), "pbkdf": COSTS}
    return {"device": device, "keyslots": [replaced], "backup_dir": FOLDER}


def empty_file_system() -> bytes:
    with tempfile.NamedTemporaryFile(prefix="luksmith-vm-") as file:
        file.truncate(16 * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", file.name], check=True)
        return pathlib.Path(file.name).read_bytes()


def restored(volume: bytes, copy: bytes) -> bytes:
    """By cryptsetup."""
    with tempfile.TemporaryDirectory(prefix="luksmith-vm-") as name:
        target, backup = pathlib.Path(name, "volume"), pathlib.Path(name, "backup")
        target.write_bytes(volume)
        backup.write_bytes(copy)
        command = ["cryptsetup", "-q", "luksHeaderRestore", "--header-backup-file", str(backup), str(target)]
        subprocess.run(command, check=True, capture_output=True)
        return target.read_bytes()


def copies_there(machine: Machine) -> t.List[bytes]:
    """Of the headers, unfinished ones not among them."""
    names = machine.run(f"ls {FOLDER}").stdout.split()
    found = [name for name in names if name.endswith(".luks-header")]
    return [base64.b64decode(machine.run(f"base64 {FOLDER}/{name}").stdout) for name in found]


@pytest.mark.parametrize("kind", _FULL, ids=lambda kind: kind.name)
def test_power_cuts_with_a_copy_of_the_header(
    kind: Kind, image: Image, code: pathlib.Path, shelf: Shelf, pytestconfig: pytest.Config, note: Note
) -> None:
    """Two boots and one for each cut: three for each format, or half as many as ``--cuts`` says, more of them at the
    beginning and at the end, where the copy comes and goes.
    """
    template = Pair(make(kind), empty_file_system())
    events = _events_of(image, code, shelf, kind, template)
    count = max(3, pytestconfig.getoption("cuts") // 2)
    seed = pytestconfig.getoption("cut_seed")
    places = [_place((2 * turn + 1) / (2 * count), events) for turn in range(count)]
    last: t.Optional[t.Tuple[Cut, Pair]] = None
    for number, at in enumerate([*places, 0]):
        shelf.new_supply()
        judged = _disks(shelf, "judged", last[1]) if last else []
        fresh = _disks(shelf, "fresh", template) if at else []
        with Machine(image, code, [*judged, *fresh]) as machine:
            if last:
                state = _judge(machine, judged, *last)
                note(f"backup_dir, {kind.name}: the next boot finds that {state}", f"{last[0]}: {state}")
                with LOG.open("a") as log:
                    print(f"backup_dir, {last[0]}: {state}", file=log)
            if at:
                cut = Cut(number, kind, at, events, seed + number)
                last = cut, _lose_power(machine, shelf, "/dev/vdd" if last else "/dev/vdb", fresh, cut)


def _place(part: float, events: int) -> int:
    return 1 + int(events * (2 * part**2 if part < 0.5 else 1 - 2 * (1 - part) ** 2))


def test_a_copy_that_is_not_synced_is_noticed(image: Image, shelf: Shelf, tmp_path: pathlib.Path) -> None:
    """One boot, in which nothing but the module could sync the copy."""
    kind, files = _FULL[0], "plugins/module_utils/_luks/files.py"
    no_sync = [
        (files, "            os.fsync(descriptor)\n            if isinstance", "            if isinstance"),
        (files, "        os.fsync(descriptor)\n    finally:", "        pass\n    finally:"),
    ]
    disks = _disks(shelf, "no-sync", Pair(make(kind), empty_file_system()))
    with Machine(image, codes.make(image.tree, tmp_path / "code.img", no_sync), disks) as machine:
        machine.run("echo 0 >/proc/sys/vm/dirty_writeback_centisecs")
        machine.run(_MOUNT.format("-o commit=36000 /dev/vdc"))
        shelf.supply.watch(disks[0], kind.areas, cut_at=40)
        module = machine.start_module("keyslots", task("/dev/vdb"))
        while not shelf.supply.off.wait(0.1):
            assert module.poll() is None, result_of(module)
        machine.cut_power()
        module.communicate()
    volume, copies = disks[0].after_power_cut(1)[0], disks[1].after_power_cut(0)[0]
    assert not opens(volume, OLD) and not opens(volume, NEW), "the cut came too early or too late"
    assert b".luks-header" not in copies, "somebody else synced the copy"


def _disks(shelf: Shelf, name: str, content: Pair) -> t.List[Disk]:
    return [shelf.disk(f"{name}-volume", content.volume), shelf.disk(f"{name}-copies", content.copies)]


def _next(device: str) -> str:
    return device[:-1] + chr(ord(device[-1]) + 1)


def _events_of(image: Image, code: pathlib.Path, shelf: Shelf, kind: Kind, template: Pair) -> int:
    """Of a run that is not cut; what it has answered is on the medium, and no copy is left."""
    volume, copies = _disks(shelf, "uncut", template)
    with Machine(image, code, [volume, copies]) as machine:
        machine.run(_MOUNT.format("/dev/vdc"))
        shelf.supply.watch(volume, kind.areas, also=[copies])
        result = machine.module("keyslots", task("/dev/vdb"))
        assert [row["action"] for row in result.get("plan", ())] == ["copy-header", "rekey", "remove-copy"], result
        events = shelf.supply.events
        assert [opens(volume.durable, passphrase) for passphrase in (KEEP, OLD, NEW)] == [True, False, True]
        assert machine.run(f"ls {FOLDER}").stdout.split() == ["lost+found"]
    return events


def _lose_power(machine: Machine, shelf: Shelf, device: str, disks: t.Sequence[Disk], cut: Cut) -> Pair:
    volume, copies = disks
    machine.run(_MOUNT.format(_next(device)))
    shelf.supply.watch(volume, cut.kind.areas, cut_at=cut.at, also=[copies])
    module = machine.start_module("keyslots", task(device))
    while not shelf.supply.off.wait(0.1):
        assert module.poll() is None, f"{cut}: the module ended before the cut: {result_of(module)}"
    machine.cut_power()
    module.communicate()
    (left, *of_volume), (copies_left, *of_copies) = (disk.after_power_cut(cut.seed) for disk in disks)
    what = "flush" if shelf.supply.last is None else "write"
    cut.place = f"{what} of the {'copy' if shelf.supply.last_disk is copies else 'volume'}"
    sectors, kept = map(sum, zip(of_volume, of_copies))
    cut.lost = f"{kept} of {sectors} unflushed sectors kept"
    return Pair(left, copies_left)


def _judge(machine: Machine, disks: t.Sequence[Disk], cut: Cut, left: Pair) -> str:
    """What opens then; the rerun finishes."""
    volume, _copies = disks
    machine.run(_MOUNT.format("/dev/vdc"))
    assert opens(left.volume, KEEP), f"{cut}: the keyslots of others are gone"
    opening = [name for name, passphrase in (("old", OLD), ("new", NEW)) if opens(left.volume, passphrase)]
    copies = copies_there(machine)
    assert len(copies) <= 1, f"{cut}: {len(copies)} copies"
    if not opening:
        assert copies, f"{cut}: nothing opens, and there is no copy"
        assert opens(restored(left.volume, copies[0]), OLD), f"{cut}: the copy does not bring the old secret back"
        opening = ["the copy"]
    first = machine.module("keyslots", task("/dev/vdb"))
    assert not first.get("failed"), (str(cut), first)
    assert [opens(volume.durable, passphrase) for passphrase in (KEEP, OLD, NEW)] == [True, False, True], str(cut)
    assert machine.run(f"ls -A {FOLDER}").stdout.split() == ["lost+found"], str(cut)
    machine.run(f"set -e; {_UNMOUNT.format('/dev/vdc')}")
    check_converged(bytes(volume.now), cut)
    return f"{' and '.join(opening)} opens{', and a copy is there' if copies else ''}"
