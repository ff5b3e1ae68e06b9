# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit says when it has asked tokens for their secrets: each one opens, opens not, or gives no answer.

What they give is decided here; tests/interop/test_clevis.py and test_tpm2.py ask real ones.
"""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask, Refused
from ansible_collections.luksmith.luks.plugins.module_utils._luks.unlock import tokens
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit import remedy_texts
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit import test_rules as rule_cases
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    FIRE,
    WINTER,
    Image,
    audit,
    extended,
    secret,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.test_store import NOW, stored

Answers = t.Callable[..., None]
TANG = {"label": "tang", "token": "auto"}
COSTS = {"pbkdf2": 600000, "argon2": {"time": 4, "memory": 32}}
DEAR = extended(minimum_costs=COSTS)
WORD = extended(token_types=["clevis", "systemd-tpm2"], minimum_costs={**COSTS, "tokens": {"clevis": 1000}})
# As pwmake and systemd spell them.
DRAWN = "UfYkEjkUKz4%EJtyjwosoL]Ix3kikmaRDIrsEkoBvOsACoB@1EnuVv"
BASE64 = "x3Hn0uVY5mJ2Zl8wqRkT7bCfD1gEhIaOsPpQ9yLzXcM="
THOUSAND = {"type": "pbkdf2", "iterations": 1000}


@pytest.fixture
def image(tmp_path: pathlib.Path) -> Image:
    return Image(tmp_path / "volume.img", "luks2.img")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What tokens give, by their number: a secret, or why there is none."""

    def set_to(**given: t.Any) -> None:
        def secret_of(_header: t.Any, _read: t.Any, token: t.Any, *_rest: t.Any) -> bytearray:
            said = given[f"token{token.number}"]
            if isinstance(said, Exception):
                raise said
            return bytearray(said.encode())

        monkeypatch.setattr(tokens, "_secret_of", secret_of)

    return set_to


def bound(image: Image, *tokens_of: t.Tuple[int, str, int]) -> Image:
    """Tokens by number, type and keyslot."""
    for number, kind, keyslot in tokens_of:
        rule_cases.token_with(number, kind, keyslot)(image)
    return image


def rules(result: t.Any, kind: str = "findings") -> t.List[t.Tuple[str, t.Optional[int]]]:
    return [(one["rule"], one["keyslot"]) for one in result[kind]]


def only(result: t.Any, rule: str, kind: str) -> t.Any:
    (found,) = [one for one in result[kind] if one["rule"] == rule]
    return found


@pytest.mark.parametrize("kind", ["clevis", "systemd-tpm2"])
@pytest.mark.parametrize("others", [[secret(WINTER)], [secret(WINTER), secret(FIRE)]], ids=["alone", "and a person"])
def test_a_token_that_opens_its_keyslot_is_proven(image: Image, answer: Answers, kind: str, others: t.Any) -> None:
    bound(image, (0, kind, 1))
    answer(token0=FIRE)
    result = audit(image, policy=extended(required_labels=["tang"]), secrets=[*others, TANG])
    assert (result["state"], result["verified"]) == ("compliant", True)
    assert not rules(result) and not rules(result, "unverified")


def test_two_servers_that_were_asked_are_not_one_too_many(image: Image, answer: Answers) -> None:
    bound(image, (0, "clevis", 1), (1, "systemd-tpm2", 1))
    answer(token0=FIRE, token1=FIRE)
    asked = [secret(WINTER), {"label": "one", "token": 0}, {"label": "two", "token": 1}]
    assert audit(image, secrets=asked)["state"] == "compliant"
    assert rules(audit(image, secrets=asked[:2])) == [("token-doubled", 1)]


class TestCosts:
    """What a token gives is cheap to derive on purpose."""

    def volume(self, image: Image, value: str) -> Image:
        rule_cases.amend_volume(image, {"keyslot": 2, "new_secret": secret(value, "x"), "pbkdf": THOUSAND})
        return bound(image, (0, "clevis", 2))

    @pytest.mark.parametrize("value", [DRAWN, BASE64])
    def test_a_random_key_needs_a_thousand_iterations(self, image: Image, answer: Answers, value: str) -> None:
        self.volume(image, value)
        answer(token0=value)
        result = audit(image, policy=DEAR, secrets=[secret(WINTER), secret(FIRE), TANG])
        assert (result["state"], rules(result)) == ("compliant", [])

    @pytest.mark.parametrize("value", ["leaked", DRAWN.lower(), DRAWN[:39], DRAWN[:3] * 20, f"{DRAWN} {DRAWN}"])
    def test_a_word_of_a_person_behind_a_token_needs_more(self, image: Image, answer: Answers, value: str) -> None:
        self.volume(image, value)
        answer(token0=value)
        secrets = [secret(WINTER), secret(FIRE), TANG]
        result = audit(image, policy=DEAR, secrets=secrets)
        assert rules(result) == [("kdf-cost", 2)]
        assert "If the random key of 'clevis' guards it" in result["findings"][0]["remedy"], "it stays bound"
        believed = audit(image, policy=WORD, secrets=secrets)
        assert (believed["state"], believed["verified"], rules(believed)) == ("recorded", False, [])

    def test_a_person_who_types_such_a_key_is_one(self, image: Image, answer: Answers) -> None:
        self.volume(image, DRAWN)
        result = audit(image, policy=DEAR, secrets=[secret(WINTER), secret(FIRE), secret(DRAWN, "typed")])
        assert ("kdf-cost", 2) in rules(result)


class TestRemedies:
    """A token may keep the only key of a volume, so that none is removed before another secret is proven."""

    def test_one_that_was_not_asked(self, image: Image) -> None:
        bound(image, (0, "clevis", 1), (1, "clevis", 0))
        told = [one for one in audit(image, secrets=[secret(WINTER)])["findings"] if one["rule"] == "token-dangling"]
        assert [(one["keyslot"], "but not before it was asked" in one["remedy"]) for one in told] == [(0, True)]
        assert "(secrets: [{token: 1}])" in told[0]["remedy"]
        assert "'WINTER-2025' is proven to open keyslot 0" in told[0]["remedy"]

    @pytest.mark.parametrize("rule", ["token-dangling", "token-malformed", "token-orphan", "token-doubled"])
    @pytest.mark.parametrize("proven", [True, False])
    def test_none_goes_while_nothing_else_is_proven(self, image: Image, rule: str, proven: bool) -> None:
        bound(image, (0, "clevis", 1))
        if rule == "token-dangling":
            image.edit(rule_cases.unbound)
        change = {"token-malformed": {"jwe": {}}, "token-orphan": {"keyslots": []}}.get(rule, {})
        image.edit(lambda tree: tree["tokens"]["0"].update(change))
        if rule == "token-doubled":
            bound(image, (1, "clevis", 1))
        found = only(audit(image, secrets=[secret(WINTER if proven else "wrong")]), rule, "findings")["remedy"]
        assert "'cryptsetup token remove" in found
        if rule == "token-doubled":
            assert "while another secret is proven to open the volume" in found
        elif proven:
            assert found.endswith("; 'WINTER-2025' is proven to open keyslot 0")
        else:
            assert found.endswith("another secret is proven to open the volume")

    def test_what_the_token_itself_opens_is_no_other_secret(self, image: Image, answer: Answers) -> None:
        bound(image, (0, "clevis", 1))
        image.edit(lambda tree: tree["tokens"]["0"]["keyslots"].append("0")).edit(rule_cases.unbound)
        answer(token0=WINTER)
        found = only(audit(image, secrets=[TANG]), "token-dangling", "findings")
        assert "refers to keyslot 1, but it opens no data" in found["message"]
        assert found["remedy"].endswith("DEVICE', but not before another secret is proven to open the volume")


@pytest.mark.parametrize("policy", [extended(), extended(token_types=["clevis"]), WORD], ids=["", "listed", "word"])
def test_a_token_that_opens_not_its_keyslot_is_not_believed(image: Image, answer: Answers, policy: t.Any) -> None:
    """What was proven counts for more than what the policy believes."""
    rule_cases.amend_volume(image, {"keyslot": 2, "new_secret": secret("leaked", "x"), "pbkdf": THOUSAND})
    bound(image, (0, "clevis", 2))
    answer(token0="what it was bound to")
    result = audit(image, policy=policy, secrets=[secret(WINTER), secret(FIRE), TANG])
    assert (result["state"], result["compliant"], result["verified"]) == ("findings", False, True)
    assert {("token-dangling", 2), ("slot-unknown", 2)} <= set(rules(result))
    dangling, unknown = (only(result, rule, "findings") for rule in ("token-dangling", "slot-unknown"))
    assert "token 0 of type 'clevis' refers to keyslot 2, but the secret that it gave does not open it" in str(dangling)
    assert "token 0 of type 'clevis' gave a secret that does not open it" in unknown["message"]
    assert "no secret was tried" not in str(result) and "was asked for its secret" not in str(result)


def test_of_two_keyslots_it_is_believed_for_the_one_that_it_opens(image: Image, answer: Answers) -> None:
    bound(image, (0, "clevis", 1))
    image.edit(lambda tree: tree["tokens"]["0"]["keyslots"].append("0"))
    answer(token0=FIRE)
    result = audit(image, policy=WORD, secrets=[TANG])
    assert rules(result) == [("slot-unknown", 0), ("token-dangling", 0)]


def test_what_is_believed_without_a_proof_is_said_as_it_is(image: Image) -> None:
    """Secrets were tried on the keyslot, and none of them opened it."""
    rule_cases.amend_volume(image, {"keyslot": 2, "new_secret": secret("leaked", "x"), "pbkdf": THOUSAND})
    bound(image, (0, "clevis", 2))
    result = audit(image, policy=WORD, secrets=[secret(WINTER), secret(FIRE)])
    assert (result["state"], result["verified"]) == ("recorded", False)
    (warning,) = [one for one in result["warnings"] if "by the word of the policy" in one]
    assert "no secret was tried" not in warning and "keyslot 2 counts as the random key of its token" in warning


def test_the_record_is_not_believed_against_what_a_token_gave(image: Image, answer: Answers) -> None:
    """The record says that the secret of the token opens the keyslot, and this run has that secret."""
    rule_cases.amend_volume(image, {"keyslot": 2, "new_secret": secret("leaked", "tang"), "pbkdf": THOUSAND})
    bound(image, (1, "clevis", 2))
    answer(token1="what it was bound to")
    result = audit(image, secrets=[secret(WINTER), secret(FIRE), TANG], verify="record")
    assert {("token-dangling", 2), ("slot-unknown", 2)} <= set(rules(result)), result
    answer(token1="leaked")
    proven = audit(image, secrets=[secret(WINTER), secret(FIRE), TANG], verify="record")
    assert (proven["state"], proven["keyslots"][2]["recorded"]) == ("compliant", False)


DOWN = "clevis decrypt ended with 1: Error communicating with server http://tang.invalid"


class TestSilence:
    """A token that gives no answer leaves the answer open: nothing is condemned, and nobody is told to erase."""

    @pytest.fixture(params=["clevis", "systemd-tpm2"])
    def silent(self, image: Image, answer: Answers, request: pytest.FixtureRequest) -> Image:
        answer(token0=Refused(DOWN, remedy="check that its server answers"))
        return bound(image, (0, request.param, 1))

    @pytest.mark.parametrize(
        ("rule", "policy", "options"),
        [
            ("label-missing", {"required_labels": ["tang"]}, {}),
            ("recovery-missing", {"recovery_labels": ["tang", "other"]}, {}),
            ("slot-unknown", {"token_types": ["clevis", "systemd-tpm2"]}, {}),
            ("store-kept", {}, {"stored": {**stored(secret(WINTER, NOW)), "kept": ["tang"]}}),
        ],
    )
    @remedy_texts.carries(
        ("label-missing", "Make the token answer"),
        ("recovery-missing", "Make the token answer"),
        ("slot-unknown", "Make the token answer"),
        ("store-kept", "Make the token answer"),
    )
    def test_nothing_is_known(self, silent: Image, answer: Answers, rule: str, policy: t.Any, options: t.Any) -> None:
        asked = {"policy": extended(**policy), "secrets": [secret(WINTER), TANG], **options}
        result = audit(silent, **asked)
        assert (result["state"], rules(result)) == ("unverified", [])
        assert ("slot-unknown", 1) in rules(result, "unverified")
        found = only(result, rule, "unverified")
        assert DOWN in found["message"] and "check that its server answers" in found["message"]
        assert all("rase" not in one["remedy"].replace("Erase nothing before", "") for one in result["unverified"])
        row = result["keyslots"][1]
        assert row["tried"] is False and DOWN in row["reason"] and "reason" not in result["keyslots"][0]
        remedy_texts.noted({rule: found})
        answer(token0=FIRE)
        again = audit(silent, **asked)
        assert again["state"] == "compliant" and "reason" not in again["keyslots"][1]
        remedy_texts.noted({one["rule"]: one for one in (*again["findings"], *again["unverified"])})

    def test_what_was_tried_stays_known(self, silent: Image) -> None:
        """A forbidden secret and a label with a passphrase have an answer, whatever the token would give."""
        policy = extended(required_labels=["NOT THIS ONE"])
        secrets = [secret(WINTER), secret("not this one"), TANG]
        result = audit(silent, policy=policy, secrets=secrets, forbidden_secrets=[secret("leaked")])
        assert rules(result) == [("label-missing", None)]
        assert rules(result, "unverified") == [("slot-unknown", 1)]

    def test_its_cost_is_not_known_either(self, image: Image, answer: Answers) -> None:
        TestCosts().volume(image, DRAWN)
        answer(token0=Refused(DOWN))
        result = audit(image, policy=DEAR, secrets=[secret(WINTER), secret(FIRE), TANG])
        assert not rules(result) and {("kdf-cost", 2), ("slot-unknown", 2)} == set(rules(result, "unverified"))

    def test_a_person_who_opens_it_answers(self, silent: Image) -> None:
        result = audit(silent, secrets=[secret(WINTER), secret(FIRE), TANG])
        assert rules(result) == [("token-dangling", 1)] and not result["unverified"]
        assert "not before it gave its secret" in result["findings"][0]["remedy"]

    def test_a_token_behind_the_first_one_was_not_asked(self, image: Image, answer: Answers) -> None:
        bound(image, (0, "clevis", 1), (1, "clevis", 0))
        answer(token0=FIRE, token1=WINTER)
        result = audit(image, secrets=[TANG])
        assert not [one for one in rules(result) if one[0] != "token-doubled"]
        assert (
            "token 1 of type 'clevis' gave no secret: it was not asked"
            in only(result, "slot-unknown", "unverified")["message"]
        )
        both = audit(image, secrets=[{"label": "one", "token": 0}, {"label": "two", "token": 1}])
        assert not both["unverified"] and [row["opened_by"] for row in both["keyslots"]] == [["two"], ["one"]]

    def test_a_secret_that_cannot_be_tried_refutes_nothing(self, image: Image, answer: Answers) -> None:
        rule_cases.amend_volume(
            image, {"keyslot": 2, "new_secret": secret("dear", "x"), "pbkdf": {**THOUSAND, "iterations": 2000}}
        )
        bound(image, (0, "clevis", 2))
        answer(token0="dear")
        limits = {"iterations": 1000, "memory": 64}
        result = audit(image, secrets=[secret(WINTER), secret(FIRE), TANG], kdf_limits=limits)
        assert not [one for one in rules(result) if one[0] in ("token-dangling", "slot-unknown")]
        assert "stale" not in str(result) and ("slot-unknown", 2) in rules(result, "unverified")

    def test_a_token_that_is_not_there_is_an_answer(self, image: Image) -> None:
        result = audit(image, policy=extended(required_labels=["tang"]), secrets=[secret(WINTER), secret(FIRE), TANG])
        assert rules(result) == [("label-missing", None)] and not result["unverified"]


KEPT_TOKEN = {**stored(secret(WINTER, NOW), {"label": "tang", "token": "clevis"}), "kept": ["tang"]}


class TestStore:
    """A token of rotate_keeps is asked as one of the task is, so that a rotated host can be compliant by proof."""

    def test_it_opens(self, image: Image, answer: Answers) -> None:
        bound(image, (0, "clevis", 1))
        answer(token0=FIRE)
        result = audit(image, stored=KEPT_TOKEN)
        assert (result["state"], result["verified"], result["store"]["kept"]) == ("compliant", True, ["tang"])

    def test_it_gives_no_answer(self, image: Image, answer: Answers) -> None:
        bound(image, (0, "clevis", 1))
        answer(token0=Refused(DOWN))
        result = audit(image, stored=KEPT_TOKEN)
        assert (result["state"], rules(result)) == ("unverified", [])
        assert rules(result, "unverified") == [("slot-unknown", 1), ("store-kept", None)]

    @remedy_texts.carries(("store-kept", "Bind a keyslot to it again"))
    def test_it_is_not_there(self, image: Image, answer: Answers) -> None:
        result = audit(image, stored=KEPT_TOKEN)
        remedy_texts.noted({"store-kept": only(result, "store-kept", "findings")})
        bound(image, (0, "clevis", 1))
        answer(token0=FIRE)
        again = audit(image, stored=KEPT_TOKEN)
        remedy_texts.noted({one["rule"]: one for one in again["findings"]})

    @pytest.mark.parametrize("label", ["tang", "another name"])
    def test_one_that_the_task_asks_too_is_asked_once(self, image: Image, answer: Answers, label: str) -> None:
        bound(image, (0, "clevis", 1))
        answer(token0=FIRE)
        result = audit(image, secrets=[{"label": label, "token": "clevis"}], stored=KEPT_TOKEN)
        assert (result["state"], result["store"]["kept"]) == ("compliant", [label])
        with pytest.raises(BadTask, match="different secrets with the same label 'tang'"):
            audit(image, secrets=[{"label": "tang", "token": "clevis", "pin": "1"}], stored=KEPT_TOKEN)
