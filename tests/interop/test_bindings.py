# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bindings as desired state, with a real tang and a TPM in a process; clevis, cryptsetup and systemd judge them."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.preparing import Preparation
from ansible_collections.luksmith.luks.tests.interop import tpm as tpms
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume, run
from ansible_collections.luksmith.luks.tests.interop.module_process import ModuleFailed, keyslots, run_module
from ansible_collections.luksmith.luks.tests.interop.test_clevis import tang

pytestmark = [pytest.mark.needs("cryptsetup"), pytest.mark.xdist_group("tpm")]
UNLOCK = [{"label": "installer", "passphrase": "pw0"}]
PIN = "pin-of-the-machine"
PARTS = ("protected", "encrypted_key", "iv", "ciphertext", "tag")


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> Luks2Volume:
    return Luks2Volume(tmp_path / "volume").like()


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    with tpms.tpm(tmp_path_factory.mktemp("tpm")) as device:
        yield device


def yielded_by_clevis(volume: Luks2Volume, keyslot: int) -> str:
    """What the program makes of the token, as its own unlocking does."""
    tokens = volume.tree()["tokens"].values()
    (jwe,) = (token["jwe"] for token in tokens if token["keyslots"] == [str(keyslot)])
    return str(run("clevis", "decrypt", stdin=".".join(jwe[part] for part in PARTS)).stdout)


def slots(volume: Luks2Volume) -> t.Dict[str, t.List[str]]:
    """Keyslot -> types of its tokens."""
    tree = volume.tree()
    return {
        name: [token["type"] for token in tree["tokens"].values() if name in token["keyslots"]]
        for name in tree["keyslots"]
    }


def tokens_shown(table: str) -> t.List[t.Tuple[str, str]]:
    """Each keyslot of the table in a diff that has one."""
    return re.findall(r"^(\d+) .*?(token .*)$", table, re.MULTILINE)


def brought(volume: Luks2Volume, *entries: t.Any, unlock: t.Any = None) -> t.List[t.Tuple[str, int]]:
    """The plan, after check mode foresaw it without a change and before a second run found nothing to do."""
    unlock = unlock or UNLOCK
    before = volume.sha256()
    foreseen = keyslots(volume.path, entries, check=True, unlock=unlock)
    assert volume.sha256() == before
    done = keyslots(volume.path, entries, unlock=unlock)
    assert foreseen["plan"] == done["plan"] and foreseen["diff"] == done["diff"] and done["changed"]
    assert PIN not in json.dumps(done)
    assert not any("wants keyslot" in row["reason"] for row in done["plan"]), "no entry names one"
    again = keyslots(volume.path, entries, unlock=unlock)
    assert not again["changed"] and again["plan"] == []
    assert tokens_shown(again["diff"]["before"]) == tokens_shown(done["diff"]["after"])
    volume.approved()
    return [(row["action"], row["keyslot"]) for row in done["plan"]]


@pytest.mark.needs("clevis", "socat", "tangd")
def test_tang_is_bound_replaced_and_removed(volume: Luks2Volume, tmp_path: pathlib.Path) -> None:
    """Each change is a run of clevis, which costs seconds."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    with tang(tmp_path / "one") as one, tang(tmp_path / "other") as other:
        entry: t.Dict[str, t.Any] = {"binding": {"type": "clevis", "pin": "tang", "config": {"url": one}}}
        assert brought(volume, entry) == [("add", 1)]
        assert volume.opened([0, 1], ["pw0", yielded_by_clevis(volume, 1)]) == {
            (0, "pw0"),
            (1, yielded_by_clevis(volume, 1)),
        }
        row = run_module("keyslots_info", {"device": str(volume.path)})["header"]["tokens"][0]
        assert (row["says"], row["pin"], row["urls"]) == (f"Clevis, tang {one}", "tang", [one])
        moved = {"binding": {"type": "clevis", "pin": "tang", "config": {"url": other}}}
        assert brought(volume, moved) == [("add", 2), ("erase", 1)]
        assert slots(volume) == {"0": [], "2": ["clevis"]} and volume.opens(yielded_by_clevis(volume, 2))
        # The passphrase goes because the binding of the same task is proven.
        leave = {"state": "absent", "old_secret": {"label": "installer", "passphrase": "pw0"}}
        assert brought(volume, moved, leave, unlock=[]) == [("erase", 0)]
        with pytest.raises(ModuleFailed, match="would leave no keyslot"):
            keyslots(volume.path, [{"state": "absent", "binding": {"type": "clevis"}}], unlock=[{"token": "clevis"}])
    with pytest.raises(ModuleFailed, match="Error communicating with server"):
        keyslots(volume.path, [moved])


@pytest.mark.needs("clevis")
def test_absent_takes_keyslot_and_token(volume: Luks2Volume) -> None:
    entry = {"binding": {"type": "clevis", "pin": "null"}}
    brought(volume, entry)
    assert slots(volume) == {"0": [], "1": ["clevis"]}
    assert brought(volume, {"state": "absent", "binding": {"type": "clevis", "pin": "null"}}) == [("erase", 1)]
    assert slots(volume) == {"0": []} and volume.tokens() == {}


@pytest.mark.needs("clevis")
def test_a_stale_binding_is_made_anew_and_a_keyslot_of_a_person_stays(volume: Luks2Volume) -> None:
    jwe = run("clevis", "encrypt", "null", "{}", "-y", stdin="that of last year").stdout
    volume.import_token(0, {"type": "clevis", "keyslots": ["0"], "jwe": dict(zip(PARTS, jwe.split(".")))})
    done = keyslots(volume.path, [{"binding": {"type": "clevis", "pin": "null"}}], unlock=UNLOCK)
    assert [(row["action"], row["keyslot"]) for row in done["plan"]] == [("add", 1)]
    assert any("eyslot 0 of token 0 (Clevis, null) stays" in str(one) for one in done["warnings"]), done["warnings"]
    assert volume.opens("pw0") and volume.opens(yielded_by_clevis(volume, 1))


@pytest.mark.needs("clevis")
@pytest.mark.parametrize("stale", [False, True])
def test_a_binding_that_another_run_makes_meanwhile_is_not_replaced(
    volume: Luks2Volume, monkeypatch: pytest.MonkeyPatch, stale: bool
) -> None:
    """Between the plan of one run and its lock another one makes the same binding; a stale one may be there already."""
    if stale:
        jwe = run("clevis", "encrypt", "null", "{}", "-y", stdin="that of last year").stdout
        volume.import_token(0, {"type": "clevis", "keyslots": ["0"], "jwe": dict(zip(PARTS, jwe.split(".")))})
    wanted = {
        "device": str(volume.path),
        "unlock": UNLOCK,
        "keyslots": [{"binding": {"type": "clevis", "pin": "null"}}],
    }
    real = Preparation.seal
    first: t.List[t.Any] = []

    def overtaken(self: t.Any, planned: t.Any) -> None:
        real(self, planned)
        if not first:
            first.append(None)
            first[0] = amend.amend(parse_task(wanted), check=False)

    monkeypatch.setattr(Preparation, "seal", overtaken)
    second = amend.amend(parse_task(wanted), check=False)
    assert [(row["action"], row["keyslot"]) for row in first[0]["plan"]] == [("add", 1)]
    assert (second["changed"], second["plan"]) == (False, [])
    assert any("a new plan was made under the lock" in one for one in second["warnings"])
    assert set(slots(volume)) == {"0", "1"} and volume.opens(yielded_by_clevis(volume, 1))


@pytest.mark.needs("clevis")
def test_a_binding_is_made_beside_what_another_run_adds_meanwhile(
    volume: Luks2Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {
        "device": str(volume.path),
        "unlock": UNLOCK,
        "keyslots": [{"binding": {"type": "clevis", "pin": "null"}}],
    }
    other = {**wanted, "keyslots": [{"new_secret": {"passphrase": "of a colleague"}}]}
    real, made = Preparation.seal, []

    def overtaken(self: t.Any, planned: t.Any) -> None:
        real(self, planned)
        if not made:
            made.append(True)
            amend.amend(parse_task(other), check=False)

    monkeypatch.setattr(Preparation, "seal", overtaken)
    done = amend.amend(parse_task(wanted), check=False)
    assert [(row["action"], row["keyslot"]) for row in done["plan"]] == [("add", 2)]
    assert volume.opens("of a colleague") and volume.opens(yielded_by_clevis(volume, 2))


@pytest.mark.needs("swtpm", "systemd-cryptenroll", "TPM2 libraries")
def test_a_tpm2_binding_follows_its_pcrs_and_its_pin(volume: Luks2Volume, tpm: str) -> None:
    binding: t.Dict[str, t.Any] = {"type": "systemd-tpm2", "device": tpm, "pcrs": [7]}
    assert brought(volume, {"binding": binding}) == [("add", 1)]
    listed = run("systemd-cryptenroll", volume.path).stdout
    assert [line.split() for line in listed.splitlines()[1:]] == [["0", "password"], ["1", "tpm2"]]
    changed = {**binding, "pcrs": [11, 7], "pin": PIN}
    assert brought(volume, {"binding": changed}) == [("add", 2), ("erase", 1)]
    row = run_module("keyslots_info", {"device": str(volume.path)})["header"]["tokens"][-1]
    assert row["says"] == "TPM2, PCRs 7, 11 of sha256, with a PIN" and row["asks_for_pin"] and row["pcrs"] == [7, 11]
    (token,) = (one for one in volume.tree()["tokens"].values() if one["type"] == "systemd-tpm2")
    assert (token["keyslots"], token["tpm2-pcrs"], token["tpm2-pin"]) == (["2"], [7, 11], True)
    with pytest.raises(ModuleFailed, match="authorization HMAC check failed") as caught:
        keyslots(volume.path, [{"binding": {**changed, "pin": "another-pin"}}], unlock=[])
    assert "another-pin" not in json.dumps(caught.value.result)
    leave = {"state": "absent", "old_secret": {"label": "installer", "passphrase": "pw0"}}
    assert brought(volume, {"binding": changed}, leave, unlock=[]) == [("erase", 0)]


@pytest.mark.needs("swtpm", "systemd-cryptenroll", "TPM2 libraries")
def test_what_systemd_enrolled_holds(volume: Luks2Volume, tpm: str) -> None:
    tpms.enrol(volume, tpm)
    entry = {"binding": {"type": "systemd-tpm2", "device": tpm, "pcrs": [7]}}
    done = keyslots(volume.path, [entry], unlock=UNLOCK)
    assert not done["changed"] and done["tokens_asked"][0]["keyslots"] == [1]


@pytest.mark.needs("swtpm", "systemd-cryptenroll", "TPM2 libraries")
def test_another_state_of_the_machine_is_bound_anew(volume: Luks2Volume, tmp_path: pathlib.Path) -> None:
    (tmp_path / "own").mkdir()
    with tpms.tpm(tmp_path / "own") as device:
        entry = {"binding": {"type": "systemd-tpm2", "device": device, "pcrs": [7]}}
        assert brought(volume, entry) == [("add", 1)]
        tpms.extend(device)
        foreseen = [str(one) for one in keyslots(volume.path, [entry], check=True, unlock=UNLOCK)["warnings"]]
        assert len([text for text in foreseen if "PCRs differ from those it was sealed to" in text]) == 1
        assert not any("check that its device" in text for text in foreseen)
        assert brought(volume, entry) == [("add", 2), ("erase", 1)]


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ({"type": "systemd-tpm2", "device": "/nonexistent", "pcrs": [7]}, "ystemd-cryptenroll"),
        ({"type": "clevis", "pin": "tang", "config": {"url": "http://127.0.0.1:1"}}, "levis encrypt ended with"),
    ],
)
@pytest.mark.needs("clevis", "systemd-cryptenroll")
def test_what_cannot_be_made_is_refused_before_a_write(
    volume: Luks2Volume, binding: t.Dict[str, t.Any], words: str
) -> None:
    before = volume.sha256()
    for check in (True, False):
        with pytest.raises(ModuleFailed, match=words):
            keyslots(volume.path, [{"binding": binding}], check=check, unlock=UNLOCK)
    assert volume.sha256() == before


def test_luks1_has_no_tokens(tmp_path: pathlib.Path) -> None:
    volume = Luks2Volume(tmp_path / "volume").like(type="luks1")
    with pytest.raises(ModuleFailed, match="has a binding, and the volume is LUKS1"):
        keyslots(volume.path, [{"binding": {"type": "clevis", "pin": "null"}}], unlock=UNLOCK)


@pytest.mark.needs("systemd-cryptenroll")
def test_a_recovery_key_is_listed_as_one(volume: Luks2Volume) -> None:
    key = "-".join(["cbdefghi", "jklnrtuv"] * 4)
    secret = {"label": "recovery", "passphrase": key, "token": "systemd-recovery"}
    assert brought(volume, {"new_secret": secret, "pbkdf": {"iterations": 1000}}) == [("add", 1)]
    listed = run("systemd-cryptenroll", volume.path).stdout
    assert [line.split() for line in listed.splitlines()[1:]] == [["0", "password"], ["1", "recovery"]]
    newer = {**secret, "label": "newer", "passphrase": "-".join(["jklnrtuv", "cbdefghi"] * 4)}
    entry = {"old_secret": {"passphrase": key}, "new_secret": newer, "pbkdf": {"iterations": 1000}}
    assert brought(volume, entry) == [("rekey", 1)] and slots(volume) == {"0": [], "1": ["systemd-recovery"]}
    with pytest.raises(ModuleFailed, match="is not a recovery key"):
        keyslots(volume.path, [{"new_secret": {**secret, "passphrase": "typed by a person"}}], unlock=UNLOCK)
