# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory in slices, each by an ansible-runner of its own, all at once on one store; the parts joined by the
playbook of docs/scale.md.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import typing as t

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.luksmith.luks.tests.rotation.lab import (
    BREAK_GLASS,
    LEAKED,
    PATIENCE,
    ROOT,
    STORE_ROOT,
    VAULT_PASSWORD,
    Lab,
)

pytestmark = [pytest.mark.full, pytest.mark.needs("ansible-playbook", "cryptsetup")]
HOSTS = ("a", "b", "c", "d", "e", "f")
SLICES = {"1": "all[0:1]", "2": "all[2:3]", "3": "all[4:5]"}


@pytest.fixture(scope="module")
def programs() -> pathlib.Path:
    """The folder of ansible-runner, and of the ansible-playbook that it starts."""
    sys.path.insert(0, str(ROOT / "tests" / "tools"))
    ensure = runpy.run_path(str(ROOT / "tests" / "tools" / "venvs.py"))["ensure"]
    return t.cast(pathlib.Path, ensure("slices", ROOT / "tests" / "requirements" / "slices.txt")) / "bin"


def fleet(folder: pathlib.Path, shared: pathlib.Path, **variables: t.Any) -> Lab:
    """Six hosts with a volume each, all with one UUID."""
    lab = Lab.make(folder, shared, ("luks2.img",), **variables)
    inventory = json.loads((lab.folder / "hosts.json").read_text())
    web = inventory["all"]["hosts"].pop("web")
    for host in HOSTS:
        shutil.copy(lab.folder / "luks2.img", lab.folder / host)
        volume = {"device": f"{{{{ inventory_dir }}}}/{host}"}
        # Not the lab's, which counts its calls in one file.
        own = {"ansible_python_interpreter": sys.executable, "rotate_volumes": [volume]}
        inventory["all"]["hosts"][host] = {**web, **own}
    (lab.folder / "hosts.json").write_text(json.dumps(inventory))
    return lab


def start(lab: Lab, programs: pathlib.Path, name: str, **environment: str) -> subprocess.Popen[str]:
    """A slice, as docs/scale.md starts it."""
    private = lab.folder / "runner" / name
    (private / "project").mkdir(parents=True, exist_ok=True)
    cmdline = f"--vault-password-file {lab.folder}/vault-password -e rotate_report={lab.folder}/slices/{name}"
    words = [str(programs / "ansible-runner"), "run", str(private), "-p", "luksmith.luks.rotate"]
    words += ["--inventory", str(lab.folder / "hosts.json"), "--limit", SLICES[name], "--cmdline", cmdline]
    own = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "ANSIBLE_LOCAL_TEMP": str(private / "controller"),
        "MOMENTS_BEGUN": str(private / "moments"),
        **environment,
    }
    return subprocess.Popen(words, **lab.surroundings(**own))


def play_slices(lab: Lab, programs: pathlib.Path, names: t.Iterable[str], **killed: str) -> t.Dict[str, t.Any]:
    """name -> exit code and output, of slices that run at once; ``killed`` is the environment of the last one."""
    chosen = list(names)
    runs = {name: start(lab, programs, name, **(killed if name == chosen[-1] else {})) for name in chosen}
    outputs = {name: run.communicate(timeout=PATIENCE)[0] for name, run in runs.items()}
    return {name: (run.returncode, outputs[name]) for name, run in runs.items()}


def join(lab: Lab) -> t.Any:
    """The report that the playbook of docs/scale.md makes of the parts."""
    guide = (ROOT / "docs" / "scale.md").read_text()
    (text,) = re.findall(r"```yaml\n(# join\.yml\n.*?)```", guide, re.DOTALL)
    (lab.folder / "join.yml").write_text(text)
    words = [str(lab.bin / "ansible-playbook"), "-i", str(lab.folder / "hosts.json"), str(lab.folder / "join.yml")]
    done = subprocess.run(words, **lab.surroundings(), check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout
    return json.loads((lab.folder / "slices" / "fleet.json").read_text())


def states(report: t.Any) -> t.Dict[str, t.Tuple[str, t.List[str]]]:
    names = [host["host"] for host in report["hosts"]]
    assert names == list(HOSTS), "every host of the inventory, and each once"
    return {host["host"]: (host["state"], [one["state"] for one in host["volumes"]]) for host in report["hosts"]}


def opened(lab: Lab, stored: t.Mapping[str, t.Any]) -> None:
    """Each host's volume opens with its own secret of the store and with break-glass, and with nothing else."""
    secrets = {host: stored[f"{host}/{lab.uuid(host)}"]["entry"] for host in HOSTS}
    assert len(stored) == len(HOSTS)
    assert len({entry["current"]["passphrase"] for entry in secrets.values()}) == len(HOSTS)
    for host, entry in secrets.items():
        assert entry["next"] is None, host
        assert lab.opens(host, entry["current"]["passphrase"]) and lab.opens(host, BREAK_GLASS), host
        assert len(lab.active(host)) == 2 and not lab.opens(host, LEAKED), host


def from_vault(lab: Lab) -> t.Dict[str, t.Any]:
    vault = VaultLib([("default", VaultSecret(VAULT_PASSWORD.encode()))])
    content = vault.decrypt((lab.folder / "store" / "secrets.yml").read_bytes())
    return t.cast(t.Dict[str, t.Any], json.loads(content)[STORE_ROOT])


def test_slices_on_one_vault_file(tmp_path: pathlib.Path, shared: pathlib.Path, programs: pathlib.Path) -> None:
    """One slice is never begun, one is killed after it staged, and then both run, all on one file. It may take two
    minutes: seven rotations by ansible-runner.
    """
    lab = fleet(tmp_path / "lab", shared)
    ends = play_slices(lab, programs, ("1", "2"), KILL_BEFORE="host add")
    assert ends["1"][0] == 0, ends["1"][1]
    assert "c: volume 1 of 1" in ends["2"][1] and "PLAY RECAP" not in ends["2"][1], ends["2"][1]
    report = join(lab)
    done = ("answered", ["done"])
    assert states(report) == {
        **dict.fromkeys("ab", done),
        "c": ("asking", []),
        **dict.fromkeys("def", ("waiting", [])),
    }
    assert (report["run"]["verdict"], report["run"]["ended"]) == ("incomplete", None)

    ends = play_slices(lab, programs, ("2", "3"))
    assert [code for code, _output in ends.values()] == [0, 0], ends
    report = join(lab)
    assert states(report) == dict.fromkeys(HOSTS, done)
    assert report["run"]["verdict"] == "done" and report["run"]["ended"] is not None
    opened(lab, from_vault(lab))


@pytest.mark.needs("openssl")
def test_slices_on_one_escrow_folder(tmp_path: pathlib.Path, shared: pathlib.Path, programs: pathlib.Path) -> None:
    """It may take a minute: six rotations by ansible-runner."""
    lab = fleet(
        tmp_path / "lab",
        shared,
        rotate_store="escrow",
        rotate_escrow_folder="{{ inventory_dir }}/escrow",
        rotate_escrow_certificates=["{{ inventory_dir }}/certificate.pem"],
    )
    key = lab.folder / "key.pem"
    words = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:3072", "-keyout", str(key), "-subj", "/CN=escrow"]
    subprocess.run([*words, "-out", str(lab.folder / "certificate.pem")], capture_output=True, check=True)
    (lab.folder / "escrow").mkdir()
    ends = play_slices(lab, programs, SLICES)
    assert [code for code, _output in ends.values()] == [0, 0, 0], "\n".join(said for _code, said in ends.values())
    assert states(join(lab)) == dict.fromkeys(HOSTS, ("answered", ["done"]))
    stored = {}
    for file in (lab.folder / "escrow").glob("*/*.json"):
        held = json.loads(file.read_text())
        words = ["openssl", "cms", "-decrypt", "-inform", "PEM", "-inkey", str(key)]
        sealed = held["entry"]["current"]["sealed"]
        found = subprocess.run(words, input=sealed, capture_output=True, text=True, check=True).stdout
        held["entry"]["current"]["passphrase"] = json.loads(found)["passphrase"]
        stored[f"{file.parent.name}/{file.stem}"] = held
    opened(lab, stored)
