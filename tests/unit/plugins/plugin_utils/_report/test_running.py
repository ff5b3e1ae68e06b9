# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run that goes on, as somebody finds it who looks while it goes on, or after it was stopped.

Each host has an object of its own, as it has a process of its own under Ansible.
"""

from __future__ import annotations

import csv
import io
import json
import pathlib
import typing as t
from xml.etree import ElementTree

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import LuksmithError
from ansible_collections.luksmith.luks.plugins.plugin_utils._report import running
from ansible_collections.luksmith.luks.plugins.plugin_utils._report.running import RunningReport
from ansible_collections.luksmith.luks.tests.unit.plugins.plugin_utils._report import fleets

HOSTS = ["a", "b", "c", "d"]


class Controller:
    """Runs of ansible-playbook that report to one folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.now = 1_800_000_000.0
        self.told = 0

    def begin(self, host: str, run: str = "one", **facts: t.Any) -> RunningReport:
        def known() -> t.Dict[str, t.Any]:
            self.told += 1
            usual = {"check": False, "who": "ann", "controller": "ctl", "store": "vault_file"}
            return {"hosts": HOSTS, "beyond": [], **usual, "versions": {"ansible-core": "2.21"}, **facts}

        report = RunningReport(str(self.folder), run, lambda: self.now)
        report.begin(host, known)
        return report

    def run(self, host: str, *volumes: t.Any, batch: t.Sequence[str] = (), run: str = "one", **part: t.Any) -> None:
        report = self.begin(host, run)
        report.answer({"host": host, "volumes": list(volumes or [fleets.rotated(1)]), **part}, batch or [host])

    def ended(self, run: str = "one") -> None:
        RunningReport(str(self.folder), run, lambda: self.now).end()

    @property
    def report(self) -> t.Any:
        return json.loads((self.folder / "rotation.json").read_text())

    @property
    def states(self) -> t.Dict[str, str]:
        return {host["host"]: host["state"] for host in self.report["hosts"]}


@pytest.fixture
def controller(tmp_path: pathlib.Path) -> Controller:
    return Controller(tmp_path / "new" / "report")


def test_the_report_is_there_before_the_first_host_is_asked(controller: Controller) -> None:
    controller.begin("a", beyond=["x"], check=True)
    assert controller.states == {"a": "asking", "b": "waiting", "c": "waiting", "d": "waiting", "x": "beyond"}
    run = controller.report["run"]
    assert (run["verdict"], run["check"], run["ended"], run["who"]) == ("incomplete", True, None, "ann")
    assert run["began"].startswith("2027-01-15") and run["versions"] == {"ansible-core": "2.21"}
    page = (controller.folder / "rotation.html").read_text()
    assert "Dry run: no volume and no store was changed. Not at its end" in page
    assert "3 hosts were not reached yet. 1 host is beyond --limit" in page
    cases = ElementTree.parse(controller.folder / "rotation.xml").getroot()
    assert {suite.get("name"): suite[0][0].tag for suite in cases} == {
        **dict.fromkeys(HOSTS, "error"),
        "x": "skipped",
    }
    rows = list(csv.DictReader(io.StringIO((controller.folder / "rotation.csv").read_text())))
    assert {row["host"]: row["state"] for row in rows} == controller.states


def test_every_answer_is_in_it_at_once_while_that_is_cheap(controller: Controller) -> None:
    for number, host in enumerate(HOSTS):
        controller.begin(host)
        assert controller.states[host] == "asking"
        controller.run(host, batch=HOSTS)
        assert list(controller.states.values()) == ["answered"] * (number + 1) + ["waiting"] * (3 - number)
    run = controller.report["run"]
    assert run["verdict"] == "done" and run["ended"] and controller.told == 1


def test_a_large_report_is_renewed_less_often_but_always_after_a_batch(controller: Controller) -> None:
    """Joining takes ten seconds by the clock."""
    controller.begin("a")
    lock = controller.folder / ".run.lock"
    lock.write_text(json.dumps([controller.now, 10.0]))
    controller.now += 199
    controller.run("a", batch=["a", "b"])
    assert controller.states["a"] == "asking", "the report was joined a moment ago"
    controller.run("b", batch=["a", "b"])
    assert controller.states == {"a": "answered", "b": "answered", "c": "waiting", "d": "waiting"}
    lock.write_text(json.dumps([controller.now, 10.0]))
    controller.now += 201
    controller.begin("c")
    assert controller.states["c"] == "asking", "it is due again"


def test_when_it_was_joined_last_is_noted(controller: Controller) -> None:
    controller.begin("a")
    lock = controller.folder / ".run.lock"
    lock.write_text(json.dumps([controller.now - 1e6, 10.0, "something longer than what takes its place"]))
    controller.run("a", batch=HOSTS)
    assert json.loads(lock.read_text()) == [controller.now, 0.0]


@pytest.mark.parametrize("state", ["", "[1", '["x", 1]', "[9e99, 1]"])
def test_a_lock_that_was_cut_or_a_clock_that_was_set_back_delays_nothing(controller: Controller, state: str) -> None:
    controller.begin("a")
    (controller.folder / ".run.lock").write_text(state)
    controller.run("a", batch=HOSTS)
    assert controller.states["a"] == "answered"


@pytest.mark.parametrize(
    ("part", "verdict"),
    [
        ({"error": "the host gave no answer"}, "failed"),
        ({"volumes": [fleets.rotated(1, "refused")]}, "failed"),
        ({"volumes": [fleets.rotated(1, "partial")]}, "failed"),
        ({"volumes": []}, "done"),
        ({"volumes": [fleets.rotated(1, "unchanged")]}, "done"),
    ],
)
def test_the_verdict_is_that_of_the_worst(controller: Controller, part: t.Any, verdict: str) -> None:
    for host in HOSTS:
        controller.begin(host).answer({"host": host, "volumes": [], **(part if host == "b" else {})}, [host])
    assert controller.report["run"]["verdict"] == verdict


def test_a_dry_run_is_none_that_did_something(controller: Controller) -> None:
    report = controller.begin("a", check=True, hosts=["a"])
    report.answer({"host": "a", "volumes": [fleets.rotated(1, "planned")]}, ["a"])
    assert controller.report["run"]["verdict"] == "planned"
    assert controller.report["totals"]["states"]["planned"] == 1 and not controller.report["totals"]["states"]["done"]


def test_another_run_begins_anew(controller: Controller) -> None:
    controller.run("a")
    controller.begin("b", "two")
    assert controller.states == {"a": "waiting", "b": "asking", "c": "waiting", "d": "waiting"}
    assert controller.report["run"]["ended"] is None


def test_what_ended_in_an_earlier_run_ends_no_batch(controller: Controller) -> None:
    controller.run("b")
    controller.begin("a", "two")
    (controller.folder / ".run.lock").write_text(json.dumps([controller.now, 10.0]))
    controller.run("a", batch=["a", "b"], run="two")
    assert controller.states["a"] == "asking", "joined a moment ago, and b has not answered in this run"


def test_a_run_that_goes_on_beside_a_later_one_does_not_touch_its_report(controller: Controller) -> None:
    late = controller.begin("a")
    controller.run("b", run="two")
    before = controller.states, controller.report["run"]["id"]
    late.answer({"host": "a", "volumes": []}, ["a"])
    assert late.superseded and controller.begin("c").superseded
    controller.begin("d", "two")
    assert controller.report["run"]["id"] == "two"
    assert controller.states == {**before[0], "d": "asking"}


def test_two_plays_of_one_run_share_the_report(controller: Controller) -> None:
    controller.begin("a", hosts=["a"], beyond=["e", "x"]).answer({"host": "a", "volumes": [fleets.rotated(1)]}, ["a"])
    assert controller.report["run"]["ended"]
    controller.begin("e", hosts=["a", "e"]).answer({"host": "e", "volumes": []}, ["e"])
    assert controller.states == {"a": "answered", "e": "answered", "x": "beyond"}
    again = controller.begin("a")
    assert controller.states["a"] == "asking" and controller.report["run"]["ended"] is None
    assert "ended" not in controller.report["hosts"][0]
    again.answer({"host": "a", "volumes": [fleets.rotated(2)]}, ["a"])
    assert [one["device"] for one in controller.report["hosts"][0]["volumes"]] == ["/dev/vda1", "/dev/vda2"]


def test_after_the_end_of_a_run_no_host_is_under_way(controller: Controller) -> None:
    """Ctrl-C, and the report was joined a moment ago: b has answered since."""
    controller.begin("a")
    (controller.folder / ".run.lock").write_text(json.dumps([controller.now, 10.0]))
    controller.run("b", batch=HOSTS)
    controller.ended()
    assert controller.states == {"a": "interrupted", "b": "answered", "c": "waiting", "d": "waiting"}
    run = controller.report["run"]
    assert (run["verdict"], run["ended"]) == ("incomplete", None)
    assert "1 host was under way when the run was interrupted." in (controller.folder / "rotation.html").read_text()
    cases = ElementTree.parse(controller.folder / "rotation.xml").getroot()
    assert cases[0][0][0].get("type") == "interrupted" and cases[0].get("errors") == "1"
    # The process of a host that lives on may have the last word.
    controller.run("a", batch=HOSTS)
    controller.ended()
    assert controller.states["a"] == "answered"


def test_the_end_of_another_run_changes_nothing(controller: Controller) -> None:
    controller.ended()
    assert not controller.folder.exists()
    controller.begin("a")
    controller.ended("two")
    assert controller.states["a"] == "asking"


def test_what_a_second_play_of_the_run_was_at_is_interrupted(controller: Controller) -> None:
    controller.run("a")
    for host in HOSTS[1:]:
        controller.run(host)
    before = (controller.folder / "rotation.json").stat().st_mtime_ns
    controller.ended()
    assert (controller.folder / "rotation.json").stat().st_mtime_ns == before, "all have answered"
    controller.begin("a")
    controller.ended()
    assert controller.states["a"] == "interrupted" and controller.report["hosts"][0]["volumes"]


def test_options_that_differ_between_hosts_are_said_of_each(controller: Controller) -> None:
    controller.run("a", options={"rotate_generation": "x", "rotate_unknown": "fail"})
    assert controller.report["title"] == "Rotation x"
    controller.run("b", options={"rotate_generation": "y", "rotate_unknown": "fail"})
    report = controller.report
    assert report["title"] == "Rotation"
    assert report["run"]["options"] == {"rotate_unknown": "fail"} and report["run"]["differ"] == ["rotate_generation"]
    assert [host.get("options") for host in report["hosts"][:3]] == [
        {"rotate_generation": "x"},
        {"rotate_generation": "y"},
        None,
    ]


@pytest.mark.parametrize("host", ["../../outside", "a/b", "ä", "[::1]"])
def test_the_name_of_a_host_is_no_path(controller: Controller, host: str) -> None:
    report = controller.begin(host, hosts=[host])
    report.answer({"host": host, "volumes": []}, [host])
    assert controller.states == {host: "answered"}
    assert len(list((controller.folder / "hosts").iterdir())) == 1


@pytest.mark.parametrize("content", ["", "[]", '{"id": 7}', '{"id": "one", "hosts": 7, "beyond": [], "before": []}'])
def test_what_is_no_report_is_replaced(controller: Controller, content: str) -> None:
    (controller.folder / "hosts").mkdir(parents=True)
    for name in (".run.json", ".run.ended", "hosts/a.json", "hosts/b.json"):
        (controller.folder / name).write_text(content)
    controller.run("a", batch=HOSTS)
    assert controller.states == {"a": "answered", "b": "waiting", "c": "waiting", "d": "waiting"}


def test_what_cannot_be_written_is_said_before_the_host_is_asked(tmp_path: pathlib.Path) -> None:
    (tmp_path / "new").write_text("a file")
    with pytest.raises(LuksmithError, match="new"):
        Controller(tmp_path / "new" / "report").begin("a")


def test_a_lock_that_stays_is_named(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    report = controller.begin("a")
    monkeypatch.setattr(running, "PATIENCE", 0.0)
    with report._locked(), pytest.raises(LuksmithError, match=r"\.run\.lock has been locked"):
        controller.run("b")


def test_the_files_are_their_owners_alone_and_only_the_metrics_are_for_others(controller: Controller) -> None:
    for _again in range(2):
        controller.run("a")
        modes = {path.name: path.stat().st_mode & 0o777 for path in controller.folder.rglob("*")}
        assert modes.pop("hosts") == 0o700 and modes.pop("rotation.prom") == 0o644
        assert set(modes.values()) == {0o600} and {"rotation.html", "rotation.json", "a.json"} <= set(modes)
    assert controller.folder.stat().st_mode & 0o777 == 0o700


def test_what_changed_since_the_report_of_the_run_before(controller: Controller) -> None:
    controller.run("a", fleets.rotated(1, "unchanged"), fleets.rotated(2, "refused", msg="x"))
    assert controller.report["since"]["first"] is True
    for host in ("b", "c", "d"):
        controller.run(host)
    controller.run("a", fleets.rotated(1), fleets.rotated(2, "unchanged"), run="two")
    controller.begin("b", "two")
    for _again in range(2):  # however often this run's own report is renewed
        found = controller.report["since"]
        assert [(one["device"], one["change"], one["notes"]) for one in found["volumes"]] == [
            ("/dev/vda1", "changed", ["rotated"]),
            ("/dev/vda2", "better", []),
        ]
        assert found["not_compared"] == ["b", "c", "d"] and found["lost"] == []
        controller.ended("two")
    assert "1 better, 1 changed (2 volumes compared)" in (controller.folder / "rotation.html").read_text()


@pytest.mark.parametrize("content", ["{", None])
def test_a_last_report_that_cannot_be_compared_stops_no_run(
    controller: Controller, tmp_path: pathlib.Path, content: t.Optional[str]
) -> None:
    controller.run("a")
    last = controller.folder / "rotation.json"
    last.unlink()
    if content is None:
        last.symlink_to(tmp_path / "elsewhere")
    else:
        last.write_text(content)
    controller.run("a", run="two")
    assert "could not be compared" in controller.report["since"]["problem"]
    (controller.folder / ".run.before.json").write_text("[")
    controller.run("b", run="two")
    assert "cannot be read" in controller.report["since"]["problem"]
