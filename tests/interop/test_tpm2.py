# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TPM2 binding of systemd-cryptenroll unlocks: its plugin for libcryptsetup gives the secret, a keyslot proves it."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop import tpm as tpms
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import CHEAP, Luks2Volume, run
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module

pytestmark = [tpms.needs_tpm, pytest.mark.xdist_group("tpm")]
BREAK_GLASS = {"new_secret": {"label": "break-glass", "passphrase": "break-glass"}, "pbkdf": CHEAP}
LEAVE = {"state": "absent", "old_secret": {"label": "installer", "passphrase": "pw0"}}
PIN = "pin-of-the-machine"


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    with tpms.tpm(tmp_path_factory.mktemp("tpm")) as device:
        yield device


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> Luks2Volume:
    return Luks2Volume(tmp_path / "volume").like()


def told(result: t.Mapping[str, t.Any], *words: str) -> bool:
    return any(all(word in str(one) for word in words) for one in result["warnings"])


@pytest.mark.parametrize("asked", ["auto", "systemd-tpm2", "0"])
def test_a_host_with_a_binding_only_gets_a_passphrase(volume: Luks2Volume, tpm: str, asked: str) -> None:
    tpms.enrol(volume, tpm)
    run("cryptsetup", "luksKillSlot", "-q", volume.path, 0)
    # A PIN that is not asked for reaches no TPM, which would count it as an attack.
    item = {"label": "machine", "token": asked, "device": tpm, "pin": PIN}
    foreseen = keyslots(volume.path, [BREAK_GLASS], check=True, unlock=[item])
    added = keyslots(volume.path, [BREAK_GLASS], unlock=[item])
    assert foreseen["plan"] == added["plan"] and volume.opens("break-glass")
    assert added["tokens_asked"] == [{"label": "machine", "token": 0, "type": "systemd-tpm2", "keyslots": [1]}]
    again = keyslots(volume.path, [BREAK_GLASS], unlock=[item])
    assert not again["changed"] and again["tokens_asked"] == []


def test_the_installer_goes_because_the_binding_is_proven(volume: Luks2Volume, tpm: str) -> None:
    tpms.enrol(volume, tpm)
    with pytest.raises(ModuleFailed, match="would leave no keyslot"):
        keyslots(volume.path, [LEAVE])
    done = keyslots(volume.path, [LEAVE], unlock=[{"token": "systemd-tpm2", "device": tpm}])
    assert not volume.opens("pw0") and volume.tokens() == {"0": "systemd-tpm2"}
    assert told(done, "only token 0 (systemd-tpm2) can open the volume after this change", "add a recovery key")


def test_an_audit_proves_it_and_without_the_tpm_condemns_nothing(volume: Luks2Volume, tpm: str) -> None:
    """The volume has no other key, and that one is as cheap to derive as systemd makes it."""
    tpms.enrol(volume, tpm)
    run("cryptsetup", "luksKillSlot", "-q", volume.path, 0)
    item = {"label": "machine", "token": "auto", "device": tpm}
    policy = {"extends": "legacy", "required_labels": ["machine"], "minimum_costs": {"pbkdf2": 600000}}
    audited = {"device": str(volume.path), "policy": policy}
    done = run_module("audit", {**audited, "secrets": [item]})
    assert (done["state"], done["verified"]) == ("compliant", True), done["findings"]
    nowhere = {**item, "device": "swtpm:host=127.0.0.1,port=1"}
    done = run_module("audit", {**audited, "secrets": [nowhere]})
    assert done["state"] == "unverified" and {one["rule"] for one in done["unverified"]} >= {
        "label-missing",
        "slot-unknown",
    }
    (row,) = done["keyslots"]
    assert row["tried"] is False and "systemd-tpm2" in row["reason"]


def test_a_pin_is_asked_for_and_a_wrong_one_told(volume: Luks2Volume, tpm: str) -> None:
    tpms.enrol(volume, tpm, pin=PIN)
    item = {"label": "machine", "token": "systemd-tpm2", "device": tpm}
    before = volume.sha256()
    wrong = {"pin": "not-the-pin"}
    for pin, words in (({}, "asks for a PIN, and none was given"), (wrong, "authorization HMAC check failed")):
        with pytest.raises(ModuleFailed, match=words) as caught:
            keyslots(volume.path, [LEAVE], unlock=[{**item, **pin}])
        assert "not-the-pin" not in json.dumps(caught.value.result) and volume.sha256() == before
    done = keyslots(volume.path, [LEAVE], unlock=[{**item, "pin": PIN}])
    assert PIN not in json.dumps(done) and not volume.opens("pw0")


def test_one_pin_is_not_tried_on_two_tokens(volume: Luks2Volume, tpm: str) -> None:
    tpms.enrol(volume, tpm, pin=PIN)
    tpms.enrol(volume, tpm, pin="another-pin", pcrs="1")
    item = {"label": "machine", "device": tpm, "pin": PIN}
    with pytest.raises(ModuleFailed, match="tokens 0, 1 ask for a PIN, and one was given"):
        keyslots(volume.path, [LEAVE], unlock=[{**item, "token": "systemd-tpm2"}])
    keyslots(volume.path, [LEAVE], unlock=[{**item, "token": "0"}])


def test_another_boot_and_no_tpm_are_told(volume: Luks2Volume, tmp_path: pathlib.Path) -> None:
    with tpms.tpm(tmp_path) as device:
        tpms.enrol(volume, device)
        item = {"label": "machine", "token": "systemd-tpm2", "device": device}
        tpms.extend(device)
        found = run_module("keyslots_info", {"device": str(volume.path), "secrets": [item]})
        assert told(found, "token 0 (systemd-tpm2)", "policy digest does not match") and found["tokens_asked"] == []
    found = run_module("keyslots_info", {"device": str(volume.path), "secrets": [item]})
    assert told(found, "token 0 (systemd-tpm2)", "Failed to initialize TCTI context") and found["tokens_asked"] == []


def test_a_stale_binding_proves_nothing(volume: Luks2Volume, tpm: str) -> None:
    tpms.enrol(volume, tpm)
    volume.edit(lambda tree: tree["tokens"]["0"].update(keyslots=["0"]))
    with pytest.raises(ModuleFailed, match="yields a secret that opens none of its keyslots: the binding is stale"):
        keyslots(volume.path, [LEAVE], unlock=[{"token": "systemd-tpm2", "device": tpm}])


def test_each_try_of_another_pin_is_told_and_there_is_a_way_without_one(
    volume: Luks2Volume, tmp_path: pathlib.Path
) -> None:
    """systemd-cryptenroll and its plugin run a dozen times: seconds."""

    def bound(pin: str) -> t.Dict[str, t.Any]:
        return {"binding": {"type": "systemd-tpm2", "pcrs": [7], "pin": pin, "device": device}}

    unlock = [{"label": "installer", "passphrase": "pw0"}]
    with tpms.tpm(tmp_path) as device:
        keyslots(volume.path, [bound(PIN)], unlock=unlock)
        assert tpms.failed_attempts(device) == 0
        for check in (True, False):
            done = keyslots(volume.path, [bound(f"another-{check}")], unlock=unlock, check=check)
            assert told(done, "PIN was tried", "check mode", "state: absent"), done["warnings"]
        assert tpms.failed_attempts(device) == 2, "once in each run"

        keyslots(volume.path, [{"state": "absent", "binding": {"type": "systemd-tpm2"}}], unlock=unlock)
        done = keyslots(volume.path, [bound(PIN)], unlock=unlock)
        again = keyslots(volume.path, [bound(PIN)], unlock=unlock)
        assert done["changed"] and not again["changed"] and not again.get("warnings")
        assert tpms.failed_attempts(device) == 2, "a PIN was tried on the binding that had to go"

        tpms.pardoned(device)
        both = [{"label": "machine", "token": "systemd-tpm2", "pin": "one-pin", "device": device}]
        with pytest.raises(ModuleFailed, match="PIN was tried"):
            keyslots(volume.path, [bound("one-pin")], unlock=both)
        assert tpms.failed_attempts(device) == 1, "the same PIN was tried twice"


def test_a_locked_tpm_is_told_as_one(volume: Luks2Volume, tmp_path: pathlib.Path) -> None:
    with tpms.tpm(tmp_path) as device:
        tpms.enrol(volume, device, pin=PIN)
        item = {"label": "machine", "token": "systemd-tpm2", "device": device}
        for number in range(4):
            run_module("keyslots_info", {"device": str(volume.path), "secrets": [{**item, "pin": f"wrong-{number}"}]})
        found = run_module("keyslots_info", {"device": str(volume.path), "secrets": [{**item, "pin": PIN}]})
        assert told(found, "token 0 (systemd-tpm2)", "TPM is locked", "tpm2_dictionarylockout --clear-lockout"), found
        assert not told(found, "in the state to which") and not told(found, "PIN was tried")
