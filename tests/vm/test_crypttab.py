# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume that systemd unlocks at boot by a keyfile of crypttab; the keyfile is replaced, and the next boot uses the
new one.
"""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.luksmith.luks.tests.vm.image import NEEDS, TIMEOUT, Image
from ansible_collections.luksmith.luks.tests.vm.machine import SYSTEMD, Machine
from ansible_collections.luksmith.luks.tests.vm.volumes import (
    COSTS,
    KEEP,
    KINDS,
    NEW,
    OLD,
    Shelf,
    in_crypttab,
    make,
    opens,
    secret,
)

pytestmark = [pytest.mark.full, pytest.mark.needs(*NEEDS), pytest.mark.timeout(TIMEOUT)]

KEYFILE = "/etc/keys/data.key"
# Debian boots on when the volume stays closed, so that the test and not a timeout says what happened.
_PREPARE = f"set -e; umask 077; mkdir -p /etc/keys; cat >{KEYFILE}" + in_crypttab(
    f"--key-file {KEYFILE}", KEYFILE, "luks,nofail"
)


def test_boot_with_the_new_keyfile(image: Image, code: pathlib.Path, shelf: Shelf) -> None:
    """Three boots of an emulated machine, two of them with all of systemd."""
    disk = shelf.disk("data", make(KINDS[1]))
    with Machine(image, code, [disk]) as machine:
        machine.run(_PREPARE, stdin=OLD.encode())
        machine.shut_down()

        machine.start(SYSTEMD)
        machine.run("systemctl start mnt.mount")
        assert machine.run("cat /mnt/file").stdout == "payload\n"
        found = machine.module("volumes_info", {})
        assert [volume["device"] for volume in found["volumes"]] == ["/dev/vdb"], found
        (volume,) = found["volumes"]
        assert (volume["type"], volume["problem"]) == ("luks2", None)
        assert [(mapping["name"], mapping["mounts"]) for mapping in volume["open"]] == [("data", ["/mnt"])]
        assert [(line["name"], line["keyfile"], line["options"]) for line in volume["crypttab"]] == [
            ("data", KEYFILE, ["luks", "nofail"])
        ]

        machine.run(f"umask 077; cat >{KEYFILE}.new", stdin=NEW.encode())
        replaced = {"old_secret": {"keyfile": KEYFILE}, "new_secret": {"keyfile": f"{KEYFILE}.new"}, "pbkdf": COSTS}
        result = machine.module(
            "keyslots", {"device": volume["device"], "unlock": [secret(KEEP)], "keyslots": [replaced]}
        )
        assert result["changed"], result
        machine.run(f"mv {KEYFILE}.new {KEYFILE}")
        machine.shut_down()

        machine.start(SYSTEMD)
        machine.run("systemctl start mnt.mount")
        assert machine.run("cat /mnt/file").stdout == "payload\n"
    assert [opens(disk.now, passphrase) for passphrase in (KEEP, OLD, NEW)] == [True, False, True]
