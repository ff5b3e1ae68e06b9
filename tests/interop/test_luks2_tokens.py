# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens: those of systemd and clevis are kept, shown, and go with their slot; our record helps and never binds."""

from __future__ import annotations

import itertools
import pathlib
import re
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import (
    CHEAP,
    PBKDF2,
    Luks2Volume,
    needs_cryptsetup,
    run,
)
from ansible_collections.luksmith.luks.tests.interop.module_process import keyslots, run_module

pytestmark = needs_cryptsetup
needs_systemd = pytest.mark.needs("systemd-cryptenroll")

RECORD = "luksmith.luks-record"
TOKENS: t.Dict[str, t.Dict[str, t.Any]] = {
    "systemd-tpm2": {
        "tpm2-blob": "AAAAIA==",
        "tpm2-pcrs": [7],
        "tpm2-pcr-bank": "sha256",
        "tpm2-primary-alg": "ecc",
        "tpm2-policy-hash": "00ff",
        "tpm2-pin": False,
    },
    "systemd-fido2": {
        "fido2-credential": "AAEC",
        "fido2-salt": "AwQF",
        "fido2-rp": "io.systemd.cryptsetup",
        "fido2-clientPin-required": True,
        "fido2-up-required": True,
        "fido2-uv-required": False,
    },
    "systemd-pkcs11": {"pkcs11-uri": "pkcs11:token=x;object=y", "pkcs11-key": "AAEC"},
    "systemd-recovery": {},
    "clevis": {"jwe": {"protected": "e30", "encrypted_key": "", "iv": "AA", "ciphertext": "AA", "tag": "AA"}},
}
MACHINE = "secret of the machine"
RECOVERY_KEYS = (
    "ghfrhkev-ricgbjft-leveuvun-tnhbkkdc-nkgihkce-ubhldvvl-jgtfkbir-ucfjnvht",
    "lnjbnrhi-vuifncit-jjnbcrvf-gtvdgcec-klrkbcbe-jnvehuch-vcejkcvd-hgutirgb",
)


def present(label: str, **more: t.Any) -> t.Dict[str, t.Any]:
    return {"new_secret": {"label": f"label of {label}", "passphrase": label}, "pbkdf": CHEAP, **more}


@pytest.fixture(name="volume")
def fixture_volume(tmp_path: pathlib.Path) -> Luks2Volume:
    return Luks2Volume(tmp_path / "volume").like()


def info(volume: Luks2Volume, *secrets: str) -> t.Any:
    return run_module(
        "keyslots_info",
        {
            "device": str(volume.path),
            "secrets": [{"label": f"label of {word}", "passphrase": word} for word in secrets],
        },
    )


SHORT = [("systemd-tpm2", "number"), ("clevis", "secret")]


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        case if case in SHORT else pytest.param(*case, marks=pytest.mark.full)
        for case in itertools.product(TOKENS, ("number", "secret"))
    ],
)
def test_tokens_of_others_are_shown_and_kept_until_their_slot_is_named(volume: Luks2Volume, kind: str, by: str) -> None:
    volume.add(3, MACHINE).add(4, "stranger")
    volume.import_token(5, {"type": kind, "keyslots": ["3"], **TOKENS[kind]})
    volume.import_token(6, {"type": "user", "keyslots": ["3"], "keep": 1.50})
    spelled = volume.pieces()["tokens", "5"]
    found = info(volume)
    row = next(row for row in found["header"]["tokens"] if row["number"] == 5)
    expected = {"number": 5, "type": kind, "keyslots": [3], "ours": False}
    assert {name: row[name] for name in expected} == expected
    assert next(row["tokens"] for row in found["keyslots"] if row["keyslot"] == 3) == [kind, "user"]

    purged = keyslots(volume.path, [present("pw0")], purge=True)
    assert [(action["action"], action["keyslot"]) for action in purged["plan"]] == [("erase", 4)]
    assert any("keyslot 3" in str(warning) and kind in str(warning) for warning in purged["warnings"])
    assert volume.pieces()["tokens", "5"] == spelled and volume.opens(MACHINE)

    entry = {"keyslot": 3} if by == "number" else {"old_secret": {"passphrase": MACHINE}}
    keyslots(volume.path, [{"state": "absent", **entry}], unlock=["pw0"])
    assert volume.tokens() == {"6": "user"}
    assert volume.tree()["tokens"]["6"]["keyslots"] == []
    assert not volume.opens(MACHINE) and volume.opens("pw0")
    volume.approved()


def test_a_rekey_keeps_the_token_and_a_token_of_two_slots_keeps_the_other(volume: Luks2Volume) -> None:
    volume.add(3, MACHINE).add(4, "second")
    volume.import_token(0, {"type": "clevis", "keyslots": ["3", "4"], **TOKENS["clevis"]})
    spelled = volume.pieces()["tokens", "0"]
    keyslots(volume.path, [present("new", keyslot=3, old_secret={"passphrase": MACHINE})])
    assert volume.pieces()["tokens", "0"] == spelled
    keyslots(volume.path, [{"state": "absent", "keyslot": 3}], unlock=["pw0"])
    assert volume.tree()["tokens"]["0"]["keyslots"] == ["4"]
    volume.approved()


@pytest.mark.parametrize("known", [False, True], ids=["a stranger's secret", "a secret under unlock"])
@pytest.mark.parametrize("room", [True, False], ids=["beside the old area", "in place"])
def test_a_forced_overwrite_takes_the_token_with_the_key(volume: Luks2Volume, known: bool, room: bool) -> None:
    """The token holds the old secret, so that it could only fail from now on. One of two keyslots keeps its token."""
    if not room:
        volume = Luks2Volume(volume.path).like("--luks2-keyslots-size", "256k")
    volume.add(3, MACHINE)
    volume.import_token(0, {"type": "systemd-tpm2", "keyslots": ["3"], **TOKENS["systemd-tpm2"]})
    volume.import_token(1, {"type": "clevis", "keyslots": ["0", "3"], **TOKENS["clevis"]})
    task = {"entries": [present("new", keyslot=3)], "unlock": ["pw0", *([MACHINE] if known else [])], "force": True}
    predicted = keyslots(volume.path, task["entries"], unlock=task["unlock"], force=True, check=True)
    done = keyslots(volume.path, task["entries"], unlock=task["unlock"], force=True)
    assert done["plan"] == predicted["plan"] and done["diff"] == predicted["diff"]
    (action,) = done["plan"]
    assert action["action"] == "rekey" and "systemd-tpm2, clevis" in action["reason"]
    tokens = volume.tree()["tokens"]
    assert {number: token["keyslots"] for number, token in tokens.items() if token["type"] != RECORD} == {"1": ["0"]}
    assert volume.opens("new") and not volume.opens(MACHINE) and volume.opens("pw0")
    volume.approved()
    assert not keyslots(volume.path, task["entries"], unlock=task["unlock"], force=True)["changed"]


def cryptenroll(volume: Luks2Volume, *options: str) -> str:
    return str(run("systemd-cryptenroll", *options, volume.path, PASSWORD="pw0").stdout)


def listed(volume: Luks2Volume) -> t.List[t.Tuple[str, str]]:
    return re.findall(r"^\s*(\d+) (\w+)", cryptenroll(volume), re.MULTILINE)


@needs_systemd
def test_systemd_lists_and_wipes_what_we_wrote_and_we_open_what_it_enrolled(volume: Luks2Volume) -> None:
    keyslots(volume.path, [present("ours")], unlock=["pw0"])
    recovery = cryptenroll(volume, "--recovery-key").strip().splitlines()[-1].strip()
    assert listed(volume) == [("0", "password"), ("1", "password"), ("2", "recovery")]
    assert info(volume, recovery, "ours")["opened_by"] == {f"label of {recovery}": [2], "label of ours": [1]}
    keyslots(volume.path, [present("by recovery")], unlock=[recovery])
    assert listed(volume) == [("0", "password"), ("1", "password"), ("2", "recovery"), ("3", "password")]
    assert volume.opens("by recovery")
    cryptenroll(volume, "--wipe-slot=1")
    cryptenroll(volume, "--wipe-slot=recovery")
    assert sorted(volume.tree()["keyslots"]) == ["0", "3"]
    assert list(volume.tokens().values()) == [RECORD]
    volume.approved()
    stale = {line["keyslot"]: line["current"] for line in info(volume)["header"]["record"]}
    assert stale == {1: False, 3: True}
    assert not keyslots(volume.path, [present("by recovery"), {"state": "absent", "keyslot": 1}], unlock=["pw0"])[
        "changed"
    ]


@needs_systemd
def test_systemd_enrolls_with_what_we_added(volume: Luks2Volume) -> None:
    keyslots(volume.path, [present("ours")], unlock=["pw0"])
    recovery = run("systemd-cryptenroll", "--recovery-key", volume.path, PASSWORD="ours").stdout.split()[-1]
    assert info(volume, recovery)["opened_by"] == {f"label of {recovery}": [2]}


@needs_systemd
def test_the_slot_of_a_recovery_key_goes_as_systemd_would_do_it(volume: Luks2Volume) -> None:
    cryptenroll(volume, "--recovery-key")
    keyslots(volume.path, [{"state": "absent", "keyslot": 1}], unlock=["pw0"])
    assert listed(volume) == [("0", "password")]
    assert volume.tokens() == {}


def test_the_record_says_what_this_collection_did(volume: Luks2Volume) -> None:
    keyslots(volume.path, [present("ours"), present("second")], unlock=["pw0"])
    lines = info(volume)["header"]["record"]
    assert [(line["keyslot"], line["label"], line["current"]) for line in lines] == [
        (1, "label of ours", True),
        (2, "label of second", True),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["changed"]) for line in lines)
    token = next(token for token in volume.tree()["tokens"].values() if token["type"] == RECORD)
    assert token["keyslots"] == [] and set(token["slots"]) == {"1", "2"}
    assert all(len(entry["fingerprint"]) == 32 for entry in token["slots"].values())

    run(
        "cryptsetup", "luksChangeKey", "-q", *PBKDF2, "-d", volume.keyfile("ours"), volume.path, volume.keyfile("other")
    )
    assert [(line["keyslot"], line["current"]) for line in info(volume)["header"]["record"]] == [(1, False), (2, True)]
    before = volume.sha256()
    assert not keyslots(volume.path, [present("other"), present("second")])["changed"]  # a stale record is no drift
    assert volume.sha256() == before
    keyslots(volume.path, [{"state": "absent", "keyslot": 1}], unlock=["second"])
    assert [line["keyslot"] for line in info(volume)["header"]["record"]] == [2]


def test_the_record_can_be_refused(volume: Luks2Volume) -> None:
    keyslots(volume.path, [present("ours")], unlock=["pw0"], record=False)
    assert volume.tokens() == {}
    keyslots(volume.path, [present("ours 2", old_secret={"passphrase": "ours"})], record=False)
    assert volume.tokens() == {}
    keyslots(volume.path, [present("ours 3")], unlock=["pw0"])
    assert list(volume.tokens().values()) == [RECORD]


def test_the_record_spares_derivations_and_is_no_proof(volume: Luks2Volume) -> None:
    for slot in range(1, 5):
        volume.add(slot, f"pw{slot}")
    keyslots(volume.path, [present("last")], unlock=["pw0"])
    known = keyslots(volume.path, [present("last")])
    assert (known["changed"], known["kdf_evaluations"], known["verified"]) == (False, 1, True)
    unknown = keyslots(volume.path, [{"new_secret": {"label": "another", "passphrase": "last"}}])
    assert (unknown["changed"], unknown["kdf_evaluations"]) == (False, 6)

    believed = keyslots(volume.path, [present("last")], verify="record")
    assert (believed["changed"], believed["kdf_evaluations"], believed["verified"]) == (False, 0, False)
    assert any("nothing is proven" in str(warning) for warning in believed["warnings"])
    # The material is gone, and the record cannot know: only a proof sees it.
    area = volume.tree()["keyslots"]["5"]["area"]
    volume.patch(int(area["offset"]), bytes(int(area["size"])))
    assert not keyslots(volume.path, [present("last")], verify="record")["changed"]
    assert [
        action["action"] for action in keyslots(volume.path, [present("last")], unlock=["pw0"], check=True)["plan"]
    ] == ["add"]


@needs_systemd
@pytest.mark.parametrize("by_number", [True, False])
@pytest.mark.parametrize("room", [True, False], ids=["beside the old area", "in place"])
def test_a_passphrase_is_not_listed_as_a_recovery_key(volume: Luks2Volume, room: bool, by_number: bool) -> None:
    """The token goes with the key that it is about, and stays for another recovery key."""
    if not room:
        volume = Luks2Volume(volume.path).like("--luks2-keyslots-size", "256k")
    volume.add(1, RECOVERY_KEYS[0]).import_token(9, {"type": "systemd-recovery", "keyslots": ["1"]})
    assert listed(volume) == [("0", "password"), ("1", "recovery")]
    entry: t.Dict[str, t.Any] = {"pbkdf": CHEAP, **({"keyslot": 1} if by_number else {})}
    first, second, plain = map(secret, (*RECOVERY_KEYS, "of a person"))
    keyslots(volume.path, [{**entry, "old_secret": first, "new_secret": second}], unlock=["pw0"])
    assert listed(volume) == [("0", "password"), ("1", "recovery")] and volume.opens(RECOVERY_KEYS[1])
    entry = {**entry, "old_secret": second, "new_secret": plain}
    predicted = keyslots(volume.path, [entry], unlock=["pw0"], check=True)
    done = keyslots(volume.path, [entry], unlock=["pw0"])
    assert "and the token systemd-recovery goes, as" in done["plan"][0]["reason"]
    assert (predicted["plan"], predicted["diff"]) == (done["plan"], done["diff"])
    assert "token systemd-recovery" in done["diff"]["before"] and "systemd-recovery" not in done["diff"]["after"]
    assert [row["tokens"] for row in done["keyslots"]] == [row["tokens"] for row in predicted["keyslots"]] == [[], []]
    assert listed(volume) == [("0", "password"), ("1", "password")] and volume.opens("of a person")
    assert 9 not in volume.tokens() and not keyslots(volume.path, [entry])["changed"]


def secret(text: str) -> t.Dict[str, str]:
    return {"label": f"label of {len(text)}{text[:1]}", "passphrase": text}


def test_force_takes_the_token_out_of_the_table_too(volume: Luks2Volume) -> None:
    volume.add(1, "of clevis")
    volume.import_token(9, {"type": "clevis", "keyslots": ["1"], **TOKENS["clevis"]})
    entry = {**present("forced"), "keyslot": 1}
    predicted = keyslots(volume.path, [entry], unlock=["pw0"], force=True, check=True)
    done = keyslots(volume.path, [entry], unlock=["pw0"], force=True)
    assert predicted["diff"] == done["diff"]
    assert "token clevis" in done["diff"]["before"] and "token clevis" not in done["diff"]["after"]
    assert [row["tokens"] for row in predicted["keyslots"]] == [row["tokens"] for row in done["keyslots"]] == [[], []]
    assert "clevis" not in volume.tokens().values()


@pytest.mark.parametrize("token", [None, "clevis"])
def test_the_record_does_not_hide_what_cryptsetup_added(volume: Luks2Volume, token: t.Optional[str]) -> None:
    """The removed secret is back in another keyslot, which a token of others may name, and which is in no record."""
    task = [{**present("new"), "old_secret": {"label": "leaked", "passphrase": "pw0"}}]
    assert keyslots(volume.path, task)["changed"]
    assert keyslots(volume.path, task, verify="record")["kdf_evaluations"] == 0
    run("cryptsetup", "luksAddKey", "-q", *PBKDF2, "-d", volume.keyfile("new"), volume.path, volume.keyfile("pw0"))
    if token:
        volume.import_token(5, {"type": token, "keyslots": ["1"], **TOKENS[token]})
    assert volume.opens("pw0")
    assert keyslots(volume.path, task, verify="record")["verified"]
    assert (volume.opens("pw0"), volume.opens("new")) == (False, True)


def test_the_record_never_justifies_an_erase(volume: Luks2Volume) -> None:
    """A forged record calls a stranger's slot by the label of the secret that is to go."""
    keyslots(volume.path, [present("ours")], unlock=["pw0"])
    forged = next(number for number, kind in volume.tokens().items() if kind == RECORD)
    volume.edit(lambda tree: tree["tokens"][forged]["slots"]["1"].update(label="leaked"))
    task = [{"state": "absent", "old_secret": {"label": "leaked", "passphrase": "not in any slot"}}]
    result = keyslots(volume.path, task, verify="record", unlock=["pw0"])
    assert (result["changed"], result["verified"]) == (False, True)
    assert volume.opens("ours")


def test_tokens_that_cannot_be_what_they_seem_are_told(volume: Luks2Volume) -> None:
    kind = "systemd-tpm2"
    volume.import_token(1, {"type": kind, "keyslots": ["0"], **TOKENS[kind]})
    volume.import_token(2, {"type": kind, "keyslots": ["0"], **TOKENS[kind], "tpm2-blob": "b3RoZXI=", "tpm2-pin": True})
    volume.edit(lambda tree: tree["tokens"].update({"3": {"type": kind, "keyslots": []}}))
    found = info(volume)
    warnings = [str(warning).lower() for warning in found["warnings"]]
    for words in (
        "tokens 1 and 2 both refer to keyslot 0",
        "token 3 (systemd-tpm2) is damaged or forged: it has no valid 'tpm2-blob'",
        "token 3 (systemd-tpm2) refers to no keyslot",
    ):
        assert [words in warning for warning in warnings].count(True) == 1, warnings
    rows = {row["number"]: row for row in found["header"]["tokens"]}
    assert [rows[number]["asks_for_pin"] for number in (1, 2, 3)] == [False, True, False]
    assert rows[1]["says"].startswith("TPM2, ") and rows[1]["problem"] == "" != rows[3]["problem"]
