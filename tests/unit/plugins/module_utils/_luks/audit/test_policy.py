# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies are read strictly: whatever nobody would act upon is an error that names the key and the fix."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import (
    policy,
    policy_gaps,
    policy_text,
    ready_policies,
    rules,
)
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask


def parse(value: t.Any) -> policy.Policy:
    return policy.parse(value, rules.IDS)


@pytest.mark.parametrize("name", sorted(ready_policies.READY))
def test_ready_policies_are_policies(name: str) -> None:
    assert parse(name).name == name
    assert parse({"extends": name}) == parse(name)


def test_the_figures_of_the_guidance() -> None:
    owasp = parse("owasp-2023")
    assert owasp.pbkdf2_costs == {"sha256": 600000, "sha512": 210000}
    assert (2, 19456) in owasp.argon2_costs and (1, 47104) in owasp.argon2_costs


def test_a_dictionary_changes_some_keys_and_keeps_the_others() -> None:
    changed = parse(
        {
            "extends": "legacy",
            "formats": ["luks2"],
            "rules": {"format": "low", "slot-ignored": "off"},
            "minimum_costs": {"pbkdf2": {"sha1": 5}},
        }
    )
    legacy = parse("legacy")
    assert changed.formats == ("luks2",) and changed.name == "legacy"
    assert changed.rules == {**legacy.rules, "format": "low", "slot-ignored": "off"}
    assert changed.pbkdf2_costs == {"other": 1000, "sha1": 5}
    assert changed.minimum_key_size == legacy.minimum_key_size


def test_without_extends_nothing_is_asked() -> None:
    assert parse({"name": "mine"}) == policy.Policy(name="mine")


def test_yaml_reads_off_as_false_and_that_means_off() -> None:
    assert parse({"rules": {"format": False}}).rules == {"format": "off"}


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (7, ("neither a name nor a dictionary", "strict")),
        ("stritc", ("'stritc'", "strict, owasp-2023, fips-140-3, legacy")),
        ({"extends": 7}, ("7", "strict")),
        ({"formatz": ["luks2"]}, ("'formatz'", "formats")),
        ({"formats": "luks2"}, ("policy.formats", "list")),
        ({"formats": ["luks3"]}, ("policy.formats[0]", "luks1, luks2")),
        ({"ciphers": [""]}, ("policy.ciphers[0]", "text")),
        ({"minimum_key_size": "64"}, ("policy.minimum_key_size", "bytes", "whole number")),
        ({"minimum_key_size": True}, ("policy.minimum_key_size",)),
        ({"kdf_types": ["scrypt"]}, ("policy.kdf_types[0]", "argon2id")),
        ({"minimum_costs": []}, ("policy.minimum_costs", "pbkdf2, argon2")),
        ({"minimum_costs": {"bcrypt": 1}}, ("policy.minimum_costs", "'bcrypt'")),
        ({"minimum_costs": {"pbkdf2": "many"}}, ("policy.minimum_costs.pbkdf2.other", "iterations")),
        ({"minimum_costs": {"argon2": [{"time": 4}]}}, ("policy.minimum_costs.argon2[0]", "memory")),
        ({"minimum_costs": {"argon2": {"time": 4, "memory": 0}}}, ("policy.minimum_costs.argon2[0].memory", "KiB")),
        ({"maximum_age_days": -1}, ("policy.maximum_age_days", "days")),
        ({"renewed_since": {"CVE-2026-50152": "soon"}}, ("policy.renewed_since.CVE-2026-50152", "2026-11-28")),
        ({"renewed_since": {"CVE-2026-50152": 7}}, ("policy.renewed_since.CVE-2026-50152",)),
        ({"opened_by_grub": "yes"}, ("policy.opened_by_grub", "true or false")),
        ({"try_empty_secret": "yes"}, ("policy.try_empty_secret", "true or false")),
        ({"expected": {"color": "red"}}, ("policy.expected", "'color'", "fingerprint")),
        ({"expected": {"uuid": 7}}, ("policy.expected.uuid", "quotes")),
        ({"rules": {"formatt": "low"}}, ("'formatt'", "docs/audit.md")),
        ({"rules": {"format": "urgent"}}, ("policy.rules.format", "critical, high, medium, low, info", "off")),
        ({"name": "two\nlines"}, ("policy.name",)),
        ({"description": ["of", "ours"]}, ("policy.description", "text")),
    ],
)
def test_what_makes_no_sense_is_named(value: t.Any, names: t.Sequence[str]) -> None:
    with pytest.raises(BadTask) as error:
        parse(value)
    for name in names:
        assert name in str(error.value)


def test_worst() -> None:
    assert policy.worst(["low", "high", "info"]) == "high"
    assert policy.worst([]) is None


class TestText:
    def test_it_is_the_policy_again(self) -> None:
        policies = [*ready_policies.READY, {"extends": "strict", "minimum_costs": {"tokens": {"systemd-tpm2": 1000}}}]
        for value in policies:
            text = policy_text.text_of(parse(value))
            assert policy_text.text_of(parse(text)) == text

    def test_what_requires_the_same_has_the_same_digest(self) -> None:
        one = describe({"extends": "strict", "formats": ["luks1", "luks2"], "name": "a", "accepted": {"format": "x"}})
        other = describe({"extends": "strict", "formats": ["luks2", "luks1"], "description": "b"})
        assert one["digest"] == other["digest"] != describe("strict")["digest"]

    def test_the_name_says_what_was_changed(self) -> None:
        assert describe("strict")["name"] == "strict"
        assert describe({"extends": "strict", "kdf_types": ["argon2id"]})["name"] == "strict"
        softened = {
            "extends": "strict",
            "kdf_types": ["argon2id", "pbkdf2"],
            "rules": {"cipher": "off", "format": "low"},
        }
        assert describe(softened)["name"] == "strict, changed in 3 places"
        assert describe({**softened, "name": "ours"})["name"] == "ours (strict, changed in 3 places)"
        assert describe({"name": "ours", "formats": ["luks2"]})["name"] == "ours (extends no ready policy)"
        assert {"place": "rules.cipher", "ready": None, "own": "off"} in describe(softened)["changes"]

    @pytest.mark.parametrize(
        "value",
        [
            {"name": "strict"},
            {"extends": "legacy", "name": "owasp-2023"},
            {"name": " Strict"},
            {"extends": "legacy", "name": "FIPS-140-3"},
            {"extends": "strict", "name": "\uff33trict", "rules": {"slot-ignored": "off"}},
            *(
                {"name": name}
                for name in (
                    "OWASP-2023",
                    "owasp 2023",
                    "owasp_2023",
                    "owasp2023",
                    "\uff4f\uff57\uff41\uff53\uff50-2023",  # full width
                    "\u043ew\u0430s\u0440-2023",  # Cyrillic
                    "\u03bfwasp\u20112023",  # Greek, and another hyphen
                    "0WASP-2023",
                    "Str\u00edct.",
                    "str1ct",
                    "FIPS 140/3",
                    "LEGACY",
                )
            ),
        ],
    )
    def test_no_policy_takes_the_name_of_a_ready_one(self, value: t.Any) -> None:
        with pytest.raises(BadTask, match="which is or looks like"):
            parse(value)


def describe(value: t.Any) -> t.Any:
    return policy_text.describe(parse(value), rules.IDS)


def gap_messages(value: t.Any) -> t.List[str]:
    return [gap.message for gap in policy_gaps.gaps(parse(value), DEFAULTS) if not gap.reason]


# Extends nothing, and asks for what the least of the ready policies does.
OWN = {
    "name": "ours",
    "formats": ["luks2"],
    "minimum_key_size": 16,
    "minimum_keyslot_key_size": 16,
    "minimum_costs": {"pbkdf2": 5000, "argon2": {"time": 4, "memory": 32}},
    "minimum_digest_iterations": 1000,
    "try_empty_secret": True,
}
DEFAULTS = {rule.id: rule.severity for rule in rules.RULES}


class TestGaps:
    @pytest.mark.parametrize("name", sorted(ready_policies.READY))
    def test_a_ready_policy_has_none(self, name: str) -> None:
        assert gap_messages(name) == []

    @pytest.mark.parametrize(
        ("own", "words"),
        [
            ({"extends": "strict", "kdf_types": ["argon2id", "pbkdf2"]}, "pbkdf2 with sha256"),
            ({"extends": "strict", "kdf_types": []}, "pbkdf2 with sha256"),
            ({"extends": "strict", "kdf_types": ["argon2id", "argon2i"]}, "kdf_types allows argon2i"),
            ({"extends": "owasp-2023", "kdf_hashes": ["sha256", "sha384"]}, "pbkdf2 with sha384"),
            ({"extends": "owasp-2023", "kdf_hashes": []}, "pbkdf2 with any hash"),
            ({"extends": "owasp-2023", "rules": {"kdf-hash": "off"}}, "pbkdf2 with any hash"),
            ({"extends": "owasp-2023", "rules": {"kdf-cost": "off"}}, "kdf-cost"),
            ({"extends": "owasp-2023", "rules": {"kdf-cost": "info"}, "accepted": {"kdf-cost": "cheap"}}, "kdf-cost"),
            ({"extends": "owasp-2023", "minimum_costs": {"argon2": []}}, "argon2 is allowed"),
            ({"extends": "strict", "ciphers": []}, "ciphers requires nothing"),
            ({"extends": "strict", "ciphers": ["aes-cbc-essiv:sha256"]}, "allows aes-cbc-essiv:sha256"),
            ({"extends": "legacy", "minimum_key_size": 8}, "minimum_key_size is 8"),
            ({"extends": "strict", "try_empty_secret": False}, "the empty secret is not tried"),
            ({"extends": "strict", "rules": {"slot-ignored": "off"}}, "slot-ignored does not count"),
            ({"kdf_types": ["pbkdf2"]}, "pbkdf2 with any hash"),
        ],
    )
    def test_what_is_allowed_without_a_price_is_named(self, own: t.Any, words: str) -> None:
        assert any(words in message for message in gap_messages(own)), gap_messages(own)

    @pytest.mark.parametrize(
        "own",
        [
            {
                "extends": "strict",
                "formats": ["luks1", "luks2"],
                "kdf_types": ["argon2id", "pbkdf2"],
                "minimum_costs": {"pbkdf2": 600000},
            },
            {
                "extends": "strict",
                "kdf_types": ["argon2id", "argon2i"],
                "minimum_costs": {"argon2": {"time": 4, "memory": 65536}},
            },
            {
                "extends": "owasp-2023",
                "kdf_hashes": ["sha256", "whirlpool"],
                "minimum_costs": {"pbkdf2": {"whirlpool": 400000}},
            },
            {
                "extends": "strict",
                "rules": {"slot-ignored": "off"},
                "accepted": {"slot-ignored": "a spare for the safe"},
            },
            {"extends": "strict", "minimum_key_size": 32, "token_types": ["clevis"]},  # other ready policies allow it
            {"extends": "legacy", "formats": ["luks2"], "required_labels": ["a"], "maximum_age_days": 5},
            OWN,
        ],
    )
    def test_a_price_or_a_reason_is_enough(self, own: t.Any) -> None:
        assert gap_messages(own) == []

    @pytest.mark.parametrize("key", ["rules", "accepted"])
    def test_no_policy_switches_these_findings_off(self, key: str) -> None:
        with pytest.raises(BadTask, match="about the policy itself"):
            parse({"extends": "strict", key: {"policy-gap": "low"}})

    @pytest.mark.parametrize(
        ("dropped", "words"),
        [
            ("minimum_key_size", "minimum_key_size is 0"),
            ("minimum_keyslot_key_size", "minimum_keyslot_key_size is 0"),
            ("minimum_costs", "argon2 is allowed, but has no minimum cost"),
            ("minimum_costs", "pbkdf2 with any hash is allowed, but has no minimum cost"),
            ("minimum_digest_iterations", "minimum_digest_iterations requires nothing, but 1000 in legacy"),
            ("try_empty_secret", "the empty secret is not tried"),
        ],
    )
    def test_a_policy_that_extends_none_is_held_against_the_least_one(self, dropped: str, words: str) -> None:
        own = {key: value for key, value in OWN.items() if key != dropped}
        assert any(words in message for message in gap_messages(own)), gap_messages(own)
        assert all("extends no ready policy" in message for message in gap_messages(own))

    def test_rules_that_it_switches_off_need_a_reason(self) -> None:
        own = {**OWN, "rules": {"slot-unknown": False, "kdf-salt": "info"}}
        assert [message.split("; ")[1][:25] for message in gap_messages(own)] == [
            "the rule kdf-salt does no",
            "the rule slot-unknown doe",
        ]
        told = {"slot-unknown": "others have keys, too", "kdf-salt": "a test"}
        assert gap_messages({**own, "accepted": told}) == []

    @pytest.mark.parametrize("name", sorted(ready_policies.READY))
    def test_the_text_of_a_ready_policy_has_none_either(self, name: str) -> None:
        assert gap_messages(policy_text.text_of(parse(name))) == []

    @pytest.mark.parametrize("name", ["ours", "strictly ours", "owasp-2024", "fips-140-2", "our strict one"])
    def test_other_names_are_free(self, name: str) -> None:
        assert parse({**OWN, "name": name}).name == name
