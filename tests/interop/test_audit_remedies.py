# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A remedy that an audit names is carried out with the program that it names, and the finding goes.

The commands are taken from the remedy itself, with names of files in the place of the words in capitals.
"""

from __future__ import annotations

import json
import pathlib
import re
import shlex
import shutil
import subprocess
import types
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit import rules
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit import audit as run_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit_task import parse_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.tokens import decoded
from ansible_collections.luksmith.luks.plugins.module_utils._luks.crypto import host
from ansible_collections.luksmith.luks.plugins.module_utils._luks.fixtures.tokens import luks2_token
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend as keyslots_run
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header_locked
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data, fleet_rules
from ansible_collections.luksmith.luks.tests import needs
from ansible_collections.luksmith.luks.tests.interop import tpm as tpms
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume, run
from ansible_collections.luksmith.luks.tests.interop.module_process import run_module
from ansible_collections.luksmith.luks.tests.interop.test_clevis import CLEVIS, MACHINE, bind, tang
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import WINTER, Image
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.remedy_texts import carries, noted

pytestmark = pytest.mark.needs("cryptsetup", "qemu-img")

SECRET = {"label": "admin", "passphrase": "old"}


class Lab:
    """One volume in ``folder``; ``header``: of a detached one."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.path = folder / "IMAGE"
        self.header: t.Optional[pathlib.Path] = None
        self.secret = SECRET
        for name in ("old", "new"):  # the same, so that the audit opens the new image with it, too
            (folder / name).write_text("old")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        program = shutil.which(command[0], path=needs.SEARCH_PATH) or command[0]
        words = [program, *command[1:]]
        for _attempt in range(100):
            done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False)
            if "accurate CPU usage" not in done.stderr:  # see qemu_image.create
                break
        return done

    def qemu(self, kind: str, *options: str) -> Lab:
        prefix = "encrypt." if kind == "qcow2" else ""
        given = [f"{prefix}key-secret=s", f"{prefix}iter-time=10", *(prefix + option for option in options)]
        if kind == "qcow2":
            given.append("encrypt.format=luks")
        made = self.run(
            *("qemu-img", "create", "-q", "--object", "secret,id=s,file=old", "-f", kind),
            *("-o", ",".join(given), "IMAGE", "1M"),
        )
        assert made.returncode == 0, made.stderr
        return self

    def luks(self, *options: str, detached: bool = False) -> Lab:
        self.path.write_bytes(bytes(20 << 20))
        if detached:
            self.header = self.folder / "HEADER"
            self.header.write_bytes(bytes(4 << 20))
        where = ["--header", "HEADER"] if detached else []
        pbkdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
        made = self.run("cryptsetup", "luksFormat", "-q", *pbkdf, *where, *options, "IMAGE", "old")
        assert made.returncode == 0, made.stderr
        return self

    def audit(self, given: t.Optional[t.Dict[str, t.Any]] = None, **policy: t.Any) -> t.Dict[str, t.Any]:
        """Rule -> finding; what could not be verified is one, too. given: other options of the module."""
        header = {"header": str(self.header)} if self.header else {}
        asked = {"policy": {"extends": "legacy", **policy}, "secrets": [self.secret], **header, **(given or {})}
        task = parse_audit({"device": str(self.path), **asked})
        try:
            result = run_audit(task)
        finally:
            task.wipe_secrets()
        return noted({one["rule"]: one for one in (*result["findings"], *result["unverified"])})

    def result(self) -> t.Dict[str, t.Any]:
        """What the module says of it."""
        task = parse_audit({"device": str(self.path), "policy": "legacy", "secrets": [self.secret]})
        try:
            return run_audit(task)
        finally:
            task.wipe_secrets()

    def rekey(self, **pbkdf: t.Any) -> None:
        self.keyslots({"old_secret": SECRET, "new_secret": SECRET, "pbkdf": pbkdf})

    def keyslots(self, *entries: t.Dict[str, t.Any]) -> None:
        """What luksmith.luks.keyslots does."""
        header = {"header": str(self.header)} if self.header else {}
        task = parse_task({"device": str(self.path), "keyslots": list(entries), "unlock": [self.secret], **header})
        try:
            keyslots_run.amend(task, check=False)
        finally:
            task.wipe_secrets()

    def carry_out(self, remedy: str, *more: str) -> None:
        """Run the command in quotes of ``remedy``; ``more``: so that a test is fast."""
        command = re.findall(r"'((?:qemu-img|cryptsetup|luksmeta) [^']*)'", remedy)[0]
        words = {"OLD": "old", "NEW": "new", "DEVICE": "IMAGE", "the file of the header": "HEADER"}
        for word, name in words.items():
            command = re.sub(rf"(?<![A-Z_]){word}(?![A-Z_])", name, command)
        done = self.run(*shlex.split(command), *more)
        assert done.returncode == 0, (command, done.stderr)
        if (self.folder / "NEW_IMAGE").exists():
            (self.folder / "NEW_IMAGE").replace(self.path)


class _Edited(Image):
    """An image that is there already."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path


FEW = ("-q", "--key-file", "old", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--force-offline-reencrypt")
ANEW = (
    "-q",
    "--key-file",
    "old",
    "--pbkdf",
    "pbkdf2",
    "--iter-time",
    "10",
    "--force-offline-reencrypt",
    "--disable-locks",
)
GOOD_SLOT = ("--keyslot-cipher", "aes-xts-plain64", "--keyslot-key-size", "512")
BAD_SLOT = ("--keyslot-cipher", "aes-cbc-essiv:sha256", "--keyslot-key-size", "256")
# Only root may write to the folder of the locks; nothing else knows the image of a test.
UNLOCKED = "--disable-locks"


class TestQcow2:
    @carries(("format", "<other_format>"), ("other_format", "QEMU knows only LUKS1"))
    def test_its_format_cannot_change_so_the_policy_does(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).qemu("qcow2")
        remedy = lab.audit(formats=["luks2"])["format"]["remedy"]
        assert "convert" not in remedy and "formats" in remedy and "minimum_costs" in remedy
        assert "format" not in lab.audit(formats=["luks1"], minimum_costs={"pbkdf2": 1000})

    @carries(("kdf-cost", "<costs>"), ("rekey", "Set its secret again"))
    def test_costs(self, tmp_path: pathlib.Path) -> None:
        """QEMU measures the costs of each image that it makes: more than 5 s."""
        lab = Lab(tmp_path).qemu("qcow2")
        strict = {"minimum_costs": {"pbkdf2": 300000}}
        assert "luksmith.luks.keyslots" in lab.audit(**strict)["kdf-cost"]["remedy"]
        lab.rekey(iterations=300000)
        assert "kdf-cost" not in lab.audit(**strict)
        assert lab.run("qemu-img", "info", "IMAGE").returncode == 0

    @carries(("key-size", "<encrypt_anew>"), ("encrypt_anew", "Close the image"))
    def test_key_size(self, tmp_path: pathlib.Path) -> None:
        """QEMU measures the costs of each image that it makes: more than 5 s."""
        lab = Lab(tmp_path).qemu("qcow2", "cipher-alg=aes-128")
        lab.carry_out(lab.audit(minimum_key_size=64)["key-size"]["remedy"], "-o", "encrypt.iter-time=10")
        assert "key-size" not in lab.audit(minimum_key_size=64)
        assert '"format": "qcow2"' in lab.run("qemu-img", "info", "--output=json", "IMAGE").stdout


class TestRawImageOfQemu:
    @carries(("other_format", "QEMU knows only LUKS1"))
    def test_cryptsetup_cannot_convert_it(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).qemu("luks")
        assert lab.run("cryptsetup", "convert", "-q", "--type", "luks2", "IMAGE").returncode != 0
        remedy = lab.audit(formats=["luks2"])["format"]["remedy"]
        assert "cryptsetup convert" not in remedy and "no room" in remedy
        assert "format" not in lab.audit(formats=["luks1"], minimum_costs={"pbkdf2": 1000})

    @carries(("hash-weak", "<encrypt_anew>"), ("kdf-hash", "<other_hash>"))
    def test_hash(self, tmp_path: pathlib.Path) -> None:
        """QEMU measures the costs of each image that it makes: more than 5 s."""
        lab = Lab(tmp_path).qemu("luks", "hash-alg=sha1")
        asked = {"kdf_hashes": ["sha256"]}
        assert "qemu-img convert" in lab.audit(**asked)["kdf-hash"]["remedy"]
        lab.carry_out(lab.audit()["hash-weak"]["remedy"], "-o", "iter-time=10")
        assert not {"hash-weak", "kdf-hash"} & set(lab.audit(**asked))

    @carries(("cipher-weak", "<encrypt_anew>"), ("encrypt_anew", "Close the image"))
    def test_cipher(self, tmp_path: pathlib.Path) -> None:
        """QEMU measures the costs of each image that it makes: more than 5 s."""
        lab = Lab(tmp_path).qemu("luks", "cipher-mode=cbc", "ivgen-alg=plain64")
        lab.carry_out(lab.audit()["cipher-weak"]["remedy"], "-o", "iter-time=10")
        assert "cipher-weak" not in lab.audit()


class TestVolume:
    @pytest.mark.parametrize("detached", [False, True])
    @carries(
        ("format", "<other_format>"),
        ("other_format", "Make a header backup{} DEVICE'"),
        ("other_format", "Make a header backup{} the file of the header'"),
    )
    def test_format(self, tmp_path: pathlib.Path, detached: bool) -> None:
        lab = Lab(tmp_path).luks("--type", "luks1", detached=detached)
        remedy = lab.audit(formats=["luks2"])["format"]["remedy"]
        lab.carry_out(remedy, "-q")
        assert "format" not in lab.audit(formats=["luks2"])

    @carries(("rekey", "Set its secret again{}; its header is detached"))
    def test_costs_of_a_detached_header(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).luks("--type", "luks2", detached=True)
        strict = {"minimum_costs": {"pbkdf2": 2000}}
        assert "give header too" in lab.audit(**strict)["kdf-cost"]["remedy"]
        lab.rekey(iterations=2000)
        assert "kdf-cost" not in lab.audit(**strict)

    @carries(
        ("key-size", "<encrypt_anew>"), ("encrypt_anew", "Encrypt the data anew with 'cryptsetup reencrypt {} DEVICE'")
    )
    def test_key_size(self, tmp_path: pathlib.Path) -> None:
        """Of LUKS2, as cryptsetup needs the device mapper for LUKS1."""
        lab = Lab(tmp_path).luks("--type", "luks2", "--key-size", "256")
        remedy = lab.audit(minimum_key_size=64)["key-size"]["remedy"]
        assert "--force-offline-reencrypt" in remedy
        lab.carry_out(remedy, *FEW, UNLOCKED)
        assert "key-size" not in lab.audit(minimum_key_size=64)

    @pytest.mark.parametrize(
        ("rule", "made", "asked"),
        [
            ("cipher", ["--cipher", "aes-cbc-essiv:sha256", "--key-size", "256"], {"ciphers": ["aes-xts-plain64"]}),
            pytest.param(
                "cipher-weak",
                ["--cipher", "aes-cbc-plain64", "--key-size", "256", *GOOD_SLOT],
                {},
                marks=pytest.mark.full,
            ),
            pytest.param("digest-weak", [], {"minimum_digest_iterations": 2000}, marks=pytest.mark.full),
            pytest.param("volume-key-padded", ["--volume-key-file", "padded"], {}, marks=pytest.mark.full),
        ],
    )
    @carries(
        ("cipher", "<encrypt_anew>"),
        ("cipher-weak", "<encrypt_anew>"),
        ("digest-weak", "<encrypt_anew>: no program"),
        ("volume-key-padded", "<encrypt_anew>. Find out"),
    )
    def test_a_new_volume_key(self, tmp_path: pathlib.Path, rule: str, made: t.List[str], asked: t.Any) -> None:
        (tmp_path / "padded").write_bytes(bytes(range(1, 49)) + bytes(16))
        lab = Lab(tmp_path).luks("--type", "luks2", "--key-size", "512", *made)
        lab.carry_out(lab.audit(**asked)[rule]["remedy"], *ANEW)
        assert rule not in lab.audit(**asked)

    @carries(("hash-weak", "<encrypt_anew>. A conversion"), ("kdf-hash", "<encrypt_anew>"))
    def test_the_digest_of_a_converted_volume(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).luks("--type", "luks1", "--hash", "sha1")
        done = lab.run("cryptsetup", "convert", "-q", "--type", "luks2", UNLOCKED, "IMAGE")
        assert done.returncode == 0, done.stderr
        lab.rekey(type="pbkdf2", hash="sha256", iterations=1000)
        asked = {"kdf_hashes": ["sha256"]}
        lab.carry_out(lab.audit(**asked)["hash-weak"]["remedy"], *ANEW)
        assert not {"hash-weak", "kdf-hash"} & set(lab.audit(**asked))

    @carries(("fips-keyslot", "On a host that is not in FIPS mode: <encrypt_anew>"))
    def test_a_digest_that_no_host_in_fips_mode_has(
        self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lab = Lab(tmp_path).luks("--type", "luks2", "--hash", "blake2b-512")
        flag = tmp_path / "proc" / "sys" / "crypto" / "fips_enabled"
        flag.parent.mkdir(parents=True)
        flag.write_text("1")
        monkeypatch.setattr(host, "PROC", str(tmp_path / "proc"))
        lab.carry_out(lab.audit()["fips-keyslot"]["remedy"], "--force-offline-reencrypt", "-q", "-d", "old", *FAST)
        assert "fips-keyslot" not in lab.audit()

    @carries(("encrypt_anew", "Encrypt the data anew with 'cryptsetup reencrypt --header HEADER"))
    def test_a_new_volume_key_of_a_detached_header(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).luks("--type", "luks2", "--key-size", "256", detached=True)
        lab.carry_out(lab.audit(minimum_key_size=64)["key-size"]["remedy"], *FEW, UNLOCKED)
        assert "key-size" not in lab.audit(minimum_key_size=64)

    @carries(("new_slot", "Add another secret{}; its header is detached"))
    def test_how_a_keyslot_of_a_detached_header_is_encrypted(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).luks("--type", "luks2", *BAD_SLOT, detached=True)
        asked = {"keyslot_ciphers": ["aes-xts-plain64"]}
        assert "Add another secret" in lab.audit(**asked)["keyslot-cipher"]["remedy"]
        lab.keyslots({"new_secret": SPARE, "pbkdf": CHEAP}, {"state": "absent", "old_secret": SECRET})
        assert "keyslot-cipher" not in lab.audit({"secrets": [SPARE]}, **asked)

    @carries(("restore", "Restore a header backup"))
    def test_a_detached_header_is_replaced(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).luks("--type", "luks2", detached=True)
        assert lab.header is not None
        (tmp_path / "BACKUP").write_bytes(lab.header.read_bytes())
        _Edited(lab.header).edit(lambda tree: tree.update({"vendor": {}}))
        lab.carry_out(lab.audit()["metadata-unknown"]["remedy"], "-q", UNLOCKED)
        assert "metadata-unknown" not in lab.audit()

    @carries(("other_format", "Allow luks2"))
    def test_no_volume_becomes_luks1(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).luks("--type", "luks2")
        assert "formats" in lab.audit(formats=["luks1"])["format"]["remedy"]
        assert "format" not in lab.audit(formats=["luks1", "luks2"])


CHEAP = {"type": "pbkdf2", "iterations": 1000}
DEAR = {"type": "argon2id", "time": 4, "memory": 32, "parallel": 1}
FAST = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--disable-locks")
SPARE = {"label": "spare", "passphrase": "spare-of-the-safe"}


class TestKeyslots:
    """What luksmith.luks.keyslots does for a remedy that names it, or a number to erase."""

    @pytest.fixture
    def lab(self, tmp_path: pathlib.Path) -> Lab:
        lab = Lab(tmp_path).luks("--type", "luks2", UNLOCKED)
        (tmp_path / "spare").write_text(SPARE["passphrase"])
        return lab

    def add(self, lab: Lab, *options: str, file: str = "spare") -> None:
        done = lab.run("cryptsetup", "luksAddKey", "-q", *FAST, *options, "-d", "old", "IMAGE", file)
        assert done.returncode == 0, done.stderr

    def erase(self, lab: Lab, finding: t.Mapping[str, t.Any]) -> None:
        number = int(re.findall(r"[Ee]rase (?:all but )?keyslot (\d+)", finding["remedy"])[0])
        if "all but" in finding["remedy"]:
            number = finding["keyslot"]
        lab.keyslots({"state": "absent", "keyslot": number})

    @carries(("secret-forbidden", "Remove it with"))
    def test_a_forbidden_secret(self, lab: Lab) -> None:
        self.add(lab)
        given = {"forbidden_secrets": [SPARE]}
        assert "state: absent, old_secret" in lab.audit(given)["secret-forbidden"]["remedy"]
        lab.keyslots({"state": "absent", "old_secret": SPARE})
        assert "secret-forbidden" not in lab.audit(given)

    @pytest.mark.parametrize(
        ("rule", "key"), [("label-missing", "required_labels"), ("recovery-missing", "recovery_labels")]
    )
    @carries(("label-missing", "Add it with"), ("recovery-missing", "Add one of them"))
    def test_a_secret_that_is_missing(self, lab: Lab, rule: str, key: str) -> None:
        given = {"secrets": [SECRET, SPARE]}
        assert "luksmith.luks.keyslots" in lab.audit(given, **{key: ["spare"]})[rule]["remedy"]
        lab.keyslots({"new_secret": SPARE, "pbkdf": CHEAP})
        assert rule not in lab.audit(given, **{key: ["spare"]})

    @carries(("slot-unknown", "Ask the store first"))
    def test_a_keyslot_of_nobody(self, lab: Lab) -> None:
        self.add(lab)
        self.erase(lab, lab.audit()["slot-unknown"])
        assert "slot-unknown" not in lab.audit()

    @carries(("secret-duplicate", "Erase all but"))
    def test_a_secret_in_two_keyslots(self, lab: Lab) -> None:
        self.add(lab, file="new")
        self.erase(lab, lab.audit()["secret-duplicate"])
        assert "secret-duplicate" not in lab.audit() and lab.audit().keys().isdisjoint({"slot-unknown", "no-keyslot"})

    @carries(("slot-zombie", "Erase keyslot"))
    def test_a_keyslot_that_is_wiped(self, lab: Lab) -> None:
        self.add(lab)
        tree = json.loads(lab.run("cryptsetup", "luksDump", "--dump-json-metadata", UNLOCKED, "IMAGE").stdout)
        area = tree["keyslots"]["1"]["area"]
        with lab.path.open("r+b") as file:
            file.seek(int(area["offset"]))
            file.write(bytes(int(area["size"])))
        self.erase(lab, lab.audit()["slot-zombie"])
        assert "slot-zombie" not in lab.audit()

    @carries(("slot-ignored", "Allow it in the policy"))
    def test_a_keyslot_that_is_ignored(self, lab: Lab) -> None:
        self.add(lab)
        done = lab.run("cryptsetup", "config", UNLOCKED, "--key-slot", "1", "--priority", "ignore", "IMAGE")
        assert done.returncode == 0, done.stderr
        self.erase(lab, lab.audit()["slot-ignored"])
        assert "slot-ignored" not in lab.audit()

    @carries(("slot-unbound", "Erase keyslot"))
    def test_a_keyslot_for_no_data(self, lab: Lab) -> None:
        self.add(lab, "--unbound", "--key-size", "512")
        self.erase(lab, lab.audit()["slot-unbound"])
        assert "slot-unbound" not in lab.audit()

    @carries(("secret-forbidden", "Remove it by its number"))
    def test_a_forbidden_secret_of_a_keyslot_for_no_data(self, lab: Lab) -> None:
        self.add(lab, "--unbound", "--key-size", "512")
        given = {"forbidden_secrets": [SPARE]}
        found = lab.audit(given)["secret-forbidden"]
        assert "a key that is not the volume's" in found["message"]
        lab.keyslots({"state": "absent", "keyslot": found["keyslot"]})
        assert "secret-forbidden" not in lab.audit(given)

    @carries(("grub-closed", "{}, or move /boot"))
    def test_grub(self, lab: Lab) -> None:
        lab.rekey(type="argon2id", time=4, memory=32, parallel=1)
        assert "pbkdf: {type: pbkdf2, hash: sha256}" in lab.audit(opened_by_grub=True)["grub-closed"]["remedy"]
        lab.rekey(**CHEAP, hash="sha256")
        assert "grub-closed" not in lab.audit(opened_by_grub=True)

    @carries(("kdf-type", "<other_kdf>"))
    def test_kdf_type(self, lab: Lab) -> None:
        asked = {"kdf_types": ["argon2id"], "minimum_costs": {"argon2": {"time": 4, "memory": 32}}}
        assert "luksmith.luks.keyslots" in lab.audit(**asked)["kdf-type"]["remedy"]
        lab.rekey(type="argon2id", time=4, memory=32, parallel=1)
        assert "kdf-type" not in lab.audit(**asked)

    @pytest.mark.parametrize(("rule", "asked"), [("hash-weak", {}), ("kdf-hash", {"kdf_hashes": ["sha256"]})])
    @carries(("hash-weak", "<rekey>"), ("kdf-hash", "<other_hash>"))
    def test_hashes(self, lab: Lab, rule: str, asked: t.Any) -> None:
        done = lab.run("cryptsetup", "luksConvertKey", "-q", *FAST, "--hash", "sha1", "-d", "old", "IMAGE")
        assert done.returncode == 0, done.stderr
        assert "luksmith.luks.keyslots" in lab.audit(**asked)[rule]["remedy"]
        lab.rekey(**CHEAP, hash="sha256")
        assert rule not in lab.audit(**asked)

    @pytest.mark.parametrize(
        ("rule", "asked"),
        [
            ("keyslot-cipher", {"keyslot_ciphers": ["aes-xts-plain64"]}),
            ("keyslot-key-size", {"minimum_keyslot_key_size": 64}),
        ],
    )
    @carries(("keyslot-cipher", "<new_slot>"), ("keyslot-key-size", "<new_slot>"), ("new_slot", "Add another secret"))
    def test_how_a_keyslot_is_encrypted(self, lab: Lab, rule: str, asked: t.Any) -> None:
        done = lab.run("cryptsetup", "luksConvertKey", "-q", *FAST, *BAD_SLOT, "-d", "old", "IMAGE")
        assert done.returncode == 0, done.stderr
        assert "Add another secret and remove this one (state: absent)" in lab.audit(**asked)[rule]["remedy"]
        lab.keyslots({"new_secret": SPARE, "pbkdf": CHEAP}, {"state": "absent", "old_secret": SECRET})
        assert rule not in lab.audit({"secrets": [SPARE]}, **asked)

    @carries(("secret-age", "Replace its secret"))
    def test_an_age_that_nobody_knows(self, lab: Lab) -> None:
        assert "Replace its secret" in lab.audit(maximum_age_days=30)["secret-age"]["remedy"]
        lab.keyslots({"old_secret": SECRET, "new_secret": SPARE, "pbkdf": CHEAP})
        assert "secret-age" not in lab.audit({"secrets": [SPARE]}, maximum_age_days=30)

    @carries(("backup-missing", "Create one"), ("backup-older", "Create a new backup"))
    def test_a_backup(self, lab: Lab) -> None:
        path = str(lab.folder / "BACKUP")
        assert "luksmith.luks.header_backup" in lab.audit(require_backup=True)["backup-missing"]["remedy"]
        run_module("header_backup", {"device": str(lab.path), "path": path})
        given = {"backups": [path]}
        assert not {"backup-missing", "backup-older"} & set(lab.audit(given, require_backup=True))
        lab.keyslots({"new_secret": SPARE, "pbkdf": CHEAP})
        assert "luksmith.luks.header_backup" in lab.audit(given)["backup-older"]["remedy"]
        pathlib.Path(path).unlink()
        run_module("header_backup", {"device": str(lab.path), "path": path})
        assert not {"backup-older", "backup-outdated"} & set(lab.audit(given, require_backup=True))


class TestHeader:
    @carries(("header-copy", "Make a header backup"))
    def test_a_damaged_copy(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).luks("--type", "luks2", UNLOCKED)
        with lab.path.open("r+b") as file:
            file.seek(16384 + 4096)
            file.write(b"damage")
        assert "run luksmith.luks.keyslots with a change" in lab.audit()["header-copy"]["remedy"]
        lab.rekey(type="pbkdf2", iterations=1001)
        assert "header-copy" not in lab.audit()

    @carries(("reencryption", "Finish it"), ("write-obstacle", "Finish it with"))
    def test_a_reencryption_that_was_begun(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).luks("--type", "luks2", UNLOCKED)
        begun = lab.run("cryptsetup", "reencrypt", "--init-only", *FEW, UNLOCKED, "IMAGE")
        assert begun.returncode == 0, begun.stderr
        found = lab.audit()
        others = {one["remedy"] for rule, one in found.items() if one["keyslot"] is not None and rule != "reencryption"}
        assert others == {rules.FINISH_FIRST}
        remedy = found["reencryption"]["remedy"]
        assert "--force-offline-reencrypt" in remedy
        lab.carry_out(remedy, "-q", "-d", "old", UNLOCKED, "--force-offline-reencrypt")
        assert "reencryption" not in lab.audit()


class TestToken:
    """What a TPM or a server must do is named; what the header needs is done."""

    def lab(self, folder: pathlib.Path, token: t.Dict[str, t.Any]) -> Lab:
        lab = Lab(folder)
        image = Image(lab.path, "luks2.img")
        image.edit(lambda tree: tree["tokens"].update({"0": token}))
        return lab

    @carries(("costs", "If the random key"), ("kdf-cost", "<costs>"), ("kdf-type", "<other_kdf>"))
    def test_costs_are_the_business_of_the_program_that_enrolled(self, tmp_path: pathlib.Path) -> None:
        """It has no option for them: enrolled anew, the keyslot would cost the same."""
        lab = self.lab(tmp_path, luks2_token("systemd-tpm2", 1))
        lab.secret = {"label": "admin", "passphrase": WINTER}
        dear: t.Dict[str, t.Any] = {"argon2": {"time": 4, "memory": 33}}
        for policy in ({"kdf_types": ["argon2i"]}, {"kdf_types": ["argon2id"]}):
            found = lab.audit(minimum_costs=dear, **policy)
            for rule in {"kdf-cost", "kdf-type"} & set(found):
                assert found[rule]["keyslot"] == 1 or "systemd-tpm2" not in found[rule]["remedy"]
        assert "minimum_costs: {tokens: {systemd-tpm2: 1000}}" in found["kdf-cost"]["remedy"]
        lab.keyslots({"old_secret": lab.secret, "new_secret": lab.secret, "pbkdf": {**DEAR, "memory": 33}})
        said = lab.audit(minimum_costs={**dear, "tokens": {"systemd-tpm2": 1000}}, kdf_types=["argon2id"])
        assert not {"kdf-cost", "kdf-type"} & set(said)

    @pytest.mark.parametrize("name", ["token-malformed", "token-dangling"])
    @carries(
        ("token-malformed", "Remove it"), ("token-dangling", "Remove it"), ("remove_token", "'cryptsetup token remove")
    )
    def test_a_token_that_unlocks_nothing_is_removed(self, tmp_path: pathlib.Path, name: str) -> None:
        whole = luks2_token("systemd-tpm2", 0)
        lab = self.lab(tmp_path, whole if name == "token-dangling" else {**whole, "tpm2-blob": ""})
        lab.secret = {"label": "admin", "passphrase": WINTER}
        lab.carry_out(lab.audit()[name]["remedy"])
        assert name not in lab.audit()

    @carries(("token-orphan", "If it is not needed, remove it: <remove_token>"))
    def test_a_token_of_no_keyslot(self, tmp_path: pathlib.Path) -> None:
        lab = self.lab(tmp_path, {"type": "of-nobody", "keyslots": []})
        lab.carry_out(lab.audit()["token-orphan"]["remedy"], UNLOCKED)
        assert "token-orphan" not in lab.audit()

    @carries(("token-doubled", "Ask each of them alone"))
    def test_two_tokens_of_one_keyslot(self, tmp_path: pathlib.Path) -> None:
        lab = self.lab(tmp_path, luks2_token("systemd-tpm2", 1))
        _Edited(lab.path).edit(lambda tree: tree["tokens"].update({"3": tree["tokens"]["0"]}))
        remedy = lab.audit()["token-doubled"]["remedy"]
        lab.carry_out(remedy.replace("--token-id N ", "--token-id 3 "), UNLOCKED)
        assert "token-doubled" not in lab.audit()


def of_cryptsetup(folder: pathlib.Path, **properties: t.Any) -> t.Tuple[Lab, Luks2Volume]:
    """A laboratory with a volume that is like one which cryptsetup made, with these properties."""
    lab = Lab(folder)
    lab.secret = {"label": "admin", "passphrase": "pw0"}
    return lab, Luks2Volume(lab.path).like(**properties)


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    with tpms.tpm(tmp_path_factory.mktemp("tpm")) as device:
        yield device


class TestTpm:
    @tpms.needs_tpm
    @pytest.mark.xdist_group("tpm")
    @pytest.mark.parametrize(("rule", "pcrs"), [("tpm2-unconditional", ""), ("tpm2-sha1", "7:sha1")])
    @carries(("tpm2-unconditional", "<enrol_anew>"), ("tpm2-sha1", "<enrol_anew>"), ("enrol_anew", "Enrol it anew"))
    def test_what_the_tpm_asks_for(self, tmp_path: pathlib.Path, tpm: str, rule: str, pcrs: str) -> None:
        """systemd 252 takes the bank of SHA-1 only where the TPM has no other one, so that its token is edited; and it
        enrols nothing where a token has the same PCRs and values already.
        """
        lab, volume = of_cryptsetup(tmp_path)
        tpms.enrol(volume, tpm, pcrs="" if rule == "tpm2-unconditional" else "7")
        if pcrs:
            _Edited(lab.path).edit(lambda tree: tree["tokens"]["0"].update({"tpm2-pcr-bank": "sha1"}))
        remedy = lab.audit()[rule]["remedy"]
        (command,) = re.findall(r"'(systemd-cryptenroll [^']*)'", remedy)
        assert "--tpm2-pcrs" in remedy
        words = [word for word in shlex.split(command.replace("DEVICE", str(lab.path))) if "--tpm2-device" not in word]
        run(*words, f"--tpm2-device={tpm}", "--tpm2-pcrs=0+7", PASSWORD="pw0")
        assert rule not in lab.audit()


class TestClevis:
    @pytest.mark.needs("clevis", "socat", "tangd", "luksmeta")
    @carries(("clevis-renew", "<enrol_anew>"), ("enrol_anew", "Bind it anew"))
    def test_a_retired_tang_key(self, tmp_path: pathlib.Path) -> None:
        """The server has another key, so that a new binding trusts that one."""
        lab, volume = of_cryptsetup(tmp_path)
        with tang(tmp_path) as url:
            bind(volume, "luks2", "tang", json.dumps({"url": url}))
            asked = {"retired_tang_keys": sorted(tang_keys(lab.path))}
            remedy = lab.audit(**asked)["clevis-renew"]["remedy"]
            assert "clevis luks unbind" in remedy and "clevis luks bind" in remedy
            for old in (tmp_path / "tang").glob("*.jwk"):
                old.rename(old.with_name("." + old.name))
            subprocess.run(["/usr/libexec/tangd-keygen", str(tmp_path / "tang")], check=True, capture_output=True)
            run("clevis", "luks", "unbind", "-f", "-d", lab.path, "-s", "1")
            (tmp_path / "pw0").write_text("pw0")
            config = json.dumps({"url": url})
            run("clevis", "luks", "bind", "-f", "-y", "-k", tmp_path / "pw0", "-d", lab.path, "tang", config)
            assert "clevis-renew" not in lab.audit(**asked)
            assert tang_keys(lab.path)

    @carries(("enrol_anew", "Bind it anew"), ("rekey", "<enrol_anew>"))
    @pytest.mark.needs("clevis", "socat", "tangd", "luksmeta")
    def test_a_binding_is_made_anew_by_the_program_that_made_it(self, tmp_path: pathlib.Path) -> None:
        """Here for a keyslot with a weak hash; -q, because nobody answers the question whether to trust the keys."""
        lab, volume = of_cryptsetup(tmp_path)
        with tang(tmp_path) as url:
            bind(volume, "luks2", "tang", json.dumps({"url": url}))
            (tmp_path / "machine").write_text(MACHINE)
            weak = ("luksConvertKey", "-q", *FAST, "--hash", "sha1", "-S", "1", "-d", "machine", "IMAGE")
            done = lab.run("cryptsetup", *weak)
            assert done.returncode == 0, done.stderr
            (command,) = re.findall(r"'(clevis luks regen [^']*)'", lab.audit()["hash-weak"]["remedy"])
            done = lab.run(*command.replace("DEVICE", "IMAGE").split(), "-q")
            assert done.returncode == 0, done.stderr
            assert "hash-weak" not in lab.audit()

    @pytest.mark.parametrize("kind", ["luks1", "luks2"])
    @carries(("slot-unknown", "Ask the store first"), ("but_first", ", but not before {}"))
    @pytest.mark.needs("clevis", "socat", "tangd", "luksmeta")
    def test_the_binding_is_asked_before_its_keyslot_is_erased(self, tmp_path: pathlib.Path, kind: str) -> None:
        lab, volume = of_cryptsetup(tmp_path, type=kind)
        with tang(tmp_path) as url:
            bind(volume, kind, "tang", json.dumps({"url": url}))
            remedy = lab.audit()["slot-unknown"]["remedy"]
            (token,) = re.findall(r"\(secrets: \[\{token: (\d+)\}\]\)", remedy)
            assert "slot-unknown" not in lab.audit({"secrets": [lab.secret, {"token": int(token)}]})

    @carries(("remove_token", "'luksmeta wipe"))
    @pytest.mark.needs("clevis", "luksmeta")
    def test_an_entry_of_luksmeta_whose_keyslot_is_gone(self, tmp_path: pathlib.Path) -> None:
        lab, volume = of_cryptsetup(tmp_path, type="luks1")
        bind(volume, "luks1")
        done = lab.run("cryptsetup", "luksKillSlot", "-q", "IMAGE", "1")
        assert done.returncode == 0, done.stderr
        lab.carry_out(lab.audit()["token-dangling"]["remedy"], "-f")
        assert "token-dangling" not in lab.audit()

    @pytest.mark.needs("clevis", "luksmeta")
    @pytest.mark.parametrize("forged", [True, False])
    def test_bytes_that_are_no_binding_excuse_nothing(self, tmp_path: pathlib.Path, forged: bool) -> None:
        """A policy believes a token of Clevis; whoever can write the header can write any bytes as one."""
        lab, volume = of_cryptsetup(tmp_path, type="luks1")
        bind(volume, "luks1")
        if forged:
            run("luksmeta", "wipe", "-f", "-d", volume.path, "-s", 1)
            run("luksmeta", "save", "-d", volume.path, "-s", 1, "-u", CLEVIS, stdin="a.b.c.d.e")
        found = lab.audit(minimum_costs={"pbkdf2": 9000000, "tokens": {"clevis": 1000}})
        assert ("token-malformed" in found, "slot-unknown" in found) == (forged, forged)


class TestClone:
    @pytest.mark.parametrize("own_uuid", [False, True])
    @carries(("clone", "Encrypt one of them anew"), ("clone", "Find out which is the clone"))
    def test_a_copy_becomes_a_volume_of_its_own(self, tmp_path: pathlib.Path, own_uuid: bool) -> None:
        """A copy with a uuid of its own is found by its volume key, and the other one first by that, then by the
        uuid.
        """
        for name in ("one", "copy"):
            (tmp_path / name).mkdir()
        one, copy = Lab(tmp_path / "one").luks("--type", "luks2", "--key-size", "512"), Lab(tmp_path / "copy")
        copy.path.write_bytes(one.path.read_bytes())

        def command(name: str, remedy: str, *more: str) -> None:
            (words,) = re.findall(rf"'(cryptsetup {name}[^']*)'", remedy)
            given = words.replace("UUID DEVICE", "12345678-1234-4234-8234-123456789abc IMAGE").replace(
                "DEVICE", "IMAGE"
            )
            done = copy.run(*shlex.split(given), *more, UNLOCKED)
            assert done.returncode == 0, done.stderr

        def found() -> t.List[t.Dict[str, t.Any]]:
            hosts = [
                {"host": name, "volumes": [{**lab.result(), "device": "/dev/vda1"}]}
                for name, lab in (("one", one), ("copy", copy))
            ]
            report = data.build(hosts)["hosts"]
            clones = [item for host in report for item in host["volumes"][0]["findings"] if item["rule"] == "clone"]
            noted({item["rule"]: item for item in clones})
            return clones

        if own_uuid:
            command("luksUUID", fleet_rules._OWN_UUID, "-q")
        both = found()
        assert len(both) == 2 and "volume key" in both[0]["message"]
        command("reencrypt", both[0]["remedy"], *FEW)
        if not own_uuid:
            both = found()
            assert len(both) == 2 and "has the uuid of" in both[0]["message"]
            command("luksUUID", both[0]["remedy"], "-q")
        assert not found()


class TestRecoveryKey:
    @pytest.mark.needs("systemd-cryptenroll")
    @carries(("enrol_anew", "Draw another one"))
    def test_another_one_is_drawn(self, tmp_path: pathlib.Path) -> None:
        """Here for a keyslot that is encrypted with a cipher that the policy does not list."""
        lab = Lab(tmp_path).luks("--type", "luks2")
        (tmp_path / "spare").write_text("recovery")
        done = lab.run("cryptsetup", "luksAddKey", "-q", *FAST, *BAD_SLOT, "-d", "old", "IMAGE", "spare")
        assert done.returncode == 0, done.stderr
        _Edited(lab.path).edit(lambda tree: tree["tokens"].update({"0": luks2_token("systemd-recovery", 1)}))
        asked = {"keyslot_ciphers": ["aes-xts-plain64"]}
        (command,) = re.findall(r"'(systemd-cryptenroll [^']*)'", lab.audit(**asked)["keyslot-cipher"]["remedy"])
        run(*shlex.split(command.replace("DEVICE", str(lab.path))), PASSWORD="old")
        assert "keyslot-cipher" not in lab.audit(**asked)


def tang_keys(path: pathlib.Path) -> t.Set[str]:
    """The Tang keys that the tokens of an image trust, as the audit decodes them."""
    with open_volume(str(path), None, writable=False) as opened:
        evidence = types.SimpleNamespace(header=read_header_locked(opened, 10), metadata=True, luksmeta={})
        return {key for token in decoded(t.cast(t.Any, evidence)) for key in token.tang_keys}
