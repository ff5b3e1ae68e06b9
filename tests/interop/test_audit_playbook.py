# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook luksmith.luks.audit on several hosts, two of which give no answer: check mode and the real run tell the
same, and nothing is hidden.

A run of it on four hosts takes some ten seconds of a processor, so that the short form looks at one run from all sides.
It is as talkative as can be, because no output may hold a secret.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t
from xml.etree import ElementTree

import pytest
from ansible_collections.luksmith.luks.tests.interop.luks2_volume import Luks2Volume

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
PLAYBOOK = pathlib.Path(sys.executable).with_name("ansible-playbook")
pytestmark = [
    pytest.mark.needs("cryptsetup", "ansible-playbook"),
    pytest.mark.xdist_group("audit playbook"),
]  # one run for all

KNOWN, LEAKED, STRANGER = "pw0", "gibbon-4711", "siamang-0815"
STRICTER = {"extends": "legacy", "required_labels": ["admin"]}
# What only a look at both hosts shows of the volumes with one key.
OF_THE_FLEET = [("clone", "high", None), ("secret-shared", "medium", None)]
POLICY = {**STRICTER, "shared_labels": ["admin"]}


class Fleet:
    """A controller's folder: ``good`` is in order, ``bad`` opens with a leaked secret and a stranger's, ``odd`` holds
    no volume, ``gone`` is no host,
    and ``mute`` cannot run a module."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        link = folder / "collections" / "ansible_collections" / "luksmith" / "luks"
        link.parent.mkdir(parents=True)
        link.symlink_to(CHECKOUT)
        for host in ("good", "bad", "odd"):
            (folder / host).mkdir()
        Luks2Volume(folder / "good" / "volume.img").format()
        key = folder / "volume-key"
        key.write_bytes(bytes(range(1, 33)))
        shared = ("--volume-key-file", key)
        Luks2Volume(folder / "good" / "second.img").format("--label", "archive", *shared, type="luks2")
        bad = Luks2Volume(folder / "bad" / "volume.img").format(*shared)
        bad.add(1, LEAKED).add(2, STRANGER)
        (folder / "odd" / "volume.img").write_bytes(b"hello" * 100000)
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        hosts: t.Dict[str, t.Any] = {
            host: {**local, "audit_paths": [str(folder / host / "*.img")]} for host in ("good", "bad")
        }
        hosts["odd"] = {**local, "audit_volumes": [{"device": str(folder / "odd" / "volume.img")}]}
        hosts["gone"] = {"ansible_host": "127.0.0.1", "ansible_port": 1}
        hosts["mute"] = {**local, "ansible_python_interpreter": "/bin/false"}
        self.variables: t.Dict[str, t.Any] = {
            "audit_block_devices": False,
            "audit_crypttab": str(folder / "crypttab"),
            "audit_policy": POLICY,
            "audit_exclude": ["/dev/nowhere", {"volume": "/dev/visitor", "reason": "a stick of a visitor"}],
            "audit_policies": {
                "archive": {"extends": "legacy", "name": "archive", "formats": ["luks1"]},
                str(folder / "bad" / "volume.img"): STRICTER,
            },
            "audit_secrets": [{"label": "admin", "passphrase": KNOWN}],
            "audit_forbidden_secrets": [{"label": "leaked", "passphrase": LEAKED}],
        }
        (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": self.variables}}))

    def play(
        self, *arguments: str, playbook: t.Any = "luksmith.luks.audit", report: str = "report", **variables: t.Any
    ) -> t.Any:
        extra = {"audit_report_directory": str(self.folder / report), **variables}
        command = [str(PLAYBOOK), "-i", "hosts.json", str(playbook), "-e", json.dumps(extra), *arguments]
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "true",
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def report(self, name: str = "report") -> t.Any:
        report = json.loads((self.folder / name / "luks-audit.json").read_text())
        report.pop("generated")
        for host in report["hosts"]:
            for volume in host["volumes"]:
                volume.get("audited", {}).pop("time", None)
        return report

    def hashes(self) -> t.Dict[str, str]:
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(self.folder.glob("*/*.img"))
        }


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="module")
def played(fleet: Fleet) -> t.Any:
    """The run that the short form looks at."""
    before = fleet.hashes()
    done = fleet.play("-vvvv")
    assert fleet.hashes() == before, "an audit writes nothing to volumes"
    return done


def volumes(report: t.Any) -> t.Dict[t.Tuple[str, str], t.Any]:
    return {
        (host["host"], pathlib.Path(volume["device"]).name): volume
        for host in report["hosts"]
        for volume in host["volumes"]
    }


def test_every_host_and_volume_is_in_the_report(fleet: Fleet, played: t.Any) -> None:
    """It may take long: the first test here makes the volumes, and plays the audit of four hosts for all of them."""
    report = fleet.report()
    states = {where: volume["state"] for where, volume in volumes(report).items()}
    assert states == {
        ("good", "volume.img"): "compliant",
        ("good", "second.img"): "findings",
        ("bad", "volume.img"): "findings",
        ("odd", "volume.img"): "failed",
    }
    assert [host["host"] for host in report["hosts"] if host["error"]] == ["gone", "mute"]
    bad = volumes(report)["bad", "volume.img"]
    assert [(one["rule"], one["severity"], one["keyslot"]) for one in bad["findings"]] == [
        ("secret-forbidden", "critical", 1),
        ("slot-unknown", "high", 2),
        *OF_THE_FLEET,
    ]
    assert [row["opened_by"] for row in bad["keyslots"]] == [["admin"], ["leaked"], []]


def test_the_report_says_what_was_asked_and_what_was_left_out(fleet: Fleet, played: t.Any) -> None:
    host = next(one for one in fleet.report()["hosts"] if one["host"] == "good")
    assert host["excluded"] == [], "the host has none of these"
    pattern = str(fleet.folder / "good" / "*.img")
    assert (host["searched"]["paths"], host["searched"]["unmatched"]) == ([pattern], [])
    assert fleet.report()["verdict"]["word"] == "not compliant"
    audited = next(one["audited"] for one in host["volumes"] if not one["policy"].startswith("archive"))
    policy = host["policies"][audited["policy_digest"]]
    assert policy["name"] == "legacy, changed in 2 places" and policy["text"]["required_labels"] == ["admin"]
    assert audited["labels"] == ["admin"] and audited["forbidden_labels"] == ["leaked"]
    assert fleet.report()["scope"] == {"inventory": 5, "targets": 5, "beyond": []}


def test_one_secret_on_two_hosts_and_a_volume_key_that_only_secrets_show(fleet: Fleet, played: t.Any) -> None:
    """The second volume of ``good`` was formatted with the volume key of the one of ``bad``. The policy of the first
    volume allows that its secret opens others, too.
    """
    found = {
        where: [one["message"] for one in volume["findings"] if one["rule"] in ("clone", "secret-shared")]
        for where, volume in volumes(fleet.report()).items()
        if volume["state"] != "failed"
    }
    assert found["good", "volume.img"] == []
    second, bad = found["good", "second.img"], found["bad", "volume.img"]
    assert any("has the volume key of bad:" in one and one.endswith("as their secrets prove") for one in second)
    assert any("has the volume key of good:" in one and one.endswith("as their secrets prove") for one in bad)
    assert "'admin' opens good:" in second[1] and "'admin' opens bad:" in bad[1]
    assert "prints" not in (fleet.folder / "report" / "luks-audit.json").read_text()


def test_a_volume_may_have_a_policy_of_its_own(fleet: Fleet, played: t.Any) -> None:
    second = volumes(fleet.report())["good", "second.img"]
    assert second["policy"] == "archive (legacy, changed in 1 place)"
    assert [one["rule"] for one in second["findings"]] == ["format", *(rule for rule, *_rest in OF_THE_FLEET)]


def test_what_could_not_be_audited_fails_at_the_end_and_findings_do_not(played: t.Any) -> None:
    assert played.returncode == 2, played.stdout
    recap = {line.split()[0]: "failed=1" in line for line in played.stdout.splitlines() if "unreachable=" in line}
    assert recap == {"good": False, "bad": False, "odd": True, "gone": True, "mute": True}


@pytest.mark.full
def test_check_mode_equals_the_real_run(fleet: Fleet, played: t.Any) -> None:
    """Another run of the playbook."""
    checked = fleet.play("--check", report="checked")
    assert checked.returncode == played.returncode
    assert fleet.report("checked") == fleet.report()
    assert "changed=0" in next(line for line in checked.stdout.splitlines() if line.startswith("bad "))


@pytest.mark.full
def test_findings_fail_where_the_policy_says_so(fleet: Fleet) -> None:
    """Another run of the playbook."""
    done = fleet.play("--limit", "good,bad", audit_fail_on="critical", report="limited")
    recap = {line.split()[0]: "failed=1" in line for line in done.stdout.splitlines() if "unreachable=" in line}
    assert recap == {"good": False, "bad": True}
    assert [host["host"] for host in fleet.report("limited")["hosts"]] == ["bad", "good"]
    assert fleet.report("limited")["scope"] == {"inventory": 5, "targets": 5, "beyond": ["gone", "mute", "odd"]}


@pytest.mark.full
def test_with_serial_the_last_batch_has_all(fleet: Fleet) -> None:
    """Another run of the playbook."""
    play = fleet.folder / "serial.yml"
    play.write_text(
        json.dumps([{"hosts": "good,bad", "gather_facts": False, "serial": 1, "roles": ["luksmith.luks.audit"]}])
    )
    done = fleet.play(playbook=play, report="serial")
    assert done.returncode == 0, done.stdout
    assert all(host["volumes"] for host in fleet.report("serial")["hosts"] if host["host"] in ("good", "bad"))


def test_other_programs_can_read_it(fleet: Fleet, played: t.Any) -> None:
    folder = fleet.folder / "report"
    with (folder / "luks-audit.csv").open(newline="", encoding="utf-8") as file:
        assert {line["host"] for line in csv.DictReader(file)} == {"good", "bad", "odd", "gone", "mute"}
    root = ElementTree.parse(folder / "luks-audit.xml").getroot()
    assert (
        sum(int(suite.get("failures", 0)) for suite in root) == 7
        and sum(int(suite.get("errors", 0)) for suite in root) == 3
    )
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_no_secret_anywhere(fleet: Fleet, played: t.Any) -> None:
    text = played.stdout + played.stderr + "".join(path.read_text() for path in (fleet.folder / "report").iterdir())
    # The known one is too short to look for; Ansible itself shows variables in no output.
    assert LEAKED not in text and STRANGER not in text


@pytest.mark.full
def test_the_list_of_tasks_tells_the_story(fleet: Fleet) -> None:
    tasks = [
        line.split(" : ")[1].split("\t")[0].strip()
        for line in fleet.play("--list-tasks").stdout.splitlines()
        if " : " in line
    ]
    assert tasks[:3] == [
        "Audit the volumes of each host",
        "Write the report of all hosts",
        "Fail if something could not be audited, or for findings that are bad enough",
    ]


@pytest.mark.full
def test_a_record_saves_every_derivation(fleet: Fleet, tmp_path: pathlib.Path) -> None:
    """The collection rotates, cryptsetup judges, and the next audit by record derives nothing and says so.

    Another run of the playbook.
    """
    target = tmp_path / "volume.img"
    shutil.copy(fleet.folder / "good" / "volume.img", target)
    entry = {
        "old_secret": {"passphrase": KNOWN},
        "new_secret": {"label": "admin", "passphrase": "tamarin-9876"},
        "pbkdf": {"iterations": 1000, "type": "pbkdf2"},
    }
    play = fleet.folder / "rotate.yml"
    play.write_text(
        json.dumps(
            [
                {
                    "hosts": "good",
                    "gather_facts": False,
                    "vars": {
                        "audit_paths": [str(target)],
                        "audit_verify": "record",
                        "audit_secrets": [],
                        "audit_forbidden_secrets": [],
                    },
                    "tasks": [
                        {"luksmith.luks.keyslots": {"device": str(target), "keyslots": [entry]}},
                        {"include_role": {"name": "luksmith.luks.audit"}},
                    ],
                }
            ]
        )
    )
    done = fleet.play(playbook=play, report="recorded")
    assert Luks2Volume(target, tmp_path).opens("tamarin-9876"), done.stdout
    one = volumes(fleet.report("recorded"))["good", "volume.img"]
    assert (one["state"], one["verified"], one["kdf_evaluations"], one["findings"]) == ("recorded", False, 0, [])
