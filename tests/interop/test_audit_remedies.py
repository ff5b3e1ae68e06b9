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
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit import audit as run_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit_task import parse_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.tokens import decoded
from ansible_collections.luksmith.luks.plugins.module_utils._luks.fixtures.tokens import luks2_token
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend as keyslots_run
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.read_header import read_header_locked
from ansible_collections.luksmith.luks.plugins.module_utils._luks.volume.storage import open_volume
from ansible_collections.luksmith.luks.tests import needs
from ansible_collections.luksmith.luks.tests.interop import tpm as tpms
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume, run
from ansible_collections.luksmith.luks.tests.interop.module_process import run_module
from ansible_collections.luksmith.luks.tests.interop.test_clevis import bind, tang
from ansible_collections.luksmith.luks.tests.unit.plugins.module_utils._luks.audit.audit_volumes import WINTER, Image

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
        return {one["rule"]: one for one in (*result["findings"], *result["unverified"])}

    def rekey(self, **pbkdf: t.Any) -> None:
        self.keyslots({"old_secret": SECRET, "new_secret": SECRET, "pbkdf": pbkdf})

    def keyslots(self, *entries: t.Dict[str, t.Any]) -> None:
        """What luksmith.luks.keyslots does."""
        header = {"header": str(self.header)} if self.header else {}
        task = parse_task({"device": str(self.path), "keyslots": list(entries), "unlock": [SECRET], **header})
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
# Only root may write to the folder of the locks; nothing else knows the image of a test.
UNLOCKED = "--disable-locks"


class TestQcow2:
    def test_its_format_cannot_change_so_the_policy_does(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).qemu("qcow2")
        remedy = lab.audit(formats=["luks2"])["format"]["remedy"]
        assert "convert" not in remedy and "formats" in remedy and "minimum_costs" in remedy
        assert "format" not in lab.audit(formats=["luks1"], minimum_costs={"pbkdf2": 1000})

    def test_costs(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).qemu("qcow2")
        strict = {"minimum_costs": {"pbkdf2": 300000}}
        assert "luksmith.luks.keyslots" in lab.audit(**strict)["kdf-cost"]["remedy"]
        lab.rekey(iterations=300000)
        assert "kdf-cost" not in lab.audit(**strict)
        assert lab.run("qemu-img", "info", "IMAGE").returncode == 0

    def test_key_size(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).qemu("qcow2", "cipher-alg=aes-128")
        lab.carry_out(lab.audit(minimum_key_size=64)["key-size"]["remedy"], "-o", "encrypt.iter-time=10")
        assert "key-size" not in lab.audit(minimum_key_size=64)
        assert '"format": "qcow2"' in lab.run("qemu-img", "info", "--output=json", "IMAGE").stdout


class TestRawImageOfQemu:
    def test_cryptsetup_cannot_convert_it(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).qemu("luks")
        assert lab.run("cryptsetup", "convert", "-q", "--type", "luks2", "IMAGE").returncode != 0
        remedy = lab.audit(formats=["luks2"])["format"]["remedy"]
        assert "cryptsetup convert" not in remedy and "no room" in remedy
        assert "format" not in lab.audit(formats=["luks1"], minimum_costs={"pbkdf2": 1000})

    def test_cipher(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).qemu("luks", "cipher-mode=cbc", "ivgen-alg=plain64")
        lab.carry_out(lab.audit()["cipher-weak"]["remedy"], "-o", "iter-time=10")
        assert "cipher-weak" not in lab.audit()


class TestVolume:
    @pytest.mark.parametrize("detached", [False, True])
    def test_format(self, tmp_path: pathlib.Path, detached: bool) -> None:
        lab = Lab(tmp_path).luks("--type", "luks1", detached=detached)
        remedy = lab.audit(formats=["luks2"])["format"]["remedy"]
        lab.carry_out(remedy, "-q")
        assert "format" not in lab.audit(formats=["luks2"])

    def test_costs_of_a_detached_header(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).luks("--type", "luks2", detached=True)
        strict = {"minimum_costs": {"pbkdf2": 2000}}
        assert "give header too" in lab.audit(**strict)["kdf-cost"]["remedy"]
        lab.rekey(iterations=2000)
        assert "kdf-cost" not in lab.audit(**strict)

    def test_key_size(self, tmp_path: pathlib.Path) -> None:
        """Of LUKS2, as cryptsetup needs the device mapper for LUKS1."""
        lab = Lab(tmp_path).luks("--type", "luks2", "--key-size", "256")
        remedy = lab.audit(minimum_key_size=64)["key-size"]["remedy"]
        assert "--force-offline-reencrypt" in remedy
        lab.carry_out(remedy, *FEW, UNLOCKED)
        assert "key-size" not in lab.audit(minimum_key_size=64)


CHEAP = {"type": "pbkdf2", "iterations": 1000}
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

    def test_a_forbidden_secret(self, lab: Lab) -> None:
        self.add(lab)
        given = {"forbidden_secrets": [SPARE]}
        assert "state: absent, old_secret" in lab.audit(given)["secret-forbidden"]["remedy"]
        lab.keyslots({"state": "absent", "old_secret": SPARE})
        assert "secret-forbidden" not in lab.audit(given)

    @pytest.mark.parametrize(
        ("rule", "key"), [("label-missing", "required_labels"), ("recovery-missing", "recovery_labels")]
    )
    def test_a_secret_that_is_missing(self, lab: Lab, rule: str, key: str) -> None:
        given = {"secrets": [SECRET, SPARE]}
        assert "luksmith.luks.keyslots" in lab.audit(given, **{key: ["spare"]})[rule]["remedy"]
        lab.keyslots({"new_secret": SPARE, "pbkdf": CHEAP})
        assert rule not in lab.audit(given, **{key: ["spare"]})

    def test_a_keyslot_of_nobody(self, lab: Lab) -> None:
        self.add(lab)
        self.erase(lab, lab.audit()["slot-unknown"])
        assert "slot-unknown" not in lab.audit()

    def test_a_secret_in_two_keyslots(self, lab: Lab) -> None:
        self.add(lab, file="new")
        self.erase(lab, lab.audit()["secret-duplicate"])
        assert "secret-duplicate" not in lab.audit() and lab.audit().keys().isdisjoint({"slot-unknown", "no-keyslot"})

    def test_a_keyslot_that_is_wiped(self, lab: Lab) -> None:
        self.add(lab)
        tree = json.loads(lab.run("cryptsetup", "luksDump", "--dump-json-metadata", UNLOCKED, "IMAGE").stdout)
        area = tree["keyslots"]["1"]["area"]
        with lab.path.open("r+b") as file:
            file.seek(int(area["offset"]))
            file.write(bytes(int(area["size"])))
        self.erase(lab, lab.audit()["slot-zombie"])
        assert "slot-zombie" not in lab.audit()

    def test_a_keyslot_that_is_ignored(self, lab: Lab) -> None:
        self.add(lab)
        done = lab.run("cryptsetup", "config", UNLOCKED, "--key-slot", "1", "--priority", "ignore", "IMAGE")
        assert done.returncode == 0, done.stderr
        self.erase(lab, lab.audit()["slot-ignored"])
        assert "slot-ignored" not in lab.audit()

    def test_a_keyslot_for_no_data(self, lab: Lab) -> None:
        self.add(lab, "--unbound", "--key-size", "512")
        self.erase(lab, lab.audit()["slot-unbound"])
        assert "slot-unbound" not in lab.audit()

    def test_grub(self, lab: Lab) -> None:
        lab.rekey(type="argon2id", time=4, memory=32, parallel=1)
        assert "pbkdf: {type: pbkdf2, hash: sha256}" in lab.audit(opened_by_grub=True)["grub-closed"]["remedy"]
        lab.rekey(**CHEAP, hash="sha256")
        assert "grub-closed" not in lab.audit(opened_by_grub=True)

    def test_kdf_type(self, lab: Lab) -> None:
        asked = {"kdf_types": ["argon2id"], "minimum_costs": {"argon2": {"time": 4, "memory": 32}}}
        assert "luksmith.luks.keyslots" in lab.audit(**asked)["kdf-type"]["remedy"]
        lab.rekey(type="argon2id", time=4, memory=32, parallel=1)
        assert "kdf-type" not in lab.audit(**asked)

    @pytest.mark.parametrize(("rule", "asked"), [("hash-weak", {}), ("kdf-hash", {"kdf_hashes": ["sha256"]})])
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
    def test_how_a_keyslot_is_encrypted(self, lab: Lab, rule: str, asked: t.Any) -> None:
        options = ("--keyslot-cipher", "aes-cbc-essiv:sha256", "--keyslot-key-size", "256")
        done = lab.run("cryptsetup", "luksConvertKey", "-q", *FAST, *options, "-d", "old", "IMAGE")
        assert done.returncode == 0, done.stderr
        assert "Add another secret and remove this one (state: absent)" in lab.audit(**asked)[rule]["remedy"]
        lab.keyslots({"new_secret": SPARE, "pbkdf": CHEAP}, {"state": "absent", "old_secret": SECRET})
        assert rule not in lab.audit({"secrets": [SPARE]}, **asked)

    def test_an_age_that_nobody_knows(self, lab: Lab) -> None:
        assert "write to the volume once" in lab.audit(maximum_age_days=30)["secret-age"]["remedy"]
        lab.rekey(type="pbkdf2", iterations=1001)
        assert "secret-age" not in lab.audit(maximum_age_days=30)

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
    def test_a_damaged_copy(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).luks("--type", "luks2", UNLOCKED)
        with lab.path.open("r+b") as file:
            file.seek(16384 + 4096)
            file.write(b"damage")
        assert "run luksmith.luks.keyslots with a change" in lab.audit()["header-copy"]["remedy"]
        lab.rekey(type="pbkdf2", iterations=1001)
        assert "header-copy" not in lab.audit()

    def test_a_reencryption_that_was_begun(self, tmp_path: pathlib.Path) -> None:
        lab = Lab(tmp_path).luks("--type", "luks2", UNLOCKED)
        begun = lab.run("cryptsetup", "reencrypt", "--init-only", *FEW, UNLOCKED, "IMAGE")
        assert begun.returncode == 0, begun.stderr
        remedy = lab.audit()["reencryption"]["remedy"]
        assert "--force-offline-reencrypt" in remedy
        lab.carry_out(remedy, "-q", "-d", "old", UNLOCKED, "--force-offline-reencrypt", "IMAGE")
        assert "reencryption" not in lab.audit()


class TestToken:
    """What a TPM or a server must do is named; what the header needs is done."""

    def lab(self, folder: pathlib.Path, token: t.Dict[str, t.Any]) -> Lab:
        lab = Lab(folder)
        image = Image(lab.path, "luks2.img")
        image.edit(lambda tree: tree["tokens"].update({"0": token}))
        return lab

    def test_costs_are_the_business_of_the_program_that_enrolled(self, tmp_path: pathlib.Path) -> None:
        """To set a new secret would cut the TPM off from the keyslot."""
        lab = self.lab(tmp_path, luks2_token("systemd-tpm2", 1))
        remedy = lab.audit(minimum_costs={"argon2": {"time": 5, "memory": 32}})["kdf-cost"]
        other = lab.audit(kdf_types=["pbkdf2"])["kdf-type"]
        for one in (remedy, other):
            assert one["keyslot"] != 1 or "systemd-cryptenroll --wipe-slot=1 --tpm2-device=auto" in one["remedy"]
        assert {remedy["keyslot"], other["keyslot"]} == {1}

    @pytest.mark.parametrize("name", ["token-malformed", "token-dangling"])
    def test_a_token_that_unlocks_nothing_is_removed(self, tmp_path: pathlib.Path, name: str) -> None:
        whole = luks2_token("systemd-tpm2", 0)
        lab = self.lab(tmp_path, whole if name == "token-dangling" else {**whole, "tpm2-blob": ""})
        lab.secret = {"label": "admin", "passphrase": WINTER}
        lab.carry_out(lab.audit()[name]["remedy"])
        assert name not in lab.audit()

    def test_a_token_of_no_keyslot(self, tmp_path: pathlib.Path) -> None:
        lab = self.lab(tmp_path, {"type": "of-nobody", "keyslots": []})
        lab.carry_out(lab.audit()["token-orphan"]["remedy"], UNLOCKED, "IMAGE")
        assert "token-orphan" not in lab.audit()

    def test_two_tokens_of_one_keyslot(self, tmp_path: pathlib.Path) -> None:
        lab = self.lab(tmp_path, luks2_token("systemd-tpm2", 1))
        _Edited(lab.path).edit(lambda tree: tree["tokens"].update({"3": tree["tokens"]["0"]}))
        remedy = lab.audit()["token-doubled"]["remedy"]
        lab.carry_out(remedy.replace("--token-id N ", "--token-id 3 "), UNLOCKED)
        assert "token-doubled" not in lab.audit()


class TestTpm:
    @pytest.fixture(scope="class")
    def tpm(self, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
        with tpms.tpm(tmp_path_factory.mktemp("tpm")) as device:
            yield device

    @tpms.needs_tpm
    @pytest.mark.xdist_group("tpm")
    @pytest.mark.parametrize(("rule", "pcrs"), [("tpm2-unconditional", ""), ("tpm2-sha1", "7:sha1")])
    def test_what_the_tpm_asks_for(self, tmp_path: pathlib.Path, tpm: str, rule: str, pcrs: str) -> None:
        """systemd 252 takes the bank of SHA-1 only where the TPM has no other one, so that its token is edited; and it
        enrols nothing where a token has the same PCRs and values already.
        """
        volume = Luks2Volume(tmp_path / "IMAGE").like()
        tpms.enrol(volume, tpm, pcrs="" if rule == "tpm2-unconditional" else "7")
        lab = Lab(tmp_path)
        lab.secret = {"label": "admin", "passphrase": "pw0"}
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
    def test_a_retired_tang_key(self, tmp_path: pathlib.Path) -> None:
        """The server has another key, so that a new binding trusts that one."""
        volume = Luks2Volume(tmp_path / "IMAGE").like()
        lab = Lab(tmp_path)
        lab.secret = {"label": "admin", "passphrase": "pw0"}
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


def tang_keys(path: pathlib.Path) -> t.Set[str]:
    """The Tang keys that the tokens of an image trust, as the audit decodes them."""
    with open_volume(str(path), None, writable=False) as opened:
        evidence = types.SimpleNamespace(header=read_header_locked(opened, 10), metadata=True)
        return {key for token in decoded(t.cast(t.Any, evidence)) for key in token.tang_keys}
