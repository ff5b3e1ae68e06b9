# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a policy widens: no volume that another ready policy calls worse becomes compliant, unless the policy names
the cost or says why.

The volumes are those of the rules, changed in their headers. What opens them is taken as proven, so that only the
header decides, and thousands of policies can be tried without a derivation.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import policy, ready_policies, rules
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.evidence import Evidence
from ansible_collections.luksmith.luks.plugins.module_utils._luks.fixtures.tokens import luks2_token
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    Image,
    Tree,
    collected,
    secret,
)

PBKDF2 = {"type": "pbkdf2", "hash": "sha256", "iterations": 1000}
ARGON2 = {"type": "argon2id", "time": 4, "memory": 65536, "cpus": 4}


def each_keyslot(kdf: Tree, **members: t.Any) -> t.Callable[[Image], t.Any]:
    def change(tree: Tree) -> None:
        for slot in tree["keyslots"].values():
            slot["kdf"] = {**kdf, "salt": slot["kdf"]["salt"]}
            slot["area"]["key_size"] = members.get("key_size", 64)
            slot["key_size"] = members.get("key_size", 64)
            slot["area"]["encryption"] = members.get("cipher", "aes-xts-plain64")
            slot["area"]["size"] = "258048"
            slot["area"]["offset"] = str(32768 + int(slot["area"]["offset"]) // 131072 * 258048)
            slot["af"]["hash"] = members.get("af", "sha256")
            slot["priority"] = members.get("priority", 1)
        tree["segments"]["0"]["encryption"] = members.get("cipher", "aes-xts-plain64")
        tree["config"]["keyslots_size"] = str(2 * 258048)

    return lambda image: image.edit(change)


def forged(tree: Tree) -> None:
    """Keyslot 1 claims that a TPM guards it; no given secret opens it."""
    tree["keyslots"]["1"]["kdf"] = {**PBKDF2, "salt": tree["keyslots"]["1"]["kdf"]["salt"]}
    tree["tokens"]["0"] = luks2_token("systemd-tpm2", 1)


def digest(**members: t.Any) -> t.Callable[[Tree], None]:
    """Of the volume key."""
    return lambda tree: tree["digests"]["0"].update(members)


IMAGES: t.Dict[str, t.Callable[[Image], t.Any]] = {
    "the best": each_keyslot(ARGON2),
    "a thousand iterations": each_keyslot(PBKDF2),
    "the figure of OWASP": each_keyslot({**PBKDF2, "iterations": 600000}),
    "sha384": each_keyslot({**PBKDF2, "hash": "sha384", "iterations": 5000}),
    "whirlpool": each_keyslot({**PBKDF2, "hash": "whirlpool", "iterations": 900000}),
    "whirlpool in the split": each_keyslot(ARGON2, af="whirlpool"),
    "sha1": each_keyslot({**PBKDF2, "hash": "sha1", "iterations": 5000000}),
    "argon2i": each_keyslot({**ARGON2, "type": "argon2i"}),
    "cheap argon2": each_keyslot({**ARGON2, "memory": 32}),
    "cheap argon2i": each_keyslot({**ARGON2, "type": "argon2i", "memory": 32}),
    "128 bits": each_keyslot(ARGON2, key_size=32),
    "half of that": each_keyslot(ARGON2, key_size=16),
    "cbc": each_keyslot(ARGON2, cipher="aes-cbc-essiv:sha256"),
    "serpent": each_keyslot(ARGON2, cipher="serpent-xts-plain64"),
    "ecb": each_keyslot(ARGON2, cipher="aes-ecb"),
    "a weak digest": lambda image: [each_keyslot(ARGON2)(image), image.edit(digest(iterations=1))],
    "a digest of blake2b": lambda image: [
        each_keyslot({**PBKDF2, "iterations": 600000})(image),
        image.edit(digest(hash="blake2b-512")),
    ],
    "ignored": each_keyslot(ARGON2, priority=0),
    "a forged token": lambda image: [each_keyslot(ARGON2)(image), image.edit(forged)],
    "opened by nothing": lambda image: [each_keyslot(ARGON2)(image), image.path.with_suffix(".empty").touch()],
}

# For each key of a policy what makes it ask for less. A name of a rule stands for switching it off.
WIDER: t.Tuple[t.Tuple[str, t.Any], ...] = (
    ("formats", ["luks1", "luks2"]),
    ("formats", []),
    ("ciphers", ["aes-xts-plain64", "aes-cbc-essiv:sha256", "serpent-xts-plain64", "aes-ecb"]),
    ("ciphers", []),
    ("keyslot_ciphers", ["aes-xts-plain64", "aes-cbc-essiv:sha256", "serpent-xts-plain64", "aes-ecb"]),
    ("keyslot_ciphers", []),
    ("minimum_key_size", 1),
    ("minimum_keyslot_key_size", 1),
    ("kdf_types", ["argon2id", "pbkdf2"]),
    ("kdf_types", ["argon2id", "argon2i", "pbkdf2"]),
    ("kdf_types", []),
    ("kdf_hashes", ["sha256", "sha384", "sha512", "sha1", "whirlpool"]),
    ("kdf_hashes", []),
    ("minimum_costs", {"argon2": []}),
    ("minimum_costs", {"pbkdf2": {}}),
    ("minimum_digest_iterations", 1),
    ("token_types", ["systemd-tpm2", "clevis"]),
    ("try_empty_secret", False),
    ("require_backup", False),
    ("recovery_labels", []),
    ("opened_by_grub", False),
    ("shared_labels", ["a"]),
    ("renewed_since", {}),
    ("required_labels", []),
    ("allowed_labels", ["a", "b"]),
    ("retired_tang_keys", []),
    ("maximum_age_days", 99999),
    ("expected", {}),
)
NO_WIDENING = {"extends", "name", "description", "rules", "accepted"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> t.Dict[str, Evidence]:
    folder = tmp_path_factory.mktemp("images")
    found = {}
    for name, change in IMAGES.items():
        image = Image(folder / "volume", "luks2.img")
        change(image)
        evidence = collected(image, secrets=[secret("A"), secret("B")])
        empty = frozenset({1}) if image.path.with_suffix(".empty").exists() else frozenset()
        opened = {0: ("A",)} if evidence.header.tokens else {0: ("A",), 1: ("B",)}
        found[name] = dataclasses.replace(evidence, opened_by=opened, untried={}, areas={}, empty=empty)
        image.path.with_suffix(".empty").unlink(missing_ok=True)
    luks1 = Image(folder / "luks1", "luks1.img")
    found["luks1"] = dataclasses.replace(
        collected(luks1, secrets=[secret("A")]), opened_by={0: ("A",), 1: ("B",)}, untried={}, areas={}
    )
    return found


def compliant(evidence: Evidence, asked: policy.Policy) -> bool:
    findings, unverified = rules.judge(evidence, asked)
    return all(one["severity"] == "info" for one in (*findings, *unverified))


def parse(value: t.Any) -> policy.Policy:
    return policy.parse(value, rules.IDS)


READY = {name: parse(name) for name in ready_policies.READY}


@pytest.fixture(scope="module")
def refused(images: t.Mapping[str, Evidence]) -> t.Dict[str, t.Dict[str, Evidence]]:
    """For each ready policy the images that it and another one refuse."""
    by = {name: {key for key in images if not compliant(images[key], asked)} for name, asked in READY.items()}
    return {
        name: {key: images[key] for key in by[name] if any(key in by[other] for other in READY if other != name)}
        for name in READY
    }


def falsely(refused: t.Mapping[str, t.Mapping[str, Evidence]], base: str, own: t.Mapping[str, t.Any]) -> t.List[str]:
    """The images that this policy makes compliant although another ready policy calls them worse."""
    asked = parse({"extends": base, **own})
    return sorted(name for name, evidence in refused[base].items() if compliant(evidence, asked))


def test_the_images_differ(images: t.Mapping[str, Evidence]) -> None:
    """Otherwise nothing below could fail: each ready policy accepts some of them, and refuses others."""
    accepted = {name: {key for key in images if compliant(images[key], asked)} for name, asked in READY.items()}
    assert "the best" in accepted["strict"] & accepted["owasp-2023"] & accepted["legacy"]
    assert "the figure of OWASP" in accepted["owasp-2023"] - accepted["strict"]
    assert "a thousand iterations" in accepted["legacy"] - accepted["owasp-2023"]
    assert "a digest of blake2b" in accepted["legacy"] - accepted["owasp-2023"] - accepted["fips-140-3"]
    assert not [name for name, found in accepted.items() if "a weak digest" in found]
    assert set(images) - accepted["legacy"]


def test_every_key_is_widened() -> None:
    assert {key for key, _value in WIDER} == set(policy.KEYS) - NO_WIDENING


@pytest.mark.parametrize("base", sorted(READY))
def test_one_key(refused: t.Mapping[str, t.Mapping[str, Evidence]], base: str) -> None:
    wrong = {f"{key}: {value}": falsely(refused, base, {key: value}) for key, value in WIDER}
    assert {key: names for key, names in wrong.items() if names} == {}


@pytest.mark.parametrize(
    "base", ["strict", *(pytest.param(name, marks=pytest.mark.full) for name in READY if name != "strict")]
)
@pytest.mark.parametrize("severity", ["off", pytest.param("info", marks=pytest.mark.full)])
def test_one_rule(refused: t.Mapping[str, t.Mapping[str, Evidence]], base: str, severity: str) -> None:
    names = [rule for rule in rules.IDS if rule not in policy.OF_THE_POLICY]
    wrong = {rule: falsely(refused, base, {"rules": {rule: severity}}) for rule in names}
    assert {rule: found for rule, found in wrong.items() if found} == {}


@pytest.mark.full
@pytest.mark.parametrize("base", sorted(READY))
def test_two_keys(refused: t.Mapping[str, t.Mapping[str, Evidence]], base: str) -> None:
    """It may take 30 s: hundreds of policies for each of the images."""
    pairs = [dict([one, other]) for one, other in itertools.combinations(WIDER, 2) if one[0] != other[0]]
    wrong = {str(own): falsely(refused, base, own) for own in pairs}
    assert {own: names for own, names in wrong.items() if names} == {}


def test_who_names_the_cost_gets_it(images: t.Mapping[str, Evidence]) -> None:
    own = {"extends": "strict", "kdf_types": ["argon2id", "pbkdf2"]}
    assert not compliant(images["the figure of OWASP"], parse(own))
    named = {**own, "minimum_costs": {"pbkdf2": 600000}}
    assert compliant(images["the figure of OWASP"], parse(named))
    assert not compliant(images["a thousand iterations"], parse(named))


def test_who_says_why_gets_it_and_it_is_shown(images: t.Mapping[str, Evidence]) -> None:
    own = {"extends": "strict", "rules": {"slot-ignored": "off"}, "accepted": {"slot-ignored": "a spare in the safe"}}
    findings, _unverified = rules.judge(images["ignored"], parse(own))
    accepted = [one for one in findings if one["rule"].startswith("policy-")]
    assert [(one["rule"], one["severity"]) for one in accepted] == [("policy-accepted", "info")]
    assert "a spare in the safe" in accepted[0]["message"]
    assert compliant(images["ignored"], parse(own))


# What a policy that extends none asks for, in the strictest form, so that each key below is what it widens.
ALONE = {key: value for key, value in ready_policies.READY["strict"].items() if key != "description"}


def alone(images: t.Mapping[str, Evidence], own: t.Mapping[str, t.Any]) -> t.List[str]:
    """The images that every ready policy calls worse, and that this policy, which extends none, makes compliant."""
    asked = parse(own)
    bad = [name for name, one in images.items() if not any(compliant(one, ready) for ready in READY.values())]
    assert bad
    return sorted(name for name in bad if compliant(images[name], asked))


def test_one_key_of_a_policy_that_extends_none(images: t.Mapping[str, Evidence]) -> None:
    assert alone(images, {}) == alone(images, {"name": "OWN"}) == []
    wrong = {f"{key}: {value}": alone(images, {**ALONE, key: value}) for key, value in WIDER}
    wrong.update({f"no {key}": alone(images, {k: v for k, v in ALONE.items() if k != key}) for key in ALONE})
    assert {key: names for key, names in wrong.items() if names} == {}


def test_one_rule_of_a_policy_that_extends_none(images: t.Mapping[str, Evidence]) -> None:
    """Each rule with each of its words on each image: more than 5 s."""
    names = [rule for rule in rules.IDS if rule not in policy.OF_THE_POLICY]
    loose = {**ready_policies.READY["legacy"], "rules": {}}
    wrong = {
        f"{rule} {word}": alone(images, {**base, "rules": {rule: word}})
        for rule in names
        for word in ("off", "info")
        for base in (ALONE, loose)
    }
    assert {rule: found for rule, found in wrong.items() if found} == {}


def test_it_gets_what_it_names_the_cost_of(images: t.Mapping[str, Evidence]) -> None:
    own = {**ALONE, "kdf_types": ["argon2id", "pbkdf2"], "minimum_costs": {**ALONE["minimum_costs"], "pbkdf2": 1000}}
    assert compliant(images["a thousand iterations"], parse(own))
    assert not compliant(images["a thousand iterations"], parse({**own, "minimum_costs": ALONE["minimum_costs"]}))
    assert not compliant(images["a thousand iterations"], parse({"name": "mine"}))
