# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A remedy that an audit names is carried out with the program that it names, and the finding goes.

The commands are taken from the remedy itself, with names of files in the place of the words in capitals.
"""

from __future__ import annotations

import pathlib
import re
import shlex
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit import audit as run_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit_task import parse_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.fixtures.tokens import luks2_token
from ansible_collections.luksmith.luks.plugins.module_utils._luks.task.parse import parse_task
from ansible_collections.luksmith.luks.plugins.module_utils._luks.usecases import amend as keyslots_run
from ansible_collections.luksmith.luks.tests import needs
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

    def audit(self, **policy: t.Any) -> t.Dict[str, t.Any]:
        """Rule -> finding; what could not be verified is one, too."""
        header = {"header": str(self.header)} if self.header else {}
        task = parse_audit(
            {"device": str(self.path), "policy": {"extends": "legacy", **policy}, "secrets": [self.secret], **header}
        )
        try:
            result = run_audit(task)
        finally:
            task.wipe_secrets()
        return {one["rule"]: one for one in (*result["findings"], *result["unverified"])}

    def rekey(self, **pbkdf: t.Any) -> None:
        entry = {"old_secret": SECRET, "new_secret": SECRET, "pbkdf": pbkdf}
        header = {"header": str(self.header)} if self.header else {}
        task = parse_task({"device": str(self.path), "keyslots": [entry], **header})
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
