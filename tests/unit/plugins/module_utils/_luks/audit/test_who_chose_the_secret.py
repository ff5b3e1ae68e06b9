# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Costs are judged by what guards a keyslot: a random key needs few iterations, a passphrase many.

A token is only a claim.
"""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import tokens
from ansible_collections.luksmith.luks.plugins.module_utils._luks.fixtures.tokens import luks2_token
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend as keyslots_run
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    BOTH,
    WINTER,
    Image,
    audit,
    secret,
)

# Only the second requires anything of PBKDF2 here; the fixtures' keyslots have 4 passes over 32 KiB.
COSTS = {"pbkdf2": 600000, "argon2": {"time": 4, "memory": 32}}
BASE = {"extends": "legacy", "minimum_costs": COSTS}
LISTED = {**BASE, "token_types": ["systemd-tpm2", "systemd-recovery"]}
WORD = {**LISTED, "minimum_costs": {**COSTS, "tokens": {"systemd-tpm2": 1000, "systemd-recovery": 1000}}}
RECOVERY = "cbdefghi-jklnrtuv-cbdefghi-jklnrtuv-vutrnlkj-ihgfedbc-vutrnlkj-ihgfedbc"
THOUSAND = {"type": "pbkdf2", "iterations": 1000}
HIDDEN = secret("chosen by a person", "hidden")


def volume(folder: pathlib.Path, new: t.Any, token: t.Optional[str] = None, **members: t.Any) -> Image:
    """Keyslot 2 with 1,000 iterations, and a token that refers to it."""
    image = Image(folder / "volume", "luks2.img")
    entry = {"keyslot": 2, "new_secret": new, "pbkdf": THOUSAND}
    task = parse_task({"device": str(image.path), "keyslots": [entry], "unlock": [secret(WINTER)]})
    keyslots_run.amend(task, check=False)
    task.wipe_secrets()
    if token:
        image.edit(lambda tree: tree["tokens"].update({"5": {**luks2_token(token, 2), **members}}))
    return image


def about_costs(result: t.Any) -> t.Dict[str, t.List[t.Tuple[str, int]]]:
    rules = ("kdf-cost", "kdf-type", "slot-unknown", "token-dangling")
    return {
        kind: [(one["rule"], one["keyslot"]) for one in result[kind] if one["rule"] in rules]
        for kind in ("findings", "unverified")
    }


class TestToken:
    def test_alone_it_excuses_nothing(self, tmp_path: pathlib.Path) -> None:
        found = about_costs(audit(volume(tmp_path, HIDDEN, "systemd-tpm2"), policy=BASE, secrets=BOTH))
        assert ("kdf-cost", 2) in found["findings"] and ("slot-unknown", 2) in found["findings"]

    def test_with_a_policy_that_lists_the_type_it_is_not_verified(self, tmp_path: pathlib.Path) -> None:
        result = audit(volume(tmp_path, HIDDEN, "systemd-tpm2"), policy=LISTED, secrets=BOTH)
        assert about_costs(result) == {"findings": [], "unverified": [("kdf-cost", 2), ("slot-unknown", 2)]}
        assert (result["compliant"], result["state"]) == (False, "unverified")

    def test_with_a_policy_that_names_the_cost_it_is_believed_and_not_proven(self, tmp_path: pathlib.Path) -> None:
        result = audit(volume(tmp_path, HIDDEN, "systemd-tpm2"), policy=WORD, secrets=BOTH)
        assert about_costs(result) == {"findings": [], "unverified": []}
        assert (result["state"], result["verified"]) == ("recorded", False)
        assert any("by the word of the policy" in warning for warning in result["warnings"])

    @pytest.mark.parametrize("policy", [BASE, LISTED, WORD])
    def test_a_passphrase_behind_a_forged_token_is_found(self, tmp_path: pathlib.Path, policy: t.Any) -> None:
        image = volume(tmp_path, HIDDEN, "systemd-tpm2")
        found = about_costs(audit(image, policy=policy, secrets=[*BOTH, HIDDEN]))
        assert found["findings"] == [("kdf-cost", 2), ("token-dangling", 2)]

    def test_so_is_one_that_must_not_open(self, tmp_path: pathlib.Path) -> None:
        image = volume(tmp_path, HIDDEN, "systemd-tpm2")
        found = about_costs(audit(image, policy=WORD, secrets=BOTH, forbidden_secrets=[HIDDEN]))
        assert ("kdf-cost", 2) in found["findings"]

    def test_one_that_does_not_decode_is_not_believed(self, tmp_path: pathlib.Path) -> None:
        image = volume(tmp_path, HIDDEN, "systemd-tpm2", **{"tpm2-blob": ""})
        found = about_costs(audit(image, policy=WORD, secrets=BOTH))
        assert ("kdf-cost", 2) in found["findings"] and ("slot-unknown", 2) in found["findings"]

    def test_of_two_the_policy_believes_both_or_none(self, tmp_path: pathlib.Path) -> None:
        image = volume(tmp_path, HIDDEN, "systemd-tpm2")
        image.edit(lambda tree: tree["tokens"].update({"6": luks2_token("systemd-fido2", 2)}))
        assert ("kdf-cost", 2) in about_costs(audit(image, policy=WORD, secrets=BOTH))["findings"]

    def test_fewer_iterations_than_the_policy_names(self, tmp_path: pathlib.Path) -> None:
        policy = {**WORD, "minimum_costs": {**COSTS, "tokens": {"systemd-tpm2": 1001}}}
        found = about_costs(audit(volume(tmp_path, HIDDEN, "systemd-tpm2"), policy=policy, secrets=BOTH))
        assert ("kdf-cost", 2) in found["unverified"]


class TestProof:
    def test_a_recovery_key_needs_a_thousand_iterations(self, tmp_path: pathlib.Path) -> None:
        key = secret(RECOVERY, "recovery")
        result = audit(volume(tmp_path, key, "systemd-recovery"), policy=BASE, secrets=[*BOTH, key])
        assert about_costs(result) == {"findings": [], "unverified": []}
        assert (result["state"], result["verified"]) == ("compliant", True)

    def test_a_passphrase_behind_a_recovery_token_needs_more(self, tmp_path: pathlib.Path) -> None:
        image = volume(tmp_path, HIDDEN, "systemd-recovery")
        assert ("kdf-cost", 2) in about_costs(audit(image, policy=WORD, secrets=[*BOTH, HIDDEN]))["findings"]

    @pytest.mark.parametrize(
        ("value", "drawn"),
        [
            (RECOVERY.encode(), True),
            (b"-".join([b"cccccccc"] * 8), False),
            (b"correct horse battery staple, and then some more words\n", False),
            ("Пароль, который никто не угадает: 1234567890".encode(), False),
            (bytes(64), False),
            (b"short \x01\x02\xff", False),
        ],
    )
    def test_form(self, value: bytes, drawn: bool) -> None:
        assert tokens.is_random_key(bytearray(value)) is drawn

    def test_keyfiles(self) -> None:
        """A few of those with 32 bytes look like text; they are judged as passphrases are."""
        assert sum(tokens.is_random_key(bytearray(os.urandom(32))) for _one in range(100)) > 70
        assert sum(tokens.is_random_key(bytearray(os.urandom(64))) for _one in range(100)) > 95
