# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which token is the binding that an entry wants, and which entries with a binding are no such thing."""

from __future__ import annotations

import base64
import json
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask, LuksmithError, Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.foreign_tokens import Decoded, decode
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.model import Token
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.bindings import fits, of_kind
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.tokens import Yielded
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock.verdict import Verdict
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.bindings import resolved

Options = t.Dict[str, t.Any]
KEY = {"kty": "EC", "crv": "P-521", "x": "AA", "y": "BB"}


def jwe(**clevis: t.Any) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "ECDH-ES", "clevis": clevis}).encode()).decode().rstrip("=")
    return f"{header}..iv.text.tag"


def clevis(**pin: t.Any) -> Decoded:
    protected = jwe(**pin).partition(".")[0]
    return decode(0, "clevis", (1,), {"type": "clevis", "jwe": {"protected": protected, "ciphertext": "x"}})


def tpm2(**members: t.Any) -> Decoded:
    token = {"tpm2-blob": "x", "tpm2-pcrs": [7], "tpm2-policy-hash": "y", "tpm2-pcr-bank": "sha256", **members}
    return decode(0, "systemd-tpm2", (1,), token)


def task(*bindings: Options, **entry: t.Any) -> t.Any:
    entries = [{**entry, "binding": binding} for binding in bindings]
    return parse_task({"device": "/dev/sdb", "keyslots": entries})


def binding(state: str = "present", **options: t.Any) -> t.Any:
    return task(options, state=state).desired.entries[0].binding


TANG = clevis(pin="tang", tang={"url": "http://tang/", "adv": {"keys": [KEY]}})
PARTS = [jwe(pin="tang", tang={"url": "a"}), jwe(pin="tang", tang={"url": "b"}), jwe(pin="tpm2", tpm2={"pcr_ids": "7"})]
SSS = clevis(pin="sss", sss={"t": 2, "p": "x", "jwe": PARTS})
PINS = {"tpm2": {"pcr_ids": [7]}, "tang": [{"url": "b"}, {"url": "a"}]}


@pytest.mark.parametrize(
    ("token", "options", "fit"),
    [
        (tpm2(), {"pcrs": [7]}, True),
        (tpm2(**{"tpm2-pcrs": [11, 7]}), {"pcrs": [7, 11, 7]}, True),
        (tpm2(), {"pcrs": []}, False),
        (tpm2(), {"pcrs": [7, 11]}, False),
        (tpm2(), {"pcrs": [7], "pin": "1234"}, False),
        (tpm2(**{"tpm2-pin": True}), {"pcrs": [7], "pin": "1234"}, True),
        (tpm2(**{"tpm2-pin": True}), {"pcrs": [7]}, False),
        (tpm2(**{"tpm2-blob": 5}), {"pcrs": [7]}, False),
        (TANG, {"pcrs": [7]}, False),
    ],
)
def test_tpm2(token: Decoded, options: Options, fit: bool) -> None:
    assert fits(binding(type="systemd-tpm2", **options), token) is fit


@pytest.mark.parametrize(
    ("token", "pin", "config", "fit"),
    [
        (TANG, "tang", {"url": "http://tang"}, True),
        (TANG, "tang", {"url": "http://other"}, False),
        (TANG, "tang", {"url": "http://tang", "thp": min(TANG.tang_keys)}, True),
        (TANG, "tang", {"url": "http://tang", "thp": "another"}, False),
        (TANG, "tpm2", {}, False),
        (SSS, "sss", {"t": 2, "pins": PINS}, True),
        (SSS, "sss", {"t": 1, "pins": PINS}, False),
        (SSS, "sss", {"t": 2, "pins": {"tang": PINS["tang"]}}, False),
        (SSS, "sss", {"t": 2, "pins": {**PINS, "tang": [{"url": "a"}, {"url": "a"}]}}, False),
        (SSS, "sss", {"t": 2, "pins": {**PINS, "null": {}}}, False),
        (SSS, "sss", {}, False),
        (clevis(pin="tpm2", tpm2={"pcr_ids": "0,7", "pcr_bank": "sha1"}), "tpm2", {"pcr_ids": [7, 0]}, True),
        (
            clevis(pin="tpm2", tpm2={"pcr_ids": "7", "pcr_bank": "sha1"}),
            "tpm2",
            {"pcr_ids": "7", "pcr_bank": "sha256"},
            False,
        ),
    ],
)
def test_clevis(token: Decoded, pin: str, config: Options, fit: bool) -> None:
    assert fits(binding(type="clevis", pin=pin, config=config), token) is fit
    assert token.pin is not None
    assert of_kind(binding(type="clevis", pin=pin, config=config), token) is (pin == token.pin.name)


def test_absent_takes_what_has_the_named_properties() -> None:
    assert fits(binding("absent", type="systemd-tpm2"), tpm2())
    assert not fits(binding("absent", type="systemd-tpm2", pcrs=[0]), tpm2())
    assert fits(binding("absent", type="clevis"), TANG) and fits(binding("absent", type="clevis", pin="tang"), TANG)
    assert not fits(binding("absent", type="clevis", pin="sss"), TANG)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"binding": {"type": "systemd-tpm2"}}, "has no pcrs"),
        ({"binding": {"type": "systemd-tpm2", "pcrs": [24]}}, r"pcrs is \[24\]"),
        ({"binding": {"type": "systemd-tpm2", "pcrs": [7], "config": {}}}, "has no config"),
        ({"binding": {"type": "clevis", "pin": "tang", "config": ["url"]}}, "config is a list"),
        ({"binding": {"type": "clevis", "pin": "tang", "config": "url"}}, "config is text"),
        ({"binding": {"type": "systemd-tpm2", "pcrs": [7], "pin": 1234}}, "pin is a number"),
        ({"binding": {"type": "systemd-tpm2", "pin": "1234"}, "state": "absent"}, "absent and has a pin"),
        ({"binding": {"type": "clevis"}}, "has no pin"),
        ({"binding": {"type": "clevis", "pin": "--help"}}, "not the name of a pin"),
        ({"binding": {"type": "clevis", "pin": "tang", "pcrs": [7]}}, "has no pcrs"),
        ({"binding": {"type": "tpm2"}}, "binding has no type that is known"),
        ({"binding": {"type": "clevis", "pin": "tang"}, "keyslot": 3}, "has binding and keyslot"),
        ({"binding": {"type": "clevis", "pin": "tang"}, "old_secret": {"passphrase": "x"}}, "binding and old_secret"),
    ],
)
def test_what_is_no_binding_is_refused(entry: Options, words: str) -> None:
    with pytest.raises(LuksmithError, match=words):
        parse_task({"device": "/dev/sdb", "keyslots": [entry]})


def test_one_binding_is_wanted_once_and_not_away_as_well() -> None:
    one, other = ({"type": "clevis", "pin": "tang", "config": {"url": url}} for url in ("a", "b"))
    assert len(task(one, other).desired.entries) == 2
    with pytest.raises(BadTask, match="about the same binding"):
        task(one, dict(one))
    with pytest.raises(BadTask, match="about the same binding"):
        entries = [{"binding": one}, {"binding": {"type": "clevis"}, "state": "absent"}]
        parse_task({"device": "/dev/sdb", "keyslots": entries})


@pytest.mark.parametrize("what", ["binding", "token"])
def test_a_volume_that_has_no_tokens(what: str) -> None:
    drawn = {"new_secret": {"passphrase": "-".join(["cbdefghi", "jklnrtuv"] * 4), "token": "systemd-recovery"}}
    entry = {"binding": {"type": "systemd-tpm2", "pcrs": [7]}} if what == "binding" else drawn
    wanted = parse_task({"device": "/dev/sdb", "keyslots": [entry]}).desired
    header: t.Any = types.SimpleNamespace(format="luks1", tokens=())
    prover: t.Any = None
    with pytest.raises(Refused, match=rf"(?i)keyslots\[0\] has a {what}, and the volume is LUKS1"):
        resolved(wanted, header, prover)


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("Current policy digest does not match stored policy digest; check that its device is there", True),
        ("ended with 1: tpm:session(1):a policy check failed", True),
        ("ended with 1: Failed to initialize TCTI context", False),
    ],
)
def test_a_binding_of_another_state_of_the_machine_is_told_as_one(why: str, told: bool) -> None:
    member = {"tpm2-blob": "x", "tpm2-pcrs": [7], "tpm2-policy-hash": "y", "tpm2-pcr-bank": "sha256"}
    header: t.Any = types.SimpleNamespace(
        format="luks2",
        tokens=(Token(3, "systemd-tpm2", (1,)),),
        metadata={"tokens": {"3": member}},
    )
    prover: t.Any = types.SimpleNamespace(
        verdict=lambda secret, keyslot: Verdict.CLOSED, yielded={0: Yielded(silent=((3, why),))}
    )
    wanted = task({"type": "systemd-tpm2", "pcrs": [7]}).desired
    found = resolved(wanted, header, prover)
    assert [entry.keyslot for entry in found.desired.entries] == [None, 1]
    assert found.resealed == ((3,) if told else ())
    assert any("PCRs differ from those it was sealed to" in text for text in found.warnings) is told
    away = task({"type": "systemd-tpm2"}, state="absent").desired
    assert resolved(away, header, prover).warnings == ()
