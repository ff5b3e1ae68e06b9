# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller, a host and its volumes in one folder, which a test copies, plays in, kills, and asks cryptsetup
about.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import pathlib
import shutil
import subprocess
import sys
import typing as t

from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.release import __version__ as ANSIBLE
from ansible_collections.luksmith.luks.tests import kept
from ansible_collections.luksmith.luks.tests.tools import playing
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import schema

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.executable).parent
LEAKED, BREAK_GLASS = "winter-2025", "in-case-of-fire"
STORE_ROOT = "luksmith_luks_secrets"
VAULT_PASSWORD = "correct horse battery staple"
CALLBACKS = ROOT / "tests" / "rotation" / "callbacks"
# Seconds for one play, which takes half a minute of processor time at most.
PATIENCE = 1800

Entry = t.Dict[str, t.Any]

# A module is one call of the interpreter. Call number KILL_CALL runs under strace and dies at its KILL_WRITE-th write
# to the volume. Not with --seccomp-bpf: strace 6.1 then delivers no injected signal to the process that it started
# itself.
INTERPRETER = """#!/bin/sh
call=$(cat {folder}/calls 2>/dev/null || echo 0)
echo $((call + 1)) >{folder}/calls
if [ "$call" = "$KILL_CALL" ]; then
  exec strace -f -qq -o {folder}/strace -e trace=pwrite64 \\
    -e inject=pwrite64:signal=KILL:when="$KILL_WRITE" {python} "$@"
fi
exec {python} "$@"
"""


@dataclasses.dataclass(frozen=True)
class Lab:
    folder: pathlib.Path
    volumes: t.Tuple[str, ...]
    shared: pathlib.Path
    bin: pathlib.Path = BIN

    @classmethod
    def make(
        cls,
        folder: pathlib.Path,
        shared: pathlib.Path,
        volumes: t.Sequence[str],
        source: t.Optional[t.Mapping[str, str]] = None,
        **variables: t.Any,
    ) -> Lab:
        """Volumes from tests/fixtures that the leaked secret and break-glass open, and a store that knows nothing.

        source: those of another name there; shared: what all plays share, see playing.py
        """
        lab = cls(folder, tuple(volumes), shared)
        folder.mkdir()
        (folder / "store").mkdir(mode=0o700)
        for name in volumes:
            fixture = (source or {}).get(name, name)
            (folder / name).write_bytes(gzip.decompress((ROOT / "tests" / "fixtures" / f"{fixture}.gz").read_bytes()))
        link = folder / "collections" / "ansible_collections" / "luksmith" / "luks"
        link.parent.mkdir(parents=True)
        link.symlink_to(ROOT)
        (folder / "vault-password").write_text(f"{VAULT_PASSWORD}\n")
        (folder / "ansible.cfg").write_text("[defaults]\n")
        here = "{{ inventory_dir }}"
        usual: t.Dict[str, t.Any] = {
            "rotate_volumes": [{"device": f"{here}/{name}"} for name in volumes],
            "rotate_block_devices": False,
            "rotate_crypttab": f"{here}/crypttab",
            "rotate_vault_file": f"{here}/store/secrets.yml",
            "rotate_replaces": [{"label": "leaked", "passphrase": LEAKED}],
            "rotate_keeps": [{"label": "break-glass", "passphrase": BREAK_GLASS}],
            "rotate_generation": "one",
            "rotate_pbkdf": {"type": "pbkdf2", "hash": "sha256", "iterations": 1000},
        }
        host = {"ansible_connection": "local", "ansible_python_interpreter": f"{here}/python"}
        (folder / "hosts.json").write_text(
            json.dumps({"all": {"hosts": {"web": host}, "vars": {**usual, **variables}}})
        )
        lab._write_interpreter()
        return lab

    @classmethod
    def once_rotated(
        cls, folder: pathlib.Path, shared: pathlib.Path, volumes: t.Sequence[str], **variables: t.Any
    ) -> Lab:
        """The same after a first rotation, which was played now or by an earlier test with these sources."""

        def rotate(place: pathlib.Path) -> None:
            lab = cls.make(place / "lab", shared, volumes, **variables)
            lab.play()
            exactly_the_newest(lab, lab.stored(), "one")

        depends = kept.sources("plugins", "roles", "playbooks", "tests/fixtures", "tests/rotation")
        made = kept.folder(["rotated", depends, ANSIBLE, sys.version, volumes, variables], rotate)
        return cls(made / "lab", tuple(volumes), shared).copy(folder)

    def _write_interpreter(self) -> None:
        python = self.folder / "python"
        python.write_text(INTERPRETER.format(folder=self.folder, python=sys.executable))
        python.chmod(0o755)

    def copy(self, folder: pathlib.Path) -> Lab:
        shutil.copytree(self.folder, folder, symlinks=True)
        return self.moved(folder)

    def moved(self, folder: pathlib.Path) -> Lab:
        """The same lab in another folder, to which something has copied its files."""
        lab = dataclasses.replace(self, folder=folder)
        lab._write_interpreter()
        return lab

    def play(
        self,
        *flags: str,
        playbook: str = "rotate",
        expect: t.Optional[int] = 0,
        command: t.Sequence[str] = (),
        **environment: str,
    ) -> str:
        """All that ansible-playbook prints; ``expect`` is its exit code, None for whatever."""
        done = subprocess.run(
            [*command, *self.words(*flags, playbook=playbook)],
            **self.surroundings(**environment),
            check=False,
            timeout=PATIENCE,
        )
        output = str(done.stdout)
        assert expect is None or done.returncode == expect, output
        self._judge_reports()
        return output

    def _judge_reports(self) -> None:
        """Each report that there is by now is one by the schema, also that of a run that was killed."""
        if schema.available():
            for path in (self.folder / "report").glob("[!.]*.json"):
                assert schema.complaints(json.loads(path.read_text())) == [], path

    def words(self, *flags: str, playbook: str = "rotate") -> t.List[str]:
        """The command line of a playbook of the collection."""
        inventory = [
            "-i",
            str(self.folder / "hosts.json"),
            "--vault-password-file",
            str(self.folder / "vault-password"),
        ]
        return [str(self.bin / "ansible-playbook"), *inventory, *flags, f"luksmith.luks.{playbook}"]

    def surroundings(self, **environment: str) -> t.Dict[str, t.Any]:
        """What subprocess needs to know besides; Ansible sees no configuration but the lab's."""
        inherited = playing.outside()
        inherited.update(playing.environment(self.shared, ROOT, self.bin / "ansible-playbook"))
        inherited.update(
            ANSIBLE_CONFIG=str(self.folder / "ansible.cfg"),
            ANSIBLE_COLLECTIONS_PATH=str(self.folder / "collections"),
            ANSIBLE_HOME=str(self.folder / "ansible"),
            ANSIBLE_LOCAL_TEMP=str(self.folder / "controller"),
            ANSIBLE_REMOTE_TEMP=str(self.folder / "remote"),
            ANSIBLE_CALLBACK_PLUGINS=f"{CALLBACKS}:{inherited['ANSIBLE_CALLBACK_PLUGINS']}",
            ANSIBLE_CALLBACKS_ENABLED="kill_at",
            ANSIBLE_NOCOLOR="1",
            MOMENTS_BEGUN=str(self.folder / "moments-begun"),
            LC_ALL="C.UTF-8",
        )
        for name in ("calls", "moments-begun"):
            (self.folder / name).unlink(missing_ok=True)
        return {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
            "cwd": self.folder,
            "env": {**inherited, **environment},
        }

    def moments(self) -> t.List[str]:
        """Names of the moments of the last run at which it could have been killed, in order."""
        return (self.folder / "moments-begun").read_text().splitlines()

    def stored(self) -> t.List[Entry]:
        """What the vault file holds, decrypted by Ansible's own library."""
        store = self.folder / "command.json"
        if store.exists():
            return [held["entry"] for held in json.loads(store.read_text()).values()]
        store = self.folder / "store" / "secrets.yml"
        if not store.exists():
            return []
        vault = VaultLib([("default", VaultSecret(VAULT_PASSWORD.encode()))])
        return [held["entry"] for held in json.loads(vault.decrypt(store.read_bytes()))[STORE_ROOT].values()]

    def uuid(self, volume: str) -> str:
        return _cryptsetup("luksUUID", str(self.folder / volume)).stdout.decode().strip()

    def add_keyslot(self, volume: str, secret: str) -> None:
        """A keyslot that no role has heard of, made by cryptsetup with the leaked secret."""
        self.add_keyslot_with(volume, secret, LEAKED)

    def add_keyslot_with(self, volume: str, secret: str, known: str) -> None:
        """The same with another secret that opens the volume."""
        new = self.folder / "new"
        new.write_text(secret)
        cheap = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
        done = _cryptsetup("luksAddKey", *cheap, "--key-file", "-", str(self.folder / volume), str(new), stdin=known)
        new.unlink()
        assert done.returncode == 0, done

    def opens(self, volume: str, secret: str, keyslot: t.Optional[int] = None) -> bool:
        pinned = [] if keyslot is None else ["--key-slot", str(keyslot)]
        done = _cryptsetup(
            "open", "--test-passphrase", "--key-file", "-", *pinned, str(self.folder / volume), stdin=secret
        )
        assert done.returncode in (0, 1, 2), done
        return done.returncode == 0

    def active(self, volume: str) -> t.List[int]:
        """The active keyslots, by luksDump."""
        path = str(self.folder / volume)
        dump = _cryptsetup("luksDump", path)
        assert dump.returncode == 0, dump
        text = dump.stdout.decode()
        if "Version:        1" in text or "Version:       \t1" in text:
            return [
                int(line.split()[2].rstrip(":"))
                for line in text.splitlines()
                if line.startswith("Key Slot") and line.endswith("ENABLED")
            ]
        keyslots = text[text.index("\nKeyslots:") : text.index("\nTokens:")]
        return [
            int(line.strip().split(":")[0])
            for line in keyslots.splitlines()
            if line.startswith("  ") and line[2].isdigit()
        ]


def _cryptsetup(*words: str, stdin: str = "") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["cryptsetup", "--batch-mode", *words], input=stdin.encode(), capture_output=True, check=False
    )


def secrets_of(entry: Entry) -> t.Dict[str, str]:
    """id -> passphrase of all secrets that the store holds for a volume."""
    return {
        secret["id"]: secret["passphrase"] for secret in (entry["next"], entry["current"], *entry["older"]) if secret
    }


def nothing_is_lost(lab: Lab, stored: t.Sequence[Entry], others: t.Sequence[str] = ()) -> None:
    """What must hold at every instant: each active keyslot opens with a secret that somebody knows (``others``: besides
    the usual), and break-glass opens.
    """
    entries = {entry["uuid"]: entry for entry in stored}
    for volume in lab.volumes:
        entry = entries.get(lab.uuid(volume))
        known = [LEAKED, BREAK_GLASS, *others, *(secrets_of(entry).values() if entry else ())]
        assert lab.opens(volume, BREAK_GLASS), volume
        for keyslot in lab.active(volume):
            assert any(lab.opens(volume, secret, keyslot) for secret in known), (
                f"{volume}: keyslot {keyslot} opens with a secret that is in no store"
            )


def exactly_the_newest(lab: Lab, stored: t.Sequence[Entry], generation: str) -> t.Dict[str, str]:
    """What must hold in the end: the current secret and break-glass open each volume, and nothing else does. uuid -> id
    of the current secret.
    """
    entries = {entry["uuid"]: entry for entry in stored}
    for volume in lab.volumes:
        entry = entries[lab.uuid(volume)]
        assert entry["next"] is None and entry["current"]["generation"] == generation, volume
        assert lab.opens(volume, entry["current"]["passphrase"]) and lab.opens(volume, BREAK_GLASS), volume
        assert len(lab.active(volume)) == 2, f"{volume}: keyslots {lab.active(volume)}"
        assert not lab.opens(volume, LEAKED), volume
        for secret in entry["older"]:
            assert not lab.opens(volume, secret["passphrase"]), volume
    return {uuid: entry["current"]["id"] for uuid, entry in entries.items()}
