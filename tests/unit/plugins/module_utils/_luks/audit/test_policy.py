# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies are read strictly: whatever nobody would act upon is an error that names the key and the fix."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import policy, ready_policies, rules
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
        ("stritc", ("'stritc'", "strict, owasp-2023, legacy")),
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
        ({"try_empty_secret": "yes"}, ("policy.try_empty_secret", "true or false")),
        ({"expected": {"color": "red"}}, ("policy.expected", "'color'", "fingerprint")),
        ({"expected": {"uuid": 7}}, ("policy.expected.uuid", "quotes")),
        ({"rules": {"formatt": "low"}}, ("'formatt'", "docs/audit.md")),
        ({"rules": {"format": "urgent"}}, ("policy.rules.format", "critical, high, medium, low, info", "off")),
        ({"name": "two\nlines"}, ("policy.name",)),
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
