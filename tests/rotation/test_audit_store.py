# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role audit asks the store of the role rotate: the same inventory serves both, and the store stays as it is."""

from __future__ import annotations

import csv
import hashlib
import json
import pathlib
import sys
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit import audit as run_audit
from ansible_collections.luksmith.luks.plugins.module_utils._luks.audit.audit_task import parse_audit
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import data, fleet_rules
from ansible_collections.luksmith.luks.tests.rotation.lab import BREAK_GLASS, LEAKED, ROOT, Lab, secrets_of

VOLUMES = ("luks1.img", "luks2.img")
STRANGER = "siamang-0815"
pytestmark = [pytest.mark.needs("ansible-playbook", "cryptsetup"), pytest.mark.xdist_group("audit store")]
AUDIT: t.Dict[str, t.Any] = {
    "audit_store": "vault_file",
    "audit_block_devices": False,
    "audit_crypttab": "{{ inventory_dir }}/crypttab",
    "audit_policy": "legacy",
    "audit_report_directory": "{{ inventory_dir }}/report",
    "audit_report_formats": ["json", "csv"],
}


def audit(lab: Lab, *flags: str, expect: int = 0, **variables: t.Any) -> t.Tuple[t.Dict[str, t.Any], str]:
    """The volumes of the report by name, and the output, of a run that is as talkative as can be."""
    given = {**AUDIT, "audit_volumes": [{"device": f"{{{{ inventory_dir }}}}/{name}"} for name in lab.volumes]}
    output = lab.play("-vvvv", "-e", json.dumps({**given, **variables}), *flags, playbook="audit", expect=expect)
    report = json.loads((lab.folder / "report" / "luks-audit.json").read_text())
    return {pathlib.Path(one["device"]).name: one for host in report["hosts"] for one in host["volumes"]}, output


def rules(volume: t.Mapping[str, t.Any]) -> t.List[t.Tuple[str, t.Optional[int]]]:
    return [(one["rule"], one["keyslot"]) for one in volume["findings"] if one["rule"].startswith(("store", "slot-un"))]


def hashes(folder: pathlib.Path) -> t.Dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory, shared: pathlib.Path) -> Lab:
    return Lab.once_rotated(tmp_path_factory.mktemp("audited") / "lab", shared, VOLUMES)


def test_only_the_stranger_is_one_after_a_rotation(rotated: Lab, tmp_path: pathlib.Path) -> None:
    """A play, after a rotation that is kept for all tests: ten seconds."""
    lab = rotated.copy(tmp_path / "lab")
    lab.add_keyslot_with("luks2.img", STRANGER, BREAK_GLASS)
    before = {**hashes(lab.folder / "store"), **{name: hashes(lab.folder)[str(lab.folder / name)] for name in VOLUMES}}
    volumes, output = audit(lab)
    after = {**hashes(lab.folder / "store"), **{name: hashes(lab.folder)[str(lab.folder / name)] for name in VOLUMES}}
    assert before == after, "neither a volume nor the store was written to"
    assert {name: one["store"]["opens"] for name, one in volumes.items()} == dict.fromkeys(VOLUMES, "yes")
    stranger = next(slot for slot in lab.active("luks2.img") if lab.opens("luks2.img", STRANGER, slot))
    assert {name: rules(one) for name, one in volumes.items()} == {
        "luks1.img": [],
        "luks2.img": [("slot-unknown", stranger)],
    }
    everything = output + "".join(path.read_text() for path in (lab.folder / "report").iterdir())
    held = [secret for entry in lab.stored() for secret in secrets_of(entry).values()]
    assert len(held) >= 2 and not [secret for secret in (*held, LEAKED, BREAK_GLASS) if secret in everything]
    with (lab.folder / "report" / "luks-audit.csv").open(newline="") as file:
        assert {line["store_opens"] for line in csv.DictReader(file) if line["device"]} == {"yes"}


def test_a_rotation_ends_sharing(rotated: Lab, tmp_path: pathlib.Path) -> None:
    """Two volumes of one fixture, as if they were of two hosts, before and after a rotation. It is kept for all tests;
    the first one plays it, in ten seconds.
    """
    fresh = Lab.make(tmp_path / "fresh", rotated.shared, VOLUMES)
    mine = {"extends": "legacy", "shared_labels": ["break-glass"]}

    def shared(lab: Lab, *secrets: t.Tuple[str, str]) -> t.List[t.Dict[str, t.Any]]:
        hosts = []
        for name in VOLUMES:
            given = [{"label": label, "passphrase": secret} for label, secret in secrets]
            asked = {"policy": mine, "secrets": given, "prints_key": "5a" * 32}
            task = parse_audit({"device": str(lab.folder / name), **asked})
            try:
                hosts.append({"host": name, "volumes": [run_audit(task)]})
            finally:
                task.wipe_secrets()
        report = data.build(hosts)
        assert sum(report["rules"]["secret-shared"].get(one, 0) for one in ("pass", "fail")) == len(VOLUMES)
        return [
            finding
            for host in report["hosts"]
            for finding in host["volumes"][0]["findings"]
            if finding["rule"] == fleet_rules.SHARED
        ]

    before = shared(fresh, ("leaked", LEAKED), ("break-glass", BREAK_GLASS))
    assert len(before) == 2 and "Rotate with the role rotate" in before[0]["remedy"]
    held = [(f"secret {number}", entry["current"]["passphrase"]) for number, entry in enumerate(rotated.stored())]
    assert len(held) == 2
    assert not shared(rotated, *held, ("break-glass", BREAK_GLASS))


@pytest.mark.full
def test_a_store_that_is_not_of_this_volume(rotated: Lab, tmp_path: pathlib.Path) -> None:
    """The volume came back from a backup, and another one was never rotated. Two more runs of the playbook."""
    fresh = Lab.make(tmp_path / "fresh", rotated.shared, VOLUMES)
    lab = rotated.copy(tmp_path / "lab")
    (lab.folder / "luks2.img").write_bytes((fresh.folder / "luks2.img").read_bytes())
    volumes, _output = audit(lab)
    assert volumes["luks1.img"]["store"]["opens"] == "yes" and not rules(volumes["luks1.img"])
    assert volumes["luks2.img"]["store"]["opens"] == "no"
    assert {rule for rule, _slot in rules(volumes["luks2.img"])} == {"store-closed", "store-older"}
    (lab.folder / "store" / "secrets.yml").unlink()
    volumes, _output = audit(lab)
    assert {one["store"]["opens"] for one in volumes.values()} == {"no secret"}


@pytest.mark.full
def test_what_rotations_cure(rotated: Lab, tmp_path: pathlib.Path) -> None:
    """A secret that came back, a store that is gone, and a volume from a backup: three rotations and six audits."""
    lab = rotated.copy(tmp_path / "lab")
    fresh = (Lab.make(tmp_path / "fresh", rotated.shared, VOLUMES).folder / "luks2.img").read_bytes()
    given = {"audit_secrets": [{"label": "break-glass", "passphrase": BREAK_GLASS}]}

    def found() -> t.Set[str]:
        volumes, _output = audit(lab, **given)
        return {rule for one in volumes.values() for rule, _slot in rules(one)}

    lab.add_keyslot_with("luks1.img", LEAKED, BREAK_GLASS)
    assert found() == {"store-older"}
    lab.play()
    assert found() == set()
    (lab.folder / "store" / "secrets.yml").unlink()
    assert "store-missing" in found()
    lab.play("-e", "{rotate_store_create: true}")
    assert found() == {"slot-unknown"}, "of the store that is lost"
    (lab.folder / "luks2.img").write_bytes(fresh)
    assert {"store-closed", "store-older"} <= found()
    lab.play()
    assert found() == {"slot-unknown"}


@pytest.mark.full
def test_a_program_as_the_store(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """It cannot list what it holds, so that the host names its volumes first. A rotation and an audit."""
    words = [sys.executable, str(ROOT / "tests" / "rotation" / "store_command.py"), "{{ inventory_dir }}/command.json"]
    lab = Lab.once_rotated(tmp_path / "lab", shared, VOLUMES[1:], rotate_store="command", rotate_command=words)
    volumes, _output = audit(lab, audit_store="command", audit_verify="record")
    assert volumes["luks2.img"]["store"]["opens"] == "by record" and volumes["luks2.img"]["state"] == "recorded"


@pytest.mark.full
def test_a_group_that_names_paths(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """Two rotations and two audits, one with a store that lists its entries and one with a store that cannot."""
    group = [{"name": "both", "volumes": [f"{{{{ inventory_dir }}}}/{name}" for name in VOLUMES]}]
    words = [sys.executable, str(ROOT / "tests" / "rotation" / "store_command.py"), "{{ inventory_dir }}/command.json"]
    stores: t.Sequence[t.Dict[str, t.Any]] = ({}, {"rotate_store": "command", "rotate_command": words})
    for number, store in enumerate(stores):
        lab = Lab.make(tmp_path / str(number), shared, VOLUMES, rotate_groups=group, **store)
        lab.play()
        volumes, _output = audit(lab, rotate_groups=group, audit_store=store.get("rotate_store", "vault_file"))
        assert {name: one["store"]["opens"] for name, one in volumes.items()} == dict.fromkeys(VOLUMES, "yes")


@pytest.mark.full
@pytest.mark.parametrize("store", ["./", "vault-file", "escrow", "hashi_vault"])
def test_a_store_that_cannot_be_asked_is_said_before_the_host_is(
    rotated: Lab, tmp_path: pathlib.Path, store: str
) -> None:
    lab = rotated.copy(tmp_path / "lab")
    output = lab.play("-e", json.dumps({**AUDIT, "audit_store": store}), playbook="audit", expect=2)
    said = {
        "./": "made of task files",
        "vault-file": "There is no store",
        "escrow": "rotate_escrow_folder",
        "hashi_vault": "needs the url of the server",
    }
    assert said[store] in output and "The host was not asked" in output
