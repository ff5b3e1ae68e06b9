# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules on real device-mapper devices: what is open, what lies beneath, what keeps old blocks, who else reads."""

from __future__ import annotations

import contextlib
import pathlib
import queue
import threading
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.vm.image import NEEDS, TIMEOUT, Image
from ansible_collections.luksmith.luks.tests.vm.machine import MODULE, Machine, result_of
from ansible_collections.luksmith.luks.tests.vm.volumes import (
    CHEAP,
    KEEP,
    KINDS,
    MIB,
    NEW,
    OLD,
    Kind,
    Shelf,
    make,
    opens,
    rotation,
)

# Most tests of this file share a machine. Each run of a module in it takes longer than 5 seconds.
pytestmark = [pytest.mark.xdist_group("device-mapper"), pytest.mark.needs(*NEEDS), pytest.mark.timeout(TIMEOUT)]

LUKS1, LUKS2, QUIET = "/dev/vdb", "/dev/vdc", "/dev/vde"
# Nobody plays udev in the quick boot.
_LVM_CONFIG = "activation{udev_sync=0 udev_rules=0 monitoring=0} devices{obtain_device_list_from_udev=0}"
_LVM = f'lvm() {{ command lvm "$@" --config "{_LVM_CONFIG}"; }}; set -e; mkdir -p /run/lock/lvm;'
_FORMAT = f"cryptsetup luksFormat --batch-mode --type luks1 {' '.join(CHEAP)} --key-file -"
_LVM_VOLUMES = f"""
{_LVM}
lvm pvcreate -q /dev/vdd
lvm vgcreate -q vg /dev/vdd
lvm lvcreate -q -y -L 48M -T vg/pool >&2
lvm lvcreate -q -y -V 16M -T vg/pool -n thin >&2
lvm lvcreate -q -y -L 16M -n plain vg >&2
"""


@pytest.fixture(scope="module")
def shelves() -> t.Iterator[Shelf]:
    with Shelf() as shelf:
        yield shelf


@pytest.fixture(scope="module")
def machine(image: Image, code: pathlib.Path, shelves: Shelf) -> t.Iterator[Machine]:
    luks1, luks2 = (shelves.disk(kind.name, make(kind)) for kind in KINDS[:2])
    with Machine(
        image, code, [luks1, luks2, shelves.disk("lvm", bytes(128 * MIB)), shelves.disk("quiet", make(KINDS[0]))]
    ) as machine:
        yield machine


def guest_opens(machine: Machine, device: str, passphrase: str, *options: str) -> bool:
    command = " ".join(["cryptsetup", "open", "--test-passphrase", *options, "--key-file", "-", device])
    code = machine.run(command, stdin=passphrase.encode(), check=False).returncode
    assert code in (0, 1, 2), (device, code)
    return code == 0


def test_read_only_device_is_refused_with_a_sentence_in_check_mode_as_in_the_real_run(machine: Machine) -> None:
    """A boot, and two runs of a module."""
    machine.run(f"blockdev --setro {LUKS1}")
    try:
        results = [machine.module("keyslots", rotation(LUKS1), check_mode=check) for check in (True, False)]
    finally:
        machine.run(f"blockdev --setrw {LUKS1}")
    for result in results:
        assert (result.get("failed"), result["changed"]) == (True, False), result
        assert "read-only" in result["msg"]
        assert LUKS1 in result["msg"]
    assert guest_opens(machine, LUKS1, OLD)


def test_what_the_module_has_answered_is_on_the_medium(machine: Machine, shelves: Shelf) -> None:
    """A run of a module. There is no file system whose own flushes would help out."""
    machine.run(f"cryptsetup open --key-file - {QUIET} quiet", stdin=KEEP.encode())
    assert machine.module("keyslots", rotation(QUIET))["changed"]
    assert [opens(shelves.disks[3].durable, passphrase) for passphrase in (KEEP, OLD, NEW)] == [True, False, True]
    machine.run("cryptsetup close quiet")


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda kind: kind.name)
def test_cryptsetup_opens_at_every_moment_of_a_rotation_and_then_no_old_secret(
    machine: Machine, shelves: Shelf, kind: Kind
) -> None:
    """The module is stopped at every 40th write to the header and the key areas, or flush after one, and the guest's
    cryptsetup is asked.
    """
    device, disk = list(zip((LUKS1, LUKS2), shelves.disks))[KINDS.index(kind)]
    machine.run(
        f"cryptsetup open --key-file - {device} busy && mkfs.ext4 -q /dev/mapper/busy && mount /dev/mapper/busy /mnt",
        stdin=KEEP.encode(),
    )
    running = threading.Event()
    running.set()
    stops: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    def stop(event: int) -> None:
        # The module waits for what it has written: the signal stops it before it does anything else.
        if event >= 40 * (len(seen) + 1) and running.is_set():
            running.clear()
            stops.put(machine.signal_module("STOP"))

    seen: t.List[t.Any] = []
    shelves.supply.watch(disk, kind.areas, call=stop)
    module = machine.start_module("keyslots", rotation(device))
    while module.poll() is None:
        with contextlib.suppress(queue.Empty):
            seen.append(stops.get(timeout=0.1))
            assert seen[-1].returncode == 0, seen
            # The stopped module keeps its locks.
            assert guest_opens(machine, device, KEEP, "--disable-locks"), seen
            assert "(stopped)" in machine.run(f"cat /proc/$(cat {MODULE})/status").stdout
            running.set()
            assert machine.signal_module("CONT").returncode == 0
    result = result_of(module)
    assert result["changed"], result
    assert len(seen) > 1, seen
    assert (guest_opens(machine, device, NEW), guest_opens(machine, device, OLD)) == (True, False)
    (volume,) = [volume for volume in machine.module("volumes_info", {})["volumes"] if volume["device"] == device]
    assert [(mapping["name"], mapping["mounts"]) for mapping in volume["open"]] == [("busy", ["/mnt"])], volume
    machine.run("umount /mnt && e2fsck -f -n /dev/mapper/busy && cryptsetup close busy")


@pytest.mark.full
def test_thin_volume_is_rotated_with_a_warning_that_its_pool_may_keep_old_blocks(machine: Machine) -> None:
    """Three runs of a module, and LVM beside them."""
    machine.run(_LVM_VOLUMES)
    for name in ("thin", "plain"):
        machine.run(f"{_FORMAT} /dev/mapper/vg-{name}", stdin=OLD.encode())
    task = {
        "keyslots": [
            {
                "old_secret": {"passphrase": OLD},
                "new_secret": {"passphrase": NEW},
                "pbkdf": {"type": "pbkdf2", "iterations": 1000},
            }
        ]
    }
    thin = machine.module("keyslots", {"device": "/dev/mapper/vg-thin", **task})
    assert thin["changed"], thin
    assert any("a thin pool" in str(warning) for warning in thin["warnings"]), thin["warnings"]

    machine.run(f"{_LVM} lvm lvcreate -q -y -s -L 8M -n earlier vg/plain >&2")
    origin = machine.module("keyslots", {"device": "/dev/mapper/vg-plain", **task})
    assert origin["changed"], origin
    assert any("LVM snapshot" in str(warning) for warning in origin["warnings"]), origin["warnings"]
    # The warning is true.
    assert (guest_opens(machine, "/dev/mapper/vg-plain", OLD), guest_opens(machine, "/dev/mapper/vg-earlier", OLD)) == (
        False,
        True,
    )


@pytest.mark.full
def test_volume_under_two_names_of_a_multipath_device_is_one_volume(
    image: Image, code: pathlib.Path, shelf: Shelf
) -> None:
    """A boot, and three runs of a module."""
    disk = shelf.disk("paths", make(KINDS[1]))
    with Machine(image, code, [disk]) as machine:
        machine.run(
            'dmsetup create mpatha --uuid mpath-3600 --table "0 $(blockdev --getsz /dev/vdb) linear /dev/vdb 0" && '
            "dmsetup mknodes"
        )
        # Its first page is in the page cache of the path before the change is made through the other name.
        machine.run("head -c 65536 /dev/vdb >/dev/null")
        volumes = machine.module("volumes_info", {})["volumes"]
        assert len({volume["uuid"] for volume in volumes}) == len(volumes) == 1, volumes
        result = machine.module("keyslots", rotation("/dev/mapper/mpatha"))
        assert result["changed"], result
        again = machine.module("keyslots", rotation("/dev/vdb"))
        assert (again.get("failed"), again["changed"]) == (None, False), again
        machine.shut_down()
    assert [opens(disk.durable, passphrase) for passphrase in (KEEP, OLD, NEW)] == [True, False, True]
