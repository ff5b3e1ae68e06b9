# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit says as a whole: states, verification by record, several volumes, and when the task fails."""

from __future__ import annotations

import base64
import datetime
import os
import pathlib
import random
import sys
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import randomness, traceable
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit_task import parse_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import BadTask, NotLuks, StorageFault
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend as keyslots_run
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    BOTH,
    FIRE,
    WINTER,
    Image,
    audit,
    extended,
    secret,
)

CHEAP = {"type": "argon2id", "time": 4, "memory": 32, "parallel": 1}
NEW = [secret("new winter", "winter"), secret("new fire", "fire")]


def luks2(folder: pathlib.Path, name: str = "volume") -> Image:
    return Image(folder / name, "luks2.img")


def rotated(folder: pathlib.Path, name: str = "volume") -> Image:
    """Both secrets replaced by the collection, which leaves a record of both keyslots."""
    image = luks2(folder, name)
    entries = [{"old_secret": secret(old), "new_secret": new, "pbkdf": CHEAP} for old, new in zip((WINTER, FIRE), NEW)]
    task = parse_task({"device": str(image.path), "keyslots": entries})
    keyslots_run.amend(task, check=False)
    task.wipe_secrets()
    return image


def test_compliant_is_proven(tmp_path: pathlib.Path) -> None:
    result = audit(luks2(tmp_path), secrets=BOTH)
    assert (result["state"], result["compliant"], result["verified"]) == ("compliant", True, True)
    assert result["findings"] == result["unverified"] == []
    assert [row["opened_by"] for row in result["keyslots"]] == [[WINTER.upper()], [FIRE.upper()]]
    # Slot 0: its secret. Slot 1: that one again, then its own. The empty secret costs nothing where another one opens.
    assert result["kdf_evaluations"] == 3
    assert result["changed"] is False


def test_the_secrets_of_an_audit_are_wiped(tmp_path: pathlib.Path) -> None:
    key = {"label": "key", "volume_key_base64": base64.b64encode(b"k" * 32).decode()}
    task = parse_audit({"device": str(luks2(tmp_path).path), "policy": "legacy", "secrets": [*BOTH, key]})
    buffers = [secret.value for secret in (*task.secrets, *task.volume_keys)]
    assert len(buffers) == 3 and all(any(buffer) for buffer in buffers)
    task.wipe_secrets()
    assert not any(any(buffer) for buffer in buffers)


def test_without_secrets_nothing_is_derived_and_nothing_is_compliant(tmp_path: pathlib.Path) -> None:
    result = audit(luks2(tmp_path))
    assert (result["state"], result["compliant"], result["kdf_evaluations"]) == ("unverified", False, 0)
    assert [(one["rule"], one["keyslot"]) for one in result["unverified"]] == [("slot-unknown", 0), ("slot-unknown", 1)]


def test_a_finding_of_severity_info_is_no_breach(tmp_path: pathlib.Path) -> None:
    image = luks2(tmp_path).edit(lambda tree: tree["keyslots"]["1"].update({"priority": 0}))
    result = audit(image, secrets=BOTH)
    assert [one["severity"] for one in result["findings"]] == ["info"]
    assert result["compliant"] is True


class TestRecord:
    def test_unchanged_costs_no_derivation_and_says_that_it_is_unverified(self, tmp_path: pathlib.Path) -> None:
        result = audit(
            rotated(tmp_path), policy=extended(required_labels=["winter", "fire"]), verify="record", secrets=NEW
        )
        assert (result["kdf_evaluations"], result["verified"], result["state"]) == (0, False, "recorded")
        assert any("nothing is proven" in warning for warning in result["warnings"])
        assert all(row["recorded"] for row in result["keyslots"])

    def test_it_needs_no_secret(self, tmp_path: pathlib.Path) -> None:
        result = audit(
            rotated(tmp_path), policy=extended(required_labels=["winter"], allowed_labels=["fire"]), verify="record"
        )
        assert (result["kdf_evaluations"], result["state"], result["unverified"]) == (0, "recorded", [])

    def test_a_slot_that_another_program_wrote_is_tried(self, tmp_path: pathlib.Path) -> None:
        image = rotated(tmp_path)

        def foreign(tree: t.Any) -> None:
            for token in tree["tokens"].values():
                token["slots"]["1"]["fingerprint"] = "00" * 16

        result = audit(image.edit(foreign), verify="record", secrets=[NEW[0]])
        assert result["kdf_evaluations"] == 2  # the given secret and the empty one, on slot 1 only
        assert "slot-unknown" in [one["rule"] for one in result["findings"]]

    def test_a_volume_of_which_each_keyslot_was_tried_is_proven(self, tmp_path: pathlib.Path) -> None:
        """Only what comes from the record is no proof, and with one such keyslot the volume is none."""
        image = rotated(tmp_path)
        both = audit(image, verify="record", secrets=NEW, policy=extended())
        assert (both["state"], both["verified"]) == ("recorded", False)

        def drop(tree: t.Any, *gone: str) -> None:
            for token in tree["tokens"].values():
                for keyslot in gone:
                    del token["slots"][keyslot]

        one = audit(image.edit(lambda tree: drop(tree, "1")), verify="record", secrets=NEW, policy=extended())
        assert (one["state"], one["verified"]) == ("recorded", False)
        none = audit(image.edit(lambda tree: drop(tree, "0")), verify="record", secrets=NEW, policy=extended())
        assert (none["state"], none["verified"]) == ("compliant", True)
        assert none["kdf_evaluations"] >= 2

    def test_a_damaged_area_is_not_believed(self, tmp_path: pathlib.Path) -> None:
        image = rotated(tmp_path)
        image.patch(int(image.tree()["keyslots"]["1"]["area"]["offset"]), bytes(8192))
        result = audit(image, verify="record", secrets=NEW)
        assert result["compliant"] is False
        assert {"slot-damaged", "slot-unknown"} <= {one["rule"] for one in result["findings"]}

    @pytest.mark.parametrize("dead", [512, 1024])
    def test_an_area_that_is_dead_at_its_end_is_not_believed(self, tmp_path: pathlib.Path, dead: int) -> None:
        """128,000 bytes for a key of 32 are not a whole number of blocks; cryptsetup looks at the last 4,096, too."""
        image = rotated(tmp_path)
        image.patch(int(image.tree()["keyslots"]["1"]["area"]["offset"]) + 128000 - dead, bytes(dead))
        for verify in ("record", "proof"):
            result = audit(image, verify=verify, secrets=NEW)
            assert ("slot-damaged", 1) in [(one["rule"], one["keyslot"]) for one in result["findings"]], verify

    def test_proof_does_not_believe_the_record(self, tmp_path: pathlib.Path) -> None:
        result = audit(rotated(tmp_path), policy=extended(required_labels=["winter"]))
        assert result["compliant"] is False
        assert "label-missing" in [one["rule"] for one in result["unverified"]]

    def test_the_recorded_secret_is_tried_first(self, tmp_path: pathlib.Path) -> None:
        assert audit(rotated(tmp_path), secrets=list(reversed(NEW)))["kdf_evaluations"] == 2

    def test_age(self, tmp_path: pathlib.Path) -> None:
        image = rotated(tmp_path)
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=400)
        result = audit(image, policy=extended(maximum_age_days=365), secrets=NEW, now=soon)
        assert [(one["rule"], one["keyslot"]) for one in result["findings"]] == [("secret-age", 0), ("secret-age", 1)]
        assert [row["age_days"] in (399, 400) for row in result["keyslots"]] == [True, True]
        early = audit(
            image, policy=extended(maximum_age_days=365), secrets=NEW, now=soon - datetime.timedelta(days=800)
        )
        assert [one["rule"] for one in early["unverified"]] == ["secret-age", "secret-age"]


class TestDevices:
    def test_one_that_fails_hides_no_other(self, tmp_path: pathlib.Path) -> None:
        bad = luks2(tmp_path, "bad")
        bad.path.write_bytes(b"no volume at all" * 5000)
        worse = luks2(tmp_path, "worse").edit(lambda tree: tree.pop("segments"))
        gone = luks2(tmp_path, "gone")
        gone.path.unlink()
        good = luks2(tmp_path, "good")
        result = audit(bad, gone, worse, good, secrets=BOTH)
        assert [one["state"] for one in result["volumes"]] == ["failed", "failed", "findings", "compliant"]
        assert result["failed"] is True and "2 of 4 volumes could not be audited" in result["msg"]
        assert result["compliant"] is False
        assert [finding["device"] for finding in result["findings"]] == [str(worse.path)]
        assert all(str(image.path) in one["msg"] for image, one in zip((bad, gone), result["volumes"]))

    def test_one_header_twice_is_one_volume(self, tmp_path: pathlib.Path) -> None:
        image = luks2(tmp_path)
        link = tmp_path / "link"
        link.symlink_to(image.path)
        other = Image(tmp_path / "other", "luks2.img")
        other.path = link
        result = audit(image, other, secrets=BOTH)
        assert [one.get("also") for one in result["volumes"]] == [[str(link)]]

    def test_a_single_path_that_cannot_be_read_is_an_error(self, tmp_path: pathlib.Path) -> None:
        image = luks2(tmp_path)
        image.path.write_bytes(bytes(1 << 20))
        with pytest.raises(NotLuks, match="zeros"):
            audit(image)
        image.path.unlink()
        with pytest.raises(StorageFault):
            audit(image)


class TestFailOn:
    @pytest.mark.parametrize(
        ("fail_on", "fails"),
        [("never", False), ("critical", False), ("high", False), ("medium", False), ("low", True), ("info", True)],
    )
    def test_severity(self, tmp_path: pathlib.Path, fail_on: str, fails: bool) -> None:
        image = luks2(tmp_path).edit(lambda tree: tree.update({"vendor": {}}))
        result = audit(image, secrets=BOTH, fail_on=fail_on)
        assert result.get("failed", False) is fails
        assert not fails or ("metadata-unknown" in result["msg"] and str(image.path) in result["msg"])

    def test_what_nobody_could_verify_counts(self, tmp_path: pathlib.Path) -> None:
        assert audit(luks2(tmp_path), fail_on="high")["failed"] is True


def test_a_secret_cannot_be_welcome_and_forbidden(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BadTask, match="both allowed and forbidden"):
        audit(luks2(tmp_path), secrets=BOTH, forbidden_secrets=[secret(FIRE)])


def test_a_forbidden_secret_that_only_looks_different_is_found(tmp_path: pathlib.Path) -> None:
    """PBKDF2 pads with zeros, so a NUL behind the secret opens the slot as well; cryptsetup behaves the same."""
    image = Image(tmp_path / "volume", "luks1.img")
    result = audit(image, policy=extended(), secrets=BOTH, forbidden_secrets=[secret(WINTER + "\0", "padded")])
    assert [(one["rule"], one["keyslot"]) for one in result["findings"] if one["severity"] == "critical"] == [
        ("secret-forbidden", 0)
    ]


def test_a_fingerprint_pins_the_header(tmp_path: pathlib.Path) -> None:
    image = luks2(tmp_path)
    pinned = audit(image, secrets=BOTH)["fingerprint"]
    assert audit(image, policy=extended(expected={"fingerprint": pinned}), secrets=BOTH)["compliant"] is True
    image.edit(lambda tree: tree["keyslots"]["0"].update({"priority": 2}))
    assert [
        one["rule"] for one in audit(image, policy=extended(expected={"fingerprint": pinned}), secrets=BOTH)["findings"]
    ] == ["inventory"]


def test_a_backup_of_no_volume_is_named(tmp_path: pathlib.Path) -> None:
    stranger = Image(tmp_path / "stranger", "luks1.img")
    result = audit(luks2(tmp_path), secrets=BOTH, backups=[str(stranger.path)])
    assert any(str(stranger.path) in warning for warning in result["warnings"])


class TestTraceable:
    """The same audit can be repeated, and its answer compared."""

    NOW = datetime.datetime(2026, 11, 28, 15, 0, tzinfo=datetime.timezone.utc)

    def test_what_was_asked_and_tried(self, tmp_path: pathlib.Path) -> None:
        softened = {
            "extends": "strict",
            "kdf_types": ["argon2id", "pbkdf2"],
            "ciphers": [],
            "formats": ["luks1", "luks2"],
        }
        result = audit(luks2(tmp_path), policy=softened, secrets=[BOTH[0]], forbidden_secrets=[BOTH[1]], now=self.NOW)
        evidence = result["evidence"]
        assert result["policy"] == evidence["policy"]["name"] == "strict, changed in 3 places"
        assert evidence["policy"]["text"]["kdf_types"] == ["argon2id", "pbkdf2"]
        assert evidence["policy"]["extends"] == "strict" and len(evidence["policy"]["digest"]) == 64
        assert (evidence["labels"], evidence["forbidden_labels"]) == ([WINTER.upper()], [FIRE.upper()])
        assert (evidence["time"], evidence["verify"]) == ("2026-11-28T15:00:00Z", "proof")
        assert evidence["host"] == os.uname().nodename

    def test_the_text_is_a_policy_with_the_same_answer(self, tmp_path: pathlib.Path) -> None:
        image = luks2(tmp_path)
        first = audit(image, policy={"extends": "strict", "minimum_key_size": 32}, secrets=BOTH, now=self.NOW)
        again = audit(image, policy=first["evidence"]["policy"]["text"], secrets=BOTH, now=self.NOW)
        assert again["findings"] == first["findings"] != []
        assert again["evidence"]["policy"]["digest"] == first["evidence"]["policy"]["digest"]
        assert again["fingerprint"] == first["fingerprint"]

    def test_each_of_several(self, tmp_path: pathlib.Path) -> None:
        broken = luks2(tmp_path, "broken").edit(lambda tree: tree.pop("segments"))
        result = audit(luks2(tmp_path), broken, policy={"extends": "strict", "formats": ["luks1"]})
        assert {one["policy"] for one in (result, *result["volumes"])} == {"strict, changed in 1 place"}
        assert all(one["evidence"] == result["evidence"] for one in result["volumes"])

    def test_the_version_is_that_of_the_collection(self) -> None:
        galaxy = pathlib.Path(__file__).resolve().parents[6] / "galaxy.yml"
        if not galaxy.exists():
            pytest.skip("galaxy.yml is not in this copy")
        version = next(line.split(":")[1].strip() for line in galaxy.read_text().splitlines() if "version:" in line)
        assert f"luksmith.luks {version}" == traceable.TOOL


def test_no_secret_in_the_result(tmp_path: pathlib.Path) -> None:
    result = audit(luks2(tmp_path), secrets=[secret(WINTER, "a")], forbidden_secrets=[secret(FIRE, "b")])
    assert WINTER not in str(result) and FIRE not in str(result)


def test_randomness() -> None:
    assert randomness.measure(bytes(4096) + b"\xff" * 4096) == randomness.Randomness(2, 2, 2)
    assert randomness.measure(bytes(8192)).wiped
    assert not randomness.measure(b"").wiped
    text = (b"This is no key material. " * 200)[:4096]
    assert randomness.measure(text).odd == 1
    good = random.Random(1).randbytes(256000) if sys.version_info >= (3, 9) else os.urandom(256000)
    assert randomness.measure(good) == randomness.Randomness(63, 0, 0), "the last block begins inside of another one"
    for size in (512, 1024, 2048, 4096):
        assert randomness.measure(good[:-size] + bytes(size)).odd >= 1, f"the last {size} bytes are dead"
    assert randomness.measure(bytes(4096 + 512)).wiped
    assert randomness.measure(bytes(range(256)) * 16).odd == 1, "too even is not random either"
