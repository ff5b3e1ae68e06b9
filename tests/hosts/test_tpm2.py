# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TPM2 bindings on a host with Debian 13, whose systemd-cryptenroll, plugin and cryptsetup are its own.

tests/interop/test_bindings.py and test_tpm2.py show them with those of the machine that runs the tests. The TPM is a
swtpm out here. Newer programs of systemd unlock by TPM, too, and so judge the bindings that the modules made.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.hosts import roots
from ansible_collections.luksmith.luks.tests.hosts.machine import Host, Payloads
from ansible_collections.luksmith.luks.tests.hosts.provided import provided
from ansible_collections.luksmith.luks.tests.hosts.stock import STOCK
from ansible_collections.luksmith.luks.tests.interop import tpm as tpms
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, Luks2Volume

# Each run of a module takes about a second, and so does each run of systemd-cryptenroll.
pytestmark = [
    pytest.mark.full,
    pytest.mark.needs("cryptsetup", "debootstrap", "root", "swtpm"),
    pytest.mark.xdist_group("hosts: tpm"),
]

TPM2 = (
    "systemd-cryptsetup",
    "libtss2-esys-3.0.2-0t64",
    "libtss2-mu-4.0.1-0t64",
    "libtss2-rc0t64",
    "libtss2-tcti-swtpm0t64",
)
INSTALLER = {"label": "installer", "passphrase": "pw0"}
LEAVE = {"state": "absent", "old_secret": INSTALLER}
BREAK_GLASS = {"new_secret": {"label": "break-glass", "passphrase": "break-glass"}, "pbkdf": CHEAP}
PIN = "pin-of-the-machine"


class Debian13:
    """A host with the volume ``v`` and a TPM that it knows as ``device``."""

    def __init__(self, host: Host, device: str) -> None:
        self.device = device
        self.volume = Luks2Volume(host.volumes / "v").like()
        self._host = host

    def module(self, name: str, arguments: t.Mapping[str, t.Any], *, check: bool = False) -> t.Dict[str, t.Any]:
        result = self._host.module(name, {"device": "/mnt/v", "_ansible_check_mode": check, **arguments})
        assert PIN not in json.dumps(result)
        return result

    def keyslots(self, *entries: t.Any, unlock: t.Sequence[t.Any] = (INSTALLER,), check: bool = False) -> t.Any:
        return self.module("keyslots", {"unlock": unlock, "keyslots": entries}, check=check)

    def brought(self, *entries: t.Any, unlock: t.Sequence[t.Any] = (INSTALLER,)) -> t.List[t.Tuple[str, int]]:
        """The plan, after check mode foresaw it without a change and before a second run found nothing to do."""
        before = self.volume.sha256()
        foreseen = self.keyslots(*entries, unlock=unlock, check=True)
        assert self.volume.sha256() == before
        done = self.keyslots(*entries, unlock=unlock)
        assert done.get("changed"), done
        assert (foreseen["plan"], foreseen["diff"]) == (done["plan"], done["diff"])
        again = self.keyslots(*entries, unlock=unlock)
        assert (again["changed"], again["plan"]) == (False, [])
        return [(row["action"], row["keyslot"]) for row in done["plan"]]

    def refused(self, *entries: t.Any, unlock: t.Sequence[t.Any]) -> str:
        before = self.volume.sha256()
        result = self.keyslots(*entries, unlock=unlock)
        assert result.get("failed") and self.volume.sha256() == before
        return str(result["msg"])

    def cryptenroll(self, *options: str, volume: str = "v", **environment: str) -> str:
        """The host's own, which must succeed."""
        words = [f"{name}={value}" for name, value in environment.items()]
        done = self._host.run("env", *words, "systemd-cryptenroll", *options, f"/mnt/{volume}")
        assert done.returncode == 0, done
        return done.stdout.decode()

    def enrol(self, *options: str, **environment: str) -> None:
        self.cryptenroll(f"--tpm2-device={self.device}", "--tpm2-pcrs=7", *options, PASSWORD="pw0", **environment)

    def unlocked_by_systemd(self, pin: str = "") -> bool:
        """systemd-cryptenroll opens a copy with the TPM alone, and adds a passphrase."""
        copy = Luks2Volume(self.volume.path.with_name("copy"))
        shutil.copy(self.volume.path, copy.path)
        environment = {"NEWPASSWORD": "of systemd", **({"PIN": pin} if pin else {})}
        self.cryptenroll(f"--unlock-tpm2-device={self.device}", "--password", volume="copy", **environment)
        return copy.opens("of systemd")

    def listed(self) -> t.List[t.List[str]]:
        return [line.split() for line in self.cryptenroll().splitlines()[1:]]


@pytest.fixture(scope="module")
def root() -> pathlib.Path:
    return provided(lambda: roots.ensure("trixie", STOCK, TPM2))


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    with tpms.tpm(tmp_path_factory.mktemp("tpm")) as device:
        yield device


@pytest.fixture
def debian13(root: pathlib.Path, tpm: str, payloads: Payloads, tmp_path: pathlib.Path) -> Debian13:
    return Debian13(Host("trixie with TPM2", root, tmp_path, payloads), tpm)


def test_a_binding_follows_its_pcrs_and_its_pin(debian13: Debian13) -> None:
    """The first test takes longer than 5 seconds where its root is still to be made; nine runs of modules do, too."""
    binding: t.Dict[str, t.Any] = {"type": "systemd-tpm2", "device": debian13.device, "pcrs": [7]}
    assert debian13.brought({"binding": binding}) == [("add", 1)]
    assert debian13.listed() == [["0", "password"], ["1", "tpm2"]]
    assert debian13.unlocked_by_systemd()
    changed = {**binding, "pcrs": [11, 7], "pin": PIN}
    assert debian13.brought({"binding": changed}) == [("add", 2), ("erase", 1)]
    (token,) = (one for one in debian13.volume.tree()["tokens"].values() if one["type"] == "systemd-tpm2")
    assert (token["keyslots"], token["tpm2-pcrs"], token["tpm2-pin"]) == (["2"], [7, 11], True)
    assert debian13.unlocked_by_systemd(pin=PIN)
    assert debian13.brought({"binding": changed}, LEAVE, unlock=[]) == [("erase", 0)]
    assert debian13.listed() == [["2", "tpm2"]]
    debian13.volume.approved()


def test_what_systemd_enrolled_holds_and_lets_the_installer_go(debian13: Debian13) -> None:
    """Seven runs of modules."""
    debian13.enrol()
    entry = {"binding": {"type": "systemd-tpm2", "device": debian13.device, "pcrs": [7]}}
    done = debian13.keyslots(entry)
    assert (done["changed"], done["tokens_asked"][0]["keyslots"]) == (False, [1])
    assert "would leave no keyslot" in debian13.refused(LEAVE, unlock=[])
    unlock = [{"label": "machine", "token": "auto", "device": debian13.device}]
    assert debian13.brought(LEAVE, BREAK_GLASS, unlock=unlock) == [("add", 2), ("erase", 0)]
    assert debian13.volume.opens("break-glass") and not debian13.volume.opens("pw0")
    assert debian13.unlocked_by_systemd()


def test_a_pin_is_asked_for_and_a_wrong_one_told(debian13: Debian13) -> None:
    """Six runs of modules."""
    debian13.enrol("--tpm2-with-pin=yes", NEWPIN=PIN)
    item = {"label": "machine", "token": "systemd-tpm2", "device": debian13.device}
    assert "asks for a PIN, and none was given" in debian13.refused(LEAVE, unlock=[item])
    wrong = debian13.refused(LEAVE, unlock=[{**item, "pin": "not-the-pin"}])
    assert "not-the-pin" not in wrong and "check the PIN" in wrong  # this systemd does not say what is wrong
    assert debian13.brought(LEAVE, unlock=[{**item, "pin": PIN}]) == [("erase", 0)]


def test_another_state_of_the_machine_is_bound_anew(
    root: pathlib.Path, payloads: Payloads, tmp_path: pathlib.Path
) -> None:
    """Seven runs of modules."""
    (tmp_path / "volumes").mkdir()
    with tpms.tpm(tmp_path) as device:
        debian13 = Debian13(Host("trixie with TPM2", root, tmp_path / "volumes", payloads), device)
        entry = {"binding": {"type": "systemd-tpm2", "device": device, "pcrs": [7]}}
        assert debian13.brought(entry) == [("add", 1)]
        tpms.extend(device)
        item = {"label": "machine", "token": "systemd-tpm2", "device": device}
        found = debian13.module("keyslots_info", {"secrets": [item]})
        assert found["tokens_asked"] == [] and "token 0 (systemd-tpm2)" in json.dumps(found["warnings"])
        assert debian13.brought(entry) == [("add", 2), ("erase", 1)]
        assert debian13.unlocked_by_systemd()


def test_no_tpm_is_refused_before_a_write(debian13: Debian13) -> None:
    binding = {"type": "systemd-tpm2", "device": "swtpm:host=127.0.0.1,port=1", "pcrs": [7]}
    assert "systemd-cryptenroll ended with" in debian13.refused({"binding": binding}, unlock=[INSTALLER])
