# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume that the TPM of the machine unlocks: across reboots, a rotation, another list of PCRs, and power cuts.

The firmware of the machine (SeaBIOS) measures into the PCRs at each boot. The guest's systemd and cryptsetup unlock,
without a word from us.

Each boot of an emulated machine, and each run of a module in it, takes longer than 5 seconds.
"""

from __future__ import annotations

import base64
import pathlib
import tempfile
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume
from ansible_collections.luksmith.luks.tests.interop.tpm import extension, pardon
from ansible_collections.luksmith.luks.tests.vm.image import NEEDS, TIMEOUT, Image
from ansible_collections.luksmith.luks.tests.vm.machine import SYSTEMD, Machine, result_of
from ansible_collections.luksmith.luks.tests.vm.test_power_cuts import LOG, Note
from ansible_collections.luksmith.luks.tests.vm.tpm import Tpm
from ansible_collections.luksmith.luks.tests.vm.volatile import Disk
from ansible_collections.luksmith.luks.tests.vm.volumes import (
    KEEP,
    KINDS,
    NEW,
    OLD,
    Shelf,
    in_crypttab,
    make,
    opens,
    rotation,
    secret,
)

pytestmark = [pytest.mark.full, pytest.mark.needs(*NEEDS, "swtpm"), pytest.mark.timeout(TIMEOUT)]

FIRST, SECOND = [7], [0, 7]
_KIND = KINDS[1]  # LUKS2 with free keyslots
_TPM_OPENS = "cryptsetup open --test-passphrase --token-only {device}"
_PREPARE = in_crypttab("--token-only", "none", "luks,nofail,tpm2-device=auto")
_SEND = """
import base64, sys
with open("/dev/tpmrm0", "r+b", buffering=0) as tpm:
    tpm.write(base64.b64decode(sys.argv[1]))
    assert tpm.read(4096)[6:10] == bytes(4)
"""


@pytest.fixture
def tpm() -> t.Iterator[Tpm]:
    with Tpm() as chip:
        yield chip


def binding(device: str, pcrs: t.Sequence[int], *entries: t.Any, unlock: t.Any) -> t.Dict[str, t.Any]:
    entry = {"binding": {"type": "systemd-tpm2", "pcrs": pcrs}}
    return {"device": device, "unlock": [unlock], "keyslots": [entry, *entries]}


BY_TPM = {"label": "machine", "token": "systemd-tpm2"}


def tell(machine: Machine, command: bytes) -> None:
    """The machine's TPM."""
    machine.run(f"python3 - {base64.b64encode(command).decode()}", stdin=_SEND.encode())


def done(result: t.Mapping[str, t.Any]) -> t.List[t.Tuple[str, t.Any]]:
    assert not result.get("failed"), result
    return [(row["action"], row["keyslot"]) for row in result["plan"]]


def bound_to(content: t.Union[bytes, bytearray]) -> t.List[t.List[int]]:
    """The PCRs of each TPM2 token, by this machine's cryptsetup."""
    with tempfile.NamedTemporaryFile(prefix="luksmith-vm-") as file:
        file.write(content)
        file.flush()
        tokens = Luks2Volume(pathlib.Path(file.name)).tree()["tokens"].values()
    return [token["tpm2-pcrs"] for token in tokens if token["type"] == "systemd-tpm2"]


def test_reboots_with_a_binding_that_is_replaced(image: Image, code: pathlib.Path, shelf: Shelf, tpm: Tpm) -> None:
    """Three boots, two of them with all of systemd, and five runs of modules."""
    disk = shelf.disk("bound", make(_KIND))
    with Machine(image, code, [disk], tpm=tpm) as machine:
        assert done(machine.module("keyslots", binding("/dev/vdb", FIRST, unlock=secret(KEEP)))) == [("add", 2)]
        assert done(machine.module("keyslots", rotation("/dev/vdb"))) == [("rekey", 0)]
        machine.run(_PREPARE)
        machine.shut_down()

        machine.start(SYSTEMD)
        machine.run("systemctl start mnt.mount")
        assert machine.run("cat /mnt/file").stdout == "payload\n"
        # The passphrase that stayed goes, too: nothing but the TPM is known to this task.
        leave = {"state": "absent", "old_secret": secret(KEEP)}
        replaced = machine.module("keyslots", binding("/dev/vdb", SECOND, leave, unlock=BY_TPM))
        assert sorted(done(replaced)) == [("add", 3), ("erase", 1), ("erase", 2)]
        assert bound_to(disk.durable) == [SECOND]
        machine.shut_down()
        assert [opens(disk.now, passphrase) for passphrase in (KEEP, OLD, NEW)] == [False, False, True]

        machine.start(SYSTEMD)
        machine.run("systemctl start mnt.mount")
        assert machine.run("cat /mnt/file").stdout == "payload\n"
        again = machine.module("keyslots", binding("/dev/vdb", SECOND, unlock=BY_TPM))
        assert not again["changed"] and done(again) == []
        # Another state of the machine, and the TPM keeps the key.
        machine.run(_TPM_OPENS.format(device="/dev/vdb"))
        tell(machine, extension(7))
        assert machine.run(_TPM_OPENS.format(device="/dev/vdb"), check=False).returncode != 0
        found = machine.module("keyslots_info", {"device": "/dev/vdb", "secrets": [BY_TPM]})
        assert found["tokens_asked"] == [] and "token" in str(found["warnings"]), found


def test_power_cuts_while_the_only_binding_is_replaced(
    image: Image, code: pathlib.Path, shelf: Shelf, tpm: Tpm, pytestconfig: pytest.Config, note: Note
) -> None:
    """Two boots, and one for each cut, half as many as ``--cuts`` says; most of them early, where the header changes.
    No passphrase opens the volume.

    A TPM takes a loss of power after its keys were used for a failed attempt. After three of them swtpm refuses until
    some time has passed, and here it is told to forget them.
    """
    template, events = _bound_only(image, code, shelf, tpm)
    count = max(1, pytestconfig.getoption("cuts") // 2)
    seed = pytestconfig.getoption("cut_seed")
    places = [1 + events * (2 * turn + 1) ** 2 // (2 * count) ** 2 for turn in range(count)]
    last: t.Optional[t.Tuple[str, bytes]] = None
    for number, at in enumerate([*places, None]):
        shelf.new_supply()
        judged = [shelf.disk("judged", last[1])] if last else []
        fresh = [shelf.disk("fresh", template)] if at else []
        with Machine(image, code, [*judged, *fresh], tpm=tpm) as machine:
            tell(machine, pardon())
            if last:
                before = bound_to(last[1])
                _judge(machine, "/dev/vdb", judged[0], last[0])
                state = " and ".join(str(pcrs) for pcrs in before)
                note(f"TPM2, the next boot finds bindings to PCRs {state}", f"{last[0]}: bindings to PCRs {state}")
                with LOG.open("a") as log:
                    print(f"{last[0]}: bindings to PCRs {state}", file=log)
            if at:
                _lose_power(machine, shelf, "/dev/vdc" if last else "/dev/vdb", fresh[0], at)
                left, sectors, kept = fresh[0].after_power_cut(seed + number)
                last = (
                    f"TPM2 cut at event {at} of {events}, seed {seed + number}, {kept} of {sectors} sectors kept",
                    left,
                )


def _bound_only(image: Image, code: pathlib.Path, shelf: Shelf, tpm: Tpm) -> t.Tuple[bytes, int]:
    """A volume that only the TPM opens, and how many events it takes to replace its binding."""
    disk = shelf.disk("template", make(_KIND))
    with Machine(image, code, [disk], tpm=tpm) as machine:
        leave = [{"state": "absent", "old_secret": secret(passphrase)} for passphrase in (OLD, KEEP)]
        first = machine.module("keyslots", binding("/dev/vdb", FIRST, *leave, unlock=secret(KEEP)))
        assert sorted(done(first)) == [("add", 2), ("erase", 0), ("erase", 1)]
        template = bytes(disk.durable)
        shelf.supply.watch(disk, _KIND.areas)
        second = machine.module("keyslots", binding("/dev/vdb", SECOND, unlock=BY_TPM))
        assert done(second) == [("add", 0), ("erase", 2)]
        assert (bound_to(template), bound_to(disk.durable)) == ([FIRST], [SECOND])
    assert not any(opens(template, passphrase) for passphrase in (KEEP, OLD))
    return template, shelf.supply.events


def _lose_power(machine: Machine, shelf: Shelf, device: str, disk: Disk, at: int) -> None:
    shelf.supply.watch(disk, _KIND.areas, cut_at=at)
    module = machine.start_module("keyslots", binding(device, SECOND, unlock=BY_TPM))
    while not shelf.supply.off.wait(0.1):
        assert module.poll() is None, f"the module ended before event {at}: {result_of(module)}"
    machine.cut_power()
    module.communicate()


def _judge(machine: Machine, device: str, disk: Disk, cut: str) -> None:
    assert machine.run(_TPM_OPENS.format(device=device), check=False).returncode == 0, (
        f"{cut}: the TPM does not open it"
    )
    first = machine.module("keyslots", binding(device, SECOND, unlock=BY_TPM))
    assert not first.get("failed"), (cut, first)
    assert bound_to(disk.durable) == [SECOND], cut
    assert machine.run(_TPM_OPENS.format(device=device), check=False).returncode == 0, cut
    again = machine.module("keyslots", binding(device, SECOND, unlock=BY_TPM))
    assert not again["changed"], (cut, again)
    slots = [row["keyslot"] for row in again["keyslots"] if row["state"] == "active"]
    assert len(slots) == 1, f"{cut}: {again['keyslots']}"
