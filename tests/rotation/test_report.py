# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a play that stops: every host is in it, with what became of it.

What it says of each state is tested without Ansible in tests/unit/plugins/plugin_utils/_report/test_running.py.
"""

from __future__ import annotations

import getpass
import json
import pathlib
import signal
import typing as t

import pytest
from ansible_collections.luksmith.luks.tests.rotation.lab import Lab

pytestmark = pytest.mark.needs("ansible-playbook", "cryptsetup")


@pytest.mark.needs("ssh")
def test_a_play_that_stops_leaves_no_host_out(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    """A batch with a rotation, a lost host and a refusal; then the play stops, although ansible-core goes on, which
    counts the lost host twice. The limits come from the inventory, also with --limit. It may take 10 s.
    """
    lab = Lab.make(tmp_path / "lab", shared, ("luks2.img",), rotate_report="{{ inventory_dir }}/report")
    inventory = json.loads((lab.folder / "hosts.json").read_text())
    web = inventory["all"]["hosts"].pop("web")
    missing = {"rotate_volumes": [{"device": "/nowhere/x"}]}
    inventory["all"]["hosts"] = {
        "a": web,
        "b": {**web, "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
        "c": {**web, **missing},
        "d": web,
        "e": web,
    }
    inventory["all"]["vars"].update(rotate_serial=[3, 1, 1], rotate_max_fail_percentage=0)
    (lab.folder / "hosts.json").write_text(json.dumps(inventory))
    output = lab.play("--limit", "a:b:c:d", expect=None)
    assert "d: volume" not in output
    assert "d: not begun, because 2 of the 3 hosts of an earlier batch failed or gave no answer (b, c)" in output
    report: t.Any = json.loads((lab.folder / "report" / "rotation.json").read_text())
    found = {host["host"]: (host["state"], [one["state"] for one in host["volumes"]]) for host in report["hosts"]}
    assert found == {
        "a": ("answered", ["done"]),
        "b": ("lost", []),
        "c": ("answered", ["refused"]),
        "d": ("waiting", []),
        "e": ("beyond", []),
    }
    assert report["hosts"][1]["error"] == "the host gave no answer"
    run = report["run"]
    assert (run["verdict"], run["check"], run["ended"]) == ("failed", False, None)
    assert run["who"].startswith(getpass.getuser()) and set(run["versions"]) == {
        "luksmith.luks",
        "ansible-core",
        "python",
    }
    assert run["options"]["rotate_generation"] == "one" and run["differ"] == ["rotate_volumes"]
    assert "leaked" not in json.dumps(run), "secrets are no options of the report, and their labels neither"
    page = (lab.folder / "report" / "rotation.html").read_text()
    assert "1 host was not reached yet. 1 host is beyond --limit and was not asked." in page


@pytest.mark.parametrize("told", ["INTERRUPT_BEFORE", "TERMINATE_BEFORE"])
def test_a_run_that_is_interrupted_says_so(tmp_path: pathlib.Path, shared: pathlib.Path, told: str) -> None:
    """SIGINT to ansible-playbook, as by Ctrl-C, or SIGTERM, as by systemd or a job runner whose time is up, before the
    host adds the new secret."""
    lab = Lab.make(
        tmp_path / "lab",
        shared,
        ("luks2.img",),
        rotate_report="{{ inventory_dir }}/report",
        rotate_report_command=["sh", "-c", 'cat >>"$0"', "{{ inventory_dir }}/delivered"],
    )
    lab.play(expect=-signal.SIGTERM if told == "TERMINATE_BEFORE" else None, **{told: "host add"})
    report: t.Any = json.loads((lab.folder / "report" / "rotation.json").read_text())
    assert json.loads((lab.folder / "delivered").read_text()) == report, "once, and as it is in the end"
    assert [host["state"] for host in report["hosts"]] == ["interrupted"]
    assert (report["run"]["verdict"], report["run"]["ended"]) == ("incomplete", None)
    page = (lab.folder / "report" / "rotation.html").read_text()
    assert "1 host was under way when the run was interrupted." in page
