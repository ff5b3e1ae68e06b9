# Copyright (c) 2026 The luksmith developers
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that a signal ends says so, whichever error comes up on its way out."""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.luksmith.luks.plugins.module_utils._luks.errors import Refused
from ansible_collections.luksmith.luks.plugins.module_utils._module import runner

REGISTER = pathlib.Path(__file__).resolve().parents[4] / "tools" / "register.py"


@pytest.mark.parametrize(
    "error",
    [RuntimeError("cannot release un-acquired lock"), Refused("keyslot 3 is in use"), OSError(5, "Input/output error")],
    ids=repr,
)
def test_an_error_on_the_way_out_is_not_what_ended_the_run(error: Exception) -> None:
    def work() -> t.NoReturn:
        try:
            raise runner.Terminated(signal.SIGTERM)
        finally:
            raise error

    assert runner._outcome(work, "What was begun is noted.") == {
        "failed": True,
        "msg": "The run was ended by SIGTERM. What was begun is noted.",
    }


_MODULE = """
import json, os, runpy, signal, sys
runpy.run_path(sys.argv[1])
from ansible_collections.luksmith.luks.plugins.module_utils._module import runner
class Module:
    check_mode = False
    params = {}
    def warn(self, warning): pass
    def fail_json(self, **result):
        print(json.dumps(result))
        sys.exit(1)
def work():
    try:
        os.kill(os.getpid(), int(sys.argv[2]))
        signal.pause()
    finally:
        [].remove("hunter2")
if sys.argv[3] == "ignored":
    signal.signal(int(sys.argv[2]), signal.SIG_IGN)
    work = lambda: {"failed": True, "msg": os.kill(os.getpid(), int(sys.argv[2])) or "went on"}
else:
    signal.signal(int(sys.argv[2]), signal.default_int_handler if int(sys.argv[2]) == signal.SIGINT else signal.SIG_DFL)
runner.run_module(Module(), work, leaves="What was begun is noted.")
"""


def said(number: signal.Signals, how: str) -> str:
    command = [sys.executable, "-c", _MODULE, str(REGISTER), str(int(number)), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == "", done.stderr
    return str(json.loads(done.stdout)["msg"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_every_signal_that_ends_a_run(number: signal.Signals) -> None:
    """Without a traceback, which could show what was handled meanwhile."""
    assert said(number, "asked to end") == f"The run was ended by {number.name}. What was begun is noted."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_was_ignored_before_stays_so(number: signal.Signals) -> None:
    assert said(number, "ignored") == "went on"


class Signals:
    """The handlers of a process that is not this one."""

    SIG_DFL, default_int_handler = signal.SIG_DFL, staticmethod(signal.default_int_handler)
    Signals = signal.Signals

    def __init__(self) -> None:
        self.handlers: t.Dict[int, t.Any] = dict.fromkeys(runner._SIGNALS, signal.SIG_DFL)
        self.getsignal = self.handlers.get
        self.signal = self.handlers.__setitem__


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Signals:
    found = Signals()
    monkeypatch.setattr(runner, "signal", found)
    return found


def test_a_second_signal_kills(signals: Signals) -> None:
    runner.unwind_on_signals()
    assert signal.SIG_DFL not in signals.handlers.values()
    with pytest.raises(runner.Terminated):
        signals.handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert set(signals.handlers.values()) == {signal.SIG_DFL}


def test_a_process_that_goes_on_has_its_own_handlers_again(signals: Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "forbid_core_dumps", lambda: None)
    for hooked in ("threading", "sys"):
        monkeypatch.setattr(runner, hooked, type("Hooks", (), {}))
    before = dict(signals.handlers)

    class Module:
        check_mode = False
        params: t.ClassVar[t.Dict[str, t.Any]] = {}

        def exit_json(self, **_result: t.Any) -> t.NoReturn:
            raise SystemExit(0)

    def work() -> t.Dict[str, t.Any]:
        assert signals.handlers != before
        return {}

    module: t.Any = Module()
    with pytest.raises(SystemExit):
        runner.run_module(module, work, leaves="")
    assert signals.handlers == before
