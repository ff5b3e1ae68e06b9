# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a remedy says is done to the volume, and the finding goes.

Here is what needs only this collection; tests/interop/test_audit_remedies.py asks other programs.
"""

from __future__ import annotations

import base64
import dataclasses
import pathlib
import re
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.backup_task import parse_backup
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.create import create
from ansible_collections.luksmith.luks.plugins.module_utils._luks.backup.restore import restore
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import fips, host
from ansible_collections.luksmith.luks.plugins.module_utils._luks.header.luks2.metadata import RESTORE
from ansible_collections.luksmith.luks.tests import needs
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit import remedy_texts
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit import test_rules as rule_cases
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import (
    BOTH,
    FIRE,
    LENIENT,
    WINTER,
    Image,
    audit,
    extended,
    secret,
)
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.test_store import KEPT, NOW, stored

Options = t.Dict[str, t.Any]
Finding = t.Dict[str, t.Any]
CHEAP = rule_cases.CHEAP
SHA256 = {"type": "pbkdf2", "hash": "sha256", "iterations": 1000}


class Patient:
    """A volume with something wrong, and the header backup from before. ``options``: of the audit."""

    def __init__(self, folder: pathlib.Path, volume: str, options: Options) -> None:
        self.folder = folder
        self.image = Image(folder / "volume", volume)
        self.options = {"policy": LENIENT, **options}
        if "backups" in options:
            self.options["backups"] = [str(folder / name) for name in options["backups"]]
        else:
            self.backup()

    def backup(self, name: str = "trusted") -> None:
        task = parse_backup({"device": str(self.image.path), "path": str(self.folder / name), "force": True})
        create(task, check=False)

    def restore(self, _finding: Finding) -> None:
        given = {"device": str(self.image.path), "path": str(self.folder / "trusted"), "state": "restored"}
        task = parse_backup({**given, "unlock": BOTH, "force": True})
        try:
            restore(task, check=False)
        finally:
            task.wipe_secrets()

    def keyslots(self, *entries: Options, **options: t.Any) -> None:
        rule_cases.amend_volume(self.image, *entries, **options)

    def erase(self, finding: Finding) -> None:
        """The keyslot that the remedy names, or that the finding is about."""
        named = re.findall(r"keyslot (\d+)", finding["remedy"])
        number = int(named[0]) if named and "all but" not in finding["remedy"] else finding["keyslot"]
        self.keyslots({"state": "absent", "keyslot": number})

    def run(self, finding: Finding, which: int = 0) -> str:
        """The command in quotes."""
        command = re.findall(r"'((?:cryptsetup|wipefs) [^']*)'", finding["remedy"])[which]
        words = command.replace("DEVICE", str(self.image.path)).replace("BACKUP", str(self.folder / "trusted")).split()
        if words[0] == "cryptsetup":
            words += ["-q", "--disable-locks"]  # only root may write to the folder of the locks
        words[0] = shutil.which(words[0], path=needs.SEARCH_PATH) or words[0]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def findings(self, rule: str, options: t.Optional[Options] = None) -> t.List[Finding]:
        result = audit(self.image, **{**self.options, **(options or {})})
        return [
            {**one, "unverified": kind == "unverified"}
            for kind in ("findings", "unverified")
            for one in result[kind]
            if one["rule"] == rule
        ]


@dataclasses.dataclass
class Cure:
    """text: how the remedy begins, with "{}" as in :mod:`remedy_texts`. cure: what it says; returns the options of the
    audit that it changes.

    also: a function of :mod:`remedies` that has a part in the text.
    case: of test_rules.py that makes the volume ill, or else ``bad``, ``volume`` and ``options``.
    """

    rule: str
    text: str
    cure: t.Callable[[Patient, Finding], t.Optional[Options]]
    case: str = ""
    bad: t.Optional[t.Callable[[Image], t.Any]] = None
    volume: str = "luks2.img"
    options: Options = dataclasses.field(default_factory=dict)
    also: str = ""

    @property
    def asks_cryptsetup(self) -> bool:
        return self.cure in (Patient.run, second_command)

    def found_in(self) -> rule_cases.Case:
        if self.bad is not None:
            return rule_cases.Case(self.rule, self.bad, self.volume, self.options)
        (case,) = [one for one in rule_cases.CASES if one.rule == self.rule and rule_cases.title(one) == self.case]
        return case


def asks(**keys: t.Any) -> t.Callable[[Patient, Finding], Options]:
    """The policy is changed as the remedy says."""
    return lambda patient, _finding: {"policy": {**patient.options["policy"], **keys}}


def gives(**options: t.Any) -> t.Callable[[Patient, Finding], Options]:
    return lambda _patient, _finding: options


def does(*entries: Options, **options: t.Any) -> t.Callable[[Patient, Finding], None]:
    return lambda patient, _finding: patient.keyslots(*entries, **options)


def again(name: str, **pbkdf: t.Any) -> Options:
    return {"old_secret": secret(name), "new_secret": secret(name), "pbkdf": pbkdf or CHEAP}


def replaced(name: str) -> Options:
    return {"old_secret": secret(name), "new_secret": secret(f"{name} anew"), "pbkdf": CHEAP}


def another_in_its_place(patient: Patient, finding: Finding) -> None:
    """For a keyslot that cannot be written again; of FIRE."""
    new = {"new_secret": secret("another"), "pbkdf": SHA256}
    patient.keyslots(new, {"state": "absent", "keyslot": finding["keyslot"]})


def add_and_erase(patient: Patient, finding: Finding) -> None:
    number = int(re.findall(r"keyslot (\d+)", finding["remedy"])[0])
    patient.keyslots({"keyslot": number, "new_secret": secret("for a moment")})
    patient.keyslots({"state": "absent", "keyslot": number})


def erased_and_added(patient: Patient, finding: Finding) -> None:
    patient.erase(finding)
    patient.keyslots({"new_secret": secret(FIRE), "pbkdf": CHEAP})


def swap_space(image: Image) -> None:
    """As mkswap writes it, in the padding of LUKS1 and before its first keyslot."""
    image.patch(1024, (1).to_bytes(4, "little") + (100).to_bytes(4, "little")).patch(4086, b"SWAPSPACE2")


def wipefs(patient: Patient, finding: Finding) -> None:
    listed = patient.run(finding)
    (offset,) = [line.split()[1] for line in listed.splitlines() if " swap " in line]
    patient.run({"remedy": finding["remedy"].replace("OFFSET", offset)}, 1)
    assert b"LUKS" in patient.image.at(0, 4)


def second_command(patient: Patient, finding: Finding) -> None:
    patient.run(finding, 1)


def new_backup(patient: Patient, _finding: Finding) -> None:
    (patient.folder / "backup").unlink()
    patient.backup("backup")


part, slot = rule_cases.part, rule_cases.slot
GOOD = stored(secret(WINTER, NOW), secret(FIRE, KEPT), kept=[KEPT])
SEALED = stored(secret(FIRE, KEPT), kept=[KEPT])
DEAR = {"time": 4, "memory": 32}
# What a machine drew, which systemd and Clevis keep behind a token.
RANDOM = {"label": "tpm", "passphrase_base64": base64.b64encode(bytes(range(255, 215, -1))).decode()}
LISTED = extended(token_types=["systemd-tpm2"], minimum_costs={"pbkdf2": 2000, "argon2": DEAR})
MACHINES = {**LISTED["minimum_costs"], "tokens": {"systemd-tpm2": 1000}}


def nothing(_image: Image) -> None:
    """The policy alone is what is wrong."""


def large(image: Image) -> None:
    with image.path.open("r+b") as file:
        file.truncate(2 << 40)


def of_a_machine(image: Image) -> None:
    rule_cases.amend_volume(image, {"keyslot": 2, "new_secret": RANDOM, "pbkdf": SHA256})
    rule_cases.token_with(0, "systemd-tpm2", 2)(image)


def of_the_future(image: Image) -> None:
    rule_cases.recorded(image)
    later = {"changed": "2125-11-01T00:00:00Z"}
    image.edit(lambda tree: [entry.update(later) for entry in rule_cases.record(tree).values()])


def serpent(image: Image) -> None:
    rule_cases.amend_volume(image, *(again(name, **SHA256) for name in (WINTER, FIRE)))
    part(1, "area", encryption="serpent-xts-plain64")(image)


def whose(image: Image) -> None:
    rule_cases.amend_volume(image, {"keyslot": 2, "new_secret": secret("whose?"), "pbkdf": CHEAP})


def rotated(image: Image) -> None:
    """As a rotation does it, whose store has the new secret."""
    rule_cases.amend_volume(image, {**replaced(WINTER), "new_secret": secret("rotated", NOW)})


def intent_of_a_newer_version(image: Image) -> None:
    image.edit(rule_cases.intent).edit(lambda tree: tree["tokens"]["0"].update({"version": 99}))


CURES = (
    Cure("header-unreadable", "{}", second_command, "header-unreadable-luks2"),
    Cure("header-unreadable", "{}", second_command, "header-unreadable-duplicate key-luks2"),
    Cure("header-unreadable", "{}", Patient.restore, "header-unreadable-luks1"),
    Cure("header-copy", "Make a header backup, then run", does(again(WINTER)), "header-copy-bad-luks2"),
    Cure("header-copy", "Make a header backup, then run", does(again(WINTER)), "header-copy-stale-luks2"),
    Cure("header-copy", "Make a header backup, then run", does(again(WINTER)), "header-copy-differs-luks2"),
    Cure("header-salt", "Find out which program", Patient.run, "header-salt-luks2"),
    Cure("header-checksum", "Find out which program", Patient.run, "header-checksum-luks2"),
    Cure("header-padding", "Find out which program", Patient.run, "header-padding-luks2"),
    Cure("header-padding", "Find out which program", Patient.run, "header-padding-luks1"),
    Cure("metadata-unknown", "Find out which program", Patient.run, "metadata-unknown-top-luks2"),
    Cure("foreign-signature", "Find out what the device is", wipefs, bad=swap_space, volume="luks1.img"),
    Cure(
        "boot-signature",
        "Set a new secret for keyslot 6",
        does({"keyslot": 6, "new_secret": secret("six")}),
        "boot-signature-luks1",
    ),
    Cure("interrupted-run", "Run the same task again", does(again(WINTER)), "interrupted-run-luks2"),
    Cure("slot-remnant", "Erase it properly", add_and_erase, "slot-remnant-luks1"),
    Cure("null-cipher", "Do not open the volume", Patient.run, "null-cipher-segment-luks2"),
    Cure(
        "null-cipher",
        "Find out who wrote it; if it is not wanted, remove it",
        Patient.run,
        "null-cipher-keyslot-luks2",
        also="kill_slot",
    ),
    Cure("area-size", "Remove it while", Patient.run, "area-size-luks2"),
    Cure("area-size", "Remove it while", second_command, "area-size-luks2"),
    Cure("key-size-mismatch", "Find out which keyslot", Patient.run, "key-size-mismatch-luks2"),
    Cure("segment-layout", "Unless a reencryption", Patient.run, "segment-layout-two-luks2"),
    Cure("area-alignment", "<new_slot>", another_in_its_place, "area-alignment-luks2"),
    Cure("cipher-weak", "<new_slot>", another_in_its_place, bad=part(1, "area", encryption="aes-ecb")),
    Cure("stripes", "<new_slot>", another_in_its_place, "stripes-luks2"),
    Cure("kdf-unknown", "Erase keyslot", Patient.erase, "kdf-unknown-luks2"),
    Cure("kdf-excessive", "Unless this is intended", erased_and_added, "kdf-excessive-lanes-luks2"),
    Cure("kdf-excessive", "Unless this is intended", erased_and_added, "kdf-excessive-passes-luks2"),
    Cure(
        "kdf-salt",
        "Replace their secrets",
        does(replaced(WINTER)),
        bad=lambda image: image.edit(lambda tree: rule_cases.twin(image, tree)),
    ),
    Cure("digest-unknown", "Find out who wrote it", Patient.run, "digest-unknown-luks2"),
    Cure("digest-orphan", "<restore>", Patient.run, "digest-orphan-no keyslot-luks2"),
    Cure("digest-orphan", "<restore>; cryptsetup", Patient.run, "digest-orphan-two for the data-luks2"),
    Cure("no-keyslot", "Restore a header backup", Patient.restore, "no-keyslot-luks1"),
    Cure("slot-unbound", "Erase keyslot", Patient.erase, "slot-unbound-luks2"),
    Cure("slot-ignored", "Allow it in the policy", Patient.erase, "slot-ignored-luks2"),
    Cure("slot-ignored", "Allow it in the policy", does({"keyslot": 1, "priority": "normal"}), "slot-ignored-luks2"),
    Cure("slot-ignored", "Allow it in the policy", asks(rules={"slot-ignored": "off"}), "slot-ignored-luks2"),
    Cure("slot-zombie", "Erase keyslot", Patient.erase, "slot-zombie-luks2"),
    Cure("slot-damaged", "Try its secret", erased_and_added, "slot-damaged-zeros-luks2"),
    Cure("slot-type", "Find out which program", Patient.erase, "slot-type-luks2"),
    Cure("number-range", "<restore>", Patient.run, "number-range-token-luks2"),
    Cure(
        "token-type", "List its type in token_types", asks(token_types=["clevis", "systemd-tpm2"]), "token-type-luks2"
    ),
    Cure("slots-full", "Erase an unneeded", does({"state": "absent", "keyslot": 3}), "slots-full-luks2"),
    Cure(
        "label-missing",
        "Set their priority to normal",
        does({"keyslot": 1, "priority": "normal"}),
        "label-missing-ignored-luks2",
    ),
    Cure(
        "label-missing",
        "Audit on a host where they",
        does({"new_secret": secret(FIRE), "pbkdf": CHEAP}),
        "label-missing-untried-luks2",
    ),
    Cure(
        "label-missing",
        "Give it in secrets",
        gives(secrets=BOTH),
        bad=lambda image: None,
        options={"secrets": [secret(WINTER)], "policy": extended(required_labels=[FIRE.upper()])},
    ),
    Cure(
        "slot-unknown",
        "Ask the store first",
        lambda patient, finding: {"secrets": [*BOTH, secret("whose?")]},
        bad=whose,
        options={"secrets": BOTH},
    ),
    Cure("slot-unknown", "Ask the store first", Patient.erase, bad=whose, options={"secrets": BOTH}),
    Cure(
        "slot-unknown",
        "Ask the store first",
        gives(stored=stored(secret("rotated", NOW))),
        bad=rotated,
        options={"secrets": [secret(FIRE)]},
        also="but_first",
    ),
    Cure("slot-unknown", "Find its owner", Patient.erase, bad=whose, options={"stored": GOOD}),
    Cure("slot-unknown", "<elsewhere>", Patient.erase, "slot-unknown-untried-luks2", also="elsewhere"),
    Cure("slot-unknown", "Give the secrets", gives(secrets=BOTH), bad=lambda image: None),
    Cure(
        "secret-forbidden",
        "Remove it with",
        does({"state": "absent", "old_secret": secret("leaked")}),
        "secret-forbidden-luks2",
    ),
    Cure("secret-forbidden", "<elsewhere>", Patient.erase, "secret-forbidden-untried-luks2"),
    Cure(
        "record-label",
        "Give the secret with this label",
        asks(allowed_labels=["IN USE", "A THIRD SECRET"]),
        "record-label-luks2",
    ),
    Cure(
        "record-label",
        "Give the secret with this label",
        gives(secrets=[secret("a third secret")]),
        "record-label-luks2",
    ),
    Cure("secret-empty", "Set a real secret", Patient.erase, "secret-empty-luks2"),
    Cure(
        "secret-empty",
        "Set a real secret",
        lambda patient, finding: patient.keyslots(
            {"keyslot": finding["keyslot"], "new_secret": secret("real"), "pbkdf": CHEAP}, force=True
        ),
        "secret-empty-luks2",
    ),
    Cure("secret-duplicate", "Erase all but", Patient.erase, "secret-duplicate-luks2"),
    Cure("record-stale", "Find out who wrote it", does(replaced("a third secret")), "record-stale-luks2"),
    Cure("secret-age", "Replace it with", does(replaced("a third secret")), "secret-age-luks2"),
    Cure(
        "recovery-missing",
        "Add one of them",
        does({"new_secret": secret("in the safe", "safe"), "pbkdf": CHEAP}),
        "recovery-missing-luks2",
    ),
    Cure(
        "recovery-missing",
        "Give the recovery key",
        gives(secrets=[secret(WINTER), secret(FIRE, "safe")]),
        "recovery-missing-a token-luks2",
    ),
    Cure(
        "recovery-missing",
        "Give one of them in secrets",
        gives(secrets=[secret(FIRE, "safe")]),
        bad=lambda image: None,
        options={"secrets": [secret(WINTER)], "policy": extended(recovery_labels=["safe"])},
    ),
    Cure("secret-exposed", "Replace it with", does(replaced("a third secret")), "secret-exposed-luks2"),
    Cure(
        "secret-exposed", "Replace its secret", does(replaced(WINTER), replaced(FIRE)), "secret-exposed-no record-luks2"
    ),
    Cure("cve-2021-4122", "Do not open the volume", second_command, "cve-2021-4122-luks2"),
    Cure("backup-forbidden", "Destroy the backup", new_backup, "backup-forbidden-luks2"),
    Cure("backup-missing", "Create one with", new_backup, "backup-missing-luks2"),
    Cure("backup-outdated", "Destroy the backup", new_backup, "backup-outdated-luks2"),
    Cure("backup-older", "Create a new backup", new_backup, "backup-older-luks2"),
    Cure("backup-foreign", "Create a new backup", new_backup, "backup-foreign-luks2"),
    Cure("grub-closed", "{}, or move /boot", does(again(WINTER, **SHA256), again(FIRE, **SHA256)), "grub-closed-luks2"),
    Cure(
        "grub-closed",
        "{}, or move /boot",
        does({"keyslot": 1, "priority": "normal"}),
        "grub-closed-ignored-luks2",
    ),
    Cure("write-obstacle", "Find out who wrote it", Patient.run, bad=part(1, "area", encryption="cipher_null-ecb")),
    Cure(
        "write-obstacle", "Find out who wrote this", Patient.run, bad=rule_cases.segment(encryption="cipher_null-ecb")
    ),
    Cure("write-obstacle", "While another keyslot opens", Patient.run, bad=part(1, "area", size="4096")),
    Cure("write-obstacle", "While another keyslot opens", second_command, bad=part(1, "area", size="4096")),
    Cure("write-obstacle", f"{RESTORE}; cryptsetup", Patient.run, bad=slot(1, key_size=16)),
    Cure("write-obstacle", f"{RESTORE}; no command", Patient.run, bad=rule_cases.token(32, "systemd-tpm2", "1")),
    Cure("write-obstacle", "If a newer version", Patient.run, bad=intent_of_a_newer_version),
    Cure(
        "policy-gap",
        "Lower minimum_costs",
        asks(rules={}, minimum_costs={"pbkdf2": 1000, "argon2": DEAR}),
        bad=nothing,
        options={"policy": extended(rules={"kdf-cost": "off"})},
    ),
    Cure(
        "policy-gap",
        "Set minimum_costs.{} in the policy",
        asks(minimum_costs={"pbkdf2": 1000, "argon2": DEAR}),
        bad=nothing,
        options={"policy": {"extends": "strict", "kdf_types": ["argon2id", "pbkdf2"]}},
    ),
    Cure(
        "policy-gap",
        "Say in the policy why",
        asks(accepted={"cipher": "an old drive"}),
        bad=nothing,
        options={"policy": {"extends": "strict", "ciphers": []}},
    ),
    Cure(
        "xts-limit",
        "Divide the data among",
        asks(rules={"xts-limit": "off"}, accepted={"xts-limit": "2 TiB"}),
        bad=large,
        options={"policy": {"extends": "owasp-2023"}},
    ),
    Cure(
        "kdf-cost",
        "Give the secret that opens it, or name",
        gives(secrets=[secret(WINTER), RANDOM]),
        bad=of_a_machine,
        options={"policy": LISTED},
    ),
    Cure(
        "kdf-cost",
        "Give the secret that opens it, or name",
        asks(minimum_costs=MACHINES),
        bad=of_a_machine,
        options={"policy": LISTED},
    ),
    Cure(
        "kdf-type",
        "Give the secret that opens it, or name",
        asks(minimum_costs=MACHINES),
        bad=of_a_machine,
        options={"policy": {**LISTED, "kdf_types": ["argon2id"]}},
    ),
    Cure(
        "slot-unknown",
        "Name in the policy",
        asks(minimum_costs=MACHINES),
        bad=of_a_machine,
        options={"secrets": [secret(WINTER)], "policy": LISTED},
    ),
    Cure(
        "secret-age",
        "Replace its secret",
        does(replaced(WINTER), replaced(FIRE)),
        bad=nothing,
        options={"policy": extended(maximum_age_days=1)},
    ),
    Cure(
        "secret-age",
        "Set the clock",
        does(replaced("a third secret")),
        bad=of_the_future,
        options={"policy": extended(maximum_age_days=1)},
    ),
    Cure(
        "grub-closed",
        "{}, or move /boot",
        does(again(WINTER, **SHA256), again(FIRE, **SHA256)),
        bad=lambda image: rule_cases.amend_volume(
            image, *(again(name, **{**SHA256, "hash": "sha3-256"}) for name in (WINTER, FIRE))
        ),
        options={"policy": extended(opened_by_grub=True)},
    ),
    Cure(
        "grub-closed",
        "{}, or move /boot",
        another_in_its_place,
        bad=lambda image: (
            rule_cases.amend_volume(image, *(again(name, **SHA256) for name in (WINTER, FIRE))),
            part(1, "area", encryption="xchacha12,aes-adiantum-plain64")(image),
        ),
        options={"policy": extended(opened_by_grub=True)},
    ),
    Cure(
        "backup-unreadable",
        "Check the path",
        lambda patient, finding: patient.backup("backup"),
        "backup-unreadable-luks2",
    ),
    Cure("inventory", "Find out whether the volume", asks(expected={"label": "other"}), "inventory-luks2"),
    Cure(
        "store-closed",
        "Set their priority",
        does({"keyslot": 0, "priority": "normal"}),
        bad=slot(0, priority=0),
        options={"stored": GOOD},
    ),
    Cure("store-closed", "Give rotate_escrow_private_key", gives(stored=GOOD), bad=nothing, options={"stored": SEALED}),
    Cure(
        "slot-unknown", "Make the store give its secrets", gives(stored=GOOD), bad=nothing, options={"stored": SEALED}
    ),
    Cure(
        "store-missing",
        "Make the store readable",
        gives(stored=GOOD),
        bad=nothing,
        options={"stored": {"problem": "it is locked"}},
    ),
    Cure(
        "store-kept",
        "Add it with",
        does({"new_secret": secret("gone", KEPT), "pbkdf": CHEAP}),
        bad=nothing,
        options={"stored": stored(secret(WINTER, NOW), secret("gone", KEPT), kept=[KEPT])},
    ),
)


@pytest.fixture
def flag(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[pathlib.Path]:
    """fips_enabled of the kernel; "1" there makes this a host in FIPS mode."""
    path = tmp_path / "proc" / "sys" / "crypto" / "fips_enabled"
    path.parent.mkdir(parents=True)
    path.write_text("0\n")
    monkeypatch.setattr(host, "PROC", str(tmp_path / "proc"))
    yield path
    fips.choose("auto")


@pytest.mark.parametrize(
    ("text", "bad", "cure"),
    [
        ("<rekey>, such as", nothing, does(again(WINTER, **SHA256), again(FIRE, **SHA256))),
        ("<new_slot>", serpent, another_in_its_place),
    ],
)
@remedy_texts.carries(
    ("fips-keyslot", "On a host that is not in FIPS mode: <rekey>, such as"),
    ("fips-keyslot", "On a host that is not in FIPS mode: <new_slot>"),
)
def test_a_host_in_fips_mode(
    flag: pathlib.Path,
    tmp_path: pathlib.Path,
    text: str,
    bad: t.Callable[[Image], t.Any],
    cure: t.Callable[[Patient, Finding], None],
) -> None:
    patient = Patient(tmp_path, "luks2.img", {})
    bad(patient.image)

    def found() -> t.List[Finding]:
        flag.write_text("1\n")
        findings = patient.findings("fips-keyslot")
        remedy_texts.noted({one["rule"]: one for one in findings})
        flag.write_text("0\n")
        return findings

    before = found()
    assert before and remedy_texts.matches(f"On a host that is not in FIPS mode: {text}", before[0]["remedy"])
    cure(patient, before[-1])
    assert not found()


@pytest.mark.parametrize(
    "cure",
    [pytest.param(cure, marks=pytest.mark.needs("cryptsetup") if cure.asks_cryptsetup else ()) for cure in CURES],
    ids=lambda cure: f"{cure.rule}: {cure.text[:20]}",
)
def test_the_finding_goes(cure: Cure, tmp_path: pathlib.Path) -> None:
    case = cure.found_in()
    patient = Patient(tmp_path, case.volume, case.options)
    case.bad(patient.image)
    before = patient.findings(cure.rule)
    ill = [one for one in before if remedy_texts.matches(cure.text, one["remedy"])]
    assert ill, before
    assert not cure.also or remedy_texts.matches(f"{{}}<{cure.also}>", ill[0]["remedy"])
    changed = None
    for finding in ill if cure.cure is Patient.erase else ill[:1]:
        changed = cure.cure(patient, finding) or changed
    after = [(one["keyslot"], one["unverified"]) for one in patient.findings(cure.rule, changed)]
    assert not [one for one in ill if (one["keyslot"], one["unverified"]) in after]


ERASES = re.compile(r"[Ee]rase (the )?keyslot|[Rr]emove (it|this one).*luksKillSlot")
ERASED = {rule for rule, text in remedy_texts.printed() if ERASES.search(text.replace("<kill_slot>", "luksKillSlot"))}
ERASED |= {rule for rule, text in remedy_texts.printed() if "<elsewhere>" in text or "<costs>" in text}
# No secret opens the first two. The third is of secrets that are known, and says which one stays.
OF_NO_USE = {"slot-zombie", "slot-unbound", "secret-duplicate"}


@pytest.mark.parametrize("volume", ["luks1.img", "luks2.img"])
@pytest.mark.parametrize("known", ["nothing", "untried", FIRE])
def test_no_remedy_erases_the_only_keyslot_that_may_open(volume: str, known: str, tmp_path: pathlib.Path) -> None:
    """Whatever is wrong with it: only what is proven to open another keyslot makes that safe."""
    given: Options = {"secrets": [secret(FIRE if known == FIRE else "nothing")]}
    if known == "untried":
        given["kdf_limits"] = {"iterations": 1, "memory": 1}
    seen = set()
    for case in (rule_cases.Case("slot-unknown", nothing, volume), *rule_cases.CASES):
        if case.rule not in ERASED - OF_NO_USE or case.volume != volume:
            continue
        patient = Patient(tmp_path, volume, {**case.options, **given})
        case.bad(patient.image)
        for finding in patient.findings(case.rule):
            if not ERASES.search(finding["remedy"]):
                continue
            seen.add(case.rule)
            table = audit(patient.image, **patient.options)["keyslots"]
            others = [row for row in table if row["opened_by"] and row["keyslot"] != finding["keyslot"]]
            said = ("another keyslot is proven to open the volume", "while another", "and another keyslot opens")
            assert bool(others) or any(one in finding["remedy"] for one in said), (case, finding)
    assert "slot-unknown" in seen and (volume == "luks1.img" or len(seen) >= 5), seen


@pytest.mark.parametrize("volume", ["luks1.img", "luks2.img"])
def test_what_the_header_claims_is_asked_before_a_keyslot_is_erased(volume: str, tmp_path: pathlib.Path) -> None:
    """A record and a token prove nothing, so that the finding stays; but what they say may be true."""
    patient = Patient(tmp_path, volume, {"secrets": [secret(FIRE)]})
    (plain,) = patient.findings("slot-unknown")
    assert "Ask the store first" in plain["remedy"] and "(audit_store)" in plain["remedy"]
    assert "but not before" not in plain["remedy"], "keyslot 1 is proven, and nobody claims keyslot 0"
    if volume == "luks1.img":
        return
    rotated(patient.image)
    rule_cases.token_with(3, "systemd-tpm2", 0)(patient.image)
    rule_cases.token_with(4, "of-nobody", 0)(patient.image)
    (claimed,) = patient.findings("slot-unknown")
    assert not claimed["unverified"]
    for said in (
        f"but not before the secret {NOW!r} was tried, which the record in the header names for it (audit_store",
        "token 3 of type 'systemd-tpm2' was asked for its secret (secrets: [{token: 3}])",
        "token 4 of type 'of-nobody' was asked for its secret",
    ):
        assert said in claimed["remedy"]
    stranger = stored(secret(FIRE, NOW.replace("1", "3")))
    (elsewhere,) = patient.findings("slot-unknown", {"stored": {**stranger, "current": NOW.replace("1", "3")}})
    assert elsewhere["remedy"].startswith("Find its owner") and f"the secret {NOW!r} was tried" in elsewhere["remedy"]
    image = patient.image.edit(
        lambda tree: tree["keyslots"]["0"]["kdf"].update(salt=base64.b64encode(b"s" * 32).decode())
    )
    (stale,) = [one for one in audit(image, secrets=[secret(FIRE)])["findings"] if one["rule"] == "slot-unknown"]
    assert NOW not in stale["remedy"], "another program has written the keyslot since"


@pytest.mark.needs("cryptsetup")
@pytest.mark.parametrize("said", [True, False])
def test_a_spare_keyslot_stays_one_if_the_entry_says_so(tmp_path: pathlib.Path, said: bool) -> None:
    policy = extended(minimum_costs={"pbkdf2": 1001, "argon2": {"time": 5, "memory": 32}})
    patient = Patient(tmp_path, "luks2.img", {"policy": policy})
    before = [one["remedy"] for one in patient.findings("kdf-cost")]
    assert before and not any("priority" in remedy for remedy in before)
    for keyslot in (0, 1):
        slot(keyslot, priority=0)(patient.image)
    assert {one["remedy"][-len(SPARE) :] for one in patient.findings("kdf-cost")} == {SPARE}
    patient.keyslots({**again(WINTER, **{**CHEAP, "time": 5}), **({"priority": "ignore"} if said else {})})
    assert len(patient.findings("kdf-cost")) == len(before) - 1
    dump = subprocess.run(
        ["cryptsetup", "luksDump", str(patient.image.path)], capture_output=True, text=True, check=True
    )
    assert dump.stdout.count("Priority:   ignored") == (2 if said else 1)


SPARE = "; it has priority ignore, so give priority: ignore too, or it is tried by default afterwards"
# A rotation is a play, which these tests of the roles judge.
IN_PLAYS = {
    ("store-missing", "Run the rotation of this volume again"): "test_audit_store.py::test_what_rotations_cure",
    ("store-older", "Run the rotation of this volume again"): "test_audit_store.py::test_what_rotations_cure",
    ("store-closed", "Find out what came back"): "test_audit_store.py::test_what_rotations_cure",
    ("store-given-out", "Run the rotation of this volume again"): "test_reveal.py::test_given_out_and_replaced",
    (
        "secret-shared",
        "Rotate with the role rotate",
    ): "test_audit_store.py::test_a_rotation_ends_sharing",
    (
        "store-staged",
        "Run the rotation of this volume again",
    ): "test_kills.py::test_controller_killed_before_each_phase",
}
# Why nobody can carry these out on a machine of ours.
NOBODY = {
    ("policy-accepted", "Review it with the policy"): "people review a reason",
    ("cve-2020-14382", "Do not attach this device"): "it says what not to do",
    ("requirement", "No action needed"): "there is nothing to do",
    ("requirement-unknown", "Find out which program set it"): "no program that exists knows the requirement",
    ("cipher-driver", "Find out who wrote it"): "whoever has an HSM with such a driver decides",
    ("grub-closed", "Move /boot to a partition of its own"): "the installation of a machine changes",
    ("enrol_anew", "Let the program that made the token"): "the type is one that nobody knows",
    ("restore", "No program restores the whole header of a qcow2"): "it is that of encrypt_anew",
    ("cipher-driver", "<new_slot>"): "cryptsetup refuses such a name here, so that no program could make the keyslot",
    ("secret-forbidden", "Make the store give its secrets"): "it is carried out for slot-unknown",
    ("store-closed", "Audit on a host where it can be tried"): "another host has other libraries",
    ("store-kept", "Audit on a host where it can be tried"): "another host has other libraries",
    ("store-older", "Audit on a host where it can be tried"): "another host has other libraries",
    ("store-older", "<elsewhere>"): "it is carried out for slot-unknown",
    ("store-older", "<remove_beneath>"): "it is carried out for secret-forbidden",
    ("secret-forbidden", "Audit on a host where it can be tried"): "another host has other libraries",
    ("write-obstacle", "Make a header backup and inspect"): "each obstacle of this release has a remedy of its own",
    ("write-obstacle", "Change its keyslots with cryptsetup"): "no drive of ours encrypts itself",
    ("write-obstacle", "Use a release of cryptsetup"): "no release supports what is unknown",
    ("write-obstacle", "Find out what the device is"): "people decide what a device with two signatures is",
    ("write-obstacle", "Back up the data and format"): "nothing of this collection formats a volume",
}


def test_every_remedy_is_carried_out_or_nobody_can() -> None:
    from ansible_collections.luksmith.luks.tests.interop import (  # noqa: F401  # they fill CARRIED
        test_audit_remedies,
        test_backing_chain,
        test_second_header,
    )
    from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit import (  # noqa: F401
        test_asked_tokens,
        test_backup_material,
    )

    by_cures = [(cure.rule, cure.text) for cure in CURES]
    by_cures += [row for row in remedy_texts.printed() if row[0] in {cure.also for cure in CURES}]
    carried = {*remedy_texts.CARRIED, *by_cures, *IN_PLAYS}
    wanted = remedy_texts.printed()

    def covered(row: remedy_texts.Row, by: t.Iterable[remedy_texts.Row]) -> bool:
        return any(name == row[0] and remedy_texts.covers(text, row[1]) for name, text in by)

    assert not [row for row in sorted(wanted) if not covered(row, {*carried, *NOBODY})]
    assert not [row for row in sorted(wanted) if covered(row, carried) and covered(row, NOBODY)]
    stale = [row for row in {*carried, *NOBODY} if not any(covered(one, [row]) for one in remedy_texts.printed(True))]
    assert not stale
    folder = pathlib.Path(__file__).parents[5] / "rotation"
    for named in IN_PLAYS.values():
        name, test = named.split("::")
        assert f"def {test}(" in (folder / name).read_text()
