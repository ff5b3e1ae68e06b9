# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of a rotation as evidence: what it holds opens the volume or does not, by derivations or by the record."""

from __future__ import annotations

import base64
import hashlib
import hmac
import pathlib
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import host
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.stored import read_stored
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse_info import parse_info
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.secret_list import SecretList
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases.proving import proofs
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    FIRE,
    LENIENT,
    WINTER,
    Image,
    audit,
    secret,
)

Json = t.Dict[str, t.Any]

NOW, OLD, KEPT = "rotation 1111aaaa", "rotation 2222bbbb", "break-glass"


@pytest.fixture(params=["luks1.img", "luks2.img"])
def image(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Image:
    return Image(tmp_path / "volume.img", request.param)


def stored(*secrets: Json, **members: t.Any) -> Json:
    """What the store holds of a volume whose current secret is NOW."""
    return {"current": NOW, "secrets": list(secrets), **members}


def rules(result: Json, kind: str = "findings") -> t.List[t.Tuple[str, t.Optional[int]]]:
    return [(one["rule"], one["keyslot"]) for one in result[kind]]


GOOD = stored(secret(WINTER, NOW), secret(FIRE, KEPT), secret("autumn", OLD), older=[OLD], kept=[KEPT])


def test_a_good_rotation_is_proven_and_has_no_stranger(image: Image) -> None:
    result = audit(image, stored=GOOD)
    assert result["state"] == "compliant" and result["verified"]
    assert result["store"] == {"opens": "yes", "secret": NOW, "keyslots": [0], "older": [], "kept": [KEPT]}
    assert result["evidence"]["labels"] == [NOW, KEPT] and result["evidence"]["forbidden_labels"] == [OLD]


def test_without_a_store_nothing_is_said_of_one(image: Image) -> None:
    assert "store" not in audit(image, secrets=[secret(WINTER)])


def test_an_older_secret_that_opens_the_header_beside_a_detached_one(image: Image, tmp_path: pathlib.Path) -> None:
    """Of a header and not of the data: what was replaced in the file of the header still opens the device."""
    header = tmp_path / "header"
    header.write_bytes(image.path.read_bytes())
    given = stored(secret(WINTER, NOW), secret(FIRE, OLD), older=[OLD])
    found = audit(image, header=str(header), stored=given)
    hits = [one for one in found["findings"] if one["rule"] == "store-older"]
    assert [one["keyslot"] for one in hits] == [1, None]
    assert f"opens the header that {image.path} has of its own" in hits[1]["message"]
    assert hits[1]["remedy"].startswith(f"Remove it from {image.path}, too")
    good = stored(secret(WINTER, NOW), secret("autumn", OLD), older=[OLD])
    assert "store-older" not in {rule for rule, _slot in rules(audit(image, header=str(header), stored=good))}
    image.patch(6, b"\0\7")  # a version that nobody knows
    unseen = audit(image, header=str(header), stored=good)
    (hit,) = [one for one in unseen["unverified"] if one["rule"] == "store-older"]
    assert "it is unknown whether" in hit["message"] and not unseen["compliant"]
    sealed = stored(secret(WINTER, NOW), older=[OLD])
    assert "store-older" not in dict(rules(audit(image, header=str(header), stored=sealed), "unverified"))


FAULTS: t.Dict[str, t.Tuple[Json, str, t.List[t.Tuple[str, t.Optional[int]]]]] = {
    "another secret": (stored(secret("spring", NOW)), "no", [("store-closed", None), ("slot-unknown", 0)]),
    "nothing": ({}, "no secret", [("store-missing", None)]),
    "a stranger": (stored(secret(WINTER, NOW)), "yes", [("slot-unknown", 1)]),
    "an older one opens": (
        stored(secret(WINTER, NOW), secret(FIRE, OLD), older=[OLD]),
        "yes",
        [("store-older", 1)],
    ),
    "only an older one opens": (
        stored(secret("spring", NOW), secret(WINTER, OLD), older=[OLD]),
        "no",
        [("store-older", 0), ("store-closed", None), ("slot-unknown", 1)],
    ),
    "staged and on the volume": (
        stored(secret(WINTER, NOW), secret(FIRE, "rotation 3"), staged="rotation 3"),
        "yes",
        [("store-staged", 1)],
    ),
    "given out and not replaced": (
        {**GOOD, "given": "given to alice at 2026-11-29T01:00:00Z"},
        "yes",
        [("store-given-out", 0)],
    ),
    "staged and nowhere": (
        stored(secret(WINTER, NOW), secret("x", "rotation 3"), staged="rotation 3"),
        "yes",
        [("slot-unknown", 1), ("store-staged", None)],
    ),
    "break-glass does not open": (
        stored(secret(WINTER, NOW), secret("gone", KEPT), kept=[KEPT]),
        "yes",
        [("slot-unknown", 1), ("store-kept", None)],
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_wrong_is_found(image: Image, case: str) -> None:
    given, opens, expected = FAULTS[case]
    result = audit(image, stored=given)
    found = [one for one in rules(result) if one[0].startswith("store-") or one in expected]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert result["store"]["opens"] == opens and result["state"] == "findings"


def test_what_the_store_cannot_give_is_not_condemned(image: Image) -> None:
    """Its secret may be what opens the keyslot; break-glass was tried."""
    result = audit(image, stored=stored(secret(FIRE, KEPT), kept=[KEPT], older=[OLD]))
    assert not result["findings"] and result["state"] == "unverified"
    assert rules(result, "unverified") == [("slot-unknown", 0), ("store-closed", None)]
    assert result["store"]["opens"] == "not verified"


def test_a_store_that_cannot_be_asked_condemns_nothing(image: Image) -> None:
    result = audit(image, secrets=[secret(WINTER)], stored={"problem": "it is not mounted"})
    assert not result["findings"] and "it is not mounted" in str(result["unverified"])
    assert rules(result, "unverified") == [("slot-unknown", 1), ("store-missing", None)]


def test_a_keyslot_that_cannot_be_tried_is_no_answer(image: Image) -> None:
    result = audit(image, stored=GOOD, kdf_limits={"iterations": 1, "memory": 1})
    assert result["store"]["opens"] == "not verified"
    assert not any(rule.startswith("store-") for rule, _slot in rules(result))
    untried = {rule for rule, _slot in rules(result, "unverified")}
    assert {"store-closed", "store-older", "store-kept", "slot-unknown"} <= untried


@pytest.mark.parametrize("limits", [{}, {"iterations": 1, "memory": 1}], ids=["tried", "beyond the limits"])
def test_nobody_is_told_to_erase_while_the_store_is_in_doubt(image: Image, limits: Json) -> None:
    """The keyslot may be the one of the current secret."""
    asked = {"problem": "it is encrypted with the vault id luks, which this run does not have", "older": ["old"]}
    for given in ({"secrets": [secret(WINTER)]}, {"secrets": []}, {"forbidden_secrets": [secret("leaked")]}):
        result = audit(image, stored=asked, kdf_limits=limits, **given)
        found = [*result["findings"], *result["unverified"]]
        assert [one for one in found if one["rule"] == "slot-unknown"], found
        told = [one["remedy"] for one in found if "rase" in one["remedy"] and one["rule"] != "kdf-excessive"]
        assert told and all("Erase no keyslot before" in remedy for remedy in told), told
        assert all("audit again" in one["remedy"] for one in found if one["rule"] == "slot-unknown")


def test_one_secret_that_replaces_itself_is_no_fault(image: Image) -> None:
    """What was put into the store must not make a secret that is to stay one that must go."""
    result = audit(image, stored={**GOOD, "older": [OLD, NOW, KEPT]})
    assert result["state"] == "compliant"


def test_the_age_is_that_of_the_store_where_the_header_has_no_record(image: Image) -> None:
    policy = {**LENIENT, "maximum_age_days": 10}
    result = audit(image, policy=policy, stored={**GOOD, "created": "2020-01-02T03:04:05Z"})
    assert ("secret-age", 0) in rules(result) and ("secret-age", 1) in rules(result, "unverified")
    assert result["keyslots"][0]["changed"] == "2020-01-02T03:04:05Z"


def record(tree: Json, label: str) -> None:
    """The token in which this collection notes what opens keyslot 0, as docs/luks2.md has it."""
    salt = base64.b64decode(tree["keyslots"]["0"]["kdf"]["salt"])
    entry = {"label": label, "fingerprint": hashlib.sha256(salt).hexdigest()[:32], "changed": "2026-01-02T03:04:05Z"}
    tree["tokens"] = {"0": {"type": "luksmith.luks-record", "keyslots": [], "version": 1, "slots": {"0": entry}}}


def by_record(path: pathlib.Path, given: Json, label: str = NOW) -> Json:
    image = Image(path, "luks2.img").edit(lambda tree: record(tree, label))
    return t.cast(Json, audit(image, stored=given, verify="record", policy={**LENIENT, "allowed_labels": []}))


def test_with_unchanged_salts_the_ids_are_compared_for_no_derivation(tmp_path: pathlib.Path) -> None:
    given = stored(secret(FIRE, KEPT), kept=[KEPT])
    result = by_record(tmp_path / "same", given)
    assert result["store"]["opens"] == "by record" and result["store"]["keyslots"] == [0]
    assert not result["findings"] and not result["verified"] and result["state"] == "recorded"
    assert result["kdf_evaluations"] == 1, "only keyslot 1, of which nothing is recorded"
    other = by_record(tmp_path / "other", given, label=OLD)
    assert other["store"]["opens"] == "not verified" and other["state"] == "unverified"
    given = {**given, "secrets": [*given["secrets"], secret(WINTER, OLD)], "older": [OLD]}
    assert ("store-older", 0) in rules(by_record(tmp_path / "older", given, label=OLD))


def run(folder: pathlib.Path, **more: t.Any) -> Json:
    usual: Json = {
        "volumes": [],
        "paths": [str(folder / "*.img")],
        "block_devices": False,
        "crypttab": str(folder / "crypttab"),
        "exclude": [],
        "policy": LENIENT,
        "policies": {},
        "secrets": [],
        "forbidden_secrets": [],
        "backups": [],
        "verify": "proof",
        "kdf_limits": {},
        "lock_timeout": 30.0,
    }
    return host.audit_host({**usual, **more})


def test_each_volume_is_compared_with_its_own_entry(tmp_path: pathlib.Path) -> None:
    images = [Image(tmp_path / "one.img", "luks1.img"), Image(tmp_path / "two.img", "luks2.img")]
    uuids = [audit(image)["uuid"] for image in images]
    items = [{**GOOD, "uuid": uuids[0].upper()}, stored(kept=[KEPT])]
    found = run(tmp_path, stored=items)["volumes"]
    assert [one["store"]["opens"] for one in found] == ["yes", "not verified"]
    link = tmp_path / "link"
    link.symlink_to(images[0].path)
    named = run(tmp_path, volumes=[{"device": str(link), "header": None}], stored=items)["volumes"]
    assert [one["store"]["opens"] for one in named] == ["yes"]
    unsaid = run(tmp_path, stored=items[:1])["volumes"][1]
    assert unsaid["store"]["opens"] == "not verified" and "said nothing" in str(unsaid["unverified"])


def test_the_path_of_a_volume_counts_for_more_than_its_uuid(tmp_path: pathlib.Path) -> None:
    image = Image(tmp_path / "one.img", "luks1.img")
    own = {**stored(), "uuid": audit(image)["uuid"]}
    by_path = {**GOOD, "device": str(image.path)}
    elsewhere = {**stored(), "device": "/dev/elsewhere"}
    found = run(tmp_path, stored=[own, elsewhere, by_path])["volumes"]
    assert [one["store"]["opens"] for one in found] == ["yes"]
    alone = run(tmp_path, stored=[{**GOOD, "device": "/dev/elsewhere"}])["volumes"]
    assert [one["store"]["opens"] for one in alone] == ["not verified"]


def test_the_secrets_of_each_volume_are_wiped_when_it_is_done(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: t.List[t.Any] = []

    def noted(task: t.Any) -> t.Any:
        seen.extend(task.secrets)
        assert all(any(secret.value) for secret in task.secrets)
        return audited(task)

    audited = host.audit
    monkeypatch.setattr(host, "audit", noted)
    Image(tmp_path / "volume.img", "luks2.img")
    run(tmp_path, stored=[{**GOOD, "device": str(tmp_path / "volume.img")}])
    assert len(seen) == 3 and not any(any(secret.value) for secret in seen)


def test_another_volume_at_the_path_is_no_evidence(image: Image) -> None:
    result = audit(image, stored={**GOOD, "uuid": "00000000-0000-0000-0000-000000000000"})
    assert result["store"]["opens"] == "not verified" and "another volume" in str(result["unverified"])


def test_fingerprints_of_what_opens_a_volume_need_a_key(image: Image) -> None:
    """HMAC with that key, of the volume key and of each secret that was proven; none of one that opens nothing."""
    key = bytes(range(32))
    assert "prints" not in audit(image, secrets=[secret(WINTER)])
    found = audit(image, secrets=[secret(WINTER), secret("nothing")], prints_key=key.hex())["prints"]
    assert found["secrets"] == {
        WINTER.upper(): hmac.new(key, b"secret\0" + WINTER.encode(), hashlib.sha256).hexdigest()
    }
    again = audit(image, secrets=[secret(FIRE)], prints_key=key.hex())["prints"]
    assert again["volume_key"] == found["volume_key"] and set(again["secrets"]) == {FIRE.upper()}
    other = audit(image, secrets=[secret(WINTER)], prints_key=bytes(32).hex())["prints"]
    assert other["volume_key"] != found["volume_key"]
    allowed = {**LENIENT, "shared_labels": [WINTER.upper()]}
    assert audit(image, secrets=[secret(WINTER)], prints_key=key.hex(), policy=allowed)["prints"]["secrets"] == {}


def test_a_volume_key_gives_the_fingerprint_too(image: Image) -> None:
    """The key of the fixture, as a keyslot gives it; a wrong one is told and gives none."""
    prints_key = bytes(range(32)).hex()
    by_secret = audit(image, secrets=[secret(WINTER)], prints_key=prints_key)["prints"]
    with proofs(parse_info({"device": str(image.path), "secrets": [secret(WINTER)]})) as (*_others, prover):
        prover.try_slot(0, 0)
        key = bytes(prover.need_volume_key())
    given = {"label": "key", "volume_key_base64": base64.b64encode(key).decode()}
    found = audit(image, secrets=[given], prints_key=prints_key)
    assert found["prints"] == {"volume_key": by_secret["volume_key"], "secrets": {}}
    wrong = audit(image, secrets=[{**given, "volume_key_base64": base64.b64encode(bytes(len(key))).decode()}])
    assert any(warning.startswith("the volume key key is not that of the volume") for warning in wrong["warnings"])


def test_a_backup_that_a_replaced_secret_still_opens_is_found(tmp_path: pathlib.Path) -> None:
    """Nobody had to name it in forbidden_secrets: the store knows what was replaced."""
    image = Image(tmp_path / "volume", "luks2.img")
    backup = tmp_path / "backup"
    backup.write_bytes(image.path.read_bytes())
    image.edit(lambda tree: [tree["keyslots"].pop("0"), tree["digests"]["0"]["keyslots"].remove("0")])
    given = stored(secret(FIRE, NOW), secret(WINTER, OLD), older=[OLD])
    result = audit(image, stored=given, backups=[str(backup)])
    assert ("backup-forbidden", None) in rules(result) and not [one for one in rules(result) if "store" in one[0]]
    told = next(one["message"] for one in result["findings"] if one["rule"] == "backup-forbidden")
    assert f"{OLD!r} still opens keyslot 0 of the header backup" in told


@pytest.mark.parametrize("given", ["text", [], 7])
def test_what_a_store_holds_is_a_dictionary(given: t.Any) -> None:
    assert read_stored(None, SecretList()) is None
    with pytest.raises(BadTask, match="Stored is no dictionary"):
        read_stored(given, SecretList())
