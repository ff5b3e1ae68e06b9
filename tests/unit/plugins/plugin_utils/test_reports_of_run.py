# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that gets the report of a rotation; tests/rotation/test_report.py plays it after a real Ctrl-C."""

from __future__ import annotations

import atexit
import importlib.util
import io
import json
import os
import pathlib
import signal
import sys
import types
import typing as t

import pytest

pytest.importorskip("ansible")

from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import StorageFault  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils import _reports_of_run as reports  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._batches import Batch, Batches  # noqa: E402
from ansible_collections.luksmith.luks.plugins.plugin_utils._report.running import RunningReport  # noqa: E402

ME = "this run"
FACTS: t.Dict[str, t.Any] = {"hosts": ["web", "db"], "beyond": [], "check": False, "store": "vault_file"}


class Run:
    """A run of ansible-playbook that has begun with the host "web"."""

    def __init__(self, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "report"
        self.told: t.List[str] = []
        monkeypatch.setattr(reports, "folder_of_run", lambda: str(folder / "of run"))
        monkeypatch.setattr(reports, "folder_of_batches", lambda: str(folder / "of run" / "batches"))
        monkeypatch.setattr(reports, "identity_of_run", lambda: ME)
        monkeypatch.setattr(reports.Display, "warning", lambda _self, text: self.told.append(text))
        self.begin(ME)

    def begin(self, identity: str) -> None:
        RunningReport(str(self.folder), identity).begin("web", lambda: {**FACTS, "who": "x", "versions": {}})

    def end(self, *command: str) -> None:
        for _host in FACTS["hosts"]:
            reports.note_report(str(self.folder), command)
        reports.end_reports(os.getpid())


@pytest.fixture
def run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(tmp_path, monkeypatch)


def test_the_command_gets_the_report_once(run: Run, tmp_path: pathlib.Path) -> None:
    run.end("sh", "-c", 'cat >>"$0"', str(tmp_path / "delivered"))
    delivered = json.loads((tmp_path / "delivered").read_text())
    assert {host["host"]: host["state"] for host in delivered["hosts"]} == {"web": "interrupted", "db": "waiting"}
    assert not run.told


WRONG = {
    "fails": (["sh", "-c", "echo 'no route' >&2; exit 3"], "sh failed with exit code 3: no route"),
    "is not there": (["./no such program"], "./no such program of rotate_report_command cannot be run: No such file"),
    "has a NUL": (["echo", "a\0b"], "holds a NUL character"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_command_that_fails_is_told(run: Run, case: str) -> None:
    command, told = WRONG[case]
    run.end(*command)
    (said,) = run.told
    assert "was not delivered" in said and told in said


def test_the_report_of_a_later_run_is_not_delivered(run: Run, tmp_path: pathlib.Path) -> None:
    run.begin("a later run")
    run.end("sh", "-c", 'cat >>"$0"', str(tmp_path / "delivered"))
    assert "began later" in run.told[0] and not (tmp_path / "delivered").exists()


def test_a_report_that_cannot_be_ended_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(_report: RunningReport) -> t.NoReturn:
        raise StorageFault("the disk is full")

    monkeypatch.setattr(RunningReport, "end", end)
    run.end()
    assert len(run.told) == 1 and "he disk is full" in run.told[0]


def test_no_command(run: Run) -> None:
    run.end()
    assert not run.told


def test_the_process_of_a_host_ends_nothing(run: Run, tmp_path: pathlib.Path) -> None:
    reports.note_report(str(run.folder), ["touch", str(tmp_path / "delivered")])
    reports.end_reports(os.getpid() + 1)
    assert not (tmp_path / "delivered").exists()


@pytest.fixture
def sigterm() -> t.Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_sigterm_ends_the_hosts_then_the_reports_then_the_process(
    run: Run, monkeypatch: pytest.MonkeyPatch, sigterm: None
) -> None:
    reports.note_report(str(run.folder))
    happened: t.List[str] = []
    host = types.SimpleNamespace(terminate=lambda: happened.append(states(run)["web"]))
    monkeypatch.setattr(reports.multiprocessing, "active_children", lambda: [host])
    signal.signal(signal.SIGTERM, lambda *_given: happened.append(states(run)["web"]))
    reports.end_when_terminated(os.getpid())
    os.kill(os.getpid(), signal.SIGTERM)
    assert happened == ["asking", "interrupted"]


def test_sigterm_to_the_process_of_a_host_is_no_end_of_the_run(run: Run, sigterm: None) -> None:
    reports.note_report(str(run.folder))
    ended: t.List[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: ended.append(number))
    reports.end_when_terminated(os.getpid() + 1)
    os.kill(os.getpid(), signal.SIGTERM)
    assert ended == [signal.SIGTERM] and states(run)["web"] == "asking"


def test_a_process_that_ignores_sigterm_goes_on_doing_so(sigterm: None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    reports.end_when_terminated(os.getpid())
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def states(run: Run) -> t.Dict[str, str]:
    report = json.loads((run.folder / "rotation.json").read_text())
    return {host["host"]: host["state"] for host in report["hosts"]}


def test_it_is_for_the_end_of_the_process(monkeypatch: pytest.MonkeyPatch, sigterm: None) -> None:
    registered: t.List[t.Any] = []
    monkeypatch.setattr(atexit, "register", lambda *given: registered.append(given))
    spec = importlib.util.spec_from_file_location(reports.__name__, str(reports.__file__))
    assert spec is not None and spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert registered[0] == (again.end_reports, os.getpid())
    assert registered[1][:2] == (signal.signal, signal.SIGTERM), "what is registered last comes first"


def test_a_line_is_in_the_pipe_when_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe))
    sys.stdout.write("kept\n")
    assert pipe.getvalue() == b"", "as Python does it"
    reports.show_lines_at_once()
    sys.stdout.write("web: volume 1 of 1\n")
    assert pipe.getvalue() == b"kept\nweb: volume 1 of 1\n"
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace())
    reports.show_lines_at_once()


def test_hosts_that_were_not_begun_are_named_at_the_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: t.List[str] = []
    monkeypatch.setattr(reports.Display, "display", lambda _self, text, color: shown.append(text))
    batches = Batches(reports.folder_of_batches())
    batches.begin("web", Batch(["web"], limit=10, everybody=["web", "db"]))
    run.end()
    assert shown == [], "the run was interrupted"
    batches.bad("web")
    run.end()
    assert len(shown) == 1 and shown[0].startswith("Not begun: 1 host of later batches (db).")
